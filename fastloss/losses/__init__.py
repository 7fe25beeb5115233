"""What each loss is: formula, options, docstring. One entry here, and nothing elsewhere."""

from __future__ import annotations

from fastloss.losses.binary import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    hinge,
)
from fastloss.losses.classification import categorical_cross_entropy, cross_entropy
from fastloss.losses.regression import mse

__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "categorical_cross_entropy",
    "cross_entropy",
    "hinge",
    "mse",
]
