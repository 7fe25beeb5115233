"""What the plans of the CPU have in common: addresses, layouts, outputs, the launch.

A plan holds the kernels and every argument of them that stays the same from call to call; a
run adds the addresses.
"""

from __future__ import annotations

import ctypes
import functools
import struct
from collections.abc import Callable
from typing import Any, get_type_hints

import numpy as np

from fastloss.arrays import Array
from fastloss.checks import as_float, real_of
from fastloss.cpu.compile import Kernel
from fastloss.cpu.threads import launch
from fastloss.layouts import (
    broadcast_strides,
    c_strides,
    layout_record,
    memory_order,
    new_in_order,
    permuted,
)
from fastloss.spec import Operands, Request
from fastloss.variant import Outputs

#: Where an array object keeps the address of its first element: in the first field after the
#: object's header, by NumPy's C ABI. Kernels look there; to ask `array.ctypes` costs 1 us.
DATA_CELL = object.__basicsize__

_no_address = np.zeros(1, np.int64)

#: The cell of an array that is not there.
NO_CELL = int(_no_address.ctypes.data)


def cell_of(array: Array | None) -> int:
    """Return the address of the cell that holds the first element's address, 0 for no array."""
    return NO_CELL if array is None else id(array) + DATA_CELL


if ctypes.c_ssize_t.from_address(cell_of(_no_address)).value != NO_CELL:
    raise ImportError(
        "fastloss reads addresses from NumPy's arrays by NumPy's C ABI, and in this build of "
        "Python or NumPy they are elsewhere; use a release build of both"
    )


#: From a bytes object to its first byte: the end of the header.
_BYTES_OFFSET = bytes.__basicsize__ - 1


def packers(record: type, addresses: int) -> tuple[Callable[..., bytes], Callable[..., bytes]]:
    """Return what packs the first fields of a NamedTuple of ints and floats, and the rest."""
    kinds = ["d" if kind is float else "q" for kind in get_type_hints(record).values()]
    first, rest = "".join(kinds[:addresses]), "".join(kinds[addresses:])
    return struct.Struct("=" + first).pack, struct.Struct("=" + rest).pack


class CpuPlan:
    """What the plans have in common; the subclasses choose the kernels."""

    prepare: Kernel | None
    prepare_chunks: int
    compute: Kernel
    chunks: int

    def __init__(self, request: Request, operands: Operands, loss_shape: tuple[int, ...]) -> None:
        self.want = request.want
        self.real = real_of(operands.predictions)
        self.real_size = self.real.itemsize
        self.per_example = request.reduction == "none"
        self.mean = request.reduction == "mean"
        self.loss_shape = loss_shape
        self.out_shape = loss_shape if self.per_example else ()
        self.shape = operands.predictions.shape
        self.dtype = operands.predictions.dtype
        self.memory_order = memory_order(operands.predictions)
        self.outputs = Outputs(
            request.want.loss,
            request.want.grad,
            request.want.hess,
            self.per_example and request.want.loss,
        )
        #: The order in which a kernel walks the axes of the layouts; None for C order.
        self.walk_order: tuple[int, ...] | None = None
        self._records: list[Array] = []

    def launch(self, record: bytes, divisor: float, upstream: float, total: Array | None) -> int:
        """Run the kernels on their packed arguments; `total` is where a reduced loss goes.

        The sum of the losses is divided by `divisor`, nan for the sum of the weights.
        """
        where = NO_CELL if total is None or self.per_example else id(total) + DATA_CELL
        return launch(
            self.chunks, *self.kernels, id(record) + _BYTES_OFFSET, divisor, upstream, where,
            self.real_size,
        )  # fmt: skip

    @functools.cached_property
    def kernels(self) -> tuple[int, int, int, int]:
        """The addresses of the compiled kernels, each with its number of chunks."""
        prepare = 0 if self.prepare is None else self.prepare.address
        return prepare, self.prepare_chunks, self.compute.address, self.chunks

    def layout(self, shape: tuple[int, ...], strides: tuple[int, ...], itemsize: int) -> int:
        """Return the address of a layout record that lives as long as the plan, or 0."""
        record = layout_record(
            permuted(shape, self.walk_order), permuted(strides, self.walk_order), itemsize
        )
        if record is None:
            return 0
        self._records.append(record)
        return int(record.ctypes.data)

    def broadcast_layout(self, array: Array | None, dtype: np.dtype[Any]) -> int:
        """Return the layout of an array, once read as `dtype`, broadcast to the loss."""
        itemsize = dtype.itemsize
        if array is None or array.dtype != dtype:
            # Where it has to be converted, the copy lies in C order.
            shape = () if array is None else array.shape
            strides = c_strides(shape, itemsize)
        else:
            shape, strides = array.shape, array.strides
        return self.layout(
            self.loss_shape, broadcast_strides(shape, strides, self.loss_shape), itemsize
        )

    def new_gradient(self, wanted: bool, given: Array | None) -> Array | None:
        """Return the array that a gradient is written to."""
        if not wanted or given is not None:
            return given
        if self.memory_order is None:
            return np.empty(self.shape, self.dtype)
        return new_in_order(self.shape, self.dtype, self.memory_order)

    def new_strides(self) -> tuple[int, ...]:
        """Return the strides of a new gradient."""
        order = self.memory_order
        packed = c_strides(permuted(self.shape, order), self.dtype.itemsize)
        return packed if order is None else permuted(packed, tuple(np.argsort(order)))

    def as_float(self, array: Array | None, dtype: np.dtype[Any]) -> Array:
        """Return weights as `dtype`; a single 1 where there are none."""
        return np.ones(1, dtype) if array is None else as_float(array, dtype)
