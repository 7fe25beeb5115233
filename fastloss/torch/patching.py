"""Swap `torch.nn.functional`'s losses for fastloss's, and put them back."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from fastloss.arrays.torch import is_transformed
from fastloss.torch import functional

#: What is swapped, and for how many elements of input or more: below, PyTorch's fixed cost of a
#: forward and backward call is the lower one. `nll_loss` is PyTorch's own already.
FASTER_FROM = {
    "binary_cross_entropy": 4_096,
    "binary_cross_entropy_with_logits": 131_072,
    "cross_entropy": 32_768,
    "hinge_embedding_loss": 4_096,
    "mse_loss": 65_536,
    "soft_margin_loss": 65_536,
}

#: Where `torch.nn`'s modules and everyone's ``F`` look the functions up.
_PLACE = torch.nn.functional

_originals: dict[str, Callable[..., Any]] = {}
_depth = 0
_enabled = False


def enable() -> None:
    """Swap `torch.nn.functional`'s losses for fastloss's, until `disable`.

    Calls that fastloss does not serve with the same meaning, refuses, or would not speed up
    (small inputs) go to PyTorch's own function. What was imported by name before (``from
    torch.nn.functional import mse_loss``) is not reached. Second derivatives are the one thing
    lost: they are an error that says so.
    """
    global _enabled
    if not _enabled:
        _enabled = True
        _swap()


def disable() -> None:
    """Undo `enable`."""
    global _enabled
    if _enabled:
        _enabled = False
        _restore()


@contextmanager
def patch() -> Iterator[None]:
    """`enable` for the length of a ``with`` block; blocks may be nested.

    Examples
    --------
    >>> import torch
    >>> import fastloss.torch as flt
    >>> with flt.patch():
    ...     loss = torch.nn.CrossEntropyLoss()(torch.zeros(2, 4), torch.tensor([1, 3]))
    >>> round(loss.item(), 4)
    1.3863
    """
    _swap()
    try:
        yield
    finally:
        _restore()


def _swap() -> None:
    global _depth
    _depth += 1
    if _depth == 1:
        for name in FASTER_FROM:
            _originals[name] = getattr(_PLACE, name)
            setattr(_PLACE, name, _falling_through(name, _originals[name]))


def _restore() -> None:
    global _depth
    _depth -= 1
    if _depth == 0:
        for name in FASTER_FROM:
            setattr(_PLACE, name, _originals.pop(name))


def _falling_through(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
    """Return ours, which hands what it cannot do to PyTorch's `original`."""
    ours, faster_from = getattr(functional, name), FASTER_FROM[name]

    @functools.wraps(original)
    def loss(input: Any, target: Any, *args: Any, **kwargs: Any) -> Any:
        if not _alike(name, input, target) or input.numel() < faster_from:
            return original(input, target, *args, **kwargs)
        try:
            return ours(input, target, *args, **kwargs)
        except (TypeError, ValueError, IndexError, NotImplementedError):
            # PyTorch does it, or says in its own words why not.
            return original(input, target, *args, **kwargs)

    return loss


def _alike(name: str, input: Any, target: Any) -> bool:
    """Return whether ours means the same: dense CPU tensors, no mixture of dtypes or shapes."""
    if not (isinstance(input, torch.Tensor) and isinstance(target, torch.Tensor)):
        return False
    if torch.overrides.has_torch_function((input, target)):
        return False
    if input.device.type != "cpu" or target.device.type != "cpu" or is_transformed():
        return False
    if name == "cross_entropy":
        return target.dtype in (torch.int64, torch.uint8, input.dtype)
    return target.dtype == input.dtype and target.shape == input.shape
