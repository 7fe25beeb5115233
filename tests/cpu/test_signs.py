"""Targets of -1 and +1 that are kept as bits, because `out` is written after all are looked at."""

import numpy as np
import pytest

import fastloss as fl
from fastloss.cpu.pointwise import CHUNK, TILE
from fastloss.cpu.signs import GROUP
from tests.helpers import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, assert_same_bits, each

NAMES = (
    "exponential", "hinge", "margin_ranking", "modified_huber", "perceptron", "squared_hinge",
)  # fmt: skip
#: Around groups, tiles and chunks; all are more than a tile, of which nothing is kept.
COUNTS = (TILE + 1, TILE + GROUP, 2 * TILE - 1, CHUNK, CHUNK + GROUP + 3, 3 * CHUNK - 5)
TARGETS = ["f8", "f4", "f2", BFLOAT16, "i1", "i2", "i4", "i8"]


def draw(rng, count, dtype, targets):
    signs = rng.choice([-1, 1], count)
    return rng.normal(0, 2, count).astype(dtype), signs.astype(targets)


def agree(loss, predictions, targets):
    """Check the results with `out` against those without, of which nothing is kept."""
    out = np.empty_like(predictions)
    ours = loss.value_and_grad(predictions, targets, out=out)
    for one, other in zip(ours, loss.value_and_grad(predictions, targets), strict=True):
        assert_same_bits(one, other)


@each("name", NAMES)
def test_every_count(name, rng):
    for count in COUNTS:
        agree(getattr(fl, name), *draw(rng, count, FLOAT32, FLOAT32))


@each("targets", TARGETS)
def test_every_dtype_of_targets(targets, rng):
    agree(fl.hinge, *draw(rng, COUNTS[-2], FLOAT32, targets))


@each("dtype", [FLOAT64, FLOAT16, BFLOAT16])
def test_every_dtype(dtype, rng):
    agree(fl.hinge, *draw(rng, COUNTS[-2], dtype, dtype))


@each("targets", ["u1", "u8", "?"])
def test_without_negatives(targets, rng):
    predictions, _ = draw(rng, COUNTS[0], FLOAT32, FLOAT32)
    agree(fl.hinge, predictions, np.ones(COUNTS[0], targets))


def test_every_layout(rng):
    predictions, targets = (a.reshape(4, -1) for a in draw(rng, 8 * TILE, FLOAT32, FLOAT32))
    wide = np.repeat(targets, 2, axis=1)[:, ::2]
    for one in (targets[:, ::-1], targets[::-1], wide, np.asfortranarray(targets)):
        agree(fl.hinge, predictions, one)
        agree(fl.hinge, np.asfortranarray(predictions), one)
    agree(fl.hinge, predictions, np.broadcast_to(targets[0], targets.shape))


def test_weights(rng):
    """Which are summed beforehand, so that signs are kept without `out`, too."""
    predictions, targets = draw(rng, COUNTS[-1], FLOAT64, FLOAT64)
    other, weights = rng.normal(0, 1, COUNTS[-1]), rng.random(COUNTS[-1])
    loss, grad = fl.margin_ranking.value_and_grad(
        predictions, targets, other=other, sample_weight=weights
    )
    gaps = -targets * (predictions - other)
    total = weights.sum()
    np.testing.assert_allclose(loss, (weights * np.maximum(gaps, 0)).sum() / total, 1e-12)
    np.testing.assert_allclose(grad, np.where(gaps > 0, -targets, 0) * weights / total, 1e-12)


def test_in_place(rng):
    predictions, targets = draw(rng, COUNTS[-1], FLOAT32, FLOAT32)
    expected = fl.hinge.grad(predictions, targets)
    assert_same_bits(fl.hinge.grad(predictions, targets, out=predictions), expected)


@each("where", [0, TILE - 1, TILE, COUNTS[-1] - 1])
@each("value", [0.0, 0.5, -2.0, np.nan])
def test_refused(where, value, rng):
    predictions, targets = draw(rng, COUNTS[-1], FLOAT32, FLOAT32)
    targets[where] = value
    out = np.full_like(predictions, 7.0)
    with pytest.raises(ValueError, match=rf"at \({where},\)"):
        fl.hinge.grad(predictions, targets, out=out)
    assert (out == 7.0).all()
