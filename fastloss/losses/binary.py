"""Losses of binary classification."""

from __future__ import annotations

from fastloss.checks import flag, number
from fastloss.elementary import const, divide, log1p, maximum, sigmoid, softplus
from fastloss.loss import register
from fastloss.losses.probabilities import inline, surprise
from fastloss.pointwise import pointwise_loss
from fastloss.spec import Domain, Option

# --- from probabilities -----------------------------------------------------------------


@inline
def as_probability(p):
    """`p` without the rounding that took it out of [0, 1]."""
    lifted = const(0.0, p) if p < const(0.0, p) else p
    return const(1.0, p) if lifted > const(1.0, p) else lifted


def bce_value(p, t):
    p = as_probability(p)
    complement = maximum(log1p(-p), const(-100.0, p))
    return t * surprise(p) - (const(1.0, p) - t) * complement


def bce_grad(p, t):
    p = as_probability(p)
    return divide(p - t, maximum(p * (const(1.0, p) - p), const(1e-12, p)))


def bce_hess(p, t):
    p = as_probability(p)
    one = const(1.0, p)
    hit = maximum(p, const(1e-12, p))
    miss = maximum(one - p, const(1e-12, p))
    return divide(t, hit * hit) + divide(one - t, miss * miss)


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
        ValueError
            If a prediction or target is nan or outside [0, 1]; it names the first.

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


# --- from logits ------------------------------------------------------------------------


@inline
def smoothed(t, label_smoothing):
    return t * (const(1.0, t) - label_smoothing) + const(0.5, t) * label_smoothing


def bce_logits_value(z, t, pos_weight=1.0, label_smoothing=0.0):
    y = smoothed(t, label_smoothing)
    return pos_weight * y * softplus(-z) + (const(1.0, z) - y) * softplus(z)


def bce_logits_grad(z, t, pos_weight=1.0, label_smoothing=0.0):
    y = smoothed(t, label_smoothing)
    # Each term has the tail that is small: 1 - sigmoid(z) would cancel.
    return (const(1.0, z) - y) * sigmoid(z) - pos_weight * y * sigmoid(-z)


def bce_logits_hess(z, t, pos_weight=1.0, label_smoothing=0.0):
    y = smoothed(t, label_smoothing)
    mass = pos_weight * y + (const(1.0, z) - y)
    return mass * sigmoid(z) * sigmoid(-z)


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
        doc=r"""
        Cross-entropy of the logit of each element, stable for every finite one.

        .. math:: \ell(z, y) = \log(1 + e^z) - y z

        The gradient is sigmoid(z) - y, the hessian sigmoid(z) (1 - sigmoid(z)).

        Parameters
        ----------
        predictions : array, any shape, float64, float32, float16 or bfloat16
            Logits.
        targets : array of the same shape, any real dtype
            Probabilities, or labels 0 and 1.
        pos_weight : number or array, default 1.0
            Weight of the positive part: pos_weight y log(1 + e^-z) + (1 - y) log(1 + e^z). An
            array broadcasts against the predictions, for example one weight per class.
        label_smoothing : float in [0, 1], default 0.0
            Targets become y (1 - e) + e / 2.
        sample_weight, reduction, grad_output, out
            See `fastloss.loss.Loss`.

        Raises
        ------
        TypeError, ValueError
            For dtypes, shapes and options that do not fit; targets do not broadcast.

        Notes
        -----
        Sources: PyTorch's ``binary_cross_entropy_with_logits`` (`pos_weight`), Keras'
        ``BinaryCrossentropy`` (`label_smoothing`). A nan gives nan, and so does an infinite
        logit, beside whose tail of 0 stands 0 * inf.

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


# --- margins ----------------------------------------------------------------------------


def hinge_value(p, t, margin=1.0, squared=False):
    gap = maximum(margin - p * t, const(0.0, p))
    return gap * gap if squared else gap


@inline
def inside_margin(gap, derivative):
    """`derivative` where the gap is positive, else 0; nan stays."""
    outside = gap if gap != gap else const(0.0, gap)
    return derivative if gap > const(0.0, gap) else outside


def hinge_grad(p, t, margin=1.0, squared=False):
    gap = margin - p * t
    slope = const(-2.0, p) * gap * t if squared else -t
    return inside_margin(gap, slope)


def hinge_hess(p, t, margin=1.0, squared=False):
    gap = margin - p * t
    curvature = const(2.0, p) * t * t if squared else const(0.0, p)
    return inside_margin(gap, curvature)


def plus_minus_one(p, t, tolerance):
    return t == const(1.0, t) or t == const(-1.0, t)


hinge = register(
    pointwise_loss(
        "hinge",
        hinge_value,
        hinge_grad,
        hinge_hess,
        (Option("margin", 1.0, number()), Option("squared", False, flag)),
        domain=Domain(plus_minus_one, "targets -1 or +1"),
        doc=r"""
        Hinge loss of the score of each element.

        .. math:: \ell(p, y) = \max(0, \mathrm{margin} - y p)

        The gradient is -y inside the margin and 0 outside; at the margin exactly, where there
        is none, it is 0.

        Parameters
        ----------
        predictions : array, any shape, float64, float32, float16 or bfloat16
            Scores.
        targets : array of the same shape, any real dtype
            -1 or +1.
        margin : float, default 1.0
        squared : bool, default False
            max(0, margin - y p)^2, with the gradient -2 y max(0, margin - y p).
        sample_weight, reduction, grad_output, out
            See `fastloss.loss.Loss`.

        Raises
        ------
        ValueError
            If a target is neither -1 nor +1; it names the first.

        Notes
        -----
        Source: C. Cortes and V. Vapnik, Support-Vector Networks (1995); as scikit-learn's
        ``hinge_loss`` on signed labels.

        Examples
        --------
        >>> import numpy as np
        >>> import fastloss as fl
        >>> loss, grad = fl.hinge.value_and_grad(
        ...     np.array([0.5, 2.0, 1.0]), np.array([1, 1, 1]), reduction="none"
        ... )
        >>> loss.tolist(), grad.tolist()
        ([0.5, 0.0, 0.0], [-1.0, 0.0, 0.0])
        """,
    )
)
