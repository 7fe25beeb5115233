"""Print the polynomials and tables of `fastloss/cpu/exponentials.py` and `logarithms.py`.

Those of `fastloss/cuda/math.py` too.

exp and expm1 are made of q(r) = (exp(r) - 1 - r) / r^2, logarithms of (log(1 + x) - x) / x^2.
Chebyshev interpolation in 40 digits is within a few per cent of the minimax polynomial.

Run: python tools/fit_polynomials.py   (needs mpmath and numpy)
"""

import itertools
from collections.abc import Callable

import mpmath
import numpy as np

mpmath.mp.dps = 40


def q(r: mpmath.mpf) -> mpmath.mpf:
    """(exp(r) - 1 - r) / r^2 without cancellation."""
    return mpmath.nsum(lambda k: r**k / mpmath.factorial(k + 2), [0, 30])


def log1p_q(x: mpmath.mpf) -> mpmath.mpf:
    """(log(1 + x) - x) / x^2 without cancellation."""
    if abs(x) < mpmath.mpf("1e-3"):
        return mpmath.nsum(lambda k: (-1) ** (int(k) + 1) * x**k / (k + 2), [0, 20])
    return (mpmath.log1p(x) - x) / x**2


def show(
    name: str, f: Callable[[mpmath.mpf], mpmath.mpf], interval: list[mpmath.mpf], degree: int
) -> None:
    coefficients, error = mpmath.chebyfit(f, interval, degree + 1, error=True)
    print(f"{name}: degree {degree}, error {mpmath.nstr(error, 3)}")
    for c in coefficients:
        print(f"    {mpmath.nstr(c, 20)},")


def show_line(name: str, f: Callable[[mpmath.mpf], mpmath.mpf], reach: mpmath.mpf) -> None:
    """Of degree 1 on |r| <= reach: r^2 times its error is as large inside as at the ends."""
    node = reach * mpmath.sqrt(mpmath.sqrt(8) - 2)
    low, high = f(-node), f(node)
    slope, middle = (high - low) / (2 * node), (high + low) / 2
    error = reach**2 * (f(reach) - slope * reach - middle)
    print(f"{name}: degree 1, error of e^r {mpmath.nstr(error, 3)}")
    print(f"    {mpmath.nstr(slope, 20)},\n    {mpmath.nstr(middle, 20)},")


def reciprocals() -> mpmath.mpf:
    """Print (c, -log(c)) for each eighth of [sqrt(1/2), sqrt(2)); return the largest |c m - 1|.

    The second is a multiple of 2^-16, so that k times the leading part of ln(2) can be added to it
    exactly; c is the float32 near the eighth's middle that comes closest to having such a one.
    """
    bounds = (0x3F3504F3 + (np.arange(9) << 20)).astype(np.uint32).view(np.float32).astype(float)
    largest = 0.0
    for low, high in itertools.pairwise(bounds):
        middle = -round(65536 * np.log(2 / (low + high)))
        steps = [0] if low < 1 < high else range(middle - 160, middle + 160)
        logs = [mpmath.mpf(step) / 65536 for step in steps]
        rounded = [np.float32(float(mpmath.exp(-log))) for log in logs]
        errors = [abs(mpmath.log(float(c)) + log) for c, log in zip(rounded, logs, strict=True)]
        best = int(np.argmin(errors))
        c = float(rounded[best])
        largest = max(largest, abs(low * c - 1), abs(high * c - 1))
        print(f"    ({c!r}, {float(logs[best])!r}),  # error {mpmath.nstr(errors[best], 2)}")
    return mpmath.mpf(largest)


half = mpmath.log(2) / 2 * mpmath.mpf("1.0001")
show_line("exp, float32, in eighths", q, half / 8)
show("expm1, float32", q, [-half, half], 4)
show("exp and expm1, float64", q, [-half, half], 9)
show("log1p on [0, 1], float32", log1p_q, [mpmath.mpf(0), mpmath.mpf(1)], 9)
show("log1p(-x) on [0, 1/2], float32", lambda x: log1p_q(-x), [mpmath.mpf(0), mpmath.mpf(0.5)], 8)
reach = reciprocals() * mpmath.mpf("1.0001")
show("log, float32, in eighths", log1p_q, [-reach, reach], 3)
