"""Losses of regression that pull outliers no harder than the absolute error does."""

from __future__ import annotations

import math

from fastloss.checks import number
from fastloss.elementary import (
    choose,
    const,
    decay,
    expm1_nonpositive,
    inline,
    log1p_unit,
    quotient,
    quotient_normal,
    sqrt,
)
from fastloss.loss import register
from fastloss.losses.describe import ARRAYS, CALL, ERRORS
from fastloss.losses.pieces import sign, unless_nan
from fastloss.pointwise import pointwise_loss
from fastloss.spec import Option

__all__ = ["charbonnier", "huber", "log_cosh", "smooth_l1"]

LN2 = math.log(2.0)

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
    quadratic = const(0.5, p) * error * quotient(error, beta)
    return quadratic if error < beta else error - const(0.5, p) * beta


def smooth_l1_grad(p, t, beta=1.0):
    d = p - t
    return quotient(d, beta) if abs(d) < beta else sign(d)


def smooth_l1_hess(p, t, beta=1.0):
    d = p - t
    inside = quotient(const(1.0, p), beta)
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
    shrunk = expm1_nonpositive(-error)
    decayed = const(1.0, p) + shrunk  # e^-error
    # Near 0 as log(1 + (cosh - 1)), whose argument does not cancel; far away from the line.
    near = error < const(1.0, p)
    risen = quotient_normal(shrunk * shrunk, const(2.0, p) * decayed)
    argument = choose(near, risen, decayed * decayed)
    line = const(0.0, p) if near else error - const(LN2, p)
    return line + log1p_unit(argument)


def log_cosh_grad(p, t):
    # tanh(d), by the exponential that the value has: e^-2d - 1 = s (2 + s) with s = e^-d - 1.
    d, two = p - t, const(2.0, p)
    shrunk = expm1_nonpositive(-abs(d))
    shrunk *= two + shrunk
    slope = quotient_normal(-shrunk, two + shrunk)
    return -slope if d < const(0.0, p) else slope


def log_cosh_hess(p, t):
    # 1 - tanh^2 without cancellation.
    e = decay(const(2.0, p) * (p - t))
    return quotient_normal(const(4.0, p) * e, (const(1.0, p) + e) * (const(1.0, p) + e))


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
        [5e-11, 999.3068528194401]
        """,
    )
)


@inline
def legs(d, eps):
    """(longer leg, whether that is |d|, shorter by longer, hypotenuse by longer).

    By the longer leg, for squares would overflow.
    """
    error = abs(d)
    far = error > eps
    longer = choose(far, error, eps)
    ratio = quotient(choose(far, eps, error), longer)
    return longer, far, ratio, sqrt(const(1.0, d) + ratio * ratio)


def charbonnier_value(p, t, eps=1e-3):
    longer, _, _, root = legs(p - t, eps)
    return longer * root


def charbonnier_grad(p, t, eps=1e-3):
    d = p - t
    _, far, ratio, root = legs(d, eps)
    slope = quotient_normal(choose(far, const(1.0, p), ratio), root)
    return -slope if d < const(0.0, p) else slope


def charbonnier_hess(p, t, eps=1e-3):
    length = charbonnier_value(p, t, eps)
    cosine = quotient(eps, length)
    return quotient(cosine * cosine, length)


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
