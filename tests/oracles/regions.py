"""Float64 oracles of the losses over regions, with the region on one axis.

As quotients, differentiated as such: one minus what the region shares with its target.
"""

import numpy as np

from tests.oracles import elementwise
from tests.oracles.rows import over_rows


def _of_quotient(shared, shared_slope, whole, whole_slope, missing):
    """L = 1 - shared / whole by p, with the sizes of its terms; `missing` is whole - shared."""
    loss = np.where(whole == 0, 0.0, missing / whole)
    grad = (shared * whole_slope - whole * shared_slope) / whole**2
    size = (shared * np.abs(whole_slope) + whole * np.abs(shared_slope)) / whole**2
    hess = -2.0 * grad * whole_slope / whole
    return (
        loss,
        np.where(whole == 0, 0.0, grad),
        np.where(whole == 0, 0.0, hess),
        2.0 * loss,
        3.0 * size,
        8.0 * size * np.abs(whole_slope) / whole,
    )


def _region(x, t, shared_by, whole_by, missing_by, smooth, from_logits):
    """Out of the three sums, given as functions (p, 1 - p, t) -> terms.

    The first two are linear in p: their slopes are differences.
    """
    p = elementwise.sigmoid(x) if from_logits else x
    rest = elementwise.sigmoid(-x) if from_logits else 1.0 - x
    one, zero = np.ones_like(p), np.zeros_like(p)

    def total(by):
        return by(p, rest, t).sum(-1, keepdims=True)

    def slope(by):
        return by(one, zero, t) - by(zero, one, t)

    answers = _of_quotient(
        total(shared_by) + smooth,
        slope(shared_by),
        total(whole_by) + smooth,
        slope(whole_by),
        total(missing_by),
    )
    loss, grad, hess, loss_size, grad_size, hess_size = answers
    if from_logits:
        by_logit = p * rest
        hess = hess * by_logit**2 + grad * by_logit * (rest - p)
        hess_size = 2.0 * (hess_size * by_logit**2 + grad_size * by_logit)
        grad, grad_size, loss_size = grad * by_logit, 2.0 * grad_size * by_logit, 2.0 * loss_size
    return loss[..., 0], grad, hess, loss_size[..., 0], grad_size, hess_size


@over_rows
def dice(x, t, smooth=1e-5, from_logits=False):
    return _region(
        x, t,
        lambda p, rest, t: 2.0 * p * t,
        lambda p, rest, t: p + t,
        lambda p, rest, t: p * (1.0 - t) + rest * t,
        smooth, from_logits,
    )  # fmt: skip


@over_rows
def jaccard(x, t, smooth=1e-5, from_logits=False):
    return _region(
        x, t,
        lambda p, rest, t: p * t,
        lambda p, rest, t: p + t - p * t,
        lambda p, rest, t: p * (1.0 - t) + rest * t,
        smooth, from_logits,
    )  # fmt: skip


@over_rows
def tversky(x, t, alpha=0.5, beta=0.5, smooth=1e-5, from_logits=False):
    return _region(
        x, t,
        lambda p, rest, t: p * t,
        lambda p, rest, t: p * t + alpha * (p - p * t) + beta * (t - p * t),
        lambda p, rest, t: alpha * p * (1.0 - t) + beta * rest * t,
        smooth, from_logits,
    )  # fmt: skip
