"""What kernels are written with: the GPU's instructions, or their stand-ins in the simulator.

The only place that chooses between the two. Each instruction becomes a plain function here:
Numba's cache never finds a kernel again whose closure holds an intrinsic.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastloss.device import numba_cuda, simulated
from fastloss.dtypes import FLOATS
from fastloss.elementary import inline

instructions: Any
if simulated():
    from fastloss.cuda import simulated as instructions

    cuda = instructions.cuda
    #: Threads that exchange values without a barrier, and warps of a large block.
    WARP, LARGE = 4, 2
else:
    from fastloss.cuda import ir as instructions

    cuda = numba_cuda()
    WARP, LARGE = 32, 16


#: Marks the function that calls it as one to call: code off the path that must be fast.
out_of_line = instructions.out_of_line

#: Bytes that one wide load or store moves.
WIDE = instructions.WIDE

_INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32")


def plain(instructions: Any, name: str, arguments: int, module: str) -> Any:
    """Return the instruction `name` as a function of `module`, one that pickles by name."""
    instruction = getattr(instructions, name)

    def of_one(a):
        return instruction(a)

    def of_two(a, b):
        return instruction(a, b)

    def of_three(a, b, c):
        return instruction(a, b, c)

    function = (of_one, of_two, of_three)[arguments - 1]
    function.__name__ = function.__qualname__ = name
    function.__module__ = module
    return inline(function)


_NAMES = [f"load_{dtype}" for dtype in (*FLOATS, *_INTEGERS)]
_NAMES += [f"{act}_{dtype}" for dtype in FLOATS for act in ("store", "load_wide", "store_wide")]
_NAMES += ["store_int64"]
globals().update(
    {
        name: plain(
            instructions, name, 2 if name.startswith(("store", "load_wide")) else 1, __name__
        )
        for name in _NAMES
    }
)


def instruction(name: str) -> Any:
    """Return load_<dtype>, store_<dtype>, load_wide_<dtype> or store_wide_<dtype>."""
    return globals()[name]


@inline
def float32_of_bits(bits):
    """The float32 in the lower half of an int64."""
    return instructions.float32_of_bits(bits)


@inline
def float64_of_bits(bits):
    """The float64 of these bits."""
    return instructions.float64_of_bits(bits)


@inline
def shuffle_xor(value, offset):
    """The value of the thread of this warp whose lane differs by `offset` in binary."""
    return instructions.shuffle_xor(value, offset)


@inline
def sync_warp():
    """Wait for the warp; what its threads read and wrote before stays before."""
    instructions.sync_warp()


@inline
def thread_number():
    """Of this thread in its block."""
    return np.int64(cuda.threadIdx.x)


@inline
def block_number():
    """Of this block in the grid."""
    return np.int64(cuda.blockIdx.x)


@inline
def block_count():
    """Blocks in the grid."""
    return np.int64(cuda.gridDim.x)
