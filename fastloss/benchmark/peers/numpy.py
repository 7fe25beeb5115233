"""Plain NumPy as written by hand: the stable formulas, in place where that saves an array."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastloss.arrays.kinds import Array
from fastloss.benchmark.inputs import Inputs
from fastloss.benchmark.peers import Peer, Unsupported
from fastloss.dtypes import real_dtype

Parts = Callable[[Array, Array], Any]


def make_peer(inputs: Inputs) -> Peer:
    """Return the losses written in NumPy; 16-bit floats are widened, as a user would."""
    p, t = inputs.predictions, inputs.targets
    real = real_dtype(inputs.case.dtype)
    forward, gradient = _formulas(inputs)

    def widen() -> tuple[Array, Array]:
        return p.astype(real, copy=False), t if t.dtype.kind == "i" else t.astype(real, copy=False)

    def both() -> tuple[Any, Any]:
        value, grad = gradient(*widen())
        return value, grad.astype(p.dtype, copy=False)

    return Peer(lambda: forward(*widen()), both)


def _formulas(inputs: Inputs) -> tuple[Parts, Parts]:
    """Return (predictions, targets) -> mean, and -> (mean, its gradient)."""
    case = inputs.case
    if case.loss == "cross_entropy":
        classes = _Soft(inputs) if case.soft else _Hard(inputs)
        return classes.forward, classes.gradient
    if case.loss not in ELEMENTWISE:
        raise Unsupported("not written by hand")
    value, both = ELEMENTWISE[case.loss]
    return value, both


class _Hard:
    """Cross-entropy on class indices."""

    def __init__(self, inputs: Inputs) -> None:
        self.n = inputs.examples
        # Where the target's logit lies, made once: indices (n, ...) with the class axis at 1.
        self.at_target = np.expand_dims(inputs.targets, 1)

    def forward(self, z: Array, y: Array) -> Any:
        shifted = z - z.max(axis=1, keepdims=True)
        z_y = np.take_along_axis(shifted, self.at_target, axis=1)
        np.exp(shifted, out=shifted)
        return (np.log(shifted.sum(axis=1, keepdims=True)) - z_y).mean()

    def gradient(self, z: Array, y: Array) -> Any:
        shifted = z - z.max(axis=1, keepdims=True)
        z_y = np.take_along_axis(shifted, self.at_target, axis=1)
        np.exp(shifted, out=shifted)
        sums = shifted.sum(axis=1, keepdims=True)
        loss = (np.log(sums) - z_y).mean()
        p_y = np.take_along_axis(shifted, self.at_target, axis=1) / sums
        sums *= self.n
        shifted /= sums
        np.put_along_axis(shifted, self.at_target, (p_y - 1) / self.n, axis=1)
        return loss, shifted


class _Soft:
    """Cross-entropy on probabilities."""

    def __init__(self, inputs: Inputs) -> None:
        self.n = inputs.examples

    def forward(self, z: Array, y: Array) -> Any:
        shifted = z - z.max(axis=1, keepdims=True)
        dot = np.vdot(y, shifted)
        np.exp(shifted, out=shifted)
        mass = y.sum(axis=1)
        return (np.vdot(np.log(shifted.sum(axis=1)), mass) - dot) / self.n

    def gradient(self, z: Array, y: Array) -> Any:
        shifted = z - z.max(axis=1, keepdims=True)
        dot = np.vdot(y, shifted)
        np.exp(shifted, out=shifted)
        sums, mass = shifted.sum(axis=1, keepdims=True), y.sum(axis=1, keepdims=True)
        loss = (np.vdot(np.log(sums), mass) - dot) / self.n
        shifted *= mass / sums
        shifted -= y
        shifted /= self.n
        return loss, shifted


def _squared(p: Array, t: Array) -> Any:
    gap = p - t
    return 0.5 * np.dot(gap, gap) / p.size


def _squared_gradient(p: Array, t: Array) -> Any:
    gap = p - t
    value = 0.5 * np.dot(gap, gap) / p.size
    gap /= p.size
    return value, gap


def _log_loss(p: Array, t: Array) -> Any:
    return -(t * np.log(p) + (1 - t) * np.log1p(-p)).mean()


def _log_loss_gradient(p: Array, t: Array) -> Any:
    gap = p - t
    gap /= p * (1 - p) * p.size
    return _log_loss(p, t), gap


def _logistic(z: Array, t: Array) -> Any:
    return (np.logaddexp(z.dtype.type(0), z) - t * z).mean()


def _logistic_gradient(z: Array, t: Array) -> Any:
    tail = np.exp(-np.abs(z))  # never overflows
    value = (np.maximum(z, 0) + np.log1p(tail) - t * z).mean()
    grad = np.where(z >= 0, z.dtype.type(1), tail)
    tail += 1
    grad /= tail
    grad -= t
    grad /= z.size
    return value, grad


def _hinge(p: Array, t: Array) -> Any:
    return np.maximum(1 - t * p, 0).mean()


def _hinge_gradient(p: Array, t: Array) -> Any:
    gap = 1 - t * p
    grad = np.where(gap > 0, t / -t.size, p.dtype.type(0))
    return np.maximum(gap, 0, out=gap).mean(), grad


ELEMENTWISE: dict[str, tuple[Parts, Parts]] = {
    "mse": (_squared, _squared_gradient),
    "binary_cross_entropy": (_log_loss, _log_loss_gradient),
    "binary_cross_entropy_with_logits": (_logistic, _logistic_gradient),
    "hinge": (_hinge, _hinge_gradient),
}
