"""What a `SeparableSpec` computes once for each example, where many go side by side.

The twin of `softmax_examples`: the examples of a tile have a line for every number in question.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fastloss.cpu.examples import entry_of, target_of
from fastloss.cpu.ir import running_sum
from fastloss.cpu.lines import make_lines_at
from fastloss.cpu.loop import with_loop
from fastloss.cpu.memory import (
    STORAGE,
    load_float64,
    peek_float64,
    peek_int64,
    poke_float64,
    poke_int64,
)
from fastloss.cpu.softmax_parts import make_mass
from fastloss.dtypes import real_dtype
from fastloss.elementary import inline, jitable
from fastloss.spec import SeparableSpec
from fastloss.variant import ClassVariant


class Lines(NamedTuple):
    """Addresses of the lines of a tile: of int64 (y), of float64, of the predictions' real."""

    y: int  # 0 where there is none
    hot: int
    weight: int
    at_y: int  # real, as all that follow
    beside: int
    factor: int
    entry: int
    h_entry: int


LINES = len(Lines._fields)

#: lines_at(first, step): the lines that lie from an address on, each of so many bytes.
lines_at = make_lines_at("lines_at", __name__, Lines)


class Steps(NamedTuple):
    """The steps of a tile of m examples, the first of which has the number `start`."""

    #: (call, outer, start, m, lines): look up what belongs to each example but `at_y`, the
    #: prediction of its class; return how many weigh 0.
    read: Callable[..., Any]
    #: (call, start, m, lines) -> the sum of the losses; `beside` has that of the mass beside the
    #: class indices.
    add_up: Callable[..., Any]
    #: (call, m, lines): write the derivatives by each example's own class.
    derive: Callable[..., Any]


def make_terms(spec: SeparableSpec, variant: ClassVariant) -> tuple[Any, Any]:
    """Make (what a class adds to the loss of its row, its derivatives).

    The first is a function of (p, mass), the second of (p, mass, factor).
    """
    value, grad, hess = inline(spec.value), inline(spec.grad), inline(spec.hess)
    real = real_dtype(variant.predictions).type
    GRAD, HESS = variant.outputs.grad, variant.outputs.hess

    @inline
    def term(p, mass):
        return mass * value(p)

    @inline
    def slopes(p, mass, factor):
        by_mass = factor * mass
        first = by_mass * grad(p) if GRAD else real(0)
        return first, by_mass * hess(p) if HESS else real(0)

    return term, slopes


def make_steps(spec: SeparableSpec, variant: ClassVariant) -> Steps:
    """Make the steps."""
    real = real_dtype(variant.predictions).type
    _, load_real, store_real, peek, poke = STORAGE[real.__name__]
    value = inline(spec.value)
    _, slopes = make_terms(spec, variant)
    mass_beside = make_mass(variant)
    SOFT, MASS, CLASS_WEIGHT = variant.soft, variant.mass, variant.class_weight
    _, GRAD, HESS, PER_EXAMPLE = variant.outputs

    @jitable
    def read(call, outer, start, m, lines):
        weightless = 0
        for lane in range(m):
            y, hot, w = target_of(call, start + lane, SOFT)
            if y < 0:
                y, hot = 0, 0.0
            weightless += 1 if w == 0.0 else 0
            poke_int64(lines.y, lane, y)
            poke_float64(lines.hot, lane, hot)
            poke_float64(lines.weight, lane, w)
            poke(lines.factor, lane, real(outer * w * entry_of(call.u, start + lane)))
        return weightless

    @with_loop
    def add_up(call, start, m, lines):
        losses = 0.0
        for lane in range(m):
            v = np.float64(load_real(lines.beside, lane)) if MASS else 0.0
            if not SOFT:
                hot = load_float64(lines.hot, lane)
                own = hot * np.float64(value(load_real(lines.at_y, lane)))
                v += own if hot != 0.0 else 0.0
            w = load_float64(lines.weight, lane)
            v = v * w if w != 0.0 else 0.0
            losses = running_sum(losses, v)
            if PER_EXAMPLE:
                store_real(call.loss, start + lane, real(v))
        return losses

    @jitable
    def derive(call, m, lines):
        keep, spread = real(call.keep), real(call.spread)
        for lane in range(m):
            mass = real(peek_float64(lines.hot, lane))
            if MASS:
                y = peek_int64(lines.y, lane)
                weight = load_real(call.class_weight_real, y) if CLASS_WEIGHT else real(1)
                mass += mass_beside(call.t, lane, weight, keep, spread)
            first, second = slopes(peek(lines.at_y, lane), mass, peek(lines.factor, lane))
            if GRAD:
                poke(lines.entry, lane, first)
            if HESS:
                poke(lines.h_entry, lane, second)

    return Steps(read, add_up, derive)
