"""The losses as functions that PyTorch's autograd and `torch.func` differentiate."""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd.function import FunctionCtx

from fastloss.spec import Want
from fastloss.torch.batching import over_batch
from fastloss.torch.call import Call, Tensor


class KeptGradient(torch.autograd.Function):
    """A loss whose gradient is made together with it, and kept for the backward pass.

    One array of the logits' size is held where PyTorch holds two: the log-softmax, and later
    the gradient.
    """

    @staticmethod
    def forward(ctx: Any, call: Call, *tensors: Any) -> Tensor:
        """Compute the loss, keep the gradient."""
        predictions, targets, sample_weight, *arrays = tensors
        loss, grad, _ = call.compute(
            Want.LOSS_AND_GRAD, predictions, targets, sample_weight, arrays
        )
        ctx.save_for_backward(grad)
        ctx.call = call
        ctx.set_materialize_grads(False)
        return loss

    @staticmethod
    def backward(ctx: Any, upstream: Tensor | None) -> tuple[Any, ...]:
        """Scale the gradient."""
        nothing = (None,) * (len(ctx.needs_input_grad) - 2)
        if upstream is None:
            return None, None, *nothing
        (grad,) = ctx.saved_tensors
        # The graph ends here, and with it the only other use of the gradient.
        last_use = not torch._C._autograd._get_current_graph_task_keep_graph()
        with torch.no_grad():
            result = scaled(grad, upstream, ctx.call, in_place=last_use)
        return None, once(result, ctx.call.loss), *nothing


def scaled(grad: Tensor, upstream: Tensor, call: Call, in_place: bool) -> Tensor:
    """Return the gradient times the upstream gradient of a scalar, or of every example."""
    if upstream.ndim == 0:
        if upstream.device.type == "cpu" and upstream.item() == 1.0:
            return grad
        return grad.mul_(upstream) if in_place else grad * upstream
    axis = call.options.get("axis", -1) if upstream.ndim < grad.ndim else None
    factor = upstream if axis is None else upstream.unsqueeze(axis)
    factor = factor.to(grad.dtype)
    return grad.mul_(factor) if in_place else grad * factor


class Recomputed(torch.autograd.Function):
    """A loss whose gradient is computed in the backward pass, with the upstream gradient in it.

    For `torch.func`, and for float16, where a gradient already divided by the number of
    examples would vanish before a scaled loss could lift it.
    """

    @staticmethod
    def forward(call: Call, *tensors: Any) -> Tensor:
        """Compute the loss."""
        predictions, targets, sample_weight, *arrays = tensors
        loss: Tensor = call.compute(Want.LOSS, predictions, targets, sample_weight, arrays)[0]
        return loss

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Keep the inputs."""
        ctx.call, *tensors = inputs
        ctx.save_for_backward(*tensors)
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor | None) -> tuple[Any, ...]:
        """Compute the gradient."""
        tensors = ctx.saved_tensors
        nothing = (None,) * (len(tensors) - 1)
        if upstream is None:
            return None, None, *nothing
        return None, Gradient.apply(ctx.call, upstream, *tensors), *nothing

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], call: Call, *tensors: Any) -> tuple[Tensor, int]:
        """Compute the losses of a batch."""
        return over_batch(Recomputed.apply, call, info.batch_size, in_dims[1:], tensors)


class Gradient(torch.autograd.Function):
    """The gradient of a loss, given its upstream gradient. The derivatives end here."""

    @staticmethod
    def forward(call: Call, upstream: Tensor, *tensors: Any) -> Tensor:
        """Compute the gradient."""
        predictions, targets, sample_weight, *arrays = tensors
        grad: Tensor = call.compute(
            Want.GRAD, predictions, targets, sample_weight, arrays, upstream
        )[1]
        return grad

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Keep the loss's name for the error."""
        ctx.call = inputs[0]

    @staticmethod
    def backward(ctx: Any, upstream: Tensor | None) -> tuple[Any, ...]:
        """Refuse."""
        raise no_second_derivative(ctx.call.loss)

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[Any, ...], call: Call, upstream: Tensor, *tensors: Any
    ) -> tuple[Tensor, int]:
        """Compute the gradients of a batch."""

        def apply(call: Call, *tensors: Any) -> Tensor:
            *rest, upstream = tensors
            result: Tensor = Gradient.apply(call, upstream, *rest)
            return result

        _, of_upstream, *dims = in_dims
        return over_batch(
            apply, call, info.batch_size, (*dims, of_upstream), (*tensors, upstream)
        )


class _Once(torch.autograd.Function):
    """A gradient that refuses to be differentiated."""

    @staticmethod
    def forward(ctx: Any, grad: Tensor, loss: str) -> Tensor:
        ctx.loss = loss
        return grad.view_as(grad)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> Any:
        raise no_second_derivative(ctx.loss)


def once(grad: Tensor, loss: str) -> Tensor:
    """Return the gradient; under ``create_graph=True``, so that a second derivative is an error.

    Left alone it would be a constant to autograd, and its derivative silently 0.
    """
    if not torch.is_grad_enabled():
        return grad
    result: Tensor = _Once.apply(grad.detach().requires_grad_(), loss)
    return result


def no_second_derivative(loss: str) -> NotImplementedError:
    """Return the error of a second derivative."""
    return NotImplementedError(
        f"{loss} has no second derivative through autograd; its diagonal is the second result "
        f"of fastloss's {loss}.grad_and_hess(...), or use torch.nn.functional's loss here"
    )
