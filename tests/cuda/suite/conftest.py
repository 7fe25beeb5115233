"""PyTorch as the suite knows it: on a GPU, or with CPU tensors that pass for CUDA's."""

import importlib

import pytest

from tests.cuda.device import SIMULATED


@pytest.fixture
def torch(monkeypatch):
    torch = pytest.importorskip("torch")
    if SIMULATED:
        from fastloss.arrays import torch as adapter
        from fastloss.arrays import torch_cuda
        from fastloss.torch import quick, quick_cuda

        kind = adapter.TorchKind
        monkeypatch.setattr(kind, "device", lambda self, array: "cuda:0")
        monkeypatch.setattr(
            kind, "read", lambda self, array, role: torch_cuda.read_cuda(array.detach(), role)
        )
        monkeypatch.setattr(torch_cuda, "_number", lambda device: 0)
        for module in (torch_cuda, quick_cuda):
            monkeypatch.setattr(module, "current_stream", lambda device: 0)
        monkeypatch.setattr(quick, "evaluate", quick_cuda.evaluate)
        monkeypatch.setattr(
            adapter,
            "_door",
            lambda name: importlib.import_module(f"fastloss.torch.{name}").evaluate,
        )
    elif not torch.cuda.is_available():
        pytest.skip("this PyTorch cannot use CUDA")
    torch.where_to = "cpu" if SIMULATED else "cuda"
    return torch
