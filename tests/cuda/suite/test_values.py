"""Values, gradients and hessians on the device against the oracles: every loss and option."""

import numpy as np
import pytest

from tests.catalogue import CASES, CORE_CASES, CORE_FIRST, CORE_PLAIN
from tests.checks import REDUCTIONS, check, check_hess, check_loss, truth
from tests.cuda.device import SIMULATED, needs_gpu, on_device
from tests.helpers import DTYPES, FLOAT32, FLOAT64, assert_same_bits, each, each_dtype

pytestmark = needs_gpu

# The GPU's exponential in the softmax is good to two units in the last place, where the CPU's
# is to one.
ULPS = 8

# On both sides of the numbers at which another group of threads takes over (the simulator's
# warp has 4 threads), and with rows that begin at every distance from a boundary of 16 bytes.
if SIMULATED:
    CLASS_SHAPES = [(1, 1), (5, 2), (19, 3), (37, 4), (3, 17), (2, 131), (34, 130)]
    ELEMENT_SHAPES = [(), (1,), (7,), (3, 5, 7), (259,)]
else:
    CLASS_SHAPES = [
        (1, 1), (70, 3), (9, 16), (65, 33), (33, 129), (9, 1000), (5, 2049), (3, 8193),
        (2, 50257), (300, 8200), (1, 300_001), (5000, 1000),
    ]  # fmt: skip
    ELEMENT_SHAPES = [(), (1,), (7,), (3, 5, 7), (1025,), (333, 3001)]


@each("case", on_device(CASES))
def test_every_option(case):
    """Value and gradient, and gradient and hessian, in float32."""
    shape = (5, 6)
    predictions, targets = case.draw(shape, FLOAT32)
    options = case.options(shape)
    check(case, predictions, targets, ulps=ULPS, **options)
    check_hess(case, predictions, targets, ulps=ULPS, **options)


@each("case", on_device(CORE_CASES))
def test_value_alone(case):
    """It has kernels of its own."""
    shape = (5, 6)
    predictions, targets = case.draw(shape, FLOAT32)
    options = case.options(shape)
    loss = case.function(predictions, targets, **options)
    check_loss(loss, truth(case, predictions, targets, **options), FLOAT32, ULPS)


@each("case", on_device(CORE_CASES))
def test_every_option_of_long_rows(case):
    """Rows that a block, or several, read 16 bytes at a time."""
    shape = (2, 133) if SIMULATED else (5, 40_001)
    predictions, targets = case.draw(shape, FLOAT32)
    check(case, predictions, targets, ulps=4 * ULPS, **case.options(shape))


@each("case", on_device(CORE_PLAIN))
@each_dtype
def test_dtypes(case, dtype):
    for shape in ((3, 5), (2, 40)):
        predictions, targets = case.draw(shape, dtype)
        check(case, predictions, targets, ulps=ULPS)


@each("case", on_device(CORE_FIRST))
def test_hessian_in_every_dtype(case):
    for dtype in DTYPES:
        predictions, targets = case.draw((3, 21), dtype)
        check_hess(case, predictions, targets, ulps=ULPS)


@each("case", on_device(CORE_PLAIN))
def test_sizes(case):
    for seed, shape in enumerate(CLASS_SHAPES if case.over_classes else ELEMENT_SHAPES):
        predictions, targets = case.draw(shape, FLOAT32, seed)
        check(case, predictions, targets, ulps=4 * ULPS)


@each("case", on_device(CORE_PLAIN))
def test_reductions_and_weights(case):
    shape = (5, 6)
    predictions, targets = case.draw(shape, FLOAT64)
    of_loss = shape[:1] if case.over_classes else shape
    weight = np.linspace(0.0, 2.0, int(np.prod(of_loss))).reshape(of_loss)
    for reduction in REDUCTIONS:
        for sample_weight in (None, weight.astype(np.float32), np.arange(of_loss[-1])):
            call = {} if sample_weight is None else {"sample_weight": sample_weight}
            check(case, predictions, targets, reduction=reduction, ulps=ULPS, **call)
    upstream = np.linspace(-1.0, 1.0, weight.size).reshape(of_loss)
    check(case, predictions, targets, reduction="none", grad_output=upstream, ulps=ULPS)
    check(case, predictions, targets, reduction="mean", grad_output=-0.5, ulps=ULPS)


@each("case", on_device(CORE_FIRST))
def test_sample_weight_as_a_number(case):
    predictions, targets = case.draw((4, 5), FLOAT64)
    for reduction in REDUCTIONS:
        expected = truth(case, predictions, targets, reduction, sample_weight=0.25)
        loss = case.function(predictions, targets, reduction=reduction, sample_weight=0.25)
        check_loss(loss, expected, FLOAT64, ULPS)


@each("case", on_device(CORE_FIRST))
def test_upstream_gradient_that_stays_on_the_device(case):
    """A 0-d array: to look at it would be to wait for the device."""
    predictions, targets = case.draw((4, 5), FLOAT32)
    expected = truth(case, predictions, targets, grad_output=3.0)
    grad = case.function.grad(predictions, targets, grad_output=np.array(3.0, np.float32))
    np.testing.assert_allclose(grad, expected.grad, rtol=1e-5, atol=1e-6)


@each("case", on_device(CORE_PLAIN))
def test_methods_agree(case):
    predictions, targets = case.draw((4, 37), FLOAT32)
    loss, grad = case.function.value_and_grad(predictions, targets)
    assert_same_bits(case.function.grad(predictions, targets), grad)
    np.testing.assert_allclose(case.function(predictions, targets), loss, rtol=1e-6)


@each("case", on_device(CORE_PLAIN))
def test_same_bits_every_time(case):
    shape = (30, 50) if SIMULATED else (3000, 1003)
    predictions, targets = case.draw(shape, FLOAT32)
    loss, grad = case.function.value_and_grad(predictions, targets)
    for _ in range(2 if SIMULATED else 20):
        again, grad_again = case.function.value_and_grad(predictions, targets)
        assert_same_bits(again, loss)
        assert_same_bits(grad_again, grad)


@pytest.mark.parametrize("shape, axis", [((3, 5, 4), 1), ((4, 3), 0), ((2, 9, 2, 3), 1)])
@each("case", on_device([case for case in CORE_PLAIN if case.over_classes]))
def test_class_axis_anywhere(case, shape, axis):
    predictions, targets = case.draw(shape, FLOAT32, axis=axis)
    check(case, predictions, targets, ulps=ULPS, **case.options(shape, axis))
    check(case, predictions, targets, reduction="none", ulps=ULPS, **case.options(shape, axis))
