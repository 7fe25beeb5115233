"""Float64 oracles of the element-wise losses: formula, first and second derivative."""

import numpy as np

from tests.oracles.expected import Expected


def _expected(loss, grad, hess, loss_scale=None, grad_scale=None, hess_scale=None):
    loss, grad, hess = (np.asarray(a, np.float64) for a in np.broadcast_arrays(loss, grad, hess))
    return Expected(
        loss,
        grad,
        hess,
        loss_scale=np.abs(loss) if loss_scale is None else loss_scale,
        grad_scale=np.abs(grad) if grad_scale is None else grad_scale,
        hess_scale=np.abs(hess) if hess_scale is None else hess_scale,
        weight=np.ones(loss.shape),
    )


def sigmoid(z):
    """1/(1 + exp(-z)) without overflow on either side."""
    small = np.exp(-np.abs(z))
    return np.where(z >= 0, 1.0, small) / (1.0 + small)


def softplus(z):
    """log(1 + exp(z)) without overflow."""
    return np.maximum(z, 0.0) + np.log1p(np.exp(-np.abs(z)))


def mse(p, y, half=True):
    """1/2 (y - p)^2, or PyTorch's (y - p)^2."""
    k = 1.0 if half else 2.0
    return _expected(0.5 * k * (y - p) ** 2, k * (p - y), np.full(p.shape, k))


def hinge(p, y, margin=1.0, squared=False):
    """max(0, margin - y p), squared or not; at the tie the subgradient 0."""
    gap = margin - y * p
    active = gap > 0
    rounding = np.where(active, abs(margin) + np.abs(p), 0.0)
    if squared:
        loss, grad, hess = gap**2, -2.0 * y * gap, 2.0 * y**2
        scales = 2.0 * np.abs(gap) * rounding, 2.0 * rounding
    else:
        loss, grad, hess = gap, -y, np.zeros(p.shape)
        scales = rounding, np.abs(grad)
    return _expected(*(np.where(active, a, 0.0) for a in (loss, grad, hess)), *scales)


def binary_cross_entropy(p, y):
    """-[y log p + (1 - y) log(1 - p)], each log clamped at -100.

    The gradient's denominator at least 1e-12.
    """
    with np.errstate(divide="ignore"):
        log_p, log_q = np.maximum(np.log(p), -100.0), np.maximum(np.log1p(-p), -100.0)
    loss = -(y * log_p + (1.0 - y) * log_q)
    spread = np.maximum(p * (1.0 - p), 1e-12)
    grad = (p - y) / spread
    with np.errstate(divide="ignore", invalid="ignore"):
        hess = np.where(y == 0, 0.0, y / p**2) + np.where(y == 1, 0.0, (1.0 - y) / (1.0 - p) ** 2)
    return _expected(loss, grad, hess, grad_scale=(p + y - 2 * p * y) / spread)


def binary_cross_entropy_with_logits(z, y, pos_weight=1.0, label_smoothing=0.0):
    """pos_weight y softplus(-z) + (1 - y) softplus(z), y smoothed to y(1 - e) + e/2 first."""
    y = y * (1.0 - label_smoothing) + 0.5 * label_smoothing
    positive, negative = pos_weight * y, 1.0 - y
    loss = positive * softplus(-z) + negative * softplus(z)
    mass = positive + negative
    grad = sigmoid(z) * mass - positive
    return _expected(
        loss,
        grad,
        mass * sigmoid(z) * sigmoid(-z),
        # softplus(z) - y z is the formula; its rounding is that of the terms, as in PyTorch.
        loss_scale=loss + mass * np.abs(z),
        grad_scale=sigmoid(z) * mass + positive,
    )
