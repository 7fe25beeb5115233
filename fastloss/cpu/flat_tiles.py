"""What kernels share that take all classes of short rows in one go: a tile's rows, without gaps.

Vectors run over the classes, whatever row they belong to (see `segments`), and over the examples.
"""

from __future__ import annotations

from typing import Any

from fastloss.cpu.examples import make_write_zeros
from fastloss.cpu.memory import STORAGE, peek_float64, peek_int64
from fastloss.cpu.softmax_parts import make_mass
from fastloss.dtypes import real_dtype
from fastloss.elementary import jitable
from fastloss.variant import ClassVariant

#: Predictions of one tile: 8 KB of float32, of which a few lines stay in a first-level cache.
TILE = 2048
MAX_EXAMPLES = 256

#: Whether neighbours in a kernel's loops are examples; else they are classes.
ACROSS_EXAMPLES = True


def examples_per_tile(classes: int) -> int:
    """Return how many examples one tile holds: as many as make whole vectors."""
    return max(16, min(MAX_EXAMPLES, TILE // classes // 16 * 16))


def make_prediction_at(variant: ClassVariant) -> Any:
    """Make the function (call, c, i) -> the prediction for class c of example i, as given."""
    load_x = STORAGE[variant.predictions].load

    @jitable
    def prediction_at(call, c, i):
        return load_x(call.x, i * call.classes + c)

    return prediction_at


def make_read_labels(variant: ClassVariant) -> Any:
    """Make the function (call, start, m, y, at_y): write each example's prediction for class y."""
    peek_x = STORAGE[variant.predictions].peek
    real = real_dtype(variant.predictions).type
    poke = STORAGE[real.__name__].poke

    @jitable
    def read_labels(call, start, m, y, at_y):
        for lane in range(m):
            k = (start + lane) * call.classes + peek_int64(y, lane)
            poke(at_y, lane, real(peek_x(call.x, k)))

    return read_labels


def make_write_masses(variant: ClassVariant) -> Any:
    """Make the function (call, t, m, masses): write the probability mass on each class.

    Beside that of the class index; the soft targets of the tile are at `t`.
    """
    real = real_dtype(variant.predictions).type
    _, load_real, _, _, poke = STORAGE[real.__name__]
    mass_on, CLASS_WEIGHT = make_mass(variant), variant.class_weight

    @jitable
    def write_masses(call, t, m, masses):
        keep, spread = real(call.keep), real(call.spread)
        if CLASS_WEIGHT:
            for r in range(m):
                first = r * call.classes
                for c in range(call.classes):
                    weight = load_real(call.class_weight_real, c)
                    poke(masses, first + c, mass_on(t, first + c, weight, keep, spread))
        else:
            for k in range(m * call.classes):
                poke(masses, k, mass_on(t, k, real(1), keep, spread))

    return write_masses


def make_finish(variant: ClassVariant) -> Any:
    """Make the function that writes what is special in the derivatives of a tile's examples.

    Of (classes, m, lines, weightless, g, h), where `lines` has y, weight and the entries.
    """
    x_size, _, store_x, *_ = STORAGE[variant.predictions]
    peek = STORAGE[real_dtype(variant.predictions).name].peek
    write_zeros = make_write_zeros(variant)
    SOFT = variant.soft
    _, GRAD, HESS, _ = variant.outputs

    @jitable
    def write_labels(classes, m, lines, g, h):
        """Write the entry of each example's own class."""
        for r in range(m):
            k = r * classes + peek_int64(lines.y, r)
            if GRAD:
                store_x(g, k, peek(lines.entry, r))
            if HESS:
                store_x(h, k, peek(lines.h_entry, r))

    @jitable
    def write_all_zeros(classes, m, lines, g, h):
        """Clear the derivatives of examples that weigh 0: their predictions may hold a nan."""
        for r in range(m):
            if peek_float64(lines.weight, r) == 0.0:
                first = r * classes * x_size
                write_zeros(classes, g + first, h + first)

    @jitable
    def finish(classes, m, lines, weightless, g, h):
        if not SOFT:
            write_labels(classes, m, lines, g, h)
        if weightless > 0:
            write_all_zeros(classes, m, lines, g, h)

    return finish
