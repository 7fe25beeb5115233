"""The p-norm of a difference of two vectors, and its derivatives, entry by entry.

An entry x is scaled by `before` and, after the difference, by `after`, so that powers of it neither
overflow nor vanish. With terms |x|^p, total their sum and root = total^(1/p), the norm d is
root / (before after); with q = |x| / root its derivatives by the entry are

    u = sign(x) q^(p - 1)    and    ((p - 1) / d) (q^(p - 2) - u^2).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fastloss.dtypes import real_dtype
from fastloss.elementary import const, divide, inline, maximum, sqrt
from fastloss.losses.pieces import scaled, sign
from fastloss.spec import DistanceSpec
from fastloss.variant import DistanceVariant

#: The scales of squares, by the precision: a sum below the first is that of squares that may have
#: vanished; what `before` makes of an overflow, and `after` of a sum that is too small.
SCALES = {"float32": (2.0**-90, 2.0**-96, 2.0**90), "float64": (2.0**-900, 2.0**-600, 2.0**700)}

#: For other powers the largest entry is scaled to 1: from which one on it is scaled down before,
#: by how much, and which is the smallest one that counts.
LIMITS = {
    "float32": (2.0**100, 2.0**-32, 2.0**-126),
    "float64": (2.0**900, 2.0**-200, 2.0**-1022),
}


class Norm(NamedTuple):
    """A power; functions of (x, p), (total, p), (x, 1 / root, p) and again that."""

    #: What the number `which` of a variant says: 1, 2, or 0 for any other power.
    which: int
    term: Callable[..., Any]
    root: Callable[..., Any]
    #: u
    slope: Callable[..., Any]
    #: the second derivative times d
    bend: Callable[..., Any]


@inline
def difference(a, b, eps, before, after):
    """a - b + eps, scaled; none of the steps overflows before its time."""
    return (a * before - b * before + eps * before) * after


# --- the powers -------------------------------------------------------------------------


@inline
def size(x, p):
    return abs(x)


@inline
def same(total, p):
    return total


@inline
def direction(x, inverse, p):
    return sign(x)


@inline
def flat(x, inverse, p):
    return const(0.0, x)


@inline
def square(x, p):
    return x * x


@inline
def square_root(total, p):
    return sqrt(total)


@inline
def share(x, inverse, p):
    return x * inverse


@inline
def rest(x, inverse, p):
    u = x * inverse
    return const(1.0, x) - u * u


@inline
def power(x, p):
    return abs(x) ** p


@inline
def power_root(total, p):
    return total ** divide(const(1.0, p), p)


@inline
def signed_power(x, inverse, p):
    return sign(x) * abs(x * inverse) ** (p - const(1.0, p))


@inline
def power_bend(x, inverse, p):
    q = abs(x * inverse)
    one, two = const(1.0, p), const(2.0, p)
    u = q ** (p - one)
    # Below p = 2 there is no finite value where the entries are equal.
    inner = q ** (p - two) if q != const(0.0, q) else q
    return (p - one) * (inner - u * u)


FIRST = Norm(1, size, same, direction, flat)
SECOND = Norm(2, square, square_root, share, rest)
GENERAL = Norm(0, power, power_root, signed_power, power_bend)


#: By the number that a variant has of them.
NORMS = {norm.which: norm for norm in (FIRST, SECOND, GENERAL)}


def which_norm(p: float) -> int:
    """Return the number of the norm with this power."""
    return int(p) if p in (1.0, 2.0) else 0


# --- a distance -------------------------------------------------------------------------


def make_measure(
    norm: Norm, real: Any, total: Callable[..., Any], largest: Callable[..., Any]
) -> Any:
    """Make the function (a, b, where, p, eps) -> (before, after, root) of a distance, in float64.

    `total` and `largest` take (a, b, where, p, eps, before, after) and return the sum of the terms
    and the largest |x|; a and b are addresses, and `where` is what they need to go through them.
    """
    low, down, up = SCALES[real.__name__]
    high, lower, least = LIMITS[real.__name__]

    def first(a, b, where, p, eps):
        return 1.0, 1.0, total(a, b, where, p, eps, 1.0, 1.0)

    def second(a, b, where, p, eps):
        before, after = 1.0, 1.0
        found = total(a, b, where, p, eps, before, after)
        if found < low:
            after = up
            found = total(a, b, where, p, eps, before, after)
        elif not found < math.inf:
            before = down
            found = total(a, b, where, p, eps, before, after)
        return before, after, sqrt(found)

    def general(a, b, where, p, eps):
        before = 1.0
        found = largest(a, b, where, p, eps, before, 1.0)
        if found >= high:
            before = lower
            found = largest(a, b, where, p, eps, before, 1.0)
        after = divide(1.0, maximum(found, least))
        return before, after, power_root(total(a, b, where, p, eps, before, after), np.float64(p))

    return inline({1: first, 2: second, 0: general}[norm.which])


# --- the distances of an example --------------------------------------------------------
# A pair is what the derivatives need to know of a distance: before, after, 1 / root, and, as
# multiples of its derivatives, what the gradient has of u, the hessian of u^2 and of the second
# derivative times d.


class Formulas(NamedTuple):
    """A loss of distances for one example: what is left is to go through its entries.

    What is `measured` of the distances 0-1, 0-2 and 1-2 is (before, after, root); where there are
    fewer, any of them takes the other places.
    """

    #: three measured -> the distances, as many as there are.
    distances: Callable[..., Any]
    #: (distances, target, options) -> the loss.
    value: Callable[..., Any]
    #: (three measured, distances, target, options, factor) -> three pairs.
    pairs: Callable[..., Any]
    #: (a, b, c, pairs, p, eps) -> the derivatives by an entry of each vector.
    gradient: Callable[..., Any]
    #: the same -> the second derivatives.
    curvature: Callable[..., Any]


def make_formulas(spec: DistanceSpec, variant: DistanceVariant) -> Formulas:
    """Make the formulas for the dtypes and outputs of `variant`."""
    value_of, grad, hess = inline(spec.value), inline(spec.grad), inline(spec.hess)
    real: Any = real_dtype(variant.predictions).type
    norm = NORMS[variant.norm]
    slope_of, bend_of = norm.slope, norm.bend
    PAIRS, HESS = variant.pairs, variant.outputs.hess

    @inline
    def distance(measured):
        before, after, root = measured
        return real(root / (before * after))

    @inline
    def one(near, far, third):
        return (distance(near),)

    @inline
    def two(near, far, third):
        return distance(near), distance(far)

    @inline
    def three(near, far, third):
        return distance(near), distance(far), distance(third)

    @inline
    def value(distances, target, options):
        return np.float64(value_of(distances, target, *options))

    @inline
    def pair(k, measured, distances, target, options, factor):
        before, after, root = measured
        slope = real(grad(k, distances, target, *options))
        bend = real(hess(k, distances, target, *options)) if HESS else real(0)
        first, square, inverse = factor * slope, factor * bend, divide(1.0, root)
        second = first * (before * after) * inverse
        if root == 0.0:
            # A distance of 0 has no derivatives; its square has.
            first, inverse = 0.0, 0.0
            second = square if slope == real(0) else 0.0
        return (
            real(before), real(after), real(inverse), real(first), real(square), real(second),
        )  # fmt: skip

    @inline
    def pairs(near, far, third, distances, target, options, factor):
        first = pair(0, near, distances, target, options, factor)
        second = pair(1, far, distances, target, options, factor) if PAIRS > 1 else first
        last = pair(2, third, distances, target, options, factor) if PAIRS > 2 else first
        return first, second, last

    @inline
    def slope(a, b, pair, p, eps):
        before, after, inverse, first, _, _ = pair
        return scaled(first, slope_of(difference(a, b, eps, before, after), inverse, p))

    @inline
    def bend(a, b, pair, p, eps):
        before, after, inverse, _, square, second = pair
        x = difference(a, b, eps, before, after)
        u = slope_of(x, inverse, p)
        return scaled(square, u * u) + scaled(bend_of(x, inverse, p), second)

    @inline
    def gradient(a, b, c, pairs, p, eps):
        near, far, third = pairs
        d = slope(a, b, near, p, eps)
        of_a, of_b, of_c = d, -d, real(0)
        if PAIRS > 1:
            d = slope(a, c, far, p, eps)
            of_a, of_c = of_a + d, of_c - d
        if PAIRS > 2:
            d = slope(b, c, third, p, eps)
            of_b, of_c = of_b + d, of_c - d
        return of_a, of_b, of_c

    @inline
    def curvature(a, b, c, pairs, p, eps):
        near, far, third = pairs
        d = bend(a, b, near, p, eps)
        of_a, of_b, of_c = d, d, real(0)
        if PAIRS > 1:
            d = bend(a, c, far, p, eps)
            of_a, of_c = of_a + d, d
        if PAIRS > 2:
            d = bend(b, c, third, p, eps)
            of_b, of_c = of_b + d, of_c + d
        return of_a, of_b, of_c

    return Formulas((one, two, three)[PAIRS - 1], value, pairs, gradient, curvature)
