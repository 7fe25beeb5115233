"""A loss over one more axis, that of `torch.func.vmap`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from fastloss.axes import axes_of, behind_batch
from fastloss.spec import ClassSpec
from fastloss.torch.call import Call, Tensor


def over_batch(
    apply: Callable[..., Any],
    call: Call,
    size: int,
    dims: Sequence[int | None],
    tensors: Sequence[Tensor | None],
) -> tuple[Any, Any]:
    """Return `apply(call, *tensors)` for every one of a batch, and the axis of the batch.

    The results of `apply` are a tensor or a tuple of them.
    `tensors` are (predictions, targets, sample weight, options..., [upstream gradient]), and
    `dims` says which axis of each is the batch's.
    """
    moved = [
        t if t is None or dim is None else t.movedim(dim, 0)
        for t, dim in zip(tensors, dims, strict=True)
    ]
    batched = [dim is not None for dim in dims]
    merged = _merged(call, size, batched, moved)
    if merged is not None:
        whole = apply(*merged)
        return whole, 0 if isinstance(whole, Tensor) else (0,) * len(whole)
    if size == 0:
        return _of_none(apply, call, batched, moved)
    parts = [
        apply(
            call, *[t[k] if t is not None and b else t for t, b in zip(moved, batched, strict=True)]
        )
        for k in range(size)
    ]
    if isinstance(parts[0], Tensor):
        return torch.stack(parts), 0
    return tuple(map(torch.stack, zip(*parts, strict=True))), (0,) * len(parts[0])


def _of_none(
    apply: Callable[..., Any],
    call: Call,
    batched: Sequence[bool],
    tensors: Sequence[Tensor | None],
) -> tuple[Any, Any]:
    """Return the results of an empty batch: like those of one example, as shapes alone tell."""
    example = [
        t if t is None else torch.empty(t.shape[own:], dtype=t.dtype, device="meta")
        for t, own in zip(tensors, batched, strict=True)
    ]
    assert tensors[0] is not None
    nothing = tensors[0].flatten()[:0]  # of which autograd knows where it is from

    def like(result: Tensor) -> Tensor:
        return nothing.to(result.dtype).reshape(0, *result.shape)

    results = apply(call, *example)
    if isinstance(results, Tensor):
        return like(results), 0
    return tuple(map(like, results)), (0,) * len(results)


def _merged(
    call: Call, size: int, batched: Sequence[bool], tensors: Sequence[Tensor | None]
) -> tuple[Any, ...] | None:
    """Return the arguments of one call over one more axis, or None where there is none.

    An unreduced loss does not care how many axes there are; a mean is one per batch, and so is
    an option that is a number.
    """
    if call.reduction != "none" or not call.spec.independent:
        return None
    is_class = isinstance(call.spec, ClassSpec)
    predictions, targets, weight, *rest = tensors
    assert predictions is not None and targets is not None
    arrays, upstream = rest[: len(call.arrays)], rest[len(call.arrays) :]
    for array, own in zip(arrays, batched[3:], strict=False):
        if own and (is_class or array is None or array.ndim == 1):
            return None
    wholes = [
        t if own else t.expand(size, *t.shape)
        for t, own in zip((predictions, targets), batched, strict=False)
    ]
    options = call.options
    if isinstance(call.spec, ClassSpec):
        options = behind_batch(call.spec, options)
    loss_ndim = wholes[0].ndim - len(axes_of(call.spec, options, wholes[0].shape))
    weight = _aligned(weight, batched[2], loss_ndim)
    if not is_class:
        arrays = [
            _aligned(array, own, loss_ndim) for array, own in zip(arrays, batched[3:], strict=False)
        ]
    upstream = [
        u if u is None or own else u.expand(size, *u.shape)
        for u, own in zip(upstream, batched[3 + len(arrays) :], strict=True)
    ]
    return call._replace(options=options), *wholes, weight, *arrays, *upstream


def _aligned(array: Tensor | None, batched: bool, ndim: int) -> Tensor | None:
    """Return an array that broadcasts from the right with its batch axis as the first of `ndim`."""
    if array is None or not batched:
        return array
    return array.reshape(array.shape[0], *[1] * (ndim - array.ndim), *array.shape[1:])
