"""Four floating dtypes in, the right ones out, and no digit lost on the way."""

import ml_dtypes
import numpy as np
import pytest

import fastloss as fl
from tests.catalogue import BY_NAME, CASES, CORE_PLAIN, EACH, EACH_KIND
from tests.checks import check, grad_of
from tests.helpers import (
    BFLOAT16,
    DTYPES,
    EPS,
    FLOAT16,
    FLOAT32,
    FLOAT64,
    assert_same_bits,
    each,
    each_dtype,
    f64,
    loss_dtype,
)

INTEGERS = [np.dtype(f"{sign}int{bits}") for sign in ("", "u") for bits in (8, 16, 32, 64)]
NARROW = (FLOAT16, BFLOAT16)

# Rows of few and of many classes have kernels of their own. Which way the numbers come and go, and
# whether float16 or bfloat16 became float32, makes no difference to a formula.
SHORT_AND_LONG = ((6, 5), (3, 100))


@pytest.mark.parametrize(
    ("case", "dtype"),
    [(c, d) for c in EACH for d in DTYPES if d != BFLOAT16 or c in EACH_KIND],
    ids=str,
)
def test_every_dtype(case, dtype):
    """The answer is the float32 (or float64) one, rounded once.

    Bits beyond that would be an error.
    """
    both = dtype == FLOAT32 or case in EACH_KIND
    for shape in SHORT_AND_LONG if both else SHORT_AND_LONG[:1]:
        predictions, targets = case.draw(shape, dtype)
        check(case, predictions, targets)


@each("case", [case for case in CASES if case.option_set in ("all", "melted", "both")])
@each("dtype", NARROW)
def test_options_in_narrow_dtypes(case, dtype):
    """Class weights and other options must not be rounded to the predictions' dtype."""
    predictions, targets = case.draw((6, 5), dtype)
    check(case, predictions, targets, **case.options((6, 5)))


@each_dtype
@each("name", ["cross_entropy-hard-plain", "mse-real-plain"])
def test_result_dtypes(name, dtype):
    case = BY_NAME[name]
    predictions, targets = case.draw((4, 3), dtype)
    for reduction in ("mean", "sum", "none"):
        loss, grad = case.function.value_and_grad(predictions, targets, reduction=reduction)
        assert type(loss) is np.ndarray and loss.dtype == loss_dtype(dtype)
        assert type(grad) is np.ndarray and grad.dtype == dtype
    assert loss_dtype(dtype) == (FLOAT64 if dtype == FLOAT64 else FLOAT32)


@each("case", [case for case in CORE_PLAIN if case.kind in ("soft", "real")])
@pytest.mark.parametrize(
    ("dtype", "target_dtype"),
    [(FLOAT32, FLOAT64), (FLOAT32, BFLOAT16), (FLOAT64, FLOAT32), (FLOAT16, FLOAT32)],
    ids=str,
)
def test_targets_of_another_float_dtype(case, dtype, target_dtype):
    """Targets are read in their own dtype; the predictions' dtype decides the result's."""
    predictions, targets = case.draw((6, 5), dtype)
    targets = targets.astype(target_dtype)
    check(case, predictions, targets)


@pytest.mark.parametrize(
    ("name", "index_dtype"),
    [("cross_entropy-hard-plain", d) for d in INTEGERS]
    + [("categorical_cross_entropy-hard-plain", np.dtype(np.int32))],
    ids=str,
)
def test_class_indices_of_any_integer_dtype(name, index_dtype):
    case = BY_NAME[name]
    predictions, targets = case.draw((8, 100), FLOAT32)
    expected = case.function.value_and_grad(predictions, targets)
    got = case.function.value_and_grad(predictions, targets.astype(index_dtype))
    for a, b in zip(got, expected, strict=True):
        assert_same_bits(a, b)


@each("index_dtype", [d for d in INTEGERS if d.kind == "i"])
def test_ignore_index_in_every_signed_dtype(index_dtype):
    logits = np.array([[1, 2], [3, 4]], np.float32)
    loss, grad = fl.cross_entropy.value_and_grad(logits, np.array([-100, 0], index_dtype))
    np.testing.assert_allclose(loss, np.log(1 + np.exp(1.0)), rtol=2e-7)
    assert not grad[0].any() and grad[1].all()


def test_ignore_index_beyond_the_indices_dtype():
    """-100 does not fit into uint8.

    Then no example is ignored, least of all class 156 (= -100 mod 256).
    """
    logits = np.zeros((2, 200), np.float32)
    _, grad = fl.cross_entropy.value_and_grad(logits, np.array([156, 3], np.uint8))
    np.testing.assert_allclose(grad[[0, 1], [156, 3]], -0.4975, rtol=2e-7)


@pytest.mark.parametrize(
    ("name", "target_dtype"),
    [("mse-real-plain", d) for d in (*INTEGERS, np.dtype(bool))]
    + [
        (f"{name}-bits-plain", np.dtype(d))
        for name in ("binary_cross_entropy", "binary_cross_entropy_with_logits")
        for d in (bool, np.uint8)
    ],
    ids=str,
)
def test_elementwise_targets_of_any_integer_dtype(name, target_dtype):
    case = BY_NAME[name]
    predictions, _ = case.draw((5, 4), FLOAT32)
    bits = np.arange(20).reshape(5, 4) % 2
    expected = case.function.value_and_grad(predictions, bits.astype(np.float32))
    got = case.function.value_and_grad(predictions, bits.astype(target_dtype))
    for a, b in zip(got, expected, strict=True):
        assert_same_bits(a, b)


@each("target_dtype", [np.dtype(np.int8), np.dtype(np.int64)])
def test_hinge_targets_of_any_signed_dtype(target_dtype):
    case = BY_NAME["hinge-signs-plain"]
    predictions, targets = case.draw((5, 4), FLOAT32)
    check(case, predictions, targets.astype(target_dtype))


def test_float16_mean_over_70000_rows():
    """torch 2.13 gives nan on the CPU: it accumulates in float16, whose largest number is 65504."""
    logits = np.zeros((70_000, 4), np.float16)
    loss, grad = fl.cross_entropy.value_and_grad(logits, np.zeros(70_000, np.int64))
    np.testing.assert_allclose(loss, np.log(4.0), rtol=EPS[FLOAT32])
    np.testing.assert_array_equal(grad[:, 0], np.float16(-0.75 / 70_000))
    loss = fl.mse(np.full((70_000,), 3, np.float16), np.zeros(70_000, np.float16), reduction="sum")
    assert loss == 70_000 * 4.5


@each("dtype", NARROW)
def test_gradient_at_the_target_is_not_lost(dtype):
    """p rounded to 1 before 1 is subtracted would give 0.

    P - 1 is representable to full precision.
    """
    logits = np.array([[10.0, 0.0, 0.0]], dtype)
    grad = f64(grad_of(fl.cross_entropy, logits, np.array([0])))
    p = np.exp(-10.0) / (1 + 2 * np.exp(-10.0))
    np.testing.assert_allclose(grad[0, 0], -2 * p, rtol=EPS[dtype] + 1e-3 * (dtype == FLOAT16))
    np.testing.assert_allclose(grad[0, 1:], p, rtol=EPS[dtype] + 1e-3 * (dtype == FLOAT16))


@each("dtype", NARROW)
def test_gradient_is_rounded_to_nearest_even(dtype):
    """Truncation would bias a training run.

    Mse's gradient p - y is exact in float32, then rounded.
    """
    predictions = np.linspace(1, 2, 129).astype(dtype)
    targets = np.linspace(-0.01, 0.01, 129).astype(np.float32)
    grad = grad_of(fl.mse, predictions, targets, reduction="none")
    assert_same_bits(grad, (predictions.astype(np.float32) - targets).astype(dtype))


@each("dtype", NARROW)
def test_every_narrow_number_is_read_exactly(dtype):
    """All 65536 bit patterns through the loss and back: value as float32, gradient as itself."""
    every = np.arange(65536, dtype=np.uint16).view(dtype)
    zeros = np.zeros(every.shape, np.float32)
    wide = every.astype(np.float32)
    loss, grad = fl.mse.value_and_grad(every, zeros, reduction="none")
    np.testing.assert_array_equal(grad.astype(np.float32), wide)
    # Between underflow and overflow of the square, d*d/2 is one rounding, in whichever order.
    usual = ~((np.abs(wide) < 1e-18) | (np.abs(wide) > 1e19)) | ~np.isfinite(wide) | (wide == 0)
    with np.errstate(over="ignore", invalid="ignore"):
        np.testing.assert_array_equal(loss[usual], (wide * wide * np.float32(0.5))[usual])


@each("dtype", NARROW)
def test_every_rounding_boundary_is_written_rightly(dtype):
    """float32 -> narrow at, just below and just above each midpoint, overflow and subnormals
    included.
    """
    every = np.arange(65536, dtype=np.uint16).view(dtype)
    finite = np.unique(every[np.isfinite(every.astype(np.float32))].astype(np.float32))
    middle = ((finite[1:].astype(np.float64) + finite[:-1]) / 2).astype(np.float32)
    top = np.float32(ml_dtypes.finfo(dtype).max)
    beyond = np.array([top * np.float32(1.0009), np.inf], np.float32)
    with np.errstate(over="ignore"):
        around = np.concatenate([f(middle) for f in (np.copy, _up, _down)] + [beyond, -beyond])
        expected = around.astype(dtype)
    # grad = grad_output * (p - y) with p = 1, y = 0: the upstream gradient itself, rounded.
    ones = np.ones(around.shape, dtype)
    grad = grad_of(fl.mse, ones, np.zeros_like(ones), reduction="none", grad_output=around)
    np.testing.assert_array_equal(f64(grad), f64(expected))


def _up(a):
    return np.nextafter(a, np.float32(np.inf))


def _down(a):
    return np.nextafter(a, np.float32(-np.inf))


@pytest.mark.parametrize("half", [True, False])
def test_large_float16_differences_do_not_overflow(half):
    """(y - p)^2 at 300 is 90000: beyond float16, not beyond the loss, which is float32."""
    p, y = np.full(4, 300, np.float16), np.zeros(4, np.float16)
    assert fl.mse(p, y, half=half) == (45_000 if half else 90_000)
