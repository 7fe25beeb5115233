"""Losses of distances on the device: reductions, weights, layouts, and targets other than 0, 1."""

import numpy as np
import pytest

import fastloss as fl
from tests.catalogue import FIRST
from tests.checks import REDUCTIONS, check, check_hess
from tests.cuda.device import DeviceLoss, needs_gpu, on_device
from tests.helpers import FLOAT32, FLOAT64, WRITABLE_LAYOUTS, each, each_dtype

pytestmark = needs_gpu

ULPS = 8
CASES = on_device([case for case in FIRST if case.loss.vectors])


@each("case", CASES)
@each("reduction", REDUCTIONS)
def test_reductions_weights_and_upstream(case, reduction):
    predictions, targets = case.draw((5, 6), FLOAT64)
    weight = np.array([0.5, 0.0, 2.0, 1.0, 1.5])
    upstream = np.linspace(-1, 1, 5) if reduction == "none" else -2.5
    for sample_weight in (weight, weight.astype(np.float32), 0.5):
        call = {"reduction": reduction, "sample_weight": sample_weight, "grad_output": upstream}
        check(case, predictions, targets, ulps=ULPS, **call)
        check_hess(case, predictions, targets, ulps=ULPS, **call)


@each("case", CASES)
@each_dtype
def test_dtypes_and_lengths(case, dtype):
    """Vectors shorter and longer than a warp."""
    for shape in ((3, 1), (2, 40)):
        predictions, targets = case.draw(shape, dtype)
        check(case, predictions, targets, ulps=ULPS)


@each("case", CASES)
@each("layout", [name for name in WRITABLE_LAYOUTS if name != "misaligned"])
def test_in_place_in_any_layout(case, layout):
    predictions, targets = case.draw((2, 3, 5), FLOAT32)
    expected = case.function.grad(predictions, targets)
    laid = WRITABLE_LAYOUTS[layout](predictions)
    case.function.grad(laid, WRITABLE_LAYOUTS[layout](targets), out=laid)
    np.testing.assert_array_equal(laid, expected)


@each("case", CASES)
def test_targets_other_than_0_and_1(case, monkeypatch):
    """That example is nan, others are untouched; an error where it is asked for."""
    predictions, targets = case.draw((5, 6), FLOAT32)
    good = case.function.value_and_grad(predictions, targets, reduction="none")
    targets[3] = 2
    got = case.function.value_and_grad(predictions, targets, reduction="none")
    for a, b in zip(got, good, strict=True):
        assert np.isnan(a[3]).all()
        np.testing.assert_array_equal(np.delete(a, 3, 0), np.delete(b, 3, 0))
    monkeypatch.setattr(fl.config, "validate_cuda", True)
    with pytest.raises(ValueError, match=r"0 or 1; at \(3,\) the target is 2"):
        case.function(predictions, targets)


def test_numbers_of_any_size_and_none():
    """Scaled as on the CPU; equal vectors have no direction."""
    triplet = DeviceLoss(fl.triplet)
    base = np.random.default_rng(0).integers(-8, 9, (4, 3, 10)).astype(np.float64)
    base[0] = 1.0
    for p in (1.0, 2.0, 3.0):
        call = {"p": p, "eps": 0.0, "margin": 0.0, "reduction": "none"}
        expected, slope = fl.triplet.value_and_grad(base, np.zeros(4, int), **call)
        for size in (2.0**120, 2.0**-115, 1.0):
            x = (base * size).astype(np.float32)
            loss, grad = triplet.value_and_grad(x, np.zeros(4, int), **call)
            np.testing.assert_allclose(loss / size, expected, rtol=1e-5)
            np.testing.assert_allclose(grad, slope, rtol=1e-5, atol=1e-6)


def test_nothing_at_all():
    loss, grad = DeviceLoss(fl.contrastive).value_and_grad(np.zeros((0, 2, 3)), np.zeros(0, int))
    assert np.isnan(loss) and grad.shape == (0, 2, 3)
