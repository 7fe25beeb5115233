"""JAX arrays, on CUDA by `jax_cuda`. Immutable: results are new arrays, `out=` is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from fastloss.arrays.cuda import DeviceArray, device_name
from fastloss.arrays.kinds import CPU, Array, Door, Kind
from fastloss.dtypes import BFLOAT16_BITS
from fastloss.spec import Want


class JaxKind(Kind):
    """`jax.Array`."""

    name = "jax"

    def door(
        self, want: Want, predictions: Any, others: tuple[Any, ...], options: Mapping[str, Any]
    ) -> Door | None:
        arrays = (predictions, *others, *options.values())
        if not any(isinstance(array, jax.core.Tracer) for array in arrays):
            return None
        from fastloss.jax.route import evaluate

        return evaluate

    def device(self, array: Any) -> str:
        if isinstance(array, jax.core.Tracer):
            raise TypeError(
                "a traced JAX array (inside jit, grad or vmap) beside predictions that are not "
                "JAX's; pass the predictions as jax.numpy.asarray(...)"
            )
        platforms = {device.platform for device in array.devices()}
        if not platforms & {"gpu", "cuda"}:
            return str(platforms.pop())
        from fastloss.arrays.jax_cuda import device_number

        return device_name(device_number(array))

    def read(self, array: Any, role: str) -> Array:
        if self.device(array) != CPU:
            from fastloss.arrays.jax_cuda import read_cuda

            return read_cuda(array)
        # A read-only view of the same memory, also for bfloat16.
        return np.asarray(array)

    def read_out(self, array: Any) -> Array:
        raise TypeError("out is a JAX array, which cannot be written; use the returned gradient")

    def give(self, result: Array, predictions: Any) -> Any:
        if isinstance(result, DeviceArray):
            return result.owner
        if result.dtype == BFLOAT16_BITS:
            result = result.view(jax.numpy.bfloat16.dtype)
        array = jax.numpy.asarray(result)
        devices = predictions.devices()
        if devices == array.devices():
            return array
        if len(devices) == 1:
            return jax.device_put(array, *devices)
        # Spread over several as predictions are, or in one place if it has another shape.
        alike = array.shape == predictions.shape
        return jax.device_put(array, predictions.sharding) if alike else array


KIND = JaxKind()
