"""Swap `torch.nn.functional`'s losses for fastloss's, and put them back."""

from __future__ import annotations

import functools
import os
import threading
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

#: Where PyTorch's result, or its error, depends on the dtype of the weights.
_WEIGHT_COUNTS = {"cross_entropy", "mse_loss"}

_originals: dict[str, Callable[..., Any]] = {}
_depth = 0
_enabled = False

#: Held by who changes these three; they and the functions swapped belong to all threads.
_lock = threading.RLock()

if hasattr(os, "register_at_fork"):
    # A child must not inherit the lock of another thread of its parent, nor half a swap.
    os.register_at_fork(
        before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release
    )


def enable() -> None:
    """Swap `torch.nn.functional`'s losses for fastloss's, until `disable`.

    Calls that fastloss does not serve with the same meaning, refuses, or would not speed up
    (small inputs) go to PyTorch's own function. What was imported by name before (``from
    torch.nn.functional import mse_loss``) is not reached. Second derivatives are the one thing
    lost: they are an error that says so.
    """
    global _enabled
    with _lock:
        if not _enabled:
            _enabled = True
            _swap()


def disable() -> None:
    """Undo `enable`."""
    global _enabled
    with _lock:
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
    with _lock:
        _depth += 1
        if _depth == 1:
            for name in FASTER_FROM:
                _originals[name] = getattr(_PLACE, name)
                setattr(_PLACE, name, _falling_through(name, _originals[name]))


def _restore() -> None:
    global _depth
    with _lock:
        _depth -= 1
        if _depth == 0:
            for name in FASTER_FROM:
                setattr(_PLACE, name, _originals.pop(name))


def _falling_through(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
    """Return ours, which hands what it cannot do to PyTorch's `original`."""
    ours, faster_from = getattr(functional, name), FASTER_FROM[name]

    @functools.wraps(original)
    def loss(input: Any, target: Any, *args: Any, **kwargs: Any) -> Any:
        others = (*args, *kwargs.values())
        if not _alike(name, input, target, others) or input.numel() < faster_from:
            return original(input, target, *args, **kwargs)
        try:
            return ours(input, target, *args, **kwargs)
        except (TypeError, ValueError, IndexError, NotImplementedError):
            # PyTorch does it, or says in its own words why not.
            return original(input, target, *args, **kwargs)

    return loss


def _alike(name: str, input: Any, target: Any, others: tuple[Any, ...]) -> bool:
    """Return whether ours means the same: dense CPU tensors, no mixture of dtypes or shapes.

    `others` are the rest of the arguments, the weights among them.
    """
    if not (isinstance(input, torch.Tensor) and isinstance(target, torch.Tensor)):
        return False
    if torch.overrides.has_torch_function((input, target)):
        return False
    if input.device.type != "cpu" or target.device.type != "cpu" or is_transformed():
        return False
    if name in _WEIGHT_COUNTS:
        alike = {input.dtype}
        if torch.is_autocast_enabled("cpu") and input.dtype is not torch.float64:
            alike.add(torch.float32)  # to which autocast converts both
        if not alike.issuperset(x.dtype for x in others if isinstance(x, torch.Tensor)):
            return False
    if name == "cross_entropy":
        return target.dtype in (torch.int64, torch.uint8, input.dtype)
    return target.dtype == input.dtype and target.shape == input.shape
