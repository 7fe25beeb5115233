"""Losses as XGBoost's custom objectives."""

from __future__ import annotations

from typing import Any

from fastloss.loss import Loss
from fastloss.objectives.objective import CalledObjective


class XGBoostObjective(CalledObjective):
    """A loss as a custom objective of XGBoost, for ``xgboost.train`` and its estimators.

    ``xgboost.train(params, data, obj=XGBoostObjective(loss))`` calls it with (scores, data),
    ``xgboost.XGBClassifier(objective=XGBoostObjective(loss))`` with (labels, scores) and the
    sample weights; both forms are recognised.

    Parameters
    ----------
    loss : fastloss.Loss
        Any loss with a hessian: of the package, or of `fastloss.pointwise_loss`.
    hessian : {"xgboost", "lightgbm", "exact"}, default "xgboost"
        ``"xgboost"`` is what XGBoost's own objective of this loss uses, so that the same trees
        grow: for cross-entropy max(2 p (1 - p), 1e-16), for the logistic loss
        max(p (1 - p), 1e-16), for absolute errors and the quantile loss 1, for the hinge loss 1
        inside the margin, for ``msle`` at least 1e-6, for Poisson exp(score + 0.7); for a loss
        that XGBoost does not have the second derivative, at least 1e-16. ``"lightgbm"`` is what
        LightGBM uses, for example 1 for the Huber loss. ``"exact"`` is the second derivative.
    **options
        The loss's own options.

    Raises
    ------
    TypeError
        If `loss` is none, has no hessian, or has not that option.
    ValueError
        For a `hessian` or an option's value that does not exist; in training for labels that
        are no class indices, and for numbers of labels and scores that do not fit.

    See Also
    --------
    fastloss.objectives.initial_score : the base score of the built-in objectives.

    Notes
    -----
    Scores are float32 of shape (N,) or (N, C) and are read where they lie, labels and weights
    as well; gradient and hessian are new arrays in the scores' shape. Labels are class indices
    of shape (N,), or for soft labels probabilities (N, C): these without ``num_class``, with
    which XGBoost refuses them. ``hinge`` takes labels of -1 and 1, where XGBoost's own takes 0
    and 1.

    XGBoost starts a custom objective from ``base_score`` = 0.5, taken as a score where no
    ``objective`` is set beside it; pass the built-in objective's own (`initial_score`) to begin
    where it begins. ``max_delta_step`` is 0.7 for its Poisson objective alone. Its objectives of
    absolute errors and quantiles (until 3.2; later ones bound the loss by parabolas) replace the
    leaf values by quantiles of the residuals afterwards, which no custom objective can: the
    splits of the first tree agree, for quantiles with ``right_derivative=True``, the leaves do
    not, so take a larger ``eta``.

    Sources: XGBoost's src/objective; ``fastloss.objectives.conventions`` has the list.

    Examples
    --------
    >>> import numpy as np
    >>> import fastloss as fl
    >>> objective = fl.objectives.XGBoostObjective(fl.cross_entropy)
    >>> grad, hess = objective(np.array([0.0, 1.0]), np.zeros((2, 2), np.float32))
    >>> grad.tolist(), hess.tolist()
    ([[-0.5, 0.5], [0.5, -0.5]], [[0.5, 0.5], [0.5, 0.5]])
    """

    library = "xgboost"
    title = "XGBoost"

    def __init__(self, loss: Loss, *, hessian: str = "xgboost", **options: Any) -> None:
        super().__init__(loss, hessian, options)
