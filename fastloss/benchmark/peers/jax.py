"""optax under `jax.jit(jax.value_and_grad(...))`, on the CPU."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import optax

from fastloss.benchmark.inputs import Inputs
from fastloss.benchmark.peers import Peer, Unsupported

FUNCTIONS: dict[str, Callable[[Any, Any], Any]] = {
    "mse": optax.l2_loss,
    "binary_cross_entropy_with_logits": optax.sigmoid_binary_cross_entropy,
    "hinge": optax.hinge_loss,
    "multiclass_hinge": optax.losses.multiclass_hinge_loss,
    "kl_divergence": optax.losses.kl_divergence,
    "cosine_distance": optax.losses.cosine_distance,
    "ntxent": optax.losses.ntxent,
}


def make_peer(inputs: Inputs) -> Peer:
    """Return the jitted loss, and the jitted loss with its gradient."""
    rows = _function(inputs)
    widened = np.dtype(np.float32) if inputs.predictions.dtype.itemsize == 2 else None

    def loss(p: Any, t: Any) -> Any:
        # 16-bit predictions are widened inside, where XLA fuses it with the rest: optax
        # computes in the dtype it is given, and would be far off.
        return rows(p if widened is None else p.astype(widened), t).mean()

    # Only while called: JAX would compute otherwise in all else that this process does.
    wide = functools.partial(jax.enable_x64, inputs.predictions.dtype == np.float64)
    cpu = jax.devices("cpu")[0]
    indices = inputs.targets.dtype.kind == "i"
    targets = inputs.targets.astype(np.int32) if indices else inputs.targets
    with wide():
        p, t = jax.device_put(inputs.predictions, cpu), jax.device_put(targets, cpu)
    forward, gradient = jax.jit(loss), jax.jit(jax.value_and_grad(loss))
    wait: Callable[[Any], Any] = jax.block_until_ready
    return Peer(lambda: wait(forward(p, t)), lambda: wait(gradient(p, t)), wide)


def _function(inputs: Inputs) -> Callable[[Any, Any], Any]:
    """Return (predictions, targets) -> the losses."""
    case = inputs.case
    if case.loss == "cross_entropy":
        function = (
            optax.softmax_cross_entropy
            if case.soft
            else optax.softmax_cross_entropy_with_integer_labels
        )
        return lambda p, t: function(p, t, axis=case.axis)
    if case.loss not in FUNCTIONS:
        raise Unsupported("optax has no such loss")
    return FUNCTIONS[case.loss]
