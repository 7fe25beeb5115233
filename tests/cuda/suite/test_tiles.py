"""Cross-entropy over few classes: tiles of rows, whole and cut off, that a block takes in turn."""

import numpy as np
import pytest

import fastloss as fl
from fastloss import engine
from tests.cuda.device import SIMULATED, DeviceLoss, needs_gpu
from tests.helpers import EPS, assert_same_bits, each, each_dtype, f64, working_eps
from tests.oracles.classes import cross_entropy as oracle
from tests.oracles.expected import reduce

pytestmark = needs_gpu

INDICES = ("int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8")
OPTIONS = ({}, {"label_smoothing": 0.1}, {"logit_softcap": 3.0, "z_loss": 0.01})

cross_entropy = DeviceLoss(fl.cross_entropy)


@pytest.fixture(autouse=True)
def one_block(monkeypatch):
    """All tiles are one block's; plans made before are forgotten."""
    monkeypatch.setattr("fastloss.cuda.plans.MAX_BLOCKS", 1)
    engine._plans.clear()
    yield
    engine._plans.clear()


def rows_of_tile(classes, dtype):
    from fastloss.cuda.softmax_tiles import rows_of_tile

    return rows_of_tile(classes, np.dtype(dtype).itemsize)


def draw(count, classes, dtype, index, seed=0):
    rng = np.random.default_rng(seed)
    logits = (3 * rng.standard_normal((count, classes))).astype(dtype)
    return logits, rng.integers(0, classes, count).astype(index)


def truth(logits, targets, **options):
    """Loss and gradient of the same numbers in float64, by the oracle."""
    expected = reduce(oracle(f64(logits), targets.astype(np.int64), **options), "none")
    return expected.loss, expected.grad


def check(got, expected, dtype):
    """Loss and gradient, to the precision of what they are stored and computed in."""
    (loss, grad), (true_loss, true_grad) = got, expected
    tolerance = 16 * working_eps(dtype)
    np.testing.assert_allclose(loss, true_loss, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(f64(grad), true_grad, rtol=EPS[dtype], atol=tolerance)


@each("classes", [1, 2, 3, 5, 8, 10, 16, 21, 31, 32])
@each_dtype
def test_a_tile_and_what_is_left(classes, dtype):
    """Rows of every kind at both ends of both tiles; the value alone has a kernel of its own."""
    tile = rows_of_tile(classes, dtype)
    count = tile + 19
    indices = list(zip(INDICES, (-100, 0, -1, -1, 2**63 - 1, 7, 7, 7), strict=True))
    # The simulator takes long; every dtype of indices meets some number of classes there, too.
    for index, ignored in indices[classes % 4 :: 4] if SIMULATED else indices:
        logits, targets = draw(count, classes, dtype, index)
        dead = targets == ignored
        for place in (1, tile - 1, tile, count - 1):
            if np.dtype(index).kind == "i" or ignored < 8:
                targets[place], dead[place] = ignored, True
            logits[place] = np.nan if dead[place] else logits[place]
        expected = truth(logits, targets, ignore_index=ignored)
        call = {"reduction": "none", "ignore_index": ignored}
        got = cross_entropy.value_and_grad(logits, targets, **call)
        check(got, expected, dtype)
        assert not got[0][dead].any() and not f64(got[1][dead]).any()
        check((cross_entropy(logits, targets, **call), got[1]), expected, dtype)
        total = cross_entropy(logits, targets, reduction="sum", ignore_index=ignored)
        np.testing.assert_allclose(total, expected[0].sum(), rtol=1e-5, atol=1e-5)


@each("options", OPTIONS)
@each("classes", [2, 10, 21])
@each_dtype
def test_bad_rows_among_good_ones(classes, dtype, options):
    """A bad index, an ignored one, masks and a nan, each beside rows that they must not touch."""
    count = rows_of_tile(classes, dtype) + 7
    logits, targets = draw(count, classes, dtype, np.int64)
    targets[[3, count - 2]] = classes, -1
    targets[[4, count - 3]] = -100
    logits[[5, count - 4], :-1], targets[[5, count - 4]] = -np.inf, classes - 1
    logits[6, 0] = np.nan
    loss, grad = cross_entropy.value_and_grad(logits, targets, reduction="none", **options)
    bad = np.zeros(count, bool)
    bad[[3, 6, count - 2]] = True
    assert np.isnan(loss[bad]).all() and np.isnan(f64(grad[bad])).all()
    no_weight = cross_entropy.value_and_grad(logits, targets, sample_weight=0.0, reduction="sum")
    assert no_weight[0] == 0 and not f64(no_weight[1]).any()
    targets[bad] = -100
    expected = truth(logits, targets, **options)
    check((loss[~bad], grad[~bad]), (expected[0][~bad], expected[1][~bad]), dtype)


@each("classes", [2, 7, 10])
@each_dtype
def test_in_place_and_at_every_distance_from_a_boundary(classes, dtype):
    """Where no 16 bytes are aligned, another kernel takes over, with the same results."""
    count = rows_of_tile(classes, dtype) + 5
    logits, targets = draw(count, classes, dtype, np.int64)
    expected = truth(logits, targets)
    memory = np.zeros(count * classes + 32, dtype)
    start = -memory.ctypes.data % 16 // memory.itemsize
    for skip in (0, 1, 2, 16 // memory.itemsize):
        inside = memory[start + skip :][: count * classes].reshape(count, classes)
        inside[:] = logits
        before = memory[: start + skip].copy()
        loss, grad = cross_entropy.value_and_grad(inside, targets, reduction="none", out=inside)
        assert grad is inside
        check((loss, grad), expected, dtype)
        np.testing.assert_array_equal(memory[: start + skip], before)
        assert not f64(memory[start + skip + count * classes :]).any()


@each("classes", [3, 10])
@each_dtype
def test_bits_do_not_depend_on_the_place_of_a_row(classes, dtype):
    count = rows_of_tile(classes, dtype) + 9
    logits, targets = draw(1, classes, dtype, np.int32)
    logits, targets = np.repeat(logits, count, 0), np.repeat(targets, count)
    loss, grad = cross_entropy.value_and_grad(logits, targets, reduction="none")
    assert_same_bits(loss, np.repeat(loss[:1], count))
    assert_same_bits(grad, np.repeat(grad[:1], count, 0))
