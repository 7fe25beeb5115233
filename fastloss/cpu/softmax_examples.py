"""What softmax computes once for each example, where many examples go side by side.

The examples of a tile have a line for every number in question, with an entry for each of them;
the exponentials of their logits lie in scratch memory, wherever a kernel puts them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fastloss.cpu.examples import entry_of
from fastloss.cpu.ir import running_sum
from fastloss.cpu.lines import make_lines_at
from fastloss.cpu.logarithms import log_normal
from fastloss.cpu.memory import (
    STORAGE,
    load_float64,
    load_int64,
    peek_float64,
    peek_int64,
    poke_float64,
    poke_int64,
)
from fastloss.cpu.softmax_parts import (
    TINY,
    has_one_factor,
    has_raw,
    kept,
    make_derivatives,
    make_link,
)
from fastloss.dtypes import real_dtype
from fastloss.elementary import jitable
from fastloss.losses.softmax import (
    class_target,
    example_loss,
    example_slope,
    label_loss,
)
from fastloss.variant import ClassVariant


class Lines(NamedTuple):
    """Addresses of the lines of a tile: of float64, of int64 (y), of the predictions' real."""

    s: int
    log_s: int
    mass: int
    dot: int
    hot: int
    beside: int
    weight: int
    factor: int
    slope: int
    nll: int
    y: int
    shift: int  # real, as all that follow
    e_y: int
    raw_y: int
    inverse: int
    entry: int
    h_entry: int


LINES = len(Lines._fields)

#: lines_at(first, step): the lines that lie from an address on, each of so many bytes.
lines_at = make_lines_at("lines_at", __name__, Lines)


class ExampleSteps(NamedTuple):
    """The steps of a tile of m examples, the first of which has the number `start`."""

    #: (call, outer, start, m, e, class_step, lane_step, lines): look up what belongs to each
    #: example, return how many weigh 0; the exponential of class c of example k lies at
    #: e + c class_step + k lane_step.
    read: Callable[..., Any]
    #: (call, start, m, lines) -> the sum of the losses, after `inverse`, `slope` and the entries
    #: of the class indices were written for the derivatives.
    finish: Callable[..., Any]


def make_steps(variant: ClassVariant, raw_logit: Callable[..., Any]) -> ExampleSteps:
    """Make the steps; raw_logit(call, c, i) is the logit of class c of example i as given."""
    real = real_dtype(variant.predictions).type
    _, load_real, store_real, peek, poke = STORAGE[real.__name__]
    linked, derivatives = make_link(variant), make_derivatives(variant)
    SOFT, MASS, CLASS_WEIGHT = variant.soft, variant.mass, variant.class_weight
    WEIGHTED = variant.weighted
    LOSS, _, HESS, PER_EXAMPLE = variant.outputs
    KEEP, RAW, ONE_FACTOR = kept(variant), has_raw(variant), has_one_factor(variant)

    @jitable
    def read_examples(call, outer, start, m, e, class_step, lane_step, lines):
        """Find each example's class, and what its loss and its derivatives are multiplied by."""
        for lane in range(m):
            w = 1.0
            if not SOFT:
                index = load_int64(call.t, start + lane)
                if index == call.ignore_index:
                    index, w = 0, 0.0  # what is looked up for it has weight 0
                poke_int64(lines.y, lane, index)
                poke(lines.e_y, lane, peek(e + index * class_step + lane * lane_step, 0))
                if RAW:
                    poke(lines.raw_y, lane, real(raw_logit(call, index, start + lane)))
                by_class = entry_of(call.class_weight, index)
                poke_float64(lines.hot, lane, call.keep * by_class)
                if MASS:
                    near = real(by_class) if CLASS_WEIGHT else real(1)
                    spread = class_target(real(0), near, real(call.keep), real(call.spread))
                    poke_float64(lines.beside, lane, np.float64(spread))
            poke_float64(lines.weight, lane, w)
        weightless = 0
        for lane in range(m):
            w = peek_float64(lines.weight, lane)
            f = outer * w
            if WEIGHTED:
                w = load_float64(call.w, start + lane) if w != 0.0 else 0.0
                f = outer * w * load_float64(call.u, start + lane)
                poke_float64(lines.weight, lane, w)
            poke_float64(lines.factor, lane, f)
            weightless += 1 if w == 0.0 else 0
        return weightless

    @jitable
    def label_losses(call, start, m, lines):
        """Write the loss of each example's own class; return how many `far_losses` must write.

        (Of a sum that has no logarithm there is no loss, whatever is written here.)
        """
        far = 0
        for lane in range(m):
            e_y = np.float64(load_real(lines.e_y, lane))
            poke_float64(lines.nll, lane, -log_normal(e_y / load_float64(lines.s, lane)))
            far += 1 if e_y < TINY else 0
        return far

    @jitable
    def far_losses(call, start, m, lines):
        """Write those where the exponential of the own class has vanished."""
        scale, cap = real(call.logit_scale), real(call.logit_softcap)
        for lane in range(m):
            if peek(lines.e_y, lane) < real(TINY):
                z_y = linked(raw_logit(call, peek_int64(lines.y, lane), start + lane), scale, cap)
                top, log_s = np.float64(peek(lines.shift, lane)), peek_float64(lines.log_s, lane)
                poke_float64(lines.nll, lane, label_loss(log_s, top, np.float64(z_y)))

    @jitable
    def finish_examples(call, start, m, lines):
        """Compute the losses of a tile, and what derivatives are made with; return the sum."""
        scale, cap = np.float64(call.logit_scale), np.float64(call.logit_softcap)
        bend = 2.0 * call.z_loss
        far = label_losses(call, start, m, lines) if LOSS and not SOFT else 0
        if MASS or far > 0 or call.z_loss != 0.0:
            for lane in range(m):
                poke_float64(lines.log_s, lane, log_normal(load_float64(lines.s, lane)))
        else:
            for lane in range(m):
                poke_float64(lines.log_s, lane, 0.0)
        if far > 0:
            far_losses(call, start, m, lines)
        losses = 0.0
        for lane in range(m):
            label = load_float64(lines.hot, lane) if not SOFT else 0.0
            w = load_float64(lines.weight, lane)
            all_mass = load_float64(lines.mass, lane) if MASS else 0.0
            all_dot = load_float64(lines.dot, lane) if MASS else 0.0
            total, log_s = load_float64(lines.s, lane), load_float64(lines.log_s, lane)
            top = np.float64(load_real(lines.shift, lane))
            if LOSS:
                nll = peek_float64(lines.nll, lane) if not SOFT else 0.0
                v = example_loss(total, nll, log_s, top, label, all_mass, all_dot, call.z_loss)
                v = v * w if w != 0.0 else 0.0
                losses = running_sum(losses, v)
                if PER_EXAMPLE:
                    store_real(call.loss, start + lane, real(v))
            if KEEP:
                by_lse = example_slope(log_s, top, label, all_mass, call.z_loss)
                f, each = load_float64(lines.factor, lane), 1.0 / total
                if not SOFT:
                    # In float64: p - 1 cancels.
                    p = np.float64(load_real(lines.e_y, lane)) * each
                    raw = np.float64(load_real(lines.raw_y, lane)) if RAW else 0.0
                    here = label + (load_float64(lines.beside, lane) if MASS else 0.0)
                    by_x, by_xx = derivatives(p, here, raw, by_lse, bend, f, scale, cap)
                    poke(lines.entry, lane, real(by_x))
                    if HESS:
                        poke(lines.h_entry, lane, real(by_xx))
                if ONE_FACTOR:
                    each *= by_lse * (f * scale)
                poke(lines.inverse, lane, real(each))
                poke_float64(lines.slope, lane, by_lse)
        return losses

    return ExampleSteps(read_examples, finish_examples)
