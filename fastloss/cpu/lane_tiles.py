"""What kernels share whose vectors run across examples, taken class by class where they lie.

For a class axis that is not the last in memory, and for short rows with gaps. A tile is small
enough that what is read of it again comes from a second-level cache.
"""

from __future__ import annotations

from typing import Any

from fastloss.cpu.chunks import MIN_EXAMPLES, power_of_two
from fastloss.cpu.memory import STORAGE, peek_float64, peek_int64
from fastloss.cpu.softmax_parts import kept
from fastloss.cpu.transfers import BITS, fetch, offset_of, walk_from, walk_on
from fastloss.dtypes import real_dtype
from fastloss.elementary import jitable
from fastloss.variant import ClassVariant

#: Predictions of one tile: 64 KB of float32, in a second-level cache.
TILE = 16384
MAX_EXAMPLES = 2048

#: Classes of which numbers are added in the predictions' precision, before float64.
SUM_RUN = 32

#: Whether neighbours in a kernel's loops are examples; else they are classes.
ACROSS_EXAMPLES = True


def examples_per_tile(classes: int) -> int:
    """Return how many examples one tile holds: a power of two, smaller for more classes."""
    return power_of_two(TILE // classes, MIN_EXAMPLES, MAX_EXAMPLES)


def make_prediction_at(variant: ClassVariant) -> Any:
    """Make the function (call, c, i) -> the prediction for class c of example i, as given."""
    x_size, load_x, *_ = STORAGE[variant.predictions]

    @jitable
    def prediction_at(call, c, i):
        return load_x(call.x + c * call.x_step + offset_of(call.x_layout, i, x_size), 0)

    return prediction_at


def make_read_labels(variant: ClassVariant) -> Any:
    """Make the function (call, start, m, y, at_y): write each example's prediction for class y."""
    x_size, _, _, peek_x, _ = STORAGE[variant.predictions]
    real = real_dtype(variant.predictions).type
    poke = STORAGE[real.__name__].poke

    @jitable
    def read_labels(call, start, m, y, at_y):
        walk = walk_from(call.x_layout, start, x_size)
        for lane in range(m):
            x = call.x + walk[0] + peek_int64(y, lane) * call.x_step
            poke(at_y, lane, real(peek_x(x, 0)))
            walk = walk_on(call.x_layout, walk)

    return read_labels


def make_read_class(variant: ClassVariant) -> Any:
    """Make the function that reads what belongs to class c beside its predictions.

    Of (call, c, start, m, buffer): (where its soft targets lie in a row, its class weight).
    """
    t_bits = BITS[STORAGE[variant.targets].itemsize]
    real = real_dtype(variant.predictions).type
    load_real = STORAGE[real.__name__].load
    SOFT, CLASS_WEIGHT = variant.soft, variant.class_weight

    @jitable
    def read_class(call, c, start, m, buffer):
        weight = load_real(call.class_weight_real, c) if CLASS_WEIGHT else real(1)
        if not SOFT:
            return call.t, weight
        return fetch(call.t + c * call.t_step, call.t_layout, start, m, buffer, t_bits), weight

    return read_class


def make_finish(variant: ClassVariant) -> Any:
    """Make the function that writes what is special in the derivatives of a tile's examples.

    Of (call, start, m, lines, weightless), where `lines` has y, weight and the entries.
    """
    x_size, _, store_x, *_ = STORAGE[variant.predictions]
    real = real_dtype(variant.predictions).type
    peek = STORAGE[real.__name__].peek
    SOFT, KEEP = variant.soft, kept(variant)
    _, GRAD, HESS, _ = variant.outputs

    @jitable
    def write_entries(array, layout, step, start, m, y, entries):
        walk = walk_from(layout, start, x_size)
        for lane in range(m):
            at = array + walk[0] + peek_int64(y, lane) * step
            store_x(at, 0, peek(entries, lane))
            walk = walk_on(layout, walk)

    @jitable
    def write_labels(call, start, m, lines):
        """Write the entry of each example's own class."""
        if GRAD:
            write_entries(call.g, call.g_layout, call.g_step, start, m, lines.y, lines.entry)
        if HESS:
            write_entries(call.h, call.h_layout, call.h_step, start, m, lines.y, lines.h_entry)

    @jitable
    def write_zeros(call, start, m, lines):
        """Clear the derivatives of examples that weigh 0: their predictions may hold a nan."""
        for lane in range(m):
            if peek_float64(lines.weight, lane) == 0.0:
                for c in range(call.classes):
                    if GRAD:
                        g = call.g + offset_of(call.g_layout, start + lane, x_size)
                        store_x(g + c * call.g_step, 0, real(0))
                    if HESS:
                        h = call.h + offset_of(call.h_layout, start + lane, x_size)
                        store_x(h + c * call.h_step, 0, real(0))

    @jitable
    def finish(call, start, m, lines, weightless):
        if KEEP and not SOFT:
            write_labels(call, start, m, lines)
        if KEEP and weightless > 0:
            write_zeros(call, start, m, lines)

    return finish
