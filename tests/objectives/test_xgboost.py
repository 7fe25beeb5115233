"""Models of real XGBoost, trained with our objectives and with its own."""

import json
import re

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

import fastloss as fl
from fastloss.objectives import XGBoostObjective
from tests.objectives.data import DATA, ROUNDS, assert_predictions_agree, load, weights_for

xgb = pytest.importorskip("xgboost")

TREES = {"max_depth": 3, "eta": 0.3, "nthread": 2, "seed": 0}

LOGISTIC = "binary_cross_entropy_with_logits"

#: (loss, its options, data, XGBoost's objective, its parameters)
BUILT_IN = {
    "softmax": ("cross_entropy", {}, "classes", "multi:softprob", {"num_class": 10}),
    "logistic": (LOGISTIC, {}, "binary", "binary:logistic", {}),
    "positives": (
        LOGISTIC,
        {"pos_weight": 3.0},
        "binary",
        "binary:logistic",
        {"scale_pos_weight": 3},
    ),
    "squared": ("mse", {}, "real", "reg:squarederror", {}),
    "poisson": ("poisson_nll", {}, "counts", "count:poisson", {"max_delta_step": 0.7}),
    "gamma": ("gamma_nll", {}, "real", "reg:gamma", {}),
    "tweedie": (
        "tweedie_nll",
        {"power": 1.3},
        "real",
        "reg:tweedie",
        {"tweedie_variance_power": 1.3},
    ),
    "squared log": ("msle", {"half": True}, "counts", "reg:squaredlogerror", {}),
    "hinge": ("hinge", {}, "signs", "binary:hinge", {}),
}

#: Those whose start is compared: the two left out start elsewhere in each XGBoost.
STARTS = {name: case for name, case in BUILT_IN.items() if name not in ("squared log", "hinge")} | {
    "quantile": ("quantile", {"tau": 0.3}, "real", "reg:quantileerror", {"quantile_alpha": 0.3}),
    "absolute": ("mae", {}, "real", "reg:absoluteerror", {}),
}

#: Those whose base score is the exponential of a score.
LOGARITHMS = ("poisson", "gamma", "tweedie")

#: From 3.3 on quantile and absolute errors are bounded by parabolas.
BOUNDS_ERRORS = tuple(map(int, xgb.__version__.split(".")[:2])) >= (3, 3)

#: Those of the parameters that the booster needs, whatever the objective.
GENERAL = {"num_class", "max_delta_step"}


def splits(booster, tree=0):
    """Which rows go where: feature and threshold of every node of a tree."""
    frame = [json.loads(dump) for dump in booster.get_dump(dump_format="json")][tree]

    def walk(node):
        if "leaf" in node:
            return None
        return node["split"], node["split_condition"], [walk(child) for child in node["children"]]

    return walk(frame)


def base_score(booster):
    """The scores that a model starts from, as XGBoost's own configuration has them."""
    found = json.loads(booster.save_config())["learner"]["learner_model_param"]["base_score"]
    return np.array(json.loads(found), np.float64)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", BUILT_IN)
def test_same_model_as_the_built_in_objective(name, weighted):
    loss, options, data, objective, params = BUILT_IN[name]
    needed = {key: params[key] for key in GENERAL & set(params)}
    X, y = DATA[data]()
    w = weights_for(y) if weighted else None
    train = xgb.DMatrix(X, label=y, weight=w)
    # XGBoost's hinge takes labels of 0 and 1.
    built_in_train = xgb.DMatrix(X, label=np.maximum(y, 0), weight=w) if name == "hinge" else train
    base = 100.0 if name in LOGARITHMS and data == "real" else 1.0 if name in LOGARITHMS else 0.5
    theirs = xgb.train(
        {**TREES, **params, "base_score": base, "objective": objective}, built_in_train, ROUNDS
    )
    links = dict.fromkeys(LOGARITHMS, np.log(base)) | {"logistic": 0.0, "positives": 0.0}
    margin = links.get(name, base)  # what base_score is as a score
    ours = xgb.train(
        {**TREES, **needed, "base_score": margin}, train, ROUNDS,
        obj=XGBoostObjective(getattr(fl, loss), **options),
    )  # fmt: skip
    assert_predictions_agree(
        ours.predict(train, output_margin=True), theirs.predict(train, output_margin=True)
    )
    assert splits(ours) is not None, "no tree has grown"
    assert [splits(ours, k) for k in range(3)] == [splits(theirs, k) for k in range(3)]


def test_squared_error_grows_the_same_trees_to_the_last_bit():
    X, y = load("diabetes")
    train = xgb.DMatrix(X, label=y)
    params = {**TREES, "base_score": 100.0}
    theirs = xgb.train(params, train, ROUNDS)
    ours = xgb.train(params, train, ROUNDS, obj=XGBoostObjective(fl.mse))
    assert ours.get_dump(with_stats=True) == theirs.get_dump(with_stats=True)


def test_squared_log_error_has_xgboosts_floor():
    """Scores far above all labels, where the second derivative is negative."""
    X, y = DATA["counts"]()
    train = xgb.DMatrix(X, label=y, weight=weights_for(y))
    params = {**TREES, "base_score": 100.0, "min_child_weight": 0.0, "lambda": 0.0}
    theirs = xgb.train({**params, "objective": "reg:squaredlogerror"}, train, 1)
    ours = xgb.train(params, train, 1, obj=XGBoostObjective(fl.msle, half=True))
    assert splits(ours) == splits(theirs)
    sums, expected = (
        np.array(re.findall(r"cover=([\d.e+-]+)", booster.get_dump(with_stats=True)[0]), float)
        for booster in (ours, theirs)
    )
    assert len(expected) > 1 and expected.max() < 1e-3, "the floor decides nothing"
    np.testing.assert_allclose(sums, expected, rtol=1e-3)


@pytest.mark.skipif(BOUNDS_ERRORS, reason="this XGBoost bounds the loss by parabolas")
@pytest.mark.parametrize("weighted", [False, True])
def test_absolute_error_splits_as_the_built_in_objective(weighted):
    """It then replaces the leaf values, which no custom objective can: one tree is compared."""
    X, y = load("diabetes")
    train = xgb.DMatrix(X, label=y, weight=weights_for(y) if weighted else None)
    params = {**TREES, "base_score": 100.0}
    theirs = xgb.train({**params, "objective": "reg:absoluteerror"}, train, 1)
    ours = xgb.train(params, train, 1, obj=XGBoostObjective(fl.mae))
    assert splits(ours) == splits(theirs) != None  # noqa: E711


def test_absolute_error_learns():
    X, y = load("diabetes")
    train = xgb.DMatrix(X, label=y)
    start = float(np.median(y))
    params = {**TREES, "eta": 5.0, "base_score": start}
    model = xgb.train(params, train, 100, obj=XGBoostObjective(fl.mae))
    learned = model.predict(train).astype(float)
    assert fl.mae(learned, y) < 0.7 * fl.mae(np.full(len(y), start), y)


@pytest.mark.parametrize("tau", [0.3, 0.9])
def test_quantile_splits_as_the_built_in_objective(tau):
    """It then replaces the leaf values, which no custom objective can: one tree is compared."""
    X, y = load("diabetes")
    train = xgb.DMatrix(X, label=y)
    params = {**TREES, "base_score": 100.0}
    theirs = xgb.train(
        {**params, "objective": "reg:quantileerror", "quantile_alpha": tau}, train, 1
    )
    ours = xgb.train(
        params, train, 1, obj=XGBoostObjective(fl.quantile, tau=tau, right_derivative=True)
    )
    if not BOUNDS_ERRORS:
        assert splits(ours) == splits(theirs)
    assert splits(ours) is not None


def test_quantile_learns():
    X, y = load("diabetes")
    train = xgb.DMatrix(X, label=y)
    objective = XGBoostObjective(fl.quantile, tau=0.8)
    params = {**TREES, "eta": 5.0, "base_score": objective.initial_score(y)}
    model = xgb.train(params, train, 100, obj=objective)
    start, learned = np.full(len(y), params["base_score"]), model.predict(train).astype(float)
    assert fl.quantile(learned, y, tau=0.8) < 0.7 * fl.quantile(start, y, tau=0.8)
    assert np.mean(y <= learned) == pytest.approx(0.8, abs=0.1)


@pytest.mark.parametrize("hessian", ["xgboost", "exact"])
def test_huber_has_no_built_in_and_learns(hessian):
    X, y = load("diabetes")
    train = xgb.DMatrix(X, label=y)
    objective = XGBoostObjective(fl.huber, delta=100.0, hessian=hessian)
    model = xgb.train({**TREES, "base_score": 150.0}, train, 60, obj=objective)
    start = fl.huber(np.full(len(y), 150.0), y, delta=100.0)
    assert fl.huber(model.predict(train).astype(float), y, delta=100.0) < 0.4 * start


def test_focal_learns_where_its_hessian_is_negative():
    X, y = load("breast_cancer")
    train = xgb.DMatrix(X, label=y)
    hess = fl.focal.grad_and_hess(np.full(len(y), -6.0), y, reduction="sum")[1]
    assert hess.min() < 0, "no negative hessian, nothing to test"
    objective = XGBoostObjective(fl.focal, alpha=0.5)
    assert objective(y, np.full(len(y), -6.0, np.float32))[1].min() > 0
    model = xgb.train({**TREES, "base_score": 0.0}, train, 40, obj=objective)
    assert np.mean((model.predict(train) > 0) == y) > 0.98


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", STARTS)
def test_initial_score_is_that_of_the_built_in_objective(name, weighted):
    loss, options, data, objective, params = STARTS[name]
    if "scale_pos_weight" in params:
        return
    if name == "absolute" and BOUNDS_ERRORS:
        pytest.skip("this XGBoost bounds the loss by parabolas")
    X, y = DATA[data]()
    w = weights_for(y) if weighted else None
    model = xgb.train({**TREES, **params, "objective": objective}, xgb.DMatrix(X, y, weight=w), 1)
    start = XGBoostObjective(getattr(fl, loss), **options).initial_score(y, w)
    theirs = base_score(model)
    if name == "logistic":
        theirs = np.log(theirs / (1 - theirs))
    if name in LOGARITHMS:
        theirs = np.log(theirs)
    if np.ndim(start) and theirs.size == 1:
        pytest.skip("this XGBoost starts all classes alike; 3.1 and newer do not")
    np.testing.assert_allclose(np.ravel(start), np.ravel(theirs), rtol=2e-6, atol=2e-6)


def test_initial_scores_give_the_model_that_the_built_in_objective_starts_itself():
    X, y = load("digits")
    objective = XGBoostObjective(fl.cross_entropy)
    margin = np.tile(objective.initial_score(y), (len(y), 1))
    plain, started = xgb.DMatrix(X, label=y), xgb.DMatrix(X, label=y, base_margin=margin)
    params = {**TREES, "num_class": 10}
    theirs = xgb.train({**params, "objective": "multi:softprob"}, plain, ROUNDS)
    if base_score(theirs).size == 1:
        pytest.skip("this XGBoost starts all classes alike; 3.1 and newer do not")
    ours = xgb.train(params, started, ROUNDS, obj=objective)
    assert_predictions_agree(
        ours.predict(started, output_margin=True), theirs.predict(plain, output_margin=True)
    )


def test_early_stopping_stops_where_the_built_in_objective_does():
    X, y = load("breast_cancer")
    train, valid = xgb.DMatrix(X[::2], label=y[::2]), xgb.DMatrix(X[1::2], label=y[1::2])
    params = {**TREES, "objective": "binary:logistic", "base_score": 0.5, "eval_metric": "logloss"}

    def fit(**how):
        return xgb.train(
            params, train, 200, evals=[(valid, "valid")], early_stopping_rounds=5,
            verbose_eval=False, **how,
        )  # fmt: skip

    theirs, ours = fit(), fit(obj=XGBoostObjective(fl.binary_cross_entropy_with_logits))
    assert ours.best_iteration == theirs.best_iteration < 190
    assert ours.best_score == pytest.approx(theirs.best_score, rel=1e-6)


def test_soft_labels_are_label_smoothing():
    X, y = load("iris")
    labels = y.astype(int)
    params = {**TREES, "num_class": 3, "base_score": 0.0}
    smooth = 0.9 * np.eye(3)[labels] + 0.1 / 3
    hard = xgb.DMatrix(X, label=y)
    soft = xgb.DMatrix(X, label=smooth)
    by_option = xgb.train(
        params, hard, 5, obj=XGBoostObjective(fl.cross_entropy, label_smoothing=0.1)
    )
    scores = by_option.predict(hard, output_margin=True)
    a = XGBoostObjective(fl.cross_entropy, label_smoothing=0.1)(scores, hard)
    b = XGBoostObjective(fl.cross_entropy)(scores, soft)
    np.testing.assert_allclose(b[0], a[0], atol=1e-6)
    np.testing.assert_allclose(b[1], a[1], atol=1e-6)


def test_soft_labels_are_targets():
    """With num_class XGBoost refuses labels (N, C); without, their columns say how many."""
    X, y = load("iris")
    soft = xgb.DMatrix(X, label=0.9 * np.eye(3)[y.astype(int)] + 0.1 / 3)
    objective = XGBoostObjective(fl.cross_entropy)
    params = {**TREES, "base_score": 0.0}
    counted, named = (
        xgb.train({**params, **classes}, soft, 5, obj=objective)
        for classes in ({}, {"num_target": 3})
    )
    assert np.mean(counted.predict(soft).argmax(1) == y) > 0.95
    assert counted.get_dump() == named.get_dump()
    with pytest.raises(xgb.core.XGBoostError, match="multioutput"):
        xgb.train({**params, "num_class": 3}, soft, 5, obj=objective)


def test_several_targets():
    X, y = load("diabetes")
    both = np.stack([y, -2 * y], 1)
    train = xgb.DMatrix(X, label=both, weight=weights_for(y))
    params = {**TREES, "base_score": 0.0}
    theirs = xgb.train({**params, "objective": "reg:squarederror"}, train, 5)
    ours = xgb.train({**params, "num_target": 2}, train, 5, obj=XGBoostObjective(fl.mse))
    assert_predictions_agree(ours.predict(train), theirs.predict(train))


class TestEstimators:
    @pytest.mark.parametrize("data", ["binary", "iris"])
    @pytest.mark.parametrize("weighted", [False, True])
    def test_classifier(self, data, weighted):
        X, y = DATA[data]()
        w = weights_for(y) if weighted else None
        loss = fl.cross_entropy if data == "iris" else fl.binary_cross_entropy_with_logits
        common = {"n_estimators": ROUNDS, "max_depth": 3, "base_score": 0.5, "n_jobs": 2}
        theirs = xgb.XGBClassifier(**common).fit(X, y.astype(int), sample_weight=w)
        ours = xgb.XGBClassifier(**common, objective=XGBoostObjective(loss))
        ours.fit(X, y.astype(int), sample_weight=w)
        np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
        assert_predictions_agree(
            ours.predict(X, output_margin=True), theirs.predict(X, output_margin=True)
        )

    def test_regressor(self):
        X, y = load("diabetes")
        common = {"n_estimators": ROUNDS, "max_depth": 3, "base_score": 100.0, "n_jobs": 2}
        theirs = xgb.XGBRegressor(**common).fit(X, y)
        ours = xgb.XGBRegressor(**common, objective=XGBoostObjective(fl.mse)).fit(X, y)
        np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))

    def test_clone_and_grid_search_with_a_loss_of_ones_own(self):
        def value(p, t):
            return (p - t) ** 4

        def grad(p, t):
            return 4 * (p - t) ** 3

        def hess(p, t):
            return 12 * (p - t) ** 2

        X, y = load("diabetes")
        objective = XGBoostObjective(fl.pointwise_loss("quartic", value, grad, hess))
        model = xgb.XGBRegressor(n_estimators=5, base_score=0.0, objective=objective, n_jobs=1)
        assert clone(model).objective is objective
        search = GridSearchCV(model, {"n_estimators": [1, 20]}, cv=2).fit(X, y / 100)
        assert search.best_params_ == {"n_estimators": 20}
