"""Losses of distances beside their peers, and where distances are 0, enormous or not a number."""

import numpy as np
import pytest

import fastloss as fl
from tests.helpers import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, LAYOUTS, assert_same_bits, each, f64

torch = pytest.importorskip("torch")
functional = torch.nn.functional

TURNED = np.array([0, 1, 1, 0, 1, 0, 0])


def triplets(rng, dtype=FLOAT64, entries=5):
    return rng.standard_normal((7, 3, entries)).astype(dtype)


# --- peers ------------------------------------------------------------------------------


@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize("p", [1.0, 2.0, 3.0])
def test_triplet_is_pytorchs(p, swap, rng):
    """By either order of the two others; the eps of PyTorch's pairwise distance included."""
    x = triplets(rng)
    leaf = torch.tensor(x, requires_grad=True)
    rows, turned = torch.arange(7), torch.tensor(TURNED)
    expected = functional.triplet_margin_loss(
        leaf[:, 0], leaf[rows, 1 + turned], leaf[rows, 2 - turned],
        margin=0.5, p=p, swap=swap, eps=0.25, reduction="none",
    )  # fmt: skip
    expected.sum().backward()
    loss, grad = fl.triplet.value_and_grad(
        x, TURNED, margin=0.5, p=p, swap=swap, eps=0.25, reduction="none"
    )
    np.testing.assert_allclose(loss, expected.detach(), rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(grad, leaf.grad, rtol=1e-12, atol=1e-14)


def test_triplet_is_optaxs(rng):
    """Without eps, which optax adds to the sum of the powers."""
    jax, optax = pytest.importorskip("jax"), pytest.importorskip("optax")
    x = triplets(rng)
    with jax.enable_x64(True):
        value, slope = jax.value_and_grad(
            lambda x: optax.losses.triplet_margin_loss(
                x[:, 0], x[:, 1], x[:, 2], margin=0.5, eps=0.0
            ).mean()
        )(jax.numpy.asarray(x))
        value, slope = np.asarray(value), np.asarray(slope)
    loss, grad = fl.triplet.value_and_grad(x, np.zeros(7, int), margin=0.5, eps=0.0)
    np.testing.assert_allclose(loss, value, rtol=1e-13)
    np.testing.assert_allclose(grad, slope, rtol=1e-12, atol=1e-15)


def test_contrastive_is_that_of_sentence_transformers(rng):
    """Half the mean of y d^2 + (1 - y) relu(margin - d)^2, as its ContrastiveLoss has it."""
    x, same = rng.standard_normal((7, 2, 3)) * 0.5, np.array([1, 0, 0, 1, 0, 1, 0])
    leaf, y = torch.tensor(x, requires_grad=True), torch.tensor(same)
    d = functional.pairwise_distance(leaf[:, 0], leaf[:, 1], eps=0.0)
    expected = 0.5 * (y * d.pow(2) + (1 - y) * functional.relu(0.5 - d).pow(2)).mean()
    expected.backward()
    loss, grad = fl.contrastive.value_and_grad(x, same.astype(bool), margin=0.5)
    np.testing.assert_allclose(loss, expected.item(), rtol=1e-13)
    np.testing.assert_allclose(grad, leaf.grad, rtol=1e-12, atol=1e-16)
    doubled = fl.contrastive(x, same, margin=0.5, half=False)
    np.testing.assert_allclose(doubled, 2 * expected.item(), rtol=1e-13)


# --- distances of 0 ---------------------------------------------------------------------


@pytest.mark.parametrize("p", [1.0, 2.0, 3.0])
def test_equal_vectors(p):
    """No nan: the subgradient of a distance of 0 is 0."""
    x = np.ones((2, 3, 4))
    loss, grad = fl.triplet.value_and_grad(x, np.array([0, 1]), p=p, eps=0.0, reduction="none")
    np.testing.assert_array_equal(loss, [1, 1])
    assert not grad.any()
    pairs = x[:, :2]
    loss, grad = fl.contrastive.value_and_grad(pairs, np.array([1, 0]), p=p, reduction="none")
    np.testing.assert_array_equal(loss, [0, 0.5])
    assert not grad.any()
    _, hess = fl.contrastive.grad_and_hess(pairs, np.array([1, 0]), p=p, reduction="sum")
    np.testing.assert_array_equal(hess[0], 1.0 if p == 2 else 0.0)
    np.testing.assert_array_equal(hess[1], 0.0)


def test_at_the_margin_exactly():
    """The subgradient is 0, as everywhere."""
    x = np.array([[[0.0, 0.0], [3.0, 4.0], [0.0, 6.0]]])
    loss, grad = fl.triplet.value_and_grad(x, np.zeros(1, int), eps=0.0)
    assert loss == 0 and not grad.any()
    loss, grad = fl.contrastive.value_and_grad(x[:, :2], np.zeros(1, int), margin=5.0)
    assert loss == 0 and not grad.any()


def test_one_entry():
    """D = 1: the distance is |a - b|, whatever the norm."""
    x = np.array([[[2.0], [5.0], [1.0]]])
    for p in (1.0, 2.0, 4.0):
        loss, grad = fl.triplet.value_and_grad(x, np.zeros(1, int), p=p, eps=0.0)
        np.testing.assert_allclose(loss, 3.0, rtol=1e-15)
        np.testing.assert_allclose(grad[0, :, 0], [-2, 1, 1], rtol=1e-15)


# --- numbers of any size ----------------------------------------------------------------


@each("dtype", [FLOAT32, FLOAT64, BFLOAT16])
@pytest.mark.parametrize("p", [1.0, 2.0, 3.0])
def test_vectors_of_any_size(dtype, p, rng):
    """The squares of an entry overflow, or vanish, long before the distance does."""
    large = 2.0**1020 if dtype == FLOAT64 else 2.0**123
    small = 2.0**-1010 if dtype == FLOAT64 else 2.0**-115
    base = rng.integers(-8, 9, (6, 3, 10)).astype(np.float64)
    unit, slope = fl.triplet.value_and_grad(
        base, np.zeros(6, int), p=p, eps=0.0, margin=1000.0, reduction="none"
    )
    for size in (large, small, 1.0):
        x = (base / 64 * size).astype(dtype)
        loss, grad = fl.triplet.value_and_grad(
            x, np.zeros(6, int), p=p, eps=0.0, margin=0.0, reduction="none"
        )
        inside = unit > 1000.0
        np.testing.assert_allclose(
            (f64(loss) / size)[inside], (unit[inside] - 1000.0) / 64,
            rtol=3e-6,
        )  # fmt: skip
        np.testing.assert_allclose(
            f64(grad)[inside], slope[inside], rtol=4e-3, atol=1e-6
        )  # fmt: skip


def test_differences_beyond_the_largest_number():
    """The distance is infinite; the direction of it is not."""
    top = np.finfo(np.float32).max
    x = np.array([[[top, top], [-top, top], [top, top]]], np.float32)
    loss, grad = fl.triplet.value_and_grad(x, np.zeros(1, int), eps=0.0, reduction="none")
    assert loss == np.inf
    np.testing.assert_allclose(grad[0], [[1, 0], [-1, 0], [0, 0]], atol=1e-6)


def test_long_vectors_are_summed_in_float64():
    """Equal float32 terms: one running float32 sum is off in the fourth digit."""
    x = np.zeros((1, 2, 300_001), np.float32)
    x[:, 0] = 0.1
    loss = fl.contrastive(x, np.ones(1, int))
    exact = 0.5 * 300_001 * np.float64(np.float32(0.1)) ** 2
    np.testing.assert_allclose(loss, exact, rtol=2e-6)


# --- what is not a number ---------------------------------------------------------------


def test_one_bad_example(rng):
    """nan in, nan out, for that example alone; of weight 0, nothing."""
    x = triplets(rng, FLOAT32)
    expected = fl.triplet.value_and_grad(x, TURNED, reduction="none")
    x[2, 1, 3] = np.nan
    got = fl.triplet.value_and_grad(x, TURNED, reduction="none")
    for a, b in zip(got, expected, strict=True):
        assert np.isnan(a[2]).all()
        assert_same_bits(np.delete(a, 2, 0), np.delete(b, 2, 0))
    weight = (np.arange(7) != 2).astype(float)
    loss, grad = fl.triplet.value_and_grad(x, TURNED, sample_weight=weight)
    np.testing.assert_allclose(loss, np.delete(expected[0], 2).mean(), rtol=1e-6)
    assert not grad[2].any()


def test_far_away_negative():
    """What is infinitely far away has a loss of 0 and no gradient, not nan."""
    x = np.array([[[0.0, 0.0], [1.0, 0.0], [np.inf, 0.0]]])
    loss, grad = fl.triplet.value_and_grad(x, np.zeros(1, int))
    assert loss == 0 and not grad.any()


# --- shapes, layouts, targets -----------------------------------------------------------


def test_without_a_batch_axis_and_with_two():
    x = np.arange(24.0).reshape(2, 2, 2, 3) ** 0.5
    rows = fl.contrastive(x, np.array([[0, 1], [1, 0]]), reduction="none")
    assert rows.shape == (2, 2)
    one, grad = fl.contrastive.value_and_grad(x[0, 1], np.array(1))
    assert one.shape == () and one == rows[0, 1] and grad.shape == (2, 3)


def test_nothing_at_all():
    x = np.zeros((0, 3, 4), np.float32)
    loss, grad = fl.triplet.value_and_grad(x, np.zeros(0, int))
    assert np.isnan(loss) and grad.shape == (0, 3, 4)
    assert fl.triplet(x, np.zeros(0, int), reduction="sum") == 0


@each("layout", ["swapped_axes", "reversed_strides", "strided"])
def test_in_place_in_any_layout(layout, rng):
    x = triplets(rng, FLOAT32)
    expected = fl.triplet.value_and_grad(x, TURNED)[1]
    laid = LAYOUTS[layout](x)
    fl.triplet.value_and_grad(laid, TURNED, out=laid)
    np.testing.assert_array_equal(laid, expected)


@pytest.mark.parametrize("shape", [(4, 3, 5), (4, 2, 0), (5,), (2,), ()])
def test_shape_of_the_predictions(shape):
    with pytest.raises(ValueError, match=r"contrastive.*stack"):
        fl.contrastive(np.zeros(shape), np.zeros(shape[:-2], int))


@pytest.mark.parametrize("bad", [2, -1, 300])
@each("dtype", [np.dtype(np.int16), np.dtype(np.uint64)])
def test_targets_other_than_0_and_1(bad, dtype):
    targets = np.array([0, 1, bad % 2**16, 7]).astype(dtype)
    out = np.full((4, 3, 2), 7.0)
    with pytest.raises(ValueError, match=rf"0 or 1.*\(2,\).*{targets[2]}"):
        fl.triplet.value_and_grad(np.zeros((4, 3, 2)), targets, out=out)
    assert (out == 7).all()


@pytest.mark.parametrize("p", [0.5, np.inf, "two"])
def test_power(p):
    with pytest.raises((TypeError, ValueError), match=r"triplet: p.*at least 1"):
        fl.triplet(np.zeros((1, 3, 2)), np.zeros(1, int), p=p)


# --- frameworks -------------------------------------------------------------------------


@each("reduction", ["mean", "none"])
def test_gradcheck(reduction, rng):
    x = torch.tensor(triplets(rng, entries=3), requires_grad=True)
    y = torch.tensor(TURNED)
    assert torch.autograd.gradcheck(lambda z: fl.triplet(z, y, reduction=reduction), x)


def test_vmap_and_compile_see_the_shape_of_the_loss(rng):
    """One more axis in front, and the operators' fake results."""
    x, y = torch.tensor(triplets(rng, FLOAT32)), torch.tensor(TURNED)
    rows = fl.triplet(x, y, reduction="none")
    mapped = torch.func.vmap(lambda a, b: fl.triplet(a, b, reduction="none"))(x, y)
    torch.testing.assert_close(mapped, rows, rtol=0, atol=0)
    jacobian = torch.func.jacrev(lambda a: fl.triplet(a, y, reduction="none"))(x)
    assert jacobian.shape == (7, 7, 3, 5)
    compiled = torch.compile(lambda a: fl.triplet(a, y, reduction="none"), backend="aot_eager")
    torch.testing.assert_close(compiled(x), rows, rtol=0, atol=0)


@each("dtype", [FLOAT16, FLOAT32])
def test_jax_gradient_of_each_loss(dtype, rng):
    jax = pytest.importorskip("jax")
    x, upstream = triplets(rng, dtype), np.linspace(-1, 1, 7).astype(np.float32)
    targets = TURNED.astype(np.int32)

    def total(x):
        return (fl.triplet(x, targets, reduction="none") * upstream).sum()

    got = np.asarray(jax.jit(jax.grad(total))(x))
    expected = fl.triplet.grad(x, targets, reduction="none", grad_output=upstream)
    np.testing.assert_allclose(f64(got), f64(expected), rtol=2e-3 if dtype == FLOAT16 else 1e-6)
    mapped = jax.vmap(lambda a, b: fl.triplet(a, b, reduction="none"))(x, targets)
    np.testing.assert_array_equal(
        np.asarray(mapped), fl.triplet(x, targets, reduction="none")
    )  # fmt: skip
