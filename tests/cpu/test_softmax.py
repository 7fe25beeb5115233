"""The three ways in which softmax goes over logits: along long rows, over all of a tile of short
rows, and across examples whose classes lie apart.

A row whose exponentials of the logits as they are do not tell enough is measured from its maximum.
"""

import numba
import numpy as np
import pytest

import fastloss as fl
from fastloss.cpu.families import SHORT_BELOW
from tests.catalogue import BY_NAME
from tests.checks import check, check_grad, check_loss, truth
from tests.helpers import FLOAT32, FLOAT64, assert_same_bits, each

HARD, SOFT = BY_NAME["cross_entropy-hard-plain"], BY_NAME["cross_entropy-soft-plain"]

#: (shape, class axis): short rows, long ones, classes apart in large images and in small ones.
WAYS = [((300, 10), 1), ((90, SHORT_BELOW + 40), 1), ((3, 10, 100), 1), ((90, 10, 30), 1)]

#: Where a row's logits lie: at ease, and so far up or down that exponentials end.
FAR = [60.0, 100.0, 3e4, -60.0, -100.0, -3e4]


def draw(case, shape, axis, dtype=FLOAT32):
    """Predictions and targets, and the predictions with the classes last, as (N, C)."""
    predictions, targets = case.draw(shape, dtype, axis=axis)
    return predictions, targets, np.moveaxis(predictions, axis, -1)


@each("dtype", [FLOAT32, FLOAT64])
@each("case", [HARD, SOFT])
@each("way", WAYS)
def test_rows_wherever_they_lie(way, case, dtype):
    """Of all rows a part is far from 0, each in a way of its own, beside others that are not.

    Logits are multiples of 1/256, so that to move a row is exact, and changes nothing.
    """
    shape, axis = way
    predictions, targets, rows = draw(case, shape, axis, dtype)
    rows[...] = np.round(256 * rows) / 256
    rows[..., 7::13, 0] = -np.inf
    call = {"axis": axis, "reduction": "none"}
    expected = truth(case, predictions, targets, **call)
    for k, far in enumerate(FAR):
        rows[..., k::13, :] += np.array(far, dtype)
    loss, grad = case.function.value_and_grad(predictions, targets, **call)
    check_loss(loss, expected, dtype, ulps=8)
    check_grad(grad, expected, dtype, ulps=8)


@each("way", WAYS)
def test_a_label_whose_exponential_vanishes(way):
    """Its loss is made of its logit, whether the row is measured from 0 or from its maximum."""
    shape, axis = way
    predictions, targets, rows = draw(HARD, shape, axis)
    label = np.expand_dims(targets, -1)
    np.put_along_axis(rows[..., ::2, :], label[..., ::2, :], np.float32(-150.0), -1)
    rows[..., ::4, :] += np.float32(500.0)
    check(HARD, predictions, targets, axis=axis, reduction="none", ulps=8)


@each("way", WAYS)
def test_a_sure_example_has_no_negative_loss(way):
    """The rounding of the exponential that makes up nearly all of the sum cancels."""
    shape, axis = way
    predictions, targets, rows = draw(HARD, shape, axis)
    rows /= 8
    sure = np.linspace(0.0, 30.0, targets.size, dtype=FLOAT32).reshape(*targets.shape, 1)
    np.put_along_axis(rows, np.expand_dims(targets, -1), sure, -1)
    loss = fl.cross_entropy(predictions, targets, axis=axis, reduction="none")
    assert (loss >= 0).all()
    check(HARD, predictions, targets, axis=axis, reduction="none", ulps=8)


@pytest.mark.parametrize("worst", [np.nan, np.inf, -np.inf, 3e38, 200.0, -200.0])
@each("way", WAYS)
def test_a_row_does_not_see_its_neighbours(way, worst):
    """Not a bit of it, whatever way they are measured."""
    shape, axis = way
    predictions, targets, _ = draw(HARD, shape, axis)
    call = {"axis": axis, "reduction": "none"}
    loss, grad = fl.cross_entropy.value_and_grad(predictions, targets, **call)
    beside = predictions.copy()
    np.moveaxis(beside, axis, -1)[..., ::3, :] = worst
    ours, out = fl.cross_entropy.value_and_grad(beside, targets, **call)
    grad, out = np.moveaxis(grad, axis, -1), np.moveaxis(out, axis, -1)
    for k in (1, 2):
        assert_same_bits(ours[..., k::3], loss[..., k::3])
        assert_same_bits(np.ascontiguousarray(out[..., k::3, :]), grad[..., k::3, :].copy())


@each("case", [HARD, SOFT])
@each("way", WAYS)
def test_in_place_where_the_first_look_was_in_vain(way, case):
    """The logits must be there for the second one."""
    shape, axis = way
    predictions, targets, rows = draw(case, shape, axis)
    rows[..., ::2, :] *= np.float32(100.0)
    loss, grad = case.function.value_and_grad(predictions, targets, axis=axis)
    ours, out = case.function.value_and_grad(predictions, targets, axis=axis, out=predictions)
    assert out is predictions
    assert_same_bits(ours, loss)
    assert_same_bits(out, grad)


def test_short_rows_of_every_length():
    """Sums of rows shorter and longer than a vector, tiles that are full, and a rest of one."""
    for classes in (1, 2, 7, 8, 15, 16, 17, 31, 33, 100, SHORT_BELOW - 1):
        for examples in (1, 15, 17, 300):
            predictions, targets = HARD.draw((examples, classes), FLOAT32)
            check(HARD, predictions, targets, reduction="none", ulps=8)


@each("way", WAYS)
def test_same_bits_for_every_number_of_threads(way):
    shape, axis = way
    predictions, targets, rows = draw(HARD, (shape[0] * 30, *shape[1:]), axis)
    rows[..., ::5, :] *= np.float32(100.0)
    results = []
    before = numba.get_num_threads()
    for threads in (1, numba.config.NUMBA_NUM_THREADS):
        numba.set_num_threads(threads)
        results.append(fl.cross_entropy.value_and_grad(predictions, targets, axis=axis))
        numba.set_num_threads(before)
    for a, b in zip(*results, strict=True):
        assert_same_bits(a, b)
