"""Values against the float64 oracles: every loss, kind of target and set of options."""

import numpy as np

import fastloss as fl
from tests.catalogue import CASES, CORE_PLAIN, LISTED, LOSSES
from tests.checks import REDUCTIONS, check, check_loss, truth
from tests.helpers import FLOAT32, Unchanged, assert_close, assert_same_bits, each, f64

# Class counts on both sides of every likely block, tile and vector width; rows likewise.
CLASS_SHAPES = [
    (1, 1),
    (3, 2),
    (70, 3),
    (65, 10),
    (5, 17),
    (9, 33),
    (3, 100),
    (2, 257),
    (2, 1000),
    (2, 2049),
    (1, 5003),
]
ELEMENT_SHAPES = [(), (1,), (7,), (16, 1), (33,), (3, 5, 7), (1025,), (2, 2049)]


def test_every_loss_is_listed():
    """A loss that is not in the tests' catalogue would be tested by nobody."""
    assert {loss.name for loss in LOSSES} == LISTED


def test_listed_losses_are_the_public_objects():
    losses = fl.losses()
    assert isinstance(losses, tuple)
    for loss in losses:
        assert getattr(fl, loss.name) is loss
        assert callable(loss)


@each("case", CASES)
def test_value(case):
    """The value alone, which has kernels of its own: no gradient is computed on the way."""
    shape = (13, 6)
    predictions, targets = case.draw(shape, FLOAT32)
    options = case.options(shape)
    loss = case.function(predictions, targets, **options)
    check_loss(loss, truth(case, predictions, targets, **options), FLOAT32)


@each("case", CORE_PLAIN)
def test_every_method_gives_the_same(case):
    """Value, value_and_grad, grad and grad_and_hess agree, for every reduction."""
    predictions, targets = case.draw((13, 6), FLOAT32)
    function = case.function
    for reduction in REDUCTIONS:
        options = {"reduction": reduction}
        check(case, predictions, targets, **options)
        loss, grad = function.value_and_grad(predictions, targets, **options)
        with Unchanged(predictions, targets):
            alone = function(predictions, targets, **options)
            assert_same_bits(function.grad(predictions, targets, **options), grad)
            first, _ = function.grad_and_hess(predictions, targets, **options)
        check_loss(alone, truth(case, predictions, targets, **options), FLOAT32)
        assert_close(alone, loss, np.abs(loss), FLOAT32, ulps=1)
        assert_close(first, f64(grad), np.abs(grad), FLOAT32, ulps=1)


@each("case", CORE_PLAIN)
def test_sizes(case):
    """Each size takes another path through blocks, tiles and tails."""
    for seed, shape in enumerate(CLASS_SHAPES if case.over_classes else ELEMENT_SHAPES):
        predictions, targets = case.draw(shape, FLOAT32, seed)
        # Long rows are summed in float32, in lanes: a little more rounding than one operation's.
        check(case, predictions, targets, reduction="none", ulps=8)
        check(case, predictions, targets, ulps=8)


@each("case", CORE_PLAIN)
def test_large_enough_to_run_in_parallel(case):
    for shape in ((3001, 100), (40, 8200)):
        predictions, targets = case.draw(shape, FLOAT32)
        check(case, predictions, targets, ulps=8)


def test_one_example_without_a_batch_axis():
    """(C,) logits and a 0-d index: one example, one 0-d loss."""
    logits = np.array([1.0, 2.0, 0.5])
    expected = np.log(np.exp(logits).sum()) - 2.0
    for reduction in ("none", "sum", "mean"):
        loss = fl.cross_entropy(logits, np.array(1), reduction=reduction)
        assert loss.shape == ()
        np.testing.assert_allclose(loss, expected, rtol=1e-15)
