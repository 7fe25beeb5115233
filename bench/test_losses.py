"""Value and gradient beside the peers and beside the limit of the memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastloss as fl
from bench import limits, peers
from bench.measure import medians

CLASS_SHAPES = [
    (32, 10),
    (256, 1000),
    (4096, 1000),
    (65536, 10),
    (65536, 100),
    (2048, 32000),
    (512, 128256),
    (8, 21, 256, 256),
]
POINTWISE = ["mse", "binary_cross_entropy", "binary_cross_entropy_with_logits", "hinge"]
POINTWISE_SIZES = [1, 1000, 1_000_000, 10_000_000]


def agree(expected: tuple[Any, Any], given: tuple[Any, Any], name: str) -> None:
    """Check that a peer computes the same thing before it is timed."""
    np.testing.assert_allclose(float(given[0]), float(expected[0]), rtol=1e-5, err_msg=name)
    grad = np.asarray(given[1].detach() if hasattr(given[1], "detach") else given[1])
    scale = np.abs(expected[1]).max()
    np.testing.assert_allclose(grad, expected[1], rtol=0, atol=1e-5 * scale, err_msg=name)


def compare(
    benchmark: Any,
    record: Any,
    case: str,
    loss: str,
    predictions: np.ndarray,
    targets: np.ndarray,
    limit: Any,
    **options: Any,
) -> None:
    """Time value and gradient against every peer and the limit; record the ratios."""
    function = getattr(fl, loss)
    out = np.empty_like(predictions)

    def ours() -> Any:
        return function.value_and_grad(predictions, targets, out=out, **options)

    expected = ours()
    expected = (expected[0], expected[1].copy())
    contestants: dict[str, Any] = {
        "ours": ours,
        "forward": lambda: function(predictions, targets, **options),
        "without out": lambda: function.value_and_grad(predictions, targets, **options),
        "limit": limit(predictions, targets, out),
    }
    for name, maker in peers.available()[0].items():
        peer = maker(loss, predictions, targets)
        if peer is not None:
            agree(expected, peer(), name)
            contestants[name] = peer
    times = medians(contestants)
    row = {
        "case": case,
        "us": round(times["ours"] * 1e6, 1),
        "over limit": round(times["ours"] / times["limit"], 2),
        "forward us": round(times["forward"] * 1e6, 1),
        "no out us": round(times["without out"] * 1e6, 1),
    }
    for name in peers.MAKERS:
        if name in times:
            row[f"{name} x"] = round(times[name] / times["ours"], 1)
    record(row)
    benchmark.extra_info.update(row)
    benchmark.pedantic(ours, rounds=3, warmup_rounds=1)


def copy_of(predictions: np.ndarray, targets: np.ndarray, out: np.ndarray) -> Any:
    """A parallel copy of the predictions."""
    source, target = predictions.reshape(-1), out.copy().reshape(-1)
    return lambda: limits.copy(source, target)


def triad_of(predictions: np.ndarray, targets: np.ndarray, out: np.ndarray) -> Any:
    """A parallel triad over predictions, targets and gradient."""
    target = out.copy()
    return lambda: limits.triad(predictions, targets, target)


@pytest.mark.parametrize("shape", CLASS_SHAPES, ids=str)
def test_cross_entropy(benchmark: Any, record: Any, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=shape).astype(np.float32)
    targets = rng.integers(0, shape[1], shape[:1] + shape[2:])
    case = f"cross_entropy float32 {shape}"
    compare(benchmark, record, case, "cross_entropy", logits, targets, copy_of, axis=1)


@pytest.mark.parametrize("size", POINTWISE_SIZES)
@pytest.mark.parametrize("loss", POINTWISE)
def test_pointwise(benchmark: Any, record: Any, loss: str, size: int) -> None:
    rng = np.random.default_rng(0)
    predictions = rng.uniform(0.01, 0.99, size).astype(np.float32)
    targets = rng.integers(0, 2, size).astype(np.float32)
    if loss == "hinge":
        targets = 2 * targets - 1
    case = f"{loss} float32 ({size},)"
    compare(benchmark, record, case, loss, predictions, targets, triad_of)
