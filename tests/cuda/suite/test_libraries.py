"""Arrays of other libraries: the same kind out, without a copy, on their current stream.

On a GPU these are the libraries' CUDA arrays. In the simulator, "device" memory is the
host's, so their CPU arrays go through the same adapters.
"""

import numpy as np
import pytest

import fastloss as fl
from tests.cuda.device import SIMULATED, needs_gpu, on_gpu_only
from tests.helpers import EPS, TINY, each_dtype, loss_dtype, working_eps

pytestmark = needs_gpu

LOGITS = np.random.default_rng(0).standard_normal((6, 41)).astype(np.float32)
TARGETS = np.arange(6)


@pytest.fixture
def jax(monkeypatch):
    jax = pytest.importorskip("jax")
    if SIMULATED:
        from fastloss.arrays import jax as adapter
        from fastloss.arrays import jax_cuda

        monkeypatch.setattr(adapter.JaxKind, "device", lambda self, array: "cuda:0")
        monkeypatch.setattr(
            adapter.JaxKind, "read", lambda self, array, role: jax_cuda.read_cuda(array)
        )
        monkeypatch.setattr(jax_cuda, "device_number", lambda array: 0)
    elif jax.default_backend() != "gpu":
        pytest.skip("this JAX cannot use CUDA")
    return jax


@each_dtype
def test_torch(torch, dtype):
    logits = torch.tensor(LOGITS, dtype=getattr(torch, str(dtype)), device=torch.where_to)
    targets = torch.tensor(TARGETS, device=torch.where_to)
    loss, grad = fl.cross_entropy.value_and_grad(logits, targets)
    mine = logits.double().clone().requires_grad_()
    expected = torch.nn.functional.cross_entropy(mine, targets)
    expected.backward()
    assert type(loss) is type(grad) is torch.Tensor
    assert loss.dtype == getattr(torch, str(loss_dtype(dtype)))
    assert grad.dtype == logits.dtype and grad.device == loss.device == logits.device
    computed = 16 * working_eps(dtype)  # among it the error of the GPU's own exponential
    torch.testing.assert_close(loss.double(), expected.detach(), rtol=computed, atol=0)
    torch.testing.assert_close(
        grad.double(), mine.grad, rtol=computed + EPS[dtype], atol=TINY[dtype]
    )


def test_torch_in_place_and_channels_last(torch):
    logits = torch.tensor(LOGITS[:, :36].reshape(1, 4, 9, 6).copy(), device=torch.where_to)
    logits = logits.contiguous(memory_format=torch.channels_last)
    targets = torch.tensor(TARGETS, device=torch.where_to).remainder(4).expand(1, 9, 6)
    expected = fl.cross_entropy.grad(logits, targets, axis=1)
    assert expected.stride() == logits.stride()
    out = fl.cross_entropy.grad(logits, targets, axis=1, out=logits)
    assert out is logits
    torch.testing.assert_close(out, expected, rtol=0, atol=0)


def test_torch_without_a_gradient_to_track(torch):
    logits = torch.tensor(LOGITS, device=torch.where_to)
    scalar = torch.tensor(0.5, device=torch.where_to)
    targets = torch.tensor(TARGETS, device=torch.where_to)
    half = fl.cross_entropy.grad(logits, targets, grad_output=scalar)
    torch.testing.assert_close(2 * half, fl.cross_entropy.grad(logits, targets))


def test_jax(jax):
    logits, targets = jax.numpy.asarray(LOGITS), jax.numpy.asarray(TARGETS)
    loss, grad = fl.cross_entropy.value_and_grad(logits, targets)
    expected, expected_grad = fl.cross_entropy.value_and_grad(LOGITS, TARGETS)
    assert isinstance(loss, jax.Array) and isinstance(grad, jax.Array)
    assert loss.devices() == grad.devices() == logits.devices()
    np.testing.assert_allclose(loss, expected, rtol=1e-6)
    np.testing.assert_allclose(grad, expected_grad, rtol=1e-5, atol=1e-7)
    with pytest.raises((TypeError, ValueError)):
        fl.cross_entropy.grad(logits, targets, out=logits)


@on_gpu_only
def test_cupy():
    cupy = pytest.importorskip("cupy")
    logits, targets = cupy.asarray(LOGITS), cupy.asarray(TARGETS)
    with cupy.cuda.Stream(non_blocking=True):
        loss, grad = fl.cross_entropy.value_and_grad(logits, targets)
        assert isinstance(loss, cupy.ndarray) and isinstance(grad, cupy.ndarray)
        expected, expected_grad = fl.cross_entropy.value_and_grad(LOGITS, TARGETS)
        np.testing.assert_allclose(loss.get(), expected, rtol=1e-6)
        np.testing.assert_allclose(grad.get(), expected_grad, rtol=1e-5, atol=1e-7)


def test_numba():
    from numba import cuda

    loss, grad = fl.cross_entropy.value_and_grad(cuda.to_device(LOGITS), cuda.to_device(TARGETS))
    expected, expected_grad = fl.cross_entropy.value_and_grad(LOGITS, TARGETS)
    assert type(grad) is type(loss) is type(cuda.to_device(LOGITS))
    np.testing.assert_allclose(loss.copy_to_host(), expected, rtol=1e-6)
    np.testing.assert_allclose(grad.copy_to_host(), expected_grad, rtol=1e-5, atol=1e-7)


# --- streams and devices ----------------------------------------------------------------


@on_gpu_only
def test_the_current_stream_is_used(torch):
    """A result is ready on the stream it was asked for, with no wait in between."""
    logits = torch.randn(4096, 32000, device="cuda")
    targets = torch.randint(0, 32000, (4096,), device="cuda")
    expected = torch.nn.functional.cross_entropy(logits, targets)
    stream = torch.cuda.Stream()
    torch.cuda.synchronize()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(50_000_000)
        scaled = logits * 1.0
        loss = fl.cross_entropy(scaled, targets)
        torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-5)


@on_gpu_only
def test_a_call_does_not_wait(torch):
    """Work before it is still running when it returns."""
    logits = torch.randn(64, 1000, device="cuda")
    targets = torch.randint(0, 1000, (64,), device="cuda")
    fl.cross_entropy.value_and_grad(logits, targets)
    torch.cuda.synchronize()
    torch.cuda._sleep(500_000_000)
    done = torch.cuda.Event()
    done.record()
    fl.cross_entropy.value_and_grad(logits, targets)
    assert not done.query(), "the call waited for the device"
    torch.cuda.synchronize()


@on_gpu_only
def test_the_other_device(torch):
    if torch.cuda.device_count() < 2:
        pytest.skip("there is one GPU")
    logits = torch.tensor(LOGITS, device="cuda:1")
    loss = fl.cross_entropy(logits, torch.tensor(TARGETS, device="cuda:1"))
    assert loss.device == logits.device and torch.cuda.current_device() == 0
    with pytest.raises(fl.DeviceError, match=r"cuda:1.*cuda:0"):
        fl.cross_entropy(logits, torch.tensor(TARGETS, device="cuda:0"))


@on_gpu_only
def test_more_than_two_to_the_31_elements(torch):
    """Offsets need 64 bits."""
    if torch.cuda.get_device_properties(0).total_memory < 40 * 2**30:
        pytest.skip("the GPU has too little memory")
    rows, classes = 20_000, 120_000
    logits = torch.zeros(rows, classes, dtype=torch.bfloat16, device="cuda")
    logits[-1, -1] = 5.0
    targets = torch.full((rows,), classes - 1, device="cuda")
    loss, grad = fl.cross_entropy.value_and_grad(logits, targets, reduction="none", out=logits)
    np.testing.assert_allclose(loss[0].item(), np.log(classes), rtol=1e-5)
    np.testing.assert_allclose(loss[-1].item(), np.log(classes - 1 + np.exp(5)) - 5, rtol=1e-4)
    assert grad[-2, -1].item() == -1.0  # 1/C - 1, which rounds to it
