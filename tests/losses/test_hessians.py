"""The diagonal hessian, for boosters."""

import numpy as np

import fastloss as fl
from tests.catalogue import CASES, CORE_PLAIN
from tests.checks import check_hess
from tests.helpers import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, each
from tests.oracles import differences


@each("case", CASES)
def test_hessian(case):
    shape = (13, 6)
    predictions, targets = case.draw(shape, FLOAT64, seed=3)
    check_hess(case, predictions, targets, **case.options(shape))


@each("case", CORE_PLAIN)
@each("dtype", [FLOAT32, FLOAT16, BFLOAT16])
def test_hessian_in_every_dtype(case, dtype):
    predictions, targets = case.draw((6, 5), dtype, seed=3)
    check_hess(case, predictions, targets)


@each("case", CORE_PLAIN)
def test_hessian_is_reduced_like_the_gradient(case, rng):
    shape = (6, 5)
    predictions, targets = case.draw(shape, FLOAT64, seed=4)
    rows = shape[:1] if case.over_classes else shape
    weight = rng.uniform(0.5, 2, rows)
    upstream = rng.standard_normal(rows)
    check_hess(case, predictions, targets, reduction="sum", sample_weight=weight)
    check_hess(case, predictions, targets, reduction="mean", sample_weight=weight, grad_output=3.0)
    check_hess(
        case, predictions, targets, reduction="none", sample_weight=weight, grad_output=upstream
    )


@each("case", [case for case in CASES if case.loss.exact_slopes])
def test_hessian_is_the_slope_of_the_gradient(case):
    shape = (3, 3)
    predictions, targets = case.draw_smooth(shape, seed=5)
    options = case.options(shape) | {"reduction": "sum"}

    def grad_and_hess(p):
        return case.function.grad_and_hess(p, targets, **options)

    slope = differences.diagonal(lambda p: grad_and_hess(p)[0], predictions)
    np.testing.assert_allclose(grad_and_hess(predictions)[1], slope, rtol=1e-7, atol=1e-8)


@each("case", CORE_PLAIN)
def test_gradient_goes_to_out(case):
    predictions, targets = case.draw((6, 5), FLOAT32)
    out = np.full((6, 5), 7, np.float32)
    grad, hess = case.function.grad_and_hess(predictions, targets, out=out)
    assert grad is out and not np.shares_memory(hess, out)
    expected, _ = case.function.grad_and_hess(predictions, targets)
    np.testing.assert_array_equal(out, expected)


def test_hessian_in_place():
    """The curvature must be taken before the logits are overwritten by the gradient."""
    logits = np.random.default_rng(0).standard_normal((4, 7)).astype(np.float32)
    targets = np.arange(4)
    grad, hess = fl.cross_entropy.grad_and_hess(logits, targets)
    buffer = logits.copy()
    _, in_place = fl.cross_entropy.grad_and_hess(buffer, targets, out=buffer)
    np.testing.assert_array_equal(buffer, grad)
    np.testing.assert_array_equal(in_place, hess)


def test_softmax_curvature_of_a_booster():
    """p (1 - p), times the row's weight: what a booster's leaf divides by."""
    margins = np.array([[0.0, 0.0, 0.0], [np.log(2.0), 0.0, 0.0]])
    _, hess = fl.cross_entropy.grad_and_hess(
        margins, np.array([0, 1]), reduction="sum", sample_weight=np.array([1.0, 4.0])
    )
    np.testing.assert_allclose(hess, [[2 / 9] * 3, [1.0, 0.75, 0.75]], rtol=1e-14)
