"""The short way for calls on dense CUDA tensors, the twin of `quick`.

A call like an earlier one repeats its launches, with other addresses: to describe the tensors as
arrays first, and to choose the kernels again, takes longer than the loss of a small batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import torch

from fastloss import engine
from fastloss.arrays.torch import KIND
from fastloss.arrays.torch_cuda import current_stream
from fastloss.config import config
from fastloss.cuda.primitives import WIDE
from fastloss.cuda.replay import Recording, Replay
from fastloss.device import current, current_check
from fastloss.spec import Spec, Want
from fastloss.torch.call import Tensor

_strided = torch.strided

#: What kernels depend on in an address: whether wide loads can begin there.
_OFF_WIDE = WIDE - 1

_NO_OPTIONS: tuple[Any, tuple[Any, ...]] = {}, ()

_New: TypeAlias = Callable[[], Tensor]


class _Repeat(NamedTuple):
    """A call to be repeated with other tensors: its launches, and how to make what is new."""

    replay: Replay
    device: int
    is_current: Callable[[], bool]
    loss: _New | None
    grad: _New | None
    hess: _New | None
    scratch: _New | None


#: By loss, options and the tensors' signatures; None where a call cannot be repeated.
_repeats: dict[Any, _Repeat | None] = {}


def evaluate(
    spec: Spec,
    want: Want,
    predictions: Tensor,
    targets: Any,
    sample_weight: Any,
    reduction: str,
    grad_output: Any,
    out: Any,
    options: Mapping[str, Any],
) -> tuple[Any, Any, Any]:
    """Return (loss, gradient, hessian), launched at once; `predictions` are on CUDA."""
    # One function, and no loop over the tensors: small calls notice.
    if (
        sample_weight is grad_output is None
        and type(targets) is Tensor
        and predictions.layout is targets.layout is _strided
        and not (predictions.is_neg() or targets.is_neg() or config.validate_cuda)
        and (out is None or _in_place(out, predictions, targets))
    ):
        arrays, scalars = _split_options(predictions, options) if options else _NO_OPTIONS
        at_p, at_t = predictions.data_ptr(), targets.data_ptr()
        # Nowhere lie empty tensors, and zeros or freed ones that have no memory.
        if at_p and at_t and not arrays:
            key = (
                spec, want, reduction, scalars, out is None,
                predictions.get_device(), predictions.dtype, predictions.shape,
                predictions.is_contiguous() or predictions.stride(), at_p & _OFF_WIDE,
                targets.is_cuda, targets.get_device(), targets.dtype, targets.shape,
                targets.is_contiguous() or targets.stride(), at_t & _OFF_WIDE,
            )  # fmt: skip
            try:
                repeat = _repeats[key]
            except KeyError:
                return _first(spec, want, predictions, targets, reduction, out, options, key)
            except TypeError:  # a reduction that cannot be hashed: the checks refuse it
                repeat = None
            if repeat is not None:
                return _again(repeat, at_p, at_t, out)
    return engine.compute(
        spec, want, predictions, targets, sample_weight, reduction, grad_output, out, options
    )


def _again(repeat: _Repeat, at_p: int, at_t: int, out: Any) -> tuple[Any, Any, Any]:
    """Launch what an earlier call has launched; predictions and targets lie at these addresses."""
    replay, device, is_current, new_loss, new_grad, new_hess, new_scratch = repeat
    loss = grad = hess = scratch = None
    at_loss = at_grad = at_hess = at_scratch = 0
    if new_loss is not None:
        loss = new_loss()
        at_loss = loss.data_ptr()
    if out is not None:
        grad, at_grad = out, at_p
    elif new_grad is not None:
        grad = new_grad()
        at_grad = grad.data_ptr()
    if new_hess is not None:
        hess = new_hess()
        at_hess = hess.data_ptr()
    if new_scratch is not None:
        scratch = new_scratch()  # PyTorch gives it away again in the order of the stream
        at_scratch = scratch.data_ptr()
    stream, addresses = current_stream(device), (at_p, at_t, at_loss, at_grad, at_hess, at_scratch)
    if is_current():
        replay.run(stream, addresses)
    else:
        with current(device):
            replay.run(stream, addresses)
    if out is not None:
        KIND.wrote(out)
    return loss, grad, hess


def _first(
    spec: Spec, want: Want, predictions: Tensor, targets: Tensor, reduction: str,
    out: Any, options: Mapping[str, Any], key: Any,
) -> tuple[Any, Any, Any]:  # fmt: skip
    """Compute the ordinary way, and write down how."""
    device, operands, upstream, scalars = engine.read(
        KIND, want, predictions, targets, None, None, out, options
    )
    plan: Any = engine.make_plan(spec, want, reduction, device, operands, scalars, options)
    recording = Recording()
    results = plan.run(operands, upstream, recording)
    arrays = operands.predictions, operands.targets, *results
    replay = recording.replay(plan, plan.device, arrays)
    repeat = None
    if replay is not None:
        new_loss, new_grad, new_hess = map(_maker, results)
        new_scratch = _bytes_maker(replay.scratch, predictions.device)
        repeat = _Repeat(
            replay, plan.device, current_check(plan.device),
            new_loss, new_grad, new_hess, new_scratch,
        )  # fmt: skip
    engine.remember(_repeats, key, repeat)
    loss, grad, hess = (
        None if array is None else KIND.give(array, predictions) for array in results
    )
    if out is None:
        return loss, grad, hess
    KIND.wrote(out)
    return loss, out, hess


def _maker(result: Any) -> _New | None:
    """Return what makes tensors like a result."""
    if result is None:
        return None
    like = result.owner
    return partial(
        torch.empty_strided, tuple(like.shape), like.stride(), dtype=like.dtype, device=like.device
    )


def _bytes_maker(count: int, device: torch.device) -> _New | None:
    """Return what makes tensors of so many bytes."""
    if count == 0:
        return None
    return partial(torch.empty_strided, (count,), (1,), dtype=torch.uint8, device=device)


def _split_options(predictions: Tensor, options: Mapping[str, Any]) -> Any:
    return engine.split_options(KIND.device(predictions), options)


def _in_place(out: Any, predictions: Tensor, targets: Tensor) -> bool:
    """Return whether the gradient takes the place of the predictions, and of nothing else."""
    if (
        type(out) is not Tensor
        or out.requires_grad
        or out.is_neg()
        or out.dtype is not predictions.dtype
        or out.shape != predictions.shape
        or not (out.is_contiguous() and predictions.is_contiguous() and targets.is_contiguous())
    ):
        return False
    start, other = predictions.data_ptr(), targets.data_ptr()
    apart = other + targets.nbytes <= start or start + predictions.nbytes <= other
    return apart and out.data_ptr() == start
