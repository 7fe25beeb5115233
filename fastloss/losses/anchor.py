"""The loss of an anchor of NT-Xent, by its row of the matrix of similarities, and its derivatives.

A row z has the similarities of one example, the anchor, by the temperature. With E = log sum_k
exp(z_k) over those with another label, a positive j has the loss log(exp(z_j) + exp(E)) - z_j, and
with q, the mean of q_j = 1 / (1 + exp(z_j - E)), the derivatives are -q_j / count and
q exp(z_k - E).

How a row is gone through is each target's own; what is done, and in which order, stands here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fastloss.elementary import const, inline, log, sigmoid, softplus


class Passes(NamedTuple):
    """The passes over a row; the first argument of each says where it lies."""

    #: (row) -> the largest similarity to another label; -inf if there is none.
    largest_other: Callable[..., Any]
    #: (row, base): make each similarity to another label exp(z - base); return their sum.
    raise_others: Callable[..., Any]
    #: (row, base, others, step): the sums over the positives of what `positive` returns. The
    #: derivatives -step * q are written over them, where any are wanted, and 0 over the anchor.
    visit_positives: Callable[..., Any]
    #: (row, factor): multiply what `raise_others` wrote.
    scale_others: Callable[..., Any]


@inline
def positive(z, base, others):
    """The loss of a positive, and its q; others + base is E."""
    gap = others + np.float64(base - z)
    return softplus(gap), sigmoid(gap)


def make_anchor(passes: Passes, real: Any, derivatives: bool) -> Any:
    """Make the function (row, positives, factor) -> the loss of an anchor with so many positives.

    It writes the derivatives, times `factor`, over the row, if they are wanted.
    """
    largest_other, raise_others, visit_positives, scale_others = passes
    GRAD = derivatives

    def anchor(row, positives, factor):
        largest = largest_other(row)
        # Without any, the exponentials that are left out would be of nan.
        base = largest if largest != -math.inf else const(0.0, largest)
        total = raise_others(row, base)
        step = factor / positives
        loss, miss = visit_positives(row, base, log(total), step)
        if GRAD:
            # Without another label there is no total, and nothing to scale.
            scale = step * miss / total if total != 0.0 else 0.0
            scale_others(row, real(scale))
        return loss / positives

    return inline(anchor)
