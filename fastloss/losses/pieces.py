"""Small formulas that several losses are made of."""

from __future__ import annotations

from fastloss.elementary import const, exp, inline


@inline
def sign(d):
    """-1, 0 or 1; nan stays."""
    negative = const(-1.0, d) if d < const(0.0, d) else d
    return const(1.0, d) if d > const(0.0, d) else negative


@inline
def unless_nan(x, derivative):
    """`derivative`, or nan where x is nan."""
    return derivative if x == x else x


@inline
def inside_margin(gap, derivative):
    """`derivative` where the gap is positive, else 0; nan stays."""
    outside = gap if gap != gap else const(0.0, gap)
    return derivative if gap > const(0.0, gap) else outside


@inline
def scaled(weight, amount):
    """The product, where a weight of 0 makes even an infinite amount 0."""
    return weight * amount if weight != const(0.0, weight) else const(0.0, weight)


@inline
def scaled_exp(weight, x):
    """The weight times e^x, by halves: e^x may leave the range where the product does not."""
    half = exp(const(0.5, x) * x)
    return scaled(scaled(weight, half), half)
