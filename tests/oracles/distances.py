"""Oracles of the losses of distances between vectors, in extended precision."""

import numpy as np

from tests.oracles.expected import Expected

WIDE = np.longdouble


def _norm(one, other, eps, p):
    """The p-norm of a difference, its first and second derivatives, and the scales of these."""
    x = one - other + WIDE(eps)
    a = np.abs(x)
    d = (a**p).sum(-1, keepdims=True) ** (1 / WIDE(p))
    q = np.where(d == 0, 0, a / np.where(d == 0, 1, d))
    first = np.sign(x) * (q ** (WIDE(p) - 1) if p > 1 else 1.0)
    inner = np.where(
        (q == 0) & (p < 2), 0, np.where(q == 0, 1 if p == 2 else q, q) ** (WIDE(p) - 2)
    )
    by_d = (p - 1) / np.where(d == 0, np.inf, d)
    # A difference is rounded before eps is added, and what is left may be small.
    lost = np.where((a == 0) | (eps == 0), 1, 1 + np.abs(one - other) / np.where(a == 0, 1, a))
    powers = lost * max(1.0, p - 1)
    return (
        d[..., 0], first, by_d * (inner - first**2), np.abs(first) * powers,
        by_d * (inner + first**2) * powers,
    )  # fmt: skip


def _assemble(x, parts, value, scale):
    """Put together what each pair adds: parts are (a, b, norm, slope, its scale, bend)."""
    grad, hess = np.zeros_like(x), np.zeros_like(x)
    grad_scale, hess_scale = np.zeros_like(x), np.zeros_like(x)
    for a, b, (d, first, second, first_scale, second_scale), slope, slope_scale, bend in parts:
        slope, slope_scale, bend = (v[..., None] for v in (slope, slope_scale, bend))
        curve = bend * first**2 + slope * second
        # A distance of 0: only its square has derivatives.
        curve = np.where((d == 0)[..., None], np.where(slope == 0, bend, 0), curve)
        for k, sign in ((a, 1), (b, -1)):
            grad[k] += sign * slope * first
            grad_scale[k] += slope_scale * first_scale
            hess[k] += curve
            hess_scale[k] += np.abs(bend) * (1 + first_scale**2) + slope_scale * second_scale
    arrays = (value, grad, hess, scale, grad_scale, hess_scale)
    arrays = [np.asarray(a, np.float64) for a in arrays]
    return Expected(*arrays, weight=np.ones(value.shape), axis=(-2, -1))


def contrastive(x, same, margin=1.0, p=2.0, eps=0.0, half=True):
    x, same = np.asarray(x, WIDE), np.asarray(same) == 1
    factor = WIDE(1 if half else 2)
    norm = _norm(x[..., 0, :], x[..., 1, :], eps, p)
    d = norm[0]
    gap = np.maximum(margin - d, 0)
    value = factor / 2 * np.where(same, d, gap) ** 2
    scale = factor * np.where(same, d**2, gap * (margin + d))
    slope = factor * np.where(same, d, -gap)
    slope_scale = factor * np.where(same, d, np.where(gap > 0, margin + d, 0))
    bend = factor * (same | (gap > 0))
    a, b = (..., 0, slice(None)), (..., 1, slice(None))
    if p == 1:  # |x| has no second derivative where it is 0, nor has its square
        bend = np.where(d == 0, 0, bend)
    return _assemble(x, [(a, b, norm, slope, slope_scale, bend)], value, scale)


def triplet(x, which, margin=1.0, p=2.0, swap=False, eps=1e-6):
    x, turned = np.asarray(x, WIDE), (np.asarray(which) == 1)[..., None, None]
    order = np.where(turned, x[..., [0, 2, 1], :], x)
    anchor, positive, negative = (order[..., k, :] for k in range(3))
    near, far, third = (
        _norm(u, v, eps, p)
        for u, v in ((anchor, positive), (anchor, negative), (positive, negative))
    )
    swapped = (third[0] < far[0]) & swap
    gap = margin + near[0] - np.where(swapped, third[0], far[0])
    inside = (gap > 0).astype(WIDE)
    zero = np.zeros_like(inside)
    places = [(..., k, slice(None)) for k in range(3)]
    parts = [
        (places[a], places[b], norm, sign * on, on, zero)
        for a, b, norm, sign, on in (
            (0, 1, near, 1, inside),
            (0, 2, far, -1, inside * ~swapped),
            (1, 2, third, -1, inside * swapped),
        )
    ]
    scale = np.where(gap > 0, abs(margin) + near[0] + far[0], 0)
    expected = _assemble(order, parts, np.maximum(gap, 0), scale)
    back = {
        name: np.where(turned, array[..., [0, 2, 1], :], array)
        for name, array in vars(expected).items()
        if np.ndim(array) == x.ndim
    }
    return Expected(**{**vars(expected), **back})
