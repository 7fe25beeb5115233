"""The axes of the predictions that a loss makes one number of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastloss.spec import ClassSpec, Spec


def axes_of(spec: Spec, options: Mapping[str, Any], shape: Sequence[int]) -> tuple[int, ...]:
    """Return these axes of predictions of a shape, as numbers from 0 in ascending order."""
    axes = spec.axes(options)
    ndim = len(shape)
    if axes and ndim == 0:
        raise ValueError("predictions must have a class axis, but have no axis at all")
    of = f" of axis={axes}" if len(axes) > 1 else ""
    for axis in axes:
        if not -ndim <= axis < ndim:
            raise ValueError(
                f"axis {axis}{of} is out of range for predictions of shape {tuple(shape)}; pass "
                "the axes that they have"
            )
    found = sorted({axis % ndim for axis in axes})
    if len(found) < len(axes):
        raise ValueError(
            f"axis={axes} names an axis of predictions of shape {tuple(shape)} twice; name each "
            "once"
        )
    return tuple(found)


def without(values: Sequence[Any], axes: tuple[int, ...]) -> tuple[Any, ...]:
    """Return a shape, or strides, without these axes."""
    return tuple([value for axis, value in enumerate(values) if axis not in axes])


def behind_batch(spec: ClassSpec, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that mean the same axes of arrays with one more axis in front."""
    moved = tuple([axis + 1 if axis >= 0 else axis for axis in spec.axes(options)])
    return {**options, "axis": moved if isinstance(spec.axis, tuple) else moved[0]}
