"""What runs beside fastloss on a GPU: a function of (logits, targets), or None if not there.

Each maker takes whether the gradient is wanted.
"""

import importlib.util

import torch
from torch.nn import functional

import fastloss as fl


def fastloss(with_grad):
    return fl.cross_entropy.value_and_grad if with_grad else fl.cross_entropy


def by_autograd(loss):
    """Forward, or forward and backward, of a loss that autograd knows."""

    def make(with_grad):
        if not with_grad:
            return lambda logits, targets: loss(logits.detach(), targets)

        def call(logits, targets):
            logits.grad = None
            loss(logits.requires_grad_(), targets).backward()
            return logits.grad

        return call

    return make


def compiled(with_grad):
    # For this shape alone: what is compiled for any number of classes is slower, and after some
    # shapes PyTorch would compile no more.
    torch._dynamo.reset()
    return by_autograd(torch.compile(functional.cross_entropy, dynamic=False))(with_grad)


def liger(with_grad):
    from liger_kernel.transformers.functional import liger_cross_entropy

    # It writes the gradient over the logits; every peer gets its own copy of them.
    return by_autograd(lambda logits, targets: liger_cross_entropy(logits, targets))(with_grad)


def quack(with_grad):
    from quack import cross_entropy

    return by_autograd(lambda logits, targets: cross_entropy(logits, targets, reduction="mean"))(
        with_grad
    )


ALL = {
    "fastloss": (fastloss, "fastloss"),
    "torch eager": (by_autograd(functional.cross_entropy), "torch"),
    "torch.compile": (compiled, "triton"),
    "Liger": (liger, "liger_kernel"),
    "QuACK": (quack, "quack"),
}


def installed():
    """The peers that can run here, and the names of those that cannot."""
    there = {name: make for name, (make, module) in ALL.items() if importlib.util.find_spec(module)}
    return there, [name for name in ALL if name not in there]
