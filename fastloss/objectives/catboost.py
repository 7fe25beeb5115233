"""Losses as CatBoost's custom objectives."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastloss.arrays import Array
from fastloss.loss import Loss
from fastloss.objectives.objective import Objective

#: Options that couple the classes by more than a softmax of the logits as given.
_RESHAPE_LOGITS = {"z_loss": 0.0, "logit_scale": 1.0, "logit_softcap": None}


class CatBoostObjective(Objective):
    """A loss as a custom objective of CatBoost: ``CatBoost(..., loss_function=...)``.

    CatBoost maximises, so both derivatives have the opposite sign. It calls `calc_ders_range`
    for losses of one score per row, and `calc_ders_multi` row by row for those over classes.

    Parameters
    ----------
    loss : fastloss.Loss
        Any loss with a hessian: of the package, or of `fastloss.pointwise_loss`.
    hessian : {"exact", "xgboost", "lightgbm"}, default "exact"
        ``"exact"``, which CatBoost's own objectives use, is the second derivative; the others
        are what those libraries use.
    **options
        The loss's own options.

    Raises
    ------
    TypeError
        If `loss` is none, has no hessian, or has not that option.
    ValueError
        For a `hessian` or an option's value that does not exist; in training for labels that
        are no class indices.

    Notes
    -----
    CatBoost needs an ``eval_metric`` beside a custom objective, starts it from 0, and predicts
    raw scores. With one target only; CatBoost recognises objectives of several targets by a
    base class of its own. With ``hessian="exact"``, `calc_ders_multi` gives cross-entropy's
    whole matrix, diagonal and -p_i p_j beside it; the other losses, and cross-entropy with
    ``z_loss``, ``logit_scale`` or ``logit_softcap``, have the diagonal alone. One call of
    Python per row makes it slow, whatever it computes: for class losses CatBoost's own
    objectives are faster by orders of magnitude.

    Source: CatBoost's documentation, "User-defined loss function".

    Examples
    --------
    >>> import numpy as np
    >>> import fastloss as fl
    >>> objective = fl.objectives.CatBoostObjective(fl.mse)
    >>> objective.calc_ders_range(np.array([1.0, 3.0]), np.array([2.0, 2.0]), None).tolist()
    [[1.0, -1.0], [-1.0, -1.0]]
    """

    def __init__(self, loss: Loss, *, hessian: str = "exact", **options: Any) -> None:
        super().__init__(loss, hessian, options)
        reshaped = any(options.get(name, none) != none for name, none in _RESHAPE_LOGITS.items())
        #: Whether the hessian of a row is slope (diag(p) - p p').
        self._softmax = loss.name == "cross_entropy" and hessian == "exact" and not reshaped

    def calc_ders_range(self, approxes: Any, targets: Any, weights: Any) -> Array:
        """Return (first, second derivative) of each row, as an array of shape (N, 2)."""
        scores = np.asarray(approxes, np.float64)
        ders = np.empty((scores.size, 2))
        grad, hess = self.derivatives(scores, targets, weights, order="CatBoost")
        np.negative(grad, out=ders[:, 0])
        np.negative(hess, out=ders[:, 1])
        return ders

    def calc_ders_multi(self, approxes: Any, target: Any, weight: Any) -> tuple[Array, Array]:
        """Return the first derivatives (C,) and the second (C, C) of one row."""
        scores = np.asarray(approxes, np.float64)[None]  # (1, C)
        labels = np.asarray(target).reshape(-1)
        # CatBoost has a weight of 1 where there are none.
        weights = None if weight is None or weight == 1.0 else np.asarray([weight], np.float64)
        grad, hess = self.derivatives(scores, labels, weights, order="CatBoost")
        matrix = self._coupled(scores[0], hess[0]) if self._softmax else np.diag(hess[0])
        return -grad[0], -matrix

    def _coupled(self, scores: Array, diagonal: Array) -> Array:
        """Return the hessian of a softmax whose diagonal is slope p (1 - p): its rows sum to 0."""
        e = np.exp(scores - scores.max())
        p = e / e.sum()
        k = int(diagonal.argmax())
        others = p.sum() - p[k]
        slope = diagonal[k] / (p[k] * others) if p[k] * others > 0.0 else 0.0
        matrix: Array = np.outer(p * -slope, p)
        np.fill_diagonal(matrix, diagonal)
        return matrix
