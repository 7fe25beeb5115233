"""The axes that a loss over classes, or over a region, makes one number of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastloss.spec import ClassSpec


def axes_of(
    spec: ClassSpec, options: Mapping[str, Any], shape: Sequence[int]
) -> tuple[int, ...]:  # fmt: skip
    """Return these axes of predictions of a shape, as numbers from 0 in ascending order."""
    given = options.get("axis", spec.axis)
    ndim = len(shape)
    if ndim == 0:
        raise ValueError("predictions must have a class axis, but have no axis at all")
    axes = given if isinstance(given, tuple) else (given,)
    of = f" of axis={given}" if isinstance(given, tuple) else ""
    for axis in axes:
        if not -ndim <= axis < ndim:
            raise ValueError(
                f"axis {axis}{of} is out of range for predictions of shape {tuple(shape)}; pass "
                "the axes that they have"
            )
    found = sorted({axis % ndim for axis in axes})
    if len(found) < len(axes):
        raise ValueError(
            f"axis={given} names an axis of predictions of shape {tuple(shape)} twice; name each "
            "once"
        )
    return tuple(found)


def without(values: Sequence[Any], axes: tuple[int, ...]) -> tuple[Any, ...]:
    """Return a shape, or strides, without these axes."""
    return tuple([value for axis, value in enumerate(values) if axis not in axes])


def behind_batch(spec: ClassSpec, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that mean the same axes of arrays with one more axis in front."""
    given = options.get("axis", spec.axis)
    axes = given if isinstance(given, tuple) else (given,)
    moved = tuple([axis + 1 if axis >= 0 else axis for axis in axes])
    return {**options, "axis": moved if isinstance(given, tuple) else moved[0]}
