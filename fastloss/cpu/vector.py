"""The intrinsics of `ir` that kernels use in their loops, as plain functions.

A kernel's closure must hold nothing but plain functions, ints and strings: an intrinsic
pickles differently in every process, and the cached kernel would never be found again.
"""

from __future__ import annotations

from fastloss.cpu import ir
from fastloss.cpu.memory import inline


@inline
def running_sum(total, x):
    """total + x, in an order that LLVM may choose (the same for the same input)."""
    return ir.add_reduce(total, x)


@inline
def running_max(largest, x):
    """The larger of the two; a nan stays."""
    return ir.max_reduce(largest, x)


@inline
def read_tuple(address, where, like):
    """As many values of the type of `like`, from `address` on, as `where` has entries."""
    return ir.load_tuple(address, where, like)


@inline
def mix_tuple(values, lines, i, where):
    """`values`, with the entries of arrays read from lines[k] at i."""
    return ir.mix_tuple(values, lines, i, where)
