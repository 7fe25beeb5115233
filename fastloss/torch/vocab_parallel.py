"""Cross-entropy whose classes are split over the processes of a `torch.distributed` group.

Each process holds the logits of a slice of the classes, in the order of the ranks. Per example
they exchange the maximum, and the sums of exp(z - m), of z - m and of the target's z - m.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
import torch.distributed as dist

from fastloss.checks import check_reduction
from fastloss.engine import filled_options
from fastloss.losses.classification import cross_entropy
from fastloss.torch.call import is_integer
from fastloss.torch.eager import keeps_gradient, once, origin_of, times

Tensor = torch.Tensor

#: The same loss by the name that errors say; its options are checked as those are.
_SPEC = dataclasses.replace(cross_entropy.spec, name="vocab_parallel_cross_entropy")


def vocab_parallel_cross_entropy(
    local_logits: Tensor,
    targets: Tensor,
    *,
    group: Any = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
    reduction: str = "mean",
) -> Tensor:
    """Cross-entropy of logits whose last axis is split over a group of processes.

    Every process gets the same loss, that of the whole logits, and the gradient of its slice.

    Parameters
    ----------
    local_logits : tensor of shape (..., C / world size)
        This process's slice of the classes; slices may differ in length, and some be empty. Or a
        ``DTensor`` that is sharded on its last axis and replicated otherwise.
    targets : tensor of an integer dtype, of the logits' shape without the last axis
        Class indices among all C; the same on every process.
    group : ProcessGroup, optional
        Default: all processes. For a ``DTensor`` that of its mesh.
    ignore_index : int, default -100
    label_smoothing : float in [0, 1], default 0.0
    z_loss : float, default 0.0
        Adds z_loss * log-sum-exp(z)^2 to each example.
    reduction : {"mean", "sum", "none"}, default "mean"

    Returns
    -------
    tensor
        float64 for float64 logits, else float32.

    Raises
    ------
    IndexError
        If a class index is neither in [0, C) nor `ignore_index`.
    TypeError, ValueError
        For dtypes, shapes and options that do not fit.

    Notes
    -----
    The formula is that of `fastloss.cross_entropy`, the exchange that of Megatron-LM (Shoeybi
    et al., 2019). An array of the slice's size, the gradient, is made in the forward pass; for
    float16 in the backward pass, from the logits.
    """
    check_reduction(_SPEC.name, reduction)
    given = {
        "ignore_index": ignore_index, "label_smoothing": label_smoothing, "z_loss": z_loss
    }  # fmt: skip
    options = filled_options(_SPEC, given)
    local_logits, targets, group = _unwrapped(local_logits, targets, group)
    if not local_logits.is_floating_point():
        raise TypeError(
            f"local_logits must be of a floating dtype, not {local_logits.dtype}; convert them "
            "with .float()"
        )
    if local_logits.ndim == 0:
        raise ValueError("local_logits must have a class axis, but have no axis at all")
    if not is_integer(targets):
        raise TypeError(
            f"targets must be class indices of an integer dtype, not {targets.dtype}; convert them "
            "with .long()"
        )
    if targets.shape != local_logits.shape[:-1]:
        raise ValueError(
            f"targets have the shape {tuple(targets.shape)}, expected "
            f"{tuple(local_logits.shape[:-1])}: that of the logits without the last axis"
        )
    loss: Tensor = _VocabParallel.apply(
        local_logits, targets, group, *[options[name] for name in given], reduction
    )
    return loss


def _unwrapped(logits: Any, targets: Any, group: Any) -> tuple[Tensor, Tensor, Any]:
    """Return the local slice of a DTensor, its targets and its group."""
    from torch.distributed.tensor import DTensor, Replicate, Shard

    if not isinstance(logits, DTensor):
        return logits, targets, group
    split = [k for k, p in enumerate(logits.placements) if not isinstance(p, Replicate)]
    if len(split) != 1 or logits.placements[split[0]] not in (Shard(logits.ndim - 1), Shard(-1)):
        raise ValueError(
            f"DTensor logits must be sharded on the class axis (the last, {logits.ndim - 1}) and "
            f"replicated otherwise, not {logits.placements}; redistribute them"
        )
    if isinstance(targets, DTensor):
        targets = targets.full_tensor()
    return logits.to_local(), targets, logits.device_mesh.get_group(split[0])


class _VocabParallel(torch.autograd.Function):
    """Forward: the loss, and the gradient of the slice in one new array, unless float16 loses it.

    Backward: the gradient times the upstream gradient.
    """

    @staticmethod
    def forward(
        ctx: Any,
        logits: Tensor,  # (..., C_local)
        targets: Tensor,  # (...)
        group: Any,
        ignore_index: int,
        label_smoothing: float,
        z_loss: float,
        reduction: str,
    ) -> Tensor:
        real = torch.float64 if logits.dtype == torch.float64 else torch.float32
        shape = targets.shape
        x = logits.reshape(targets.numel(), logits.shape[-1])  # (N, C_local)
        y = targets.reshape(-1).long()  # (N,)
        first, classes = _slice_of(x.shape[1], group, x.device)
        if classes == 0:
            raise ValueError(
                f"{_SPEC.name}: local_logits have the shape {tuple(logits.shape)}, and no process "
                "of the group has any class"
            )
        counts = y != ignore_index
        _check_range(y, counts, classes, ignore_index, shape)

        top = x.amax(1).to(real) if x.shape[1] else x.new_full(y.shape, -torch.inf, dtype=real)
        dist.all_reduce(top, dist.ReduceOp.MAX, group)
        e = _shifted(x, top)  # (N, C_local); becomes the gradient
        here = counts & (y >= first) & (y < first + x.shape[1])
        column = torch.where(here, y - first, 0)[:, None] if x.shape[1] else None
        sums = e.new_zeros(3, len(y))
        if column is not None:
            sums[2] = torch.where(here, e.gather(1, column)[:, 0], 0.0)
        if label_smoothing > 0.0:
            sums[1] = e.sum(1)
        e.exp_()
        sums[0] = e.sum(1)
        dist.all_reduce(sums, dist.ReduceOp.SUM, group)

        log_s = sums[0].log()
        lse = log_s + top
        keep, spread = 1.0 - label_smoothing, label_smoothing / classes
        loss = torch.zeros_like(lse)
        if z_loss > 0.0:  # 0 times a square that overflows is none
            loss += z_loss * lse.square()
        if keep > 0.0:  # 0 times the infinite loss of a mask is none
            loss += keep * (log_s - sums[2])
        if label_smoothing > 0.0:
            loss += label_smoothing * log_s - spread * sums[1]
        loss = torch.where(counts, loss, 0.0)
        divisor = counts.sum().to(real) if reduction == "mean" else e.new_ones(())

        if ctx.needs_input_grad[0]:
            slope = (1.0 + 2.0 * z_loss * lse) / sums[0]
            rows = counts, slope[:, None], here[:, None].to(real) * -keep, column
            at_least_one = divisor.clamp(min=1.0)  # a mean over nothing is nan, its gradient 0
            ctx.early, ctx.spread = keeps_gradient(logits, _SPEC, reduction), spread
            if ctx.early:
                _to_gradient(e, 1.0 / at_least_one, spread, *rows)
                ctx.save_for_backward(e.to(logits.dtype).reshape(logits.shape))
            else:
                ctx.save_for_backward(logits, top, at_least_one, *rows)
        ctx.per_example, ctx.origin = reduction == "none", origin_of(logits)
        return loss.reshape(shape) if ctx.per_example else (loss.sum() / divisor)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Any, ...]:
        with torch.no_grad():
            if ctx.early:
                (grad,) = ctx.saved_tensors
                result = times(grad, upstream[..., None] if ctx.per_example else upstream)
            else:
                logits, top, divisor, *rows = ctx.saved_tensors
                factor = (upstream.reshape(-1, 1) if ctx.per_example else upstream) / divisor
                e = _shifted(logits, top).exp_()
                _to_gradient(e, factor, ctx.spread, *rows)
                result = e.to(logits.dtype).reshape(logits.shape)
        return once(_SPEC.name, result, ctx.origin, upstream), *(None,) * 6


def _shifted(logits: Tensor, top: Tensor) -> Tensor:
    """Return z - m of every example, in the dtype of the maxima."""
    return logits.reshape(len(top), logits.shape[-1]).to(top.dtype) - top[:, None]


def _to_gradient(
    e: Tensor,  # (N, C_local)
    factor: Tensor,  # () or (N, 1)
    spread: float,
    counts: Tensor,  # (N,)
    slope: Tensor,  # (N, 1)
    mass: Tensor,  # (N, 1)
    column: Tensor | None,  # (N, 1)
) -> None:
    """Turn exp(z - m) into `factor` times the gradient, in place.

    That is `slope` times it, less `spread`, and plus `mass` where the target is.
    """
    e *= slope * factor
    if spread > 0.0:
        e -= spread * factor
    if column is not None:
        e.scatter_add_(1, column, mass * factor)
    e[~counts] = 0.0


def _slice_of(length: int, group: Any, device: Any) -> tuple[int, int]:
    """Return (number of the first class in this slice, number of all classes)."""
    lengths = torch.zeros(dist.get_world_size(group), dtype=torch.int64, device=device)
    rank = dist.get_rank(group)
    lengths[rank] = length
    dist.all_reduce(lengths, dist.ReduceOp.SUM, group)
    return int(lengths[:rank].sum()), int(lengths.sum())


def _check_range(
    y: Tensor, counts: Tensor, classes: int, ignore_index: int, shape: torch.Size
) -> None:
    bad = counts & ((y < 0) | (y >= classes))
    if bool(bad.any()):
        k = int(bad.nonzero()[0, 0])
        where = tuple(int(i[0]) for i in torch.unravel_index(torch.tensor([k]), shape))
        raise IndexError(
            f"{_SPEC.name}: the class index at position {where} is {int(y[k])}, "
            f"expected 0 <= index < C = {classes} or ignore_index = {ignore_index}"
        )
