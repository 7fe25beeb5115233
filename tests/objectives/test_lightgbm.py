"""Models of real LightGBM, trained with our objectives and with its own."""

import numpy as np
import pytest
from sklearn.base import clone

import fastloss as fl
from fastloss.objectives import LightGBMObjective
from tests.objectives.data import DATA, ROUNDS, assert_predictions_agree, load, weights_for

lgb = pytest.importorskip("lightgbm")

TREES = {
    "verbose": -1, "num_threads": 2, "num_leaves": 7, "deterministic": True,
    "force_row_wise": True, "seed": 0,
}  # fmt: skip

LOGISTIC = "binary_cross_entropy_with_logits"

#: (loss, its options, data, LightGBM's objective, its parameters)
BUILT_IN = {
    "softmax": ("cross_entropy", {}, "classes", "multiclass", {"num_class": 10}),
    "logistic": (LOGISTIC, {}, "binary", "binary", {}),
    "positives": (LOGISTIC, {"pos_weight": 3.0}, "binary", "binary", {"scale_pos_weight": 3.0}),
    "squared": ("mse", {}, "real", "regression", {}),
    "huber": ("huber", {"delta": 30.0}, "real", "huber", {"alpha": 30.0}),
    "poisson": ("poisson_nll", {}, "counts", "poisson", {}),
    "gamma": ("gamma_nll", {}, "real", "gamma", {}),
    "tweedie": ("tweedie_nll", {"power": 1.3}, "real", "tweedie", {"tweedie_variance_power": 1.3}),
}


def dataset(X, y, w=None, start=None):
    return lgb.Dataset(X, label=y, weight=w, init_score=start, free_raw_data=False)


def splits(booster):
    """Which rows go where: feature and threshold of every node, and the rows of every leaf."""
    frame = booster.trees_to_dataframe()
    return frame[["tree_index", "node_depth", "split_feature", "threshold", "count"]]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", BUILT_IN)
def test_same_model_as_the_built_in_objective(name, weighted):
    """From 0, and then each from the built-in objective's own start."""
    loss, options, data, objective, params = BUILT_IN[name]
    X, y = DATA[data]()
    w = weights_for(y) if weighted else None
    ours = LightGBMObjective(getattr(fl, loss), **options)
    start = ours.initial_score(y, w)
    begin = np.tile(start, (len(y), 1)) if np.ndim(start) else np.full(len(y), start)
    if name == "positives":
        begin = np.zeros(len(y))  # LightGBM's start then leaves the weight out
        params = {**params, "boost_from_average": False}
    a = lgb.train({**TREES, **params, "objective": objective}, dataset(X, y, w), ROUNDS)
    b = lgb.train({**TREES, **params, "objective": ours}, dataset(X, y, w, begin), ROUNDS)
    assert_predictions_agree(
        b.predict(X, raw_score=True) + begin, a.predict(X, raw_score=True), "from its start"
    )

    params = {**TREES, **params, "boost_from_average": False}
    if name == "poisson":
        params["poisson_max_delta_step"] = 0.7
    a = lgb.train({**params, "objective": objective}, dataset(X, y, w), ROUNDS)
    b = lgb.train({**params, "objective": ours}, dataset(X, y, w), ROUNDS)
    assert_predictions_agree(b.predict(X, raw_score=True), a.predict(X, raw_score=True), "from 0")
    leaves = a.predict(X, pred_leaf=True, num_iteration=3)
    np.testing.assert_array_equal(b.predict(X, pred_leaf=True, num_iteration=3), leaves)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("tau", [0.1, 0.5, 0.85])
def test_quantile_splits_as_the_built_in_objective(tau, weighted):
    """It then replaces the leaf values, which no custom objective can: one tree is compared."""
    X, y = load("diabetes")
    w = weights_for(y) if weighted else None
    ours = LightGBMObjective(fl.quantile, tau=tau, right_derivative=True)
    start = ours.initial_score(y, w)
    params = {**TREES, "alpha": tau, "learning_rate": 1.0}
    a = lgb.train({**params, "objective": "quantile"}, dataset(X, y, w), 1)
    b = lgb.train({**params, "objective": ours}, dataset(X, y, w, np.full(len(y), start)), 1)
    leaves = a.predict(X, pred_leaf=True)
    np.testing.assert_array_equal(b.predict(X, pred_leaf=True), leaves)
    if not weighted:
        # The values it puts in are quantiles of what our leaves hold: nothing else differs.
        for leaf in np.unique(leaves):
            inside = leaves[:, 0] == leaf
            residual = LightGBMObjective(fl.quantile, tau=tau).initial_score(y[inside] - start)
            expected = a.predict(X[inside][:1])[0] - start
            assert residual == pytest.approx(expected, rel=1e-5, abs=1e-4)


@pytest.mark.parametrize("weighted", [False, True])
def test_absolute_error_splits_as_the_built_in_objective(weighted):
    """Its leaf values, too, are replaced: by medians."""
    X, y = load("diabetes")
    w = weights_for(y) if weighted else None
    ours = LightGBMObjective(fl.mae)
    begin = np.full(len(y), ours.initial_score(y, w))
    a = lgb.train({**TREES, "objective": "regression_l1"}, dataset(X, y, w), 1)
    b = lgb.train({**TREES, "objective": ours}, dataset(X, y, w, begin), 1)
    leaves = a.predict(X, pred_leaf=True)
    assert leaves.max() > 0, "no tree has grown"
    np.testing.assert_array_equal(b.predict(X, pred_leaf=True), leaves)


def test_hinge_learns_with_xgboosts_hessian():
    X, y = DATA["signs"]()
    ours = LightGBMObjective(fl.hinge, hessian="xgboost")
    model = lgb.train({**TREES, "objective": ours}, dataset(X, y), 40)
    assert np.mean(np.sign(model.predict(X)) == y) > 0.98


def test_quantile_learns():
    X, y = load("diabetes")
    ours = LightGBMObjective(fl.quantile, tau=0.8)
    start = np.full(len(y), ours.initial_score(y))
    params = {**TREES, "objective": ours, "learning_rate": 5.0}
    model = lgb.train(params, dataset(X, y, None, start), 100)
    learned = model.predict(X) + start
    assert fl.quantile(learned, y, tau=0.8) < 0.7 * fl.quantile(start, y, tau=0.8)
    assert np.mean(y <= learned) == pytest.approx(0.8, abs=0.1)


def test_focal_learns_where_its_hessian_is_negative():
    X, y = load("breast_cancer")
    ours = LightGBMObjective(fl.focal, alpha=0.5)
    assert ours(y, np.full(len(y), -6.0))[1].min() > 0
    model = lgb.train({**TREES, "objective": ours}, dataset(X, y), 60)
    assert np.mean((model.predict(X) > 0) == y) > 0.98


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("tau", [0.01, 0.3, 0.5, 0.9, 0.999])
def test_initial_quantile_is_that_of_the_built_in_objective(tau, weighted):
    y = load("diabetes")[1]
    for w in (weights_for(y), 40 * weights_for(y)) if weighted else (None,):
        start = LightGBMObjective(fl.quantile, tau=tau).initial_score(y, w)
        params = {"objective": "quantile", "alpha": tau}
        assert start == pytest.approx(built_in_start(params, y, w), rel=1e-5)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    "loss, objective",
    [("mae", "regression_l1"), ("gamma_nll", "gamma"), ("tweedie_nll", "tweedie")],
)
def test_initial_score_is_that_of_the_built_in_objective(loss, objective, weighted):
    y = load("diabetes")[1]
    w = weights_for(y) if weighted else None
    start = LightGBMObjective(getattr(fl, loss)).initial_score(y, w)
    assert start == pytest.approx(built_in_start({"objective": objective}, y, w), rel=1e-5)


def built_in_start(params, y, w):
    """The score of a model without a split."""
    X = np.arange(len(y))[:, None]
    params = {**TREES, **params, "min_data_in_leaf": len(y)}
    return lgb.train(params, dataset(X, y, w), 1).predict(X[:1], raw_score=True)[0]


def test_early_stopping_stops_where_the_built_in_objective_does():
    X, y = load("breast_cancer")
    ours = LightGBMObjective(fl.binary_cross_entropy_with_logits)

    def logloss(scores, data):
        labels = data.get_label()
        loss = fl.binary_cross_entropy_with_logits(np.asarray(scores), labels)
        return "ours", float(loss), False

    def fit(objective):
        return lgb.train(
            {**TREES, "objective": objective, "boost_from_average": False, "metric": "None"},
            dataset(X[::2], y[::2]), 300, [dataset(X[1::2], y[1::2])], ["valid"],
            feval=logloss if objective is ours else to_scores(logloss),
            callbacks=[lgb.early_stopping(5, verbose=False)],
        )  # fmt: skip

    def to_scores(metric):
        # To a built-in objective's metric LightGBM hands probabilities.
        return lambda p, data: metric(np.log(p / (1 - p)), data)

    theirs, mine = fit("binary"), fit(ours)
    assert mine.best_iteration == theirs.best_iteration < 290


class TestEstimators:
    @pytest.mark.parametrize("data", ["binary", "iris"])
    @pytest.mark.parametrize("weighted", [False, True])
    def test_classifier(self, data, weighted):
        X, y = DATA[data]()
        w = weights_for(y) if weighted else None
        loss = fl.cross_entropy if data == "iris" else fl.binary_cross_entropy_with_logits
        common = {**TREES, "n_estimators": ROUNDS, "boost_from_average": False}
        theirs = lgb.LGBMClassifier(**common).fit(X, y.astype(int), sample_weight=w)
        ours = clone(lgb.LGBMClassifier(**common, objective=LightGBMObjective(loss)))
        ours.fit(X, y.astype(int), sample_weight=w)
        assert_predictions_agree(ours.predict(X, raw_score=True), theirs.predict(X, raw_score=True))

    def test_regressor(self):
        X, y = load("diabetes")
        common = {**TREES, "n_estimators": ROUNDS, "boost_from_average": False}
        theirs = lgb.LGBMRegressor(**common).fit(X, y)
        ours = lgb.LGBMRegressor(**common, objective=LightGBMObjective(fl.mse)).fit(X, y)
        assert_predictions_agree(ours.predict(X), theirs.predict(X))
