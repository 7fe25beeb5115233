"""Gradients in eager mode: when they are made, kept, scaled, and refused."""

import gc
import weakref

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch.nn import functional  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

import fastloss as fl  # noqa: E402
import fastloss.torch as flt  # noqa: E402
from tests.arrays.test_dispatch import from_torch, to_torch  # noqa: E402
from tests.catalogue import CORE_FIRST, EACH  # noqa: E402
from tests.helpers import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, each, f64, run_python  # noqa: E402


def logits_and_targets(n=6, classes=5, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n, classes, generator=generator, dtype=torch.float64).to(dtype)
    return x.requires_grad_(), torch.randint(0, classes, (n,), generator=generator)


# Few of each: every dtype and reduction is another kernel to compile.
CALLS = [(case, FLOAT32, "mean") for case in EACH]
CALLS += [(case, dtype, "mean") for case in CORE_FIRST for dtype in (FLOAT64, FLOAT16, BFLOAT16)]
CALLS += [
    (CORE_FIRST[0], FLOAT32, "none"),
    (CORE_FIRST[0], FLOAT16, "none"),
    (CORE_FIRST[-1], FLOAT32, "none"),
]


@pytest.mark.parametrize("case, dtype, reduction", CALLS, ids=str)
def test_plain_losses_backpropagate(case, dtype, reduction):
    """The same bits as value_and_grad with the same upstream gradient, to one more rounding."""
    predictions, targets = case.draw((6, 5), dtype)
    x, y = to_torch(predictions, torch).requires_grad_(), to_torch(targets, torch)
    loss = case.function(x, y, reduction=reduction)
    upstream = torch.linspace(0.5, 2.0, loss.numel(), dtype=loss.dtype).reshape(loss.shape)
    loss.backward(upstream)
    expected_loss, expected = case.function.value_and_grad(
        predictions, targets, reduction=reduction, grad_output=upstream.numpy()
    )
    np.testing.assert_array_equal(from_torch(loss), f64(expected_loss))
    assert x.grad.dtype == x.dtype
    eps = {FLOAT64: 2.0**-52, FLOAT32: 2.0**-23, FLOAT16: 2.0**-10, BFLOAT16: 2.0**-7}[dtype]
    np.testing.assert_allclose(
        from_torch(x.grad), f64(expected), rtol=2 * eps, atol=0 if dtype != FLOAT16 else 1e-7
    )


def test_no_gradient_is_computed_where_none_is_asked_for():
    x, y = logits_and_targets()
    with torch.no_grad():
        assert not fl.cross_entropy(x, y).requires_grad
    assert fl.cross_entropy(x.detach(), y).grad_fn is None


def test_non_leaf_logits_shared_weights_and_accumulation():
    x, y = logits_and_targets()
    total = {}
    for name, loss in (("ours", flt.cross_entropy), ("theirs", functional.cross_entropy)):
        x.grad = None
        z = x * 3
        (loss(z, y) + 2 * loss(z.exp(), y)).backward()
        loss(x, y).backward()
        total[name] = x.grad
    torch.testing.assert_close(total["ours"], total["theirs"])


@each("upstream", [1.0, 3.0])
def test_retained_graph_gives_the_same_gradient_twice(upstream):
    """The kept gradient must not be scaled in place while the graph may be used again."""
    x, y = logits_and_targets()
    loss = fl.cross_entropy(x, y) * upstream
    loss.backward(retain_graph=True)
    first = x.grad.clone()
    x.grad.zero_()
    loss.backward()
    assert torch.equal(x.grad, first)
    with pytest.raises(RuntimeError, match="second time"):
        loss.backward()


def test_accumulating_into_grad_leaves_the_kept_gradient_alone():
    """x.grad is added to in place: it must not be the array that a retained graph keeps."""
    x, y = logits_and_targets()
    loss = fl.cross_entropy(x, y)
    loss.backward(retain_graph=True)
    loss.backward(retain_graph=True)
    loss.backward()
    (expected,) = torch.autograd.grad(functional.cross_entropy(x, y), x)
    torch.testing.assert_close(x.grad, 3 * expected)


def test_the_gradient_becomes_grad_without_a_copy():
    """One array of the logits' size for the whole step: torch's allocator hands out none."""
    run_python(
        """
        import torch, fastloss as fl
        from tests.torch.memory import held
        x = torch.zeros(2048, 1024, requires_grad=True)
        y = torch.zeros(2048, dtype=torch.int64)
        def step(x):
            (fl.cross_entropy(x, y) * 2).backward()
        def again():
            x.grad = None
            return x
        numpy_peak, torch_bytes = held(step, again)
        size = x.numel() * 4
        assert numpy_peak < 1.1 * size, numpy_peak / size
        assert torch_bytes < 0.1 * size, torch_bytes / size
        """
    )


def test_hooks_and_checkpoint():
    x, y = logits_and_targets()
    seen = []
    x.register_hook(lambda g: seen.append(g.clone()))
    fl.cross_entropy(x, y).backward()
    x.grad = None
    again = torch.utils.checkpoint.checkpoint(
        lambda z: fl.cross_entropy(z * 1, y), x, use_reentrant=False
    )
    again.backward()
    torch.testing.assert_close(x.grad, seen[0])


def test_second_derivatives_are_refused():
    """A gradient penalty would otherwise silently do nothing."""
    x, y = logits_and_targets()
    (grad,) = torch.autograd.grad(fl.cross_entropy(x, y), x, create_graph=True)
    with pytest.raises(NotImplementedError, match="second derivative"):
        (fl.cross_entropy(x, y) + grad.square().sum()).backward()


@each("n", [4, 20_000])
def test_second_derivatives_by_what_the_logits_are_made_of(n):
    """Few logits are kept for this, many leave a trace; nobody else's derivatives suffer."""
    x, y = logits_and_targets(n)
    (grad,) = torch.autograd.grad(fl.cross_entropy(x**2, y), x, create_graph=True)
    with pytest.raises(NotImplementedError, match="second derivative"):
        torch.autograd.grad(grad.sum(), x)
    other = torch.ones(5, requires_grad=True)
    (slope,) = torch.autograd.grad((grad * other).sum(), other, retain_graph=True)
    torch.testing.assert_close(slope, grad.detach().sum(0))


def test_second_derivatives_by_the_upstream_gradient():
    x, y = logits_and_targets()
    upstream = torch.tensor(2.0, requires_grad=True)
    loss = fl.cross_entropy(x, y)
    (grad,) = torch.autograd.grad(loss, x, grad_outputs=upstream, create_graph=True)
    with pytest.raises(NotImplementedError, match="second derivative"):
        torch.autograd.grad(grad.sum(), upstream)


def test_hessians_of_autograd_are_refused():
    x, y = logits_and_targets()
    for derivative in (torch.autograd.functional.hessian, torch.autograd.functional.hvp):
        more = (torch.ones_like(x),) if derivative is torch.autograd.functional.hvp else ()
        with pytest.raises(NotImplementedError, match="second derivative"):
            derivative(lambda z: fl.cross_entropy(z, y), x.detach(), *more)


def test_many_logits_are_not_kept_for_an_error_of_second_derivatives():
    x, y = logits_and_targets(20_000)
    logits = x * 2
    memory = weakref.ref(logits)
    loss = fl.cross_entropy(logits, y)
    del logits
    assert memory() is None
    loss.backward()
    (expected,) = torch.autograd.grad(functional.cross_entropy(x * 2, y), x)
    torch.testing.assert_close(x.grad, expected)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch, about itself
def test_forward_mode_is_refused():
    forward_ad = torch.autograd.forward_ad
    x, y = logits_and_targets()
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(x.detach(), torch.ones(x.shape))
        with pytest.raises(NotImplementedError, match="forward-mode"):
            fl.cross_entropy(dual, y)
        with pytest.raises(NotImplementedError, match="forward-mode"):
            fl.mse(x.detach(), dual)
        assert fl.cross_entropy(x.detach(), y) > 0
        with FlopCounterMode(display=False), pytest.raises(NotImplementedError, match="forward-m"):
            fl.cross_entropy(dual, y)
    with pytest.raises(NotImplementedError, match="forward-mode"):
        torch.func.linearize(lambda x: fl.cross_entropy(x, y), x.detach())


@each("name", ["targets", "sample_weight", "class_weight"])
def test_other_derivatives_are_refused(name):
    x, _ = logits_and_targets()
    call = {"targets": x.detach().softmax(-1), "sample_weight": torch.ones(6)}
    call["class_weight"] = torch.ones(5)
    call[name].requires_grad_()
    for predictions in (x, x.detach()):
        with pytest.raises(NotImplementedError, match=name):
            fl.cross_entropy(predictions, **call)
        with torch.no_grad():
            assert fl.cross_entropy(predictions, **call) > 0


@each("case", CORE_FIRST)
@each("reduction", ["mean", "none"])
def test_gradcheck(case, reduction):
    predictions, targets = case.draw((3, 4), FLOAT64)
    x, y = torch.from_numpy(predictions).requires_grad_(), torch.from_numpy(targets)
    if case.function.name == "hinge":
        x = (x.detach() * 0.3).requires_grad_()  # away from the kink
    assert torch.autograd.gradcheck(lambda z: case.function(z, y, reduction=reduction), x)


def test_scaled_float16_loss_keeps_small_gradients():
    """A gradient of 1e-8 is 0 in float16; times a loss scale of 65536 it is not."""
    n = 4096
    x = torch.zeros(n, 1000, dtype=torch.float16, requires_grad=True)
    (fl.cross_entropy(x, torch.zeros(n, dtype=torch.int64)) * 65536.0).backward()
    expected = 65536.0 / n * 1e-3
    torch.testing.assert_close(
        x.grad[:, 1].double(), torch.full((n,), expected).double(), rtol=2e-3, atol=0
    )


def test_logits_changed_before_the_backward_pass():
    """float16 reads them again: torch's own error. Others are done with them."""
    x, y = logits_and_targets(dtype=torch.float16)
    z = x * 1
    loss = fl.cross_entropy(z, y)
    with torch.no_grad():
        z.zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@each("name", ["targets", "sample_weight", "class_weight"])
@each("dtype", [torch.float32, torch.float16])
def test_others_changed_before_the_backward_pass(name, dtype):
    x, y = logits_and_targets(dtype=dtype)
    call = {"targets": y, "sample_weight": torch.ones(6), "class_weight": torch.ones(5)}
    (expected,) = torch.autograd.grad(fl.cross_entropy(x, **call), x)
    loss = fl.cross_entropy(x, **call)
    call[name].zero_()
    if dtype is torch.float16:
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            loss.backward()
        return
    loss.backward()
    assert torch.equal(x.grad, expected)


@each("upstream", [1.0, 3.0])
def test_changing_a_gradient_leaves_a_retained_graph_alone(upstream):
    x, y = logits_and_targets()
    loss = upstream * fl.cross_entropy(x, y)
    (grad,) = torch.autograd.grad(loss, x, retain_graph=True)
    expected = grad.clone()
    grad.zero_()
    loss.backward()
    assert torch.equal(x.grad, expected)


@each("dtype", [torch.float32, torch.float16])
@each("reduction", ["mean", "none"])
def test_batches_of_upstream_gradients(reduction, dtype):
    x, y = logits_and_targets(dtype=dtype)
    upstream = (torch.randn(3, 6) if reduction == "none" else torch.randn(3)).to(dtype)
    loss = flt.cross_entropy(x, y, reduction=reduction)
    (got,) = torch.autograd.grad(loss, x, upstream, is_grads_batched=True, retain_graph=True)
    one_by_one = [torch.autograd.grad(loss, x, u, retain_graph=True)[0] for u in upstream]
    eps = torch.finfo(dtype).eps  # two roundings
    torch.testing.assert_close(got, torch.stack(one_by_one), rtol=2 * eps, atol=0)


def test_batches_of_upstream_gradients_of_losses_that_depend_on_all_examples():
    x, _ = logits_and_targets()
    loss = fl.ntxent(x, torch.arange(6) // 2, reduction="none")
    with pytest.raises(NotImplementedError, match=r"ntxent: .*one by one"):
        torch.autograd.grad(loss, x, torch.randn(3, 6), is_grads_batched=True)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # of PyTorch, about itself
@each("dtype", [torch.float32, torch.float16])
@each("retain", [False, True])
@each("reduction", ["mean", "none"])
def test_compiled_autograd(reduction, retain, dtype):
    """The same bits as without it: the second step runs what the first has compiled."""

    def gradients():
        for seed in range(3):
            x, y = logits_and_targets(dtype=dtype)
            loss = fl.cross_entropy(x * (1 + seed), y, reduction=reduction).sum()
            (3 * loss).backward(retain_graph=retain)
            if retain:
                loss.backward()
            yield x.grad

    from torch._dynamo import compiled_autograd, reset

    expected = list(gradients())
    reset()
    with compiled_autograd._enable(torch.compile(backend="eager")):
        got = list(gradients())
    for a, b in zip(got, expected, strict=True):
        assert torch.equal(a, b)


def test_out_counts_as_a_change_in_place():
    """A tensor that autograd has saved, and fastloss overwrites, is no longer what was saved."""
    x, y = logits_and_targets()
    saved = x.exp()
    into = saved.detach()
    assert fl.cross_entropy.grad(into, y, out=into) is into
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        saved.sum().backward()
    hessian = (x * 1).exp()
    fl.mse.grad_and_hess(
        x.detach().numpy(), np.zeros((6, 5), np.float32), out=(np.empty((6, 5), np.float32),
        hessian.detach()),
    )  # fmt: skip
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        hessian.sum().backward()
    with torch.inference_mode():
        into = torch.randn(6, 5)
        assert fl.cross_entropy.grad(into, y, out=into) is into


def test_what_hooks_have_stored_is_left_alone():
    x, y = logits_and_targets()
    stored = []

    def pack(tensor):
        stored.append(tensor)
        return len(stored) - 1

    with torch.autograd.graph.saved_tensors_hooks(pack, stored.__getitem__):
        loss = fl.cross_entropy(x, y)
    before = stored[0].clone()
    (3 * loss).backward()
    assert torch.equal(stored[0], before)
    torch.testing.assert_close(x.grad, 3 * before)


@each("reduction", ["mean", "none"])
@each("loss", [fl.cross_entropy, fl.ntxent])
def test_targets_do_not_live_as_long_as_the_loss(loss, reduction):
    """Who collects losses without detaching them keeps no more than with PyTorch's."""
    x, _ = logits_and_targets()
    targets = x.detach().softmax(1) if loss is fl.cross_entropy else torch.arange(6) // 2
    alive = weakref.ref(targets)
    result = loss(x, targets, reduction=reduction)
    result.sum().backward()
    del targets
    assert alive() is None
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        result.sum().backward()


def test_a_loss_added_to_its_own_predictions_lets_them_go():
    """Through the graph they would hold themselves, which Python's collector does not see."""
    x, y = logits_and_targets()
    logits = x * 1
    alive = weakref.ref(logits)
    logits += fl.cross_entropy(logits, y)
    logits.sum().backward()
    del logits
    gc.collect()
    assert alive() is None


def test_complex_tensors_are_refused_conjugate_or_not():
    z = torch.ones(3, dtype=torch.complex64)
    for complex_numbers in (z, z.conj()):
        for call in ((complex_numbers, torch.ones(3)), (torch.ones(3), complex_numbers)):
            with pytest.raises(TypeError, match="complex64"):
                fl.mse(*call)
