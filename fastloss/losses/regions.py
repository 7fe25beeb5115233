r"""Losses of the overlap between a predicted region and a target, such as a segmentation mask.

With p the probability of an element to be in the region and t its target, a region has the

    overlap I = sum p t,    false positives F = sum p (1 - t),    misses M = sum (1 - p) t,

all sums of what is not negative: nothing cancels in them. Each loss is

    L = W / E,    W = alpha F + beta M,    E = I + W + smooth,

for dice alpha = beta = 1/2 and half the smoothing, for jaccard alpha = beta = 1. By the p of an
element W has the derivative w = alpha (1 - t) - beta t and E has e = t + w, so with S = 1 - L =
(I + smooth) / E the derivatives are

    L' = (w S - t L) / E    and    L'' = -2 L' e / E.
"""

from __future__ import annotations

from fastloss.checks import flag, indices, number
from fastloss.elementary import const, divide, exp, inline
from fastloss.loss import Loss, register
from fastloss.losses.describe import CALL, CLASS_ERRORS
from fastloss.spec import Option, Reduction, Round, RowSpec

__all__ = ["dice", "jaccard", "tversky"]

FROM_LOGITS = Option("from_logits", False, flag)
SMOOTH = Option("smooth", 1e-5, number(0.0))
REGION_AXES = Option("axis", (-2, -1), indices)

_ARRAYS_DOC = """predictions : array of shape (N, C, H, W), (N, H, W), ...
            Probabilities, of dtype float64, float32, float16 or bfloat16, of each element of a
            region to be part of it; the regions lie on `axis`. With `from_logits` their logits.
        targets : array of the predictions' shape, float64, float32, float16 or bfloat16
            1 for the elements of the region and 0 for the others, or probabilities."""

_OPTIONS_DOC = f"""from_logits : bool, default False
            Whether the predictions are logits, of which the sigmoid is taken.
        axis : int or tuple of ints, default (-2, -1)
            The axes of a region: height and width of an image; ``(-3, -2, -1)`` for volumes. The
            loss has the predictions' shape without them.
        {CALL} The weights are those of regions."""

_EDGES_DOC = """An empty target with nothing predicted is a match: loss 0, with
        ``smooth=0`` too, and then with gradient 0. The less there is in both, the steeper the
        loss: the gradient of what is empty is of size 1 / `smooth`. A region with an empty target
        that something is predicted for has loss 1, but for the smoothing. A match keeps its
        digits, for the loss is summed from what differs and not taken from 1. Values outside [0, 1]
        are not refused. A region with a nan is nan."""


# --- what they share --------------------------------------------------------------------


@inline
def probabilities(z, from_logits):
    """p and 1 - p, each with all its digits."""
    one = const(1.0, z)
    if from_logits:
        # Both sigmoids of one exponential and one division.
        e = exp(-abs(z))
        larger = divide(one, one + e)
        smaller = e * larger
        return (smaller, larger) if z < const(0.0, z) else (larger, smaller)
    return z, one - z


@inline
def overlap(z, t, from_logits):
    """The element's part of I."""
    p, _ = probabilities(z, from_logits)
    return p * t


@inline
def difference(z, t, alpha, beta, from_logits):
    """The element's part of W."""
    p, rest = probabilities(z, from_logits)
    return alpha * (p * (const(1.0, t) - t)) + beta * (rest * t)


@inline
def share(part, whole):
    """part / whole; 0 where there is nothing at all."""
    return divide(part, whole) if whole != const(0.0, whole) else whole


@inline
def region_value(row, smooth):
    """L."""
    _, _, i, w = row
    return share(w, i + w + smooth)


@inline
def by_probability(t, row, alpha, beta, smooth):
    """L' and L''."""
    _, _, inside, outside = row
    whole = inside + outside + smooth
    w = alpha * (const(1.0, t) - t) - beta * t
    slope = share(w * share(inside + smooth, whole) - t * share(outside, whole), whole)
    return slope, const(-2.0, t) * share(slope * (t + w), whole)


@inline
def region_grad(z, t, row, alpha, beta, smooth, from_logits):
    """The first derivative by the prediction."""
    slope, _ = by_probability(t, row, alpha, beta, smooth)
    if from_logits:
        p, rest = probabilities(z, from_logits)
        slope = slope * (p * rest)
    return slope


@inline
def region_hess(z, t, row, alpha, beta, smooth, from_logits):
    """The second derivative by the prediction."""
    slope, bend = by_probability(t, row, alpha, beta, smooth)
    if from_logits:
        p, rest = probabilities(z, from_logits)
        by_logit = p * rest
        bend = bend * by_logit * by_logit + slope * by_logit * (rest - p)
    return bend


# --- Tversky ----------------------------------------------------------------------------


def tversky_overlap(z, t, c, row, alpha, beta, smooth, from_logits):
    return overlap(z, t, from_logits)


def tversky_difference(z, t, c, row, alpha, beta, smooth, from_logits):
    return difference(z, t, alpha, beta, from_logits)


def tversky_value(row, alpha, beta, smooth, from_logits):
    return region_value(row, smooth)


def tversky_grad(z, t, c, row, alpha, beta, smooth, from_logits):
    return region_grad(z, t, row, alpha, beta, smooth, from_logits)


def tversky_hess(z, t, c, row, alpha, beta, smooth, from_logits):
    return region_hess(z, t, row, alpha, beta, smooth, from_logits)


# --- dice: Tversky with 1/2 and half the smoothing --------------------------------------


def dice_overlap(z, t, c, row, smooth, from_logits):
    return overlap(z, t, from_logits)


def dice_difference(z, t, c, row, smooth, from_logits):
    half = const(0.5, t)
    return difference(z, t, half, half, from_logits)


def dice_value(row, smooth, from_logits):
    return region_value(row, const(0.5, smooth) * smooth)


def dice_grad(z, t, c, row, smooth, from_logits):
    half = const(0.5, t)
    return region_grad(z, t, row, half, half, half * smooth, from_logits)


def dice_hess(z, t, c, row, smooth, from_logits):
    half = const(0.5, t)
    return region_hess(z, t, row, half, half, half * smooth, from_logits)


dice = register(
    Loss(
        RowSpec(
            "dice",
            (SMOOTH, FROM_LOGITS, REGION_AXES),
            indices=False,
            rounds=(Round((Reduction("sum", dice_overlap), Reduction("sum", dice_difference))),),
            value=dice_value,
            grad=dice_grad,
            hess=dice_hess,
        ),
        rf"""
        What a predicted region and a target lack of overlapping, by the mean of their sizes.

        .. math:: \ell(p, t) = 1 - \frac{{2 \sum p t + s}}{{\sum p + \sum t + s}}

        With the smoothing s and the denominator D, the gradient is (1 - loss - 2 t) / D, and the
        hessian -2 / D times that: it may be negative.

        Parameters
        ----------
        {_ARRAYS_DOC}
        smooth : float >= 0, default 1e-5
            Added to both sides of the fraction; 0 is the plain Dice coefficient.
        {_OPTIONS_DOC}

        {CLASS_ERRORS}

        See Also
        --------
        tversky : weighs false positives and misses apart.
        jaccard : counts what is in either region, the intersection over the union.

        Notes
        -----
        Sources: F. Milletari et al., V-Net (2016), without the squares of its denominator; as
        MONAI's ``DiceLoss``, whose smooth_nr = smooth_dr = 1e-5 is the default here, and Keras'
        ``dice`` (``smooth=1e-7``, one region for all axes); segmentation_models_pytorch has
        ``smooth=0`` by default. {_EDGES_DOC}

        Examples
        --------
        >>> import numpy as np
        >>> import fastloss as fl
        >>> mask = np.array([[[[1.0, 1.0], [0.0, 0.0]]]])  # (N, C, H, W)
        >>> p = np.array([[[[1.0, 0.5], [0.5, 0.0]]]])
        >>> loss, grad = fl.dice.value_and_grad(p, mask, smooth=0.0)
        >>> float(loss), grad[0, 0].tolist()
        (0.25, [[-0.3125, -0.3125], [0.1875, 0.1875]])
        """,
    )
)

tversky = register(
    Loss(
        RowSpec(
            "tversky",
            (
                Option("alpha", 0.5, number(0.0)),
                Option("beta", 0.5, number(0.0)),
                SMOOTH,
                FROM_LOGITS,
                REGION_AXES,
            ),
            indices=False,
            rounds=(
                Round((Reduction("sum", tversky_overlap), Reduction("sum", tversky_difference))),
            ),
            value=tversky_value,
            grad=tversky_grad,
            hess=tversky_hess,
        ),
        rf"""
        What a predicted region and a target lack of overlapping, with weights for either mistake.

        .. math:: \ell(p, t) = 1 -
            \frac{{I + s}}{{I + \alpha \sum p (1 - t) + \beta \sum (1 - p) t + s}},
            \quad I = \sum p t

        With the smoothing s, the denominator D and w = alpha (1 - t) - beta t the gradient is
        (w (1 - loss) - t loss) / D, and the hessian -2 (t + w) / D times that: it may be negative.

        Parameters
        ----------
        {_ARRAYS_DOC}
        alpha : float >= 0, default 0.5
            The weight of false positives: of what is predicted outside of the target.
        beta : float >= 0, default 0.5
            The weight of false negatives: of what is missed of the target.
        smooth : float >= 0, default 1e-5
            Added to both sides of the fraction. With alpha = beta = 0.5 the loss is `dice` with
            twice that, with alpha = beta = 1 it is `jaccard` with the same.
        {_OPTIONS_DOC}

        {CLASS_ERRORS}

        See Also
        --------
        dice : both mistakes weigh the same.

        Notes
        -----
        Sources: S. S. M. Salehi et al., Tversky loss function for image segmentation using 3D fully
        convolutional deep networks (2017); alpha and beta as in Keras' ``tversky`` and MONAI's
        ``TverskyLoss``. {_EDGES_DOC}

        Examples
        --------
        >>> import numpy as np
        >>> import fastloss as fl
        >>> mask = np.array([[1.0, 1.0, 0.0, 0.0]])
        >>> p = np.array([[1.0, 0.0, 1.0, 0.0]])
        >>> fl.tversky(p, mask, alpha=0.25, beta=0.75, smooth=0.0, axis=-1).tolist()
        0.5
        """,
    )
)


# --- Jaccard: Tversky with 1 ------------------------------------------------------------


def jaccard_difference(z, t, c, row, smooth, from_logits):
    one = const(1.0, t)
    return difference(z, t, one, one, from_logits)


def jaccard_value(row, smooth, from_logits):
    return region_value(row, smooth)


def jaccard_grad(z, t, c, row, smooth, from_logits):
    one = const(1.0, t)
    return region_grad(z, t, row, one, one, smooth, from_logits)


def jaccard_hess(z, t, c, row, smooth, from_logits):
    one = const(1.0, t)
    return region_hess(z, t, row, one, one, smooth, from_logits)


jaccard = register(
    Loss(
        RowSpec(
            "jaccard",
            (SMOOTH, FROM_LOGITS, REGION_AXES),
            indices=False,
            rounds=(Round((Reduction("sum", dice_overlap), Reduction("sum", jaccard_difference))),),
            value=jaccard_value,
            grad=jaccard_grad,
            hess=jaccard_hess,
        ),
        rf"""
        What the intersection of a predicted region and a target lacks of their union.

        .. math:: \ell(p, t) = 1 - \frac{{\sum p t + s}}{{\sum p + \sum t - \sum p t + s}}

        Soft IoU. With the smoothing s and the denominator D the gradient is
        ((1 - t) (1 - loss) - t) / D, and the hessian -2 (1 - t) / D times that: it may be negative.

        Parameters
        ----------
        {_ARRAYS_DOC}
        smooth : float >= 0, default 1e-5
            Added to both sides of the fraction; 0 is the plain intersection over union.
        {_OPTIONS_DOC}

        {CLASS_ERRORS}

        See Also
        --------
        dice : by the mean of the sizes rather than the union.

        Notes
        -----
        Sources: A. Rahman and Y. Wang, Optimizing Intersection-Over-Union in Deep Neural Networks
        for Image Segmentation (2016); as segmentation_models_pytorch's ``JaccardLoss``. MONAI's
        ``DiceLoss`` with ``jaccard=True`` has both sides of the fraction twice, and so half the
        smoothing. {_EDGES_DOC}

        Examples
        --------
        >>> import numpy as np
        >>> import fastloss as fl
        >>> mask = np.array([[1.0, 1.0, 0.0, 0.0]])
        >>> p = np.array([[1.0, 0.0, 1.0, 0.0]])
        >>> round(fl.jaccard(p, mask, smooth=0.0, axis=-1).tolist(), 6)
        0.666667
        """,
    )
)
