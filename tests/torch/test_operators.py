"""The losses inside torch's tracers and transformations."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch.nn import functional  # noqa: E402

import fastloss as fl  # noqa: E402
import fastloss.torch as flt  # noqa: E402
from fastloss.torch import operators  # noqa: E402
from fastloss.torch.call import Call  # noqa: E402
from tests.helpers import each  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")  # what the tracers say about themselves

N, C = 6, 5
X = torch.randn(N, C, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
Y = torch.tensor([0, 4, 2, 1, 3, 0])
WEIGHT = torch.linspace(0.5, 2.0, C, dtype=torch.float64)


# --- the operators themselves ------------------------------------------------------------


@each("reduction", ["mean", "none"])
@each("layout", ["contiguous", "transposed"])
def test_opcheck(reduction, layout):
    call = Call("cross_entropy", reduction, {"label_smoothing": 0.1}, ("class_weight",)).text()
    x = X if layout == "contiguous" else X.T.contiguous().T
    upstream = torch.ones(() if reduction == "mean" else N, dtype=torch.float64)
    rest = (Y, None, [WEIGHT], call)
    torch.library.opcheck(operators.value, (x.clone().requires_grad_(), *rest))
    torch.library.opcheck(operators.value_and_grad, (x.clone().requires_grad_(), *rest))
    torch.library.opcheck(operators.grad, (upstream, x, *rest))


def test_opcheck_of_an_elementwise_loss():
    call = Call("mse", "none", {"half": False}, ()).text()
    x = torch.rand(3, 4, requires_grad=True)
    torch.library.opcheck(operators.value_and_grad, (x, torch.rand(3, 4), torch.rand(4), [], call))


# --- torch.compile and torch.export ------------------------------------------------------


@each("backend", ["aot_eager", "inductor"])
def test_compile_without_graph_breaks(backend):
    """Plain losses, drop-ins and modules in one graph; the gradient of a non-leaf."""
    module = flt.CrossEntropyLoss(WEIGHT, label_smoothing=0.1)

    def step(x, y):
        plain = fl.cross_entropy(x * 2, y)
        dropped_in = flt.mse_loss(x.sigmoid(), x.detach(), reduction="none")
        return plain + dropped_in.mean() + module(x, y).exp()

    def reference(x, y):
        plain = functional.cross_entropy(x * 2, y)
        square = functional.mse_loss(x.sigmoid(), x.detach())
        return plain + square + functional.cross_entropy(x, y, WEIGHT, label_smoothing=0.1).exp()

    x = X.clone().requires_grad_()
    compiled = torch.compile(step, fullgraph=True, backend=backend)
    got, expected = compiled(x, Y), reference(x, Y)
    torch.testing.assert_close(got, expected)
    grads = [torch.autograd.grad(loss, x)[0] for loss in (got, expected)]
    torch.testing.assert_close(*grads)
    with torch.no_grad():
        torch.testing.assert_close(compiled(x, Y), expected.detach())


def test_compile_of_a_users_loss_and_of_methods():
    cubic = fl.pointwise_loss(
        "cubic", lambda p, t: (p - t) ** 3, lambda p, t: 3 * (p - t) * (p - t)
    )
    other = fl.pointwise_loss("cubic", lambda p, t: p - t, lambda p, t: 1.0)

    def step(x):
        loss, grad = fl.mse.value_and_grad(x, x * 2)
        t = x.detach() * 2
        return cubic(x, t) + other(x, t) + loss, grad

    x = X.clone().requires_grad_()
    loss, grad = torch.compile(step, fullgraph=True, backend="aot_eager")(x)
    torch.testing.assert_close(loss, ((-x) ** 3 - x + 0.5 * x**2).mean())
    torch.testing.assert_close(grad, -x.detach() / x.numel())
    (by_x,) = torch.autograd.grad(loss, x)
    assert by_x.shape == x.shape


def test_compile_with_options_that_change():
    """A number that torch.compile no longer takes for a constant is one to us."""
    x, y, t = X.clone(), Y, X.sign()

    @torch.compile(fullgraph=True, backend="aot_eager", dynamic=True)
    def compiled(x, smoothing, index):
        return (
            flt.cross_entropy(x, y, label_smoothing=smoothing, ignore_index=index),
            fl.cross_entropy(x, y, logit_scale=x.shape[1] ** -0.5),
            flt.hinge_embedding_loss(x, t, margin=1 + smoothing),
            flt.binary_cross_entropy_with_logits(x, x.sigmoid()),
        )

    for smoothing, index in ((0.1, 1), (0.2, 2), (0.3, 3)):
        expected = (
            functional.cross_entropy(x, y, label_smoothing=smoothing, ignore_index=index),
            functional.cross_entropy(x / C**0.5, y),
            functional.hinge_embedding_loss(x, t, margin=1 + smoothing),
            functional.binary_cross_entropy_with_logits(x, x.sigmoid()),
        )
        torch.testing.assert_close(compiled(x, smoothing, index), expected)


class Model(torch.nn.Module):
    """A loss as a model's result."""

    def forward(self, x, y):
        """Return the loss."""
        return fl.cross_entropy(x, y, label_smoothing=0.1)


@each("strict", [True, False])
def test_export_with_a_dynamic_batch(strict):
    batch = torch.export.Dim("batch")
    program = torch.export.export(
        Model(), (X, Y), dynamic_shapes=({0: batch}, {0: batch}), strict=strict
    )
    x, y = torch.cat([X, X + 1]), torch.cat([Y, Y])
    torch.testing.assert_close(
        program.module()(x, y), functional.cross_entropy(x, y, label_smoothing=0.1)
    )


# --- torch.func --------------------------------------------------------------------------


def losses(**call):
    """Ours and torch's, as functions of (logits, targets)."""
    return [
        lambda x, y: flt.cross_entropy(x, y, **call),
        lambda x, y: functional.cross_entropy(x, y, **call),
    ]


@each("call", [{}, {"weight": WEIGHT, "label_smoothing": 0.1}])
def test_grad(call):
    ours, theirs = (torch.func.grad_and_value(f)(X, Y) for f in losses(**call))
    torch.testing.assert_close(ours, theirs)


@each("reduction", ["mean", "sum", "none"])
@each("dims", [(0, 0), (1, None), (None, 0)])
def test_vmap(reduction, dims):
    """Over either argument, on any axis."""
    x = X if dims[0] is None else torch.stack([X, 2 * X, -X], dims[0])
    y = Y if dims[1] is None else torch.stack([Y, Y.flip(0), Y * 0])
    results = [torch.func.vmap(f, dims)(x, y) for f in losses(reduction=reduction, weight=WEIGHT)]
    torch.testing.assert_close(*results)


@each("reduction", ["mean", "none"])
def test_vmap_and_grad_both_ways_round(reduction):
    """Per-example gradients, and the gradient of a batched loss."""
    x, y = torch.stack([X, 2 * X]), torch.stack([Y, Y.flip(0)])
    for order in (
        lambda f: torch.func.vmap(torch.func.grad(lambda a, b: f(a, b).square().sum()))(x, y),
        lambda f: torch.func.grad(lambda a: torch.func.vmap(f)(a, y).square().sum())(x),
    ):
        torch.testing.assert_close(*(order(f) for f in losses(reduction=reduction)))


def test_vmap_of_elementwise_options():
    """pos_weight and weights batched as well, aligned from the right."""
    x, y = torch.stack([X, -X]), (X > 0).double()
    pos = torch.stack([WEIGHT, WEIGHT.flip(0)])
    results = [
        torch.func.vmap(lambda a, p, f=f: f(a, y, pos_weight=p, reduction="none", weight=p))(x, pos)
        for f in (
            flt.binary_cross_entropy_with_logits,
            functional.binary_cross_entropy_with_logits,
        )
    ]
    torch.testing.assert_close(*results)


@each("reduction", ["mean", "none"])
def test_vmap_of_numbers(reduction):
    """An option that takes a number, and a number for each of the batch."""
    x, t = X.float(), X.float().flip(0)
    deltas = torch.tensor([0.5, 1.0])
    results = [
        torch.func.vmap(lambda d: fl.huber(x, t, delta=d, reduction=reduction))(deltas),
        torch.stack([functional.huber_loss(x, t, reduction, float(d)) for d in deltas]),
    ]
    torch.testing.assert_close(*results)


@each("reduction", ["mean", "sum", "none"])
@each("dims", [(0, 0), (1, None), (None, 0)])
def test_vmap_of_an_empty_batch(reduction, dims):
    """Values and gradients of none have the shape and dtype of those by torch's arithmetic.

    Its own cross-entropy has not got all of them.
    """

    def theirs(x, y):
        rows = x.logsumexp(1) - torch.where(y[:, None] == torch.arange(C), x, 0.0).sum(1)
        return rows if reduction == "none" else getattr(rows, reduction)()

    def ours(x, y):
        return flt.cross_entropy(x, y, reduction=reduction)

    x = X if dims[0] is None else X.new_empty([0, *X.shape]).movedim(0, dims[0])
    y = Y if dims[1] is None else Y.new_empty([0, *Y.shape])
    for transform in (
        lambda f: torch.func.vmap(f, dims),
        lambda f: torch.func.vmap(torch.func.grad(lambda a, b: f(a, b).sum()), dims),
        lambda f: torch.func.grad(lambda a, b: torch.func.vmap(f, dims)(a, b).sum()),
    ):
        torch.testing.assert_close(*(transform(f)(x, y) for f in (ours, theirs)))


@each("inner", [0, 2])
def test_vmap_of_an_empty_batch_in_a_batch(inner):
    x = X.new_ones([2 - inner, inner, *X.shape])
    ours, theirs = (
        torch.func.vmap(torch.func.vmap(f))(x)
        for f in (lambda a: flt.mse_loss(a, X), lambda a: (a - X).square().mean())
    )
    torch.testing.assert_close(ours, theirs)


def test_an_empty_batch_backpropagates():
    """As one of some does, also by the operators of compiled code."""
    x = X.new_empty([0, *X.shape]).requires_grad_()
    batched = torch.vmap(lambda a: flt.cross_entropy(a, Y))
    for call in (batched, torch.compile(batched, backend="aot_eager", fullgraph=True)):
        (grad,) = torch.autograd.grad(call(x).sum(), x)
        assert grad.shape == x.shape


@each("differentiated", [True, False])
def test_jit_trace(differentiated):
    """A call, not its result."""
    x = X.clone().requires_grad_(differentiated)
    traced = torch.jit.trace(flt.CrossEntropyLoss(), (x, Y))
    other = (2 * X + 1).requires_grad_(differentiated)
    torch.testing.assert_close(traced(other, Y), functional.cross_entropy(other, Y))
    if differentiated:
        (grad,) = torch.autograd.grad(traced(other, Y), other)
        (expected,) = torch.autograd.grad(functional.cross_entropy(other, Y), other)
        torch.testing.assert_close(grad, expected)


def test_options_that_are_numpys_numbers():
    x = torch.linspace(-2, 2, 5)

    def loss(delta):
        return torch.func.grad(lambda p: fl.huber(p, torch.zeros(5), delta=delta))(x)

    assert torch.equal(loss(np.float64(0.5)), loss(0.5))


def test_jacrev():
    results = [torch.func.jacrev(f)(X, Y) for f in losses(reduction="none")]
    torch.testing.assert_close(*results)


def test_second_derivatives_are_refused():
    with pytest.raises(NotImplementedError, match="forward-mode"):
        torch.func.hessian(lambda x: fl.cross_entropy(x, Y))(X)
    with pytest.raises(NotImplementedError, match="second derivative"):
        torch.func.grad(lambda x: torch.func.grad(fl.cross_entropy)(x, Y).sum())(X)
    with pytest.raises(NotImplementedError, match="second derivative"):
        torch.func.grad(lambda x: fl.cross_entropy.grad(x, Y).sum())(X)


def test_methods():
    """Their loss is differentiable, and batches are taken apart."""
    slope = torch.func.grad(lambda x: fl.cross_entropy.value_and_grad(x, Y)[0])(X)
    torch.testing.assert_close(slope, fl.cross_entropy.grad(X, Y))
    x = torch.stack([X, 2 * X])
    losses, grads = torch.func.vmap(lambda x: fl.cross_entropy.value_and_grad(x, Y))(x)
    for k in range(2):
        loss, grad = fl.cross_entropy.value_and_grad(x[k], Y)
        torch.testing.assert_close((losses[k], grads[k]), (loss, grad))
