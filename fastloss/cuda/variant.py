"""How the threads of a kernel are laid over its work; what it computes is in `cpu.variant`."""

from __future__ import annotations

from typing import NamedTuple

from fastloss.cpu.variant import ClassVariant, Outputs, PointwiseVariant


class Mapping(NamedTuple):
    """Threads of a block, threads that share one example, and whether loads are 16 bytes."""

    threads: int
    group: int
    wide: bool


__all__ = ["ClassVariant", "Mapping", "Outputs", "PointwiseVariant"]
