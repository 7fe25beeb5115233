"""Negative log-likelihoods of counts, amounts and normal errors."""

from __future__ import annotations

import math

from fastloss.checks import flag, number
from fastloss.elementary import choose, const, exp, inline, log, maximum, quotient
from fastloss.loss import register
from fastloss.losses.describe import ARRAYS, CALL, ERRORS
from fastloss.losses.pieces import scaled, scaled_exp
from fastloss.pointwise import pointwise_loss
from fastloss.spec import Option

__all__ = ["gamma_nll", "gaussian_nll", "poisson_nll", "tweedie_nll"]

_LOG_INPUT = Option("log_input", True, flag, constants=(True,))
_FULL = Option("full", False, flag, constants=(False,))

# --- Poisson ----------------------------------------------------------------------------


@inline
def log_factorial(t):
    """(a, b) with log(t!) = a t + b: Stirling's approximation for t > 1, else 0, as PyTorch's."""
    zero, one = const(0.0, t), const(1.0, t)
    rest = const(0.5, t) * (log(t) + const(math.log(2.0 * math.pi), t))
    return log(t) - one if t > one else zero, rest if t > one else zero


@inline
def rate_value(p, t, log_input, eps, per_count):
    """The loss without a constant; `per_count` is added for each of a count's events."""
    if log_input:
        rate = exp(p)
        # Beyond the range it is beyond all others; a fused multiplication would not see that.
        # With "if", the target would be loaded under a mask, when the exponential is there.
        return choose(rate == const(math.inf, p), rate, rate - scaled(t, p - per_count))
    return p - scaled(t, log(p + eps) - per_count)


def poisson_value(p, t, log_input=True, full=False, eps=1e-8):
    if full:
        per_count, rest = log_factorial(t)
        return rate_value(p, t, log_input, eps, per_count) + rest
    return rate_value(p, t, log_input, eps, const(0.0, t))


def poisson_grad(p, t, log_input=True, full=False, eps=1e-8):
    rate = p + eps
    # Not by `scaled`: a rate that is nan has no derivative either.
    slope = quotient(t, rate) if rate != const(0.0, p) or t != const(0.0, t) else rate
    return exp(p) - t if log_input else const(1.0, p) - slope


def poisson_hess(p, t, log_input=True, full=False, eps=1e-8):
    slope = quotient(const(1.0, p), p + eps)
    return exp(p) if log_input else scaled(scaled(t, slope), slope)


poisson_nll = register(
    pointwise_loss(
        "poisson_nll",
        poisson_value,
        poisson_grad,
        poisson_hess,
        (_LOG_INPUT, _FULL, Option("eps", 1e-8, number(0.0))),
        doc=rf"""
        Poisson loss of each count, from the logarithm of its rate.

        .. math:: \ell(p, y) = e^p - y p

        The gradient is exp(p) - y, the hessian exp(p). Without `log_input` p is the rate, and
        the loss p - y log(p + eps).

        {ARRAYS}
            Counts; that they are at least 0 is not checked.
        log_input : bool, default True
            Whether predictions are logarithms of rates.
        full : bool, default False
            Adds Stirling's y log(y) - y + log(2 pi y) / 2 for y > 1, the constant of the
            likelihood.
        eps : float >= 0, default 1e-8
            Added to a rate before its logarithm is taken.
        {CALL}

        {ERRORS}

        Notes
        -----
        Source: PyTorch's ``poisson_nll_loss``; the gradient is that of XGBoost's
        ``count:poisson``. For a count of 0 the second term is 0, whatever the
        rate.

        Examples
        --------
        >>> import numpy as np
        >>> import fastloss as fl
        >>> loss, grad = fl.poisson_nll.value_and_grad(np.array([0.0]), np.array([3.0]))
        >>> float(loss), grad.tolist()
        (1.0, [-2.0])
        """,
    )
)


# --- normal -----------------------------------------------------------------------------


def gaussian_value(p, t, var=1.0, full=False, eps=1e-6):
    spread = maximum(var, eps)
    loss = const(0.5, p) * (log(spread) + (p - t) * quotient(p - t, spread))
    return loss + const(0.5 * math.log(2.0 * math.pi), p) if full else loss


def gaussian_grad(p, t, var=1.0, full=False, eps=1e-6):
    return quotient(p - t, maximum(var, eps))


def gaussian_hess(p, t, var=1.0, full=False, eps=1e-6):
    return quotient(const(1.0, p), maximum(var, eps))


gaussian_nll = register(
    pointwise_loss(
        "gaussian_nll",
        gaussian_value,
        gaussian_grad,
        gaussian_hess,
        (
            Option("var", 1.0, number(0.0, array=True)),
            _FULL,
            Option("eps", 1e-6, number(above=0.0)),
        ),
        doc=rf"""
        Gaussian loss of each target, with the prediction as its mean.

        .. math:: \ell(p, y) = \tfrac 1 2 (\log v + (p - y)^2 / v)

        v is `var`, or `eps` where that is larger. The gradient is (p - y) / v, the hessian 1 / v;
        no derivative by `var` is taken.

        {ARRAYS}
        var : number or array, default 1.0
            Variances; an array broadcasts against the predictions.
        full : bool, default False
            Adds log(2 pi) / 2, the constant of the likelihood.
        eps : float > 0, default 1e-6
            The least variance that counts.
        {CALL}

        {ERRORS}

        Notes
        -----
        Source: PyTorch's ``gaussian_nll_loss``.

        Examples
        --------
        >>> import numpy as np
        >>> import fastloss as fl
        >>> p, y = np.array([1.0, 3.0]), np.array([0.0, 0.0])
        >>> fl.gaussian_nll.grad(p, y, var=np.array([1.0, 4.0]), reduction="sum").tolist()
        [1.0, 0.75]
        """,
    )
)


# --- gamma ------------------------------------------------------------------------------


def gamma_value(p, t, log_input=True):
    return p + scaled_exp(t, -p) if log_input else log(p) + quotient(t, p)


def gamma_grad(p, t, log_input=True):
    one = const(1.0, p)
    rest = one - quotient(t, p)
    return one - scaled_exp(t, -p) if log_input else quotient(rest, p)


def gamma_hess(p, t, log_input=True):
    rest = const(2.0, p) * quotient(t, p) - const(1.0, p)
    return scaled_exp(t, -p) if log_input else quotient(quotient(rest, p), p)


gamma_nll = register(
    pointwise_loss(
        "gamma_nll",
        gamma_value,
        gamma_grad,
        gamma_hess,
        (_LOG_INPUT,),
        doc=rf"""
        Gamma loss of each amount, from the logarithm of its mean.

        .. math:: \ell(p, y) = p + y e^{{-p}}

        The gradient is 1 - y exp(-p), the hessian y exp(-p). Without `log_input` p is the mean
        itself, the loss log(p) + y / p, and the hessian (2 y / p - 1) / p^2 may be negative.

        {ARRAYS}
            Amounts above 0, which is not checked.
        log_input : bool, default True
            Whether predictions are logarithms of means.
        {CALL}

        {ERRORS}

        Notes
        -----
        Source: XGBoost's ``reg:gamma``, LightGBM's ``gamma`` and scikit-learn's
        ``HalfGammaLoss``, which drop what depends on y and on the shape alone.

        Examples
        --------
        >>> import numpy as np
        >>> import fastloss as fl
        >>> loss, grad = fl.gamma_nll.value_and_grad(np.array([0.0]), np.array([3.0]))
        >>> float(loss), grad.tolist()
        (3.0, [-2.0])
        """,
    )
)


# --- Tweedie ----------------------------------------------------------------------------


@inline
def tweedie_terms(p, t, power):
    """(y exp((1 - power) p), exp((2 - power) p)), and the factors of p."""
    pull, push = const(1.0, p) - power, const(2.0, p) - power
    return scaled_exp(t, pull * p), exp(push * p), pull, push


def tweedie_value(p, t, power=1.5):
    near, far, pull, push = tweedie_terms(p, t, power)
    one = const(1.0, p)
    return far * quotient(one, push) - near * quotient(one, pull)


def tweedie_grad(p, t, power=1.5):
    near, far, _, _ = tweedie_terms(p, t, power)
    return far - near


def tweedie_hess(p, t, power=1.5):
    near, far, pull, push = tweedie_terms(p, t, power)
    return push * far - pull * near


tweedie_nll = register(
    pointwise_loss(
        "tweedie_nll",
        tweedie_value,
        tweedie_grad,
        tweedie_hess,
        (Option("power", 1.5, number(above=1.0, below=2.0)),),
        doc=rf"""
        Tweedie loss of each amount, from the logarithm of its mean.

        .. math:: \ell(p, y) = e^{{(2 - r) p}} / (2 - r) - y e^{{(1 - r) p}} / (1 - r)

        r is `power`, and p the logarithm of the mean. The gradient is
        exp((2 - r) p) - y exp((1 - r) p); the hessian is positive.

        {ARRAYS}
            Amounts of at least 0, which is not checked.
        power : float, 1 < power < 2, default 1.5
            The variance is proportional to the mean to this power: near 1 as for counts
            (`poisson_nll`), near 2 as for positive amounts (`gamma_nll`).
        {CALL}

        {ERRORS}

        Notes
        -----
        Source: XGBoost's ``reg:tweedie``, LightGBM's ``tweedie``, scikit-learn's
        ``HalfTweedieLoss``, which drop what depends on y alone. For a target of 0 the second
        term is 0, whatever the mean.

        Examples
        --------
        >>> import numpy as np
        >>> import fastloss as fl
        >>> loss, grad = fl.tweedie_nll.value_and_grad(np.array([0.0]), np.array([3.0]))
        >>> float(loss), grad.tolist()
        (8.0, [-2.0])
        """,
    )
)
