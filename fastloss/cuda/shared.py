"""Tiles of rows in shared memory; see `ir_shared`."""

from __future__ import annotations

from typing import Any

from fastloss.cuda.primitives import plain
from fastloss.device import simulated
from fastloss.dtypes import FLOATS
from fastloss.elementary import inline

instructions: Any
if simulated():
    from fastloss.cuda import simulated_shared as instructions
else:
    from fastloss.cuda import ir_shared as instructions


@inline
def copy_into(tile, v, address):
    """Begin to copy 16 bytes of global memory to the tile's 16 bytes number `v`."""
    instructions.copy_into(tile, v, address)


@inline
def copies_done():
    """Wait for all copies that this thread has begun."""
    instructions.copies_done()


@inline
def copy_out(tile, v, address):
    """Copy the tile's 16 bytes number `v` to global memory."""
    instructions.copy_out(tile, v, address)


_ARGUMENTS = {"take": 2, "put": 3}
globals().update(
    {
        f"{act}_{dtype}": plain(instructions, f"{act}_{dtype}", arguments, __name__)
        for act, arguments in _ARGUMENTS.items()
        for dtype in FLOATS
    }
)

#: For each dtype, take(tile, k) and put(tile, k, value) of number `k`.
TAKE = {dtype: globals()[f"take_{dtype}"] for dtype in FLOATS}
PUT = {dtype: globals()[f"put_{dtype}"] for dtype in FLOATS}
