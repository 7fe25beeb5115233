"""The demo's four losses in plain NumPy: what fastloss is timed against.

Each returns the mean loss and its gradient. They are written as a person who cares for speed
would (one exponential, few temporaries), not to make the comparison easy.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastloss.demo.layers import Floats

ValueAndGradient = tuple[float, Floats]


def cross_entropy(logits: Floats, labels: NDArray[Any]) -> ValueAndGradient:
    """Return the mean of log(sum(exp(z))) - z[y], for logits (N, C) and labels (N,)."""
    n = len(logits)
    rows = np.arange(n)
    shifted = logits - logits.max(axis=1, keepdims=True)
    gradient: Floats = np.exp(shifted)
    total = gradient.sum(axis=1, keepdims=True)
    value = np.log(total[:, 0]) - shifted[rows, labels]
    gradient /= total
    gradient[rows, labels] -= 1
    gradient /= n
    return float(value.mean()), gradient


def half_squared_error(predictions: Floats, targets: Floats) -> ValueAndGradient:
    """Return the mean of (p - y)^2 / 2 over all elements."""
    gradient: Floats = predictions - targets
    value = 0.5 * np.vdot(gradient, gradient) / gradient.size
    gradient /= gradient.size
    return float(value), gradient


def binary_cross_entropy_with_logits(logits: Floats, targets: Floats) -> ValueAndGradient:
    """Return the mean of softplus(z) - y z."""
    decay = np.exp(-np.abs(logits))
    value = np.maximum(logits, 0) - targets * logits + np.log1p(decay)
    gradient: Floats = np.where(logits >= 0, 1, decay) / (1 + decay) - targets
    gradient /= gradient.size
    return float(value.mean()), gradient


def hinge(predictions: Floats, targets: Floats) -> ValueAndGradient:
    """Return the mean of max(0, 1 - y p)."""
    slack = 1 - targets * predictions
    gradient: Floats = np.where(slack > 0, -targets, 0)
    gradient /= gradient.size
    return float(np.maximum(slack, 0).mean()), gradient
