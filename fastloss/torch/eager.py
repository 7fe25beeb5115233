"""The losses in PyTorch's eager mode, where the gradient is made together with the loss."""

from __future__ import annotations

from typing import Any

import torch

from fastloss.spec import ClassSpec, Want
from fastloss.torch.call import Call, Tensor


class EagerLoss(torch.autograd.Function):
    """A loss whose gradient is made together with it, and kept for the backward pass.

    One array of the logits' size is held where PyTorch holds two: the log-softmax, and later
    the gradient. A float16 gradient is computed in the backward pass instead: divided by the
    number of examples it would vanish before the upstream gradient of a scaled loss lifts it.
    """

    @staticmethod
    def forward(ctx: Any, call: Call, *tensors: Any) -> Tensor:
        """Compute the loss, keep the gradient."""
        ctx.call = call
        ctx.set_materialize_grads(False)
        predictions, targets, sample_weight, *arrays = tensors
        ctx.keeps = predictions.dtype != torch.float16
        want = Want.LOSS_AND_GRAD if ctx.keeps else Want.LOSS
        loss: Tensor
        loss, grad, _ = call.compute(want, predictions, targets, sample_weight, arrays)
        if ctx.keeps:
            ctx.save_for_backward(grad)
        else:
            ctx.save_for_backward(predictions, targets, sample_weight, *arrays)
        return loss

    @staticmethod
    def backward(ctx: Any, upstream: Tensor | None) -> tuple[Any, ...]:
        """Scale the gradient, or compute it."""
        grad = None
        if upstream is not None:
            with torch.no_grad():
                grad = _gradient(ctx, upstream)
            grad = once(grad, ctx.call.loss)
        return None, grad, *(None,) * (len(ctx.needs_input_grad) - 2)

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        """Refuse."""
        raise no_forward_mode(ctx.call.loss)


def _gradient(ctx: Any, upstream: Tensor) -> Tensor:
    if not ctx.keeps:
        p, t, w, *arrays = ctx.saved_tensors
        grad: Tensor = ctx.call.compute(Want.GRAD, p, t, w, arrays, upstream)[1]
        return grad
    (grad,) = ctx.saved_tensors
    if upstream.ndim == 0 and upstream.device.type == "cpu" and upstream.item() == 1.0:
        return grad
    if torch._C._autograd._get_current_graph_task_keep_graph():
        return times(grad, upstream, ctx.call)
    # The graph ends here, and with it the only other use of the gradient.
    return grad.mul_(_factor(upstream, ctx.call))


def times(grad: Tensor, upstream: Tensor, call: Call) -> Tensor:
    """Return the gradient times the upstream gradient, that of the loss or of every example."""
    return (grad * _factor(upstream, call)).to(grad.dtype)


def _factor(upstream: Tensor, call: Call) -> Tensor:
    if call.reduction == "none" and isinstance(call.spec, ClassSpec):
        return upstream.unsqueeze(call.options.get("axis", -1))
    return upstream


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


def no_forward_mode(loss: str) -> NotImplementedError:
    """Return the error of a forward-mode derivative."""
    return NotImplementedError(
        f"{loss} has no forward-mode derivative (jvp, jacfwd, hessian); use grad, vjp or jacrev"
    )
