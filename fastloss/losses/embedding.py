"""Losses that only the framework modules offer, under the frameworks' own names."""

from __future__ import annotations

from fastloss.checks import number
from fastloss.elementary import const, maximum
from fastloss.losses.pieces import inside_margin
from fastloss.pointwise import pointwise_loss
from fastloss.spec import Option

# --- hinge embedding: a distance where y = 1, a margin to it where y = -1 ----------------


def hinge_embedding_value(x, t, margin=1.0):
    near = const(0.0, x) if t == const(-1.0, t) else x
    far = const(0.0, x) if t == const(1.0, t) else maximum(margin - x, const(0.0, x))
    return near + far


def hinge_embedding_grad(x, t, margin=1.0):
    near = const(0.0, x) if t == const(-1.0, t) else const(1.0, x)
    far = const(0.0, x) if t == const(1.0, t) else inside_margin(margin - x, const(-1.0, x))
    return near + far


hinge_embedding = pointwise_loss(
    "hinge_embedding", hinge_embedding_value, hinge_embedding_grad,
    params=(Option("margin", 1.0, number()),),
    doc="""Loss of a distance: x where y = 1, max(0, margin - x) where y = -1, per element.

    As in PyTorch, any other target counts for both.""",
)  # fmt: skip
