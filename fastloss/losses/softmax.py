"""The formulas of a softmax over the classes of one example, for every target.

In the names used throughout: z are the linked logits, m their maximum, s = sum_c exp(z_c - m),
p_c = exp(z_c - m) / s, and

    loss = onehot (log s - (z_y - m)) + (mass log s - dot) + z_loss lse^2,    lse = log s + m

where a class index y has the weight `onehot`, and t_c is the probability mass on every class
(soft targets, or what label smoothing spreads), mass = sum_c t_c and dot = sum_c t_c (z_c - m).
With slope = onehot + mass + 2 z_loss lse the derivatives by z_c are

    slope p_c - t_c - onehot [c == y]    and    slope p_c (1 - p_c) + 2 z_loss p_c^2.

The differences z_c - m come first: log s + m - z_y loses all digits of large logits.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from fastloss.elementary import const, divide, exp, inline, tanh

# --- the link between the logits as given and z -----------------------------------------


class Link(NamedTuple):
    """z as a function of a logit, with its first and second derivative; f(x, scale, cap)."""

    value: Any
    slope: Any
    curvature: Any


@inline
def identity_value(x, scale, cap):
    return x


@inline
def identity_slope(x, scale, cap):
    return const(1.0, x)


@inline
def no_curvature(x, scale, cap):
    return const(0.0, x)


@inline
def scaled_value(x, scale, cap):
    return x * scale


@inline
def scaled_slope(x, scale, cap):
    return scale


@inline
def softcapped_value(x, scale, cap):
    # A mask (-inf) stays a mask: capped, it would count as a class.
    return x if abs(x) == const(math.inf, x) else cap * tanh(divide(x * scale, cap))


@inline
def softcapped_slope(x, scale, cap):
    # 1 - tanh^2 without cancellation.
    e = exp(const(-2.0, x) * abs(divide(x * scale, cap)))
    sech2 = divide(const(4.0, x) * e, (const(1.0, x) + e) * (const(1.0, x) + e))
    return scale if abs(x) == const(math.inf, x) else scale * sech2


@inline
def softcapped_curvature(x, scale, cap):
    slope = softcapped_slope(x, scale, cap)
    bend = const(-2.0, x) * tanh(divide(x * scale, cap)) * divide(slope * scale, cap)
    return const(0.0, x) if abs(x) == const(math.inf, x) else bend


IDENTITY = Link(identity_value, identity_slope, no_curvature)
SCALED = Link(scaled_value, scaled_slope, no_curvature)
SOFTCAPPED = Link(softcapped_value, softcapped_slope, softcapped_curvature)


def link_of(logit_scale: float, logit_softcap: float | None) -> Link:
    """Return the cheapest link for the options."""
    if logit_softcap is not None:
        return SOFTCAPPED
    return IDENTITY if logit_scale == 1.0 else SCALED


# --- one example ------------------------------------------------------------------------


@inline
def label_loss(log_s, m, z_y):
    """The loss of a class index, at weight 1."""
    return log_s - (z_y - m)


@inline
def example_loss(s, nll, log_s, m, onehot, mass, dot, z_loss):
    """The loss of one example whose class index has the loss `nll`.

    An absent part (weight 0) adds 0, even beside an infinity.
    """
    loss = onehot * nll if onehot != 0.0 else 0.0
    if mass != 0.0:
        loss += mass * log_s - dot
    if z_loss != 0.0:
        loss += z_loss * (log_s + m) * (log_s + m)
    # Where nothing above looked at it, a row without a value must still be nan.
    return loss if s > 0.0 and s < math.inf else math.nan


@inline
def example_slope(log_s, m, onehot, mass, z_loss):
    """The coefficient of p_c in the gradient."""
    slope = onehot + mass
    return slope + 2.0 * z_loss * (log_s + m) if z_loss != 0.0 else slope


@inline
def class_target(y, weight, keep, spread):
    """The mass on a class: its target smoothed, times its class weight."""
    return (keep * y + spread) * weight


@inline
def class_dot(t, shifted):
    """t (z - m), where no mass on a mask is no loss: 0 * inf = 0."""
    return t * shifted if t != const(0.0, t) else const(0.0, t)
