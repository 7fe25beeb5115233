"""Tiles of rows in shared memory; see `ir_shared`."""

from __future__ import annotations

from typing import Any

from fastloss.device import simulated
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


def _plain(name: str) -> Any:
    """Return an instruction as a function of this module: see `primitives`."""
    instruction = getattr(instructions, name)

    def take(tile, k):
        return instruction(tile, k)

    def put(tile, k, value):
        instruction(tile, k, value)

    function = take if name.startswith("take") else put
    function.__name__ = function.__qualname__ = name
    return inline(function)


_DTYPES = ("float64", "float32", "float16", "bfloat16")
globals().update(
    {f"{act}_{dtype}": _plain(f"{act}_{dtype}") for act in ("take", "put") for dtype in _DTYPES}
)

#: For each dtype, take(tile, k) and put(tile, k, value) of number `k`.
TAKE = {dtype: globals()[f"take_{dtype}"] for dtype in _DTYPES}
PUT = {dtype: globals()[f"put_{dtype}"] for dtype in _DTYPES}
