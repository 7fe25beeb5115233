"""The losses in PyTorch's eager mode, where the gradient is made together with the loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch._compile import _disable_dynamo

from fastloss.axes import axes_of
from fastloss.engine import compute
from fastloss.spec import Spec, Want
from fastloss.torch import quick
from fastloss.torch.call import EagerCall, Tensor


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
) -> tuple[Tensor, None, None]:
    """Return (loss, None, None) of predictions that require grad.

    `out` is None, or the predictions: the gradient may take their memory.
    """
    if sample_weight is not None or options or type(targets) is not Tensor or targets.requires_grad:
        refuse_other_gradients(spec, targets, sample_weight, options)
    # Nothing can be written through a sign to be changed, nor several elements at one place.
    inplace = not (out is None or predictions.is_neg() or 0 in predictions.stride())
    if inplace:
        owner = predictions if predictions._base is None else predictions._base
        if owner.is_leaf:
            raise RuntimeError(
                f"{spec.name}: predictions are a leaf that requires grad, or a view of one, and "
                "inplace=True would write their gradient over its values; leave inplace out"
            )
    loss = _eager_loss if keeps_gradient(predictions, spec, reduction) else _late_loss
    call = spec, reduction, options, targets, sample_weight, inplace
    return loss(predictions, call), None, None


def keeps_gradient(predictions: Tensor, spec: Spec, reduction: str) -> bool:
    """Whether the gradient can be made before the upstream gradient is known.

    It need only be scaled then, unless float16 loses it meanwhile (divided by the number of
    examples it vanishes before the upstream gradient of a scaled loss lifts it), or each loss has
    an upstream gradient of its own and depends on all examples.
    """
    return predictions.dtype is not torch.float16 and (spec.independent or reduction != "none")


class _Function(torch.autograd.function._SingleLevelFunction):
    """A loss of (predictions, call), of the kind that `torch.func` cannot transform."""

    _compiled_autograd_key = torch.autograd.Function._compiled_autograd_key

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        """Refuse."""
        raise no_forward_mode(ctx.call[0].name)


class EagerLoss(_Function):
    """A loss whose gradient is made together with it, and kept for the backward pass.

    One array of the logits' size is held where PyTorch holds two: the log-softmax, and later
    the gradient.
    """

    @staticmethod
    def forward(ctx: Any, predictions: Tensor, call: EagerCall) -> Tensor:
        """Compute the loss, keep the gradient."""
        spec, reduction, options, targets, weight, inplace = call
        ctx.call = spec, reduction, options  # the rest would live as long as the loss
        ctx.materialize_grads = False  # as `set_materialize_grads` does it; small calls notice
        ctx.origin = origin_of(predictions)
        out = predictions.detach() if inplace else None
        loss: Tensor
        loss, grad, _ = quick.evaluate(
            spec, Want.LOSS_AND_GRAD, predictions, targets, weight, reduction, None, out, options
        )
        # Where nobody else has the gradient, or asks to pack what is saved, PyTorch need not watch
        # it: small calls notice.
        ctx.kept = grad
        hooked = _saving_hooks(False) is not None
        if hooked or inplace:
            ctx.kept, ctx.to_save, ctx.hooked = None, (grad,), hooked
        return loss

    @staticmethod
    def backward(ctx: Any, upstream: Tensor | None) -> tuple[Tensor | None, None]:
        """Scale the gradient."""
        if upstream is None:
            return None, None
        if _is_grad_enabled():
            origin = ctx.origin
            grad: Any
            with torch.no_grad():
                grad, _ = EagerLoss._backward_cls.apply(ctx, upstream)  # type: ignore[attr-defined]
            return once(ctx.call[0].name, grad, origin, upstream), None
        kept: Any = ctx.kept
        hooked = False
        if kept is None:
            (kept,) = ctx.saved_tensors  # which has the words for a second backward pass
            hooked = ctx.hooked
        factor: Any = None
        if upstream.ndim == 0 and upstream.is_cpu:
            try:  # `item` takes PyTorch's dispatcher, which small calls notice
                factor = upstream.tolist()
            except RuntimeError:  # one of a batch, whose numbers `vmap` keeps to itself
                factor = None
        again = _keeps_graph()
        if not again:
            # A loss that is added to its own predictions would keep them for ever.
            ctx.origin = ctx.kept = None
        if factor == 1.0:
            return kept.clone() if again else kept, None
        spec, reduction, options = ctx.call
        factor = aligned(upstream, kept.shape, spec, reduction, options)
        if again or _is_batched(upstream) or _is_old_batched(upstream) or hooked:
            return times(kept, factor), None
        # The graph ends here, and with it the only other use of the gradient (but for hooks').
        return kept.mul_(factor), None


class LateLoss(_Function):
    """A loss whose gradient is made in the backward pass, for want of the upstream gradient."""

    @staticmethod
    def forward(ctx: Any, predictions: Tensor, call: EagerCall) -> Tensor:
        """Compute the loss, keep all that its gradient is made of."""
        spec, reduction, options, targets, weight, inplace = call
        inplace = inplace and _saving_hooks(False) is None
        ctx.call = spec, reduction, options, targets, weight, inplace
        ctx.set_materialize_grads(False)
        loss: Tensor
        loss, _, _ = quick.evaluate(
            spec, Want.LOSS, predictions, targets, weight, reduction, None, None, options
        )
        # Saved by PyTorch, so that a change of it meanwhile is an error.
        others = (targets, weight, *options.values())
        ctx.save_for_backward(predictions, *filter(torch.is_tensor, others))
        return loss

    @staticmethod
    def backward(ctx: Any, upstream: Tensor | None) -> tuple[Tensor | None, None]:
        """Compute the gradient."""
        if upstream is None:
            return None, None
        predictions: Tensor = ctx.saved_tensors[0]
        spec, reduction, options, targets, weight, inplace = call = ctx.call
        again = _keeps_graph()
        if not again:
            ctx.call = (spec,)  # let go, as PyTorch does of what it saved
        with torch.no_grad():
            if _is_batched(upstream) or _is_old_batched(upstream):
                grad = _by_batch(predictions, call, upstream)
            else:
                out = predictions.detach() if inplace and not again else None
                _, grad, _ = compute(
                    spec, Want.GRAD, predictions, targets, weight, reduction, upstream, out, options
                )
        return once(spec.name, grad, predictions, upstream), None


def _by_batch(predictions: Tensor, call: EagerCall, upstream: Tensor) -> Tensor:
    """Return the gradients by a batch of upstream gradients: the gradient by 1, times each."""
    spec, reduction, options, targets, weight, _ = call
    if reduction == "none" and not spec.independent:
        raise NotImplementedError(
            f'{spec.name}: a batch of upstream gradients is not offered with reduction="none"; '
            "pass them one by one"
        )
    wide = predictions.detach().float()  # float16 may lose what is not scaled yet
    _, grad, _ = compute(
        spec, Want.GRAD, wide, targets, weight, reduction, None, None, options
    )  # fmt: skip
    factor = aligned(upstream, grad.shape, spec, reduction, options)
    return times(grad, factor).to(predictions.dtype)


# Without the Python layers that look which derivative is meant, which small calls notice.
_eager_loss: Callable[[Tensor, EagerCall], Tensor] = EagerLoss.apply  # type: ignore[attr-defined]
_late_loss: Callable[[Tensor, EagerCall], Tensor] = LateLoss.apply  # type: ignore[attr-defined]
for _loss in (EagerLoss, LateLoss):
    _loss._backward_cls.apply = _loss.backward  # type: ignore[attr-defined]
    # Compiled autograd, which takes this one, would trace it down to the addresses.
    _loss.backward = staticmethod(_disable_dynamo(_loss.backward))  # type: ignore[method-assign]


_is_grad_enabled = torch.is_grad_enabled
_saving_hooks = torch._C._autograd._top_saved_tensors_default_hooks
_keeps_graph = torch._C._autograd._get_current_graph_task_keep_graph
_is_batched = torch._C._functorch.is_batchedtensor
_is_old_batched = torch._C._functorch.is_legacy_batchedtensor  # ``is_grads_batched=True``


def refuse_other_gradients(
    spec: Spec, targets: Any, sample_weight: Any, options: Mapping[str, Any]
) -> None:
    """Refuse to be silently constant in what is not differentiated."""
    for value in (targets, sample_weight, *options.values()):
        if isinstance(value, Tensor) and value.requires_grad:
            others = {"targets": targets, "sample_weight": sample_weight, **options}
            (name, *_) = [name for name, other in others.items() if other is value]
            raise NotImplementedError(
                f"{spec.name}: {name} requires grad, but only predictions are differentiated; "
                f"pass {name}.detach(), or use torch.nn.functional's loss"
            )


def aligned(
    upstream: Tensor,
    shape: Sequence[int],
    spec: Spec,
    reduction: str,
    options: Mapping[str, Any],
) -> Tensor:
    """Return the upstream gradient so that it broadcasts against predictions of this shape."""
    if reduction == "none":
        for axis in axes_of(spec, options, shape):
            upstream = upstream.unsqueeze(axis)
    return upstream


def times(grad: Tensor, factor: Tensor) -> Tensor:
    """Return the gradient times the upstream gradient, in the gradient's dtype."""
    return (grad * factor).to(grad.dtype)


#: Up to so many elements, to keep the predictions is cheaper than to make a tensor.
_FEW = 2**16


def origin_of(predictions: Tensor) -> Tensor:
    """Return a tensor that autograd traces back to the predictions, without keeping their memory.

    A leaf lives as long as its graph in any case.
    """
    if predictions.is_leaf or predictions.numel() <= _FEW:
        return predictions
    with torch.enable_grad():
        return predictions.narrow(0, 0, 0).clone()


class _Once(torch.autograd.Function):
    """A gradient that refuses to be differentiated."""

    @staticmethod
    def forward(ctx: Any, loss: str, grad: Tensor, *sources: Tensor) -> Tensor:
        ctx.loss = loss
        return grad.view_as(grad)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> Any:
        raise no_second_derivative(ctx.loss)


def once(loss: str, grad: Tensor, origin: Tensor, upstream: Tensor) -> Tensor:
    """Return the gradient; under ``create_graph=True``, so that a second derivative is an error.

    Left alone it would be a constant to autograd, and its derivative silently 0. `origin` is what
    `origin_of` returned: who asks for a derivative by what the predictions, or the upstream
    gradient, were made of comes by here.
    """
    if not torch.is_grad_enabled():
        return grad
    result: Tensor = _Once.apply(loss, grad.detach(), origin, upstream)
    return result


def no_second_derivative(loss: str) -> NotImplementedError:
    """Return the error of a second derivative."""
    return NotImplementedError(
        f"{loss} has no second derivative through autograd; its diagonal is the second result "
        f"of fastloss's {loss}.grad_and_hess(...), or use torch.nn.functional's loss here"
    )


def refuse_forward_mode(spec: Spec, *rest: Any) -> tuple[Tensor, None, None]:
    """Refuse a call on tensors by which PyTorch differentiates in forward mode."""
    raise no_forward_mode(spec.name)


def no_forward_mode(loss: str) -> NotImplementedError:
    """Return the error of a forward-mode derivative."""
    return NotImplementedError(
        f"{loss} has no forward-mode derivative (jvp, jacfwd, hessian); use grad, vjp or jacrev"
    )
