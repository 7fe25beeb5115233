"""What each loss is: formula, options, docstring. One entry here, and nothing elsewhere."""

from __future__ import annotations

from fastloss.losses.binary import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    hinge,
)
from fastloss.losses.classification import categorical_cross_entropy, cross_entropy
from fastloss.losses.confidence import (
    focal_cross_entropy,
    generalized_cross_entropy,
    nll,
)
from fastloss.losses.divergences import cosine_distance, js_divergence, kl_divergence
from fastloss.losses.margins import multi_margin, multiclass_hinge, sparsemax
from fastloss.losses.regression import mse

__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "categorical_cross_entropy",
    "cosine_distance",
    "cross_entropy",
    "focal_cross_entropy",
    "generalized_cross_entropy",
    "hinge",
    "js_divergence",
    "kl_divergence",
    "mse",
    "multi_margin",
    "multiclass_hinge",
    "nll",
    "sparsemax",
]
