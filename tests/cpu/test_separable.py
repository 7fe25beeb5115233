"""Losses to which each class adds by itself, whichever way their kernels go over the classes."""

import numpy as np
import pytest

import fastloss as fl
from fastloss.cpu.families import SHORT_BELOW, SHORT_BELOW_WITH_GAPS
from fastloss.cpu.lane_tiles import SUM_RUN
from tests.helpers import EPS, FLOAT32, FLOAT64, each, strided

#: Examples: more than a tile has but for a few classes, and no whole vectors of them.
IMAGES, POSITIONS = 13, 41
N = IMAGES * POSITIONS

CLASSES = (1, 2, 7, 16, 17, SHORT_BELOW_WITH_GAPS, SUM_RUN + 1, 100, SHORT_BELOW - 1, SHORT_BELOW)
CASES = {
    "indices": {},
    "soft": {},
    "smoothing": {"label_smoothing": 0.1},
    "class_weight": {"label_smoothing": 0.1},
    "nll": {},
}


def with_gaps(a):
    return np.pad(a, [(0, 0)] * (a.ndim - 1) + [(0, 3)])[..., : a.shape[-1]]


def images(a, count=IMAGES):
    """The examples as positions in images, with the classes, if there are any, on axis 1."""
    parts = a.reshape(count, -1, *a.shape[1:])
    return np.ascontiguousarray(parts.swapaxes(1, -1))


def small_images(a):
    """The same, of which a tile has several, and parts of one."""
    return images(a, POSITIONS)


#: Ways to lay out numbers of the examples (N,), or of their classes (N, C), which are axis 1.
LAYOUTS = {
    f.__name__: f
    for f in (np.ascontiguousarray, with_gaps, strided, np.asfortranarray, images, small_images)
}


def draw(rng, classes, case, dtype):
    """(predictions, targets, options, sample_weight)."""
    p = rng.dirichlet(np.ones(classes), N).astype(dtype)
    p[5, 0] = 0.0
    y = rng.integers(0, classes, N)
    options = dict(CASES[case])
    if case in ("class_weight", "nll"):
        options["class_weight"] = rng.uniform(0.5, 2, classes)
    targets = rng.dirichlet(np.ones(classes), N).astype(dtype) if case == "soft" else y
    weights = np.where(np.arange(N) % 50 == 3, 0.0, rng.uniform(0.5, 2, N))
    if case == "nll":
        p = np.log(np.maximum(p, 1e-30))
    p[3] = np.nan  # of weight 0
    return p, targets, options, weights


def expected(p, targets, options, weights, case="indices"):
    """(losses, gradient, hessian), in float64."""
    p, classes = np.where(np.isnan(p), 1.0, p.astype(float)), p.shape[1]
    mass = np.eye(classes)[targets] if targets.ndim == 1 else targets.astype(float)
    smoothing = options.get("label_smoothing", 0.0)
    mass = (1 - smoothing) * mass + smoothing / classes
    mass = mass * options.get("class_weight", 1.0) * weights[:, None]
    if case == "nll":
        return (mass * -p).sum(1), -mass, 0 * mass
    with np.errstate(divide="ignore"):
        losses = (mass * -np.maximum(np.log(p), -100)).sum(1)
    slope = -1 / np.maximum(p, 1e-12)
    return losses, mass * slope, mass * slope**2


def check(rng, case, layout, dtype):
    """Compare losses and derivatives, in a new array, a given one and in place."""
    lay = LAYOUTS[layout]
    # A mass, a logarithm or a quotient, weights: some eight roundings of half an eps; and sums.
    tolerance, of_sums = 4 * EPS[dtype], 8 * EPS[dtype]
    of_case = fl.nll if case == "nll" else fl.categorical_cross_entropy
    for classes in CLASSES:
        p, targets, options, weights = draw(rng, classes, case, dtype)
        losses, *derivatives = expected(p, targets, options, weights, case)
        grad, hess = (lay(a) for a in derivatives)
        given = {**options, "sample_weight": lay(weights), "axis": 1}
        t = lay(targets)
        in_place = lay(p.copy())
        for x, out in ((lay(p), None), (lay(p), lay(np.empty_like(p))), (in_place, in_place)):
            loss, slopes = of_case.value_and_grad(x, t, **given, out=out, reduction="sum")
            np.testing.assert_allclose(loss, losses.sum(), of_sums)
            np.testing.assert_allclose(slopes, grad, tolerance)
        each_one = of_case(lay(p), t, **given, reduction="none")
        np.testing.assert_allclose(each_one, lay(losses), of_sums)
        found = of_case.grad_and_hess(lay(p), t, **given, reduction="none")
        np.testing.assert_allclose(found[0], grad, tolerance)
        np.testing.assert_allclose(found[1], hess, tolerance)


@pytest.mark.parametrize(
    "case, dtype",
    [*((case, FLOAT32) for case in CASES), ("soft", FLOAT64), ("class_weight", FLOAT64)],
    ids=str,
)  # fmt: skip
@each("layout", LAYOUTS)
def test_layouts(case, layout, dtype, rng):
    check(rng, case, layout, dtype)


@each("layout", ["ascontiguousarray", "images"])
def test_ignored(layout, rng):
    """As with a weight of 0, and the mean is over the others."""
    lay = LAYOUTS[layout]
    p, targets, _, _ = draw(rng, 10, "indices", FLOAT64)
    kept = targets != 3
    p[3], p[~kept] = 0.1, np.nan
    losses, grad, _ = expected(p, targets, {}, kept.astype(float))
    loss, slopes = fl.categorical_cross_entropy.value_and_grad(
        lay(p), lay(targets), ignore_index=3, axis=1
    )
    np.testing.assert_allclose(loss, losses.sum() / kept.sum(), 4 * EPS[FLOAT64])
    np.testing.assert_allclose(slopes, lay(grad / kept.sum()), 4 * EPS[FLOAT64])


@each("layout", ["ascontiguousarray", "images"])
def test_an_index_out_of_range(layout, rng):
    lay = LAYOUTS[layout]
    p, targets, _, _ = draw(rng, 10, "indices", FLOAT64)
    targets[400] = 10
    position = {"ascontiguousarray": r"\(400,\)", "images": r"\(9, 31\)"}[layout]
    with pytest.raises(IndexError, match="position " + position):
        fl.categorical_cross_entropy(lay(p), lay(targets), axis=1)
