"""The losses under `torch.func`: grad, vmap, jacrev and their compositions."""

from __future__ import annotations

from typing import Any

import torch

from fastloss.torch import operators
from fastloss.torch.batching import over_batch
from fastloss.torch.call import Call, Tensor, read_call
from fastloss.torch.eager import no_second_derivative


def transformed_loss(call: Call, *tensors: Any) -> Tensor:
    """Return the loss, differentiable by `torch.func`."""
    result: Tensor = TransformedLoss.apply(call.text(), *tensors)
    return result


class TransformedLoss(torch.autograd.Function):
    """A loss whose gradient is computed in the backward pass, with the upstream gradient in it."""

    @staticmethod
    def forward(text: str, *tensors: Any) -> Tensor:
        """Compute the loss."""
        predictions, targets, sample_weight, *arrays = tensors
        loss: Tensor = operators.value(predictions, targets, sample_weight, arrays, text)
        return loss

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Keep the inputs."""
        ctx.text, *tensors = inputs
        ctx.save_for_backward(*tensors)
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor | None) -> tuple[Any, ...]:
        """Compute the gradient."""
        tensors = ctx.saved_tensors
        nothing = (None,) * (len(tensors) - 1)
        if upstream is None:
            return None, None, *nothing
        return None, Gradient.apply(ctx.text, upstream, *tensors), *nothing

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], text: str, *tensors: Any) -> tuple[Tensor, int]:
        """Compute the losses of a batch."""
        return over_batch(transformed_loss, read_call(text), info.batch_size, in_dims[1:], tensors)


class Gradient(torch.autograd.Function):
    """The gradient of a loss, given its upstream gradient. The derivatives end here."""

    @staticmethod
    def forward(text: str, upstream: Tensor, *tensors: Any) -> Tensor:
        """Compute the gradient."""
        predictions, targets, sample_weight, *arrays = tensors
        grad: Tensor = operators.grad(upstream, predictions, targets, sample_weight, arrays, text)
        return grad

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Keep the loss's name for the error."""
        ctx.text = inputs[0]

    @staticmethod
    def backward(ctx: Any, upstream: Tensor | None) -> tuple[Any, ...]:
        """Refuse."""
        raise no_second_derivative(read_call(ctx.text).loss)

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[Any, ...], text: str, upstream: Tensor, *tensors: Any
    ) -> tuple[Tensor, int]:
        """Compute the gradients of a batch."""

        def apply(call: Call, *tensors: Any) -> Tensor:
            *rest, upstream = tensors
            result: Tensor = Gradient.apply(call.text(), upstream, *rest)
            return result

        _, of_upstream, *dims = in_dims
        return over_batch(
            apply, read_call(text), info.batch_size, (*dims, of_upstream), (*tensors, upstream)
        )
