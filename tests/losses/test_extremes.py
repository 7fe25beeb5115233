"""Predictions of every size that the dtype has, against mpmath: no overflow before its time."""

import numpy as np
import pytest

import fastloss as fl
from tests.catalogue import BY_NAME, CORE, FIRST
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


@pytest.mark.parametrize("name", ["gamma_nll-real-plain", "tweedie_nll-real-plain"])
@each("dtype", [FLOAT32, FLOAT64])
def test_targets_of_any_size(name, dtype, rng):
    """Where the exponential by itself would leave the range, up or down."""
    case = BY_NAME[name]
    targets = sizes(dtype, rng, 60)
    predictions = (np.log(targets) + rng.uniform(-8, 8, 60)).astype(dtype)
    targets = targets.astype(dtype)
    call = {"reduction": "none", "ulps": 8, "expected": truth(case, predictions, targets, "none")}
    check(case, predictions, targets, **call)
    check_hess(case, predictions, targets, **call)


@each("dtype", [FLOAT32, FLOAT64])
@each("full", [False, True])
def test_poisson_at_the_end_of_the_range(dtype, full):
    """The exponential beyond it wins over any product, that of a huge count over the rate's."""
    top = np.finfo(dtype).max
    loss = fl.poisson_nll(np.array([top]), np.array([1e6], dtype), full=full)
    assert loss == np.inf
    loss = fl.poisson_nll(np.array([2], dtype), np.array([top]), full=full)
    assert loss == (np.inf if full else -np.inf)


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
    case = BY_NAME["focal-soft-plain"]
    options = {"gamma": gamma, "alpha": None}
    for dtype in (FLOAT32, FLOAT64):
        predictions, targets = np.array([z], dtype), np.array([y], dtype)
        check(case, predictions, targets, **options)
        check_hess(case, predictions, targets, **options)
