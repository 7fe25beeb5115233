"""Losses of the distances between embeddings: of pairs and of triplets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastloss.checks import flag, number
from fastloss.elementary import const, inline, maximum
from fastloss.loss import Loss, register
from fastloss.losses.describe import CALL
from fastloss.losses.pieces import inside_margin
from fastloss.spec import DistanceSpec, Option

__all__ = ["contrastive", "triplet"]

_ENTRIES_DOC = """Vectors, of dtype float64, float32, float16 or bfloat16, whose D entries lie on
            the last axis;"""

_P_DOC = """p : float >= 1, default 2.0
            Which norm of a difference of two vectors their distance is."""

_ERRORS = """Raises
        ------
        TypeError, ValueError
            For dtypes, shapes and options that do not fit, and for targets other than 0 and 1;
            the error names the first."""

# --- pairs ------------------------------------------------------------------------------


def contrastive_value(distances, same, margin, half):
    (d,) = distances
    gap = maximum(margin - d, const(0.0, d))
    amount = d if same else gap
    return const(0.5, d) * amount * amount if half else amount * amount


def contrastive_grad(k, distances, same, margin, half):
    (d,) = distances
    factor = const(1.0, d) if half else const(2.0, d)
    slope = d if same else inside_margin(margin - d, d - margin)
    return factor * slope


def contrastive_hess(k, distances, same, margin, half):
    (d,) = distances
    factor = const(1.0, d) if half else const(2.0, d)
    return factor if same else inside_margin(margin - d, factor)


def _one_pair(options: Mapping[str, Any]) -> int:
    return 1


contrastive = register(
    Loss(
        DistanceSpec(
            "contrastive",
            2,
            _one_pair,
            contrastive_value,
            contrastive_grad,
            contrastive_hess,
            (
                Option("margin", 1.0, number()),
                Option("p", 2.0, number(1.0)),
                Option("eps", 0.0, number()),
                Option("half", True, flag),
            ),
        ),
        rf"""
        Contrastive loss of two embeddings that are to be close, or apart.

        .. math:: \ell(a, b, y) = \tfrac 1 2 y d^2 + \tfrac 1 2 (1 - y) \max(0, m - d)^2

        The distance d is the p-norm of a - b, and m the margin. With u, the derivative of d by
        a, which for p = 2 is (a - b) / d, the gradient by a is d u where the two are the same
        (y = 1), and -(m - d) u inside the margin where they are not; that by b is minus that by a.
        The hessian may be negative inside the margin.

        Parameters
        ----------
        predictions : array of shape (2, D), (N, 2, D), ...
            {_ENTRIES_DOC} the one before it holds a
            and b.
        targets : array of any integer dtype or bool, of the predictions' shape without these axes
            1 where the two are the same, 0 where they are not.
        margin : float, default 1.0
            From which distance on two that are not the same have a loss of 0.
        {_P_DOC}
        eps : float, default 0.0
            Is added to every entry of a - b first.
        half : bool, default True
            ``False`` leaves the factors 1/2 out.
        {CALL}

        {_ERRORS}

        See Also
        --------
        triplet : of an anchor and two others.

        Notes
        -----
        Source: R. Hadsell, S. Chopra and Y. LeCun, Dimensionality Reduction by Learning an
        Invariant Mapping (2006), with y the other way round; as sentence-transformers'
        ``ContrastiveLoss`` with its Euclidean distance, and, with ``half=False``, as TensorFlow
        Addons' ``contrastive_loss`` of distances. Distances neither overflow nor vanish before
        their time. At a distance of 0 the gradient is 0, and, for p = 2, the hessian 1 (without
        `half` 2) where the two are the same, else 0. Where two entries are equal and p < 2, the
        hessian, which has no finite value, is taken as 0.

        Examples
        --------
        >>> import numpy as np
        >>> import fastloss as fl
        >>> pairs = np.array([[[3.0, 4.0], [0.0, 0.0]], [[0.3, 0.4], [0.0, 0.0]]])
        >>> loss, grad = fl.contrastive.value_and_grad(pairs, np.array([1, 0]), reduction="none")
        >>> loss.round(6).tolist(), grad[:, 0].round(6).tolist()
        ([12.5, 0.125], [[3.0, 4.0], [-0.3, -0.4]])
        """,
    )
)

# --- triplets ---------------------------------------------------------------------------


@inline
def nearest_negative(distances):
    """Number of the distance to the negative: its own, or the smaller one of the positive."""
    nearest = 1
    for k in range(2, len(distances)):
        nearest = k if distances[k] < distances[nearest] else nearest
    return nearest


@inline
def triplet_gap(distances, margin):
    return margin + (distances[0] - distances[nearest_negative(distances)])


def triplet_value(distances, target, margin):
    gap = triplet_gap(distances, margin)
    return maximum(gap, const(0.0, gap))


def triplet_grad(k, distances, target, margin):
    gap = triplet_gap(distances, margin)
    sign = const(1.0, gap) if k == 0 else const(0.0, gap)
    sign = const(-1.0, gap) if k == nearest_negative(distances) else sign
    return inside_margin(gap, sign)


def triplet_hess(k, distances, target, margin):
    return const(0.0, margin)


def _pairs_of_triplet(options: Mapping[str, Any]) -> int:
    return 3 if options["swap"] else 2


triplet = register(
    Loss(
        DistanceSpec(
            "triplet",
            3,
            _pairs_of_triplet,
            triplet_value,
            triplet_grad,
            triplet_hess,
            (
                Option("margin", 1.0, number()),
                Option("p", 2.0, number(1.0)),
                Option("swap", False, flag),
                Option("eps", 1e-6, number()),
            ),
            ordered=True,
        ),
        rf"""
        Triplet loss: an anchor is to be closer to the positive than to the negative.

        .. math:: \ell(a, b, c) = \max(0, \mathrm{{margin}} + d(a, b) - d(a, c))

        The anchor is a, the positive b, the negative c, and d the p-norm of their difference. With
        u and v, the derivatives of the two distances by a, the gradient by (a, b, c) is
        (u - v, -u, v) inside the margin, and 0 from the margin on: all three in one call. The
        hessian may be negative.

        Parameters
        ----------
        predictions : array of shape (3, D), (N, 3, D), ...
            {_ENTRIES_DOC} the one before it holds the
            anchor and two others.
        targets : array of any integer dtype or bool, of the predictions' shape without these axes
            Which of the two others is the positive: 0 for (anchor, positive, negative), 1 for
            (anchor, negative, positive).
        margin : float, default 1.0
            By how much the negative must be farther away for a loss of 0.
        {_P_DOC}
        swap : bool, default False
            Whether the distance from the positive to the negative, where it is the smaller one,
            takes the place of that from the anchor to the negative.
        eps : float, default 1e-06
            Is added to every entry of a difference first.
        {CALL}

        {_ERRORS}

        See Also
        --------
        contrastive : of pairs.

        Notes
        -----
        Sources: V. Balntas et al., Learning local feature descriptors with triplets and shallow
        convolutional neural networks (2016); as PyTorch's ``triplet_margin_loss``. With
        ``eps=0`` also as optax's ``triplet_margin_loss`` with ``eps=0``, for even p. Distances
        neither overflow nor vanish before their time. At a distance of 0 its derivatives are 0;
        where `swap` finds equal distances, that of the anchor counts. Where two entries are equal
        and p < 2, the hessian, which has no finite value, is taken as 0.

        Examples
        --------
        >>> import numpy as np
        >>> import fastloss as fl
        >>> triplets = np.array([[[0.0, 0.0], [3.0, 4.0], [0.0, 2.0]]])
        >>> loss, grad = fl.triplet.value_and_grad(triplets, np.zeros(1, int), eps=0.0)
        >>> float(loss), grad[0].round(6).tolist()
        (4.0, [[-0.6, 0.2], [0.6, 0.8], [0.0, -1.0]])
        """,
    )
)
