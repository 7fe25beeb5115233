"""Losses over classes without a softmax: margins, and the sparsemax."""

from __future__ import annotations

import math

from fastloss.checks import number, one_of
from fastloss.elementary import const, divide, inline, maximum
from fastloss.loss import Loss, register
from fastloss.losses.classification import AXIS, CLASS_WEIGHT, IGNORE_INDEX, INDICES_DOC, SCORES_DOC
from fastloss.losses.describe import INDEX_ERRORS, OF_CLASSES
from fastloss.losses.pieces import inside_margin
from fastloss.spec import Derived, Option, Reduction, Round, RowSpec

__all__ = ["multi_margin", "multiclass_hinge", "sparsemax"]

# --- the largest violation --------------------------------------------------------------


def rival_score(z, t, c, row, margin):
    return z if t == const(0.0, t) else const(-math.inf, z)


def is_rival(z, t, c, row, margin):
    _, _, largest = row
    return (t == const(0.0, t)) & (z == largest)


def multiclass_hinge_value(row, margin):
    _, z_y, largest, _ = row
    # A mask has no score to fall short of, not even that of another mask.
    gap = margin + (largest - z_y) if largest != const(-math.inf, z_y) else largest
    return maximum(gap, const(0.0, z_y))


def multiclass_hinge_grad(z, t, c, row, margin):
    _, z_y, largest, rival = row
    gap = margin + (largest - z_y) if largest != const(-math.inf, z_y) else largest
    slope = const(1.0, z) if c == rival else const(0.0, z)
    return inside_margin(gap, slope - t)


def no_curvature(z, t, c, row, *options):
    return const(0.0, z)


multiclass_hinge = register(
    Loss(
        RowSpec(
            "multiclass_hinge",
            (Option("margin", 1.0, number()), IGNORE_INDEX, AXIS),
            vectors=False,
            rounds=(
                Round((Reduction("max", rival_score),)),
                Round((Reduction("first", is_rival, ("grad",)),)),
            ),
            value=multiclass_hinge_value,
            grad=multiclass_hinge_grad,
            hess=no_curvature,
        ),
        rf"""
        Hinge loss of the class that comes closest to the target.

        .. math:: \ell(z, y) = \max(0, \mathrm{{margin}} + \max_{{c \ne y}} z_c - z_y)

        Inside the margin the gradient is -1 at the target and +1 at the class with the largest
        other score, the first one where several have it; elsewhere, and at the margin exactly,
        it is 0. The hessian is 0.

        Parameters
        ----------
        {SCORES_DOC}
        {INDICES_DOC}
        margin : float, default 1.0
            By how much the target's score must lead for a loss of 0.
        {OF_CLASSES}

        {INDEX_ERRORS}

        See Also
        --------
        multi_margin : the sum of all violations instead of the largest.

        Notes
        -----
        Source: K. Crammer and Y. Singer, On the Algorithmic Implementation of Multiclass
        Kernel-based Vector Machines (2001); as optax's ``multiclass_hinge_loss`` and, for more
        than two classes, scikit-learn's ``hinge_loss``. A score of -inf is a mask: such a class
        is no rival.

        Examples
        --------
        >>> import numpy as np
        >>> import fastloss as fl
        >>> scores = np.array([[2.0, 1.5, 0.0], [3.0, 0.0, 1.0]])
        >>> loss, grad = fl.multiclass_hinge.value_and_grad(scores, np.array([0, 0]))
        >>> float(loss), grad.tolist()
        (0.25, [[-0.5, 0.5, 0.0], [0.0, 0.0, 0.0]])
        """,
    )
)


# --- all violations ---------------------------------------------------------------------


@inline
def violation(z, t, row, margin):
    """By how much a class comes closer than the margin to the target: positive if it does."""
    gap = margin + (z - row[1]) if z != const(-math.inf, z) else z  # a mask beside a mask
    return gap if t == const(0.0, t) else const(0.0, z)


def violation_value(z, t, c, row, p, margin):
    gap = maximum(violation(z, t, row, margin), const(0.0, z))
    return gap if p == const(1.0, p) else gap * gap


def violation_slope(z, t, c, row, p, margin):
    gap = violation(z, t, row, margin)
    return inside_margin(gap, const(1.0, z) if p == const(1.0, p) else gap + gap)


def violation_curvature(z, t, c, row, p, margin):
    gap = violation(z, t, row, margin)
    return inside_margin(gap, const(0.0, z) if p == const(1.0, p) else const(2.0, z))


def multi_margin_value(row, p, margin):
    classes, _, total, _, _ = row
    return divide(total, classes)


def multi_margin_grad(z, t, c, row, p, margin):
    classes, _, _, total, _ = row
    slope = violation_slope(z, t, c, row, p, margin)
    mine = -total if t != const(0.0, t) else slope
    return divide(mine if total == total else total, classes)


def multi_margin_hess(z, t, c, row, p, margin):
    classes, _, _, _, total = row
    curvature = violation_curvature(z, t, c, row, p, margin)
    mine = total if t != const(0.0, t) else curvature
    return divide(mine if total == total else total, classes)


multi_margin = register(
    Loss(
        RowSpec(
            "multi_margin",
            (
                Option("p", 1, one_of(1, 2)),
                Option("margin", 1.0, number()),
                CLASS_WEIGHT,
                IGNORE_INDEX,
                AXIS,
            ),
            vectors=False,
            counts_class_weight=False,
            rounds=(
                Round(
                    (
                        Reduction("sum", violation_value, ("value",)),
                        Reduction("sum", violation_slope, ("grad",)),
                        Reduction("sum", violation_curvature, ("hess",)),
                    )
                ),
            ),
            value=multi_margin_value,
            grad=multi_margin_grad,
            hess=multi_margin_hess,
        ),
        rf"""
        Hinge losses of all classes beside the target, summed and divided by C.

        .. math:: \ell(z, y) = \frac 1 C \sum_{{c \ne y}} \max(0, \mathrm{{margin}} - z_y + z_c)^p

        Every class that comes closer to the target than the margin violates it. At such a class
        the gradient is p / C times the violation to the power p - 1, and the hessian 0 for p = 1
        and 2 / C for p = 2. At the target they are minus the sum of these gradients, and the sum
        of these hessians; elsewhere, and at the margin exactly, 0.

        Parameters
        ----------
        {SCORES_DOC}
        {INDICES_DOC}
        p : {{1, 2}}, default 1
            The power.
        margin : float, default 1.0
            By how much the target's score must lead every other one for a loss of 0.
        class_weight : array of shape (C,), optional
            Multiplies the loss of an example by the weight of its class. ``"mean"`` divides by
            the number of examples all the same, as in PyTorch.
        {OF_CLASSES}

        {INDEX_ERRORS}

        See Also
        --------
        multiclass_hinge : the largest violation instead of their sum.

        Notes
        -----
        Source: PyTorch's ``multi_margin_loss``, division by C included; J. Weston and C.
        Watkins, Support Vector Machines for Multi-Class Pattern Recognition (1999). A score
        of -inf violates nothing.

        Examples
        --------
        >>> import numpy as np
        >>> import fastloss as fl
        >>> scores = np.array([[1.0, 0.5, 0.25, -1.0]])
        >>> loss, grad = fl.multi_margin.value_and_grad(scores, np.array([0]))
        >>> float(loss), grad.tolist()
        (0.1875, [[-0.5, 0.25, 0.25, 0.0]])
        """,
    )
)


# --- sparsemax --------------------------------------------------------------------------
# In scores u = z - max z, the threshold tau is where sum_c max(u_c - tau, 0) = 1. Newton's
# method from tau = -1 climbs to it: tau = (sum of u above tau - 1) / their number, until no
# class leaves the support.


def score(z, t, c, row):
    return z


@inline
def sparse_threshold(row):
    """The threshold by the (sum, number) of the support; before there is one, -1."""
    total, size = row[3], row[4]
    one = const(1.0, size)
    return divide(total - one, size) if size > const(0.0, size) else -one


@inline
def in_support(z, row):
    return not z - row[2] <= sparse_threshold(row)  # a nan is, and so shows


def support_score(z, t, c, row):
    return z - row[2] if in_support(z, row) else const(0.0, z)


def support_member(z, t, c, row):
    return const(1.0, z) if in_support(z, row) else const(0.0, z)


def support_shrinks(before, after):
    _, former = before
    _, size = after
    return size < former or (former < size and former == const(0.0, former))


@inline
def sparse_probability(z, row):
    p = z - row[2] - row[5]
    return p if not p < const(0.0, p) else const(0.0, p)


def sparsemax_term(z, t, c, row):
    """p u - p^2 / 2 + t^2 / 2 - t u, as one product; 0 * inf = 0."""
    p = sparse_probability(z, row)
    gap = p - t
    product = gap * ((z - row[2]) - const(0.5, z) * (p + t))
    return product if gap != const(0.0, gap) else gap


def sparsemax_value(row):
    return row[6]


def sparsemax_grad(z, t, c, row):
    return sparse_probability(z, row) - t


def sparsemax_hess(z, t, c, row):
    one = const(1.0, z)
    inside = sparse_probability(z, row) > const(0.0, z)
    curvature = one - divide(one, row[4]) if inside else const(0.0, z)
    return curvature if row[3] == row[3] else row[3]


sparsemax = register(
    Loss(
        RowSpec(
            "sparsemax",
            (IGNORE_INDEX, AXIS),
            rounds=(
                Round((Reduction("max", score),)),
                Round(
                    (Reduction("sum", support_score), Reduction("sum", support_member)),
                    again=support_shrinks,
                ),
                Round((Derived(sparse_threshold),)),
                Round((Reduction("sum", sparsemax_term, ("value",)),)),
            ),
            value=sparsemax_value,
            grad=sparsemax_grad,
            hess=sparsemax_hess,
        ),
        rf"""
        Sparsemax loss: the cross-entropy of probabilities that may be 0.

        .. math:: \ell(z, y) = \max_p (p \cdot z - \tfrac 1 2 |p|^2) + \tfrac 1 2 |y|^2 - y \cdot z

        The maximum is over distributions p; it is taken by sparsemax(z), the distribution
        nearest to the scores, in which most classes may have probability 0. The gradient is
        sparsemax(z) - y. The diagonal of the hessian is 1 - 1 / S at the S classes whose
        probability is positive, else 0.

        Parameters
        ----------
        {SCORES_DOC}
            -inf is a mask: probability 0.
        targets : array
            Class indices, of any integer dtype and the predictions' shape without `axis`; or
            distributions, of a floating dtype and the predictions' shape, taken as given: where
            they do not sum to 1, the loss is that of z - max(z).
        ignore_index : int, default -100
            A class index that marks an example as ignored: loss, gradient and weight 0.
        {OF_CLASSES}

        {INDEX_ERRORS}

        Notes
        -----
        Sources: A. Martins and R. Astudillo, From Softmax to Sparsemax (2016); M. Blondel, A.
        Martins and V. Niculae, Learning with Fenchel-Young Losses (2020), for targets that
        are distributions. As optax's ``multiclass_sparsemax_loss`` on class indices. A row of
        only -inf, with a +inf or a nan, is nan.

        Examples
        --------
        >>> import numpy as np
        >>> import fastloss as fl
        >>> scores = np.array([[1.0, 0.5, -1.0]])
        >>> loss, grad = fl.sparsemax.value_and_grad(scores, np.array([0]))
        >>> float(loss), grad.tolist()
        (0.0625, [[-0.25, 0.25, 0.0]])
        """,
    )
)
