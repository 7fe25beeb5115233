"""scikit-learn's bundled data sets, and what the tests ask of two models."""

from functools import cache

import numpy as np
from sklearn import datasets

ROUNDS = 15


@cache
def load(name):
    X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    X, y = X[:600].astype(np.float64), y[:600].astype(np.float64)
    X.flags.writeable = y.flags.writeable = False
    return X, y


def counts():
    """Whole numbers to count: the diabetes data's progression in steps of 30."""
    X, y = load("diabetes")
    return X, y // 30


def signs():
    """Labels of -1 and 1."""
    X, y = load("breast_cancer")
    return X, 2 * y - 1


DATA = {
    "classes": lambda: load("digits"),
    "iris": lambda: load("iris"),
    "binary": lambda: load("breast_cancer"),
    "signs": signs,
    "real": lambda: load("diabetes"),
    "counts": counts,
}


def weights_for(y, seed=3):
    return np.random.default_rng(seed).uniform(0.2, 1.8, len(y)).astype(np.float32)


def assert_predictions_agree(actual, expected, what="predictions"):
    """To the rounding of float32, in which the boosters keep gradients and hessians."""
    scale = np.abs(expected).max()
    np.testing.assert_allclose(actual, expected, rtol=0, atol=3e-6 * scale, err_msg=what)
