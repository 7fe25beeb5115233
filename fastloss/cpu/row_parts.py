"""What both families have that lay losses out of formulas across the examples of a tile.

They are `row_lanes` and, for rows of four classes, `row_fours`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastloss.cpu.ir import running_sum
from fastloss.cpu.lines import read_line
from fastloss.cpu.memory import STORAGE
from fastloss.dtypes import real_dtype
from fastloss.elementary import jitable
from fastloss.spec import Derived, Entry, Reduction
from fastloss.variant import Outputs, RowVariant

#: The lines of a tile: class index, example weight (float64), factor of the derivatives, whether
#: the example counts, what is being added up, the same in float64, whether a repeated round goes
#: on and whether it will; then the entries of `row` from the second on, and behind them those
#: that a repeated round is computing.
INDEX, WEIGHT, FACTOR, ALIVE, PART, WHOLE, GOING, MORE, ROW = range(9)


def serves(part: Reduction | Entry | Derived, outputs: Outputs) -> bool:
    """Return whether what a call asks for needs this entry of the row."""
    wanted = zip(("value", "grad", "hess"), outputs[:3], strict=True)
    return isinstance(part, Entry) or any(asked and role in part.roles for role, asked in wanted)


def make_sum(variant: RowVariant) -> Any:
    """Make the function (call, start, m, lines) -> the sum of weighted losses, from line PART.

    It is a loop of its own: with its conversion to float64 in it, that of a formula stays scalar.
    """
    real = real_dtype(variant.predictions).type
    store_real = STORAGE[real.__name__].store
    PER_EXAMPLE = variant.outputs.per_example

    @jitable
    def add_up(call, start, m, lines):
        losses = 0.0
        for lane in range(m):
            loss = np.float64(read_line(lines, PART, lane, real(0)))
            weight = read_line(lines, WEIGHT, lane, 0.0)
            alive = read_line(lines, ALIVE, lane, real(0)) != real(0)
            loss = weight * loss if alive else 0.0
            losses = running_sum(losses, loss)
            if PER_EXAMPLE:
                store_real(call.loss, start + lane, real(loss))
        return losses

    return add_up
