"""What boosters and scikit-learn's users call: objectives beside NumPy's, metrics beside theirs.

An objective's time is that of the call that the library makes, with the labels as it keeps them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import pytest

import fastloss as fl
from bench import boosters
from bench.boosters import Array
from bench.results import Results
from fastloss.benchmark.measure import Timing, measure

N, C = 100_000, 10
ROWS = 10_000_000
SECONDS = 1.0

Call = Callable[[], object]


def softmax_scores() -> Array:
    return np.random.default_rng(0).normal(size=(N, C))


def labels(classes: int, rows: int = N) -> Array:
    return np.random.default_rng(1).integers(0, classes, rows).astype(np.float32)


def objectives() -> dict[str, tuple[Call, Call]]:
    """Ours and NumPy's, by library and loss."""
    z, y = softmax_scores(), labels(C)
    scores = np.random.default_rng(2).normal(size=N * C)
    binary = labels(2, N * C)
    c_order, f_order = z.astype(np.float32), np.asfortranarray(z)
    narrow = scores.astype(np.float32)
    softmax = fl.objectives.XGBoostObjective(fl.cross_entropy)
    softmax_f = fl.objectives.LightGBMObjective(fl.cross_entropy)
    logistic = fl.objectives.XGBoostObjective(fl.binary_cross_entropy_with_logits)
    return {
        f"XGBoost softmax {N} x {C}": (
            lambda: softmax(y, c_order), lambda: boosters.xgboost_softmax(y, c_order),
        ),
        f"LightGBM softmax {N} x {C}": (
            lambda: softmax_f(y, f_order), lambda: boosters.lightgbm_softmax(y, f_order),
        ),
        f"XGBoost logistic {N * C}": (
            lambda: logistic(binary, narrow), lambda: boosters.logistic(binary, narrow),
        ),
    }  # fmt: skip


@pytest.mark.parametrize("name", objectives())
def test_objective(
    name: str, results: Results, show: Callable[[str], None], pytestconfig: pytest.Config
) -> None:
    ours, numpys = objectives()[name]
    for mine, theirs in zip(ours(), numpys(), strict=True):  # type: ignore[call-overload]
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-6)
    seconds = pytestconfig.getoption("--seconds") or SECONDS
    report(name, "numpy", measure({"fastloss": ours, "numpy": numpys}, seconds), results, show)


def metric_cases() -> dict[str, tuple[str, tuple[Array, Array], dict[str, object]]]:
    """(metric, arrays, options) by name."""
    rng = np.random.default_rng(0)
    y, p = rng.integers(0, 2, ROWS), rng.random(ROWS)
    t, q = rng.normal(size=ROWS), rng.normal(size=ROWS)
    rows = ROWS // C
    classes, decisions = rng.integers(0, C, rows), rng.random((rows, C))
    probabilities = decisions / decisions.sum(1, keepdims=True)
    weights: dict[str, object] = {"sample_weight": p}
    return {
        "log_loss": ("log_loss", (y, p), {}),
        "log_loss weighted": ("log_loss", (y, p), weights),
        f"log_loss {C} classes": ("log_loss", (classes, probabilities), {}),
        "brier_score_loss": ("brier_score_loss", (y, p), {}),
        f"brier_score_loss {C} classes": ("brier_score_loss", (classes, probabilities), {}),
        "hinge_loss": ("hinge_loss", (2 * y - 1, q), {}),
        f"hinge_loss {C} classes": ("hinge_loss", (classes, decisions), {}),
        "mean_squared_error": ("mean_squared_error", (t, q), {}),
        "mean_squared_error weighted": ("mean_squared_error", (t, q), weights),
        "mean_pinball_loss": ("mean_pinball_loss", (t, q), {"alpha": 0.9}),
    }


METRICS = (
    "log_loss", "log_loss weighted", f"log_loss {C} classes",
    "brier_score_loss", f"brier_score_loss {C} classes",
    "hinge_loss", f"hinge_loss {C} classes",
    "mean_squared_error", "mean_squared_error weighted", "mean_pinball_loss",
)  # fmt: skip


@pytest.mark.parametrize("name", METRICS)
def test_metric(name: str, results: Results, show: Callable[[str], None]) -> None:
    sklearn_metrics = pytest.importorskip("sklearn.metrics")
    metric, arrays, options = metric_cases()[name]
    contestants: dict[str, Call] = {
        who: functools.partial(getattr(module, metric), *arrays, **options)
        for who, module in (("fastloss", fl.metrics), ("sklearn", sklearn_metrics))
    }
    values = [float(call()) for call in contestants.values()]  # type: ignore[arg-type]
    assert values[0] == pytest.approx(values[1], rel=1e-10)
    # Some of scikit-learn's take seconds: a few rounds are enough.
    report(name, "sklearn", measure(contestants, 0.1), results, show)


def report(
    name: str,
    peer: str,
    timings: dict[str, Timing],
    results: Results,
    show: Callable[[str], None],
) -> None:
    """Keep and show how many times as long the peer takes."""
    figures = {who: float(f"{timing.median * 1e3:.4g}") for who, timing in timings.items()}
    results.section("boosters")[name] = {"ms": figures}
    ratio = timings[peer].median / timings["fastloss"].median
    show(f"fastloss {figures['fastloss']} ms, {peer} {figures[peer]} ms ({ratio:.1f}x)")
