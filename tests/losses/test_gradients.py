"""Gradients against the oracles' formulas and against differences of the package's own values."""

import numpy as np
import pytest

from tests.catalogue import BY_NAME, CASES, CORE_FIRST, EACH_KIND
from tests.checks import REDUCTIONS, check
from tests.helpers import FLOAT32, FLOAT64, assert_same_bits, each
from tests.oracles import differences


@each("case", CASES)
def test_gradient_in_float64(case):
    shape = (13, 6)
    predictions, targets = case.draw(shape, FLOAT64, seed=1)
    check(case, predictions, targets, **case.options(shape))


@each("case", CASES)
def test_gradient_in_float32(case):
    shape = (13, 6)
    predictions, targets = case.draw(shape, FLOAT32, seed=1)
    reduction = "none" if case in EACH_KIND else "mean"
    check(case, predictions, targets, reduction=reduction, **case.options(shape))


@each("case", [case for case in CASES if case.loss.exact_slopes])
def test_gradient_is_the_slope_of_the_value(case):
    """Value and gradient could share a wrong oracle; they cannot share a wrong slope."""
    shape = (4, 3)
    predictions, targets = case.draw_smooth(shape, seed=2)
    options = case.options(shape)

    def value_and_grad(p):
        return case.function.value_and_grad(p, targets, **options)

    slope = differences.partial(lambda p: value_and_grad(p)[0], predictions)
    np.testing.assert_allclose(value_and_grad(predictions)[1], slope, rtol=1e-7, atol=1e-9)


@each("case", CORE_FIRST)
def test_calls_do_not_influence_each_other(case):
    """A scratch buffer left dirty by a large call would show in the small one after it."""
    small, large = case.draw((5, 4), FLOAT32), case.draw((64, 2500), FLOAT32)
    first = case.function.value_and_grad(*small)
    case.function.value_and_grad(*large)
    again = case.function.value_and_grad(*small)
    for a, b in zip(first, again, strict=True):
        assert_same_bits(a, b)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@each("name", ["cross_entropy-hard-all", "binary_cross_entropy_with_logits-soft-both"])
def test_a_gradient_step_lowers_the_loss(name, reduction):
    """The sign, which a slip in both oracle and loss could turn."""
    case = BY_NAME[name]
    predictions, targets = case.draw((8, 6))
    options = case.options((8, 6)) | {"reduction": reduction}
    before, grad = case.function.value_and_grad(predictions, targets, **options)
    after, _ = case.function.value_and_grad(predictions - 1e-3 * grad, targets, **options)
    assert after.sum() < before.sum()
