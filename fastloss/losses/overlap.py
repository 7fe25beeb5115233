"""What two boxes (x1, y1, x2, y2) share and cover, and how it changes as an edge moves."""

from __future__ import annotations

import math
from typing import NamedTuple

from fastloss.elementary import const, divide, inline, sqrt
from fastloss.spec import Entry, Round

#: Makes `row` of a loss: (4, 0, the prediction's four coordinates, the target's).
BOTH_BOXES = Round(
    (
        *(Entry("prediction", side) for side in range(4)),
        *(Entry("target", side) for side in range(4)),
    )
)

# --- both boxes -------------------------------------------------------------------------
# Lengths are measured in a unit of the boxes' own size: areas neither overflow nor vanish.


class Extents(NamedTuple):
    """Extents on one axis."""

    own: float
    """That of the prediction; negative where it is inverted."""
    target: float
    shared: float
    """That of what both share; negative where they lie apart."""
    around: float
    """That of what surrounds both."""
    own_rest: float
    target_rest: float
    """Own and target beyond the shared one: differences before they are scaled, so exact."""


@inline
def on_axis(p1, p2, t1, t2):
    shared = (p2 if p2 < t2 else t2) - (p1 if p1 > t1 else t1)
    around = (p2 if p2 > t2 else t2) - (p1 if p1 < t1 else t1)
    own, target = p2 - p1, t2 - t1
    return Extents(own, target, shared, around, own - shared, target - shared)


@inline
def in_unit(extents, scale):
    own, target, shared, around, own_rest, target_rest = extents
    return Extents(
        own * scale, target * scale, shared * scale, around * scale,
        own_rest * scale, target_rest * scale,
    )  # fmt: skip


@inline
def measure(row, eps):
    """(1 / unit, extents by it on x, and on y, eps by its square)."""
    _, _, px1, py1, px2, py2, tx1, ty1, tx2, ty2 = row
    x, y = on_axis(px1, px2, tx1, tx2), on_axis(py1, py2, ty1, ty2)
    # A sum: whatever is nan or infinite shows in it.
    unit = abs(x.own) + x.around + abs(y.own) + y.around + sqrt(eps)
    scale = divide(const(1.0, unit), unit)
    is_box = (x.target >= const(0.0, unit)) & (y.target >= const(0.0, unit))
    scale = scale if is_box else const(math.nan, unit)
    return scale, in_unit(x, scale), in_unit(y, scale), eps * scale * scale


@inline
def overlapping(x, y):
    return (x.shared > const(0.0, x.shared)) & (y.shared > const(0.0, y.shared))


@inline
def inside_out(x, y):
    """-1 where both sides of the prediction are inverted: its area is negative all the same."""
    zero, one = const(0.0, x.own), const(1.0, x.own)
    return -one if (x.own < zero) & (y.own < zero) else one


@inline
def areas(x, y):
    """(of what both share, of their union, of what surrounds them)."""
    shared = x.shared * y.shared if overlapping(x, y) else const(0.0, x.shared)
    both = inside_out(x, y) * x.own * y.own + x.target * y.target
    return shared, both - shared, x.around * y.around


@inline
def miss(x, y, e):
    """1 - IoU, of terms that are not negative: boxes that almost agree keep their digits."""
    _, union, _ = areas(x, y)
    of_p = x.own_rest * y.own + x.shared * y.own_rest
    of_t = x.target_rest * y.target + x.shared * y.target_rest
    part, _ = quotient(of_p + of_t + e, union + e)
    return part if overlapping(x, y) else const(1.0, part)


# --- along one coordinate ---------------------------------------------------------------


@inline
def is_x(c):
    return (c == 0) | (c == 2)


@inline
def moves(z, t, c):
    """Derivatives by a coordinate of the extents on its axis: (prediction's, shared, around).

    Of two equal edges each one counts half.
    """
    zero, half, one = const(0.0, z), const(0.5, z), const(1.0, z)
    sign = -one if c < 2 else one
    inner = one if sign * z < sign * t else zero
    inner = half if z == t else inner
    return sign, sign * inner, sign * (one - inner)


@inline
def area_slopes(z, t, c, x, y):
    """Derivatives of `areas` by a coordinate."""
    own, shared, around = moves(z, t, c)
    x_moves = is_x(c)
    across_shared = y.shared if x_moves else x.shared
    across_shared = across_shared if overlapping(x, y) else const(0.0, z)
    d_shared = shared * across_shared
    d_own = inside_out(x, y) * own * (y.own if x_moves else x.own)
    return d_shared, d_own - d_shared, around * (y.around if x_moves else x.around)


# --- quotients --------------------------------------------------------------------------


@inline
def quotient(n, d):
    """(n / d, 1 / d): one division for it and its derivatives."""
    per_d = divide(const(1.0, d), d)
    return n * per_d, per_d


@inline
def slope(n1, q, d1, per_d):
    """The derivative of q = n / d, where n1 and d1 are those of n and d."""
    return (n1 - q * d1) * per_d


@inline
def bend(n2, q, d2, q1, d1, per_d):
    """The second derivative of q = n / d, whose first is q1."""
    return (n2 - q * d2 - const(2.0, q) * q1 * d1) * per_d


@inline
def iou_derivatives(z, t, c, x, y, e):
    """(first, second) derivative of the IoU by a coordinate."""
    shared, union, _ = areas(x, y)
    d_shared, d_union, _ = area_slopes(z, t, c, x, y)
    zero = const(0.0, z)
    iou, per_union = quotient(shared, union + e)
    first = slope(d_shared, iou, d_union, per_union)
    second = bend(zero, iou, zero, first, d_union, per_union)
    meet = overlapping(x, y)
    return (first if meet else zero), (second if meet else zero)
