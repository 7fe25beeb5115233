"""The losses under JAX's transformations: jit, grad, value_and_grad, vmap, scan.

On the CPU a compiled program calls the kernels by XLA's typed FFI, on its own memory.

>>> import jax
>>> import fastloss.jax as flj
>>> step = jax.jit(jax.value_and_grad(flj.cross_entropy))
>>> loss, grad = step(jax.numpy.zeros((2, 4)), jax.numpy.array([1, 3]))
>>> round(float(loss), 4), grad[0].tolist()
(1.3863, [0.125, -0.375, 0.125, 0.125])
"""

from __future__ import annotations

from fastloss.jax.functional import LOSSES, JaxLoss

__all__ = list(LOSSES)


def __getattr__(name: str) -> JaxLoss:
    if name in LOSSES:
        return LOSSES[name]
    raise AttributeError(f"module 'fastloss.jax' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *LOSSES])
