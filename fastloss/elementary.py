"""The elementary functions that the formulas of the losses are written with.

Each is an ordinary Python function, so a formula runs, and can be read and tested, as plain
Python. A target gives the first group an implementation of its own (`fastloss/cpu/math.py`
for the CPU: arithmetic that LLVM vectorises); the second group is composed from the first
and is the same on every target.
"""

from __future__ import annotations

import math

from numba.extending import register_jitable

#: Makes a function one that kernels can call. No C function around it: nothing else calls it, and
#: that would be a sixth of what a kernel takes to compile.
jitable = register_jitable(no_cfunc_wrapper=True)

#: The same, made part of every function that calls it.
inline = register_jitable(forceinline=True, no_cfunc_wrapper=True)

# --- implemented by each target ---------------------------------------------------------


def const(value: float, like: float) -> float:
    """Return the literal `value` in the type of `like`.

    A bare float literal is a float64 to Numba and would lift float32 arithmetic with it.
    """
    return value


def exp(x: float) -> float:
    """e^x over the whole range, subnormal results included."""
    try:
        return math.exp(x)
    except OverflowError:
        return math.inf


def exp_normal(x: float) -> float:
    """e^x in the normal range, the exponential of a softmax: below it a smaller number, or 0.

    0 for -inf. For x > 80 the result is any number above e^80, or infinity.
    """
    return exp(x)


def decay(x: float) -> float:
    """e^-|x|, subnormal results included."""
    return math.exp(-abs(x))


def expm1(x: float) -> float:
    """e^x - 1 without cancellation near 0."""
    try:
        return math.expm1(x)
    except OverflowError:
        return math.inf


def expm1_nonpositive(x: float) -> float:
    """e^x - 1 for x <= 0."""
    return math.expm1(x)


def log(x: float) -> float:
    """Natural logarithm: -inf at 0, nan below."""
    if x > 0:
        return math.log(x)
    return -math.inf if x == 0 else math.nan


def log1p(x: float) -> float:
    """log(1 + x) without cancellation near 0: -inf at -1, nan below."""
    if x > -1:
        return math.log1p(x)
    return -math.inf if x == -1 else math.nan


def log_of_sum(x: float, rest: float) -> float:
    """log(x + rest), where `rest` is what the rounding of x took away, or 0."""
    return log(x) + (rest / x if 0 < x < math.inf else 0.0)


def clamped_log_unit(x: float) -> float:
    """log(x), at least -100, for 0 <= x <= 1."""
    return maximum(log(x), -100.0)


def clamped_log1m_unit(x: float) -> float:
    """log(1 - x), at least -100, for 0 <= x <= 1."""
    return maximum(log1p(-x), -100.0)


def log1p_unit(x: float) -> float:
    """log(1 + x) for 0 <= x <= 1, where it needs no logarithm's range reduction."""
    return log1p(x)


def sqrt(x: float) -> float:
    """Square root: nan below 0."""
    return math.sqrt(x) if x >= 0 else math.nan


def arctan(x: float) -> float:
    """The angle in (-pi / 2, pi / 2) whose tangent is x: that of infinity is at the end."""
    return math.atan(x)


def divide(a: float, b: float) -> float:
    """a / b as IEEE 754 has it: inf or nan for b = 0, where Python raises."""
    if b != 0:
        return a / b
    return math.nan if a == 0 or a != a else math.copysign(math.inf, a) * math.copysign(1, b)


def quotient(a: float, b: float) -> float:
    """a / b to within two units in the last place, where that is quicker."""
    return divide(a, b)


def quotient_normal(a: float, b: float) -> float:
    """The same for a `b` that is inf or nan, or is in the normal range like its reciprocal."""
    return divide(a, b)


def maximum(a: float, b: float) -> float:
    """The larger of the two, nan if either is nan."""
    if a != a or b != b:
        return math.nan
    return a if a > b else b


def choose(condition: bool, a: float, b: float) -> float:
    """`a` if the condition holds, else `b`, where both are there anyway.

    With "if", LLVM may compute a quotient in the branch that needs it, and another one elsewhere.
    """
    return a if condition else b


# --- composed, the same everywhere ------------------------------------------------------


@inline
def tanh(x):
    """Hyperbolic tangent, accurate also near 0."""
    e = expm1_nonpositive(const(-2.0, x) * abs(x))
    t = quotient_normal(-e, e + const(2.0, x))
    signed = -t if x < const(0.0, x) else t
    return x if x == const(0.0, x) else signed  # keeps the sign of zero


@inline
def sigmoids(z):
    """sigmoid(z) and sigmoid(-z), accurate in both tails, by one division."""
    one, e = const(1.0, z), decay(z)
    large = quotient_normal(one, one + e)
    small = e * large
    negative = z < const(0.0, z)
    return small if negative else large, large if negative else small


@inline
def sigmoid(z):
    """1 / (1 + e^-z), accurate in both tails."""
    of_z, _ = sigmoids(z)
    return of_z


@inline
def softplus(z):
    """log(1 + e^z), stable for every z."""
    return maximum(z, const(0.0, z)) + log1p_unit(decay(z))


@inline
def clamped_log(p):
    """log(p), at least -100: PyTorch's rule for losses of probabilities."""
    return maximum(log(p), const(-100.0, p))
