"""The metrics' own element-wise losses: scikit-learn's conventions on two labels.

Targets are the labels as they are; `high` is the one that stands for 1.
"""

from __future__ import annotations

from typing import Any

from fastloss.elementary import const, log, maximum
from fastloss.pointwise import pointwise_loss


def _no_gradient(p: Any, t: Any, *options: Any) -> Any:
    return const(0.0, p)


def clipped_surprise(p: Any, t: Any, high: Any = 1.0, eps: Any = 0.0) -> Any:
    """-log of the label's probability, which lies in [eps, 1 - eps]."""
    one = const(1.0, p)
    q = p if t == high else one - p
    q = maximum(q, eps)
    return -log(one - eps if q > one - eps else q)


def squared_distance(p: Any, t: Any, high: Any = 1.0) -> Any:
    """(y - p)^2."""
    d = (const(1.0, p) if t == high else const(0.0, p)) - p
    return d * d


def hinge_of_labels(d: Any, t: Any, high: Any = 1.0) -> Any:
    """max(0, 1 - y d), where y is 1 or -1."""
    margin = d if t == high else -d
    return maximum(const(1.0, d) - margin, const(0.0, d))


surprise = pointwise_loss("log_loss", clipped_surprise, _no_gradient, params=("high", "eps"))
brier = pointwise_loss("brier_score_loss", squared_distance, _no_gradient, params=("high",))
hinge = pointwise_loss("hinge_loss", hinge_of_labels, _no_gradient, params=("high",))
