"""Print the polynomial coefficients of `fastloss/cpu/math.py`.

exp and expm1 share q(r) = (exp(r) - 1 - r) / r^2 on |r| <= ln(2) / 2; float32 has
(log(1 + x) - x) / x^2 on [0, 1] as well. Chebyshev interpolation in 40 digits is within a few
per cent of the minimax polynomial.

Run: python tools/fit_polynomials.py   (needs mpmath)
"""

from collections.abc import Callable

import mpmath

mpmath.mp.dps = 40


def q(r: mpmath.mpf) -> mpmath.mpf:
    """(exp(r) - 1 - r) / r^2 without cancellation."""
    return mpmath.nsum(lambda k: r**k / mpmath.factorial(k + 2), [0, 30])


def log1p_q(x: mpmath.mpf) -> mpmath.mpf:
    """(log(1 + x) - x) / x^2 without cancellation."""
    if x < mpmath.mpf("1e-3"):
        return mpmath.nsum(lambda k: (-1) ** (int(k) + 1) * x**k / (k + 2), [0, 20])
    return (mpmath.log1p(x) - x) / x**2


def show(
    name: str, f: Callable[[mpmath.mpf], mpmath.mpf], interval: list[mpmath.mpf], degree: int
) -> None:
    coefficients, error = mpmath.chebyfit(f, interval, degree + 1, error=True)
    print(f"{name}: degree {degree}, error {mpmath.nstr(error, 3)}")
    for c in coefficients:
        print(f"    {mpmath.nstr(c, 20)},")


half = mpmath.log(2) / 2 * mpmath.mpf("1.0001")
show("exp, float32", q, [-half, half], 4)
show("exp, float64", q, [-half, half], 9)
show("log1p on [0, 1], float32", log1p_q, [mpmath.mpf(0), mpmath.mpf(1)], 9)
