"""PyTorch's losses by fastloss: change one import.

>>> import torch
>>> import fastloss.torch as flt
>>> loss = flt.CrossEntropyLoss(label_smoothing=0.1)
>>> logits = torch.zeros(2, 4, requires_grad=True)
>>> loss(logits, torch.tensor([1, 3])).backward()
>>> [round(g, 4) for g in logits.grad[0].tolist()]
[0.1125, -0.3375, 0.1125, 0.1125]
"""

from fastloss.torch.functional import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cross_entropy,
    hinge,
    hinge_embedding_loss,
    mse_loss,
    nll_loss,
    soft_margin_loss,
)
from fastloss.torch.modules import (
    BCELoss,
    BCEWithLogitsLoss,
    CrossEntropyLoss,
    HingeLoss,
    MSELoss,
)
from fastloss.torch.patching import disable, enable, patch
from fastloss.torch.vocab_parallel import vocab_parallel_cross_entropy

__all__ = [
    "BCELoss",
    "BCEWithLogitsLoss",
    "CrossEntropyLoss",
    "HingeLoss",
    "MSELoss",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "disable",
    "enable",
    "hinge",
    "hinge_embedding_loss",
    "mse_loss",
    "nll_loss",
    "patch",
    "soft_margin_loss",
    "vocab_parallel_cross_entropy",
]
