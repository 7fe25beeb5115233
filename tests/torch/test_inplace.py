"""`inplace=True`: the gradient takes the input's memory, and who would be misled is told."""

import pytest

torch = pytest.importorskip("torch")

from torch.nn import functional  # noqa: E402

import fastloss as fl  # noqa: E402
import fastloss.torch as flt  # noqa: E402
from tests.helpers import each, run_python  # noqa: E402

N, C = 6, 5
INDICES = torch.arange(N) % C
SIGNS = torch.ones(N, C)
SIGNS[::2] = -1.0

#: By name: the loss, its targets and its module.
LOSSES = {
    "cross_entropy": (flt.cross_entropy, INDICES, flt.CrossEntropyLoss),
    "binary_cross_entropy": (flt.binary_cross_entropy, (SIGNS > 0) * 0.5, flt.BCELoss),
    "binary_cross_entropy_with_logits": (
        flt.binary_cross_entropy_with_logits,
        (SIGNS > 0) * 1.0,
        flt.BCEWithLogitsLoss,
    ),
    "mse_loss": (flt.mse_loss, SIGNS, flt.MSELoss),
    "hinge_embedding_loss": (flt.hinge_embedding_loss, SIGNS, None),
    "soft_margin_loss": (flt.soft_margin_loss, SIGNS, None),
    "hinge": (flt.hinge, SIGNS, flt.HingeLoss),
}


def computed(dtype=torch.float32, leaf=None):
    """Return a leaf, and predictions between 0 and 1 that are made of it."""
    if leaf is None:
        leaf = torch.linspace(0.1, 0.4, N * C).reshape(N, C).to(dtype).requires_grad_()
    return leaf, leaf * 2


def backward(loss, upstream=1.0, dtype=torch.float32, **keywords):
    """Return the leaf's gradient, and whether its memory is that of the predictions."""
    leaf, predictions = computed(dtype)
    arrived = []
    predictions.register_hook(lambda grad: arrived.append(grad.data_ptr()))
    (loss(predictions, **keywords).sum() * upstream).backward()
    return leaf.grad, arrived == [predictions.data_ptr()]


LAYOUTS = {
    "transposed": lambda x: x.t().contiguous().t(),
    "columns": lambda x: x.repeat(1, 2)[:, :C],
    "every other": lambda x: x.repeat(2, 1)[::2],
    "one of several views": lambda x: torch.split(x.repeat(2, 1), N)[1],
}


@each("layout", LAYOUTS)
def test_layouts(layout):
    laid = LAYOUTS[layout]
    expected, _ = backward(lambda p: flt.cross_entropy(laid(p), INDICES), 3.0)
    got, _ = backward(lambda p: flt.cross_entropy(laid(p), INDICES, inplace=True), 3.0)
    assert torch.equal(got, expected)


@each("name", LOSSES)
@each("reduction", ["mean", "none"])
@each("upstream", [1.0, 3.0])
def test_the_same_gradient_where_the_input_was(name, reduction, upstream):
    loss, targets, module = LOSSES[name]
    run = lambda p, **how: loss(p, targets, reduction=reduction, **how)  # noqa: E731
    expected, elsewhere = backward(run, upstream)
    got, there = backward(run, upstream, inplace=True)
    assert there and not elsewhere
    assert torch.equal(got, expected)
    if module is not None:
        own = module(reduction=reduction, inplace=True)
        got, there = backward(lambda p: own(p, targets), upstream)
        assert there and torch.equal(got, expected)


@each("dtype", [torch.float64, torch.bfloat16, torch.float16])
@each("options", [{}, {"weight": torch.linspace(0.5, 2.0, C)}, {"label_smoothing": 0.1}])
def test_other_dtypes_and_options(dtype, options):
    """In float16 the gradient is made, and put there, in the backward pass."""
    run = lambda p, **how: flt.cross_entropy(p, INDICES, **options, **how)  # noqa: E731
    expected, _ = backward(run, 3.0, dtype)
    got, there = backward(run, 3.0, dtype, inplace=True)
    assert there and torch.equal(got, expected)


@each("dtype", [torch.float32, torch.float16])
def test_a_retained_graph(dtype):
    leaf, predictions = computed(dtype)
    loss = flt.cross_entropy(predictions, INDICES, inplace=True)
    (expected,) = torch.autograd.grad(3 * flt.cross_entropy(leaf * 2, INDICES), leaf)
    for retain in (True, True, False):
        (got,) = torch.autograd.grad(3 * loss, leaf, retain_graph=retain)
        assert torch.equal(got, expected)
    with pytest.raises(RuntimeError, match="second time"):
        loss.backward()


@each("dtype", [torch.float32, torch.float16])
def test_batches_of_upstream_gradients(dtype):
    upstream = torch.tensor([1.0, 3.0, -2.0]).to(dtype)
    got, expected = (
        torch.autograd.grad(
            flt.cross_entropy(predictions, INDICES, inplace=inplace),
            leaf,
            upstream,
            is_grads_batched=True,
        )[0]
        for inplace in (True, False)
        for leaf, predictions in [computed(dtype)]
    )
    assert torch.equal(got, expected)


@each("view", ["itself", "flatten", "expand_as"])
def test_a_leaf_is_refused(view):
    leaf, _ = computed()
    before = leaf.detach().clone()
    calls = {
        "itself": lambda: flt.cross_entropy(leaf, INDICES, inplace=True),
        "flatten": lambda: flt.mse_loss(leaf.flatten(), SIGNS.flatten(), inplace=True),
        "expand_as": lambda: flt.hinge_embedding_loss(leaf, SIGNS[:1], inplace=True),
    }
    with pytest.raises(RuntimeError, match=r"leaf that requires grad.*inplace"):
        calls[view]()
    assert torch.equal(leaf, before)


@each("dtype", [torch.float32, torch.float16])
def test_who_has_saved_the_input_is_told(dtype):
    leaf, _ = computed(dtype)
    saved = leaf.exp()
    loss = flt.cross_entropy(saved, INDICES, inplace=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()
    _, predictions = computed(dtype)
    losses = [flt.cross_entropy(predictions, INDICES, inplace=True) for _ in range(2)]
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        sum(losses).backward()


def test_a_refused_call_leaves_the_input():
    _, predictions = computed()
    before = predictions.detach().clone()
    with pytest.raises(ValueError, match="hinge"):
        flt.hinge(predictions, SIGNS * 2, inplace=True)
    with pytest.raises(IndexError):
        flt.cross_entropy(predictions, INDICES + 1, inplace=True)
    assert torch.equal(predictions, before)


def _compiled(p):
    return torch.compile(flt.cross_entropy, backend="aot_eager")(p, INDICES, inplace=True)


#: Calls by which the input stays as it is.
UNTOUCHED = {
    "no_grad": lambda p: torch.no_grad()(flt.cross_entropy)(p, INDICES, inplace=True),
    "detached": lambda p: flt.cross_entropy(p.detach(), INDICES, inplace=True),
    "compile": _compiled,
    "broadcast": lambda p: flt.mse_loss(p[:1], SIGNS, inplace=True),
    "expanded": lambda p: flt.cross_entropy(p[:1].expand(N, C), INDICES, inplace=True),
    "negated": lambda p: flt.cross_entropy(torch._neg_view(p), INDICES, inplace=True),
}


@each("case", UNTOUCHED)
@pytest.mark.filterwarnings("ignore:Using a target size", "ignore:The .grad attribute of a Tensor")
def test_where_the_input_stays_as_it_is(case):
    _, predictions = computed()
    before = predictions.detach().clone()
    loss = UNTOUCHED[case](predictions)
    if loss.requires_grad:
        loss.backward()
    assert torch.equal(predictions, before)


def test_functional_transforms_leave_the_input():
    _, predictions = computed()
    p = predictions.detach()
    before = p.clone()
    run = lambda p: flt.cross_entropy(p, INDICES, inplace=True)  # noqa: E731
    expected = fl.cross_entropy.grad(p, INDICES)
    torch.testing.assert_close(torch.func.grad(run)(p), expected)
    assert torch.equal(p, before)


def test_checkpoints_and_hooks():
    run = lambda p, **how: flt.cross_entropy(p, INDICES, **how)  # noqa: E731
    expected, _ = backward(run, 3.0)
    leaf, _ = computed()
    again = torch.utils.checkpoint.checkpoint(
        lambda x: run(computed(leaf=x)[1], inplace=True), leaf, use_reentrant=False
    )
    (3 * again).backward()
    assert torch.equal(leaf.grad, expected)
    stored = []
    pack = lambda tensor: stored.append(tensor) or len(stored) - 1  # noqa: E731
    with torch.autograd.graph.saved_tensors_hooks(pack, stored.__getitem__):
        leaf, predictions = computed()
        loss = run(predictions, inplace=True)
    before = stored[-1].clone()
    (3 * loss).backward()
    assert torch.equal(stored[-1], before)
    assert torch.equal(leaf.grad, expected)


def test_training_holds_no_array_of_the_input_s_size():
    run_python(
        """
        import torch, fastloss.torch as flt
        from tests.torch.memory import held
        x = torch.zeros(2048, 1024, requires_grad=True)
        y = torch.zeros(2048, dtype=torch.int64)
        def step(p):
            (grad,) = torch.autograd.grad(flt.cross_entropy(p, y, inplace=True) * 2, p)
            assert grad.data_ptr() == p.data_ptr()
        numpy_peak, torch_bytes = held(step, lambda: x * 1)
        size = x.numel() * 4
        assert numpy_peak < 0.1 * size, numpy_peak / size
        assert torch_bytes < 0.1 * size, torch_bytes / size
        """
    )


def test_torch_s_own_loss_agrees():
    leaf, predictions = computed()
    flt.cross_entropy(predictions, INDICES, inplace=True).backward()
    (expected,) = torch.autograd.grad(functional.cross_entropy(leaf * 2, INDICES), leaf)
    torch.testing.assert_close(leaf.grad, expected)
