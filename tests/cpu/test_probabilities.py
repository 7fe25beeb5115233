"""Categorical cross-entropy of short rows: across the rows and the tiles of whole vectors."""

import numpy as np
import pytest

import fastloss as fl
from fastloss.cpu.class_plan import SHORT_BELOW_OF_PROBABILITIES
from tests.helpers import EPS, FLOAT32, FLOAT64, each

CLASSES = (1, 2, 7, 16, 17, 100, SHORT_BELOW_OF_PROBABILITIES - 1, SHORT_BELOW_OF_PROBABILITIES)
CASES = {
    "indices": {},
    "soft": {},
    "smoothing": {"label_smoothing": 0.1},
    "class_weight": {"label_smoothing": 0.1},
}


def draw(rng, classes, case, dtype):
    """More rows than a tile has, and not whole vectors of them."""
    p = rng.dirichlet(np.ones(classes), 533).astype(dtype)
    p[5, 0] = 0.0
    y = rng.integers(0, classes, 533)
    options = dict(CASES[case])
    if case == "class_weight":
        options["class_weight"] = rng.uniform(0.5, 2, classes)
    targets = rng.dirichlet(np.ones(classes), 533).astype(dtype) if case == "soft" else y
    return p, targets, options


def expected(p, targets, options, sample_weight):
    """(sum of the losses, gradient), in float64."""
    p, classes = p.astype(float), p.shape[1]
    mass = np.eye(classes)[targets] if targets.ndim == 1 else targets.astype(float)
    smoothing = options.get("label_smoothing", 0.0)
    mass = (1 - smoothing) * mass + smoothing / classes
    mass = mass * options.get("class_weight", 1.0) * sample_weight[:, None]
    with np.errstate(divide="ignore"):
        loss = (mass * -np.maximum(np.log(p), -100)).sum()
    return loss, -mass / np.maximum(p, 1e-12)


@each("dtype", [FLOAT64, FLOAT32])
@each("case", CASES)
def test_rows_and_tiles(case, dtype, rng):
    for classes in CLASSES:
        p, targets, options = draw(rng, classes, case, dtype)
        weights = np.where(np.arange(533) % 50 == 3, 0.0, rng.uniform(0.5, 2, 533))
        p[3] = np.nan  # of weight 0
        given = {**options, "sample_weight": weights, "reduction": "sum"}
        known = np.where(np.isnan(p), 1, p)
        loss, grad = expected(known, targets, options, weights)
        # A mass, a logarithm or a quotient, weights: some eight roundings of half an eps.
        tolerance = 4 * EPS[dtype]
        in_place = p.copy()
        for x, out in ((p, None), (p, np.empty_like(p)), (in_place, in_place)):
            given["out"] = out
            found, slopes = fl.categorical_cross_entropy.value_and_grad(x, targets, **given)
            np.testing.assert_allclose(found, loss, tolerance)
            np.testing.assert_allclose(slopes, grad, tolerance)


@each("case", CASES)
def test_as_with_gaps(case, rng):
    """Rows with gaps are taken one by one."""
    p, targets, options = draw(rng, 10, case, FLOAT64)
    if targets.ndim == 1:
        options["ignore_index"] = 3
    wide = np.zeros((533, 12))
    wide[:, :10] = p
    for reduction in ("mean", "none"):
        given = {**options, "reduction": reduction}
        one = fl.categorical_cross_entropy.value_and_grad(p, targets, **given)
        other = fl.categorical_cross_entropy.value_and_grad(wide[:, :10], targets, **given)
        one += fl.categorical_cross_entropy.grad_and_hess(p, targets, **given)
        other += fl.categorical_cross_entropy.grad_and_hess(wide[:, :10], targets, **given)
        for a, b in zip(one, other, strict=True):
            np.testing.assert_allclose(a, b, 8 * EPS[FLOAT64])  # sums in another order


def test_an_index_out_of_range(rng):
    p, targets, _ = draw(rng, 10, "indices", FLOAT64)
    targets[400] = 10
    with pytest.raises(IndexError, match=r"position \(400,\)"):
        fl.categorical_cross_entropy(p, targets)
