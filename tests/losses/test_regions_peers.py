"""Losses over regions beside their peers.

None of them is installed: their formulas are written here, in PyTorch's operations in float64, as
the projects have them.
"""

import numpy as np
import pytest

import fastloss as fl
from tests.helpers import each

torch = pytest.importorskip("torch")

SHAPE = (2, 3, 4, 5)
AXES = (2, 3)


def monai_dice(p, t, smooth_nr=1e-5, smooth_dr=1e-5, jaccard=False):
    """DiceLoss without squared_pred, before its reduction."""
    intersection = (t * p).sum(AXES)
    denominator = t.sum(AXES) + p.sum(AXES)
    if jaccard:
        denominator = 2.0 * (denominator - intersection)
    return 1.0 - (2.0 * intersection + smooth_nr) / (denominator + smooth_dr)


def monai_tversky(p, t, alpha=0.5, beta=0.5, smooth_nr=1e-5, smooth_dr=1e-5):
    tp = (p * t).sum(AXES)
    fp = alpha * (p * (1 - t)).sum(AXES)
    fn = beta * ((1 - p) * t).sum(AXES)
    return 1.0 - (tp + smooth_nr) / (tp + fp + fn + smooth_dr)


def keras_dice(p, t, epsilon=1e-7):
    return 1.0 - (2.0 * (p * t).sum(AXES) + epsilon) / (t.sum(AXES) + p.sum(AXES) + epsilon)


def smp_jaccard(p, t, smooth=0.0):
    intersection = (p * t).sum(AXES)
    union = (p + t).sum(AXES) - intersection
    return 1.0 - (intersection + smooth) / (union + smooth)


PEERS = {
    "monai-dice": (fl.dice, {}, monai_dice),
    "monai-dice-jaccard": (
        fl.jaccard, {"smooth": 0.5e-5}, lambda p, t: monai_dice(p, t, jaccard=True),
    ),
    "monai-tversky": (
        fl.tversky, {"alpha": 0.3, "beta": 0.7}, lambda p, t: monai_tversky(p, t, 0.3, 0.7),
    ),
    "keras-dice": (fl.dice, {"smooth": 1e-7}, keras_dice),
    "smp-jaccard": (fl.jaccard, {"smooth": 0.0}, smp_jaccard),
    "smp-jaccard-smooth": (fl.jaccard, {"smooth": 1.0}, lambda p, t: smp_jaccard(p, t, 1.0)),
}  # fmt: skip


def draw(logits=False):
    rng = np.random.default_rng(0)
    p = 3.0 * rng.standard_normal(SHAPE) if logits else rng.random(SHAPE)
    return p, rng.random(SHAPE)


@pytest.mark.parametrize("from_logits", [False, True])
@each("name", PEERS)
def test_value_gradient_and_hessian(name, from_logits):
    ours, options, theirs = PEERS[name]
    p, t = draw(from_logits)
    options = options | {"from_logits": from_logits, "reduction": "none"}
    x, targets = torch.from_numpy(p).requires_grad_(), torch.from_numpy(t)

    def value(x):
        return theirs(x.sigmoid() if from_logits else x, targets)

    rows, grad = ours.value_and_grad(p, t, **options)
    np.testing.assert_allclose(rows, value(x).detach(), rtol=1e-12)
    (by_x,) = torch.autograd.grad(value(x).sum(), x)
    np.testing.assert_allclose(grad, by_x, rtol=1e-10, atol=1e-13)
    whole = torch.autograd.functional.hessian(lambda x: value(x).sum(), x.detach())
    diagonal = whole.reshape(p.size, p.size).diagonal().reshape(SHAPE)
    _, hess = ours.grad_and_hess(p, t, **options)
    np.testing.assert_allclose(hess, diagonal, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("reduction", ["mean", "none"])
@each("axes", [(-2, -1), (1, 3), (0, 2, 3)])
def test_autograd_through_a_tensor(axes, reduction):
    p, t = draw()
    weights = torch.rand(torch.from_numpy(p).sum(axes).shape, dtype=torch.float64)
    x, targets = torch.from_numpy(p).requires_grad_(), torch.from_numpy(t)
    ours = fl.dice(x, targets, axis=axes, reduction=reduction)
    theirs = 1 - (2 * (x * targets).sum(axes) + 1e-5) / ((x + targets).sum(axes) + 1e-5)
    theirs = theirs.mean() if reduction == "mean" else theirs
    factor = 1.0 if reduction == "mean" else weights
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(
        torch.autograd.grad((ours * factor).sum(), x),
        torch.autograd.grad((theirs * factor).sum(), x),
    )


def test_compiled_and_mapped_over_axes():
    p, t = draw()
    x, targets = torch.from_numpy(p), torch.from_numpy(t)
    torch._dynamo.reset()
    compiled = torch.compile(
        lambda a, b: fl.dice(a, b, axis=(1, -1), reduction="none"),
        backend="aot_eager",
        fullgraph=True,
    )
    expected, grad = fl.dice.value_and_grad(p, t, axis=(1, -1), reduction="none")
    leaf = x.clone().requires_grad_()
    rows = compiled(leaf, targets)
    assert rows.shape == (2, 4)
    rows.sum().backward()
    np.testing.assert_allclose(rows.detach(), expected, rtol=1e-13)
    np.testing.assert_allclose(leaf.grad, grad, rtol=1e-13)
    mapped = torch.vmap(lambda a, b: fl.dice(a, b, axis=(0, -1), reduction="none"))(x, targets)
    np.testing.assert_allclose(mapped, expected, rtol=1e-13)


def test_jax_over_axes():
    jax = pytest.importorskip("jax")
    p, t = (a.astype(np.float32) for a in draw())
    expected, grad = fl.dice.value_and_grad(p, t, axis=(1, -1), reduction="none")

    def total(a, b):
        return fl.dice(a, b, axis=(1, -1), reduction="none").sum()

    got = jax.jit(jax.grad(total))(jax.numpy.asarray(p), jax.numpy.asarray(t))
    np.testing.assert_allclose(got, grad, rtol=1e-6)
    mapped = jax.vmap(lambda a, b: fl.dice(a, b, axis=(0, -1), reduction="none"))
    np.testing.assert_allclose(
        mapped(jax.numpy.asarray(p), jax.numpy.asarray(t)), expected, rtol=1e-6
    )
