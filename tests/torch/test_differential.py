"""Thousands of random calls, against torch in float64: values, gradients, dtypes, errors."""

import zlib

import pytest

torch = pytest.importorskip("torch")

import fastloss.torch as flt  # noqa: E402
from tests.torch.random_calls import MAKERS, REDUCTIONS, Draw, spoil  # noqa: E402

#: Every dtype is another kernel to compile, so the half ones come in a few forms only.
DTYPES = (torch.float64, torch.float32)
CALLS = 600


def outcome(function, x, y, call, upstream_seed):
    """(loss, gradient, largest upstream gradient) by backward with a random one."""
    x = x.detach().requires_grad_()
    loss = function(x, y, **call)
    upstream = Draw(upstream_seed).normal(tuple(loss.shape)).to(loss.dtype)
    loss.backward(upstream)
    return loss.detach(), x.grad, float(upstream.abs().max()) if upstream.numel() else 0.0


def cast(value, dtype):
    is_float = isinstance(value, torch.Tensor) and value.is_floating_point()
    return value.to(dtype) if is_float else value


def assert_near(ours, theirs, dtype, scale, what):
    """Within a few roundings of the largest term; nan where torch has nan."""
    theirs = theirs.to(dtype).double()
    ours = ours.double()
    assert torch.equal(ours.isnan(), theirs.isnan()), what
    finite = theirs.isfinite()
    assert torch.equal(ours[~finite & ~theirs.isnan()], theirs[~finite & ~theirs.isnan()]), what
    error = (ours - theirs)[finite].abs()
    bound = 16 * torch.finfo(dtype).eps * (theirs[finite].abs() + scale)
    # The clamp of binary_cross_entropy's gradient, 1e-12, is a float32 in torch.
    bound += torch.where(theirs[finite].abs() > 1e6, 1e-8 * theirs[finite].abs(), 0.0)
    assert (error <= bound).all(), f"{what}: {error.max()} of {scale}"


@pytest.mark.filterwarnings("ignore:Using a target size")
@pytest.mark.parametrize("name", MAKERS)
def test_same_as_torch(name):
    """The same value, gradient, shape and dtype; nan and inf in the same places."""
    ours, theirs = getattr(flt, name), getattr(torch.nn.functional, name)
    for number in range(CALLS):
        seed = zlib.crc32(name.encode()) + number
        draw = Draw(seed)
        x, y, call = MAKERS[name](draw)
        call["reduction"] = draw.choice(REDUCTIONS)
        dtype = draw.choice(DTYPES)
        x, y = cast(x, dtype), cast(y, dtype)
        call = {k: cast(v, dtype) for k, v in call.items()}
        wide = {k: cast(v, torch.float64) for k, v in call.items()}
        expected = outcome(theirs, x.double(), cast(y, torch.float64), wide, seed)
        laid_out = x if name == "nll_loss" else draw.layout(x)  # torch's own refuses some
        got = outcome(ours, laid_out, y, call, seed)
        what = f"{name} {number}: {tuple(x.shape)} {dtype} {call}"
        assert got[0].dtype == dtype and got[0].shape == expected[0].shape, what
        size = float(x.abs().max()) if x.numel() else 0.0
        terms = max(x.numel(), 1) if call["reduction"] == "sum" else 1
        steep = float(expected[1].nan_to_num(0, 0, 0).abs().max()) if x.numel() else 0.0
        assert_near(got[0], expected[0], dtype, (1 + size) * terms, what)
        # p - y is a difference of terms up to 1.
        assert_near(got[1], expected[1], dtype, (steep + expected[2]) * (1 + size), what)


@pytest.mark.filterwarnings("ignore:Using a target size")
@pytest.mark.parametrize("name", ["cross_entropy", "binary_cross_entropy_with_logits", "mse_loss"])
def test_errors_where_torch_has_errors(name):
    """What torch refuses is refused."""
    ours, theirs = getattr(flt, name), getattr(torch.nn.functional, name)
    refused = 0
    for number in range(CALLS // 2):
        draw = Draw(number)
        x, y, call = MAKERS[name](draw)
        x, y, call = spoil(draw, name, x, y, call)
        try:
            theirs(x, y, **call)
        except (RuntimeError, ValueError, IndexError, TypeError, KeyError):
            refused += 1
            with pytest.raises((ValueError, IndexError, TypeError)):
                ours(x, y, **call)
    assert refused > CALLS // 20
