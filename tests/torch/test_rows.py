"""The losses made of formulas over a row, called on tensors: autograd, operators, vmap."""

import numpy as np
import pytest

import fastloss as fl
from tests.catalogue import FIRST
from tests.catalogue.regions import LOSSES as REGION_LOSSES
from tests.catalogue.rows import LOSSES as ROW_LOSSES
from tests.helpers import each

torch = pytest.importorskip("torch")

NAMES = {loss.name for loss in (*ROW_LOSSES, *REGION_LOSSES)}
CASES = [case for case in FIRST if case.loss.name in NAMES]


@each("case", CASES)
def test_backward(case):
    x, t = case.draw((6, 5), np.float32)
    loss, grad = case.function.value_and_grad(x, t)
    tensor = torch.from_numpy(x).requires_grad_()
    value = case.function(tensor, torch.from_numpy(t))
    value.backward()
    assert value.item() == float(loss)
    np.testing.assert_array_equal(tensor.grad.numpy(), grad)


@each("case", CASES)
def test_compiled_and_mapped(case):
    x, t = case.draw((6, 5), np.float32)
    rows, grad = case.function.value_and_grad(x, t, reduction="none")
    torch._dynamo.reset()
    compiled = torch.compile(
        lambda a, b: case.function(a, b, reduction="none"), backend="aot_eager", fullgraph=True
    )
    tensor = torch.from_numpy(x).requires_grad_()
    compiled(tensor, torch.from_numpy(t)).sum().backward()
    np.testing.assert_array_equal(tensor.grad.numpy(), grad)
    mapped = torch.vmap(lambda a, b: case.function(a, b, reduction="none"))
    # The value alone has a kernel of its own, with other fused operations.
    got = mapped(torch.from_numpy(x), torch.from_numpy(t))
    np.testing.assert_allclose(got, rows, rtol=3e-7)


def test_class_weights_as_a_tensor():
    x = torch.randn(6, 5, requires_grad=True)
    y, weight = torch.arange(6) % 5, torch.linspace(0.5, 2, 5)
    logp = x.log_softmax(1)
    ours = fl.nll(logp, y, class_weight=weight)
    theirs = torch.nn.functional.nll_loss(logp, y, weight)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(
        torch.autograd.grad(ours, x, retain_graph=True), torch.autograd.grad(theirs, x)
    )
