"""The losses inside JAX's transformations, beside NumPy arrays and beside optax."""

import numpy as np
import pytest

jax = pytest.importorskip("jax")

import jax.numpy as jnp  # noqa: E402

import fastloss as fl  # noqa: E402
import fastloss.jax as flj  # noqa: E402
from fastloss.jax import ffi  # noqa: E402
from tests.catalogue import CORE_FIRST, EACH  # noqa: E402
from tests.helpers import (  # noqa: E402
    BFLOAT16,
    FLOAT16,
    FLOAT32,
    assert_same_bits,
    each,
    run_python,
)

SHAPE = (6, 5)
X = jax.random.normal(jax.random.key(0), SHAPE)
Y = jnp.array([0, 4, 2, 1, 3, 0])


def softmax_loss(x, y):
    """Cross-entropy by JAX alone, unreduced."""
    picked = jnp.take_along_axis(x, y[..., None], -1)[..., 0]
    return jax.nn.logsumexp(x, -1) - picked


# --- jit and grad ------------------------------------------------------------------------


@each("case", EACH)
@each("plain", [True, False])
def test_jit_has_the_bits_of_numpy(case, plain):
    """Value and gradient, by the plain loss and by that of fastloss.jax."""
    predictions, targets = case.draw(SHAPE, FLOAT32)
    targets = targets.astype(np.int32) if targets.dtype == np.int64 else targets
    expected = case.function.value_and_grad(predictions, targets)
    function = case.function if plain else case.function_of(flj)
    got = jax.jit(jax.value_and_grad(function))(predictions, targets)
    for a, b in zip(got, expected, strict=True):
        assert_same_bits(np.asarray(a), np.asarray(b))
    loss, grad = jax.jit(function.value_and_grad)(predictions, targets)
    assert_same_bits(np.asarray(loss), np.asarray(expected[0]))
    assert_same_bits(np.asarray(grad), np.asarray(expected[1]))


@each("dtype", [FLOAT16, BFLOAT16])
def test_half_dtypes(dtype):
    predictions, targets = CORE_FIRST[0].draw(SHAPE, dtype)
    targets = targets.astype(np.int32)
    expected = CORE_FIRST[0].function.value_and_grad(predictions, targets)
    loss, grad = jax.jit(jax.value_and_grad(CORE_FIRST[0].function))(predictions, targets)
    assert_same_bits(np.asarray(loss), np.asarray(expected[0]))
    assert_same_bits(np.asarray(grad), np.asarray(expected[1]))


def test_float64_where_jax_has_it():
    run_python(
        """
        import jax, numpy as np, fastloss as fl
        jax.config.update("jax_enable_x64", True)
        x, y = np.random.default_rng(0).standard_normal((6, 5)), np.arange(6) % 5
        loss, grad = jax.jit(jax.value_and_grad(fl.cross_entropy))(x, y)
        expected = fl.cross_entropy.value_and_grad(x, y)
        assert loss.dtype == grad.dtype == np.float64
        assert loss == expected[0] and (np.asarray(grad) == expected[1]).all()
        """
    )


def test_options_and_methods_under_jit():
    """Weights that are traced, options that are not, an upstream gradient, a hessian."""
    weight, by_class = jnp.linspace(0.5, 2.0, 6), jnp.linspace(1.0, 2.0, 5)
    options = {"label_smoothing": 0.1, "z_loss": 0.01, "reduction": "none"}

    def run(x, weight, by_class, upstream):
        call = {"sample_weight": weight, "class_weight": by_class, **options}
        grad, hess = fl.cross_entropy.grad_and_hess(x, Y, grad_output=upstream, **call)
        return fl.cross_entropy(x, Y, **call), grad, hess

    arguments = (X, weight, by_class, weight * 2)
    got, expected = jax.jit(run)(*arguments), run(*arguments)
    for a, b in zip(got, expected, strict=True):
        assert_same_bits(np.asarray(a), np.asarray(b))


def test_upstream_gradients():
    """Of a scaled mean, and one per row."""
    for weigh, reference in (
        (lambda x: 3.0 * fl.cross_entropy(x, Y), lambda x: 3.0 * softmax_loss(x, Y).mean()),
        (
            lambda x: (fl.cross_entropy(x, Y, reduction="none") ** 2).sum(),
            lambda x: (softmax_loss(x, Y) ** 2).sum(),
        ),
    ):
        np.testing.assert_allclose(
            jax.jit(jax.grad(weigh))(X), jax.grad(reference)(X), rtol=1e-5, atol=1e-6
        )


def test_image_like_axis():
    x = jax.random.normal(jax.random.key(1), (2, 5, 3, 4))
    y = jax.random.randint(jax.random.key(2), (2, 3, 4), 0, 5)
    got = jax.jit(jax.grad(lambda x: fl.cross_entropy(x, y, axis=1)))(x)
    expected = jax.grad(lambda x: softmax_loss(jnp.moveaxis(x, 1, -1), y).mean())(x)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-8)


# --- vmap and scan -----------------------------------------------------------------------


@each("reduction", ["mean", "sum", "none"])
@each("axes", [(0, 0), (1, None), (None, 0)])
def test_vmap(reduction, axes):
    """Over either argument, on any axis; values and gradients."""
    x = X if axes[0] is None else jnp.stack([X, 2 * X, -X], axes[0])
    y = Y if axes[1] is None else jnp.stack([Y, Y[::-1], Y * 0])
    reduce = {"mean": jnp.mean, "sum": jnp.sum, "none": lambda rows: rows}[reduction]

    def ours(x, y):
        return fl.cross_entropy(x, y, reduction=reduction)

    def theirs(x, y):
        return reduce(softmax_loss(x, y))

    got, expected = (jax.jit(jax.vmap(f, axes))(x, y) for f in (ours, theirs))
    np.testing.assert_allclose(got, expected, rtol=1e-5)
    got, expected = (
        jax.vmap(jax.grad(lambda x, y, f=f: (f(x, y) ** 2).sum()), axes)(x, y)
        for f in (ours, theirs)
    )
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-6)


def test_vmap_of_weights_and_options():
    """Weights and pos_weight batched as well, aligned from the right."""
    x, y = jnp.stack([X, -X]), (X > 0).astype(jnp.float32)
    pos = jnp.stack([jnp.linspace(1, 2, 5), jnp.linspace(2, 1, 5)])

    def loss(x, p):
        return fl.binary_cross_entropy_with_logits(
            x, y, pos_weight=p, sample_weight=p, reduction="none"
        )

    got = jax.vmap(loss)(x, pos)
    np.testing.assert_array_equal(got, jnp.stack([loss(a, p) for a, p in zip(x, pos)]))  # noqa: B905

    def grad(x, upstream):
        return fl.cross_entropy.grad(x, Y, grad_output=upstream, reduction="none")

    scales = jnp.array([1.0, 3.0])
    got = jax.vmap(grad)(x, scales)
    np.testing.assert_allclose(got, jnp.stack([grad(a, float(s)) for a, s in zip(x, scales)]))  # noqa: B905


def test_scan():
    """A training loop inside one compiled program."""

    def train(loss):
        def step(x, _):
            value, grad = jax.value_and_grad(loss)(x)
            return x - 0.5 * grad, value

        return jax.jit(lambda x: jax.lax.scan(step, x, length=20))(X)

    got = train(lambda x: fl.cross_entropy(x, Y))
    expected = train(lambda x: softmax_loss(x, Y).mean())
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


# --- refusals ----------------------------------------------------------------------------


def test_wrong_shapes_and_dtypes_are_refused_while_tracing():
    for arguments in ((X, Y[:3]), (Y, Y), (X, X[:, :2]), (X, Y > 0)):
        with pytest.raises((TypeError, ValueError)):
            jax.eval_shape(fl.cross_entropy, *arguments)
    with pytest.raises(TypeError, match="option"):
        jax.eval_shape(lambda x: fl.mse(x, x, magin=1.0), X)
    with pytest.raises(ValueError, match="reduction"):
        jax.eval_shape(lambda x: fl.mse(x, x, reduction="median"), X)


def test_a_bad_class_index_is_an_error_of_the_run():
    """It names the position and the value, as everywhere."""
    with pytest.raises(Exception, match=r"position \(1,\) is 4, expected 0 <= index < C = 4"):
        jax.block_until_ready(jax.jit(fl.cross_entropy)(X[:, :4], Y))


def test_derivatives_that_are_not_there_are_errors():
    with pytest.raises(NotImplementedError, match="second derivative"):
        jax.grad(lambda x: jax.grad(fl.cross_entropy)(x, Y).sum())(X)
    with pytest.raises(NotImplementedError, match="targets"):
        jax.grad(lambda t: fl.mse(X, t))(X)
    with pytest.raises(NotImplementedError, match="sample_weight"):
        jax.grad(lambda w: fl.mse(X, X, sample_weight=w))(X)


def test_traced_options_and_upstream_gradients_beside_plain_predictions():
    weight = jnp.linspace(0.5, 2.0, SHAPE[-1])
    expected = fl.cross_entropy(X, Y, class_weight=weight)
    loss = jax.jit(lambda w: fl.cross_entropy(X, Y, class_weight=w))(weight)
    assert_same_bits(np.asarray(loss), np.asarray(expected))
    losses = jax.vmap(lambda w: fl.cross_entropy(X, Y, class_weight=w))(jnp.stack([weight] * 2))
    np.testing.assert_array_equal(losses, [expected] * 2)
    grad = jax.jit(lambda u: fl.cross_entropy.grad(X, Y, grad_output=u))(2.0)
    np.testing.assert_allclose(grad, 2 * fl.cross_entropy.grad(X, Y), rtol=1e-6)


def test_traced_targets_of_other_predictions():
    with pytest.raises(TypeError, match="predictions"):
        jax.jit(lambda y: fl.cross_entropy(np.zeros(SHAPE), y))(Y)
    traced = jax.jit(lambda y: fl.cross_entropy(X, y))(Y)
    assert_same_bits(np.asarray(traced), np.asarray(fl.cross_entropy(X, Y)))


# --- how it is called --------------------------------------------------------------------


def test_without_ffi(monkeypatch):
    """By pure_callback, with one message."""

    def refuse(*arguments):
        raise RuntimeError("no FFI here")

    monkeypatch.setattr(ffi, "register", refuse)
    x, y = X[:, :3] + 1, Y % 3  # shapes that no other test has lowered

    def run(x, y):
        loss, grad = jax.jit(jax.value_and_grad(fl.cross_entropy))(x, y)
        return loss, grad, jax.jit(lambda x: fl.cross_entropy(x * 2, y))(x)

    with pytest.warns(UserWarning, match="no FFI here") as seen:
        loss, grad, _ = run(x, y)
    assert len(seen) == 1
    expected = fl.cross_entropy.value_and_grad(np.asarray(x), np.asarray(y))
    assert_same_bits(np.asarray(loss), np.asarray(expected[0]))
    assert_same_bits(np.asarray(grad), np.asarray(expected[1]))


def test_xla_passes_its_own_memory():
    """NumPy reports its allocations: a jitted step on 16 MB makes none of that size."""
    run_python(
        """
        import tracemalloc, jax, jax.numpy as jnp, fastloss as fl
        x, y = jnp.zeros((4096, 1024)), jnp.zeros(4096, jnp.int32)
        step = jax.jit(jax.value_and_grad(fl.cross_entropy))
        jax.block_until_ready(step(x, y))
        tracemalloc.start()
        jax.block_until_ready(step(x, y))
        peak = tracemalloc.get_traced_memory()[1]
        assert peak < 2e6, peak
        """
    )


def test_a_users_loss():
    cubic = fl.pointwise_loss("cubic", lambda p, t: (p - t) ** 3, lambda p, t: 3 * (p - t) ** 2)
    value, grad = jax.jit(jax.value_and_grad(cubic))(X, X * 2)
    np.testing.assert_allclose(value, ((-X) ** 3).mean(), rtol=1e-5)
    np.testing.assert_allclose(grad, 3 * X**2 / X.size, rtol=1e-5)
