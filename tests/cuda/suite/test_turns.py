"""Blocks that take several turns: what large inputs do, here by limits set low."""

import numpy as np
import pytest

import fastloss as fl
from fastloss import engine
from tests.catalogue import CORE_PLAIN
from tests.checks import check
from tests.cuda.device import SIMULATED, DeviceLoss, needs_gpu, on_device
from tests.helpers import EPS, FLOAT32, each, each_dtype, f64, working_eps
from tests.oracles.classes import cross_entropy as oracle
from tests.oracles.expected import reduce

pytestmark = needs_gpu


@pytest.fixture
def limits(monkeypatch):
    """Sets a limit of the plans; those made before are forgotten."""

    def set_limit(name, value):
        module, _, limit = name.rpartition(".")
        monkeypatch.setattr(f"fastloss.cuda.{module}.{limit}", value)
        engine._plans.clear()

    yield set_limit
    engine._plans.clear()


@each("case", on_device(CORE_PLAIN))
def test_fewer_blocks_than_work(case, limits):
    limits("plans.MAX_BLOCKS", 2)
    limits("class_plan.FEW", 20)  # more have their weights summed by a kernel before
    for shape in ((75, 3), (13, 9), (5, 37), (300, 2)):
        predictions, targets = case.draw(shape, FLOAT32)
        check(case, predictions, targets, ulps=32)
        check(case, predictions, targets, reduction="none", ulps=32)


@each("classes", [40, 41, 1100] if SIMULATED else [40, 41, 1100, 9001, 70_000])
@each_dtype
def test_rows_of_several_turns(classes, dtype, limits):
    """The last turn stays in registers, also where the row after it is not to be read."""
    limits("plans.MAX_BLOCKS", 1)
    limits("class_plan.LARGE", 2)
    rng = np.random.default_rng(classes)
    logits = (3 * rng.standard_normal((7, classes))).astype(dtype)
    targets = np.array([0, classes - 1, -100, classes // 2, -100, 7, classes - 2])
    logits[0, 1] = logits[4, 2] = np.nan  # threads go from row 0 to row 4, which is ignored
    logits[5, ::2] = -np.inf
    live = targets != -100
    expected = reduce(oracle(f64(logits[live]), targets[live]), "none")
    loss = DeviceLoss(fl.cross_entropy)
    value, grad = loss.value_and_grad(logits.copy(), targets, reduction="none")
    alone = loss(logits.copy(), targets, reduction="none")
    inside = loss.grad(given := logits.copy(), targets, reduction="none", out=given)
    gaps = np.zeros((7, classes + 1), dtype)[:, :classes]
    gaps[:] = logits
    of_gaps = loss(gaps, targets, reduction="none")
    apart = loss.grad(gaps, targets, reduction="none", out=gaps)
    tolerance = 16 * working_eps(dtype)
    for result in (value, alone, of_gaps):
        np.testing.assert_allclose(result[live], expected.loss, rtol=tolerance)
        assert (result[~live] == 0).all()
    for result in (grad, inside, apart):
        np.testing.assert_allclose(
            f64(result[live]), expected.grad, rtol=EPS[dtype], atol=tolerance
        )
        assert (f64(result[~live]) == 0).all()
