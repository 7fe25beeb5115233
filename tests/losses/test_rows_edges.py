"""Edges of the losses made of formulas over a row: ties, masks, nan, extremes, wrong targets."""

import numpy as np
import pytest

import fastloss as fl
from tests.catalogue import BY_NAME
from tests.catalogue.rows import LOSSES as ROW_LOSSES
from tests.helpers import Unchanged, each
from tests.oracles import rows

INF, NAN = np.inf, np.nan
INDEXED = [loss.name for loss in ROW_LOSSES if "hard" in loss.targets]
VECTORS = [loss.name for loss in ROW_LOSSES if "hard" not in loss.targets]
SOFTMAXES = ["focal_cross_entropy", "generalized_cross_entropy", "sparsemax"]


def value_and_grad(name, x, y, **options):
    call = getattr(fl, name).value_and_grad
    return call(np.asarray(x, np.float64), np.asarray(y), reduction="none", **options)


# --- targets ----------------------------------------------------------------------------


@each("wrong", [-1, 10, 2**31])
@each("name", INDEXED)
def test_index_out_of_range(name, wrong):
    predictions, targets = np.full((4, 10), 0.1), np.array([0, 3, wrong, -7])
    loss = getattr(fl, name)
    with Unchanged(predictions, targets), pytest.raises(IndexError, match=rf"\(2,\) is {wrong}"):
        loss.value_and_grad(predictions, targets, out=predictions)


@each("name", INDEXED)
def test_ignored_row_is_zero_even_with_nan(name):
    x = np.random.default_rng(0).standard_normal((5, 4))
    x[1], x[3, 0] = NAN, INF
    y = np.array([0, -100, 2, -100, 1])
    loss, grad = value_and_grad(name, x, y)
    assert not loss[[1, 3]].any() and not grad[[1, 3]].any() and loss[[0, 2, 4]].all()
    mean = getattr(fl, name).value_and_grad
    kept, _ = mean(x[::2], y[::2])
    np.testing.assert_allclose(mean(x, y)[0], kept, rtol=1e-15)
    np.testing.assert_allclose(getattr(fl, name)(x, y), kept, rtol=1e-15)
    loss, grad = getattr(fl, name).value_and_grad(x, np.full(5, -100))
    assert np.isnan(loss) and not grad.any()


@each("name", VECTORS)
def test_class_indices_are_refused(name):
    with pytest.raises(TypeError, match="targets must be floats, not int64"):
        getattr(fl, name)(np.zeros((3, 4)), np.zeros(3, int))


@each("name", [name for name in INDEXED if name != "sparsemax"])
def test_vectors_are_refused(name):
    with pytest.raises(TypeError, match="targets must be class indices"):
        getattr(fl, name)(np.zeros((3, 4)), np.full((3, 4), 0.25))


@each("shape", [(3,), (3, 5), ()])
@each("name", VECTORS)
def test_shape_of_vectors(name, shape):
    with pytest.raises(ValueError, match=r"expected that of the predictions, \(3, 4\)"):
        getattr(fl, name)(np.zeros((3, 4)), np.zeros(shape))


@pytest.mark.parametrize(
    "name, option, wrong",
    [
        ("multi_margin", "p", 3),
        ("multi_margin", "p", True),
        ("focal_cross_entropy", "gamma", -1.0),
        ("focal_cross_entropy", "alpha", np.ones(3)),
        ("focal_cross_entropy", "alpha", -1.0),
        ("generalized_cross_entropy", "q", 0.0),
        ("generalized_cross_entropy", "q", 1.5),
    ],
)
def test_options_out_of_range(name, option, wrong):
    with pytest.raises((TypeError, ValueError), match=option):
        getattr(fl, name)(np.zeros((2, 4)), np.zeros(2, int), **{option: wrong})


# --- ties -------------------------------------------------------------------------------


def test_multiclass_hinge_at_ties():
    """The first of several largest rivals takes the gradient; the margin exactly is outside."""
    loss, grad = value_and_grad(
        "multiclass_hinge", [[0, 2, 1, 2], [2, 2, 2, 2], [3, 2, 2, 0]], [2, 0, 0]
    )
    np.testing.assert_array_equal(loss, [2, 1, 0])
    np.testing.assert_array_equal(grad, [[0, 1, -1, 0], [-1, 1, 0, 0], [0, 0, 0, 0]])


def test_multiclass_hinge_finds_the_first_rival_in_a_long_row():
    x = np.zeros((2, 5000), np.float32)
    x[0, 4096:], x[1, 100] = 1, 1
    _, grad = fl.multiclass_hinge.value_and_grad(x, np.array([4096, 100]), reduction="sum")
    assert grad[0, 4097] == 1 and grad[0, 4096] == -1 and np.abs(grad[0]).sum() == 2
    assert not grad[1].any()


@pytest.mark.parametrize("p", [1, 2])
def test_multi_margin_at_the_margin(p):
    loss, grad = value_and_grad("multi_margin", [[1.0, 0.0, 0.5, -3.0]], [0], p=p)
    np.testing.assert_array_equal(loss, [0.5**p / 4])
    np.testing.assert_array_equal(grad, [[-0.25, 0, 0.25, 0]])


def test_sparsemax_at_ties():
    """Equal scores share; a class at the threshold exactly is outside of the support."""
    x = [[0.0, 0, 0, 0], [1, 0, 0, 0], [5, 5, 4.5, 4.5]]
    loss, grad = value_and_grad("sparsemax", x, [0, 0, 0])
    np.testing.assert_array_equal(loss, [0.375, 0, 0.25])
    np.testing.assert_array_equal(grad, [[-0.75, 0.25, 0.25, 0.25], [0] * 4, [-0.5, 0.5, 0, 0]])


def test_sparsemax_of_many_classes():
    """Nine of Newton's steps, from 3000 classes near the largest down to a support of some 70."""
    x = -np.random.default_rng(0).random((1, 3000))
    expected = rows.sparsemax(x, np.array([3]))
    loss, grad = value_and_grad("sparsemax", x, [3])
    np.testing.assert_allclose(loss, expected.loss, rtol=1e-13)
    np.testing.assert_allclose(grad, expected.grad, atol=1e-13)
    assert abs(grad.sum()) < 1e-13


# --- masks, nan, infinities -------------------------------------------------------------


@pytest.mark.parametrize("width", [3, 100])
@each("name", [name for name in INDEXED if name != "nll"])
def test_masks(name, width):
    """-inf takes a class away, wherever it stands; with the target on it the loss is inf."""
    x = np.random.default_rng(0).standard_normal((3, width))
    for mask in (slice(0, 1), slice(0, width - 1), slice(1, width, 2), slice(1, width)):
        masked = x.copy()
        masked[:, mask] = -INF
        free = np.flatnonzero(np.isfinite(masked[0]))
        y = np.full(3, free[-1])
        oracle = getattr(rows, name)(masked, y)
        loss, grad = value_and_grad(name, masked, y)
        np.testing.assert_allclose(loss, oracle.loss, rtol=1e-13, atol=1e-15)
        np.testing.assert_allclose(grad, oracle.grad, rtol=1e-12, atol=1e-15)
        assert np.isfinite(loss).all() and not grad[:, mask].any()
        if name not in ("multi_margin", "multiclass_hinge"):
            # As if they were not there.
            without, _ = value_and_grad(name, masked[:, free], np.full(3, free.size - 1))
            np.testing.assert_allclose(loss, without, rtol=1e-13, atol=1e-15)
        y[:] = np.flatnonzero(np.isneginf(masked[0]))[0]
        loss, _ = value_and_grad(name, masked, y)
        if name != "generalized_cross_entropy":
            assert (loss == INF).all()
        else:
            np.testing.assert_allclose(loss, 1 / 0.7, rtol=1e-15)


@pytest.mark.parametrize("bad", ["nan", "inf", "masks"])
@pytest.mark.parametrize("width", [3, 100])
@each("name", SOFTMAXES)
def test_broken_row(name, width, bad):
    """That row is nan, loss and gradient; others are untouched."""
    x = np.random.default_rng(0).standard_normal((4, width)).astype(np.float32)
    y = np.array([0, 1, 2, width - 1])
    loss = getattr(fl, name)
    good, good_grad = loss.value_and_grad(x, y, reduction="none")
    for place in range(width) if bad != "masks" else [slice(None)]:
        broken = x.copy()
        broken[1, place] = {"nan": NAN, "inf": INF, "masks": -INF}[bad]
        value, grad = loss.value_and_grad(broken, y, reduction="none")
        assert np.isnan(value[1]) and np.isnan(grad[1]).all()
        np.testing.assert_array_equal(np.delete(value, 1), np.delete(good, 1))
        np.testing.assert_array_equal(np.delete(grad, 1, 0), np.delete(good_grad, 1, 0))
        _, hess = loss.grad_and_hess(broken, y)
        assert np.isnan(hess[1]).all() and np.isfinite(hess[0]).all()


@each("name", ["multiclass_hinge", "multi_margin"])
def test_nan_in_a_margin_row(name):
    for place in range(5):
        x = np.random.default_rng(0).standard_normal((2, 5))
        x[1, place] = NAN
        loss, grad = value_and_grad(name, x, [0, 2])
        assert np.isnan(loss[1]) and np.isnan(grad[1]).all() and np.isfinite(grad[0]).all()


def test_nll_looks_at_the_target_alone():
    loss, grad = value_and_grad("nll", [[NAN, -2.0, INF], [-INF, 0, 0]], [1, 0])
    np.testing.assert_array_equal(loss, [2, INF])
    np.testing.assert_array_equal(grad, [[0, -1, 0], [-1, 0, 0]])


@each("name", ["kl_divergence", "js_divergence"])
def test_divergences_where_a_probability_is_0(name):
    """0 * log 0 = 0 on either side, in either form of the targets."""
    with np.errstate(divide="ignore"):
        q = np.log([[0.5, 0.5, 0.0], [0.0, 0.25, 0.75]])
        p = np.array([[0.25, 0.75, 0.0], [0.5, 0.5, 0.0]])
        oracle = getattr(rows, name)(q, p)
        log_p = np.log(p)
    for targets, log_target in ((p, False), (log_p, True)):
        loss, grad = value_and_grad(name, q, targets, log_target=log_target)
        np.testing.assert_allclose(loss, oracle.loss, rtol=1e-14)
        np.testing.assert_allclose(grad, oracle.grad, rtol=1e-13)
        assert np.isfinite(loss[0]) and np.isfinite(grad).all()
    assert (loss[1] == INF) == (name == "kl_divergence")


def test_js_divergence_of_disjoint_distributions():
    """Its largest value, -b log b - (1 - b) log(1 - b), with tiny probabilities or none."""
    for low in (-INF, -1000.0, -90.0):
        for dtype in (np.float32, np.float64):
            q = np.array([[0.0, low]], dtype)
            loss, grad = fl.js_divergence.value_and_grad(q, np.array([[0.0, 1.0]], dtype))
            np.testing.assert_allclose(loss, np.log(2), rtol=1e-6)
            assert np.isfinite(grad).all()


@each("dtype", [np.float32, np.float64])
@each("beta", [0.1, 0.5, 0.99])
def test_js_divergence_where_the_mixture_vanishes(dtype, beta):
    """A probability of the dtype's least numbers and a target of 0 add nothing."""
    lowest = np.log(np.finfo(dtype).smallest_subnormal)
    for low in np.linspace(lowest - 1, lowest + 5, 61):
        q, p = np.array([[0.0, low]], dtype), np.array([[1.0, 0.0]], dtype)
        loss, grad = fl.js_divergence.value_and_grad(q, p, beta=beta)
        _, hess = fl.js_divergence.grad_and_hess(q, p, beta=beta)
        least = np.finfo(dtype).tiny
        np.testing.assert_allclose(loss, 0.0, atol=least)
        np.testing.assert_allclose(grad, [[0.0, 0.0]], atol=least)
        # Of beta as the dtype has it: the roundings of 1 - beta, a quotient and two products.
        rounded = float(dtype(beta))
        exact = [[rounded * (1 - rounded), 0.0]]
        np.testing.assert_allclose(hess, exact, rtol=4 * np.finfo(dtype).eps, atol=least)


@each("dtype", [np.float32, np.float64])
def test_cosine_of_lengths_whose_square_leaves_the_range(dtype):
    top = np.finfo(dtype).max
    x = np.array([[0.75, 1.0], [3e-5, 4e-5]]).astype(dtype)
    x[0] *= top / 4
    x[1] *= np.finfo(dtype).tiny * 1e6
    y = np.array([[top / 2, 0], [0, 1]]).astype(dtype)
    loss, grad = fl.cosine_distance.value_and_grad(x, y, reduction="none")
    # The roundings of two lengths, a product and a quotient, in 1 - 0.6 and 1 - 0.8.
    np.testing.assert_allclose(loss, [0.4, 0.2], rtol=4 * np.finfo(dtype).eps)
    assert np.isfinite(grad[0]).all()


def test_cosine_without_a_direction():
    zero, y = np.zeros((1, 3)), np.ones((1, 3))
    loss, grad = value_and_grad("cosine_distance", zero, y)
    assert np.isnan(loss).all() and np.isnan(grad).all()
    loss, grad = value_and_grad("cosine_distance", zero, y, epsilon=1e-4)
    np.testing.assert_allclose(loss, 1.0)
    np.testing.assert_allclose(grad, -100 / np.sqrt(3) * y)


@pytest.mark.parametrize("size", [1e2, 1e20, 3e38])
@each("name", SOFTMAXES)
def test_large_logits(name, size):
    """Finite for every finite logit, in float32."""
    x = np.float32(size) * np.array([[1, -1, 0.5], [-1, 1, 0]], np.float32)
    for y in ([0, 1], [1, 0]):
        loss, grad = getattr(fl, name).value_and_grad(x, np.array(y), reduction="none")
        assert not np.isnan(loss).any() and np.isfinite(grad).all()


# --- any number of threads --------------------------------------------------------------


@each("name", ["sparsemax-soft-plain", "multi_margin-hard-plain"])
def test_same_bits_for_every_number_of_threads(name):
    import numba

    case = BY_NAME[name]
    x, t = case.draw((400, 300), np.float32)
    results = []
    for threads in (1, numba.config.NUMBA_NUM_THREADS):
        before = numba.get_num_threads()
        numba.set_num_threads(threads)
        results.append(case.function.value_and_grad(x, t))
        numba.set_num_threads(before)
    (a, ga), (b, gb) = results
    assert a.tobytes() == b.tobytes() and ga.tobytes() == gb.tobytes()
