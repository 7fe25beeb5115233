"""What the metrics compute themselves: arrays of numbers in the usual form.

Each function returns what a metric needs, or leaves the call to scikit-learn.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastloss.arrays import Array
from fastloss.metrics.delegation import require

#: Up to here float32 holds every whole number.
_EXACT = 1 << 24

#: Between these a sum of weights leaves float32 room for the largest of them, and its products.
_SMALL, _LARGE = 2.0**-40, 2.0**100


def array(value: Any, kinds: str = "iuf") -> Array:
    """Return a NumPy array of real numbers with at least one row, as given."""
    require(type(value) is np.ndarray and value.ndim in (1, 2) and value.size > 0)
    require(value.dtype.kind in kinds and value.dtype.isnative and value.dtype.itemsize <= 8)
    given: Array = value
    return given


def floats(value: Any) -> Array:
    """Return an array of float32 or float64."""
    given = array(value, "f")
    require(given.dtype.itemsize >= 4)
    return given


def all_finite(values: Array) -> bool:
    """Whether no value is nan or infinite; an overflowing sum counts as one."""
    return math.isfinite(total(values))


def total(values: Array) -> float:
    """Return the sum, without a warning of nan and infinities."""
    with np.errstate(over="ignore", invalid="ignore"):
        return float(values.sum())


def weights(sample_weight: Any, rows: int, *data: Array) -> Array | None:
    """Return one weight per row for a mean, or None for None.

    Where a weight is 0 the kernels do not look at the `data`, and scikit-learn does. Weights
    that the kernels' float32 may not hold are multiplied by a power of 2.
    """
    if sample_weight is None:
        return None
    w = array(sample_weight)
    require(w.shape == (rows,))
    added = total(w)
    require(math.isfinite(added))
    least = w.min()
    require(least >= 0)
    if least == 0:
        require(w.max() > 0 and all(all_finite(values) for values in data))
    if w.dtype.kind == "f" and not _SMALL < added < _LARGE:
        _, exponent = math.frexp(w.max())
        w = np.ldexp(w, -exponent)
    return w


def probabilities(y_proba: Any) -> Array:
    """Return floats in [0, 1]; (N, 1) as (N,)."""
    p = floats(y_proba)
    require(p.min() >= 0.0 and p.max() <= 1.0)
    return p[:, 0] if p.ndim == 2 and p.shape[1] == 1 else p


def two_labels(y_true: Any, rows: int, labels: Any = None) -> tuple[Array, float, float]:
    """Return (y_true, smaller label, larger label); they are equal if only one is there.

    `labels`, if given, are the two in ascending order.
    """
    y = array(y_true, "biuf")
    require(y.shape == (rows,))
    low, high = float(y.min()), float(y.max())
    require(low.is_integer() and high.is_integer() and -_EXACT <= low <= high <= _EXACT)
    if labels is not None:
        given = label_range(labels)
        require(len(given) == 2 and float(given[0]) <= low and high <= float(given[1]))
        low, high = float(given[0]), float(given[1])
    if y.dtype.kind == "f" or high - low > 1.0:
        require(np.all((y == low) | (y == high)))
    return y, low, high


def class_columns(y_true: Any, scores: Array, labels: Any = None) -> Array:
    """Return the column of each row's class: labels are consecutive whole numbers.

    All classes occur in `y_true`, or are given as `labels`, in ascending order.
    """
    rows, classes = scores.shape
    y = array(y_true)
    require(y.shape == (rows,) and y.dtype.kind in "iu" and classes > 1)
    low, high = int(y.min()), int(y.max())
    if labels is not None:
        given = label_range(labels)
        require(given.dtype.kind in "iu" and np.all(np.diff(given) == 1))
        require(int(given[0]) <= low and high <= int(given[-1]))
        low, high = int(given[0]), int(given[-1])
    require(high - low + 1 == classes and abs(low) <= _EXACT)
    columns: Array = y.astype(np.int64, copy=False)
    if low != 0:
        columns = columns - low
    if labels is None:
        require(np.bincount(columns, minlength=classes).all())
    return columns


def label_range(labels: Any) -> Array:
    """Return labels that ascend, as an array."""
    given = np.asarray(labels)
    require(given.ndim == 1 and given.size > 1 and given.dtype.kind in "biuf")
    require(np.all(given[1:] > given[:-1]))
    return given


def of_class(scores: Array, columns: Array) -> Array:
    """Return each row's score in its column, (N,)."""
    rows = np.arange(len(scores))
    picked: Array = scores[rows, columns]
    return picked
