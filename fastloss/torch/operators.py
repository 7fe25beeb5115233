"""The losses as operators of `torch.library`, for `torch.compile`, `torch.export` and tracing.

An operator takes tensors and, as text, everything else of the call (see `Call.text`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from fastloss.axes import axes_of, without
from fastloss.spec import Want
from fastloss.torch.batching import over_batch
from fastloss.torch.call import Call, Tensor, read_call
from fastloss.torch.eager import aligned, no_second_derivative, once, origin_of, times

_ARGUMENTS = "Tensor predictions, Tensor targets, Tensor? sample_weight, Tensor[] arrays, str call"


def _operator(name: str, schema: str) -> Callable[..., Any]:
    return torch.library.custom_op(f"fastloss::{name}", mutates_args=(), schema=schema)


@_operator("value", f"({_ARGUMENTS}) -> Tensor")
def value(
    predictions: Tensor,
    targets: Tensor,
    sample_weight: Tensor | None,
    arrays: Sequence[Tensor],
    call: str,
) -> Tensor:
    """The loss."""
    result: Tensor = read_call(call).compute(
        Want.LOSS, predictions, targets, sample_weight, arrays
    )[0]
    return result


@_operator("value_and_grad", f"({_ARGUMENTS}) -> (Tensor, Tensor)")
def value_and_grad(
    predictions: Tensor,
    targets: Tensor,
    sample_weight: Tensor | None,
    arrays: Sequence[Tensor],
    call: str,
) -> tuple[Tensor, Tensor]:
    """The loss and its gradient."""
    loss, result, _ = read_call(call).compute(
        Want.LOSS_AND_GRAD, predictions, targets, sample_weight, arrays, out=_layout(predictions)
    )
    return loss, result


@_operator("grad", f"(Tensor upstream, {_ARGUMENTS}) -> Tensor")
def grad(
    upstream: Tensor,
    predictions: Tensor,
    targets: Tensor,
    sample_weight: Tensor | None,
    arrays: Sequence[Tensor],
    call: str,
) -> Tensor:
    """The gradient, given the upstream gradient."""
    out = _layout(predictions)
    result: Tensor
    _, result, _ = read_call(call).compute(
        Want.GRAD, predictions, targets, sample_weight, arrays, upstream, out
    )
    return result


def _layout(predictions: Tensor) -> Tensor | None:
    """Return what the gradient is written to where fastloss by itself might lay it out otherwise.

    Without `out`, large gradients take memory that earlier ones have left.
    """
    return None if predictions.is_contiguous() else new_gradient(predictions)


# --- shapes and dtypes without data -----------------------------------------------------


def new_gradient(predictions: Tensor) -> Tensor:
    """Return the tensor a gradient is written to; alike for real tensors and fake ones."""
    if predictions.is_contiguous():
        return torch.empty_like(predictions, memory_format=torch.contiguous_format)
    return torch.empty_like(predictions)


def new_loss(call: Call, predictions: Tensor) -> Tensor:
    """Return a tensor like the loss."""
    dtype = torch.float64 if predictions.dtype == torch.float64 else torch.float32
    shape = tuple(predictions.shape) if call.reduction == "none" else ()
    if shape:
        shape = without(shape, axes_of(call.spec, call.options, shape))
    return predictions.new_empty(shape, dtype=dtype)


@value.register_fake
def _(predictions: Tensor, targets: Any, sample_weight: Any, arrays: Any, call: str) -> Tensor:
    return new_loss(read_call(call), predictions)


@value_and_grad.register_fake
def _(
    predictions: Tensor, targets: Any, sample_weight: Any, arrays: Any, call: str
) -> tuple[Tensor, Tensor]:
    return new_loss(read_call(call), predictions), new_gradient(predictions)


@grad.register_fake
def _(upstream: Tensor, predictions: Tensor, *rest: Any) -> Tensor:
    return new_gradient(predictions)


# --- derivatives ------------------------------------------------------------------------


def _keep_inputs(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    predictions, targets, sample_weight, arrays, ctx.call = inputs
    ctx.save_for_backward(predictions, targets, sample_weight, *arrays)
    ctx.set_materialize_grads(False)


def _recompute(ctx: Any, upstream: Tensor | None) -> tuple[Any, ...]:
    predictions, targets, sample_weight, *arrays = ctx.saved_tensors
    result = None
    if upstream is not None:
        result = grad(upstream, predictions, targets, sample_weight, arrays, ctx.call)
    return result, None, None, [None] * len(arrays), None


def _keep_gradient(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    *_, arrays, ctx.call = inputs
    ctx.arrays = len(arrays)
    ctx.origin = origin_of(inputs[0])
    ctx.save_for_backward(output[1])
    ctx.mark_non_differentiable(output[1])
    ctx.set_materialize_grads(False)


def _scale(ctx: Any, upstream: Tensor | None, _: None) -> tuple[Any, ...]:
    (kept,) = ctx.saved_tensors
    result = None
    if upstream is not None:
        call = read_call(ctx.call)
        factor = aligned(upstream, kept.shape, call.spec, call.reduction, call.options)
        result = once(call.loss, times(kept, factor), ctx.origin, upstream)
    return result, None, None, [None] * ctx.arrays, None


def _refuse(ctx: Any, upstream: Tensor | None) -> Any:
    raise no_second_derivative(read_call(ctx.call).loss)


def _keep_call(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.call = inputs[-1]


value.register_autograd(_recompute, setup_context=_keep_inputs)
value_and_grad.register_autograd(_scale, setup_context=_keep_gradient)
grad.register_autograd(_refuse, setup_context=_keep_call)


# --- vmap -------------------------------------------------------------------------------


def _over_batch(apply: Callable[..., Any]) -> Callable[..., Any]:
    """Return the vmap rule of an operator whose arguments are those of `value`."""

    def rule(info: Any, in_dims: tuple[Any, ...], *args: Any) -> Any:
        *tensors, arrays, text = args
        *dims, of_arrays, _ = in_dims
        return over_batch(
            lambda call, p, t, w, *rest: apply(p, t, w, rest, call.text()),
            read_call(text),
            info.batch_size,
            (*dims, *(of_arrays or [None] * len(arrays))),
            (*tensors, *arrays),
        )

    return rule


def _grad_over_batch(info: Any, in_dims: tuple[Any, ...], *args: Any) -> Any:
    upstream, *tensors, arrays, text = args
    of_upstream, *dims, of_arrays, _ = in_dims
    return over_batch(
        lambda call, p, t, w, *rest: grad(rest[-1], p, t, w, rest[:-1], call.text()),
        read_call(text),
        info.batch_size,
        (*dims, *(of_arrays or [None] * len(arrays)), of_upstream),
        (*tensors, *arrays, upstream),
    )


value.register_vmap(_over_batch(value))
value_and_grad.register_vmap(_over_batch(value_and_grad))
grad.register_vmap(_grad_over_batch)
