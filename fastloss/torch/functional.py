"""`torch.nn.functional`'s losses, by fastloss: the same names, arguments and results.

The result has the dtype of the input, float32 under autocast. Class indices may be of any
integer dtype. Only the input is differentiated, once; see `fastloss.losses()` for the formulas.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch.nn import functional

import fastloss as fl
from fastloss.engine import evaluate
from fastloss.loss import Loss
from fastloss.losses.embedding import hinge_embedding
from fastloss.losses.margins import soft_margin
from fastloss.spec import Want
from fastloss.torch.call import is_integer

Tensor = torch.Tensor

#: Where fastloss returns float32, and PyTorch the input's dtype.
_NARROW = {torch.float16, torch.bfloat16}


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: None = None,
    ignore_index: int = -100,
    reduce: None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    *,
    sample_weight: Tensor | None = None,
    z_loss: float = 0.0,
    logit_scale: float = 1.0,
    logit_softcap: float | None = None,
    inplace: bool = False,
) -> Tensor:
    """Cross-entropy from logits, as `torch.nn.functional.cross_entropy`.

    Parameters
    ----------
    input : tensor of shape (C,), (N, C) or (N, C, d1, ..., dK)
        Logits.
    target : tensor
        Class indices, of any integer dtype and the input's shape without the classes (for (C,)
        also of shape (1,)); or probabilities, of the input's shape.
    weight : tensor of shape (C,), optional
        A weight for each class.
    size_average, reduce : None
        Deprecated in PyTorch, refused here.
    ignore_index : int, default -100
        Only for class indices.
    reduction : {"mean", "sum", "none"}, default "mean"
    label_smoothing : float in [0, 1], default 0.0
    sample_weight, z_loss, logit_scale, logit_softcap
        Not PyTorch's; see `fastloss.cross_entropy`.
    inplace : bool, default False
        Not PyTorch's: whether the gradient may take the input's memory, so that a training step
        holds no other array of that size. Nothing else may read the input then: autograd refuses
        the backward pass of what has saved it, but does not see a later use of it. The input must
        be the result of a computation. Where nothing is differentiated, where elements share a
        place (as after ``expand``), under ``torch.compile`` (which plans memory itself) and
        ``torch.func`` the input stays as it is.

    Raises
    ------
    IndexError
        If a class index is neither in [0, C) nor `ignore_index`.
    TypeError, ValueError
        For dtypes, shapes and options that do not fit.
    RuntimeError
        If `inplace` is asked for a leaf that requires grad, or a view of one.

    Examples
    --------
    >>> import torch
    >>> import fastloss.torch as flt
    >>> logits = torch.zeros(2, 4, requires_grad=True)
    >>> loss = flt.cross_entropy(logits, torch.tensor([1, 3]))
    >>> loss.backward()
    >>> round(loss.item(), 4), logits.grad[0].tolist()
    (1.3863, [0.125, -0.375, 0.125, 0.125])
    """
    refuse_deprecated(size_average, reduce)
    if ignore_index >= 0 and target.is_floating_point():
        raise ValueError(
            f"ignore_index = {ignore_index} has no meaning for probability targets; leave it out"
        )
    ndim = input.ndim
    options: dict[str, Any] = {"axis": 1} if ndim > 2 else {}
    if ndim == 1 and target.shape == (1,) and is_integer(target):
        target = target[0]
    # One by one: small calls notice.
    if weight is not None:
        options["class_weight"] = weight
    if ignore_index != -100:
        options["ignore_index"] = ignore_index
    if label_smoothing != 0.0:
        options["label_smoothing"] = label_smoothing
    if z_loss != 0.0:
        options["z_loss"] = z_loss
    if logit_scale != 1.0:
        options["logit_scale"] = logit_scale
    if logit_softcap is not None:
        options["logit_softcap"] = logit_softcap
    return _call(fl.cross_entropy, input, target, reduction, sample_weight, options, inplace)


def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: None = None,
    ignore_index: int = -100,
    reduce: None = None,
    reduction: str = "mean",
) -> Tensor:
    """Negative log likelihood from log-probabilities, as `torch.nn.functional.nll_loss`.

    It only gathers, so it is PyTorch's own, for class indices of any integer dtype. With
    `cross_entropy` there is nothing to gather, and no array of log-probabilities.
    """
    refuse_deprecated(size_average, reduce)
    target = target.long() if is_integer(target) else target  # PyTorch says why not
    return functional.nll_loss(
        input, target, weight, ignore_index=ignore_index, reduction=reduction
    )


def binary_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: None = None,
    reduce: None = None,
    reduction: str = "mean",
    *,
    inplace: bool = False,
) -> Tensor:
    """Cross-entropy of probabilities, as `torch.nn.functional.binary_cross_entropy`.

    `weight` broadcasts against the input and, as in PyTorch, multiplies without entering the
    mean's divisor. Targets outside [0, 1] are refused. `inplace` as in `cross_entropy`.
    """
    refuse_deprecated(size_average, reduce)
    return _rescaled(fl.binary_cross_entropy, input, target, weight, reduction, {}, inplace)


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: None = None,
    reduce: None = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
    *,
    label_smoothing: float = 0.0,
    inplace: bool = False,
) -> Tensor:
    """Cross-entropy of logits, as `torch.nn.functional.binary_cross_entropy_with_logits`.

    `weight` broadcasts against the input and, as in PyTorch, multiplies without entering the
    mean's divisor. `label_smoothing` is ours: targets become y (1 - e) + e / 2. `inplace` as in
    `cross_entropy`.
    """
    refuse_deprecated(size_average, reduce)
    options = _given(pos_weight=(pos_weight, None), label_smoothing=(label_smoothing, 0.0))
    return _rescaled(
        fl.binary_cross_entropy_with_logits, input, target, weight, reduction, options, inplace
    )


def mse_loss(
    input: Tensor,
    target: Tensor,
    size_average: None = None,
    reduce: None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
    *,
    inplace: bool = False,
) -> Tensor:
    """Squared error (y - p)^2, as `torch.nn.functional.mse_loss`: without the factor 1/2.

    `weight` has the shape of the input; the mean divides by its sum, as in PyTorch. Tensors of
    different shapes are broadcast, with PyTorch's warning. `inplace` as in `cross_entropy`, where
    the input is not broadcast.
    """
    refuse_deprecated(size_average, reduce)
    if input.shape != target.shape:
        warnings.warn(
            f"Using a target size ({target.shape}) that is different to the input size "
            f"({input.shape}). This will likely lead to incorrect results due to broadcasting. "
            "Please ensure they have the same size.",
            stacklevel=2,
        )
    input, target = _broadcast(input, target)
    if weight is not None and weight.shape != input.shape:
        raise ValueError(
            f"weight has the shape {weight.shape}, expected the input's, {input.shape}"
        )
    return _call(fl.mse, input, target, reduction, weight, {"half": False}, inplace)


def hinge_embedding_loss(
    input: Tensor,
    target: Tensor,
    margin: float = 1.0,
    size_average: None = None,
    reduce: None = None,
    reduction: str = "mean",
    *,
    inplace: bool = False,
) -> Tensor:
    """x where y = 1, max(0, margin - x) where y = -1, as in `torch.nn.functional`.

    Tensors of different shapes are broadcast. `inplace` as in `cross_entropy`, where the input is
    not broadcast.
    """
    refuse_deprecated(size_average, reduce)
    input, target = _broadcast(input, target)
    return _call(hinge_embedding, input, target, reduction, None, {"margin": margin}, inplace)


def soft_margin_loss(
    input: Tensor,
    target: Tensor,
    size_average: None = None,
    reduce: None = None,
    reduction: str = "mean",
    *,
    inplace: bool = False,
) -> Tensor:
    """log(1 + exp(-y z)), as `torch.nn.functional.soft_margin_loss`, for every finite z.

    Targets are broadcast to the input's shape. `inplace` as in `cross_entropy`.
    """
    refuse_deprecated(size_average, reduce)
    if input.shape != target.shape:
        target = target.expand_as(input)
    return _call(soft_margin, input, target, reduction, None, {}, inplace)


def hinge(
    input: Tensor,
    target: Tensor,
    margin: float = 1.0,
    squared: bool = False,
    *,
    sample_weight: Tensor | None = None,
    reduction: str = "mean",
    inplace: bool = False,
) -> Tensor:
    """Hinge loss max(0, margin - y p) of labels -1 and +1; see `fastloss.hinge`.

    `inplace` as in `cross_entropy`.
    """
    options = _given(margin=(margin, 1.0), squared=(squared, False))
    return _call(fl.hinge, input, target, reduction, sample_weight, options, inplace)


# --- what they share ---------------------------------------------------------------------


def refuse_deprecated(size_average: Any, reduce: Any) -> None:
    """Refuse PyTorch's old spelling of `reduction`."""
    if size_average is not None or reduce is not None:
        raise TypeError(
            "size_average and reduce are deprecated in PyTorch and not offered here; use "
            'reduction="mean", "sum" or "none"'
        )


def _broadcast(input: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return both in one shape."""
    if input.shape == target.shape:  # mostly; small calls notice
        return input, target
    input, target = torch.broadcast_tensors(input, target)
    return input, target


def _given(**options: tuple[Any, Any]) -> dict[str, Any]:
    """Return the options that are not at their default."""
    return {name: value for name, (value, default) in options.items() if value is not default}


def _call(
    loss: Loss,
    input: Tensor,
    target: Tensor,
    reduction: str,
    sample_weight: Tensor | None,
    options: dict[str, Any],
    inplace: bool,
) -> Tensor:
    """Return the loss in PyTorch's dtype."""
    result: Tensor
    out = input if inplace and input.requires_grad and torch.is_grad_enabled() else None
    result, _, _ = evaluate(
        loss.spec, Want.LOSS, input, target, sample_weight, reduction, None, out, options
    )
    if input.dtype in _NARROW and not torch.is_autocast_enabled(input.device.type):
        return result.to(input.dtype)
    return result


def _rescaled(
    loss: Loss,
    input: Tensor,
    target: Tensor,
    weight: Tensor | None,
    reduction: str,
    options: dict[str, Any],
    inplace: bool,
) -> Tensor:
    """Return a loss whose weights do not enter the mean's divisor."""
    if weight is None or input.numel() == 0:
        return _call(loss, input, target, reduction, None, options, inplace)
    if reduction == "mean":
        # Not in float16, where so small a weight is 0.
        wide = torch.promote_types(weight.dtype, torch.float32)
        reduction, weight = "sum", weight.to(wide) / input.numel()
    return _call(loss, input, target, reduction, weight, options, inplace)
