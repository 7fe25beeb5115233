"""Losses between two boxes (x1, y1, x2, y2)."""

from __future__ import annotations

import math

from fastloss.checks import number
from fastloss.elementary import arctan, choose, const, divide, inline
from fastloss.loss import Loss, register
from fastloss.losses.classification import AXIS
from fastloss.losses.describe import CLASS_ERRORS, OF_CLASSES
from fastloss.losses.overlap import (
    grad_of,
    hess_of,
    loss_of,
    measure,
    miss,
    overlap_slopes,
    quotient,
    rounds_of,
    slopes,
)
from fastloss.spec import Option, RowSpec

__all__ = ["ciou", "diou", "giou"]

OPTIONS = (Option("eps", 1e-7, number(0.0)), AXIS)

_BOXES_DOC = """predictions : array of shape (N, 4), (N, T, 4), (N, 4, H, W), ...
            Boxes (x1, y1, x2, y2) with x1 <= x2 and y1 <= y2, of dtype float64, float32,
            float16 or bfloat16; the four coordinates lie on `axis`.
        targets : array of the predictions' shape, float64, float32, float16 or bfloat16
            Boxes.
        eps : float >= 0, default 1e-7
            Added to each divisor; it is an area, in units of the coordinates."""

_EDGES_DOC = """Of two equal edges each counts half, as in PyTorch. Boxes that are equal, with the
        area a, have the loss eps / (a + eps), which is 1 if they are one point. What has no area
        overlaps nothing, nor does a prediction with x2 < x1 or y2 < y1. A target like that is
        nan, as is a box with a nan or an infinity.

        Lengths are measured in a unit of the boxes' size: up to a quarter of the dtype's largest
        number there is no overflow (in torchvision areas do, from its square root on). float16
        and bfloat16 are computed in float32."""

# --- generalised ------------------------------------------------------------------------


def giou_value(row, eps):
    b = measure(row, eps)
    # Boxes that overlap leave rectangles at the corners of what surrounds them.
    wide, high = b.x.own_rest * b.y.target_rest, b.x.target_rest * b.y.own_rest
    empty = choose(b.meet, wide + high, b.around - b.union)
    part, _ = quotient(empty, b.around + b.eps)
    return miss(b) + part


def giou_numbers(row, eps):
    """(both boxes, (U / C, 1 / C))."""
    b = measure(row, eps)
    return b, quotient(b.union + b.eps, b.around + b.eps)


def giou_derivatives(side, on_x, b, fill):
    filled, per_around = fill
    zero = const(0.0, filled)
    iou, iou_2 = overlap_slopes(side, b)
    fill_1, fill_2 = slopes(filled, per_around, side.union, side.around, zero, zero)
    return -iou - fill_1, -iou_2 - fill_2


giou = register(
    Loss(
        RowSpec(
            "giou",
            OPTIONS,
            indices=False,
            classes=4,
            rounds=rounds_of(giou_value, giou_numbers, giou_derivatives),
            value=loss_of,
            grad=grad_of,
            hess=hess_of,
        ),
        rf"""
        Generalised IoU loss of two boxes, from 0 to 2.

        .. math:: \ell(p, y) = 1 - \frac I U + \frac{{C - U}} C

        I is the area that both boxes share, U that of their union, C that of the smallest box
        around both. Boxes that do not overlap have I = 0, and a gradient by way of C. Gradient
        and hessian are those of this formula with U + eps and C + eps as divisors.

        Parameters
        ----------
        {_BOXES_DOC}
        {OF_CLASSES}

        {CLASS_ERRORS}

        See Also
        --------
        diou : also pulls a box that lies within the other towards its centre.
        ciou : compares the shapes, too.

        Notes
        -----
        Sources: H. Rezatofighi et al., Generalized Intersection over Union (2019);
        torchvision's ``generalized_box_iou_loss``. The area of an inverted prediction counts as
        negative, so that the gradient turns it back; the loss may then exceed 2. (torchvision
        does so where one side is inverted; where both are, its area is positive.)

        {_EDGES_DOC}

        Examples
        --------
        >>> import numpy as np
        >>> import fastloss as fl
        >>> p, y = np.array([[0.0, 0.0, 2.0, 2.0]]), np.array([[1.0, 1.0, 3.0, 4.0]])
        >>> round(float(fl.giou(p, y)), 6)
        1.138889
        >>> fl.giou.grad(p, y).round(4).tolist()
        [[-0.108, -0.0455, -0.1821, -0.1821]]
        """,
    )
)


# --- distance ---------------------------------------------------------------------------


@inline
def distance(row, b):
    """(from the target's centre to the prediction's on x, on y, (d^2 / c^2, 1 / c^2))."""
    _, _, px1, py1, px2, py2, tx1, ty1, tx2, ty2 = row
    half = const(0.5, b.scale) * b.scale
    dx, dy = ((px1 - tx1) + (px2 - tx2)) * half, ((py1 - ty1) + (py2 - ty2)) * half
    diagonal = b.x.around * b.x.around + b.y.around * b.y.around
    return dx, dy, quotient(dx * dx + dy * dy, diagonal + b.eps)


def diou_value(row, eps):
    b = measure(row, eps)
    return miss(b) + distance(row, b)[2][0]


def diou_numbers(row, eps):
    """(both boxes, their `distance`)."""
    b = measure(row, eps)
    return b, distance(row, b)


@inline
def diou_derivatives(side, on_x, b, apart):
    dx, dy, (far, per_diagonal) = apart
    half, two = const(0.5, far), const(2.0, far)
    d_diagonal = two * side.outer * (b.x.around if on_x else b.y.around)
    far_1, far_2 = slopes(
        far, per_diagonal, dx if on_x else dy, d_diagonal, half, two * side.outer * side.outer
    )
    iou, iou_2 = overlap_slopes(side, b)
    return far_1 - iou, far_2 - iou_2


diou = register(
    Loss(
        RowSpec(
            "diou",
            OPTIONS,
            indices=False,
            classes=4,
            rounds=rounds_of(diou_value, diou_numbers, diou_derivatives),
            value=loss_of,
            grad=grad_of,
            hess=hess_of,
        ),
        rf"""
        Distance IoU loss of two boxes, from 0 to 2.

        .. math:: \ell(p, y) = 1 - \frac I U + \frac{{d^2}}{{c^2}}

        I is the area that both boxes share, U that of their union, d the distance of their
        centres, c the diagonal of the smallest box around both. The last term pulls boxes
        together that do not overlap. Gradient and hessian are those of this formula with
        U + eps and c^2 + eps as divisors.

        Parameters
        ----------
        {_BOXES_DOC}
        {OF_CLASSES}

        {CLASS_ERRORS}

        See Also
        --------
        giou : without the centres.
        ciou : compares the shapes, too.

        Notes
        -----
        Sources: Z. Zheng et al., Distance-IoU Loss (2020); torchvision's
        ``distance_box_iou_loss``. Nothing turns an inverted prediction back whose centre is
        right: take `ciou` or `giou` where there may be some.

        {_EDGES_DOC}

        Examples
        --------
        >>> import numpy as np
        >>> import fastloss as fl
        >>> p, y = np.array([[0.0, 0.0, 2.0, 2.0]]), np.array([[1.0, 1.0, 3.0, 4.0]])
        >>> round(float(fl.diou(p, y)), 6)
        1.018889
        """,
    )
)


# --- complete ---------------------------------------------------------------------------
# A box has the shape arctan(w / h), the angle of (h, w): the difference of two such angles is
# that of one vector.

PER_ANGLE = 4.0 / math.pi**2


@inline
def angle(a, b):
    """The angle of the vector (a, b), 0 for that of length 0."""
    zero, tangent = const(0.0, b), divide(b, abs(a))
    found = arctan(choose(b != zero, tangent, b))
    half_turn = choose(b < zero, const(-math.pi, b), const(math.pi, b))
    return choose(a < zero, half_turn - found, found)


@inline
def shape_loss(b, eps):
    """(alpha, v, the difference of the angles); without a difference alpha is 0."""
    dot = b.y.target * b.y.own + b.x.target * b.x.own
    gap = angle(dot, b.x.target * b.y.own - b.x.own * b.y.target)
    v = const(PER_ANGLE, gap) * gap * gap
    alpha = divide(v, miss(b) + v + eps)
    return choose(v != const(0.0, v), alpha, v), v, gap


@inline
def angle_slopes(side, on_x, b):
    """(first, second) derivative of the prediction's angle; a point has none."""
    zero, two = const(0.0, b.scale), const(2.0, b.scale)
    along, across = (b.x.own, b.y.own) if on_x else (b.y.own, -b.x.own)
    _, per_square = quotient(zero, along * along + across * across)
    per_square = choose(per_square * zero == zero, per_square, zero)  # infinite for a point
    first = side.own * across * per_square
    return first, -two * side.own * along * first * per_square


def ciou_value(row, eps):
    b = measure(row, eps)
    alpha, v, _ = shape_loss(b, eps)
    return miss(b) + distance(row, b)[2][0] + alpha * v


def ciou_numbers(row, eps):
    """(both boxes, their `distance`, the `shape_loss`)."""
    b = measure(row, eps)
    return b, distance(row, b), shape_loss(b, eps)


def ciou_derivatives(side, on_x, b, apart, shape):
    alpha, _, gap = shape
    factor = const(2.0 * PER_ANGLE, gap) * alpha
    angle, angle_2 = angle_slopes(side, on_x, b)
    rest, rest_2 = diou_derivatives(side, on_x, b, apart)
    return rest - factor * gap * angle, rest_2 + factor * (angle * angle - gap * angle_2)


ciou = register(
    Loss(
        RowSpec(
            "ciou",
            OPTIONS,
            indices=False,
            classes=4,
            rounds=rounds_of(ciou_value, ciou_numbers, ciou_derivatives),
            value=loss_of,
            grad=grad_of,
            hess=hess_of,
        ),
        rf"""
        Complete IoU loss of two boxes: overlap, distance and shape.

        .. math:: \ell(p, y) = 1 - \frac I U + \frac{{d^2}}{{c^2}} + \alpha v

        .. math:: v = \frac 4 {{\pi^2}} (\arctan \frac w h - \arctan \frac {{w_y}} {{h_y}})^2

        Beside `diou`, v compares the ratios of width and height. Its weight,
        alpha = v / (1 - I / U + v + eps), is a constant for the gradient and the hessian.

        Parameters
        ----------
        {_BOXES_DOC}
        {OF_CLASSES}

        {CLASS_ERRORS}

        See Also
        --------
        diou : without the shapes.
        giou : by areas alone.

        Notes
        -----
        Sources: Z. Zheng et al., Enhancing Geometric Factors in Model Learning and Inference
        (2021); torchvision's ``complete_box_iou_loss``, which gives its eps to alpha alone and
        takes 1e-7 elsewhere. arctan(w / h) is the angle of the vector (h, w), so a height of 0
        has a finite gradient (torchvision's is nan), and a side that is inverted one that turns
        it back; a point has no shape to compare, and v = 0.

        {_EDGES_DOC}

        Examples
        --------
        >>> import numpy as np
        >>> import fastloss as fl
        >>> p, y = np.array([[0.0, 0.0, 2.0, 2.0]]), np.array([[1.0, 1.0, 3.0, 4.0]])
        >>> round(float(fl.ciou(p, y)), 6)
        1.019165
        """,
    )
)
