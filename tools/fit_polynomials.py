"""Print the polynomial coefficients of `fastloss/cpu/math.py`.

exp and expm1 share q(r) = (exp(r) - 1 - r) / r^2 on |r| <= ln(2) / 2. Chebyshev
interpolation in 40 digits is within a few per cent of the minimax polynomial.

Run: python tools/fit_polynomials.py   (needs mpmath)
"""

import mpmath

mpmath.mp.dps = 40


def q(r: mpmath.mpf) -> mpmath.mpf:
    """(exp(r) - 1 - r) / r^2 without cancellation."""
    return mpmath.nsum(lambda k: r**k / mpmath.factorial(k + 2), [0, 30])


def show(name: str, degree: int) -> None:
    half = mpmath.log(2) / 2 * mpmath.mpf("1.0001")
    coefficients, error = mpmath.chebyfit(q, [-half, half], degree + 1, error=True)
    print(f"{name}: degree {degree}, error of q {mpmath.nstr(error, 3)}")
    for c in coefficients:
        print(f"    {mpmath.nstr(c, 20)},")


show("float32", 4)
show("float64", 9)
