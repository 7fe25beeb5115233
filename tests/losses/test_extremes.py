"""Predictions of every size that the dtype has, against mpmath: no overflow before its time."""

import numpy as np
import pytest

from tests.catalogue import CORE, FIRST
from tests.checks import check, check_hess, truth
from tests.helpers import FLOAT32, FLOAT64, each

# The core has tests of its own at the edges (test_edges_elementwise.py).
CASES = [case for case in FIRST if case.loss.name not in CORE and not case.over_classes]


def sizes(dtype, rng, count):
    """Magnitudes over the whole range, evenly in their exponents."""
    info = np.finfo(dtype)
    low, high = np.log2(float(info.tiny)), np.log2(float(info.max)) - 1
    return np.exp2(rng.uniform(low, high, count))


@each("case", CASES)
@each("dtype", [FLOAT32, FLOAT64])
def test_of_any_size(case, dtype, rng):
    _, targets = case.draw((60,), dtype)
    if case.kind == "real":  # a tiny prediction would leave the error at a kink
        targets = (targets + 0.1).astype(dtype)
    predictions = sizes(dtype, rng, 60)
    if case.loss.name != "msle":  # defined above -1
        predictions *= rng.choice([-1.0, 1.0], 60)
    predictions = predictions.astype(dtype)
    call = {"reduction": "none", "ulps": 8, "expected": truth(case, predictions, targets, "none")}
    check(case, predictions, targets, **call)
    check_hess(case, predictions, targets, **call)


@each("case", CASES)
def test_close_to_the_target(case, rng):
    """Errors far smaller than the numbers: differences must come first."""
    _, targets = case.draw((60,), FLOAT32)
    targets = targets.astype(np.float32)
    predictions = np.nextafter(targets, targets + rng.choice([-1.0, 1.0], 60).astype(np.float32))
    check(case, predictions, targets, reduction="none", ulps=8)


@pytest.mark.parametrize("gamma", [0.0, 0.01, 0.5, 2.0])
@pytest.mark.parametrize("z", [-1000.0, -90.0, 90.0, 1000.0])
@pytest.mark.parametrize("y", [0.0, 0.25, 1.0])
def test_focal_in_log_space(z, y, gamma):
    """A miss of e^-1000 underflows, its hundredth part of a power does not."""
    from tests.catalogue import BY_NAME

    case = BY_NAME["focal-soft-plain"]
    options = {"gamma": gamma, "alpha": None}
    for dtype in (FLOAT32, FLOAT64):
        predictions, targets = np.array([z], dtype), np.array([y], dtype)
        check(case, predictions, targets, **options)
        check_hess(case, predictions, targets, **options)
