"""Losses of regression: functions of the error d = prediction - target."""

from __future__ import annotations

import math

from fastloss.checks import flag, number
from fastloss.elementary import (
    const,
    divide,
    exp,
    expm1,
    log,
    log1p,
    log1p_unit,
    maximum,
    tanh,
)
from fastloss.loss import register
from fastloss.losses.describe import ARRAYS, CALL, ERRORS
from fastloss.losses.pieces import inline, sign, unless_nan
from fastloss.pointwise import pointwise_loss
from fastloss.spec import Option

__all__ = ["charbonnier", "huber", "log_cosh", "mae", "mse", "msle", "quantile", "smooth_l1"]

# --- squared error ----------------------------------------------------------------------


def mse_value(p, t, half=True):
    scale = const(0.5, p) if half else const(1.0, p)
    return scale * (p - t) * (p - t)


def mse_grad(p, t, half=True):
    return p - t if half else const(2.0, p) * (p - t)


def mse_hess(p, t, half=True):
    return const(1.0, p) if half else const(2.0, p)


mse = register(
    pointwise_loss(
        "mse",
        mse_value,
        mse_grad,
        mse_hess,
        (Option("half", True, flag),),
        doc=rf"""
        Squared error of each element, by default half of it.

        .. math:: \ell(p, y) = \tfrac 1 2 (y - p)^2

        The gradient is p - y and the hessian 1.

        {ARRAYS}
        half : bool, default True
            With the factor 1/2; without it the loss, its gradient and its hessian are twice
            as large, which is PyTorch's ``mse_loss``.
        {CALL}

        {ERRORS}

        Notes
        -----
        Source: C. M. Bishop, Pattern Recognition and Machine Learning (2006), eq. 1.2.

        Examples
        --------
        >>> import numpy as np
        >>> import fastloss as fl
        >>> loss, grad = fl.mse.value_and_grad(np.array([1.0, 3.0]), np.array([1.0, 1.0]))
        >>> float(loss), grad.tolist()
        (1.0, [0.0, 1.0])
        """,
    )
)


# --- absolute error ---------------------------------------------------------------------


def mae_value(p, t):
    return abs(p - t)


def mae_grad(p, t):
    return sign(p - t)


def mae_hess(p, t):
    return unless_nan(p - t, const(0.0, p))


mae = register(
    pointwise_loss(
        "mae",
        mae_value,
        mae_grad,
        mae_hess,
        doc=rf"""
        Absolute error of each element.

        .. math:: \ell(p, y) = |p - y|

        The gradient is the sign of p - y, and 0 where they are equal; the hessian is 0.

        {ARRAYS}
        {CALL}

        {ERRORS}

        Notes
        -----
        Source: PyTorch's ``l1_loss``, the same at the tie.

        Examples
        --------
        >>> import numpy as np
        >>> import fastloss as fl
        >>> loss, grad = fl.mae.value_and_grad(
        ...     np.array([1.0, 3.0, 1.0]), np.array([2.0, 1.0, 1.0]), reduction="sum"
        ... )
        >>> float(loss), grad.tolist()
        (3.0, [-1.0, 1.0, 0.0])
        """,
    )
)


# --- quadratic near 0, linear beyond ----------------------------------------------------


def huber_value(p, t, delta=1.0):
    error = abs(p - t)
    linear = delta * (error - const(0.5, p) * delta)
    return linear if error > delta else const(0.5, p) * error * error


def huber_grad(p, t, delta=1.0):
    d = p - t
    return delta * sign(d) if abs(d) > delta else d


def huber_hess(p, t, delta=1.0):
    d = p - t
    return unless_nan(d, const(0.0, p) if abs(d) > delta else const(1.0, p))


huber = register(
    pointwise_loss(
        "huber",
        huber_value,
        huber_grad,
        huber_hess,
        (Option("delta", 1.0, number(above=0.0)),),
        doc=rf"""
        Huber loss of each element: quadratic up to `delta`, linear beyond.

        .. math:: \ell(p, y) = \tfrac 1 2 m^2 + \delta (|p - y| - m), \; m = \min(|p - y|, \delta)

        The gradient is p - y, clipped to [-delta, delta]; the hessian is 1 up to an error of
        delta, that one included, and 0 beyond.

        {ARRAYS}
        delta : float > 0, default 1.0
            Where the parabola turns into a line.
        {CALL}

        {ERRORS}

        See Also
        --------
        smooth_l1 : this loss divided by its threshold.

        Notes
        -----
        Source: P. J. Huber, Robust Estimation of a Location Parameter (1964); as PyTorch's
        ``huber_loss``, optax's ``huber_loss`` and Keras' ``Huber``.

        Examples
        --------
        >>> import numpy as np
        >>> import fastloss as fl
        >>> p, y = np.array([0.5, 3.0]), np.zeros(2)
        >>> loss, grad = fl.huber.value_and_grad(p, y, delta=2.0, reduction="none")
        >>> loss.tolist(), grad.tolist()
        ([0.125, 4.0], [0.5, 2.0])
        """,
    )
)


def smooth_l1_value(p, t, beta=1.0):
    error = abs(p - t)
    quadratic = const(0.5, p) * error * divide(error, beta)
    return quadratic if error < beta else error - const(0.5, p) * beta


def smooth_l1_grad(p, t, beta=1.0):
    d = p - t
    return divide(d, beta) if abs(d) < beta else sign(d)


def smooth_l1_hess(p, t, beta=1.0):
    d = p - t
    inside = divide(const(1.0, p), beta)
    return unless_nan(d, inside if abs(d) < beta else const(0.0, p))


smooth_l1 = register(
    pointwise_loss(
        "smooth_l1",
        smooth_l1_value,
        smooth_l1_grad,
        smooth_l1_hess,
        (Option("beta", 1.0, number(0.0)),),
        doc=rf"""
        Smooth L1 loss of each element: quadratic below `beta`, linear from there on.

        .. math:: \ell(p, y) = \tfrac 1 2 m^2 / \beta + |p - y| - m, \quad m = \min(|p - y|, \beta)

        The gradient is (p - y) / beta, clipped to [-1, 1]; the hessian is 1 / beta below an error
        of beta, and 0 from there on.

        {ARRAYS}
        beta : float >= 0, default 1.0
            Where the parabola turns into a line; with 0 the loss is `mae`.
        {CALL}

        {ERRORS}

        See Also
        --------
        huber : this loss times its threshold.

        Notes
        -----
        Source: R. Girshick, Fast R-CNN (2015); as PyTorch's ``smooth_l1_loss``.

        Examples
        --------
        >>> import numpy as np
        >>> import fastloss as fl
        >>> p, y = np.array([0.5, 3.0]), np.zeros(2)
        >>> loss, grad = fl.smooth_l1.value_and_grad(p, y, beta=2.0, reduction="none")
        >>> loss.tolist(), grad.tolist()
        ([0.0625, 2.0], [0.25, 1.0])
        """,
    )
)


def log_cosh_value(p, t):
    error = abs(p - t)
    shrunk = expm1(-error)
    decayed = const(1.0, p) + shrunk  # e^-error
    # Near 0 as log(1 + (cosh - 1)), whose argument does not cancel; far away from the line.
    near = error < const(1.0, p)
    argument = divide(shrunk * shrunk, const(2.0, p) * decayed) if near else decayed * decayed
    line = const(0.0, p) if near else error - const(math.log(2.0), p)
    return line + log1p_unit(argument)


def log_cosh_grad(p, t):
    return tanh(p - t)


def log_cosh_hess(p, t):
    # 1 - tanh^2 without cancellation.
    e = exp(const(-2.0, p) * abs(p - t))
    return divide(const(4.0, p) * e, (const(1.0, p) + e) * (const(1.0, p) + e))


log_cosh = register(
    pointwise_loss(
        "log_cosh",
        log_cosh_value,
        log_cosh_grad,
        log_cosh_hess,
        doc=rf"""
        Logarithm of the hyperbolic cosine of each element's error.

        .. math:: \ell(p, y) = \log(\cosh(p - y))

        With d = p - y the gradient is tanh(d), the hessian 1 - tanh(d)^2. The loss is about
        d^2 / 2 for small errors and abs(d) - log(2) for large ones, and accurate for both.

        {ARRAYS}
        {CALL}

        {ERRORS}

        Notes
        -----
        Source: Keras' ``LogCosh``, optax's ``log_cosh``.

        Examples
        --------
        >>> import numpy as np
        >>> import fastloss as fl
        >>> loss = fl.log_cosh(np.array([1e-5, 1000.0]), np.zeros(2), reduction="none")
        >>> loss.round(15).tolist()
        [5e-11, 999.306852819440055]
        """,
    )
)


@inline
def hypotenuse(a, b):
    """sqrt(a^2 + b^2) of a >= 0 and b > 0, without squares that overflow."""
    large = maximum(a, b)
    ratio = divide(b if a > b else a, large)
    return large * math.sqrt(const(1.0, a) + ratio * ratio)


def charbonnier_value(p, t, eps=1e-3):
    return hypotenuse(abs(p - t), eps)


def charbonnier_grad(p, t, eps=1e-3):
    d = p - t
    far = abs(d) > eps
    ratio = divide(eps, d) if far else divide(d, eps)
    root = math.sqrt(const(1.0, p) + ratio * ratio)
    return divide(sign(d) if far else ratio, root)


def charbonnier_hess(p, t, eps=1e-3):
    length = hypotenuse(abs(p - t), eps)
    cosine = divide(eps, length)
    return divide(cosine * cosine, length)


charbonnier = register(
    pointwise_loss(
        "charbonnier",
        charbonnier_value,
        charbonnier_grad,
        charbonnier_hess,
        (Option("eps", 1e-3, number(above=0.0)),),
        doc=rf"""
        Charbonnier loss of each element: `mae` with a round tip.

        .. math:: \ell(p, y) = \sqrt{{(p - y)^2 + \epsilon^2}}

        With d = p - y the gradient is d / sqrt(d^2 + eps^2), the hessian
        eps^2 / (d^2 + eps^2)^(3/2). At d = 0 the loss is eps, not 0. Large errors do not overflow
        when they are squared.

        {ARRAYS}
        eps : float > 0, default 1e-3
            The radius of the tip.
        {CALL}

        {ERRORS}

        Notes
        -----
        Source: P. Charbonnier et al., Two Deterministic Half-Quadratic Regularization
        Algorithms for Computed Imaging (1994); as in LapSRN (W.-S. Lai et al., 2017).

        Examples
        --------
        >>> import numpy as np
        >>> import fastloss as fl
        >>> loss, grad = fl.charbonnier.value_and_grad(np.array([3.0]), np.array([0.0]), eps=4.0)
        >>> float(loss), grad.tolist()
        (5.0, [0.6])
        """,
    )
)


# --- quantiles --------------------------------------------------------------------------


def quantile_value(p, t, tau=0.5, right_derivative=False):
    d = p - t
    return (const(1.0, p) - tau) * d if d > const(0.0, p) else -tau * d


def quantile_grad(p, t, tau=0.5, right_derivative=False):
    d, above = p - t, const(1.0, p) - tau
    at_tie = above if right_derivative and d == const(0.0, p) else d  # 0, or nan beside a nan
    below = -tau if d < const(0.0, p) else at_tie
    return above if d > const(0.0, p) else below


def quantile_hess(p, t, tau=0.5, right_derivative=False):
    return unless_nan(p - t, const(0.0, p))


quantile = register(
    pointwise_loss(
        "quantile",
        quantile_value,
        quantile_grad,
        quantile_hess,
        (Option("tau", 0.5, number(0.0, 1.0)), Option("right_derivative", False, flag)),
        doc=rf"""
        Pinball loss of each element.

        .. math:: \ell(p, y) = \max(\tau (y - p), (1 - \tau) (p - y))

        Its mean is smallest where p is the `tau`-quantile of y. The gradient is -tau below the
        target, 1 - tau above it and 0 at it; the hessian is 0.

        {ARRAYS}
        tau : float in [0, 1], default 0.5
            Which quantile; 0.5 is the median, and half of `mae`.
        right_derivative : bool, default False
            Whether the gradient at the target is 1 - tau, as XGBoost and LightGBM have it.
        {CALL}

        {ERRORS}

        Notes
        -----
        Source: R. Koenker and G. Bassett, Regression Quantiles (1978); as scikit-learn's
        ``mean_pinball_loss``.

        Examples
        --------
        >>> import numpy as np
        >>> import fastloss as fl
        >>> p, y = np.array([0.0, 2.0]), np.array([1.0, 1.0])
        >>> fl.quantile(p, y, tau=0.75, reduction="none").tolist()
        [0.75, 0.25]
        """,
    )
)


# --- logarithms -------------------------------------------------------------------------


@inline
def log_ratio(p, t):
    """log((1 + p) / (1 + t)), also where they are close."""
    one = const(1.0, p)
    difference = divide(p - t, one + t)
    near = abs(difference) < const(0.5, p)
    return log1p(difference) if near else log(divide(one + p, one + t))


def msle_value(p, t, half=False):
    u = log_ratio(p, t)
    return (const(0.5, p) if half else const(1.0, p)) * u * u


def msle_grad(p, t, half=False):
    scale = const(1.0, p) if half else const(2.0, p)
    return divide(scale * log_ratio(p, t), const(1.0, p) + p)


def msle_hess(p, t, half=False):
    scale = const(1.0, p) if half else const(2.0, p)
    slope = divide(const(1.0, p), const(1.0, p) + p)
    return scale * (const(1.0, p) - log_ratio(p, t)) * slope * slope


msle = register(
    pointwise_loss(
        "msle",
        msle_value,
        msle_grad,
        msle_hess,
        (Option("half", False, flag),),
        doc=rf"""
        Squared logarithmic error of each element.

        .. math:: \ell(p, y) = (\log(1 + p) - \log(1 + y))^2

        With u = log((1 + p) / (1 + y)) the gradient is 2 u / (1 + p) and the hessian
        2 (1 - u) / (1 + p)^2, which is negative where u > 1.

        {ARRAYS}
            Targets lie above -1, and so do predictions: -1 gives inf, less gives nan.
        half : bool, default False
            With the factor 1/2, as XGBoost's ``reg:squaredlogerror`` has it.
        {CALL}

        {ERRORS}

        Notes
        -----
        Source: scikit-learn's ``mean_squared_log_error``, Keras' ``MeanSquaredLogarithmicError``
        (which lifts negative numbers to 0 first).

        Examples
        --------
        >>> import numpy as np
        >>> import fastloss as fl
        >>> round(float(fl.msle(np.array([np.e - 1.0]), np.array([0.0]))), 12)
        1.0
        """,
    )
)
