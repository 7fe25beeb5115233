"""The formulas of -log(p) for predictions that are probabilities, for every target.

As in PyTorch's binary cross-entropy, the logarithm is at least -100 and the denominators of
the derivatives at least 1e-12, so that a confident mistake keeps a finite gradient.
"""

from __future__ import annotations

from fastloss.elementary import clamped_log, const, divide, inline, maximum


@inline
def surprise(p):
    """-log(p), at most 100."""
    return -clamped_log(p)


@inline
def surprise_slope(p):
    """Derivative of -log(p)."""
    return divide(const(-1.0, p), maximum(p, const(1e-12, p)))


@inline
def surprise_curvature(p):
    """Second derivative of -log(p)."""
    slope = surprise_slope(p)
    return slope * slope
