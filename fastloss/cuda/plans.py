"""What the plans of CUDA have in common: addresses, layouts, outputs, scratch, the launch.

A plan holds the kernels and every argument of them that stays the same from call to call; a
run adds the addresses and launches. Only what a plan keeps is waited for, when it is made.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NoReturn, TypeAlias

import numpy as np

from fastloss import device as gpu
from fastloss.arrays import Array
from fastloss.arrays.cuda import DeviceArray, Place, place_of
from fastloss.checks import as_float, check_overlap, real_of
from fastloss.config import config
from fastloss.cuda.compile import Kernel
from fastloss.cuda.driver import FinishCall, finish_kernel
from fastloss.cuda.memory import CODES, SIZES
from fastloss.cuda.refusal import NO_EXAMPLE
from fastloss.cuda.replay import Address, Recording, address_in
from fastloss.cuda.variant import Outputs
from fastloss.cuda.weights import Weights
from fastloss.dtypes import name_of
from fastloss.layouts import (
    broadcast_strides,
    c_strides,
    layout_record,
    memory_order,
    permuted,
)
from fastloss.spec import Operands, Request, Results

_FLOAT64 = np.dtype(np.float64)
_Roles: TypeAlias = list[tuple[str, DeviceArray]]

#: Blocks of a launch, at most: enough to fill any GPU several times over, and as many for each of
#: the 132 multiprocessors of an H100 or H200. The division of the work must not depend on the
#: device, or results would.
MAX_BLOCKS = 4224


class CudaPlan:
    """What the plans have in common; the subclasses choose the kernels."""

    def __init__(self, request: Request, operands: Operands, loss_shape: tuple[int, ...]) -> None:
        predictions = operands.predictions
        check_strides(device_arrays(operands))
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
        #: Blocks of the kernel that computes, and of the one that sums weights before it.
        self.blocks = self.weight_blocks = 0
        #: The kernel that computes sums the weights, too.
        self.counted = False
        #: What a mean without a sum of weights divides by, for weights of 1.
        self.count = 0.0
        #: The order in which a kernel walks the axes of the layouts; None for C order.
        self.walk_order: tuple[int, ...] | None = None
        #: The layouts of the weights and of the upstream gradient.
        self.weight_layout = self.upstream_layout = 0
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
            # The copy may be under way, and a stream need not wait for the default one.
            gpu.wait(0)
        self._records.append(kept)
        return int(kept.ctypes.data if gpu.simulated() else kept.device_ctypes_pointer.value)

    def broadcast_layout(self, array: Array | None) -> int:
        """Return the layout of an array broadcast to the loss."""
        if array is None:
            return 0
        strides = broadcast_strides(array.shape, array.strides, self.loss_shape)
        return self.layout(self.loss_shape, strides, array.itemsize)

    def lay_out_weights(self, operands: Operands) -> None:
        """Keep the layouts of the weights and of the upstream gradient."""
        weight, _ = on_device(operands.sample_weight)
        self.weight_layout = self.broadcast_layout(weight)
        self.upstream_layout = self.broadcast_layout(operands.grad_output)

    def new_strides(self) -> tuple[int, ...]:
        """Return the strides of a new gradient: its axes lie in memory as the predictions'."""
        return self.new_strides_of(self.dtype.itemsize)

    def new_strides_of(self, itemsize: int) -> tuple[int, ...]:
        """Return the same for elements of another size."""
        order = self.memory_order
        packed = c_strides(permuted(self.shape, order), itemsize)
        return packed if order is None else permuted(packed, tuple(np.argsort(order)))

    # --- a call -------------------------------------------------------------------------

    def run(
        self, operands: Operands, upstream: float, recording: Recording | None = None
    ) -> Results:
        """Launch the kernels; returns before they have run. A recording writes them down."""
        check_overlap(operands)
        arrays = device_arrays(operands)
        check_addresses(arrays)
        place = place_of(operands.predictions)
        if recording is not None:
            place = recording.watch(place)
        places = [array.place for _, array in arrays]
        others = {other.stream for other in places} - {place.stream}
        with gpu.current(place.device):
            for stream in others:
                gpu.wait_for(place.stream, stream)
            summed = self.want.loss and not self.per_example
            kept, memory = scratch(place, self.weight_blocks + (self.blocks if summed else 0))
            results = self.compute(place, operands, upstream, memory)
            if summed:
                sums = memory + 8 * self.weight_blocks
                _, number = on_device(operands.sample_weight)
                record = FinishCall(
                    sums, self.blocks, memory, self.weight_blocks, self.divisor_of(number),
                    address_or_null(results[0]), self.real.itemsize,
                )  # fmt: skip
                self.launch(finish_kernel(), place, 1, record)
            # Their libraries may reuse or read the memory of the arrays next.
            for stream in others:
                gpu.wait_for(stream, place.stream)
            for finish in {other.finish for other in places if other.finish is not None}:
                finish(place.stream)
            del kept  # its library reuses it in the order of the stream
        return results

    def compute(self, place: Place, operands: Operands, upstream: float, memory: int) -> Results:
        """Launch the kernels of the loss.

        `memory` has room for a float64 of every block that sums weights, then of every one
        that computes.
        """
        raise NotImplementedError

    @property
    def validate(self) -> bool:
        """Whether bad values are to be looked for, which waits for the device."""
        return config.validate_cuda

    def weights(self, operands: Operands, upstream: float, memory: int) -> Sequence[float]:
        """Return the `Weights` of a call; `memory` has room for the sums of the weights."""
        w, number = on_device(operands.sample_weight)
        u = operands.grad_output
        return Weights(
            address_or_null(w), self.weight_layout, itemsize_of(w), number_code(w), number,
            address_or_null(u), self.upstream_layout, itemsize_of(u), number_code(u),
            upstream, self.divisor_of(number), memory, 0 if self.counted else self.weight_blocks,
        )  # fmt: skip

    def divisor_of(self, weight: float) -> float:
        """Return what the sum of the losses is divided by; nan for the sum of the weights."""
        if not self.mean:
            return 1.0
        return math.nan if self.weight_blocks else self.count * weight

    def new_gradient(self, place: Place, wanted: bool, given: Array | None) -> Array | None:
        """Return the array that a gradient is written to."""
        if not wanted or given is not None:
            return given
        strides = None if self.memory_order is None else self.new_strides()
        return place.empty(self.shape, self.dtype, strides)

    def launch(self, kernel: Kernel, place: Place, blocks: int, record: tuple[Any, ...]) -> None:
        """Launch a kernel on the producer's stream."""
        if place.note is not None:
            place.note(kernel, blocks, record)
        kernel.launch(place.device, place.stream, blocks, record)

    # --- what is looked at on the host, with validate_cuda ------------------------------

    def first_refused(
        self, place: Place, kernel: Kernel, record: Any, count: int
    ) -> int:  # fmt: skip
        """Return the smallest number that a kernel left in `parts`."""
        blocks = blocks_for(count, 8 * kernel.threads)
        if blocks == 0:
            return NO_EXAMPLE
        kept, memory = scratch(place, blocks * kernel.threads)
        self.launch(kernel, place, blocks, record._replace(parts=memory))
        gpu.wait(place.stream)
        found = np.frombuffer(gpu.read_bytes(memory, 8 * blocks * kernel.threads), np.int64)
        del kept
        return int(found.min())

    def read_element(self, array: Array, where: tuple[int, ...]) -> Any:
        """Return one element of an array on the device."""
        offset = sum(i * step for i, step in zip(where, array.strides, strict=True))
        raw = np.frombuffer(gpu.read_bytes(address(array) + offset, array.itemsize), array.dtype)
        return raw[0] if raw.dtype.names is None else as_float(raw, _FLOAT64)[0]


def blocks_for(work: int, per_block: int) -> int:
    """Return the number of blocks for so many items."""
    return min(MAX_BLOCKS, -(-work // per_block))


def address(array: Array) -> Address:
    """Return the address of the first element."""
    assert isinstance(array, DeviceArray)
    return address_in(array, array.address)


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
    # As bytes: JAX makes float32 of what is asked for as float64.
    array = place.empty((8 * count,), np.dtype(np.uint8), None)
    return array, address(array)


def device_arrays(operands: Operands) -> _Roles:
    """Return all arrays of a call on the device, each with its role."""
    roles = zip(operands._fields[:6], operands[:6], strict=True)
    return [
        (role, array)
        for role, array in (*roles, *operands.array_options.items())
        if isinstance(array, DeviceArray)
    ]


def check_strides(arrays: _Roles) -> None:
    """Refuse arrays whose strides lead across the boundaries of their elements' size.

    A GPU cannot read them, and no library makes them.
    """
    for role, array in arrays:
        steps = [step for step, n in zip(array.strides, array.shape, strict=True) if n > 1]
        if array.size and any(step % array.itemsize for step in steps):
            _refuse_misaligned(role, array)


def check_addresses(arrays: _Roles) -> None:
    """Refuse arrays that begin off a boundary of their elements' size."""
    for role, array in arrays:
        if array.address % array.itemsize and array.size:
            _refuse_misaligned(role, array)


def _refuse_misaligned(role: str, array: Array) -> NoReturn:
    raise ValueError(
        f"{role}: the elements are misaligned (an address or a stride is no multiple of "
        f"{array.itemsize} bytes), which a GPU cannot read; pass a copy"
    )
