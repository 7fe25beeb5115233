"""What two boxes (x1, y1, x2, y2) share and cover, and how it changes as an edge moves.

What belongs to both boxes is computed once, for the derivatives by all four coordinates.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from fastloss.elementary import choose, const, divide, inline, sqrt
from fastloss.spec import Derived, Entry, Formula, Round

#: Makes the row (4, 0, the prediction's four coordinates, the target's).
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


class Boxes(NamedTuple):
    """Two boxes, measured in their unit."""

    scale: float
    """1 / unit; nan if the target is no box."""
    x: Extents
    y: Extents
    eps: float
    meet: bool
    """Whether they share an area."""
    wide: float
    high: float
    """The prediction's extents as factors of its area, which is negative also where both are."""
    shared: float
    union: float
    around: float
    """Areas: of what both share, of their union, of what surrounds them."""


@inline
def measure(row, eps):
    _, _, px1, py1, px2, py2, tx1, ty1, tx2, ty2 = row
    x, y = on_axis(px1, px2, tx1, tx2), on_axis(py1, py2, ty1, ty2)
    # A sum: whatever is nan or infinite shows in it.
    unit = abs(x.own) + x.around + abs(y.own) + y.around + sqrt(eps)
    zero, one = const(0.0, unit), const(1.0, unit)
    is_box = (x.target >= zero) & (y.target >= zero)
    scale = choose(is_box, divide(one, unit), const(math.nan, unit))
    x, y = in_unit(x, scale), in_unit(y, scale)
    # One comparison: what hangs on two of them, LLVM would compute for each formula anew.
    meet = choose(x.shared < y.shared, x.shared, y.shared) > zero
    inverted = (x.own < zero) & (y.own < zero)
    wide, high = choose(inverted, -x.own, x.own), choose(inverted, -y.own, y.own)
    shared = choose(meet, x.shared * y.shared, zero)
    union = wide * y.own + x.target * y.target - shared
    around = x.around * y.around
    return Boxes(scale, x, y, eps * scale * scale, meet, wide, high, shared, union, around)


@inline
def miss(b):
    """1 - IoU, of terms that are not negative: boxes that almost agree keep their digits."""
    of_p = b.x.own_rest * b.y.own + b.x.shared * b.y.own_rest
    of_t = b.x.target_rest * b.y.target + b.x.shared * b.y.target_rest
    part, _ = quotient(of_p + of_t + b.eps, b.union + b.eps)
    return choose(b.meet, part, const(1.0, part))


# --- quotients --------------------------------------------------------------------------


@inline
def quotient(n, d):
    """(q, 1 / d) of q = n / d: one division for it and its derivatives."""
    per_d = divide(const(1.0, d), d)
    return n * per_d, per_d


@inline
def slopes(q, per_d, n1, d1, n2, d2):
    """(first, second) derivative of q = n / d by those of n and d."""
    first = (n1 - q * d1) * per_d
    return first, (n2 - q * d2 - const(2.0, q) * first * d1) * per_d


# --- along one coordinate ---------------------------------------------------------------


class Side(NamedTuple):
    """Derivatives by one coordinate of the prediction."""

    own: float
    """That of the prediction's extent, -1 or 1."""
    outer: float
    """That of the extent of what surrounds both."""
    shared: float
    union: float
    around: float
    """Those of the areas."""


@inline
def move(z, t, sign, on_x, b):
    """The `Side` at z, where the target's is at t. Of two equal edges each one counts half."""
    zero, half, one = const(0.0, z), const(0.5, z), const(1.0, z)
    inner = one if sign * z < sign * t else zero
    inner = half if z == t else inner
    outer = sign * (one - inner)
    across = b.y if on_x else b.x
    shared = sign * inner * choose(b.meet, across.shared, zero)
    own = sign * (b.high if on_x else b.wide)
    return Side(sign, outer, shared, own - shared, outer * across.around)


@inline
def overlap_slopes(side, b):
    """(first, second) derivative of the IoU; 0 where nothing is shared, of whatever union."""
    zero = const(0.0, b.shared)
    _, per_union = quotient(zero, b.union + b.eps)
    per_union = choose(b.meet, per_union, zero)
    return slopes(b.shared * per_union, per_union, side.shared, side.union, zero, zero)


# --- the row of a loss ------------------------------------------------------------------
# After the coordinates, from number 10 on: the loss, four first derivatives, four second ones.


def rounds_of(value: Formula, numbers: Formula, derivatives: Formula) -> tuple[Round, ...]:
    """Return the rounds of the loss value(row, eps).

    numbers(row, eps) are what the derivatives share, the `Boxes` first, and
    derivatives(side, on_x, *numbers) the first and second by a coordinate, in the unit.
    """
    first = Derived(_of_sides(numbers, derivatives, 0), ("grad",), count=4)
    second = Derived(_of_sides(numbers, derivatives, 1), ("hess",), count=4)
    return BOTH_BOXES, Round((Derived(value, ("value",)), first, second))


def _of_sides(numbers: Formula, derivatives: Formula, order: int) -> Formula:
    """Make the formula of the first (0) or second (1) derivatives by all coordinates."""
    numbers, derivatives = inline(numbers), inline(derivatives)

    def of_sides(row, eps):
        _, _, px1, py1, px2, py2, tx1, ty1, tx2, ty2 = row
        found = numbers(row, eps)
        b, low, high = found[0], const(-1.0, px1), const(1.0, px1)
        x1 = derivatives(move(px1, tx1, low, True, b), True, *found)
        y1 = derivatives(move(py1, ty1, low, False, b), False, *found)
        x2 = derivatives(move(px2, tx2, high, True, b), True, *found)
        y2 = derivatives(move(py2, ty2, high, False, b), False, *found)
        per = b.scale * b.scale if order else b.scale
        return x1[order] * per, y1[order] * per, x2[order] * per, y2[order] * per

    return of_sides


def loss_of(row, eps):
    return row[10]


def grad_of(z, t, c, row, eps):
    return choose(c < 2, choose(c < 1, row[11], row[12]), choose(c < 3, row[13], row[14]))


def hess_of(z, t, c, row, eps):
    return choose(c < 2, choose(c < 1, row[15], row[16]), choose(c < 3, row[17], row[18]))
