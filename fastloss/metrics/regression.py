"""Metrics of regression."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

import fastloss
from fastloss.arrays import Array
from fastloss.metrics import plain
from fastloss.metrics.delegation import or_sklearn, require


@or_sklearn
def mean_squared_error(
    y_true: Any, y_pred: Any, *, sample_weight: Any = None, multioutput: Any = "uniform_average"
) -> Any:
    """Mean squared error, mean((y - p)^2), as ``sklearn.metrics.mean_squared_error``.

    Parameters
    ----------
    y_true, y_pred : array of shape (N,) or (N, M)
    sample_weight : array of shape (N,), optional
    multioutput : {"uniform_average", "raw_values"} or array of shape (M,)
        How the errors of M outputs are averaged, or not at all.

    Returns
    -------
    float, or array of shape (M,) for "raw_values"

    Raises
    ------
    ValueError
        scikit-learn's errors, for nan and infinities among others.

    Notes
    -----
    Sums are in float64, also for float32 arrays. Source: scikit-learn 1.9.

    Examples
    --------
    >>> import numpy as np
    >>> import fastloss as fl
    >>> fl.metrics.mean_squared_error(np.array([3.0, 2.0]), np.array([2.5, 2.0]))
    0.125
    """
    return _average(
        lambda p, t, w: fastloss.mse(p, t, half=False, sample_weight=w),
        y_true, y_pred, sample_weight, multioutput,
    )  # fmt: skip


@or_sklearn
def mean_pinball_loss(
    y_true: Any,
    y_pred: Any,
    *,
    sample_weight: Any = None,
    alpha: float = 0.5,
    multioutput: Any = "uniform_average",
) -> Any:
    """Mean pinball loss of a quantile, as ``sklearn.metrics.mean_pinball_loss``.

    mean(max(a (y - p), (a - 1) (y - p))).

    Parameters
    ----------
    y_true, y_pred : array of shape (N,) or (N, M)
    sample_weight : array of shape (N,), optional
    alpha : float in [0, 1], default 0.5
        The quantile; 0.5 is half of the mean absolute error.
    multioutput : {"uniform_average", "raw_values"} or array of shape (M,)
        How the errors of M outputs are averaged, or not at all.

    Returns
    -------
    float, or array of shape (M,) for "raw_values"

    Raises
    ------
    ValueError
        scikit-learn's errors, for nan and infinities among others.

    Notes
    -----
    Sums are in float64, also for float32 arrays. Source: scikit-learn 1.9.

    Examples
    --------
    >>> import numpy as np
    >>> import fastloss as fl
    >>> y, p = np.array([1.0, 2.0]), np.array([0.0, 2.0])
    >>> fl.metrics.mean_pinball_loss(y, p, alpha=0.9)
    0.45
    """
    require(isinstance(alpha, float) and 0.0 < alpha < 1.0)
    return _average(
        lambda p, t, w: fastloss.quantile(p, t, tau=alpha, sample_weight=w),
        y_true, y_pred, sample_weight, multioutput,
    )  # fmt: skip


def _average(
    mean: Callable[[Array, Array, Array | None], Any],
    y_true: Any,
    y_pred: Any,
    sample_weight: Any,
    multioutput: Any,
) -> Any:
    """Return the average of `mean(predictions, targets, weights)` over the outputs."""
    t, p = _columns(plain.array(y_true)), _columns(plain.array(y_pred))  # (N, M)
    require(t.shape == p.shape)
    w = plain.weights(sample_weight, len(p), t, p)
    dtype = _working_dtype(t, p, w)
    p = p.astype(dtype, copy=False)
    if isinstance(multioutput, str) and multioutput == "uniform_average":
        error = float(mean(p, t, None if w is None else w[:, None]))
        require(math.isfinite(error))
        return error
    errors = np.array([mean(p[:, m], t[:, m], w) for m in range(p.shape[1])], dtype)
    require(plain.all_finite(errors))
    if isinstance(multioutput, str):
        require(multioutput == "raw_values")
        return errors
    shares = plain.array(multioutput)
    require(shares.shape == errors.shape and errors.size > 1)
    require(plain.all_finite(shares) and shares.sum() != 0)
    return float(np.average(errors, weights=shares))


def _columns(values: Array) -> Array:
    return values[:, None] if values.ndim == 1 else values


def _working_dtype(*arrays: Array | None) -> np.dtype[Any]:
    """Return the dtype in which scikit-learn computes: that of what is floating, else float64."""
    floating = [a.dtype for a in arrays if a is not None and a.dtype.kind == "f"]
    dtype = np.result_type(*floating) if floating else np.dtype(np.float64)
    require(dtype.itemsize >= 4)
    return dtype
