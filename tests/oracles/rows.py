"""Float64 oracles of the losses over classes that are made of formulas.

Written with the class axis last, over whole arrays; `over_rows` moves it there and knows of
ignored examples and class weights.
"""

import numpy as np

from tests.oracles import elementwise
from tests.oracles.expected import Expected


def over_rows(compute):
    """An oracle out of compute(x, t, **options) -> the six arrays of `Expected`, t being one-hot
    for class indices.
    """

    def oracle(
        x, targets, class_weight=None, counted=True, ignore_index=-100, axis=-1, **options
    ):  # fmt: skip
        x = np.moveaxis(np.asarray(x, np.float64), axis, -1)
        width = x.shape[-1]
        weight = np.ones(x.shape[:-1])
        if np.issubdtype(targets.dtype, np.integer):
            ignored = targets == ignore_index
            y = np.where(ignored, 0, targets).astype(np.intp)
            t = (np.arange(width) == y[..., None]).astype(np.float64)
            if class_weight is not None:
                weight = np.asarray(class_weight, np.float64)[y]
        else:
            ignored = np.zeros(x.shape[:-1], bool)
            t = np.moveaxis(np.asarray(targets, np.float64), axis, -1)
        with np.errstate(all="ignore"):
            answers = compute(x, t, **options)
            answers = [a * (weight if a.ndim < x.ndim else weight[..., None]) for a in answers]
        answers = [
            np.where(ignored if a.ndim < x.ndim else ignored[..., None], 0.0, a) for a in answers
        ]
        answers = [a if a.ndim < x.ndim else np.moveaxis(a, -1, axis) for a in answers]
        count = np.where(ignored, 0.0, weight if counted else 1.0)
        return Expected(*answers, weight=count, axis=axis)

    return oracle


def _at(x, t):
    return np.where(t == 1, x, 0.0).sum(-1, keepdims=True)


# --- margins ----------------------------------------------------------------------------


@over_rows
def nll(x, t):
    loss = -_at(x, t)[..., 0]
    zero = np.zeros_like(x)
    return loss, -t, zero, np.abs(loss), t, zero


@over_rows
def multiclass_hinge(x, t, margin=1.0):
    own = _at(x, t)
    others = np.where(t == 1, -np.inf, x)
    rival = others.max(-1, keepdims=True)
    gap = np.where(rival == -np.inf, -np.inf, margin + rival - own)
    loss = np.where(gap < 0, 0.0, gap)[..., 0]
    # argmax gives the first of several.
    hot = np.arange(x.shape[-1]) == np.where(np.isnan(others), 0, others).argmax(-1)[..., None]
    grad = np.where(gap > 0, hot - t, np.where(np.isnan(gap), np.nan, 0.0))
    size = np.where(np.isfinite(own + rival), np.abs(own) + np.abs(rival), 0.0)[..., 0]
    zero = np.where(np.isnan(gap), np.nan, np.zeros_like(x)) * 0
    return loss, grad, np.zeros_like(zero), size + abs(margin), np.ones_like(x), np.zeros_like(x)


def _multi_margin(x, t, p=1, margin=1.0):
    width = x.shape[-1]
    own = _at(x, t)
    gap = np.where((t == 1) | np.isneginf(x), -1.0, margin + x - own)
    size = np.where(gap > 0, np.abs(x) + np.abs(own) + abs(margin), 0.0)
    bad = np.isnan(gap)
    inside = np.where(bad, np.nan, gap > 0)
    terms = np.where(gap > 0, gap, inside) ** p if p == 1 else np.where(gap > 0, gap, inside) ** 2
    slope = inside if p == 1 else 2.0 * np.where(gap > 0, gap, inside)
    curve = 0.0 * inside if p == 1 else 2.0 * inside
    slope_size = np.where(gap > 0, 1.0, 0.0) if p == 1 else 2.0 * size
    term_size = size if p == 1 else size * np.where(gap > 0, gap, 0.0) * 2.0

    def with_own(values, sign):
        total = values.sum(-1, keepdims=True)
        return np.where(np.isnan(total), np.nan, np.where(t == 1, sign * total, values)) / width

    return (
        terms.sum(-1) / width,
        with_own(slope, -1.0),
        with_own(curve, 1.0),
        term_size.sum(-1) / width,
        with_own(slope_size, 1.0),
        with_own(np.abs(curve), 1.0),
    )


def multi_margin(x, targets, **options):
    """PyTorch's: a mean is over the examples, whatever the classes weigh."""
    return over_rows(_multi_margin)(x, targets, counted=False, **options)


@over_rows
def sparsemax(x, t):
    """By sorting, as the paper has it: the support is the longest prefix above its threshold."""
    u = x - x.max(-1, keepdims=True)
    ordered = -np.sort(-u, -1)
    ordered = np.where(np.isneginf(ordered), -1e30, ordered)
    ranks = np.arange(1, x.shape[-1] + 1)
    thresholds = (ordered.cumsum(-1) - 1.0) / ranks
    size = (ordered > thresholds).sum(-1, keepdims=True)
    broken = np.isnan(u).any(-1, keepdims=True)
    tau = np.take_along_axis(thresholds, np.maximum(size, 1) - 1, -1)
    p = np.where(broken, np.nan, np.maximum(u - tau, 0.0))
    value = np.where(p > 0, p * u, 0.0) - 0.5 * p**2 + 0.5 * t**2 - np.where(t == 0, 0.0, t * u)
    loss = np.where(broken[..., 0], np.nan, value.sum(-1))
    hess = np.where(broken, np.nan, np.where(p > 0, 1.0 - 1.0 / size, 0.0))
    reach = np.where(np.isfinite(u), np.abs(u), 0.0)
    loss_scale = 1.0 + (t * (1.0 + reach)).sum(-1)
    grad_scale = np.where(u > tau - 1e-3, 2.0, 0.0) + t
    return loss, p - t, hess, loss_scale, grad_scale, np.ones_like(x)


# --- the target's probability -----------------------------------------------------------


def _softmax(x, t):
    top = x.max(-1, keepdims=True)
    e = np.exp(x - top)
    own = _at(e, t)
    rest = np.where(t == 1, 0.0, e).sum(-1, keepdims=True)
    total = own + rest
    z_y = np.where((t == 1).any(-1, keepdims=True), np.where(t == 1, x, 0.0), 0.0)
    z_y = z_y.sum(-1, keepdims=True) - top
    log_p = np.where(z_y == 0, -np.log1p(rest), z_y - np.log(total))
    reach = np.where(np.isfinite(x - top), np.abs(x - top), 0.0).max(-1, keepdims=True)
    d = np.where(t == 1, rest, -e) / total
    both = np.where(t == 1, own * rest, e * (total - e)) / total**2
    both_size = np.where(t == 1, both, e / total)  # 1 - p of another class cancels
    return own / total, rest / total, log_p, d, both, both_size, reach


def _of_probability(x, t, value, slope, bend, effort):
    """Derivatives of f(p) by the logits, from f, B = p f' and K = p dB/dp, given with the sizes
    of their terms.
    """
    p, u, log_p, d, both, both_size, reach = _softmax(x, t)
    f, f_size = value(p, u, log_p)
    b, b_size = slope(p, u, log_p)
    k, k_size = bend(p, u, log_p)
    more = effort * (1.0 + reach)
    hess = np.where(d == 0, 0.0, k * d * d) - b * both
    return (
        f[..., 0],
        b * d,
        hess,
        (f_size * more)[..., 0],
        b_size * np.abs(d) * more,
        (np.where(d == 0, 0.0, k_size * d * d) + b_size * both_size) * more,
    )


def _focal(x, t, gamma=2.0, alpha=1.0):
    def ratio(u, log_p):
        return np.where(u == 0, -1.0, log_p / u)

    def value(p, u, log_p):
        f = -alpha * u**gamma * log_p
        return f, np.abs(np.where(np.isfinite(f), f, 0.0))

    def slope(p, u, log_p):
        part = np.where(p == 0, 0.0, gamma * p * ratio(u, log_p))
        return alpha * u**gamma * (part - 1.0), alpha * u**gamma * (np.abs(part) + 1.0)

    def bend(p, u, log_p):
        parts = [log_p, 2.0 + 0 * p, -(gamma - 1.0) * p * ratio(u, log_p)]
        factor = alpha * gamma * p * u**gamma / u
        total = np.where(p == 0, 0.0, factor * sum(parts))
        return total, np.where(p == 0, 0.0, factor * sum(np.abs(a) for a in parts))

    return _of_probability(x, t, value, slope, bend, 1.0 + gamma)


def focal_cross_entropy(x, targets, alpha=1.0, **options):
    """An array of alphas weighs the classes, but not in the mean."""
    weight = None if np.ndim(alpha) == 0 else alpha
    factor = alpha if weight is None else 1.0
    return over_rows(_focal)(
        x, targets, class_weight=weight, counted=False, alpha=factor, **options
    )


@over_rows
def generalized_cross_entropy(x, t, q=0.7):
    def value(p, u, log_p):
        f = -np.expm1(q * log_p) / q
        return f, f

    def slope(p, u, log_p):
        b = np.exp(q * log_p)
        return -b, b * (1.0 + np.where(np.isfinite(log_p), np.abs(log_p), 0.0))

    def bend(p, u, log_p):
        b, size = slope(p, u, log_p)
        return q * b, q * size

    return _of_probability(x, t, value, slope, bend, 1.0)


# --- divergences ------------------------------------------------------------------------


def _pair(t, log_target):
    return (np.exp(t), t) if log_target else (t, np.log(t))


def _times(p, x):
    """p x with 0 * inf = 0."""
    return np.where(p == 0, 0.0, p * x)


@over_rows
def kl_divergence(x, t, log_target=False):
    p, log_p = _pair(t, log_target)
    size = _times(p, np.abs(log_p) + np.where(np.isfinite(x), np.abs(x), 0.0) + 1.0)
    zero = np.zeros_like(x)
    return _times(p, log_p - x).sum(-1), -p, zero, np.abs(size).sum(-1), p, zero


@over_rows
def js_divergence(x, t, beta=0.5, log_target=False):
    p, log_p = _pair(t, log_target)
    q = np.exp(x)
    if beta in (0.0, 1.0):
        size = np.where(np.isfinite(log_p - x), np.abs(log_p) + np.abs(x), 0.0)
        if beta == 0.0:
            zero = np.zeros_like(x)
            return (_times(p, log_p - x).sum(-1), -p, zero, (p * (size + 1)).sum(-1), p, zero)
        back = x - log_p
        return (
            _times(q, back).sum(-1),
            _times(q, back + 1),
            _times(q, back + 2),
            (q * (size + 1)).sum(-1),
            q * (size + 2),
            q * (size + 3),
        )
    m = beta * p + (1 - beta) * q
    # Far from 1, p / m keeps what 1 + (1 - beta) (p - q) / m would lose.
    of_p = np.where(p / m < 0.5, np.log(p / m), np.log1p((1 - beta) * (p - q) / m))
    of_q = np.where(q / m < 0.5, np.log(q / m), np.log1p(-beta * (p - q) / m))
    share = np.where(m == 0, 0.0, beta * p / m)
    loss = beta * _times(p, of_p) + (1 - beta) * _times(q, of_q)
    size = beta * _times(p, np.abs(of_p)) + (1 - beta) * _times(q, np.abs(of_q))
    return (
        loss.sum(-1),
        (1 - beta) * _times(q, of_q),
        (1 - beta) * _times(q, of_q + share),
        2 * size.sum(-1),
        (1 - beta) * _times(q, np.abs(of_q) + share),
        (1 - beta) * _times(q, np.abs(of_q) + 2 * share),
    )


@over_rows
def cosine_distance(x, t, epsilon=0.0):
    zz, tt = (x * x).sum(-1, keepdims=True), (t * t).sum(-1, keepdims=True)
    n, k = np.sqrt(np.maximum(zz, epsilon)), np.sqrt(np.maximum(tt, epsilon))
    a, b = x / n, t / k
    cosine, size = (a * b).sum(-1, keepdims=True), np.abs(a * b).sum(-1, keepdims=True)
    free = np.where(zz < epsilon, 0.0, 1.0)
    return (
        1.0 - cosine[..., 0],
        (free * cosine * a - b) / n,
        free * (2 * a * b + cosine - 3 * cosine * a * a) / n**2,
        1.0 + size[..., 0],
        (size * np.abs(a) + np.abs(b)) / n,
        # A length is a sum, a root and a product; three of them meet in each term.
        2 * free * (2 * np.abs(a * b) + size + 3 * size * a * a) / n**2,
    )


# --- several labels ---------------------------------------------------------------------


@over_rows
def multilabel_soft_margin(x, t):
    width = x.shape[-1]
    right, wrong = elementwise.softplus(-x), elementwise.softplus(x)
    loss = (t * right + (1 - t) * wrong).mean(-1)
    p, q = elementwise.sigmoid(x), elementwise.sigmoid(-x)
    grad_scale = ((1 - t) * p + t * q) / width
    return loss, ((1 - t) * p - t * q) / width, p * q / width, loss, grad_scale, p * q / width
