"""The drop-ins against torch's own functions."""

import pytest

torch = pytest.importorskip("torch")

import fastloss.torch as flt  # noqa: E402


def test_cross_entropy_backpropagates():
    torch.manual_seed(0)
    x, y = torch.randn(7, 5, requires_grad=True), torch.randint(0, 5, (7,))
    (ours,) = torch.autograd.grad(flt.cross_entropy(x, y), x)
    (theirs,) = torch.autograd.grad(torch.nn.functional.cross_entropy(x, y), x)
    torch.testing.assert_close(ours, theirs)
