"""What is computed for one class, and for a whole example, of a cross-entropy from logits."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fastloss.cuda.examples import targets_of
from fastloss.cuda.variant import ClassVariant
from fastloss.dtypes import real_dtype
from fastloss.elementary import exp_normal, inline, log
from fastloss.losses.softmax import example_loss, example_slope, label_loss


class Classes(NamedTuple):
    """Functions of one class, and of the sums over all."""

    #: (call, raw) -> the logit that counts, of the one that was given.
    linked: Callable[..., Any]
    #: (call, t, c) -> the soft target of class `c`.
    soft_target: Callable[..., Any]
    #: (call, soft target, c) -> the mass on class `c`.
    mass_on: Callable[..., Any]
    #: (call, maximum, sum of exponentials, mass, dot, logit of the label, onehot) -> (loss as
    #: float64, (logit of the label, floor, inverse, slope)).
    finish: Callable[..., Any]
    #: (call, raw, floor, inverse, slope, target, factor) -> (first, second) derivative.
    derive: Callable[..., Any]


@functools.cache
def floor_of_maximum(real: Any) -> Any:
    """Return the function that says what exponentials are measured from."""

    @inline
    def floor_of(m):
        """The maximum, 0 if there are masks only."""
        return real(0) if m == real(-np.inf) else m

    return floor_of


@functools.cache
def classes_of(variant: ClassVariant) -> Classes:
    """Return the functions for the dtypes, options and outputs of `variant`."""
    real: Any = real_dtype(variant.predictions).type
    link, link_slope, link_curvature = variant.link
    HESS = variant.outputs.hess
    floor_of = floor_of_maximum(real)

    @inline
    def linked(call, raw):
        return link(raw, real(call.logit_scale), real(call.logit_softcap))

    @inline
    def finish(call, m, s, mass, dot, at_y, onehot):
        floor, log_s = floor_of(m), log(s)
        hot, z_loss = real(onehot), real(call.z_loss)
        nll = label_loss(log_s, floor, linked(call, at_y))
        loss = example_loss(s, nll, log_s, floor, hot, mass, dot, z_loss)
        slope = real(example_slope(log_s, floor, hot, mass, z_loss))
        return np.float64(loss), (at_y, floor, real(1) / s, slope)

    @inline
    def derive(call, raw, floor, inverse, slope, target, factor):
        scale, cap = real(call.logit_scale), real(call.logit_softcap)
        p = exp_normal(link(raw, scale, cap) - floor) * inverse
        by_z = slope * p - target
        chain = link_slope(raw, scale, cap)
        second = real(0)
        if HESS:
            bend = real(call.z_loss) + real(call.z_loss)
            second = slope * p * (real(1) - p) + bend * p * p
            second = factor * (second * chain * chain + by_z * link_curvature(raw, scale, cap))
        return by_z * (factor * chain), second

    return Classes(linked, *targets_of(variant), finish, derive)
