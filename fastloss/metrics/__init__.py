"""scikit-learn's loss metrics, with its signatures and its results, several times faster.

Arrays of numbers in the usual form are computed by fastloss' kernels. Everything else (lists,
strings, other libraries' arrays, whatever is to be refused or warned of) goes to the installed
scikit-learn's function of the same name, which is imported then and not before: results,
warnings and errors are its own.

>>> import numpy as np
>>> import fastloss as fl
>>> fl.metrics.mean_squared_error(np.array([1.0, 2.0]), np.array([1.0, 4.0]))
2.0
>>> # sklearn.metrics.make_scorer(fl.metrics.log_loss, response_method="predict_proba", ...)
"""

from __future__ import annotations

from fastloss.metrics.classification import brier_score_loss, hinge_loss, log_loss
from fastloss.metrics.regression import mean_pinball_loss, mean_squared_error

__all__ = [
    "brier_score_loss",
    "hinge_loss",
    "log_loss",
    "mean_pinball_loss",
    "mean_squared_error",
]
