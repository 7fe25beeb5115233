"""What the libraries hand over and get back: layouts, shapes, weights, conventions, refusals."""

import copy
import math
import pickle

import numpy as np
import pytest

import fastloss as fl
from fastloss.objectives import (
    CatBoostObjective,
    LightGBMObjective,
    XGBoostObjective,
    initial_score,
)
from tests.helpers import Unchanged, each

N, C = 40, 4
OBJECTIVES = (XGBoostObjective, LightGBMObjective, CatBoostObjective)
each_objective = pytest.mark.parametrize("make", OBJECTIVES, ids=lambda o: o.__name__)


class Data:
    """What an objective sees of a DMatrix or a Dataset."""

    def __init__(self, label, weight=None):
        self.label, self.weight = label, weight

    def get_label(self):
        return self.label

    def get_weight(self):
        return self.weight


def softmax(z):
    e = np.exp(z - z.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


@pytest.fixture
def classes(rng):
    """(scores, labels as float32, weights)."""
    labels = rng.integers(0, C, N).astype(np.float32)
    return rng.normal(size=(N, C)), labels, rng.uniform(0.5, 2, N).astype(np.float32)


@pytest.mark.parametrize("weighted", [False, True])
class TestConventions:
    """By the formulas of the libraries' sources, in NumPy."""

    def both(self, make, loss, z, y, w, hessian, **options):
        weight = w if w is not None else np.ones(len(y))
        grad, hess = make(loss, hessian=hessian, **options)(y, z, w)
        shape = weight[:, None] if z.ndim == 2 else weight
        return grad / shape, hess / shape

    @pytest.mark.parametrize("make", [XGBoostObjective, LightGBMObjective])
    def test_softmax(self, classes, weighted, make):
        z, y, w = classes
        p = softmax(z)
        expected = {"exact": 1.0, "xgboost": 2.0, "lightgbm": C / (C - 1)}
        for hessian, factor in expected.items():
            grad, hess = self.both(make, fl.cross_entropy, z, y, w if weighted else None, hessian)
            np.testing.assert_allclose(grad, p - np.eye(C)[y.astype(int)], atol=1e-13)
            np.testing.assert_allclose(hess, factor * p * (1 - p), rtol=1e-12)

    def test_losses_of_one_score(self, rng, weighted):
        z, y = rng.normal(0, 2, N), rng.integers(0, 2, N).astype(np.float32)
        w = rng.uniform(0.5, 2, N) if weighted else None
        p = sigmoid(z)
        logistic = fl.binary_cross_entropy_with_logits
        table = [
            (logistic, {}, p - y, dict.fromkeys(("exact", "xgboost", "lightgbm"), p * (1 - p))),
            (fl.mse, {}, z - y, {"exact": 1.0, "xgboost": 1.0, "lightgbm": 1.0}),
            (fl.mse, {"half": False}, 2 * (z - y), {"exact": 2.0, "lightgbm": 2.0}),
            (
                fl.huber,
                {"delta": 0.7},
                np.clip(z - y, -0.7, 0.7),
                {
                    "exact": abs(z - y) <= 0.7,
                    "xgboost": np.maximum(abs(z - y) <= 0.7, 1e-16),
                    "lightgbm": 1.0,
                },
            ),
            (
                fl.quantile,
                {"tau": 0.2},
                np.where(z >= y, 0.8, -0.2),
                {"exact": 0.0, "xgboost": 1.0, "lightgbm": 1.0},
            ),
            (
                fl.mae,
                {},
                np.sign(z - y),
                {"exact": 0.0, "xgboost": 1.0, "lightgbm": 1.0},
            ),
            (
                fl.poisson_nll,
                {},
                np.exp(z) - y,
                {
                    "exact": np.exp(z),
                    "xgboost": np.exp(z + 0.7),
                    "lightgbm": np.exp(z + 0.7),
                },
            ),
        ]
        for loss, options, expected_grad, hessians in table:
            for hessian, expected in hessians.items():
                grad, hess = self.both(XGBoostObjective, loss, z, y, w, hessian, **options)
                np.testing.assert_allclose(grad, expected_grad, rtol=1e-10, atol=1e-10)
                np.testing.assert_allclose(
                    hess, np.broadcast_to(expected, N), rtol=1e-10, atol=1e-20, err_msg=loss.name
                )


def test_hessians_stay_above_xgboosts_floor():
    z = np.array([[200.0, 0.0], [0.0, 0.0]], np.float32)
    hess = XGBoostObjective(fl.cross_entropy)(np.array([0.0, 1.0]), z)[1]
    assert hess[0].tolist() == [np.float32(1e-16)] * 2 and hess[1].tolist() == [0.5, 0.5]
    scores = np.array([100.0, -100.0], np.float32)
    weights = np.array([3.0, 0.0], np.float32)
    hess = XGBoostObjective(fl.binary_cross_entropy_with_logits)(np.ones(2), scores, weights)[1]
    np.testing.assert_allclose(hess, [3e-16, 0.0], rtol=1e-6)


def test_hinges_hessian_is_xgboosts():
    """The weight inside the margin, the least normal float32 outside, whatever the weight."""
    scores, labels = np.array([0.5, 1.0, -3.0, -0.5], np.float32), np.array([1.0, 1.0, -1.0, 1.0])
    weights = np.array([2.0, 3.0, 4.0, 0.5], np.float32)
    tiny = float(np.finfo(np.float32).tiny)
    grad, hess = XGBoostObjective(fl.hinge)(labels, scores, weights)
    assert grad.tolist() == [-2.0, 0.0, 0.0, -0.5] and hess.tolist() == [2.0, tiny, tiny, 0.5]
    assert XGBoostObjective(fl.hinge)(labels, scores)[1].tolist() == [1.0, tiny, tiny, 1.0]
    # XGBoost has no squared one: it keeps its own curvature.
    squared = XGBoostObjective(fl.hinge, squared=True)(labels, scores)[1]
    np.testing.assert_allclose(squared, [2.0, 1e-16, 1e-16, 2.0])


class TestLayouts:
    def test_xgboost(self, classes):
        z, y, w = classes
        z = z.astype(np.float32)
        objective = XGBoostObjective(fl.cross_entropy)
        with Unchanged(z, y, w):
            native = objective(z, Data(y, w))
            estimator = objective(y, z, sample_weight=w)
        for grad, other in zip(native, estimator, strict=True):
            np.testing.assert_array_equal(grad, other)
            assert grad.dtype == np.float32 and grad.shape == z.shape and grad.flags.c_contiguous
        empty = objective(z, Data(y, np.empty(0, np.float32)))  # XGBoost's "no weights"
        np.testing.assert_array_equal(empty[0], objective(y, z)[0])

    def test_lightgbm(self, classes):
        z, y, w = classes
        z = np.asfortranarray(z)
        objective = LightGBMObjective(fl.cross_entropy)
        with Unchanged(z, y, w):
            native, estimator = objective(z, Data(y, w)), objective(y, z, w)
        for grad, other in zip(native, estimator, strict=True):
            np.testing.assert_array_equal(grad, other)
            assert grad.dtype == np.float64 and grad.shape == z.shape and grad.flags.f_contiguous
            assert np.shares_memory(grad, grad.ravel(order="F")), "LightGBM would copy it"

    @pytest.mark.parametrize("make", [XGBoostObjective, LightGBMObjective])
    def test_scores_are_not_copied(self, classes, make, monkeypatch):
        z, y, w = classes
        z = z.astype(np.float32) if make is XGBoostObjective else np.asfortranarray(z)
        seen = []
        loss = copy.copy(fl.cross_entropy)
        real = fl.cross_entropy.grad_and_hess
        loss.grad_and_hess = lambda *a, **k: seen.append((a, k)) or real(*a, **k)
        objective = make(fl.cross_entropy)
        monkeypatch.setattr(objective, "loss", loss)
        objective(z, Data(y, w))
        (args, options) = seen[0]
        assert args[0] is z and np.shares_memory(options["sample_weight"], w)

    def test_read_only_and_strided(self, rng):
        z, y = rng.normal(size=2 * N)[::2], rng.normal(size=2 * N)[::2]
        z.flags.writeable = y.flags.writeable = False
        grad, hess = LightGBMObjective(fl.mse)(y, z)
        np.testing.assert_array_equal(grad, z - y)
        np.testing.assert_array_equal(hess, np.ones(N))


def test_options_are_the_losses_own(classes):
    z, y, w = classes
    options = {"label_smoothing": 0.2, "class_weight": np.array([1.0, 2.0, 0.5, 1.0])}
    ours = LightGBMObjective(fl.cross_entropy, hessian="exact", **options)(y, z, w)
    expected = fl.cross_entropy.grad_and_hess(
        z, y.astype(int), sample_weight=w, reduction="sum", **options
    )
    for actual, wanted in zip(ours, expected, strict=True):
        np.testing.assert_array_equal(actual, wanted)


def test_ignored_labels(classes):
    z, y, _ = classes
    y = np.where(np.arange(N) % 5 == 0, -100.0, y)
    grad, hess = XGBoostObjective(fl.cross_entropy)(y, z)
    assert not grad[::5].any() and hess[::5].max() <= 1e-16 and grad[1::5].any()


@each_objective
def test_an_objective_is_a_value(make):
    objective = make(fl.cross_entropy, label_smoothing=0.1)
    assert copy.deepcopy(objective) is objective
    again = pickle.loads(pickle.dumps(objective))
    assert repr(again) == repr(objective) and "label_smoothing=0.1" in repr(objective)
    assert again.loss is fl.cross_entropy


class TestRefusals:
    @each_objective
    def test_of_what_it_is_made(self, make):
        for error, words, args, options in [
            (TypeError, "fastloss loss", (np.mean,), {}),
            (TypeError, "fastloss loss", ("cross_entropy",), {}),
            (TypeError, "has no option 'smoothing'", (fl.cross_entropy,), {"smoothing": 0.1}),
            (TypeError, "has no option 'reduction'", (fl.mse,), {"reduction": "mean"}),
            (TypeError, "has no option 'sample_weight'", (fl.mse,), {"sample_weight": 1.0}),
            (TypeError, "axis", (fl.cross_entropy,), {"axis": 0}),
            (ValueError, "label_smoothing", (fl.cross_entropy,), {"label_smoothing": 2.0}),
            (ValueError, "'exact', 'xgboost', 'lightgbm'", (fl.mse,), {"hessian": "newton"}),
            (ValueError, "hessian must be one of", (fl.mse,), {"hessian": None}),
            (TypeError, "without a hessian", (no_hessian(),), {}),
            (TypeError, "a loss of whole regions", (fl.dice,), {}),
            (TypeError, "triplet is a loss of embeddings", (fl.triplet,), {}),
        ]:
            with pytest.raises(error, match=words):
                make(*args, **options)

    @pytest.mark.parametrize("make", [XGBoostObjective, LightGBMObjective])
    def test_of_what_does_not_fit(self, make, classes):
        z, y, w = classes
        library = make.__name__.removesuffix("Objective")
        softmax, squared = make(fl.cross_entropy), make(fl.mse)
        for error, words, call in [
            (ValueError, f"{library}: .*shape \\(N, C\\).*num_class", lambda: softmax(y, z[:, 0])),
            (ValueError, "39 labels for 40 rows", lambda: softmax(y[:-1], z)),
            (ValueError, "39 weights for 40 rows", lambda: softmax(y, z, w[:-1])),
            (ValueError, "position 3 is 1.5.*class index", lambda: softmax(at(y, 3, 1.5), z)),
            (ValueError, "position 0 is nan", lambda: softmax(at(y, 0, np.nan), z)),
            (ValueError, "position 7 is inf", lambda: softmax(at(y, 7, np.inf), z)),
            (IndexError, "position \\(5,\\) is 4, expected 0 <= index < C = 4",
             lambda: softmax(at(y, 5, 4.0), z)),
            (ValueError, "39 labels and scores of shape", lambda: squared(y[:-1], z[:, 0])),
            (ValueError, "40 labels and scores of shape \\(40, 4\\)", lambda: squared(y, z)),
            (ValueError, "scores must be", lambda: squared(y, z[None])),
            (TypeError, "floating dtype", lambda: squared(y, y.astype(int))),
        ]:  # fmt: skip
            with pytest.raises(error, match=words):
                call()

    def test_of_starts(self):
        for words, args, options in [
            ("no labels", (fl.mse, []), {"library": "xgboost"}),
            ("library must be", (fl.mse, [1.0]), {"library": "h2o"}),
            ("2 weights for 1 rows", (fl.mse, [1.0], [1.0, 2.0]), {"library": "xgboost"}),
            ("class index", (fl.cross_entropy, [0.5]), {"library": "lightgbm"}),
            ("tau", (fl.quantile, [0.5]), {"library": "lightgbm", "tau": 2.0}),
        ]:
            with pytest.raises(ValueError, match=words):
                initial_score(*args, **options)

    @each("weight", (np.nan, np.inf, -1.0))
    def test_of_weights(self, weight):
        words = f"weight at position 1 is {weight}, expected a finite number of at least 0"
        with pytest.raises(ValueError, match=words):
            initial_score(fl.mse, [1.0, 2.0], [1.0, weight], library="xgboost")

    @each("library", ("xgboost", "lightgbm", ""))
    def test_of_losses_and_options_as_an_objective_does(self, library):
        for words, loss, options in [
            ("fastloss loss", "mse", {}),
            ("has no option 'tua'", fl.quantile, {"tua": 0.9}),
            ("axis", fl.cross_entropy, {"axis": 0}),
            ("a loss of whole regions", fl.dice, {}),
            ("triplet is a loss of embeddings", fl.triplet, {}),
        ]:
            with pytest.raises(TypeError, match=words):
                initial_score(loss, [1.0, 0.0], library=library, **options)


def at(values, position, value):
    changed = values.copy()
    changed[position] = value
    return changed


def no_hessian():
    return fl.pointwise_loss("bare", lambda p, t: p * t, lambda p, t: t)


def test_a_constant_hessian_needs_none_of_the_losses(rng, monkeypatch):
    import fastloss.loss

    bare = fl.pointwise_loss("quantile", lambda p, t: p - t, lambda p, t: 1.0)
    monkeypatch.setitem(fastloss.loss._LOSSES, "quantile", bare)
    assert LightGBMObjective(bare)(np.zeros(3), np.ones(3))[1].tolist() == [1.0] * 3


def test_a_users_loss_may_share_a_name():
    """The table of conventions is of the package's losses."""

    def hess(p, t):
        return 5.0

    mine = fl.pointwise_loss("huber", lambda p, t: p, lambda p, t: 1.0, hess)
    assert LightGBMObjective(mine)(np.zeros(2), np.ones(2))[1].tolist() == [5.0, 5.0]
    assert initial_score(mine, [3.0], library="lightgbm") == 0.0


class TestStarts:
    """The edges; the rest is compared with the libraries themselves."""

    def test_absent_classes(self):
        y = np.array([0.0, 2.0, 2.0])
        start = initial_score(fl.cross_entropy, y, library="lightgbm", classes=4)
        np.testing.assert_allclose(start, np.log([1 / 3, 1e-15, 2 / 3, 1e-15]))
        centred = initial_score(fl.cross_entropy, y, library="xgboost", classes=4)
        assert centred.shape == (4,) and abs(centred.sum()) < 1e-12

    @each("library", ("xgboost", "lightgbm"))
    def test_ignored_labels_have_no_frequency(self, library):
        y, w = np.array([0.0, 2.0, -100.0, 2.0]), np.array([1.0, 2.0, 5.0, 3.0])
        for ignored, options in (
            (-100.0, {}),
            (-1.0, {"ignore_index": -1}),
            (1.0, {"ignore_index": 1}),
        ):
            objective = {"xgboost": XGBoostObjective, "lightgbm": LightGBMObjective}[library](
                fl.cross_entropy, **options
            )
            expected = objective.initial_score(y[[0, 1, 3]], w[[0, 1, 3]])
            given = np.where(y == -100.0, ignored, y)
            np.testing.assert_array_equal(objective.initial_score(given, w), expected)
        with pytest.raises(ValueError, match="no labels"):
            initial_score(fl.cross_entropy, [-100, -100], library=library)

    @each("library", ("xgboost", "lightgbm"))
    def test_one_label_only(self, library):
        logistic = fl.binary_cross_entropy_with_logits
        assert math.isfinite(initial_score(logistic, np.ones(3), library=library))
        assert math.isfinite(initial_score(logistic, np.zeros(3), library=library))
        for loss in (fl.poisson_nll, fl.gamma_nll, fl.tweedie_nll):
            assert initial_score(loss, np.zeros(3), library=library) == -math.inf
        assert initial_score(fl.quantile, [2.0], [3.0], library=library, tau=0.9) == 2.0

    def test_losses_that_the_library_does_not_have_start_at_0(self):
        assert initial_score(fl.focal, [1.0, 0.0, 1.0], library="xgboost") == 0.0
        assert initial_score(fl.huber, [1.0, 5.0], library="xgboost") == 0.0
        assert initial_score(fl.huber, [1.0, 5.0], library="lightgbm") == 3.0
        assert initial_score(fl.hinge, [1.0, 1.0], library="lightgbm") == 0.0
        for loss in (fl.poisson_nll, fl.gamma_nll):
            assert initial_score(loss, [3.0], library="lightgbm", log_input=False) == 0.0
        assert CatBoostObjective(fl.mse).initial_score([1.0, 5.0]) == 0.0


@pytest.mark.parametrize("library", ["xgboost", "lightgbm"])
def test_starting_scores_that_there_are_not(library):
    labels = np.array([0, 1, 1])
    for loss in (fl.mse, fl.binary_cross_entropy_with_logits, fl.cross_entropy, fl.poisson_nll):
        with pytest.raises(ValueError, match="weights are all 0"):
            initial_score(loss, labels, np.zeros(3), library=library)
    with pytest.raises(ValueError, match="least label is -1"):
        initial_score(fl.cross_entropy, labels - 1, library=library)
