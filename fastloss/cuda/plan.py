"""What the plans of CUDA have in common: addresses, layouts, outputs, scratch, the launch.

A plan holds the kernels and every argument of them that stays the same from call to call; a
run adds the addresses and launches. Nothing here waits for the device.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastloss import device as gpu
from fastloss.arrays import Array
from fastloss.arrays.cuda import DeviceArray, Place, c_strides
from fastloss.checks import real_of
from fastloss.cpu.memory import layout_record
from fastloss.cpu.plan import broadcast_strides, memory_order, permuted
from fastloss.cuda.compile import Kernel
from fastloss.cuda.driver import BY_WEIGHT, FinishCall, finish_kernel
from fastloss.cuda.memory import CODES, SIZES
from fastloss.cuda.variant import Outputs
from fastloss.dtypes import name_of
from fastloss.spec import Operands, Request

_FLOAT64 = np.dtype(np.float64)

#: Blocks of a launch, at most: enough to fill any GPU several times over. The division of the
#: work must not depend on the device, or results would.
MAX_BLOCKS = 2048


class CudaPlan:
    """What the plans have in common; the subclasses choose the kernels."""

    def __init__(self, request: Request, operands: Operands, loss_shape: tuple[int, ...]) -> None:
        predictions = operands.predictions
        check_alignment(operands)
        self.want = request.want
        self.real = real_of(predictions)
        self.per_example = request.reduction == "none"
        self.mean = request.reduction == "mean"
        self.loss_shape = loss_shape
        self.out_shape = loss_shape if self.per_example else ()
        self.shape = predictions.shape
        self.dtype = predictions.dtype
        self.memory_order = memory_order(predictions)
        self.device = place_of(predictions).device
        self.outputs = Outputs(
            request.want.loss,
            request.want.grad,
            request.want.hess,
            self.per_example and request.want.loss,
        )
        #: The order in which a kernel walks the axes of the layouts; None for C order.
        self.walk_order: tuple[int, ...] | None = None
        self._records: list[Any] = []

    # --- what stays the same ------------------------------------------------------------

    def layout(self, shape: tuple[int, ...], strides: tuple[int, ...], itemsize: int) -> int:
        """Return the device address of a layout record that lives as long as the plan, or 0."""
        record = layout_record(
            permuted(shape, self.walk_order), permuted(strides, self.walk_order), itemsize
        )
        return 0 if record is None else self.keep_on_device(record)

    def keep_on_device(self, values: Array) -> int:
        """Copy a small array to the device, where it lives as long as the plan."""
        with gpu.current(self.device):
            kept = gpu.numba_cuda().to_device(values)
        self._records.append(kept)
        return int(kept.ctypes.data if gpu.simulated() else kept.device_ctypes_pointer.value)

    def broadcast_layout(self, array: Array | None) -> int:
        """Return the layout of an array broadcast to the loss."""
        if array is None:
            return 0
        strides = broadcast_strides(array.shape, array.strides, self.loss_shape)
        return self.layout(self.loss_shape, strides, array.itemsize)

    def new_strides(self) -> tuple[int, ...]:
        """Return the strides of a new gradient: its axes lie in memory as the predictions'."""
        order = self.memory_order
        packed = c_strides(permuted(self.shape, order), self.dtype.itemsize)
        return packed if order is None else permuted(packed, tuple(np.argsort(order)))

    # --- a call -------------------------------------------------------------------------

    def new_gradient(self, place: Place, wanted: bool, given: Array | None) -> Array | None:
        """Return the array that a gradient is written to."""
        if not wanted or given is not None:
            return given
        strides = None if self.memory_order is None else self.new_strides()
        return place.empty(self.shape, self.dtype, strides)

    def finish(
        self, place: Place, sums: int, count: int, weights: int, weight_count: int, loss: Array,
        divisor: float,
    ) -> None:  # fmt: skip
        """Add up the blocks' sums and divide."""
        record = FinishCall(
            sums, count, weights, weight_count, divisor, address(loss), self.real.itemsize
        )
        self.launch(finish_kernel(), place, 1, record)

    def launch(self, kernel: Kernel, place: Place, blocks: int, record: tuple[Any, ...]) -> None:
        """Launch a kernel on the producer's stream."""
        kernel.launch(place.device, place.stream, blocks, record)

    def order(self, place: Place, operands: Operands) -> None:
        """Wait, on the device, for the streams of arrays from other libraries."""
        given = (*operands[1:6], *operands.array_options.values())
        for stream in {a.place.stream for a in given if isinstance(a, DeviceArray)}:
            if stream != place.stream:
                gpu.wait_for(place.stream, stream)


def blocks_for(work: int, per_block: int) -> int:
    """Return the number of blocks for so many items."""
    return min(MAX_BLOCKS, -(-work // per_block))


def place_of(array: Array) -> Place:
    """Return where an array on CUDA lives."""
    assert isinstance(array, DeviceArray)
    return array.place


def address(array: Array) -> int:
    """Return the address of the first element."""
    return int(array.__array_interface__["data"][0])


def address_or_null(array: Array | None) -> int:
    """Return the address of the first element, 0 where there is no array."""
    return 0 if array is None else address(array)


def number_code(array: Array | None) -> int:
    """Return what tells a kernel the dtype of numbers that it reads one by one."""
    return 0 if array is None else CODES[name_of(array.dtype)]


def itemsize_of(array: Array | None) -> int:
    """Return the bytes of an element, 0 where there is no array."""
    return 0 if array is None else SIZES[name_of(array.dtype)]


def on_device(weight: Array | None) -> tuple[Array | None, float]:
    """Split a weight into an array on the device, or None, and a number (1.0 if none)."""
    if weight is None or isinstance(weight, DeviceArray):
        return weight, 1.0
    return None, float(weight)


def scratch(place: Place, count: int) -> tuple[Array | None, int]:
    """Return new memory for so many float64, in the order of the stream, and its address."""
    if count == 0:
        return None, 0
    array = place.empty((count,), _FLOAT64, None)
    return array, address(array)


def check_alignment(operands: Operands) -> None:
    """Refuse arrays whose elements lie across the boundaries of their size.

    A GPU cannot read them, and no library makes them.
    """
    roles = zip(operands._fields[:6], operands[:6], strict=True)
    for role, array in (*roles, *operands.array_options.items()):
        if not isinstance(array, DeviceArray) or array.size == 0:
            continue
        size = array.itemsize
        steps = [step for step, n in zip(array.strides, array.shape, strict=True) if n > 1]
        if any(step % size for step in (address(array), *steps)):
            raise ValueError(
                f"{role}: the elements are misaligned (an address or a stride is no multiple of "
                f"{size} bytes), which a GPU cannot read; pass a copy"
            )


__all__ = ["BY_WEIGHT", "CudaPlan"]
