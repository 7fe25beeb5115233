"""The losses on a CUDA device, for tests that think in NumPy arrays.

The suite beside this file runs in two ways: on a GPU, and, on any machine, in Numba's CUDA
simulator (test_simulator.py starts it), with sizes that each can bear.
"""

import ctypes
import functools
import importlib.util
import os

import numpy as np
import pytest

from tests.catalogue import Case

SIMULATED = os.environ.get("NUMBA_ENABLE_CUDASIM") == "1"


@functools.cache
def missing() -> str | None:
    """Why the suite cannot run here; None if it can."""
    if importlib.util.find_spec("numba_cuda") is None:
        return "numba-cuda is not installed"
    from numba import cuda

    return None if cuda.is_available() else "there is no CUDA device"


needs_gpu = [
    pytest.mark.gpu,
    pytest.mark.skipif(missing() is not None, reason=missing() or ""),
]
"""The mark of every file of the suite."""
on_gpu_only = pytest.mark.skipif(SIMULATED, reason="the simulator has no streams and no libraries")


def pointer(array) -> int:
    """The address of a Numba device array."""
    return array.ctypes.data if SIMULATED else array.device_ctypes_pointer.value


def window(array) -> np.ndarray:
    """The bytes of the host's memory over which an array extends."""
    if array.size == 0:
        return np.zeros(0, np.uint8)
    low, high = np.lib.array_utils.byte_bounds(array)
    return np.frombuffer((ctypes.c_char * (high - low)).from_address(low), np.uint8)


class OnDevice:
    """A copy of an array on the device, in the same layout, for any library to read."""

    def __init__(self, array):
        from numba import cuda

        raw = window(array)
        first = array.ctypes.data - raw.ctypes.data if array.size else 0
        # As far from a boundary of 16 bytes as on the host.
        self.memory = cuda.device_array(raw.size + 32, np.uint8)
        self.skip = (raw.ctypes.data - pointer(self.memory)) % 16
        self.host, self.dtype = array, array.dtype
        if raw.size:
            self.memory[self.skip : self.skip + raw.size].copy_to_device(raw.copy())
        self.__cuda_array_interface__ = {
            "version": 3,
            "shape": array.shape,
            "strides": array.strides,
            "typestr": array.dtype.str,
            "data": (pointer(self.memory) + self.skip + first, not array.flags.writeable),
        }

    def copy_back(self):
        """Write what is on the device into the host's array."""
        raw = window(self.host)
        raw[:] = self.memory.copy_to_host()[self.skip : self.skip + raw.size]
        return self.host


class DeviceLoss:
    """A loss that takes and returns NumPy arrays, and computes on the device."""

    def __init__(self, loss):
        self.loss = loss

    def __str__(self):
        return self.loss.name

    def _call(self, method, predictions, targets, out=None, **call):
        moved = {}

        def move(value):
            if not isinstance(value, (np.ndarray, np.generic)):
                return value
            if id(value) not in moved:
                moved[id(value)] = OnDevice(np.asarray(value))
            return moved[id(value)]

        outs = out if isinstance(out, tuple) else (out,)
        arguments = {name: move(value) for name, value in call.items()}
        if out is not None:
            arguments["out"] = tuple(map(move, out)) if isinstance(out, tuple) else move(out)
        try:
            results = method(move(predictions), move(targets), **arguments)
        finally:
            for array in moved.values():
                if array.host.flags.writeable:
                    array.copy_back()  # what must not be written is compared by the tests
        if not isinstance(results, tuple):
            return self._back(results, outs)
        return tuple(self._back(result, outs) for result in results)

    def _back(self, result, outs):
        if isinstance(result, OnDevice):
            assert any(result.host is out for out in outs), "another array than out came back"
            return result.host
        assert type(result).__name__ in ("DeviceNDArray", "FakeCUDAArray"), type(result)
        return np.asarray(result.copy_to_host())

    def __call__(self, predictions, targets, **call):
        return self._call(self.loss, predictions, targets, **call)

    def value_and_grad(self, predictions, targets, **call):
        return self._call(self.loss.value_and_grad, predictions, targets, **call)

    def grad(self, predictions, targets, **call):
        return self._call(self.loss.grad, predictions, targets, **call)

    def grad_and_hess(self, predictions, targets, **call):
        return self._call(self.loss.grad_and_hess, predictions, targets, **call)


class DeviceCase(Case):
    """A case of the catalogue whose function computes on the device."""

    @property
    def function(self):
        return DeviceLoss(super().function)


def on_device(cases):
    """The same cases, on the device."""
    return [DeviceCase(case.loss, case.kind, case.option_set) for case in cases]
