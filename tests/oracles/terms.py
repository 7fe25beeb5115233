"""Oracles made of a formula alone: mpmath at hundreds of digits differentiates it.

A formula f(p, t, **options) returns the terms whose sum is the loss of one element. How large
they are, and their derivatives, is what one relative rounding error may cost: the scale. A pair
of terms that cancel, x and -x, enlarges the scale where a step in between is rounded absolutely.
"""

import functools
from dataclasses import replace

import mpmath as mp
import numpy as np

from tests.oracles.expected import Expected

DIGITS = 200
"""Beside those that the prediction's own exponent takes, which may be that of 1e-300."""
STEP = mp.mpf(10) ** -25
"""Of the difference quotients, relative to the prediction; their error is its square."""


def by_terms(formula):
    """The oracle of the loss with this formula."""

    @functools.wraps(formula)
    def oracle(p, t, **options):
        names = list(options)
        columns = np.broadcast_arrays(p, t, *options.values())
        results = np.array(
            [
                _element(formula, a, b, dict(zip(names, rest, strict=True)))
                for a, b, *rest in zip(*(c.ravel().tolist() for c in columns), strict=True)
            ]
        ).reshape(-1, 6)
        parts = [results[:, k].reshape(np.shape(p)) for k in range(6)]
        return Expected(*parts, weight=np.ones(np.shape(p)))

    return oracle


def _element(formula, p, t, options):
    """Loss, gradient and hessian of one element, and their scales."""
    if np.isnan(p):
        return [np.nan] * 6
    exponent = 0 if p == 0 else abs(int(np.log10(abs(p))))
    with mp.workdps(DIGITS + 2 * exponent):
        # True, False and None choose between formulas.
        options = {k: mp.mpf(v) if isinstance(v, float) else v for k, v in options.items()}
        p, t = mp.mpf(p), mp.mpf(t)
        h = STEP * abs(p) if p != 0 else STEP
        before, here, after = (formula(p + k * h, t, **options) for k in (-1, 0, 1))
        first = [(b - a) / (2 * h) for a, b in zip(before, after, strict=True)]
        second = [(a - 2 * m + b) / h**2 for a, m, b in zip(before, here, after, strict=True)]
        sums = [mp.fsum(terms) for terms in (here, first, second)]
        scales = [mp.fsum(abs(x) for x in terms) for terms in (here, first, second)]
        return [float(x) for x in sums + scales]


def sigmoid(z):
    return 1 / (1 + mp.exp(-z))


def softplus(z):
    return mp.log1p(mp.exp(z))


def _gap_terms(margin, p, t, squared):
    if margin - p * t <= 0:
        return [mp.mpf(0)] * 3
    if squared:
        return [margin**2, -2 * margin * p * t, (p * t) ** 2]
    return [margin, -p * t, mp.mpf(0)]


# --- regression -------------------------------------------------------------------------


@by_terms
def mae(p, t):
    return [abs(p - t)]


@by_terms
def huber(p, t, delta=1.0):
    d = abs(p - t)
    return [delta * (d - delta / 2) if d > delta else d**2 / 2]


@by_terms
def smooth_l1(p, t, beta=1.0):
    d = abs(p - t)
    return [d**2 / (2 * beta) if d < beta else d - beta / 2]


@by_terms
def log_cosh(p, t):
    return [mp.log(mp.cosh(p - t))]


@by_terms
def quantile(p, t, tau=0.5, right_derivative=False):
    return [max(tau * (t - p), (tau - 1) * (t - p))]


@by_terms
def _msle(p, t, half=False):
    loss = (mp.log1p(p) - mp.log1p(t)) ** 2
    return [loss / 2 if half else loss]


def msle(p, t, half=False):
    expected = _msle(p, t, half=half)
    # 1 - log((1 + p) / (1 + t)), times 2 / (1 + p)^2: the 1 counts as a term of its own.
    return replace(expected, hess_scale=expected.hess_scale + 2 * (1 / (1 + p)) ** 2)


@by_terms
def charbonnier(p, t, eps=1e-3):
    return [mp.sqrt((p - t) ** 2 + eps**2)]


# --- likelihoods ------------------------------------------------------------------------


@by_terms
def poisson_nll(p, t, log_input=True, full=False, eps=1e-8):
    # A logarithm near 1 is as good as its argument: the pair t, -t.
    terms = [mp.exp(p), -t * p] if log_input else [p, -t * mp.log(p + eps), t, -t]
    if full:
        constant = [t * mp.log(t), -t, mp.log(2 * mp.pi * t) / 2] if t > 1 else [mp.mpf(0)] * 3
        terms += constant
    return terms


@by_terms
def gaussian_nll(p, t, var=1.0, full=False, eps=1e-6):
    v = max(var, eps)
    terms = [mp.log(v) / 2, mp.mpf(0.5), mp.mpf(-0.5), (p - t) ** 2 / (2 * v)]
    return [*terms, mp.log(2 * mp.pi) / 2] if full else terms


@by_terms
def gamma_nll(p, t, log_input=True):
    return [p, t * mp.exp(-p)] if log_input else [mp.log(p), mp.mpf(1), mp.mpf(-1), t / p]


@by_terms
def tweedie_nll(p, t, power=1.5):
    return [
        mp.exp((2 - power) * p) / (2 - power),
        -t * mp.exp((1 - power) * p) / (1 - power),
    ]


# --- margins ----------------------------------------------------------------------------


@by_terms
def squared_hinge(p, t, margin=1.0):
    return _gap_terms(margin, p, t, squared=True)


@by_terms
def perceptron(p, t):
    return _gap_terms(0, p, t, squared=False)


@by_terms
def margin_ranking(p, t, other=0.0, margin=0.0):
    gap = margin - t * (p - other)
    # The difference of the scores is rounded by itself: y other stands beside y p.
    return [margin, -t * p, t * other] if gap > 0 else [mp.mpf(0)] * 3


@by_terms
def modified_huber(p, t):
    return [-4 * p * t, mp.mpf(0), mp.mpf(0)] if p * t < -1 else _gap_terms(1, p, t, squared=True)


@by_terms
def soft_margin(p, t):
    return [softplus(-p * t)]


@by_terms
def exponential(p, t):
    return [mp.exp(-p * t)]


# --- binary -----------------------------------------------------------------------------


@by_terms
def _focal(p, t, alpha=0.25, gamma=2.0):
    miss = (1 - t) * sigmoid(p) + t * sigmoid(-p)
    weight = 1 if alpha is None else alpha * t + (1 - alpha) * (1 - t)
    terms = [weight * miss**gamma * a for a in (t * softplus(-p), (1 - t) * softplus(p))]
    # A power is as good as its exponent: gamma log(miss), rounded.
    rounding = -gamma * mp.log(miss) * mp.fsum(terms)
    return [*terms, rounding, -rounding]


def focal(p, t, alpha=0.25, gamma=2.0):
    expected = _focal(p, t, alpha=alpha, gamma=gamma)
    # The derivatives of the power, at most gamma and gamma (gamma + 1) times it, have both signs.
    beside = 2 * gamma * expected.grad_scale + gamma * (gamma + 1) * expected.loss_scale
    return replace(expected, hess_scale=expected.hess_scale + beside)


@by_terms
def poly(p, t, epsilon=2.0):
    return [
        t * softplus(-p),
        (1 - t) * softplus(p),
        epsilon * ((1 - t) * sigmoid(p) + t * sigmoid(-p)),
    ]
