"""Losses of binary classification: a probability or a logit, and a label from 0 to 1."""

from __future__ import annotations

from typing import Any

from fastloss.checks import number
from fastloss.elementary import (
    choose,
    clamped_log1m_unit,
    clamped_log_unit,
    const,
    decay,
    exp,
    inline,
    log,
    log1p_unit,
    maximum,
    quotient,
    quotient_normal,
    sigmoid,
)
from fastloss.loss import register
from fastloss.losses.describe import CALL, ERRORS
from fastloss.losses.pieces import scaled
from fastloss.pointwise import pointwise_loss
from fastloss.spec import Domain, Option

__all__ = ["binary_cross_entropy", "binary_cross_entropy_with_logits", "focal", "poly"]

# --- from probabilities -----------------------------------------------------------------


@inline
def as_probability(p):
    """`p` without the rounding that took it out of [0, 1]; -0 is 0, whose logarithm is taken."""
    lifted = const(0.0, p) if p <= const(0.0, p) else p
    return const(1.0, p) if lifted > const(1.0, p) else lifted


def bce_value(p, t):
    p = as_probability(p)
    return -(t * clamped_log_unit(p)) - (const(1.0, p) - t) * clamped_log1m_unit(p)


def bce_grad(p, t):
    p = as_probability(p)
    return quotient_normal(p - t, maximum(p * (const(1.0, p) - p), const(1e-12, p)))


def bce_hess(p, t):
    p = as_probability(p)
    one = const(1.0, p)
    hit = maximum(p, const(1e-12, p))
    miss = maximum(one - p, const(1e-12, p))
    return quotient_normal(t, hit * hit) + quotient_normal(one - t, miss * miss)


@inline
def is_probability(p, tolerance):
    return p >= -tolerance and p <= const(1.0, p) + tolerance


def both_probabilities(p, t, tolerance):
    return is_probability(p, tolerance) and is_probability(t, tolerance)


binary_cross_entropy = register(
    pointwise_loss(
        "binary_cross_entropy",
        bce_value,
        bce_grad,
        bce_hess,
        domain=Domain(both_probabilities, "probabilities in [0, 1], predictions and targets"),
        doc=r"""
        Cross-entropy of the probability of each element.

        .. math:: \ell(p, y) = -[y \log p + (1 - y) \log(1 - p)]

        Each logarithm is at least -100, and the denominators of the derivatives are at least
        1e-12, as in PyTorch: the gradient is (p - y) / max(p (1 - p), 1e-12).

        Parameters
        ----------
        predictions : array, any shape, float64, float32, float16 or bfloat16
            Probabilities. What leaves [0, 1] by no more than rounding counts as 0 or 1.
        targets : array of the same shape, any real dtype
            Probabilities, or labels 0 and 1.
        sample_weight, reduction, grad_output, out
            See `fastloss.loss.Loss`.

        Raises
        ------
        TypeError, ValueError
            For dtypes and shapes that do not fit, and if a prediction or target is nan or
            outside [0, 1]; the error names the first.

        See Also
        --------
        binary_cross_entropy_with_logits : more accurate, and one step less.

        Notes
        -----
        Source: PyTorch's ``binary_cross_entropy``.

        Examples
        --------
        >>> import numpy as np
        >>> import fastloss as fl
        >>> loss = fl.binary_cross_entropy(np.array([0.5, 1.0]), np.array([1.0, 1.0]))
        >>> round(float(loss), 6)
        0.346574
        """,
    )
)


_LOGITS = """Parameters
        ----------
        predictions : array, any shape, float64, float32, float16 or bfloat16
            Logits.
        targets : array of the same shape, any real dtype
            Probabilities, or labels 0 and 1."""

# --- from logits ------------------------------------------------------------------------


@inline
def smoothed(t, label_smoothing):
    return t * (const(1.0, t) - label_smoothing) + const(0.5, t) * label_smoothing


@inline
def sides(z, positive, negative):
    """Of the masses on 1 and on 0 the one that the logit speaks against, and the other one."""
    below = z < const(0.0, z)
    return choose(below, positive, negative), choose(below, negative, positive)


@inline
def logistic_value(z, positive, negative, mass):
    """The cross-entropy of a logit with these masses on 1 and on 0, which sum up to `mass`."""
    wrong, _ = sides(z, positive, negative)
    return wrong * abs(z) + mass * log1p_unit(decay(z))


@inline
def logistic_grad(z, positive, negative):
    # negative * sigmoid(z) - positive * sigmoid(-z), where 1 - sigmoid would cancel.
    wrong, right = sides(z, positive, negative)
    pull = (wrong - right * decay(z)) * larger_sigmoid(z)
    return choose(z < const(0.0, z), -pull, pull)


@inline
def spread(z):
    """sigmoid(z) sigmoid(-z)."""
    large = larger_sigmoid(z)
    return decay(z) * large * large


@inline
def larger_sigmoid(z):
    """sigmoid(abs(z))."""
    one = const(1.0, z)
    return quotient_normal(one, one + decay(z))


def bce_logits_value(z, t, pos_weight=1.0, label_smoothing=0.0):
    y = smoothed(t, label_smoothing)
    positive, negative = pos_weight * y, const(1.0, z) - y
    return logistic_value(z, positive, negative, positive + negative)


def bce_logits_grad(z, t, pos_weight=1.0, label_smoothing=0.0):
    y = smoothed(t, label_smoothing)
    return logistic_grad(z, pos_weight * y, const(1.0, z) - y)


def bce_logits_hess(z, t, pos_weight=1.0, label_smoothing=0.0):
    y = smoothed(t, label_smoothing)
    mass = pos_weight * y + (const(1.0, z) - y)
    return mass * spread(z)


binary_cross_entropy_with_logits = register(
    pointwise_loss(
        "binary_cross_entropy_with_logits",
        bce_logits_value,
        bce_logits_grad,
        bce_logits_hess,
        (
            Option("pos_weight", 1.0, number(0.0, array=True)),
            Option("label_smoothing", 0.0, number(0.0, 1.0)),
        ),
        doc=rf"""
        Cross-entropy of the logit of each element, stable for every finite one.

        .. math:: \ell(z, y) = \log(1 + e^z) - y z

        The gradient is sigmoid(z) - y, the hessian sigmoid(z) sigmoid(-z).

        {_LOGITS}
        pos_weight : number or array, default 1.0
            Weight of the positive part: pos_weight y softplus(-z) + (1 - y) softplus(z). An
            array broadcasts against the predictions, for example one weight per class.
        label_smoothing : float in [0, 1], default 0.0
            With e for its value, targets become y (1 - e) + e / 2.
        {CALL}

        {ERRORS}

        Notes
        -----
        Sources: PyTorch's ``binary_cross_entropy_with_logits`` (`pos_weight`), Keras'
        ``BinaryCrossentropy`` (`label_smoothing`). A nan gives nan. An infinite logit gives inf
        where it is wrong and nan where it is right (0 * inf).

        Examples
        --------
        >>> import numpy as np
        >>> import fastloss as fl
        >>> z, y = np.array([0.0, 1000.0]), np.array([1.0, 0.0])
        >>> fl.binary_cross_entropy_with_logits(z, y, reduction="none").round(6).tolist()
        [0.693147, 1000.0]
        """,
    )
)


# --- focal: the cross-entropy, times the miss to a power ---------------------------------
#
# The miss is q = (1 - y) sigmoid(z) + y sigmoid(-z), the probability of being wrong. It is
# taken by its logarithm: q underflows where a small power of it does not.


@inline
def miss_parts(z, t):
    """e^-|z|, the mass of the larger sigmoid in q, and q (1 + e^-|z|)."""
    e = decay(z)
    outer, inner = sides(z, t, const(1.0, z) - t)
    return e, outer, outer + inner * e


@inline
def log_miss(z, t):
    """log(q); -softplus(-z) for the label 0, -softplus(z) for 1."""
    e, outer, total = miss_parts(z, t)
    hard = -abs(z) if outer == const(0.0, z) else log(total)
    return hard - log1p_unit(e)


@inline
def miss_slope(z, t):
    """sigmoid(z) sigmoid(-z) / q, which stays finite where q underflows."""
    e, outer, total = miss_parts(z, t)
    one = const(1.0, z)
    hard = outer == const(0.0, z)
    return quotient(one if hard else e, (one + e) * (one if hard else total))


@inline
def surprise_of(z, t):
    """The cross-entropy without weights: -log(1 - q) for the labels 0 and 1."""
    one = const(1.0, z)
    return logistic_value(z, t, one - t, one)


@inline
def focal_weight(z, t, alpha):
    one = const(1.0, z)
    balanced = alpha >= const(0.0, alpha)
    positive, negative = choose(balanced, alpha, one), choose(balanced, one - alpha, one)
    return positive * t + negative * (one - t)


@inline
def miss(z, t):
    """q itself."""
    _, _, total = miss_parts(z, t)
    return total * larger_sigmoid(z)


@inline
def focal_power(z, t, gamma):
    """q^gamma; 1 for gamma = 0, even where q is 0."""
    if gamma == const(2.0, gamma):  # no smaller a power underflows before q does
        q = miss(z, t)
        return q * q
    return exp(scaled(gamma, log_miss(z, t)))


@inline
def focal_bend(z, t, gamma):
    """q^(gamma - 1) sigmoid(z) sigmoid(-z): the power's slope, without gamma and its sign."""
    if gamma == const(2.0, gamma):  # without the division, the one of the sigmoids is all
        return miss(z, t) * spread(z)
    return scaled(focal_power(z, t, gamma), miss_slope(z, t))


def focal_value(z, t, alpha=0.25, gamma=2.0):
    surprise = surprise_of(z, t)
    return focal_weight(z, t, alpha) * scaled(focal_power(z, t, gamma), surprise)


def focal_grad(z, t, alpha=0.25, gamma=2.0):
    surprise = surprise_of(z, t)
    slope = focal_power(z, t, gamma) * logistic_grad(z, t, const(1.0, z) - t)
    # gamma (1 - 2 y), as one fused multiplication.
    bend = (gamma + const(-2.0, z) * gamma * t) * focal_bend(z, t, gamma)
    return focal_weight(z, t, alpha) * (slope + scaled(bend, surprise))


def focal_hess(z, t, alpha=0.25, gamma=2.0):
    one, two = const(1.0, z), const(2.0, z)
    surprise = surprise_of(z, t)
    rise = (one - two * t) * miss_slope(z, t)
    bend = rise * (sigmoid(-z) - sigmoid(z)) - rise * rise
    curve = spread(z) + two * gamma * rise * logistic_grad(z, t, one - t)
    curve += scaled(gamma * (gamma * rise * rise + bend), surprise)
    return focal_weight(z, t, alpha) * scaled(focal_power(z, t, gamma), curve)


def _alpha(where: str, value: Any) -> float:
    """Check `alpha`; None becomes -1, torchvision's sign that there is none."""
    return -1.0 if value is None else _UNIT(where, value)


_UNIT = number(0.0, 1.0, optional=True)

focal = register(
    pointwise_loss(
        "focal",
        focal_value,
        focal_grad,
        focal_hess,
        (Option("alpha", 0.25, _alpha), Option("gamma", 2.0, number(0.0), constants=(2.0,))),
        doc=rf"""
        Focal loss of the logit of each element.

        .. math:: \ell(z, y) = a q^\gamma (\log(1 + e^z) - y z)

        q = (1 - y) sigmoid(z) + y sigmoid(-z) is the probability of being wrong, and
        a = alpha y + (1 - alpha) (1 - y). The power is taken in log space, so it is right also
        where q underflows. The hessian may be negative.

        {_LOGITS}
        alpha : float in [0, 1] or None, default 0.25
            Weight of the label 1; that of the label 0 is 1 - alpha. None weighs both with 1.
        gamma : float >= 0, default 2.0
            The larger, the less examples count that are classified well; with 0, and None for
            `alpha`, the loss is `binary_cross_entropy_with_logits`.
        {CALL}

        {ERRORS}

        Notes
        -----
        Source: T.-Y. Lin et al., Focal Loss for Dense Object Detection (2017); as torchvision's
        ``sigmoid_focal_loss`` (where alpha = -1 is our None), optax's ``sigmoid_focal_loss``
        and Keras' ``BinaryFocalCrossentropy``.

        Examples
        --------
        >>> import numpy as np
        >>> import fastloss as fl
        >>> z, y = np.array([0.0, 2.0, -1000.0]), np.array([1, 1, 1])
        >>> fl.focal(z, y, alpha=None, reduction="none").round(6).tolist()
        [0.173287, 0.001804, 1000.0]
        """,
    )
)


# --- poly: the cross-entropy and the first term of its expansion, reweighted --------------


def poly_value(z, t, epsilon=2.0):
    return surprise_of(z, t) + epsilon * miss(z, t)


def poly_grad(z, t, epsilon=2.0):
    tilt = epsilon + const(-2.0, z) * epsilon * t
    return logistic_grad(z, t, const(1.0, z) - t) + tilt * spread(z)


def poly_hess(z, t, epsilon=2.0):
    tilt = epsilon * (const(1.0, z) - const(2.0, z) * t) * (sigmoid(-z) - sigmoid(z))
    return spread(z) + tilt * spread(z)


poly = register(
    pointwise_loss(
        "poly",
        poly_value,
        poly_grad,
        poly_hess,
        (Option("epsilon", 2.0, number()),),
        doc=rf"""
        Poly-1 cross-entropy of the logit of each element.

        .. math:: \ell(z, y) = \log(1 + e^z) - y z + \epsilon q

        q = (1 - y) sigmoid(z) + y sigmoid(-z) is the probability of being wrong. For labels 0
        and 1 the cross-entropy is q + q^2 / 2 + q^3 / 3 + ...; the loss reweighs the first term.
        The hessian may be negative.

        {_LOGITS}
        epsilon : float, default 2.0
            Added to the coefficient of that term, which is 1.
        {CALL}

        {ERRORS}

        Notes
        -----
        Source: Z. Leng et al., PolyLoss (2022); optax's ``poly_loss_cross_entropy`` on the two
        classes (0, z).

        Examples
        --------
        >>> import numpy as np
        >>> import fastloss as fl
        >>> loss, grad = fl.poly.value_and_grad(np.array([0.0]), np.array([1]))
        >>> round(float(loss), 6), grad.tolist()
        (1.693147, [-1.0])
        """,
    )
)
