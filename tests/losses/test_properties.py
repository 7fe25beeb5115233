"""Hypothesis draws shapes, dtypes, layouts, options and weights; the oracles judge."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.catalogue import CORE_CASES
from tests.checks import REDUCTIONS, check, check_grad, grad_of, truth
from tests.helpers import (
    BFLOAT16,
    FLOAT16,
    FLOAT32,
    FLOAT64,
    LAYOUTS,
    WRITABLE_LAYOUTS,
)

CLASS_CASES = [case for case in CORE_CASES if case.over_classes]
ELEMENT_CASES = [case for case in CORE_CASES if not case.over_classes]
# Mostly the dtypes and options whose kernels other tests have compiled already.
LEAN = [case for case in CORE_CASES if case.option_set in ("plain", "all", "melted", "both")]

layouts = st.sampled_from([np.copy, *LAYOUTS.values()])
dtypes = st.sampled_from([FLOAT64, FLOAT32])
reductions = st.sampled_from(REDUCTIONS)
seeds = st.integers(0, 2**32 - 1)
lengths = st.one_of(st.integers(1, 9), st.integers(1, 70))


@st.composite
def calls(draw, cases, dtypes=dtypes):
    """A case with predictions, targets and everything that may accompany them."""
    case = draw(st.sampled_from(cases))
    shape = tuple(draw(st.lists(lengths, min_size=1, max_size=3)))
    axis = draw(st.integers(-len(shape), len(shape) - 1)) if case.over_classes else -1
    predictions, targets = case.draw(shape, draw(dtypes), draw(seeds), axis)
    call = case.options(shape, axis) | {"reduction": draw(reductions)}
    examples = tuple(np.delete(shape, axis)) if case.over_classes else shape
    rng = np.random.default_rng(draw(seeds))
    if draw(st.booleans()):
        lead = draw(st.integers(0, len(examples)))
        weight = rng.uniform(0, 2, examples[lead:]) * rng.integers(0, 4, examples[lead:]).clip(0, 1)
        call["sample_weight"] = draw(layouts)(np.asarray(weight)) if weight.ndim else weight
    if draw(st.booleans()):
        call["grad_output"] = rng.standard_normal(examples if call["reduction"] == "none" else ())
    layout = draw(layouts)
    return case, layout(predictions), draw(layouts)(targets) if targets.ndim else targets, call


def ulps(predictions, reduction):
    """What adding so many losses may cost: in float64 the sum rounds like the terms."""
    rounds = predictions.dtype == FLOAT64 and reduction != "none"
    return 8 + (np.sqrt(predictions.size) / 4 if rounds else 0)


@given(calls(CLASS_CASES))
def test_over_classes(call):
    case, predictions, targets, options = call
    check(case, predictions, targets, ulps=ulps(predictions, options["reduction"]), **options)


@given(calls(ELEMENT_CASES))
def test_elementwise(call):
    case, predictions, targets, options = call
    check(case, predictions, targets, ulps=ulps(predictions, options["reduction"]), **options)


@given(calls(LEAN, st.sampled_from([FLOAT16, BFLOAT16])))
def test_narrow_dtypes(call):
    case, predictions, targets, options = call
    check(case, predictions, targets, ulps=ulps(predictions, options["reduction"]), **options)


@given(calls(LEAN), st.sampled_from(list(WRITABLE_LAYOUTS.values())))
def test_out_is_any_memory(call, layout):
    """And the predictions' own. How it lies there decides which kernel writes it."""
    case, predictions, targets, options = call
    expected = truth(case, predictions, targets, **options)
    inside = layout(predictions.copy())
    for given_to, out in ((predictions, layout(np.zeros_like(predictions))), (inside, inside)):
        assert grad_of(case.function, given_to, targets, out=out, **options) is out
        check_grad(out, expected, out.dtype, ulps(predictions, options["reduction"]))


@given(seeds, st.integers(1, 40), st.integers(2, 40))
def test_shift_and_permutation(seed, count, width):
    """Cross-entropy knows neither the level of the logits nor the order of classes and examples."""
    import fastloss as fl

    rng = np.random.default_rng(seed)
    logits, targets = rng.standard_normal((count, width)), rng.integers(0, width, count)
    loss, grad = fl.cross_entropy.value_and_grad(logits, targets, reduction="none")
    shifted = fl.cross_entropy(
        logits + 64 * rng.standard_normal((count, 1)), targets, reduction="none"
    )
    np.testing.assert_allclose(shifted, loss, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(grad.sum(1), 0, atol=1e-15 * width)
    order, sort = rng.permutation(width), rng.permutation(count)
    place = np.argsort(order)[targets]
    other, other_grad = fl.cross_entropy.value_and_grad(
        logits[:, order][sort], place[sort], reduction="none"
    )
    np.testing.assert_allclose(other, loss[sort], rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(other_grad, grad[:, order][sort], rtol=1e-12, atol=1e-14)
