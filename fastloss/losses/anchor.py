"""The loss of an anchor of NT-Xent, by its row of the matrix of similarities, and its derivatives.

A row z has the similarities of one example, the anchor, by the temperature. With E = log sum_k
exp(z_k) over those with another label, a positive j has the loss log(exp(z_j) + exp(E)) - z_j, and
with q, the mean of q_j = 1 / (1 + exp(z_j - E)), the derivatives are -q_j / count and
q exp(z_k - E).

How a row is gone through is each target's own; what is done, and in which order, stands here.

The hessian is that of all losses by one entry of an embedding. An example stands in the matrix as
an anchor, with its row, and as one of the others of every anchor, with a column. Similarities are
symmetric: with the `Anchor` of each example, its row is enough for both (`exchange`). What five
matrices of such entries make of the embeddings is put together by `curvature`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fastloss.elementary import const, exp_normal, inline, log, sigmoid, sigmoids, softplus


class Passes(NamedTuple):
    """The passes over a row; the first argument of each says where it lies."""

    #: (row) -> the largest similarity to another label; -inf if there is none.
    largest_other: Callable[..., Any]
    #: (row, base): make each similarity to another label exp(z - base); return their sum.
    raise_others: Callable[..., Any]
    #: (row, base, others, step): the sums over the positives of what `positive` returns, and that
    #: of q * q. The derivatives -step * q are written over them, where any are wanted, and 0 over
    #: the anchor.
    visit_positives: Callable[..., Any]
    #: (row, factor): multiply what `raise_others` wrote.
    scale_others: Callable[..., Any]


@inline
def positive(z, base, others):
    """The loss of a positive, and its q; others + base is E."""
    gap = others + np.float64(base - z)
    return softplus(gap), sigmoid(gap)


class Anchor(NamedTuple):
    """What the hessian needs of an anchor; the last two are `step` times a sum over positives."""

    others: float  # E
    step: float  # factor / count
    pull: float  # of q_j
    squares: float  # of q_j^2


#: How many numbers that are.
FACTS = len(Anchor._fields)

#: An example without a positive: nobody has a share in its others.
NO_ANCHOR = Anchor(math.inf, 0.0, 0.0, 0.0)


def make_anchor(passes: Passes, real: Any, derivatives: bool) -> Any:
    """Make the function (row, positives, factor) -> the loss of an anchor, and its `Anchor`.

    It has so many positives. The derivatives, times `factor`, are written over the row, if they
    are wanted.
    """
    largest_other, raise_others, visit_positives, scale_others = passes
    GRAD = derivatives

    def anchor(row, positives, factor):
        largest = largest_other(row)
        # Without any, the exponentials that are left out would be of nan.
        base = largest if largest != -math.inf else const(0.0, largest)
        total = raise_others(row, base)
        others, step = log(total), factor / positives
        loss, miss, squares = visit_positives(row, base, others, step)
        if GRAD:
            # Without another label there is no total, and nothing to scale.
            scale = step * miss / total if total != 0.0 else 0.0
            scale_others(row, real(scale))
        about = Anchor(others + np.float64(base), step, step * miss, step * squares)
        return loss / positives, about

    return inline(anchor)


# --- the hessian ------------------------------------------------------------------------

#: How many matrices it is made of, and which is multiplied by the squares of the units instead.
MATRICES, BEND = 5, 2


@inline
def influence(z, same, anchor):
    """(first, second derivative of an anchor's loss by the similarity z, share of z in exp(E)).

    The derivatives have the anchor's factor in them; a positive has no share.
    """
    gap = np.float64(z) - anchor.others
    hit, miss = sigmoids(gap)
    share = exp_normal(gap)
    if same:
        return -anchor.step * miss, anchor.step * miss * hit, 0.0
    return anchor.pull * share, share * (anchor.pull - anchor.squares * share), share


@inline
def exchange(z, same, anchor, other):
    """What two different examples of the similarity z do to each other, from the first one's side.

    By `curvature`'s names: slope, tilt, bend, share, spread.
    """
    slope, bend, share = influence(z, same, anchor)
    slope_as_other, bend_as_other, _ = influence(z, same, other)
    spread = bend if same else 0.0
    # Of its own loss: sum bend (z' - mean z')^2 over positives, the same by slope over the others.
    bend = (bend if same else slope) + bend_as_other
    slope = slope + slope_as_other
    return slope, slope + bend * np.float64(z), bend, share, spread


@inline
def curvature(unit, scale, squares, moved, along):
    """The second derivative by an entry of an embedding of length 1; of length r, r^2 times less.

    `unit` is the entry, `scale` the reciprocal of the temperature, `squares` that of the `Anchor`.
    `moved` are the entries that the rows of `exchange` make of the units (of their squares, for
    the bends), `along` the sums of these times the units.
    """
    _, tilt, bend, share, spread = moved
    along_slope, along_tilt, _, along_share, along_spread = along
    mean = share - along_share * unit
    shift = spread - along_spread * unit
    turning = unit * unit * (along_tilt + 2.0 * along_slope) - along_slope - 2.0 * unit * tilt
    return scale * turning + scale * scale * (bend - mean * (2.0 * shift + squares * mean))
