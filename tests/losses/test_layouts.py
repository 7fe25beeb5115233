"""Any memory layout is legal for any input, any axis is first-class, and neither costs a copy."""

import itertools
import tracemalloc

import numpy as np
import pytest

import fastloss as fl
from tests.catalogue import BY_NAME, CORE_FIRST, CORE_PLAIN, EACH_KIND
from tests.checks import check, check_hess, grad_of
from tests.helpers import BFLOAT16, EPS, FLOAT16, FLOAT32, FLOAT64, LAYOUTS, each

HARD = BY_NAME["cross_entropy-hard-plain"]
CLASS_CASES = [case for case in CORE_PLAIN if case.over_classes]


@each("layout", LAYOUTS)
@each("case", EACH_KIND)
def test_layout_of_predictions_and_targets(case, layout):
    shape = (4, 3, 5)
    predictions, targets = case.draw(shape, FLOAT32)
    weight = np.linspace(0.5, 2, np.prod(shape[:-1])).reshape(shape[:-1])
    weight = weight if case.over_classes else np.broadcast_to(weight[..., None], shape)
    lay = LAYOUTS[layout]
    expected = case.function.value_and_grad(predictions, targets, sample_weight=weight)
    for p, t, w in (
        (lay(predictions), targets, weight),
        (predictions, lay(targets), weight),
        (predictions, targets, lay(np.ascontiguousarray(weight))),
        (lay(predictions), lay(targets), lay(np.ascontiguousarray(weight))),
    ):
        loss, grad = case.function.value_and_grad(p, t, sample_weight=w)
        # Another layout may take another path through the sums: equal up to rounding, that of
        # the probabilities (a share of a mean over 12 examples) where a target is taken off them.
        np.testing.assert_allclose(loss, expected[0], rtol=5e-7)
        np.testing.assert_allclose(grad, expected[1], rtol=2e-6, atol=EPS[FLOAT32] / 12)


@each("layout", LAYOUTS)
@each("dtype", [FLOAT64, FLOAT32])
@each("name", ["cross_entropy-hard-plain", "mse-real-plain"])
def test_layout_of_weights_and_upstream(name, dtype, layout):
    """In the dtype of the arithmetic or not: a conversion on the way may change the strides."""
    case = BY_NAME[name]
    shape = (4, 3, 5)
    examples = shape[:-1] if case.over_classes else shape
    predictions, targets = case.draw(shape, FLOAT32)
    rng = np.random.default_rng(0)
    weight = LAYOUTS[layout](rng.uniform(0.5, 2, examples).astype(dtype))
    upstream = LAYOUTS[layout](rng.standard_normal(examples).astype(dtype))
    check(case, predictions, targets, sample_weight=weight)
    options = {"sample_weight": weight, "grad_output": upstream, "reduction": "none"}
    check(case, predictions, targets, **options)


@each("layout", LAYOUTS)
@each("dtype", [FLOAT64, FLOAT16, BFLOAT16])
def test_layout_in_other_dtypes(layout, dtype):
    for case in (HARD, BY_NAME["binary_cross_entropy_with_logits-soft-plain"]):
        predictions, targets = case.draw((6, 5), dtype)
        check(case, LAYOUTS[layout](predictions), LAYOUTS[layout](targets))


@each("case", CORE_PLAIN)
def test_zero_strides(case):
    """np.broadcast_to views: one row, seen many times."""
    predictions, targets = case.draw((1, 6), FLOAT32)
    rows = np.broadcast_to(predictions, (5, 6))
    many = np.broadcast_to(targets, (5,) if case.kind == "hard" else (5, 6))
    check(case, rows, many)
    column = np.broadcast_to(predictions[:, :1], (5, 6))
    if case.loss.name != "categorical_cross_entropy":
        check(case, column, many)


@each("case", CLASS_CASES)
@each("dtype", [FLOAT64, FLOAT32])
def test_every_axis_of_every_rank(case, dtype):
    """(C,) to (N, C, H, W): the class axis may be any, by its positive or its negative number."""
    for shape in ((5,), (4, 5), (2, 3, 4), (2, 3, 4, 5)):
        for axis in range(-len(shape), len(shape)):
            predictions, targets = case.draw(shape, dtype, axis=axis)
            check(case, predictions, targets, axis=axis)


@each("name", ["cross_entropy-hard-all", "cross_entropy-soft-all"])
@each("axis", [0, 1, 2, -1])
def test_axis_with_every_option(name, axis):
    """The class weights follow the class axis, and so does everything else."""
    case = BY_NAME[name]
    shape = (3, 4, 5)
    predictions, targets = case.draw(shape, axis=axis)
    options = case.options(shape, axis)
    check(case, predictions, targets, **options)
    check_hess(case, predictions, targets, **options)


@each("layout", LAYOUTS)
@each("axis", [0, 1])
def test_axis_in_every_layout(layout, axis):
    """Strides along the class axis and along the others, in every combination."""
    for case in CLASS_CASES:
        predictions, targets = case.draw((4, 3, 5), FLOAT32, axis=axis)
        check(case, LAYOUTS[layout](predictions), LAYOUTS[layout](targets), axis=axis, ulps=8)


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))), ids=str)
def test_every_memory_order_of_images(order):
    """(N, C, H, W) stored in any of the 24 orders of its axes, channels_last among them."""
    predictions, targets = HARD.draw((2, 3, 4, 5), FLOAT32, axis=1)
    stored = np.ascontiguousarray(predictions.transpose(order)).transpose(np.argsort(order))
    assert stored.shape == predictions.shape
    check(HARD, stored, targets, axis=1)
    check(HARD, stored, targets, axis=1, reduction="none")


def test_a_large_inner_axis():
    """C small, H*W large.

    The natural image case, long enough to take blocks along the inner axis.
    """
    for shape in ((2, 3, 70, 90), (1, 21, 64, 65), (3, 150, 11, 7)):
        predictions, targets = HARD.draw(shape, FLOAT32, axis=1)
        check(HARD, predictions, targets, axis=1, ulps=8)
        check(HARD, predictions, targets, axis=1, reduction="none", ulps=8)


@each("case", CORE_FIRST)
def test_inputs_may_be_read_only_and_shared(case):
    """A read-only array used at several places at once."""
    if case.loss.name == "hinge":
        pytest.skip("predictions are no hinge targets")
    p = np.full((4, 4), 0.25)
    p.flags.writeable = False
    targets = p if case.kind in ("soft", "real") else np.zeros(4, np.int64)
    loss, grad = case.function.value_and_grad(
        p, targets, sample_weight=p[:, 0] if case.over_classes else p
    )
    assert np.isfinite(loss) and np.isfinite(grad).all()
    assert (p == 0.25).all()


COPYING_LAYOUTS = {
    "rows": (lambda a: a, -1),
    "images": (lambda a: a.reshape(8, 512, 16, 32), 1),
    "first-axis": (lambda a: a.reshape(512, 4096), 0),
    "fortran": (lambda a: np.asfortranarray(a.reshape(4096, 512)), -1),
    "reversed": (lambda a: a.reshape(4096, 512)[::-1, ::-1], -1),
    "strided": (lambda a: a.reshape(2048, 1024)[:, ::2], -1),
}


@pytest.mark.parametrize("arrange, axis", COPYING_LAYOUTS.values(), ids=COPYING_LAYOUTS)
def test_no_copy_of_the_predictions(arrange, axis):
    """NumPy reports its allocations to tracemalloc.

    With `out` given, a call may need far less than one copy.
    """
    logits = arrange(np.zeros((4096, 512), np.float32))
    rest = list(logits.shape)
    del rest[axis]
    targets = np.zeros(rest, np.int64)
    out = np.empty_like(logits)
    fl.cross_entropy.value_and_grad(logits, targets, axis=axis, out=out)
    tracemalloc.start()
    fl.cross_entropy.value_and_grad(logits, targets, axis=axis, out=out)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < logits.nbytes / 8


def test_elementwise_takes_no_copy_either():
    p = np.zeros((2048, 1024), np.float32)[:, ::2]
    y = np.asfortranarray(p)
    out = np.empty_like(p)
    fl.mse.value_and_grad(p, y, out=out)
    tracemalloc.start()
    fl.mse.value_and_grad(p, y, out=out)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < p.nbytes / 8


@each("case", CORE_FIRST)
def test_byte_swapped_is_refused(case):
    predictions, targets = case.draw((4, 3), FLOAT32)
    swapped = predictions.astype(predictions.dtype.newbyteorder())
    with pytest.raises(TypeError, match="byte"):
        case.function(swapped, targets)
    with pytest.raises(TypeError, match="byte"):
        case.function(predictions, targets.astype(targets.dtype.newbyteorder()))
    with pytest.raises(TypeError, match=r"byte|[<>]f4"):
        grad_of(case.function, predictions, targets, out=np.zeros_like(swapped))
