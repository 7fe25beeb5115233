"""The peers, each at its best: contiguous input, all threads, gradients reset its own way.

A peer maker takes the NumPy arrays of a case and returns a function that computes the mean
loss and its gradient with respect to the predictions, or None where the peer has no such
loss. Peers that are not installed are left out by name: see `available`.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np

Peer = Callable[[], tuple[Any, Any]]
Maker = Callable[[str, np.ndarray, np.ndarray], Peer | None]


def numpy_peer(loss: str, predictions: np.ndarray, targets: np.ndarray) -> Peer | None:
    """Plain NumPy, written by hand, in place where it can be."""
    n = targets.size
    if loss == "cross_entropy" and targets.ndim == 1:
        rows = np.arange(n)

        def call() -> tuple[Any, Any]:
            shifted = predictions - predictions.max(axis=1, keepdims=True)
            at_target = shifted[rows, targets]
            np.exp(shifted, out=shifted)
            sums = shifted.sum(axis=1, keepdims=True)
            value = (np.log(sums[:, 0]) - at_target).mean()
            shifted /= sums
            shifted[rows, targets] -= 1
            shifted /= n
            return value, shifted

        return call
    if loss == "mse":

        def call() -> tuple[Any, Any]:
            gap = predictions - targets
            value = 0.5 * np.dot(gap, gap) / n
            gap /= n
            return value, gap

        return call
    return None


def torch_peer(loss: str, predictions: np.ndarray, targets: np.ndarray) -> Peer | None:
    """PyTorch eager, forward and backward."""
    import torch
    from torch.nn import functional

    functions = {
        "cross_entropy": functional.cross_entropy,
        "mse": lambda p, t: 0.5 * functional.mse_loss(p, t),
        "binary_cross_entropy": functional.binary_cross_entropy,
        "binary_cross_entropy_with_logits": functional.binary_cross_entropy_with_logits,
    }
    if loss not in functions:
        return None
    function = functions[loss]
    p = torch.from_numpy(predictions.copy()).requires_grad_()
    t = torch.from_numpy(targets)

    def call() -> tuple[Any, Any]:
        p.grad = None
        value = function(p, t)
        value.backward()
        return value, p.grad

    return call


def optax_peer(loss: str, predictions: np.ndarray, targets: np.ndarray) -> Peer | None:
    """optax under jax.jit(value_and_grad)."""
    import jax
    import optax

    def class_loss(p: Any, t: Any) -> Any:
        axis = 1 if t.ndim > 1 else -1
        return optax.softmax_cross_entropy_with_integer_labels(p, t, axis=axis).mean()

    functions = {
        "cross_entropy": class_loss,
        "mse": lambda p, t: optax.l2_loss(p, t).mean(),
        "binary_cross_entropy_with_logits": lambda p, t: optax.sigmoid_binary_cross_entropy(
            p, t
        ).mean(),
        "hinge": lambda p, t: optax.hinge_loss(p, t).mean(),
    }
    if loss not in functions:
        return None
    function = jax.jit(jax.value_and_grad(functions[loss]))
    p = jax.numpy.asarray(predictions)
    t = jax.numpy.asarray(targets.astype(np.int32) if loss == "cross_entropy" else targets)
    return lambda: jax.block_until_ready(function(p, t))


MAKERS: dict[str, tuple[str, Maker]] = {
    "numpy": ("numpy", numpy_peer),
    "torch": ("torch", torch_peer),
    "optax": ("optax", optax_peer),
}


def available() -> tuple[dict[str, Maker], list[str]]:
    """Return the makers of the installed peers, and the names of those that are not."""
    found = {
        name: maker
        for name, (module, maker) in MAKERS.items()
        if importlib.util.find_spec(module) is not None
    }
    return found, [name for name in MAKERS if name not in found]
