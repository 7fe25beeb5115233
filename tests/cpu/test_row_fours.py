"""Losses over four classes in rows: beside the tiles that other layouts go through."""

import numpy as np
import pytest

from tests.catalogue import BY_NAME
from tests.checks import check
from tests.helpers import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, assert_same_bits, each

CASES = [BY_NAME[f"{name}-boxes-plain"] for name in ("giou", "ciou")]
#: Less than a vector, whole vectors, a rest, and around the examples that are weighed at a time.
COUNTS = (1, 7, 16, 50, 255, 256, 257, 9000)


@each("dtype", [FLOAT16, BFLOAT16, FLOAT32, FLOAT64])
@each("case", CASES)
def test_same_as_in_tiles(case, dtype):
    """Also of columns of a larger array, between which there are gaps."""
    for count in COUNTS:
        predictions, targets = case.draw((count, 4), dtype)
        wide = np.zeros((count, 7), dtype)
        wide[:, 2:6] = predictions
        results = [
            case.function.value_and_grad(p, targets, reduction="none")
            for p in (predictions, np.asfortranarray(predictions), wide[:, 2:6])
        ]
        for loss, grad in results[1:]:
            np.testing.assert_allclose(loss, results[0][0], rtol=2e-6, atol=1e-6)
            tolerance = max(4e-6, float(np.finfo(np.float16).eps) * (np.dtype(dtype).itemsize < 4))
            np.testing.assert_allclose(
                np.asarray(grad, FLOAT64), np.asarray(results[0][1], FLOAT64), tolerance, tolerance
            )


@each("case", CASES)
def test_place_does_not_matter(case):
    """What is left of a vector, or of the examples taken together, gives the same bits."""
    predictions, targets = case.draw((600, 4), FLOAT32)
    loss, grad = case.function.value_and_grad(predictions, targets, reduction="none")
    for first in (1, 7, 300, 599):
        ours, out = case.function.value_and_grad(
            predictions[first:], targets[first:], reduction="none"
        )
        assert_same_bits(ours, loss[first:])
        assert_same_bits(out, grad[first:])


@each("case", CASES)
def test_in_place(case):
    predictions, targets = case.draw((600, 4), FLOAT32)
    loss, grad = case.function.value_and_grad(predictions, targets)
    place = predictions.copy()
    ours, out = case.function.value_and_grad(place, targets, out=place)
    assert out is place
    assert_same_bits(ours, loss)
    assert_same_bits(out, grad)


@each("case", CASES)
def test_weights(case, rng):
    """Of examples that weigh nothing nothing is left, whatever they hold."""
    predictions, targets = case.draw((600, 4), FLOAT64)
    weight = rng.integers(0, 3, 600).astype(FLOAT64)
    check(case, predictions, targets, sample_weight=weight)
    broken = np.where(weight[:, None] == 0, np.nan, predictions)
    for call in (case.function.value_and_grad, case.function.grad_and_hess):
        for reduction in ("mean", "none"):
            options = {"sample_weight": weight, "reduction": reduction}
            expected = call(predictions, targets, **options)
            for ours, theirs in zip(call(broken, targets, **options), expected, strict=True):
                np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("reduction", ["sum", "none"])
@each("case", CASES)
def test_upstream_gradient(case, reduction, rng):
    predictions, targets = case.draw((300, 4), FLOAT64)
    upstream = rng.normal(size=300) if reduction == "none" else 2.0
    _, grad = case.function.value_and_grad(predictions, targets, reduction=reduction)
    scaled = case.function.grad(predictions, targets, reduction=reduction, grad_output=upstream)
    np.testing.assert_allclose(scaled, grad * np.reshape(upstream, (-1, 1)), rtol=1e-12, atol=1e-15)
