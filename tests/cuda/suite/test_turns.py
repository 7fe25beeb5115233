"""Blocks that take several turns: what large inputs do, here by limits set low."""

import pytest

from fastloss import engine
from tests.catalogue import CORE_PLAIN
from tests.checks import check
from tests.cuda.device import needs_gpu, on_device
from tests.helpers import FLOAT32, each

pytestmark = needs_gpu

CLASSES = [case for case in CORE_PLAIN if case.over_classes]


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
    for shape in ((75, 3), (13, 9), (5, 37), (300, 2)):
        predictions, targets = case.draw(shape, FLOAT32)
        check(case, predictions, targets, ulps=32)
        check(case, predictions, targets, reduction="none", ulps=32)


@each("case", on_device(CLASSES))
def test_a_block_for_each_long_row(case, limits):
    limits("class_plan.FEW_EXAMPLES", 0)
    limits("class_plan.LONG_EXAMPLE", 2**40)
    predictions, targets = case.draw((3, 300), FLOAT32)
    check(case, predictions, targets, ulps=32)


@each("case", on_device(CLASSES))
def test_long_rows_a_few_at_a_time(case, limits):
    """As many as stay in the cache between the two kernels: here one."""
    limits("softmax_split.IN_CACHE", 1)
    predictions, targets = case.draw((3, 200), FLOAT32)
    check(case, predictions, targets, ulps=32)
    check(case, predictions, targets, reduction="none", ulps=32)
