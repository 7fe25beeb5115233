"""The scores that the libraries' built-in objectives start from: custom ones start elsewhere."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastloss.arrays import Array
from fastloss.loss import Loss
from fastloss.objectives.conventions import builtin_name
from fastloss.objectives.options import checked_options
from fastloss.objectives.rows import class_indices, row_weights

#: What LightGBM keeps probabilities away from 0 with (kEpsilon in include/LightGBM/meta.h).
_LIGHTGBM_EPSILON = 1e-15

#: The same in XGBoost (kRtEps in include/xgboost/base.h).
_XGBOOST_EPSILON = 1e-6


def initial_score(
    loss: Loss,
    labels: Any,
    sample_weight: Any = None,
    *,
    library: str,
    classes: int = 0,
    **options: Any,
) -> Any:
    """Return the score that a library's built-in objective of a loss starts from.

    Log-odds for the logistic loss, log-frequencies of the classes for cross-entropy (XGBoost's
    less their mean), the mean for squared errors, its logarithm for Poisson, gamma and Tweedie,
    and each library's own quantile for the quantile loss, its median for absolute errors; all
    weighted.

    Parameters
    ----------
    loss : fastloss.Loss
    labels : array of shape (N,)
    sample_weight : array of shape (N,), optional
    library : {"xgboost", "lightgbm", ""}
    classes : int, optional
        How many classes there are, where the labels do not have the last ones.
    **options
        The loss's options; ``tau`` counts, and the labels of ``ignore_index`` do not.

    Returns
    -------
    float or float64 array of shape (C,)
        A raw score. 0.0 for a loss that the library does not have, for XGBoost's ``hinge`` and
        ``msle``, whose start depends on its version, and for CatBoost.

    Raises
    ------
    TypeError
        If `loss` is none that an objective takes, or has not that option.
    ValueError
        If there are no labels or none that has a weight, if the numbers of labels and weights
        differ, if a weight is negative or not finite, if a label is no class index, if an
        option's value does not exist, or if there is no such library.

    Notes
    -----
    XGBoost takes it as ``base_score`` (one score) or as ``base_margin``, LightGBM as
    ``init_score``, both (N,) or (N, C); LightGBM's predictions leave it out.

    Sources: XGBoost 3.1's src/objective/init_estimation.cc, multiclass_obj.cu and
    src/common/stats.h (from 3.3 on its ``reg:absoluteerror`` starts from no median); LightGBM
    4's BoostFromScore in src/objective, and for quantiles what 4.7 was seen to start from.

    Examples
    --------
    >>> import numpy as np
    >>> import fastloss as fl
    >>> y = np.array([0.0, 1.0, 1.0, 1.0])
    >>> start = fl.objectives.initial_score(
    ...     fl.binary_cross_entropy_with_logits, y, library="lightgbm"
    ... )
    >>> round(start, 6)  # log(3 / 1)
    1.098612
    """
    if library not in ("xgboost", "lightgbm", ""):
        raise ValueError(f'library must be "xgboost" or "lightgbm", not {library!r}')
    filled = checked_options(loss, options)
    y = np.asarray(labels).reshape(-1)
    given = row_weights(y.size, sample_weight, "initial_score")
    w = np.ones(y.size) if given is None else given.astype(np.float64)
    usable = np.isfinite(w) & (w >= 0.0)
    if not usable.all():
        bad = int(np.argmin(usable))
        raise ValueError(
            f"the weight at position {bad} is {w[bad]}, expected a finite number of at least 0"
        )
    name = builtin_name(loss, options)
    if name == "cross_entropy":
        counted = y != filled["ignore_index"]
        y, w = y[counted], w[counted]
    if y.size == 0:
        raise ValueError("there are no labels to start from")
    if not w.sum() > 0.0:
        raise ValueError("the weights are all 0: there is no label to start from")
    if not library:
        return 0.0
    lightgbm = library == "lightgbm"
    y64 = y.astype(np.float64)
    match name:
        case "cross_entropy":
            return _log_frequencies(y, w, classes, lightgbm)
        case "binary_cross_entropy_with_logits":
            eps = _LIGHTGBM_EPSILON if lightgbm else _XGBOOST_EPSILON
            p = min(max(_mean(y64 > 0 if lightgbm else y64, w), eps), 1.0 - eps)
            return math.log(p / (1.0 - p))
        case "mse":
            return _mean(y64, w)
        case "huber":
            return _mean(y64, w) if lightgbm else 0.0
        case "poisson_nll" | "gamma_nll" | "tweedie_nll":
            mean = _mean(y64, w)
            return math.log(mean) if mean > 0.0 else -math.inf
        case "mae" | "quantile":
            tau = filled.get("tau", 0.5)
            find = _lightgbm_quantile if lightgbm else _xgboost_quantile
            return find(y64, None if given is None else w, tau)
    return 0.0


def _mean(y: Array, w: Array) -> float:
    return float(np.average(y, weights=w))


def _log_frequencies(y: Array, w: Array, classes: int, lightgbm: bool) -> Array:
    indices = class_indices(y)
    if indices.min() < 0:
        raise ValueError(f"the least label is {indices.min()}, expected class indices from 0")
    counts = np.bincount(indices, weights=w, minlength=classes)
    frequencies = counts / w.sum()
    if lightgbm:
        logs: Array = np.log(np.maximum(frequencies, _LIGHTGBM_EPSILON))
        return logs
    logs = np.log(frequencies + _XGBOOST_EPSILON)
    logs -= logs.mean()
    return logs


def _xgboost_quantile(y: Array, w: Array | None, tau: float) -> float:
    """Weibull's plotting positions; weighted, the first label that reaches tau of the weight."""
    if w is None:
        return float(np.quantile(y, tau, method="weibull"))
    order = np.argsort(y, kind="stable")
    reached = np.cumsum(w[order])
    return float(y[order][min(np.searchsorted(reached, reached[-1] * tau), y.size - 1)])


def _lightgbm_quantile(y: Array, w: Array | None, tau: float) -> float:
    """Linear interpolation; weighted, between labels whose weight is at least 1."""
    if w is None or (w == 1.0).all():
        return float(np.quantile(y, tau))
    order = np.argsort(y, kind="stable")
    sorted_y, reached = y[order], np.cumsum(w[order])
    threshold = reached[-1] * tau
    k = min(int(np.searchsorted(reached, threshold, side="right")), y.size - 1)
    if k in (0, y.size - 1):
        return float(sorted_y[k])
    before, step = sorted_y[k - 1], reached[k] - reached[k - 1]
    if step < 1.0:
        return float(before)
    return float(before + (threshold - reached[k - 1]) / step * (sorted_y[k] - before))
