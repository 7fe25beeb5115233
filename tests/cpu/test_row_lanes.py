"""Losses made of formulas over a row, where vectors run across the examples."""

import numba
import numpy as np
import pytest

from fastloss.cpu.families import SHORT_BELOW_OF_FORMULAS
from tests.catalogue import BY_NAME
from tests.checks import check
from tests.helpers import FLOAT32, FLOAT64, assert_same_bits, each

#: Sums, maxima and the first class; numbers made of the row; rounds computed again; vectors.
STANDING_FOR_ALL = [
    BY_NAME[name]
    for name in ("multiclass_hinge-hard-plain", "focal_cross_entropy-hard-plain",
                 "sparsemax-soft-plain", "cosine_distance-real-plain")
]  # fmt: skip


@each("case", STANDING_FOR_ALL)
def test_both_families_give_the_same(case):
    """Rows of as many classes go example by example, in Fortran order across the examples."""
    predictions, targets = case.draw((150, SHORT_BELOW_OF_FORMULAS), FLOAT32)
    loss, grad = case.function.value_and_grad(predictions, targets, reduction="none")
    across = case.function.value_and_grad(np.asfortranarray(predictions), targets, reduction="none")
    np.testing.assert_allclose(loss, across[0], rtol=2e-6, atol=1e-6)
    np.testing.assert_allclose(grad, across[1], rtol=4e-6, atol=5e-7)


@pytest.mark.parametrize("dtype", [FLOAT32, FLOAT64])
def test_tiles_of_every_shape(dtype):
    """Fewer examples or classes than a block that is transposed has, and such that leave a rest."""
    case = BY_NAME["focal_cross_entropy-hard-plain"]
    for shape in ((1, 5), (3, 10), (5, 9), (7, 8), (70, 3), (300, 2), (257, 4), (700, 63), (2, 1)):
        predictions, targets = case.draw(shape, dtype)
        check(case, predictions, targets, reduction="none", ulps=8)


@each("shape", [(2, 5, 9, 40), (30, 5, 5, 5)])
@each("case", STANDING_FOR_ALL)
def test_class_axis_of_images(case, shape):
    """Classes at a distance, examples beside each other or also at one; in place as elsewhere.

    Of small images several go into a tile, and parts of one.
    """
    predictions, targets = case.draw(shape, FLOAT32, axis=1)
    call = {"axis": 1, "reduction": "none"}
    check(case, predictions, targets, ulps=8, **call)
    loss, grad = case.function.value_and_grad(predictions, targets, **call)
    for place in (predictions.copy(), np.stack([predictions] * 2, -1)[..., 1]):
        ours, out = case.function.value_and_grad(place, targets, out=place, **call)
        assert out is place
        assert_same_bits(ours, loss)
        assert_same_bits(np.ascontiguousarray(out), grad)


@pytest.mark.parametrize("worst", [np.nan, np.inf, -np.inf, 3e38])
@each("case", STANDING_FOR_ALL)
def test_a_row_does_not_see_its_neighbours(case, worst):
    """Whatever stands beside it, and however often the rounds of others are computed again."""
    predictions, targets = case.draw((300, 10), FLOAT32)
    loss, grad = case.function.value_and_grad(predictions, targets, reduction="none")
    beside = predictions.copy()
    beside[::3] = worst
    beside[1::3, 3:] -= np.linspace(0, 20, 7, dtype=FLOAT32)
    with np.errstate(invalid="ignore", over="ignore"):
        ours, out = case.function.value_and_grad(beside, targets, reduction="none")
    assert_same_bits(ours[2::3], loss[2::3])
    assert_same_bits(out[2::3], grad[2::3])


@each("case", STANDING_FOR_ALL)
def test_same_bits_for_every_number_of_threads(case):
    predictions, targets = case.draw((9000, 10), FLOAT32)
    results = []
    before = numba.get_num_threads()
    for threads in (1, numba.config.NUMBA_NUM_THREADS):
        numba.set_num_threads(threads)
        results.append(case.function.value_and_grad(predictions, targets))
        numba.set_num_threads(before)
    for a, b in zip(*results, strict=True):
        assert_same_bits(a, b)
