"""Metrics of classification."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import fastloss
from fastloss.arrays import Array
from fastloss.metrics import formulas, plain
from fastloss.metrics.delegation import or_sklearn, require

#: Rows whose decisions are turned over at a time, to stay in the cache.
_BLOCK = 4096


@or_sklearn
def log_loss(
    y_true: Any,
    y_proba: Any = None,
    *,
    normalize: bool = True,
    sample_weight: Any = None,
    labels: Any = None,
    y_pred: Any = "deprecated",
) -> float:
    """Cross-entropy of predicted probabilities, as ``sklearn.metrics.log_loss``.

    Parameters
    ----------
    y_true : array of shape (N,)
        Labels.
    y_proba : array of shape (N,) or (N, C)
        Probability of the larger label, or of each, in ascending order of the labels; clipped
        to [eps, 1 - eps], where eps belongs to the dtype.
    normalize : bool, default True
        The mean; else the sum.
    sample_weight : array of shape (N,), optional
    labels : array of shape (C,), optional
        The labels, where not all occur in `y_true`.
    y_pred
        scikit-learn's former name of `y_proba`.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        scikit-learn's errors, for what is no probability among others.

    Notes
    -----
    Sums are in float64, also for float32 arrays. Source: scikit-learn 1.9.

    Examples
    --------
    >>> import numpy as np
    >>> import fastloss as fl
    >>> round(fl.metrics.log_loss(np.array([0, 1]), np.array([0.25, 0.5])), 6)
    0.490415
    """
    require(isinstance(normalize, bool) and isinstance(y_pred, str))
    p = plain.probabilities(y_proba)
    w = plain.weights(sample_weight, len(p))
    eps = float(np.finfo(p.dtype).eps)
    high = 1.0
    if p.ndim == 1:
        targets, low, high = plain.two_labels(y_true, len(p), labels)
        require(low < high)
    else:
        columns = plain.class_columns(y_true, p, labels)
        require(_sum_to_one(p, eps))
        p = plain.of_class(p, columns)
        targets = np.broadcast_to(np.float32(high), p.shape)
    mean = float(formulas.surprise(p, targets, high=high, eps=eps, sample_weight=w))
    if normalize:
        return mean
    # Of the weights as given: `w` may be a multiple of them.
    return _checked(mean * (len(p) if w is None else float(sample_weight.sum(dtype=np.float64))))


@or_sklearn
def brier_score_loss(
    y_true: Any,
    y_proba: Any,
    *,
    sample_weight: Any = None,
    pos_label: Any = None,
    labels: Any = None,
    scale_by_half: Any = "auto",
) -> float:
    """Mean squared error of predicted probabilities, as ``sklearn.metrics.brier_score_loss``.

    Parameters
    ----------
    y_true : array of shape (N,)
        Labels.
    y_proba : array of shape (N,) or (N, C)
        Probability of the positive label, or of each, in ascending order of the labels.
    sample_weight : array of shape (N,), optional
    pos_label : label, optional
        The positive label; default: 1 where labels are 0 and 1 or -1 and 1, else the larger.
    labels : array of shape (C,), optional
        The labels, where not all occur in `y_true`.
    scale_by_half : bool or "auto", default "auto"
        Half of the sum over all classes; "auto": for two classes.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        scikit-learn's errors, for what is no probability among others.

    Notes
    -----
    Sums are in float64, also for float32 arrays. Source: scikit-learn 1.9.

    Examples
    --------
    >>> import numpy as np
    >>> import fastloss as fl
    >>> fl.metrics.brier_score_loss(np.array([0, 1]), np.array([0.5, 1.0]))
    0.125
    """
    p = plain.probabilities(y_proba)
    w = plain.weights(sample_weight, len(p))
    classes = 2 if p.ndim == 1 else p.shape[1]
    if isinstance(scale_by_half, str):
        require(scale_by_half == "auto")
        scale_by_half = classes < 3
    require(isinstance(scale_by_half, bool))
    if p.ndim == 1:
        require(labels is None)
        y, low, high = plain.two_labels(y_true, len(p))
        positive = _positive(pos_label, low, high)
        both = 2.0 * float(formulas.brier(p, y, high=positive, sample_weight=w))
    else:
        require(pos_label is None)
        columns = plain.class_columns(y_true, p, labels)
        require(_sum_to_one(p, float(np.finfo(p.dtype).eps)))
        onehot = np.zeros(p.shape, np.int8)
        onehot[np.arange(len(p)), columns] = 1
        per_row = None if w is None else w[:, None]
        both = classes * float(fastloss.mse(p, onehot, half=False, sample_weight=per_row))
    return 0.5 * both if scale_by_half else both


@or_sklearn
def hinge_loss(
    y_true: Any, pred_decision: Any, *, labels: Any = None, sample_weight: Any = None
) -> float:
    """Mean hinge loss of decisions, as ``sklearn.metrics.hinge_loss``.

    max(0, 1 - y d) for two labels, y = 1 for the larger and -1 for the other; for more
    max(0, 1 - (d[y] - max of the others)), by Crammer and Singer.

    Parameters
    ----------
    y_true : array of shape (N,)
        Labels.
    pred_decision : array of shape (N,) or (N, C)
        Decisions, for more than two labels one of each, in ascending order of the labels.
    labels : array of shape (C,), optional
        The labels, where not all of more than two occur in `y_true`.
    sample_weight : array of shape (N,), optional

    Returns
    -------
    float

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
    >>> fl.metrics.hinge_loss(np.array([-1, 1, 1]), np.array([-2.0, 0.5, -0.5]))
    0.6666666666666666
    """
    d = plain.floats(pred_decision)
    require(plain.all_finite(d))
    w = plain.weights(sample_weight, len(d))
    if d.ndim == 1:
        require(labels is None)
        y, low, high = plain.two_labels(y_true, len(d))
        require(low < high)
        # scikit-learn multiplies by int64, which makes float64 of float32.
        d = d.astype(np.float64, copy=False)
        return _checked(formulas.hinge(d, y, high=high, sample_weight=w))
    columns = plain.class_columns(y_true, d, labels)
    require(d.shape[1] > 2)
    with np.errstate(over="ignore"):
        margin = plain.of_class(d, columns) - _best_of_others(d, columns)
    require(plain.all_finite(margin))
    ones = np.broadcast_to(np.float32(1.0), margin.shape)
    return _checked(formulas.hinge(margin, ones, sample_weight=w))


def _sum_to_one(p: Array, eps: float) -> bool:
    """Whether every row is normalised, to the precision that scikit-learn asks for."""
    sums = p @ np.ones(p.shape[1], p.dtype)  # (N,)
    return bool(np.all(np.abs(sums - 1.0) <= math.sqrt(eps)))


def _best_of_others(d: Array, columns: Array) -> Array:
    """Return each row's largest decision outside its own column, (N,)."""
    best = np.empty(len(d), d.dtype)
    for first in range(0, len(d), _BLOCK):
        block = np.array(d[first : first + _BLOCK].T, order="C")  # (C, rows)
        rows = block.shape[1]
        block[columns[first : first + rows], np.arange(rows)] = -math.inf
        block.max(axis=0, out=best[first : first + rows])
    return best


def _positive(pos_label: Any, low: float, high: float) -> float:
    """Return the label whose probability is predicted."""
    if pos_label is None:
        usual = {low, high} <= {0.0, 1.0} or {low, high} <= {-1.0, 1.0}
        return 1.0 if usual else high
    require(isinstance(pos_label, (int, float)) and pos_label in (low, high))
    return float(pos_label)


def _checked(loss: Any) -> float:
    require(math.isfinite(loss))
    return float(loss)
