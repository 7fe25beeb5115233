"""Small calls take a path of their own; nothing of it may show but the time."""

import numpy as np
import pytest
import torch

import fastloss as fl
from fastloss.cpu.plan import CpuPlan
from fastloss.torch import quick
from tests.helpers import each

LAYOUTS = {
    "rows": lambda a: a,
    "columns": lambda a: a.t().contiguous().t(),
    "gaps": lambda a: torch.stack([a, a], -1)[..., 0],
    "same row": lambda a: a[:1].expand(a.shape),
    "negative bit": lambda a: torch.complex(a, -a).conj().imag,
}


def run(loss, logits, targets, **options):
    leaf = logits.detach().requires_grad_()
    result = loss(leaf, targets, **options)
    result.sum().backward()
    return result.detach(), leaf.grad


@pytest.fixture
def taken(monkeypatch):
    """Which calls went the short way: a list of True and False."""
    found = []
    short, long = CpuPlan.run_at, quick.engine.compute

    def watched(*args):
        results = short(*args)
        if results is not None:
            found.append(True)
        return results

    def other(*args):
        found.append(False)
        return long(*args)

    monkeypatch.setattr(CpuPlan, "run_at", watched)
    monkeypatch.setattr(quick.engine, "compute", other)
    return found


@pytest.mark.parametrize(
    ("dtype", "layout"),
    [(dtype, layout) for dtype in (torch.float64, torch.float32) for layout in LAYOUTS]
    + [(torch.bfloat16, layout) for layout in LAYOUTS if layout != "negative bit"],
)
def test_same_bits_as_the_long_way(dtype, layout, taken, monkeypatch):
    logits = LAYOUTS[layout](torch.randn(6, 5).to(dtype))
    assert logits.is_neg() == (layout == "negative bit")
    targets = torch.arange(6) % 5
    for options in ({}, {"label_smoothing": 0.1}, {"reduction": "none"}, {"axis": 0}):
        y = targets[:5] if "axis" in options else targets
        short = run(fl.cross_entropy, logits, y, **options)
        with monkeypatch.context() as patch:
            patch.setattr(quick, "stand_in", None)
            long = run(fl.cross_entropy, logits, y, **options)
        for a, b in zip(short, long, strict=True):
            assert a.dtype == b.dtype and a.shape == b.shape and torch.equal(a, b)
    assert taken == [layout != "negative bit", False] * 4


@each("index", [torch.int64, torch.int32, torch.uint8])
def test_targets_of_other_integers(index, taken):
    """Kernels read int64 alone: the others are converted, the long way."""
    logits, targets = torch.randn(4, 3), torch.tensor([0, 1, 2, 0])
    expected = run(fl.cross_entropy, logits, targets)
    for a, b in zip(run(fl.cross_entropy, logits, targets.to(index)), expected, strict=True):
        assert torch.equal(a, b)
    # Zeros are zeros in any size: these would pass as int64.
    run(fl.cross_entropy, logits, torch.zeros(64, dtype=index)[:4])
    assert taken == [True, *[index == torch.int64] * 2]


def test_weights_and_options_that_are_tensors_go_the_long_way(taken):
    logits, targets = torch.randn(4, 3), torch.tensor([0, 1, 2, 0])
    run(fl.cross_entropy, logits, targets, sample_weight=torch.ones(4))
    run(fl.cross_entropy, logits, targets, class_weight=torch.ones(3))
    run(fl.binary_cross_entropy_with_logits, logits, torch.ones(4, 3), pos_weight=2.0)
    assert taken == [False, False, True]


@each("loss", [fl.cross_entropy, fl.mse])
@each("reduction", ["mean", "none"])
def test_every_method_takes_it(loss, reduction, taken):
    """Also where nothing is differentiated; the same bits as from NumPy arrays."""
    logits = torch.randn(4, 3, requires_grad=True)
    targets = torch.tensor([0, 1, 2, 0]) if loss is fl.cross_entropy else logits.detach().sign()
    calls = (loss.value_and_grad, loss.grad, loss.grad_and_hess, lambda *a, **k: (loss(*a, **k),))
    results = []
    for call in calls:
        with torch.no_grad():
            results.append(call(logits, targets, reduction=reduction))
    assert taken == [True] * len(calls)
    for call, ours in zip(calls, results, strict=True):
        theirs = call(logits.detach().numpy(), targets.numpy(), reduction=reduction)
        for a, b in zip(ours, theirs, strict=True):
            assert isinstance(a, torch.Tensor) and not a.requires_grad
            np.testing.assert_array_equal(a.numpy(), b, strict=True)


def test_an_upstream_gradient_and_out_go_the_long_way(taken):
    logits, targets = torch.randn(4, 3), torch.tensor([0, 1, 2, 0])
    whole = fl.cross_entropy.grad(logits, targets)
    assert taken == [True]
    assert torch.equal(fl.cross_entropy.grad(logits, targets, grad_output=2.0), whole * 2)
    out = torch.empty_like(logits)
    assert fl.cross_entropy.grad(logits, targets, out=out) is out and torch.equal(out, whole)
    assert taken == [True, False, False]


def test_a_refused_target_is_named(taken):
    logits, targets = torch.randn(4, 3), torch.tensor([0, 1, 2, 0])
    run(fl.cross_entropy, logits, targets)
    with pytest.raises(IndexError, match="7"):
        run(fl.cross_entropy, logits, torch.tensor([0, 7, 2, 0]))
    assert taken == [True, False]


def test_a_reduction_that_cannot_be_hashed_is_refused():
    logits, targets = torch.randn(4, 3, requires_grad=True), torch.tensor([0, 1, 2, 0])
    with pytest.raises(ValueError, match="reduction") as ours:
        fl.cross_entropy(logits, targets, reduction=["mean"])
    with pytest.raises(ValueError, match="reduction") as long:
        fl.cross_entropy(logits.detach(), targets, reduction=["mean"])
    assert str(ours.value) == str(long.value)


def test_one_and_true_are_told_apart():
    logits, targets = torch.randn(4, 3), torch.randn(4, 3)
    run(fl.mse, logits, targets, half=True)
    with pytest.raises(TypeError, match="half"):
        run(fl.mse, logits, targets, half=1)


def test_shapes_and_dtypes_are_told_apart(taken):
    """One plan must not serve another's tensors."""
    for shape in ((4, 3), (3, 4), (2, 3)):
        for dtype in (torch.float32, torch.float64):
            logits, targets = torch.randn(shape, dtype=dtype), torch.zeros(shape[0], dtype=int)
            loss, grad = run(fl.cross_entropy, logits, targets)
            expected = run(torch.nn.functional.cross_entropy, logits, targets)
            torch.testing.assert_close((loss, grad), expected)
    assert all(taken)


@each("layout", [((1, 3), (3, 1)), ((1, 3), (7, 1)), ((3, 1), (1, 1)), ((3, 1), (1, 7))])
def test_the_stride_of_an_axis_of_length_one_does_not_matter(layout, taken):
    """One plan serves them all."""
    logits = torch.empty_strided(*layout).copy_(torch.randn(layout[0]))
    targets = torch.zeros(layout[0][0], dtype=int)
    expected = run(torch.nn.functional.cross_entropy, logits, targets)
    torch.testing.assert_close(run(fl.cross_entropy, logits, targets), expected)
    assert logits.is_contiguous() and all(taken)


def test_what_is_not_dense_is_refused(taken):
    sparse = torch.eye(3).to_sparse().requires_grad_()
    with pytest.raises(TypeError, match="dense"):
        fl.cross_entropy(sparse, torch.arange(3))
    with pytest.raises(TypeError, match="dense"):
        fl.mse(torch.eye(3, requires_grad=True), torch.eye(3).to_sparse())
    assert taken == [False, False]


def test_memory_that_is_nowhere_is_not_read(taken):
    """PyTorch's tensors of zeros that have no memory."""
    x = torch.zeros(3, 3, requires_grad=True)
    fl.mse(x, torch.zeros(3, 3))
    with pytest.raises(RuntimeError, match="ZeroTensor"):
        fl.mse(x, torch._efficientzerotensor((3, 3)))
    assert taken == [True, False]


def test_out_that_is_negated_lazily():
    """Nothing would reach it."""
    x, y = torch.rand(2, 3), torch.rand(2, 3)
    view = torch.zeros(2, 3, dtype=torch.complex64).conj().imag
    with pytest.raises(TypeError, match=r"out.resolve_neg\(\)"):
        fl.mse.grad(x, y, out=view)
