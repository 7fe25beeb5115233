"""Which kernels suit the way the classes lie."""

from __future__ import annotations

from typing import Any

from fastloss.cpu import (
    row_fours,
    row_lanes,
    row_losses,
    separable,
    separable_flat,
    separable_lanes,
    softmax_flat,
    softmax_lanes,
    softmax_rows,
)
from fastloss.cpu.arrangement import Arrangement
from fastloss.cpu.softmax_parts import kept
from fastloss.spec import ClassSpec, SeparableSpec
from fastloss.variant import ClassVariant, RowVariant

#: Rows shorter than this are not worth what is done once for each of them: for cross-entropy
#: without gaps between the rows, the same with derivatives by a mass on all classes, and with
#: gaps; for a `RowSpec`.
SHORT_BELOW, SHORT_BELOW_OF_MASS, SHORT_BELOW_WITH_GAPS, SHORT_BELOW_OF_FORMULAS = 160, 64, 32, 64

#: Rows of a `RowSpec` from this on are brought into one line, one by one: a tile of them would
#: leave the caches.
LONG_FROM = 8192

#: Examples too few for vectors that run across them.
FEW_EXAMPLES = 16


def worth_gathering(lie: Arrangement) -> bool:
    """Whether classes that lie apart had better be brought into one line, example by example.

    Where they are many, and the examples are few or lie even further apart.
    """
    step = lie.steps[0]
    nearer = step is not None and abs(step) < abs(lie.apart)
    return lie.classes >= SHORT_BELOW and (lie.examples < FEW_EXAMPLES or nearer)


def family_of(spec: ClassSpec, variant: RowVariant | ClassVariant, lie: Arrangement) -> Any:
    """Return the module that lays kernels over the loss."""
    if isinstance(variant, RowVariant):
        return _of_formulas(spec, lie)
    return (_of_separable if isinstance(spec, SeparableSpec) else _of_softmax)(variant, lie)


def _of_formulas(spec: ClassSpec, lie: Arrangement) -> Any:
    if spec.classes == row_fours.CLASSES and lie.without_gaps:
        return row_fours
    if lie.in_rows:
        return row_losses if lie.classes >= SHORT_BELOW_OF_FORMULAS else row_lanes
    by_rows = None in lie.steps or lie.classes >= LONG_FROM or worth_gathering(lie)
    return row_losses if by_rows else row_lanes


def _of_separable(variant: ClassVariant, lie: Arrangement) -> Any:
    if lie.in_rows:
        by_rows = lie.classes >= (SHORT_BELOW if lie.without_gaps else SHORT_BELOW_WITH_GAPS)
    else:
        # Without a mass on all classes the others are not even read.
        by_rows = variant.mass and worth_gathering(lie)
    if by_rows:
        return separable
    return separable_flat if lie.without_gaps else separable_lanes


def _of_softmax(variant: ClassVariant, lie: Arrangement) -> Any:
    short = SHORT_BELOW_WITH_GAPS
    if lie.without_gaps:
        by_mass = variant.mass and kept(variant)
        short = SHORT_BELOW_OF_MASS if by_mass else SHORT_BELOW
    by_rows = lie.classes >= short if lie.in_rows else worth_gathering(lie)
    if by_rows:
        return softmax_rows
    return softmax_flat if lie.without_gaps else softmax_lanes
