"""The part of a row that is read 16 bytes at a time, for a cross-entropy from logits.

`by_one` takes every option. `by_turns` takes logits and labels as they are, and makes turns of
several loads: all are under way before the first is looked at, and the maximum changes once a
turn. Gradients are written from the last turn on, which is still in registers; what was read
before it comes from the cache, and that remembers the latest best.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fastloss.cuda.memory import STORAGE
from fastloss.cuda.primitives import WIDE, cuda
from fastloss.cuda.softmax_classes import classes_of, floor_of_maximum
from fastloss.cuda.variant import ClassVariant, Mapping
from fastloss.cuda.words import WORDS, WORDS_OF, load_words
from fastloss.dtypes import real_dtype
from fastloss.elementary import exp_normal, inline, maximum
from fastloss.losses.softmax import IDENTITY, class_dot


class Vectors(NamedTuple):
    """What is done with the `wide` loads of a row; x, t, g, h are the addresses of the first.

    `first` is the number of its class, `words` what a thread keeps of the row.
    """

    #: How many words a thread keeps.
    words: int
    #: (call, x, t, first, wide, lane, sums, words) -> sums
    visit: Callable[..., Any]
    #: (call, x, t, g, h, first, wide, lane, live, factor, state, words)
    write: Callable[..., Any]


def allows_turns(variant: ClassVariant) -> bool:
    """Whether logits and labels count as they are."""
    return variant.link is IDENTITY and not (variant.mass or variant.outputs.hess)


def vectors_of(variant: ClassVariant, mapping: Mapping) -> Vectors:
    """Return the steps for the dtypes, options and outputs of `variant`."""
    return (by_turns if mapping.loads > 1 else by_one)(variant, mapping)


# --- all options ------------------------------------------------------------------------


def by_one(variant: ClassVariant, mapping: Mapping) -> Vectors:
    """Return the steps that take one load at a time."""
    x_size, _, _, load_wide_x, store_wide_x = STORAGE[variant.predictions]
    t_size, _, _, load_wide_t, _ = STORAGE[variant.targets]
    real: Any = real_dtype(variant.predictions).type
    linked, _, mass_on, _, derive = classes_of(variant)
    floor_of = floor_of_maximum(real)
    SOFT, MASS = variant.soft, variant.mass
    GRAD, HESS = variant.outputs.grad, variant.outputs.hess
    GROUP, LANES = mapping.group, WIDE // x_size

    @inline
    def visit(call, x, t, first, wide, lane, sums, words):
        m, s, mass, dot = sums
        chunk = cuda.local.array(LANES, real)
        soft = cuda.local.array(LANES, real)
        for v in range(lane, wide, GROUP):
            load_wide_x(x + v * WIDE, chunk)
            new = m
            for k in range(LANES):
                chunk[k] = linked(call, chunk[k])
                new = maximum(new, chunk[k])
            before, floor = floor_of(m), floor_of(new)
            s *= exp_normal(m - floor)
            for k in range(LANES):
                s += exp_normal(chunk[k] - floor)
            if MASS:
                if SOFT:
                    load_wide_t(t + v * LANES * t_size, soft)
                dot += mass * (before - floor)
                for k in range(LANES):
                    p = mass_on(call, soft[k] if SOFT else real(0), first + v * LANES + k)
                    dot += class_dot(p, chunk[k] - floor)
                    mass += p
            m = new
        return m, s, mass, dot

    @inline
    def write(call, x, t, g, h, first, wide, lane, live, factor, state, words):
        floor, inverse, slope = state
        chunk = cuda.local.array(LANES, real)
        soft = cuda.local.array(LANES, real)
        second = cuda.local.array(LANES, real)
        for v in range(lane, wide, GROUP):
            load_wide_x(x + v * WIDE, chunk)
            if SOFT:
                load_wide_t(t + v * LANES * t_size, soft)
            for k in range(LANES):
                target = soft[k] if SOFT else real(0)
                target = mass_on(call, target, first + v * LANES + k) if MASS else real(0)
                d, dd = derive(call, chunk[k], floor, inverse, slope, target, factor)
                chunk[k] = d if live else real(0)
                second[k] = dd if live else real(0)
            if GRAD:
                store_wide_x(g + v * WIDE, chunk)
            if HESS:
                store_wide_x(h + v * WIDE, second)

    return Vectors(1, visit, write)


# --- logits and labels as they are ------------------------------------------------------


def unrolled(count: int, body: Callable[..., Any]) -> Any:
    """Return the function (state, *args) that takes state = body(state, k, *args) for k < count.

    LLVM leaves loops as they are that would become long, and with them arrays in memory.
    """
    last = count - 1
    if last == 0:

        def first(state, *args):
            return body(state, 0, *args)

        return inline(first)
    before = unrolled(last, body)

    def further(state, *args):
        return body(before(state, *args), last, *args)

    return inline(further)


def by_turns(variant: ClassVariant, mapping: Mapping) -> Vectors:
    """Return the steps that take turns of `mapping.loads` loads."""
    x_size, _, _, _, store_wide_x = STORAGE[variant.predictions]
    fill, number, larger = WORDS_OF[variant.predictions]
    real: Any = real_dtype(variant.predictions).type
    floor_of = floor_of_maximum(real)
    LOADS = mapping.loads
    GROUP, LANES = mapping.group, WIDE // x_size
    TURN = GROUP * LOADS
    PER_TURN = TURN.bit_length() - 1

    @inline
    def load(state, k, words, x, v, wide):
        fill(words, k)
        if np.int32(v + k * GROUP) < wide:
            load_words(x + k * GROUP * WIDE, words, k)
        return state

    @inline
    def compare(state, k, tops, words):
        larger(tops, words, k)
        return state

    @inline
    def add(s, k, words, floor):
        part = exp_normal(number(words, k * LANES) - floor)
        for j in range(1, LANES):
            part += exp_normal(number(words, k * LANES + j) - floor)
        return s + part

    @inline
    def store(state, k, chunk, g, v, wide, words, floor, scale):
        if np.int32(v + k * GROUP) < wide:
            for j in range(LANES):
                chunk[j] = exp_normal(number(words, k * LANES + j) - floor) * scale
            store_wide_x(g + k * GROUP * WIDE, chunk)
        return state

    load_all, compare_all = unrolled(LOADS, load), unrolled(LOADS, compare)
    add_all, store_all = unrolled(LOADS, add), unrolled(LOADS, store)

    # Numbers of loads are int32, and `x` and `g` the addresses of a thread's first of a turn: half
    # the registers, and half the instructions.
    @inline
    def turn(x, v, wide, m, s, words, tops):
        """(maximum, sum of exponentials) with those of a turn."""
        load_all(0, words, x, v, wide)
        fill(tops, 0)
        compare_all(0, tops, words)
        new = m
        for k in range(LANES):
            new = maximum(new, number(tops, k))
        floor = floor_of(new)
        return new, add_all(s * exp_normal(m - floor), words, floor)

    @inline
    def visit(call, x, t, first, wide, lane, sums, words):
        m, s, mass, dot = sums
        tops = cuda.local.array(WORDS, np.int32)
        v, count, x = np.int32(lane), np.int32(wide), x + lane * WIDE
        while v < count:
            m, s = turn(x, v, count, m, s, words, tops)
            v, x = np.int32(v + TURN), x + TURN * WIDE
        return m, s, mass, dot

    @inline
    def write(call, x, t, g, h, first, wide, lane, live, factor, state, words):
        floor, inverse, slope = state
        # Of an example that is not live nothing is read: e^-inf * 0.
        floor, scale = (floor, slope * inverse * factor) if live else (real(0), real(0))
        read = np.int32(wide if live else 0)
        chunk = cuda.local.array(LANES, real)
        count = np.int32(wide)
        turns = np.int32(max(0, count - np.int32(lane) + TURN - 1) >> PER_TURN)
        v = np.int32(lane + (turns - 1) * TURN)
        x, g = x + v * WIDE, g + v * WIDE
        if v >= 0 and not live:
            load_all(0, words, x, v, read)
        while v >= 0:
            store_all(0, chunk, g, v, count, words, floor, scale)
            v, x, g = np.int32(v - TURN), x - TURN * WIDE, g - TURN * WIDE
            if v >= 0:
                load_all(0, words, x, v, read)

    return Vectors(WORDS * LOADS, visit, write)
