"""Losses as LightGBM's custom objectives."""

from __future__ import annotations

from typing import Any

from fastloss.loss import Loss
from fastloss.objectives.objective import CalledObjective


class LightGBMObjective(CalledObjective):
    """A loss as a custom objective of LightGBM, for ``lightgbm.train`` and its estimators.

    ``lightgbm.train({"objective": LightGBMObjective(loss)}, data)`` calls it with (scores,
    data), ``lightgbm.LGBMClassifier(objective=LightGBMObjective(loss))`` with (labels, scores,
    weights); both forms are recognised.

    Parameters
    ----------
    loss : fastloss.Loss
        Any loss with a hessian: of the package, or of `fastloss.pointwise_loss`.
    hessian : {"lightgbm", "xgboost", "exact"}, default "lightgbm"
        ``"lightgbm"`` is what LightGBM's own objective of this loss uses, so that the same
        trees grow: for cross-entropy p (1 - p) C / (C - 1), for absolute errors, the Huber and
        the quantile loss 1, for Poisson exp(score + 0.7); for a loss that LightGBM does not have
        the second derivative, at least 1e-16. ``"xgboost"`` is what XGBoost uses: with it the
        hinge loss, which LightGBM does not have, grows trees. ``"exact"`` is the second
        derivative.
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
    fastloss.objectives.initial_score : the scores that the built-in objectives start from.

    Notes
    -----
    Scores are float64 of shape (N,) or, in Fortran order, (N, C) and are read where they lie;
    gradient and hessian are new arrays in the same order, which LightGBM flattens without a
    copy. Labels are class indices of shape (N,).

    LightGBM starts custom objectives from 0, the built-in ones from their
    ``boost_from_average``: pass ``init_score=`` to the data set, and add it to raw predictions.
    Its objectives of absolute errors and quantiles replace the leaf values by quantiles of the
    residuals afterwards, which no custom objective can: the splits of the first tree agree, for
    quantiles with ``right_derivative=True``, the leaves do not, so take a larger
    ``learning_rate``.
    ``predict`` gives raw scores.

    Sources: LightGBM's src/objective; ``fastloss.objectives.conventions`` has the list.

    Examples
    --------
    >>> import numpy as np
    >>> import fastloss as fl
    >>> objective = fl.objectives.LightGBMObjective(fl.cross_entropy)
    >>> grad, hess = objective(np.array([0.0, 1.0]), np.zeros((2, 2), order="F"))
    >>> grad.tolist(), hess.tolist()
    ([[-0.5, 0.5], [0.5, -0.5]], [[0.5, 0.5], [0.5, 0.5]])
    """

    library = "lightgbm"
    title = "LightGBM"

    def __init__(self, loss: Loss, *, hessian: str = "lightgbm", **options: Any) -> None:
        super().__init__(loss, hessian, options)
