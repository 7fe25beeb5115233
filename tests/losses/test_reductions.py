"""mean, sum, none; weights; the upstream gradient; where the gradient goes."""

import numpy as np
import pytest

import fastloss as fl
from tests.catalogue import BY_NAME, CASES, CORE_FIRST, CORE_PLAIN, EACH, EACH_KIND
from tests.checks import REDUCTIONS, check, grad_of
from tests.helpers import (
    BFLOAT16,
    EPS,
    FLOAT16,
    FLOAT32,
    FLOAT64,
    WRITABLE_LAYOUTS,
    assert_same_bits,
    each,
    each_dtype,
    f64,
    reversed_strides,
    strided,
)

SHAPE = (7, 6)


def example_shape(case, shape=SHAPE):
    """The shape of the unreduced loss."""
    return shape[:-1] if case.over_classes else shape


@pytest.mark.parametrize(
    ("case", "reduction"),
    [(case, reduction) for case in EACH_KIND for reduction in REDUCTIONS]
    + [(case, "mean") for case in EACH if case not in EACH_KIND],
    ids=str,
)
def test_reduction_with_weights_and_upstream(case, reduction, rng):
    predictions, targets = case.draw(SHAPE, FLOAT32)
    weight = rng.uniform(0.25, 2, example_shape(case))
    check(case, predictions, targets, reduction=reduction)
    check(case, predictions, targets, reduction=reduction, sample_weight=weight)
    check(case, predictions, targets, reduction=reduction, sample_weight=weight, grad_output=-2.5)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@each(
    "name",
    [f"{c}-{o}" for c in ("cross_entropy-hard", "cross_entropy-soft") for o in ("melted", "all")],
)
def test_class_and_sample_weights_together(name, reduction, rng):
    """mean divides by sum(sample_weight * class_weight[target]) for indices, by
    sum(sample_weight) for soft targets.
    """
    case = BY_NAME.get(name)
    predictions, targets = case.draw((9, 5))
    weight = rng.uniform(0.25, 2, 9)
    check(
        case,
        predictions,
        targets,
        reduction=reduction,
        sample_weight=weight,
        **case.options((9, 5)),
    )


@each("case", CORE_PLAIN)
def test_sum_and_mean_are_made_of_none(case):
    predictions, targets = case.draw(SHAPE, FLOAT32)
    rows = case.function(predictions, targets, reduction="none")
    assert rows.shape == example_shape(case)
    total = f64(rows).sum()
    np.testing.assert_allclose(
        case.function(predictions, targets, reduction="sum"), total, rtol=3e-7
    )
    mean = case.function(predictions, targets)
    np.testing.assert_allclose(mean, total / rows.size, rtol=3e-7)


@each("case", CORE_FIRST)
def test_weights_broadcast(case, rng):
    """Against the per-example loss: a scalar, a row, a column."""
    shape = (4, 3, 5)
    predictions, targets = case.draw(shape, FLOAT32)
    examples = example_shape(case, shape)
    shapes = {
        (),
        examples,
        examples[-1:],
        (examples[0],) + (1,) * (len(examples) - 1),
        (1,) * len(examples),
    }
    for weight_shape in sorted(shapes):
        weight = rng.uniform(0.5, 2, weight_shape)
        for reduction in ("mean", "sum"):
            check(case, predictions, targets, reduction=reduction, sample_weight=weight)
    check(case, predictions, targets, sample_weight=2.0)
    check(case, predictions, targets, reduction="none", sample_weight=3)


@each("weight_dtype", [FLOAT16, BFLOAT16, FLOAT32, FLOAT64, np.dtype(np.int64), np.dtype(bool)])
def test_weights_of_any_real_dtype(weight_dtype):
    case = BY_NAME["cross_entropy-hard-plain"]
    predictions, targets = case.draw(SHAPE, FLOAT32)
    weight = np.array([1, 0, 1, 1, 0, 1, 1]).astype(weight_dtype)
    keep = f64(weight) != 0
    loss, grad = fl.cross_entropy.value_and_grad(predictions, targets, sample_weight=weight)
    kept, kept_grad = fl.cross_entropy.value_and_grad(predictions[keep], targets[keep])
    np.testing.assert_array_equal(loss, kept)
    np.testing.assert_array_equal(grad[keep], kept_grad)
    assert not grad[~keep].any()


@each("case", CORE_PLAIN)
def test_weight_zero_removes_the_example(case):
    """Even when its loss is nan: as if it had not been there."""
    predictions, targets = case.draw(SHAPE)
    if case.loss.name == "binary_cross_entropy":
        predictions[2] = 0.0  # a nan is refused there
    else:
        predictions[2] = np.nan
    weight = np.ones(example_shape(case))
    weight[2] = 0
    keep = np.arange(SHAPE[0]) != 2
    loss, grad = case.function.value_and_grad(predictions, targets, sample_weight=weight)
    expected, expected_grad = case.function.value_and_grad(predictions[keep], targets[keep])
    np.testing.assert_allclose(loss, expected, rtol=1e-15)
    np.testing.assert_allclose(grad[keep], expected_grad, rtol=1e-14)
    assert not grad[2].any()
    rows = case.function(predictions, targets, sample_weight=weight, reduction="none")
    assert not rows[2].any()


@each("case", CORE_FIRST)
def test_mean_over_weights_of_zero(case):
    """A mean over nothing is nan; its gradient is 0, not nan."""
    predictions, targets = case.draw(SHAPE)
    weight = np.zeros(example_shape(case))
    loss, grad = case.function.value_and_grad(predictions, targets, sample_weight=weight)
    assert np.isnan(loss) and not grad.any()
    assert case.function(predictions, targets, sample_weight=weight, reduction="sum") == 0


@each("case", CORE_PLAIN)
@each("dtype", [FLOAT32, BFLOAT16])
def test_upstream_gradient_per_example(case, dtype, rng):
    predictions, targets = case.draw(SHAPE, dtype)
    examples = example_shape(case)
    weight = rng.uniform(0.5, 2, examples)
    upstream = rng.standard_normal(examples).astype(np.float32)
    wide = np.broadcast_to(np.float32(0.75), examples)
    for grad_output in (
        upstream,
        wide,
        strided(upstream),
        reversed_strides(upstream),
        f64(upstream),
    ):
        check(
            case,
            predictions,
            targets,
            reduction="none",
            sample_weight=weight,
            grad_output=grad_output,
        )


@pytest.mark.parametrize(
    "grad_output", [2, 2.0, np.float32(2), np.array(2.0), np.array(2, np.float32)], ids=repr
)
def test_upstream_gradient_as_any_scalar(grad_output):
    case = BY_NAME["cross_entropy-hard-plain"]
    predictions, targets = case.draw(SHAPE)
    once = grad_of(fl.cross_entropy, predictions, targets)
    twice = grad_of(fl.cross_entropy, predictions, targets, grad_output=grad_output)
    np.testing.assert_allclose(twice, 2 * once, rtol=1e-15)


@each("case", [case for case in CASES if case in EACH_KIND or not case.over_classes])
def test_in_place_is_bit_equal(case):
    predictions, targets = case.draw((9, 70))
    options = case.options((9, 70))
    loss, grad = case.function.value_and_grad(predictions, targets, **options)
    out = np.full_like(predictions, 9)
    loss_out, returned = case.function.value_and_grad(predictions, targets, out=out, **options)
    assert returned is out
    assert_same_bits(out, grad)
    assert_same_bits(loss_out, loss)
    loss_in, returned = case.function.value_and_grad(
        predictions, targets, out=predictions, **options
    )
    assert returned is predictions
    assert_same_bits(predictions, grad)
    assert_same_bits(loss_in, loss)


@each("case", CORE_FIRST)
@each_dtype
def test_in_place_in_every_dtype_and_size(case, dtype):
    for shape in ((3, 2), (70, 5), (2, 3000), (130, 1100)):
        predictions, targets = case.draw(shape, dtype)
        expected = grad_of(case.function, predictions, targets)
        assert grad_of(case.function, predictions, targets, out=predictions) is predictions
        assert_same_bits(predictions, expected)


@each("layout", WRITABLE_LAYOUTS)
@each("case", CORE_FIRST)
def test_out_in_any_layout(case, layout):
    predictions, targets = case.draw((4, 3, 5), FLOAT32)
    expected = grad_of(case.function, predictions, targets)
    out = WRITABLE_LAYOUTS[layout](np.zeros_like(predictions))
    assert grad_of(case.function, predictions, targets, out=out) is out
    # Where classes lie apart, softmax adds up their exponentials in another order.
    rounding = 4 * np.finfo(np.float32).eps if case.function is fl.cross_entropy else 0.0
    np.testing.assert_allclose(out, expected, rtol=rounding)
    # In place, too, and only the elements of the view: what lies between them stays.
    inside = WRITABLE_LAYOUTS[layout](predictions)
    grad_of(case.function, inside, targets, out=inside)
    np.testing.assert_allclose(inside, expected, rtol=rounding)


def test_out_leaves_the_gaps_of_its_memory():
    big = np.full((8, 12), 5.0)
    logits, targets = BY_NAME["cross_entropy-hard-plain"].draw((4, 6))
    grad_of(fl.cross_entropy, logits, targets, out=big[::2, ::2])
    expected = grad_of(fl.cross_entropy, logits, targets)
    # Classes that lie apart are added up in another order: the roundings of a sum, a quotient,
    # a product.
    np.testing.assert_allclose(big[::2, ::2], expected, rtol=4 * EPS[FLOAT64])
    assert (big[1::2] == 5).all() and (big[:, 1::2] == 5).all()


@each("case", CORE_FIRST)
def test_without_out_the_result_is_fresh(case):
    """Not a view of an input, nor of the result before."""
    predictions, targets = case.draw(SHAPE)
    first = grad_of(case.function, predictions, targets)
    second = grad_of(case.function, predictions, targets)
    for a, b in ((first, second), (first, predictions), (second, predictions)):
        assert not np.shares_memory(a, b)
    assert first.flags.writeable


def test_mean_is_accumulated_in_float64():
    """A million equal float32 losses: a float32 running sum is off in the fourth digit."""
    predictions = np.full(1_000_003, 0.1, np.float32)
    expected = 0.5 * np.float64(np.float32(0.1)) ** 2
    loss = fl.mse(predictions, np.zeros_like(predictions))
    assert abs(loss - expected) <= 2 * np.spacing(np.float32(expected))
    logits = np.zeros((300_001, 2), np.float32)
    loss = fl.cross_entropy(logits, np.zeros(300_001, np.int64))
    assert abs(loss - np.log(2)) <= 2 * np.spacing(np.float32(0.5))
