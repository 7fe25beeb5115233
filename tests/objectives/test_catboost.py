"""CatBoost's protocol as documented, and real CatBoost where it is installed.

It is a large package with many dependencies, so it is in none of the extras.
"""

import numpy as np
import pytest

import fastloss as fl
from fastloss.objectives import CatBoostObjective
from tests.helpers import Unchanged
from tests.objectives.data import DATA, load, weights_for

LOGISTIC = "binary_cross_entropy_with_logits"


TREES = {
    "iterations": 10, "depth": 3, "learning_rate": 0.3, "random_seed": 0, "verbose": False,
    "leaf_estimation_iterations": 1, "boost_from_average": False, "thread_count": 2,
    "allow_writing_files": False, "bootstrap_type": "No", "score_function": "L2",
    "leaf_estimation_backtracking": "No", "random_strength": 0,
}  # fmt: skip


class Container:
    """CatBoost's older containers have a length and items, and nothing else."""

    def __init__(self, values):
        self.values = list(values)

    def __len__(self):
        return len(self.values)

    def __getitem__(self, index):
        return self.values[index]


class TestProtocol:
    @pytest.mark.parametrize("kind", [np.asarray, list, Container])
    @pytest.mark.parametrize("weighted", [False, True])
    def test_range(self, rng, kind, weighted):
        z, y = rng.normal(size=9), rng.integers(0, 2, 9).astype(np.float32)
        w = rng.random(9).astype(np.float32) if weighted else None
        objective = CatBoostObjective(fl.binary_cross_entropy_with_logits)
        with Unchanged(z, y, w):
            ders = objective.calc_ders_range(kind(z), kind(y), None if w is None else kind(w))
        p, weight = 1 / (1 + np.exp(-z)), 1 if w is None else w
        assert ders.shape == (9, 2) and ders.dtype == np.float64 and ders.flags.c_contiguous
        np.testing.assert_allclose(ders[:, 0], (y - p) * weight, rtol=1e-6)
        np.testing.assert_allclose(ders[:, 1], -p * (1 - p) * weight, rtol=1e-6)

    @pytest.mark.parametrize("weight", [None, 1.0, 2.5])
    def test_multi(self, rng, weight):
        z = rng.normal(0, 3, 5)
        objective = CatBoostObjective(fl.cross_entropy)
        p, w = np.exp(z) / np.exp(z).sum(), weight or 1.0
        der1, der2 = objective.calc_ders_multi(z, 3.0, weight)
        np.testing.assert_allclose(der1, w * (np.eye(5)[3] - p), rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(der2, w * (np.outer(p, p) - np.diag(p)), rtol=1e-10, atol=1e-14)

    def test_multi_of_a_sure_row(self):
        der1, der2 = CatBoostObjective(fl.cross_entropy).calc_ders_multi([2000.0, 0.0], 0.0, 1.0)
        assert not der1.any() and np.isfinite(der2).all() and not der2.any()

    def test_multi_by_differences_of_the_gradient(self, rng):
        """The whole matrix, with options, where no formula of ours is at hand."""
        z, step = rng.normal(size=4), 1e-6
        options = {"label_smoothing": 0.2, "class_weight": np.array([1.0, 2.0, 3.0, 0.5])}
        objective = CatBoostObjective(fl.cross_entropy, **options)

        def first(z):
            return objective.calc_ders_multi(z, 1.0, 1.0)[0]

        expected = [(first(z + e) - first(z - e)) / (2 * step) for e in step * np.eye(4)]
        np.testing.assert_allclose(objective.calc_ders_multi(z, 1.0, 1.0)[1], expected, atol=1e-8)

    def test_multi_with_coupling_options_has_the_diagonal(self, rng):
        z = rng.normal(size=4)
        der2 = CatBoostObjective(fl.cross_entropy, z_loss=0.1).calc_ders_multi(z, 1.0, 1.0)[1]
        hess = fl.cross_entropy.grad_and_hess(z[None], np.array([1]), reduction="sum", z_loss=0.1)[
            1
        ]
        np.testing.assert_array_equal(der2, -np.diag(hess[0]))

    def test_refuses_labels_that_are_no_classes(self):
        with pytest.raises(ValueError, match=r"position 0 is 0\.5"):
            CatBoostObjective(fl.cross_entropy).calc_ders_multi([0.0, 0.0], 0.5, 1.0)


class TestCatBoost:
    """The trees of CatBoost's own objective, with the same way of estimating leaves."""

    @pytest.fixture(scope="class")
    def catboost(self):
        return pytest.importorskip("catboost")

    def scores(self, catboost, data, objective, metric, w, **params):
        X, y = DATA[data]()
        model = catboost.CatBoost(
            {**TREES, "loss_function": objective, "eval_metric": metric, **params}
        )
        model.fit(catboost.Pool(X, y, weight=w))
        return model.predict(X, prediction_type="RawFormulaVal")

    @pytest.mark.filterwarnings("ignore")
    @pytest.mark.parametrize("weighted", [False, True])
    @pytest.mark.parametrize(
        "loss, data, objective",
        [
            (LOGISTIC, "binary", "Logloss"),
            ("mse", "real", "RMSE"),
            ("poisson_nll", "counts", "Poisson"),
        ],
    )
    def test_same_model(self, catboost, loss, data, objective, weighted):
        w = weights_for(load("diabetes")[1])[: len(DATA[data]()[1])] if weighted else None
        if weighted and data == "binary":
            w = weights_for(DATA[data]()[1])
        method = "Newton" if objective != "Poisson" else "Gradient"
        theirs, ours = (
            self.scores(catboost, data, o, objective, w, leaf_estimation_method=method)
            for o in (objective, CatBoostObjective(getattr(fl, loss)))
        )
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6 * np.abs(theirs).max())

    @pytest.mark.filterwarnings("ignore")
    @pytest.mark.parametrize("method", ["Newton", "Gradient"])
    def test_same_model_of_classes(self, catboost, method):
        theirs, ours = (
            self.scores(
                catboost, "iris", o, "MultiClass", None,
                classes_count=3, leaf_estimation_method=method,
            )
            for o in ("MultiClass", CatBoostObjective(fl.cross_entropy))
        )  # fmt: skip
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6 * np.abs(theirs).max())
