"""Losses between two boxes (x1, y1, x2, y2)."""

from __future__ import annotations

import math

from fastloss.checks import number
from fastloss.elementary import arctan, const, divide, inline
from fastloss.loss import Loss, register
from fastloss.losses.classification import AXIS
from fastloss.losses.describe import CLASS_ERRORS, OF_CLASSES
from fastloss.losses.overlap import (
    BOTH_BOXES,
    area_slopes,
    areas,
    bend,
    iou_derivatives,
    is_x,
    measure,
    miss,
    moves,
    overlapping,
    quotient,
    slope,
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
    _, x, y, e = measure(row, eps)
    _, union, around = areas(x, y)
    # Boxes that overlap leave rectangles at the corners of what surrounds them.
    wide, high = x.own_rest * y.target_rest, x.target_rest * y.own_rest
    empty = wide + high if overlapping(x, y) else around - union
    part, _ = quotient(empty, around + e)
    return miss(x, y, e) + part


@inline
def filled_derivatives(z, t, c, x, y, e):
    """(first, second) derivative of union / around by a coordinate."""
    _, union, around = areas(x, y)
    _, d_union, d_around = area_slopes(z, t, c, x, y)
    zero = const(0.0, z)
    filled, per_around = quotient(union + e, around + e)
    first = slope(d_union, filled, d_around, per_around)
    return first, bend(zero, filled, zero, first, d_around, per_around)


def giou_grad(z, t, c, row, eps):
    scale, x, y, e = measure(row, eps)
    iou, _ = iou_derivatives(z, t, c, x, y, e)
    filled, _ = filled_derivatives(z, t, c, x, y, e)
    return -(iou + filled) * scale


def giou_hess(z, t, c, row, eps):
    scale, x, y, e = measure(row, eps)
    _, iou = iou_derivatives(z, t, c, x, y, e)
    _, filled = filled_derivatives(z, t, c, x, y, e)
    return -(iou + filled) * scale * scale


giou = register(
    Loss(
        RowSpec(
            "giou",
            OPTIONS,
            indices=False,
            classes=4,
            rounds=(BOTH_BOXES,),
            value=giou_value,
            grad=giou_grad,
            hess=giou_hess,
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
def apart(row, scale):
    """From the target's centre to the prediction's, on x and on y."""
    _, _, px1, py1, px2, py2, tx1, ty1, tx2, ty2 = row
    half = const(0.5, scale) * scale
    return ((px1 - tx1) + (px2 - tx2)) * half, ((py1 - ty1) + (py2 - ty2)) * half


@inline
def distance(row, scale, x, y, e):
    """(the squared distance of the centres by the squared diagonal, 1 / the latter)."""
    dx, dy = apart(row, scale)
    return quotient(dx * dx + dy * dy, x.around * x.around + y.around * y.around + e)


@inline
def distance_derivatives(z, t, c, row, scale, x, y, e):
    """(first, second) derivative of `distance` by a coordinate."""
    far, per_diagonal = distance(row, scale, x, y, e)
    dx, dy = apart(row, scale)
    _, _, around = moves(z, t, c)
    two = const(2.0, z)
    d_diagonal = two * around * (x.around if is_x(c) else y.around)
    first = slope(dx if is_x(c) else dy, far, d_diagonal, per_diagonal)
    second = bend(const(0.5, z), far, two * around * around, first, d_diagonal, per_diagonal)
    return first, second


def diou_value(row, eps):
    scale, x, y, e = measure(row, eps)
    far, _ = distance(row, scale, x, y, e)
    return miss(x, y, e) + far


@inline
def diou_derivatives(z, t, c, row, scale, x, y, e):
    """(first, second) derivative, the unit still in them."""
    iou, iou_2 = iou_derivatives(z, t, c, x, y, e)
    far, far_2 = distance_derivatives(z, t, c, row, scale, x, y, e)
    return far - iou, far_2 - iou_2


def diou_grad(z, t, c, row, eps):
    scale, x, y, e = measure(row, eps)
    first, _ = diou_derivatives(z, t, c, row, scale, x, y, e)
    return first * scale


def diou_hess(z, t, c, row, eps):
    scale, x, y, e = measure(row, eps)
    _, second = diou_derivatives(z, t, c, row, scale, x, y, e)
    return second * scale * scale


diou = register(
    Loss(
        RowSpec(
            "diou",
            OPTIONS,
            indices=False,
            classes=4,
            rounds=(BOTH_BOXES,),
            value=diou_value,
            grad=diou_grad,
            hess=diou_hess,
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
    found = arctan(tangent if b != zero else b)
    half_turn = const(-math.pi, b) if b < zero else const(math.pi, b)
    return half_turn - found if a < zero else found


@inline
def shape_loss(x, y, e, eps):
    """(alpha, v, the difference of the angles); without a difference alpha is 0."""
    dot = y.target * y.own + x.target * x.own
    gap = angle(dot, x.target * y.own - x.own * y.target)
    v = const(PER_ANGLE, gap) * gap * gap
    alpha = divide(v, miss(x, y, e) + v + eps)
    return (alpha if v != const(0.0, v) else v), v, gap


@inline
def angle_derivatives(z, c, x, y):
    """(first, second) derivative of the prediction's angle; a point has none."""
    zero, one, two = const(0.0, z), const(1.0, z), const(2.0, z)
    sign = -one if c < 2 else one
    turn = sign if is_x(c) else -sign
    along, across = (x.own if is_x(c) else y.own), (y.own if is_x(c) else x.own)
    per_square = divide(one, x.own * x.own + y.own * y.own)
    per_square = per_square if per_square * zero == zero else zero  # infinite for a point
    first = turn * across * per_square
    return first, -two * sign * along * first * per_square


def ciou_value(row, eps):
    scale, x, y, e = measure(row, eps)
    far, _ = distance(row, scale, x, y, e)
    alpha, v, _ = shape_loss(x, y, e, eps)
    return miss(x, y, e) + far + alpha * v


def ciou_grad(z, t, c, row, eps):
    scale, x, y, e = measure(row, eps)
    alpha, _, gap = shape_loss(x, y, e, eps)
    first, _ = angle_derivatives(z, c, x, y)
    of_shape = const(-2.0 * PER_ANGLE, z) * alpha * gap * first
    of_rest, _ = diou_derivatives(z, t, c, row, scale, x, y, e)
    return (of_rest + of_shape) * scale


def ciou_hess(z, t, c, row, eps):
    scale, x, y, e = measure(row, eps)
    alpha, _, gap = shape_loss(x, y, e, eps)
    first, second = angle_derivatives(z, c, x, y)
    of_shape = const(2.0 * PER_ANGLE, z) * alpha * (first * first - gap * second)
    _, of_rest = diou_derivatives(z, t, c, row, scale, x, y, e)
    return (of_rest + of_shape) * scale * scale


ciou = register(
    Loss(
        RowSpec(
            "ciou",
            OPTIONS,
            indices=False,
            classes=4,
            rounds=(BOTH_BOXES,),
            value=ciou_value,
            grad=ciou_grad,
            hess=ciou_hess,
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
