"""NT-Xent on the device, beside its formula and the CPU: sizes, dtypes, weights, layouts, edges."""

import numpy as np
import pytest

import fastloss as fl
from tests.checks import REDUCTIONS
from tests.cuda.device import SIMULATED, DeviceLoss, OnDevice, needs_gpu
from tests.helpers import (
    BFLOAT16,
    FLOAT16,
    FLOAT32,
    FLOAT64,
    WRITABLE_LAYOUTS,
    Unchanged,
    each,
    each_dtype,
    f64,
    loss_dtype,
)
from tests.oracles import similarity

pytestmark = needs_gpu

LABELS = np.array([0, 2, 0, 1, 2, 2, 5])
"""Of one, two and no positives."""

ntxent = DeviceLoss(fl.ntxent)


def embeddings(rng, dtype=FLOAT64, entries=3):
    return rng.standard_normal((len(LABELS), entries)).astype(dtype)


def assert_close(got, expected, rtol=1e-7, atol=1e-9):
    np.testing.assert_allclose(f64(got), f64(expected), rtol=rtol, atol=atol)


@each("reduction", REDUCTIONS)
def test_reductions_weights_and_upstream(reduction, rng):
    """Weights and upstream gradients are those of anchors; a mean counts those with a positive."""
    x = embeddings(rng)
    weight = rng.uniform(0.5, 2.0, len(x))
    weight[1] = 0.0  # no anchor, but one of the others
    losses, has = similarity.losses(x, LABELS, 0.25)
    upstream = rng.standard_normal(len(x)) if reduction == "none" else -2.5
    for sample_weight in (None, weight.astype(np.float32), 0.5):
        w = f64(np.broadcast_to(1.0 if sample_weight is None else sample_weight, len(x))) * has
        divisor = w.sum() if reduction == "mean" else 1.0
        call = {} if sample_weight is None else {"sample_weight": sample_weight}
        call |= {"reduction": reduction, "temperature": 0.25}
        with Unchanged(x, LABELS, sample_weight, upstream):
            loss, grad = ntxent.value_and_grad(x, LABELS, grad_output=upstream, **call)
        expected = losses * w if reduction == "none" else (losses * w).sum() / divisor
        assert loss.dtype == FLOAT64
        assert_close(loss, expected, rtol=1e-12)
        factors = w * upstream / divisor
        assert_close(grad, similarity.gradient(x, LABELS, factors, 0.25))
        again, hess = ntxent.grad_and_hess(x, LABELS, grad_output=upstream, **call)
        assert_close(again, grad, rtol=1e-12, atol=1e-14)
        assert_close(hess, similarity.hessian(x, LABELS, factors, 0.25), atol=1e-7)
    # Alone they are made by other kernels, or without memory for the losses.
    np.testing.assert_array_equal(ntxent(x, LABELS, **call), loss)
    alone = ntxent.grad(x, LABELS, grad_output=upstream, **call)
    np.testing.assert_array_equal(alone, grad)


@each_dtype
def test_dtypes_and_sizes(dtype, rng):
    """Fewer and more than a tile, a warp and a block have, in every floating dtype."""
    rtol = {FLOAT64: 1e-10, FLOAT32: 1e-4, FLOAT16: 2e-3, BFLOAT16: 8e-3}[dtype]
    for examples, entries in ((4, 1), (9, 5) if SIMULATED else (300, 70)):
        x = rng.standard_normal((examples, entries)).astype(dtype)
        labels = rng.integers(0, examples // 2, examples)
        labels[0] = labels[-1]
        loss, grad = ntxent.value_and_grad(x, labels, temperature=0.5)
        expected, slope = fl.ntxent.value_and_grad(f64(x), labels, temperature=0.5)
        assert loss.dtype == loss_dtype(dtype) and grad.dtype == dtype
        assert_close(loss, expected, rtol=min(rtol, 1e-5))
        atol = 1e-5 if dtype != FLOAT64 else 1e-12
        assert_close(grad, slope, rtol=rtol, atol=atol)
        _, expected = fl.ntxent.grad_and_hess(f64(x), labels, temperature=0.5)
        grad, hess = ntxent.grad_and_hess(x, labels, temperature=0.5)
        assert hess.dtype == grad.dtype == dtype
        assert_close(grad, slope, rtol=rtol, atol=atol)
        assert_close(hess, expected, rtol=rtol, atol=atol)


@each("layout", [name for name in WRITABLE_LAYOUTS if name != "misaligned"])
def test_any_layout_and_in_place(layout, rng):
    x = embeddings(rng, FLOAT32)
    expected = ntxent.grad(x, LABELS)
    laid, labels = WRITABLE_LAYOUTS[layout](x), WRITABLE_LAYOUTS[layout](LABELS)
    for out in (None, laid):
        grad = ntxent.grad(laid, labels, out=out)
        np.testing.assert_array_equal(grad, expected)
    assert grad is laid
    expected = ntxent.grad_and_hess(x, LABELS)
    laid, outs = WRITABLE_LAYOUTS[layout](x), tuple(WRITABLE_LAYOUTS[layout](x) for _ in "gh")
    for got, values in zip(ntxent.grad_and_hess(laid, labels, out=outs), expected, strict=True):
        np.testing.assert_array_equal(got, values)


def test_a_block_of_anchors_at_a_time(rng, monkeypatch):
    from fastloss.cuda import similarity_plan

    x = embeddings(rng)
    calls = ntxent.value_and_grad, ntxent.grad_and_hess
    whole = [call(x, LABELS, temperature=0.5) for call in calls]
    monkeypatch.setattr(similarity_plan, "BLOCK", 12 * len(x))
    for call, results in zip(calls, whole, strict=True):
        many = call(x, LABELS, temperature=0.5000000001)  # another plan
        for a, b in zip(many, results, strict=True):
            assert_close(a, b)


def test_products_read_and_write_nothing_beside_the_matrices(rng):
    """A and B with nan around, and A as a transpose."""
    from fastloss.cuda.products import ProductCall, product_kernel

    a, b, c = np.full((3, 40, 40), np.nan)
    a[:35, :3], b[:35, :19] = rng.standard_normal((35, 3)), rng.standard_normal((35, 19))
    moved = [OnDevice(matrix) for matrix in (a, b, c)]
    x, y, z = (array.__cuda_array_interface__["data"][0] for array in moved)
    call = ProductCall(3, 35, 19, 0.5, 0, x, 8, 40 * 8, y, 40 * 8, 8, z, 40 * 8)
    product_kernel("float64").launch(0, 0, 2, call)
    moved[2].copy_back()
    assert_close(c[:3, :19], 0.5 * a[:35, :3].T @ b[:35, :19], rtol=1e-13)
    assert np.isnan(c[3:]).all() and np.isnan(c[:, 19:]).all()


@each("dtype", ["int8", "uint16", "uint64"])
def test_dtypes_of_labels(dtype, rng):
    """Of the largest ones, too, every bit counts."""
    x, labels = embeddings(rng), LABELS.astype(dtype)
    labels += np.asarray(np.iinfo(dtype).max - 9).astype(dtype)
    np.testing.assert_array_equal(ntxent(x, labels), ntxent(x, LABELS))


@each("labels", [[0, 0, 0], [0, 1, 2]])
def test_one_label_only_or_none_twice(labels, rng):
    """Without others nothing is to be told apart; without positives nothing is lost."""
    x, labels = rng.standard_normal((3, 4)), np.array(labels)
    loss, grad = ntxent.value_and_grad(x, labels, reduction="sum")
    assert loss == 0 and not grad.any()
    loss, grad = ntxent.value_and_grad(x, labels)
    assert (loss == 0 if not labels.any() else np.isnan(loss)) and not grad.any()


def test_vector_of_zeros(rng):
    """Similar to none: the others keep a finite loss and gradient, its own is 0."""
    x = embeddings(rng)
    x[2] = 0
    loss, grad = ntxent.value_and_grad(x, LABELS)
    expected, slope = fl.ntxent.value_and_grad(x, LABELS)
    assert_close(loss, expected, rtol=1e-12)
    assert_close(grad, slope)
    assert not grad[2].any() and grad[[0, 1, 3]].any()
    assert_close(ntxent.grad_and_hess(x, LABELS)[1], fl.ntxent.grad_and_hess(x, LABELS)[1])


@pytest.mark.parametrize("size", [2.0**-140, 2.0**124])
def test_vectors_of_any_length(size, rng):
    """Also where their squares leave the dtype."""
    x = rng.integers(-8, 9, (len(LABELS), 4)).astype(np.float64)
    loss = ntxent((x * size).astype(np.float32), LABELS)
    assert_close(loss, fl.ntxent(x, LABELS), rtol=1e-5)


def test_a_nan_is_seen_by_all(rng):
    """But what moves nothing has a gradient of 0."""
    x = embeddings(rng)
    x[4, 1] = np.nan
    loss, grad = ntxent.value_and_grad(x, LABELS)
    assert np.isnan(loss) and np.isnan(grad).all()
    for call in ({"sample_weight": 0.0}, {"grad_output": 0.0}, {"sample_weight": np.zeros(7)}):
        assert not ntxent.grad(x, LABELS, **call).any()
        assert not np.any(ntxent.grad_and_hess(x, LABELS, **call))


def test_nothing_at_all():
    x, labels = np.zeros((0, 4), np.float32), np.zeros(0, int)
    loss, grad = ntxent.value_and_grad(x, labels)
    assert np.isnan(loss) and grad.shape == (0, 4)
    assert ntxent(x, labels, reduction="sum") == 0
    assert ntxent(x, labels, reduction="none").shape == (0,)
    assert [d.shape for d in ntxent.grad_and_hess(x, labels)] == [(0, 4)] * 2
