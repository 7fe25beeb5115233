"""The losses under `torch.func`: grad, vmap, jacrev and their compositions."""

from __future__ import annotations

from typing import Any

import torch

from fastloss.torch import operators
from fastloss.torch.batching import over_batch
from fastloss.torch.call import Call, Tensor, read_call
from fastloss.torch.eager import no_forward_mode, no_second_derivative


def transformed_loss(call: Call, *tensors: Any) -> Tensor:
    """Return the loss, differentiable by `torch.func`."""
    predictions, targets, sample_weight, *arrays = tensors
    result: Tensor = TransformedLoss.apply(
        call.text(), predictions, targets, sample_weight, tuple(arrays)
    )
    return result


def transformed_gradient(call: Call, upstream: Tensor, *tensors: Any) -> Tensor:
    """Return the gradient, whose derivatives are refused."""
    predictions, targets, sample_weight, *arrays = tensors
    result: Tensor = Gradient.apply(
        call.text(), upstream, predictions, targets, sample_weight, tuple(arrays)
    )
    return result


class TransformedLoss(torch.autograd.Function):
    """A loss whose gradient is computed in the backward pass, with the upstream gradient in it."""

    # torch.compile counts the parameters of `forward`, so there is no *tensors among them.
    @staticmethod
    def forward(
        text: str,
        predictions: Tensor,
        targets: Tensor,
        sample_weight: Tensor | None,
        arrays: tuple[Tensor, ...],
    ) -> Tensor:
        """Compute the loss."""
        loss: Tensor = operators.value(predictions, targets, sample_weight, list(arrays), text)
        return loss

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Keep the inputs."""
        text, predictions, targets, sample_weight, arrays = inputs
        ctx.text = text
        ctx.save_for_backward(predictions, targets, sample_weight, *arrays)
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor | None) -> tuple[Any, ...]:
        """Compute the gradient."""
        predictions, targets, sample_weight, *arrays = ctx.saved_tensors
        grad = None
        if upstream is not None:
            grad = transformed_gradient(
                read_call(ctx.text), upstream, predictions, targets, sample_weight, *arrays
            )
        return None, grad, None, None, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        """Refuse."""
        raise no_forward_mode(read_call(ctx.text).loss)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], text: str, *args: Any) -> tuple[Tensor, int]:
        """Compute the losses of a batch."""
        *tensors, arrays = args
        dims = (*in_dims[1:4], *_dims_of(arrays, in_dims[4]))
        call = read_call(text)
        return over_batch(transformed_loss, call, info.batch_size, dims, (*tensors, *arrays))


class Gradient(torch.autograd.Function):
    """The gradient of a loss, given its upstream gradient. The derivatives end here."""

    @staticmethod
    def forward(
        text: str,
        upstream: Tensor,
        predictions: Tensor,
        targets: Tensor,
        sample_weight: Tensor | None,
        arrays: tuple[Tensor, ...],
    ) -> Tensor:
        """Compute the gradient."""
        grad: Tensor = operators.grad(
            upstream, predictions, targets, sample_weight, list(arrays), text
        )
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
    def jvp(ctx: Any, *tangents: Any) -> Any:
        """Refuse."""
        raise no_second_derivative(read_call(ctx.text).loss)

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[Any, ...], text: str, upstream: Tensor, *args: Any
    ) -> tuple[Tensor, int]:
        """Compute the gradients of a batch."""
        *tensors, arrays = args
        dims = (*in_dims[2:5], *_dims_of(arrays, in_dims[5]), in_dims[1])

        def apply(call: Call, p: Tensor, t: Tensor, w: Tensor | None, *rest: Any) -> Tensor:
            return transformed_gradient(call, rest[-1], p, t, w, *rest[:-1])

        call = read_call(text)
        return over_batch(apply, call, info.batch_size, dims, (*tensors, *arrays, upstream))


def _dims_of(arrays: tuple[Tensor, ...], dims: Any) -> tuple[int | None, ...]:
    """Return the batch's axis in each array; torch may say None for all of them."""
    return (None,) * len(arrays) if dims is None else tuple(dims)
