"""The contract's "Edges" of the element-wise losses, of probabilities, and of empty batches."""

import numpy as np
import pytest

import fastloss as fl
from fastloss.cpu.compile import KERNELS
from tests.catalogue import CORE_FIRST, FIRST
from tests.checks import grad_of
from tests.helpers import BFLOAT16, EPS, FLOAT32, FLOAT64, Unchanged, each, each_dtype, f64

INF, NAN = np.inf, np.nan


@pytest.mark.parametrize("bad", [-0.25, 1.25, NAN, INF, -INF])
@pytest.mark.parametrize("which", ["predictions", "targets"])
def test_probability_outside_the_unit_interval(which, bad):
    """ValueError that names the first offender and where it stands."""
    arrays = {"predictions": np.full((3, 4), 0.5), "targets": np.full((3, 4), 0.5)}
    arrays[which][1, 2] = bad
    arrays[which][2, 3] = 9.0
    out = np.full((3, 4), 7.0)
    with Unchanged(*arrays.values(), out), pytest.raises(ValueError, match=which[:-1]) as caught:
        fl.binary_cross_entropy.value_and_grad(**arrays, out=out)
    message = str(caught.value)
    assert str(bad) in message and "(1, 2)" in message and "9.0" not in message
    with Unchanged(arrays["predictions"]), pytest.raises(ValueError, match=which[:-1]):
        grad_of(fl.binary_cross_entropy, **arrays, out=arrays["predictions"])


@each_dtype
def test_probability_off_by_rounding_is_accepted(dtype):
    """A softmax may give 1 + eps."""
    one = np.array([1.0, 1.0], dtype)
    above = (f64(one) + np.array([0, EPS[dtype]])).astype(dtype)
    loss, grad = fl.binary_cross_entropy.value_and_grad(above, np.ones(2, dtype))
    assert abs(loss) <= 2**-7 and np.isfinite(f64(grad)).all()


def test_binary_cross_entropy_clamps_like_torch():
    """log 0 is -100, and the gradient's denominator at least 1e-12."""
    p, y = np.array([0.0, 1.0, 0.0, 1.0]), np.array([0.0, 1.0, 1.0, 0.0])
    loss, grad = fl.binary_cross_entropy.value_and_grad(p, y, reduction="none")
    np.testing.assert_array_equal(loss, [0, 0, 100, 100])
    np.testing.assert_allclose(grad, [0, 0, -1e12, 1e12], rtol=1e-8)


@each_dtype
def test_a_probability_of_minus_0_is_one_of_0(dtype):
    """What a rounded negative number leaves behind."""
    zeros, ones = np.array([-0.0, 0.0], dtype), np.ones(2, dtype)
    loss, grad = fl.binary_cross_entropy.value_and_grad(zeros, ones, reduction="none")
    assert f64(loss).tolist() == [100, 100] and grad[0] == grad[1]


def test_categorical_clamps_its_logs():
    p = np.array([[0.0, 1.0], [0.5, 0.5]])
    loss, grad = fl.categorical_cross_entropy.value_and_grad(p, np.array([0, 0]), reduction="none")
    np.testing.assert_allclose(loss, [100, np.log(2)], rtol=1e-15)
    np.testing.assert_allclose(grad, [[-1e12, 0], [-2, 0]], rtol=1e-8)
    soft = np.array([[0.0, 1.0], [0.5, 0.5]])
    loss = fl.categorical_cross_entropy(p, soft, reduction="none")
    np.testing.assert_allclose(loss, [0, np.log(2)], rtol=1e-15)


def test_categorical_takes_probabilities_as_given():
    """Not renormalised."""
    loss = fl.categorical_cross_entropy(np.array([[0.5, 2.0]]), np.array([0]))
    np.testing.assert_allclose(loss, np.log(2), rtol=1e-15)


@pytest.mark.parametrize("bad", [0.0, 2.0, -1.5, NAN])
def test_hinge_targets_must_be_signs(bad):
    targets = np.array([1.0, -1.0, bad, 7.0])
    out = np.full(4, 7.0)
    with Unchanged(targets, out), pytest.raises(ValueError, match="2") as caught:
        fl.hinge.value_and_grad(np.zeros(4), targets, out=out)
    assert f"{bad:g}" in str(caught.value) and "7" not in str(caught.value)


@each("given", ["nothing", "out", "weights", "upstream"])
@each("reduction", ["mean", "none"])
def test_the_first_of_many_in_a_large_array(given, reduction):
    """Looked for while computing where nobody sees what is written, before it elsewhere."""
    targets = np.ones(200_000, np.float32)
    targets[[70_001, 70_002, 150_000, 199_999]] = 3.0, 4.0, 5.0, 6.0
    predictions, out = np.zeros_like(targets), np.full_like(targets, 7)
    arguments = {
        "nothing": {},
        "out": {"out": out},
        "weights": {"sample_weight": np.float32(2)},
        "upstream": {"grad_output": np.float32(2)},
    }[given]
    for call in (fl.hinge.value_and_grad, fl.hinge.grad, fl.hinge.grad_and_hess):
        with (
            Unchanged(predictions, targets, out),
            pytest.raises(ValueError, match=r"at .70001,. .* 3$"),
        ):
            call(predictions, targets, reduction=reduction, **arguments)
    if given == "nothing":
        with pytest.raises(ValueError, match=r"at .70001,. .* 3$"):
            fl.hinge(predictions, targets, reduction=reduction)


@each("order", ["C", "F"])
def test_the_first_is_that_of_the_indices_in_any_layout(order):
    p = np.asarray([[0.5, 0.5, 7.0], [9.0, 0.5, 0.5]], order=order)
    for out in (None, np.zeros_like(p)):
        with pytest.raises(ValueError, match=r"at \(0, 2\) the prediction is 7"):
            fl.binary_cross_entropy.value_and_grad(p, np.zeros_like(p), out=out)


@each("targets", [np.array([1, 0]), np.array([True, False]), np.array([1, 255], np.uint8)])
def test_hinge_targets_of_other_dtypes_must_be_signs(targets):
    with pytest.raises(ValueError, match="1"):
        fl.hinge(np.zeros(2), targets)


@pytest.mark.parametrize("squared", [False, True])
def test_hinge_at_the_margin(squared):
    """The subgradient at the tie is 0."""
    p, y = np.array([1.0, -1.0]), np.array([1.0, -1.0])
    loss, grad = fl.hinge.value_and_grad(p, y, squared=squared)
    assert loss == 0 and not grad.any()


def test_logits_of_any_finite_size():
    """binary_cross_entropy_with_logits is stable for every finite z.

    No inf, no nan, the right limit.
    """
    for dtype in (np.float32, np.float64):
        z = np.array([0, 1, 30, 100, 1e4, np.finfo(dtype).max], dtype)
        z = np.concatenate([-z[::-1], z])
        for y in (0.0, 1.0):
            loss, grad = fl.binary_cross_entropy_with_logits.value_and_grad(
                z, np.full_like(z, y), reduction="none"
            )
            away = z if y == 0 else -z
            np.testing.assert_allclose(loss[away > 50], away[away > 50], rtol=2e-7)
            assert (loss >= 0).all() and (loss[away < -50] < 1e-20).all()
            assert np.isfinite(grad).all() and (np.abs(grad) <= 1).all()


# --- nothing at all ---------------------------------------------------------------------


@each("case", CORE_FIRST)
def test_empty_batch(case):
    predictions, targets = case.draw((0, 3), FLOAT32)
    assert case.function(predictions, targets, reduction="sum") == 0
    rows = case.function(predictions, targets, reduction="none")
    assert rows.shape == ((0,) if case.over_classes else (0, 3))
    grad, hess = case.function.grad_and_hess(predictions, targets)
    assert grad.shape == hess.shape == (0, 3)


@each("case", CORE_FIRST)
@each("dtype", [FLOAT64, FLOAT32, BFLOAT16])
def test_mean_and_gradient_of_an_empty_batch(case, dtype):
    predictions, targets = case.draw((0, 3), dtype)
    loss, grad = case.function.value_and_grad(predictions, targets)
    assert np.isnan(loss) and grad.shape == (0, 3) and grad.dtype == dtype


@each("case", CORE_FIRST)
def test_an_empty_batch_into_out(case):
    """In place as well; NumPy gives arrays without elements strides of 0."""
    predictions, targets = case.draw((0, 3), FLOAT32)
    assert grad_of(case.function, predictions, targets, out=predictions) is predictions
    out = np.empty((0, 3), np.float32)
    assert grad_of(case.function, predictions, targets, out=out) is out


@each("case", CORE_FIRST)
def test_empty_batch_needs_no_kernel_of_its_own(case):
    """The last batch of a shard would wait seconds for it."""

    def compiled():
        return sum("compiled" in vars(kernel) for kernel in KERNELS)

    case.function.value_and_grad(*case.draw((4, 3), FLOAT32))
    before = compiled()
    case.function.value_and_grad(*case.draw((0, 3), FLOAT32))
    assert before and compiled() == before


@each("case", [case for case in CORE_FIRST if case.over_classes])
def test_empty_in_another_axis(case):
    predictions = np.zeros((2, 3, 0))
    targets = np.zeros((2, 0), int) if case.kind == "hard" else predictions
    loss, grad = case.function.value_and_grad(predictions, targets, axis=1)
    assert np.isnan(loss) and grad.shape == (2, 3, 0)


@each("loss", ["cross_entropy", "categorical_cross_entropy"])
@each("batch", [0, 3])
def test_no_classes(loss, batch):
    with pytest.raises(ValueError, match="class"):
        getattr(fl, loss)(np.zeros((batch, 0)), np.zeros(batch, int))


@each("case", FIRST)
def test_one_bad_element_of_the_elementwise(case):
    """nan in, nan out, for that element alone."""
    if case.over_classes or case.loss.name == "binary_cross_entropy":
        pytest.skip("tested above")
    predictions, targets = case.draw((9,), FLOAT32)
    expected = case.function.value_and_grad(predictions, targets, reduction="none")
    predictions[4] = NAN
    got = case.function.value_and_grad(predictions, targets, reduction="none")
    for a, b in zip(got, expected, strict=True):
        assert np.isnan(a[4])
        np.testing.assert_array_equal(np.delete(a, 4), np.delete(b, 4))


def test_poisson_of_nothing():
    """No events at a rate of 0 or next to it, and no eps: p - 0 log(p)."""
    rates, none = np.array([0.0, 1e-320, 2.0]), np.zeros(3)
    call = {"log_input": False, "eps": 0.0, "reduction": "none"}
    loss, grad = fl.poisson_nll.value_and_grad(rates, none, **call)
    _, hess = fl.poisson_nll.grad_and_hess(rates, none, **call)
    assert loss.tolist() == rates.tolist() and grad.tolist() == [1, 1, 1] and not hess.any()
    assert fl.poisson_nll.grad(np.zeros(1), np.ones(1), **call).tolist() == [-np.inf]
