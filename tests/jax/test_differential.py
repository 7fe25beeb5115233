"""Thousands of random calls against optax: values and gradients."""

import numpy as np
import pytest

jax = pytest.importorskip("jax")
optax = pytest.importorskip("optax")

import jax.numpy as jnp  # noqa: E402

import fastloss as fl  # noqa: E402
import fastloss.jax as flj  # noqa: E402
from tests.helpers import each  # noqa: E402

CALLS = 500


def distributions(rng, shape):
    """One distribution over the classes per example."""
    return rng.dirichlet(np.ones(shape[-1]), shape[:-1])


#: name -> (ours, optax's unreduced loss, what makes predictions and targets of a shape)
PAIRS = {
    "indices": (
        flj.cross_entropy,
        optax.softmax_cross_entropy_with_integer_labels,
        lambda rng, shape: (rng.standard_normal(shape), rng.integers(0, shape[-1], shape[:-1])),
    ),
    "soft": (
        flj.cross_entropy,
        optax.softmax_cross_entropy,
        lambda rng, shape: (rng.standard_normal(shape), distributions(rng, shape)),
    ),
    "smoothed": (
        lambda x, y, **call: flj.cross_entropy(x, y, label_smoothing=0.2, **call),
        lambda x, y: optax.softmax_cross_entropy(x, optax.smooth_labels(y, 0.2)),
        lambda rng, shape: (rng.standard_normal(shape), distributions(rng, shape)),
    ),
    "sigmoid": (
        flj.binary_cross_entropy_with_logits,
        optax.sigmoid_binary_cross_entropy,
        lambda rng, shape: (rng.standard_normal(shape), rng.uniform(0, 1, shape)),
    ),
    "l2": (
        flj.mse,
        optax.l2_loss,
        lambda rng, shape: (rng.standard_normal(shape), rng.standard_normal(shape)),
    ),
    "hinge": (
        flj.hinge,
        optax.hinge_loss,
        lambda rng, shape: (rng.standard_normal(shape), rng.choice([-1.0, 1.0], shape)),
    ),
}  # fmt: skip

#: Every shape is another program to compile, so there are few, with many draws of each.
SHAPES = [(1, 2), (7, 5), (3, 4, 6), (4, 70)]


@each("name", PAIRS)
def test_same_as_optax(name):
    """Every reduction, with random weights, from small to saturated logits."""
    ours, theirs, make = PAIRS[name]
    rng = np.random.default_rng(sum(map(ord, name)))
    for shape in SHAPES:
        for reduction in ("mean", "sum", "none"):

            def mine(x, y, w, r=reduction):
                return ours(x, y, sample_weight=w, reduction=r)

            def reference(x, y, w, r=reduction):
                rows = theirs(x, y) * w
                total = {"mean": w.sum(), "sum": 1.0, "none": 1.0}[r]
                return rows if r == "none" else rows.sum() / total

            steps = [
                jax.jit(jax.value_and_grad(_total(f), has_aux=True)) for f in (mine, reference)
            ]
            for _ in range(CALLS // (3 * len(SHAPES))):
                x, y = make(rng, shape)
                x = (x * rng.choice([0.1, 1.0, 10.0])).astype(np.float32)
                y = y.astype(np.int32 if y.dtype.kind == "i" else np.float32)
                losses = shape if name in ("sigmoid", "l2", "hinge") else shape[:-1]
                w = rng.uniform(0.1, 2.0, losses).astype(np.float32)
                ((_, got), grad), ((_, want), expected) = (step(x, y, w) for step in steps)
                size = 1 + np.abs(x).max()
                many = losses_of(reduction, w)
                np.testing.assert_allclose(got, want, rtol=2e-5, atol=4e-6 * size * many)
                np.testing.assert_allclose(grad, expected, rtol=2e-5, atol=4e-6 * size)


def losses_of(reduction, weights):
    """How many losses a sum adds up."""
    return weights.size if reduction == "sum" else 1


def _total(loss):
    def total(x, y, w):
        value = loss(x, y, w)
        return value.sum(), value

    return total


def test_where_optax_is_silent():
    """A label of -1 wraps to the last class there; here it is refused, or ignored by name."""
    x, y = jnp.zeros((2, 3)), jnp.array([0, -1])
    with pytest.raises(IndexError, match="-1"):
        fl.cross_entropy(x, y)
    assert fl.cross_entropy(x, y, ignore_index=-1, reduction="none")[1] == 0
