"""Signatures, scorers, data frames, and what is imported when."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import make_scorer
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fastloss as fl
from tests.helpers import each, run_python
from tests.metrics.peer import ours, parameters, theirs

NAMES = fl.metrics.__all__


@each("name", NAMES)
def test_signature(name):
    assert parameters(ours(name)) == parameters(theirs(name))


@each("name", NAMES)
def test_docstring_and_pickle(name):
    metric = ours(name)
    assert pickle.loads(pickle.dumps(metric)) is metric
    for section in ("Parameters", "Returns", "Raises", "Notes", "Examples"):
        assert f"{section}\n" in metric.__doc__


@pytest.mark.parametrize(
    "name, load, model, how",
    [
        ("log_loss", load_breast_cancer, LogisticRegression(max_iter=500), "predict_proba"),
        ("log_loss", load_digits, LogisticRegression(max_iter=500), "predict_proba"),
        ("brier_score_loss", load_breast_cancer, LogisticRegression(max_iter=500), "predict_proba"),
        ("hinge_loss", load_breast_cancer, LogisticRegression(max_iter=500), "decision_function"),
        ("hinge_loss", load_digits, LogisticRegression(max_iter=500), "decision_function"),
        ("mean_squared_error", load_diabetes, LinearRegression(), "predict"),
        ("mean_pinball_loss", load_diabetes, LinearRegression(), "predict"),
    ],
)
def test_scorers(name, load, model, how):
    X, y = (values[:400] for values in load(return_X_y=True))
    model = make_pipeline(StandardScaler(), model)
    scorers = [
        make_scorer(metric(name), greater_is_better=False, response_method=how)
        for metric in (ours, theirs)
    ]
    scores, expected = (cross_val_score(model, X, y, scoring=s, cv=3) for s in scorers)
    np.testing.assert_allclose(scores, expected, rtol=1e-12)
    assert clone(model) is not None and pickle.loads(pickle.dumps(scorers[0]))


def test_grid_search_in_processes():
    X, y = load_breast_cancer(return_X_y=True)
    scoring = make_scorer(
        fl.metrics.log_loss, greater_is_better=False, response_method="predict_proba"
    )
    search = GridSearchCV(
        make_pipeline(StandardScaler(), LogisticRegression()),
        {"logisticregression__C": [0.01, 1.0]},
        scoring=scoring, cv=2, n_jobs=2,
    ).fit(X, y)  # fmt: skip
    assert search.best_params_ == {"logisticregression__C": 1.0}


def test_data_frames_and_series(rng):
    pandas = pytest.importorskip("pandas")
    y, p = pandas.Series([0, 1, 1]), pandas.Series([0.2, 0.7, 0.9])
    assert fl.metrics.log_loss(y, p) == theirs("log_loss")(y, p)
    frame = pandas.DataFrame({"a": [0.1, 0.2], "b": [0.3, 0.4]})
    assert fl.metrics.mean_squared_error(frame, frame + 1) == pytest.approx(1.0)


def test_nothing_heavy_is_imported_before_it_is_needed():
    run_python(
        """
        import sys
        import numpy as np
        import fastloss as fl

        heavy = {"sklearn", "xgboost", "lightgbm", "catboost"}
        assert "fastloss.metrics" not in sys.modules and "fastloss.objectives" not in sys.modules
        fl.objectives.XGBoostObjective(fl.mse), fl.objectives.LightGBMObjective(fl.mse)
        assert fl.metrics.mean_squared_error(np.array([1.0]), np.array([3.0])) == 4.0
        assert not heavy & set(sys.modules), heavy & set(sys.modules)
        """
    )


def test_without_scikit_learn_the_usual_works_and_the_rest_says_what_to_do():
    run_python(
        """
        import sys
        sys.modules["sklearn"] = None
        import numpy as np
        import fastloss as fl

        assert fl.metrics.mean_squared_error(np.array([1.0]), np.array([3.0])) == 4.0
        try:
            fl.metrics.mean_squared_error([1.0], [3.0])
        except ImportError as error:
            assert "pip install scikit-learn" in str(error)
        else:
            raise AssertionError("no error")
        """
    )
