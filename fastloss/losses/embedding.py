"""Losses that only the framework modules offer, under the frameworks' own names."""

from __future__ import annotations

from fastloss.checks import number
from fastloss.elementary import const, maximum, sigmoid, softplus
from fastloss.losses.binary import inside_margin
from fastloss.pointwise import pointwise_loss
from fastloss.spec import Option

# --- soft margin: softplus(-y z) ---------------------------------------------------------


def soft_margin_value(z, t):
    return softplus(-t * z)


def soft_margin_grad(z, t):
    return -t * sigmoid(-t * z)


def soft_margin_hess(z, t):
    return t * t * sigmoid(t * z) * sigmoid(-t * z)


soft_margin = pointwise_loss(
    "soft_margin", soft_margin_value, soft_margin_grad, soft_margin_hess,
    doc="Logistic loss of a score and a label of +-1, log(1 + exp(-y z)) per element.",
)  # fmt: skip


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
