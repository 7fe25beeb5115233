"""Losses of regression: functions of the error d = prediction - target."""

from __future__ import annotations

from fastloss.checks import flag, number
from fastloss.elementary import (
    choose,
    const,
    inline,
    log_of_sum,
    quotient_normal,
)
from fastloss.loss import register
from fastloss.losses.describe import ARRAYS, CALL, ERRORS
from fastloss.losses.pieces import sign, unless_nan
from fastloss.pointwise import pointwise_loss
from fastloss.spec import Option

__all__ = ["mae", "mse", "msle", "quantile"]

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
def eighth_above(x):
    """(1 + x) / 8: its reciprocal is in the normal range, however large x is."""
    return const(0.125, x) + const(0.125, x) * x


@inline
def log_ratio(p, t):
    """log((1 + p) / (1 + t)), also where they are close."""
    one = const(1.0, p)
    near = abs(p - t) < const(0.5, p) * abs(one + t)
    part = quotient_normal(choose(near, p - t, eighth_above(p)), eighth_above(t))
    gap = const(0.125, p) * part
    ratio = choose(near, one + gap, part)
    return log_of_sum(ratio, choose(near, gap - (ratio - one), const(0.0, p)))


def msle_value(p, t, half=False):
    u = log_ratio(p, t)
    return (const(0.5, p) if half else const(1.0, p)) * u * u


def msle_grad(p, t, half=False):
    scale = const(0.125, p) if half else const(0.25, p)
    return scale * quotient_normal(log_ratio(p, t), eighth_above(p))


def msle_hess(p, t, half=False):
    scale = const(1.0, p) if half else const(2.0, p)
    slope = quotient_normal(const(0.125, p), eighth_above(p))
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
