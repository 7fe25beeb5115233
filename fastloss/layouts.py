"""How arrays lie in memory, as every target reads them: orders, strides, layout records."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastloss.arrays import Array


def memory_order(array: Array) -> tuple[int, ...] | None:
    """Return the axes from the slowest to the fastest in memory; None for C order."""
    if array.flags.c_contiguous:
        return None
    order = sorted(range(array.ndim), key=lambda axis: -abs(array.strides[axis]))
    return None if order == list(range(array.ndim)) else tuple(order)


def permuted(values: tuple[int, ...], order: tuple[int, ...] | None) -> tuple[int, ...]:
    """Return a shape or strides with the axes in this order."""
    return values if order is None else tuple(values[axis] for axis in order)


def c_strides(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """Return the strides of a new array in C order."""
    strides = []
    for length in reversed(shape):
        strides.append(itemsize)
        itemsize *= max(length, 1)
    return tuple(reversed(strides))


def broadcast_strides(
    shape: tuple[int, ...], strides: tuple[int, ...], to: tuple[int, ...]
) -> tuple[int, ...]:
    """Return the strides with which an array reads as one of the shape `to`."""
    steps = [0 if length == 1 else step for length, step in zip(shape, strides, strict=True)]
    return (0,) * (len(to) - len(steps)) + tuple(steps)


def collapse(shape: tuple[int, ...], strides: tuple[int, ...]) -> list[tuple[int, int]]:
    """Merge (length, stride) dimensions that one stride walks through, in C order."""
    merged: list[tuple[int, int]] = []
    for length, stride in zip(shape, strides, strict=True):
        if length == 1:
            continue
        if merged and merged[-1][1] == length * stride:
            merged[-1] = (merged[-1][0] * length, stride)
        else:
            merged.append((length, stride))
    return merged


def walk_of(array: Array, axes: tuple[int, ...]) -> tuple[int, ...]:
    """Return some axes of an array from the slowest to the fastest in memory."""
    return tuple(sorted(axes, key=lambda axis: -abs(array.strides[axis])))


def one_step(shape: tuple[int, ...], strides: tuple[int, ...], itemsize: int) -> int | None:
    """Return the stride that walks through all elements in C order, None where none does."""
    merged = collapse(shape, strides) or [(1, itemsize)]
    return merged[0][1] if len(merged) == 1 else None


def strides_of(array: Array) -> tuple[int, ...]:
    """Return the strides; in C order where there are no elements, for which NumPy has zeros."""
    return array.strides if array.size else c_strides(array.shape, array.itemsize)


def layout_record(
    shape: tuple[int, ...], strides: tuple[int, ...], itemsize: int
) -> np.ndarray[Any, Any] | None:
    """Return the layout record, or None if the elements lie one after the other.

    A record is a row of int64: ndim, the shape, the strides in bytes; C order.
    """
    merged = collapse(shape, strides)
    if 0 in shape or not merged or merged == [(merged[0][0], itemsize)]:
        return None
    return record_of_dimensions(merged)


def record_of_dimensions(dimensions: list[tuple[int, int]]) -> np.ndarray[Any, Any]:
    """Return the layout record of (length, stride) dimensions."""
    lengths, steps = zip(*dimensions, strict=True)
    return np.array([len(dimensions), *lengths, *steps], np.int64)
