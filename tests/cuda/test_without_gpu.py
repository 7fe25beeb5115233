"""A CUDA array on a machine that lacks part of what it takes: the error says which part."""

import numpy as np
import pytest

import fastloss as fl
from fastloss import device
from tests.cuda.device import missing
from tests.helpers import run_python


class OnSomeGPU:
    """What every consumer of CUDA arrays sees of one."""

    def __init__(self, array):
        self.__cuda_array_interface__ = {
            "version": 3,
            "shape": array.shape,
            "typestr": array.dtype.str,
            "data": (1 << 20, False),
        }


P, T = OnSomeGPU(np.zeros((2, 3), np.float32)), OnSomeGPU(np.zeros(2, np.int64))


@pytest.fixture
def fresh(monkeypatch):
    """`device` without what it remembers."""
    remembering = (device.numba_cuda, device.simulated, device.require_gpu)
    for function in remembering:
        function.cache_clear()
    yield monkeypatch
    for function in remembering:
        function.cache_clear()


@pytest.mark.skipif(missing() != "there is no CUDA device", reason="there is a GPU, or no Numba")
def test_no_driver():
    with pytest.raises(fl.DeviceError, match=r"(?i)driver") as caught:
        fl.cross_entropy(P, T)
    assert "nvidia-smi" in str(caught.value) and "CPU" in str(caught.value)


def test_numba_cuda_is_not_installed(fresh):
    fresh.setattr("importlib.util.find_spec", lambda name, *args: None)
    with pytest.raises(fl.DeviceError, match=r"fastloss\[cuda13\]") as caught:
        fl.cross_entropy.value_and_grad(P, T)
    assert "cuda12" in str(caught.value)


class _Cuda:
    """`numba.cuda` of a machine with these GPUs."""

    def __init__(self, *capabilities):
        self.gpus = [type("Device", (), {"compute_capability": c})() for c in capabilities]
        self.config = type("Config", (), {"ENABLE_CUDASIM": False})


def test_no_gpu(fresh):
    fresh.setattr(device, "numba_cuda", _Cuda)
    with pytest.raises(fl.DeviceError, match="no CUDA device"):
        device.require_gpu(0)


def test_gpu_too_old(fresh):
    fresh.setattr(device, "numba_cuda", lambda: _Cuda((9, 0), (7, 5)))
    device.require_gpu(0)
    with pytest.raises(fl.DeviceError, match=r"device 1 .* 7\.5.* 8\.0"):
        device.require_gpu(1)


def test_importing_fastloss_imports_no_cuda():
    code = """
        import sys
        import numpy as np
        import fastloss as fl
        fl.mse(np.zeros(3), np.zeros(3))
        wrong = {"numba.cuda", "numba_cuda", "cuda.bindings", "fastloss.cuda"} & set(sys.modules)
        assert not wrong, wrong
    """
    run_python(code)
