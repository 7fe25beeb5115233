"""NT-Xent beside its formula and optax, its edges, and what its examples do to each other."""

import tracemalloc

import numpy as np
import pytest

import fastloss as fl
from tests.helpers import (
    BFLOAT16,
    DTYPES,
    FLOAT16,
    FLOAT32,
    FLOAT64,
    LAYOUTS,
    assert_same_bits,
    each,
    f64,
    loss_dtype,
    run_python,
    working_eps,
)
from tests.oracles import similarity

LABELS = np.array([0, 2, 0, 1, 2, 2, 1, 0, 5])
"""Of one, two and two positives; the last has none."""


def embeddings(rng, dtype=FLOAT64, entries=4):
    return rng.standard_normal((len(LABELS), entries)).astype(dtype)


# --- values -----------------------------------------------------------------------------


@each("dtype", DTYPES)
@each("temperature", [0.07, 1.0])
def test_losses_and_their_reductions(dtype, temperature, rng):
    x = embeddings(rng, dtype)
    expected, has = similarity.losses(f64(x), LABELS, temperature)
    weight = rng.uniform(0.5, 2.0, len(x))
    tolerance = {"rtol": 0, "atol": 16 * working_eps(dtype) / temperature}
    call = {"temperature": temperature}
    rows = fl.ntxent(x, LABELS, reduction="none", **call)
    assert rows.dtype == loss_dtype(dtype) and rows.shape == (len(x),)
    np.testing.assert_allclose(rows, expected, **tolerance)
    assert rows[-1] == 0
    # The anchor without a positive counts for nothing.
    loss = fl.ntxent(x, LABELS, **call)
    assert type(loss) is np.ndarray and loss.shape == ()
    np.testing.assert_allclose(loss, expected[has].mean(), **tolerance)
    loss = fl.ntxent(x, LABELS, sample_weight=weight, **call)
    mean = (weight * expected).sum() / weight[has].sum()
    np.testing.assert_allclose(loss, mean, **tolerance)
    loss = fl.ntxent(x, LABELS, sample_weight=weight, reduction="sum", **call)
    np.testing.assert_allclose(loss, (weight * expected).sum(), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("temperature", [0.07, 1.0])
def test_agrees_with_optax(temperature, rng):
    """Where all have as many positives, the mean over pairs is that over anchors."""
    jax, optax = pytest.importorskip("jax"), pytest.importorskip("optax")
    x, labels = rng.standard_normal((12, 5)), np.repeat(np.arange(4), 3)
    with jax.enable_x64(True):
        value, slope = jax.value_and_grad(
            lambda a: optax.losses.ntxent(a, jax.numpy.asarray(labels), temperature)
        )(jax.numpy.asarray(x))
        value, slope = np.asarray(value), np.asarray(slope)
    loss, grad = fl.ntxent.value_and_grad(x, labels, temperature=temperature)
    np.testing.assert_allclose(loss, value, rtol=1e-12)
    np.testing.assert_allclose(grad, slope, rtol=1e-10, atol=1e-13)


# --- derivatives ------------------------------------------------------------------------


@each("reduction", ["mean", "sum", "none"])
def test_derivatives(reduction, rng):
    """Weights and upstream gradients are those of anchors, which all embeddings move."""
    x, weight = embeddings(rng), rng.uniform(0.0, 2.0, len(LABELS))
    weight[1] = 0.0  # no anchor, but one of the others
    _, has = similarity.losses(x, LABELS)
    upstream = rng.standard_normal(len(x)) if reduction == "none" else -2.5
    factors = weight * upstream / (weight[has].sum() if reduction == "mean" else 1.0)
    expected = similarity.gradient(x, LABELS, factors, temperature=0.25)
    call = {"sample_weight": weight, "reduction": reduction, "temperature": 0.25}
    grad = fl.ntxent.grad(x, LABELS, grad_output=upstream, **call)
    np.testing.assert_allclose(grad, expected, rtol=1e-7, atol=1e-9)
    again, hess = fl.ntxent.grad_and_hess(x, LABELS, grad_output=upstream, **call)
    np.testing.assert_allclose(again, grad, rtol=1e-12, atol=1e-14)
    expected = similarity.hessian(x, LABELS, factors, temperature=0.25)
    np.testing.assert_allclose(hess, expected, rtol=1e-7, atol=1e-7)


@each("dtype", [FLOAT32, FLOAT16, BFLOAT16])
def test_derivatives_in_other_dtypes(dtype, rng):
    x = embeddings(rng, dtype)
    expected, expected_hess = fl.ntxent.grad_and_hess(f64(x), LABELS)
    loss, grad = fl.ntxent.value_and_grad(x, LABELS)
    assert grad.dtype == dtype and loss.dtype == FLOAT32
    rtol = {FLOAT32: 1e-4, FLOAT16: 2e-3, BFLOAT16: 8e-3}[dtype]
    np.testing.assert_allclose(f64(grad), expected, rtol=rtol, atol=2e-5)
    # These are computed in float64 and rounded.
    grad, hess = fl.ntxent.grad_and_hess(x, LABELS)
    assert grad.dtype == hess.dtype == dtype
    rtol = {FLOAT32: 2**-24, FLOAT16: 2**-11, BFLOAT16: 2**-8}[dtype] * 1.01
    np.testing.assert_allclose(f64(grad), expected, rtol=rtol, atol=1e-7)
    np.testing.assert_allclose(f64(hess), expected_hess, rtol=rtol, atol=1e-7)


def test_hessian_at_a_temperature_that_tells_apart_sharply(rng):
    """Where one of the others outweighs all, and a positive is lost or safe."""
    x = embeddings(rng)
    expected = similarity.hessian(x, LABELS, np.ones(len(x)), temperature=0.02, step=1e-4)
    _, hess = fl.ntxent.grad_and_hess(x, LABELS, temperature=0.02, reduction="sum")
    np.testing.assert_allclose(hess, expected, rtol=1e-6, atol=1e-6)


@each("layout", LAYOUTS)
def test_layouts_and_in_place(layout, rng):
    x, labels = embeddings(rng, FLOAT32), LABELS
    loss, grad = fl.ntxent.value_and_grad(x, labels)
    laid = LAYOUTS[layout](x)
    got, slope = fl.ntxent.value_and_grad(laid, LAYOUTS[layout](labels))
    np.testing.assert_allclose(got, loss, rtol=1e-6)
    np.testing.assert_allclose(slope, grad, rtol=1e-4, atol=1e-6)
    if laid.flags.writeable:
        assert fl.ntxent.value_and_grad(laid, labels, out=laid)[1] is laid
        np.testing.assert_allclose(laid, grad, rtol=1e-4, atol=1e-6)
    expected = fl.ntxent.grad_and_hess(x, labels)
    outs = tuple(np.full_like(LAYOUTS["fortran"](x), 7) for _ in range(2))
    laid = LAYOUTS[layout](x)
    assert fl.ntxent.grad_and_hess(laid, LAYOUTS[layout](labels), out=outs)[1] is outs[1]
    for out, values in zip(outs, expected, strict=True):
        np.testing.assert_allclose(out, values, rtol=1e-6)


def test_a_block_of_anchors_at_a_time(rng, monkeypatch):
    """Rows of many blocks are as those of one; memory does not grow with the square of N."""
    from fastloss.cpu import similarity_plan

    x, labels = rng.standard_normal((130, 6)), rng.integers(0, 20, 130)
    calls = fl.ntxent.value_and_grad, fl.ntxent.grad_and_hess
    whole = [call(x, labels, temperature=0.5) for call in calls]
    monkeypatch.setattr(similarity_plan, "BLOCK", 20 * 130)
    for call, results in zip(calls, whole, strict=True):
        many = call(x, labels, temperature=0.5000000001)  # another plan
        for a, b in zip(many, results, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-7, atol=1e-9)
    x, labels = rng.standard_normal((3000, 4)).astype(np.float32), rng.integers(0, 50, 3000)
    fl.ntxent.value_and_grad(x, labels)
    tracemalloc.start()
    fl.ntxent.value_and_grad(x, labels)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3000 * 3000 * 4 / 4


def test_same_bits_for_any_number_of_threads():
    code = """
        import hashlib, numpy as np, fastloss as fl
        rng = np.random.default_rng(0)
        x, y = rng.standard_normal((700, 8)).astype(np.float32), rng.integers(0, 90, 700)
        loss, grad = fl.ntxent.value_and_grad(x, y)
        print(hashlib.sha256(loss.tobytes() + grad.tobytes()).hexdigest())
    """
    blas = {"OPENBLAS_NUM_THREADS": 1, "MKL_NUM_THREADS": 1}
    one, two = (run_python(code, NUMBA_NUM_THREADS=n, **blas).stdout for n in (1, 2))
    assert one == two


# --- edges ------------------------------------------------------------------------------


@each("labels", [[0, 0, 0], [0, 1, 2]])
def test_one_label_only_or_none_twice(labels, rng):
    """Without others nothing is to be told apart; without positives nothing is lost."""
    x = rng.standard_normal((3, 4))
    loss, grad = fl.ntxent.value_and_grad(x, np.array(labels), reduction="sum")
    assert loss == 0 and not grad.any()
    assert not np.any(fl.ntxent.grad_and_hess(x, np.array(labels)))
    mean = fl.ntxent(x, np.array(labels))
    assert mean == 0 if labels == [0, 0, 0] else np.isnan(mean)


def test_vector_of_zeros(rng):
    """Similar to none: the others keep a finite loss and gradient, its own is 0."""
    x = embeddings(rng)
    x[2] = 0
    expected, has = similarity.losses(x, LABELS)
    loss, grad = fl.ntxent.value_and_grad(x, LABELS)
    np.testing.assert_allclose(loss, expected[has].mean(), rtol=1e-13)
    assert np.isfinite(grad).all() and not grad[2].any() and grad[[0, 1, 3]].any()
    again, hess = fl.ntxent.grad_and_hess(x, LABELS)
    np.testing.assert_allclose(again, grad, rtol=1e-12, atol=1e-14)
    expected = similarity.hessian(x, LABELS, has / has.sum())
    others = [0, 1, 3, 4, 5, 6, 7, 8]
    np.testing.assert_allclose(hess[others], expected[others], rtol=1e-6, atol=1e-6)
    assert not hess[2].any()


@pytest.mark.parametrize("size", [2.0**-140, 2.0**-60, 2.0**60, 2.0**124])
def test_vectors_of_any_length(size, rng):
    """Lengths do not matter, also where their squares leave the dtype."""
    x = rng.integers(-8, 9, (len(LABELS), 4)).astype(np.float64)
    loss, grad = fl.ntxent.value_and_grad(x, LABELS)
    small, slope = fl.ntxent.value_and_grad((x * size).astype(np.float32), LABELS)
    np.testing.assert_allclose(small, loss, rtol=1e-5)
    if abs(np.log2(size)) < 100:
        np.testing.assert_allclose(f64(slope) * size, grad, rtol=1e-3, atol=1e-5)
        _, hess = fl.ntxent.grad_and_hess(x, LABELS)
        _, bends = fl.ntxent.grad_and_hess((x * size).astype(np.float32), LABELS)
        np.testing.assert_allclose(f64(bends) * size**2, hess, rtol=1e-6, atol=1e-6)


def test_temperatures_that_would_overflow(rng):
    """exp(1 / T) is beyond float64 for T = 0.001; the log-sum-exp is not."""
    x = abs(embeddings(rng))  # similar to each other
    expected, has = similarity.losses(x, LABELS, 0.001)
    loss, grad = fl.ntxent.value_and_grad(x, LABELS, temperature=0.001)
    np.testing.assert_allclose(loss, expected[has].mean(), rtol=1e-12)
    again, hess = fl.ntxent.grad_and_hess(x, LABELS, temperature=0.001)
    np.testing.assert_allclose(again, grad, rtol=1e-10, atol=1e-10)
    assert np.isfinite(hess).all()


def test_a_nan_is_seen_by_all(rng):
    x = embeddings(rng)
    x[4, 1] = np.nan
    loss, grad = fl.ntxent.value_and_grad(x, LABELS)
    assert np.isnan(loss) and np.isnan(grad).all()
    assert np.isnan(fl.ntxent.grad_and_hess(x, LABELS)).all()
    loss, grad = fl.ntxent.value_and_grad(x, LABELS, sample_weight=0.0)
    assert np.isnan(loss) and not grad[[0, 1, 2, 3]].any()
    assert not np.any(fl.ntxent.grad_and_hess(x, LABELS, sample_weight=0.0))


def test_nothing_at_all():
    x = np.zeros((0, 4), np.float32)
    loss, grad = fl.ntxent.value_and_grad(x, np.zeros(0, int))
    assert np.isnan(loss) and grad.shape == (0, 4)
    assert fl.ntxent(x, np.zeros(0, int), reduction="sum") == 0
    assert fl.ntxent(x, np.zeros(0, int), reduction="none").shape == (0,)
    assert [d.shape for d in fl.ntxent.grad_and_hess(x, np.zeros(0, int))] == [(0, 4)] * 2


def test_one_entry_each():
    """D = 1: similarities of 1 and -1, and no direction to go."""
    loss, grad = fl.ntxent.value_and_grad(
        np.array([[1.0], [3.0], [-2.0], [-1.0]]), np.array([0, 0, 1, 1]), temperature=1.0
    )
    np.testing.assert_allclose(loss, np.log(1 + 2 * np.exp(-2.0)), rtol=1e-14)
    np.testing.assert_allclose(grad, 0.0, atol=1e-15)


@pytest.mark.parametrize(
    "x, labels, error, words",
    [
        (np.zeros((4, 3)), np.zeros(4), TypeError, "targets.*float64"),
        (np.zeros((4, 3)), np.zeros((4, 1), int), ValueError, r"\(4, 1\).*\(4,\)"),
        (np.zeros((2, 4, 3)), np.zeros((2, 4), int), ValueError, r"\(2, 4, 3\).*\(N, D\)"),
        (np.zeros((4, 0)), np.zeros(4, int), ValueError, r"\(4, 0\)"),
    ],
)
def test_refused_arrays(x, labels, error, words):
    with pytest.raises(error, match=words):
        fl.ntxent(x, labels)


@pytest.mark.parametrize("temperature", [0.0, -1.0, np.nan, "warm"])
def test_refused_temperatures(temperature):
    with pytest.raises((TypeError, ValueError), match=r"temperature.*above 0"):
        fl.ntxent(np.ones((2, 2)), np.zeros(2, int), temperature=temperature)


# --- frameworks -------------------------------------------------------------------------


@each("reduction", ["mean", "none"])
def test_torch_differentiates_it(reduction, rng):
    """Unreduced, the upstream gradient of a loss belongs to all embeddings, not to a row."""
    torch = pytest.importorskip("torch")
    x, y = torch.tensor(embeddings(rng), requires_grad=True), torch.tensor(LABELS)

    def loss(z):
        return fl.ntxent(z, y, temperature=0.5, reduction=reduction)

    assert torch.autograd.gradcheck(loss, x)
    upstream = torch.linspace(-1, 1, len(x)) if reduction == "none" else torch.tensor(2.0)
    compiled = torch.compile(loss, backend="aot_eager")
    for call in (loss, compiled):
        (grad,) = torch.autograd.grad((call(x) * upstream).sum(), x)
        expected = fl.ntxent.grad(
            x.detach().numpy(), LABELS, temperature=0.5, reduction=reduction,
            grad_output=upstream.numpy(),
        )  # fmt: skip
        np.testing.assert_allclose(grad, expected, rtol=1e-12, atol=1e-15)
    pair = torch.stack([x.detach(), 2 * x.detach() + 1])
    mapped = torch.func.vmap(lambda z: loss(z))(pair)
    torch.testing.assert_close(mapped, torch.stack([loss(z) for z in pair]))


@each("reduction", ["mean", "none"])
def test_jax_differentiates_it(reduction, rng):
    jax = pytest.importorskip("jax")
    x, labels = embeddings(rng, FLOAT32), LABELS.astype(np.int32)
    upstream = np.linspace(-1, 1, len(x)).astype(np.float32) if reduction == "none" else 2.0

    def total(z):
        return (fl.ntxent(z, labels, temperature=0.5, reduction=reduction) * upstream).sum()

    got = np.asarray(jax.jit(jax.grad(total))(x))
    expected = fl.ntxent.grad(
        x, labels, temperature=0.5, reduction=reduction, grad_output=upstream
    )  # fmt: skip
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-7)
    pair = np.stack([x, 2 * x + 1])
    mapped = jax.vmap(lambda z: fl.ntxent(z, labels, reduction=reduction))(pair)
    one_by_one = np.stack([fl.ntxent(z, labels, reduction=reduction) for z in pair])
    assert_same_bits(np.asarray(mapped), one_by_one)
