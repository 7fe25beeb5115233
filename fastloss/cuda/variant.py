"""How the threads of a kernel are laid over its work; what it computes is in `fastloss.variant`."""

from __future__ import annotations

from typing import NamedTuple

from fastloss.losses.softmax import SOFTCAPPED
from fastloss.variant import ClassVariant, Outputs, PointwiseVariant, RowVariant


class Mapping(NamedTuple):
    """Threads of a block, threads that share one example, and what the kernel may rely on.

    `wide`: rows are read 16 bytes at a time. `plain`: examples lie one after the other, and
    there are no arrays of weights. `strided`: the elements of a row lie by its layout record.
    `loads`: 16-byte loads that a thread has under way at a time. `whole`: rows begin and end at
    multiples of 16 bytes.
    """

    threads: int
    group: int
    wide: bool
    plain: bool
    strided: bool = False
    loads: int = 1
    whole: bool = False


def is_lean(variant: ClassVariant, mapping: Mapping) -> bool:
    """Whether 64 registers are enough for the kernel."""
    in_turns = mapping.loads > 1 and not mapping.whole and variant.outputs.grad
    if in_turns or variant.link is SOFTCAPPED:
        return False
    return mapping.plain and variant.predictions != "float64" and not variant.soft


__all__ = ["ClassVariant", "Mapping", "Outputs", "PointwiseVariant", "RowVariant", "is_lean"]
