"""Calls on PyTorch's tensors that repeat the launches of an earlier one, at other addresses."""

import ctypes
import threading

import numpy as np
import pytest

import fastloss as fl
from fastloss import engine
from fastloss.spec import Want
from tests.catalogue import CASES, CORE_PLAIN
from tests.checks import REDUCTIONS
from tests.cuda.device import SIMULATED, needs_gpu, on_gpu_only
from tests.helpers import FLOAT32, each

pytestmark = needs_gpu

WANTS = (Want.LOSS, Want.LOSS_AND_GRAD, Want.GRAD, Want.GRAD_AND_HESS)


@pytest.fixture
def runs(monkeypatch):
    """The calls that were not repeated: one plan for each."""
    from fastloss.cuda.plans import CudaPlan
    from fastloss.torch import quick_cuda

    quick_cuda._repeats.clear()
    found, run = [], CudaPlan.run

    def watched(plan, *call):
        found.append(plan)
        return run(plan, *call)

    monkeypatch.setattr(CudaPlan, "run", watched)
    return found


def both(spec, want, predictions, targets, reduction="mean", **options):
    """The results of the short way and of the ordinary one."""
    from fastloss.torch import quick_cuda

    call = (spec, want, predictions, targets, None, reduction, None, None, options)
    return quick_cuda.evaluate(*call), engine.compute(*call)


def assert_same(torch, results):
    for a, b in zip(*results, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            assert type(a) is torch.Tensor and a.dtype == b.dtype and a.device == b.device
            assert a.shape == b.shape and a.stride() == b.stride()
            torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True)


def off(torch, array, elements):
    """The tensor, so many elements behind a boundary of 16 bytes."""
    source = torch.as_tensor(array)
    memory = torch.empty(source.numel() + elements, dtype=source.dtype, device=torch.where_to)
    assert memory.data_ptr() % 16 == 0
    return memory[elements:].view(source.shape).copy_(source)


def tensors(torch, arrays, elements=0):
    return [off(torch, array, elements) for array in arrays]


@each("case", CORE_PLAIN)
@each("reduction", REDUCTIONS)
@each("want", WANTS)
def test_same_bits_as_the_ordinary_way(torch, case, reduction, want, runs):
    shape = (5, 8)
    kept = []  # so that every call has other addresses
    for seed in range(3):
        kept.append(tensors(torch, case.draw(shape, FLOAT32, seed)))
        results = both(case.function.spec, want, *kept[-1], reduction=reduction)
        assert_same(torch, results)
        kept.append(results)
    # One that was written down, and the ordinary ones.
    assert len(runs) == 1 + 3


@each("case", CASES)
def test_every_loss_and_option(torch, case, runs):
    spec, shape = getattr(fl, case.loss.name).spec, (3, 4)
    options = {
        k: torch.tensor(v, device=torch.where_to) if isinstance(v, np.ndarray) else v
        for k, v in case.options(shape).items()
    }
    for seed in range(2):
        call = tensors(torch, case.draw(shape, FLOAT32, seed))
        assert_same(torch, both(spec, Want.LOSS_AND_GRAD, *call, **options))
    arrays = any(isinstance(value, torch.Tensor) for value in options.values())
    assert len(runs) == (4 if arrays else 3)


@each("want", WANTS)
@each("reduction", REDUCTIONS)
def test_many_launches(torch, want, reduction, runs):
    """Of products of matrices, all into one piece of scratch memory."""
    labels = torch.tensor([0, 0, 1, 1, 2, 2], device=torch.where_to)
    for _ in range(2):
        embeddings = torch.randn(6, 5, device=torch.where_to)
        assert_same(torch, both(fl.ntxent.spec, want, embeddings, labels, reduction))
    assert len(runs) == 3


def test_a_call_of_too_many_launches(torch, runs, monkeypatch):
    monkeypatch.setattr("fastloss.cuda.replay.MANY_LAUNCHES", 1)
    call = torch.randn(3, 4, device=torch.where_to), torch.tensor([0, 1, 2], device=torch.where_to)
    for _ in range(2):
        assert_same(torch, both(fl.cross_entropy.spec, Want.LOSS_AND_GRAD, *call, z_loss=0.25))
    assert len(runs) == 4


@each("name", ["float32", "float16", "bfloat16"])
def test_alignments(torch, name, runs):
    """Wide loads are chosen by where rows begin."""
    dtype, (rows, classes) = getattr(torch, name), (3, 2 * 132)
    logits = torch.randn(rows, classes).to(dtype)
    targets = torch.tensor([1, 2, 3], device=torch.where_to)
    for _ in range(2):
        for elements in (0, 1, 2, 4, 8):
            call = off(torch, logits, elements), targets
            assert_same(torch, both(fl.cross_entropy.spec, Want.LOSS_AND_GRAD, *call))
            other = off(torch, logits, 1)
            assert_same(torch, both(fl.mse.spec, Want.LOSS_AND_GRAD, call[0], other))
    different = 5 if dtype.itemsize == 2 else 3  # of 8 elements or none, 0 bytes off; of 4, too
    different -= dtype.itemsize == 2
    assert len(runs) == 2 * (different + 10)


@each("layout", ["columns", "gaps", "same row"])
def test_layouts(torch, layout):
    make = {
        "columns": lambda a: a.t().contiguous().t(),
        "gaps": lambda a: torch.stack([a, a], -1)[..., 0],
        "same row": lambda a: a[:1].expand(a.shape),
    }[layout]
    targets = torch.tensor([0, 1, 2, 3, 0, 1], device=torch.where_to)
    for _ in range(2):
        logits = make(torch.randn(6, 4, device=torch.where_to))
        assert_same(torch, both(fl.cross_entropy.spec, Want.LOSS_AND_GRAD, logits, targets))
        other = torch.randn(6, 4, device=torch.where_to)
        for call in ((logits, other), (other, logits)):
            assert_same(torch, both(fl.mse.spec, Want.GRAD_AND_HESS, *call, reduction="none"))


def test_in_place(torch, runs):
    targets = torch.tensor([0, 1, 2], device=torch.where_to)
    for _ in range(2):
        logits = torch.randn(3, 4, device=torch.where_to)
        expected = fl.cross_entropy.value_and_grad(logits, targets)
        version = logits._version
        results = fl.cross_entropy.value_and_grad(logits, targets, out=logits)
        assert results[1] is logits and logits._version > version
        assert_same(torch, (results, expected))
    assert len(runs) == 2
    out = torch.empty_like(logits)
    assert fl.cross_entropy.grad(logits, targets, out=out) is out
    # What is refused, also behind a call like it that was not.
    fl.mse.grad(logits, torch.randn_like(logits), out=logits)
    with pytest.raises(ValueError, match="out shares memory with targets"):
        fl.mse.grad(logits, logits, out=logits)
    with pytest.raises(TypeError, match="requires grad"):
        fl.mse.grad(out.requires_grad_(), logits, out=out)


def test_calls_that_differ_in_one_thing(torch):
    """None of them passes for another."""
    z = torch.randn(3, 4, device=torch.where_to)
    y = torch.tensor([0, 1, 2], device=torch.where_to)
    value, cross_entropy = Want.LOSS, fl.cross_entropy.spec
    calls = [
        ((cross_entropy, value, z, y), {}),
        ((cross_entropy, value, z, y), {"reduction": "sum"}),
        ((cross_entropy, value, z, y), {"reduction": "none"}),
        ((cross_entropy, value, z, y), {"label_smoothing": 0.5}),
        ((cross_entropy, value, z, y), {"ignore_index": 1}),
        ((cross_entropy, Want.GRAD, z, y), {}),
        ((cross_entropy, value, z, y.int()), {}),
        ((cross_entropy, value, z.double(), y), {}),
        ((cross_entropy, value, z[:, :3], y), {}),
        ((cross_entropy, value, z[:2], y[:2]), {}),
        ((cross_entropy, value, z, y[:1].expand(3)), {}),
        ((fl.categorical_cross_entropy.spec, value, z.softmax(1), y), {}),
        ((fl.mse.spec, value, z, z + 1.0), {}),
        ((fl.mse.spec, value, z, z + 1.0), {"half": False}),
    ]
    for call, options in calls:
        assert_same(torch, both(*call, **options))


def test_backward(torch, runs):
    targets = torch.tensor([0, 1, 2], device=torch.where_to)
    for _ in range(2):
        logits = torch.randn(3, 4, device=torch.where_to, requires_grad=True)
        fl.cross_entropy(logits, targets).backward()
        expected = fl.cross_entropy.grad(logits.detach().double(), targets)
        torch.testing.assert_close(logits.grad, expected.float())
    assert len(runs) == 2


def test_what_is_checked_in_every_call(torch, monkeypatch):
    logits = torch.randn(3, 4, device=torch.where_to)
    targets = torch.tensor([0, 1, 2], device=torch.where_to)
    for _ in range(2):
        fl.cross_entropy(logits, targets)
    targets[1] = 7
    assert torch.isnan(fl.cross_entropy(logits, targets))
    monkeypatch.setattr(fl.config, "validate_cuda", True)
    with pytest.raises(IndexError, match=r"position \(1,\) is 7"):
        fl.cross_entropy(logits, targets)
    with pytest.raises(ValueError, match="reduction"):
        fl.cross_entropy(logits, targets, reduction="middle")
    with pytest.raises((TypeError, ValueError), match="reduction"):
        fl.cross_entropy(logits, targets, reduction=[])
    empty = logits[:0], targets[:0]
    assert fl.cross_entropy(*empty, reduction="sum") == 0 and torch.isnan(fl.cross_entropy(*empty))


def test_an_address_that_has_forgotten_its_array(torch, monkeypatch, runs):
    """A plan that computes one in other ways than by + is not repeated."""
    monkeypatch.setattr("fastloss.cuda.pointwise_plan.address", lambda array: array.address)
    for _ in range(2):
        call = torch.randn(7, device=torch.where_to), torch.randn(7, device=torch.where_to)
        assert_same(torch, both(fl.mse.spec, Want.LOSS, *call, reduction="sum"))
    assert len(runs) == 4


def test_other_threads(torch, runs):
    """All at once, and each with tensors of its own."""
    targets = torch.tensor([0, 1, 2], device=torch.where_to)
    logits = [torch.randn(3, 4, device=torch.where_to) for _ in range(4)]
    expected = [fl.cross_entropy.grad(z, targets, z_loss=0.5) for z in logits]
    found = {}

    def work(k):
        for _ in range(1 if SIMULATED else 100):
            found[k] = fl.cross_entropy.grad(logits[k], targets, z_loss=0.5)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(len(logits))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for k, grad in enumerate(expected):
        torch.testing.assert_close(found[k], grad, rtol=0, atol=0)
    assert len(runs) == 1


@pytest.mark.skipif(not SIMULATED, reason="a GPU's streams are those of the test below")
def test_every_launch_goes_to_the_current_stream(torch, monkeypatch):
    from fastloss.cuda import launch, simulated
    from fastloss.torch import quick_cuda

    streams = []

    def watched(config, *call):
        streams.append(launch.CONFIG.unpack(ctypes.string_at(config, launch.CONFIG.size))[7])
        return simulated.launch(config, *call)

    monkeypatch.setattr(launch, "_driver", lambda: watched)
    call = torch.randn(3, 5, device=torch.where_to), torch.tensor([0, 1, 2])
    fl.cross_entropy(*call, z_loss=0.75)  # its launches are watched from the next time on
    streams.clear()
    for stream in (0, 7, 7, 0):
        monkeypatch.setattr(quick_cuda, "current_stream", lambda device, stream=stream: stream)
        fl.cross_entropy(*call, z_loss=0.75)
    launches = len(streams) // 4
    assert streams == [0] * launches + [7] * 2 * launches + [0] * launches and launches > 1


# --- on a GPU ---------------------------------------------------------------------------


@on_gpu_only
def test_other_streams(torch):
    """What a repeated call reads is ready on the stream on which it was asked for."""
    logits = torch.randn(4096, 8192, device="cuda")
    targets = torch.randint(0, 8192, (4096,), device="cuda")
    expected = fl.cross_entropy(logits, targets)
    torch.cuda.synchronize()
    for _ in range(3):
        with torch.cuda.stream(torch.cuda.Stream()):
            torch.cuda._sleep(50_000_000)
            loss = fl.cross_entropy(logits * 1.0, targets)
            torch.testing.assert_close(loss, expected, rtol=0, atol=0)


@on_gpu_only
def test_a_graph(torch):
    """Captured, and replayed with other numbers in the same memory."""
    logits = torch.randn(64, 1000, device="cuda")
    targets = torch.randint(0, 1000, (64,), device="cuda")
    fl.cross_entropy.value_and_grad(logits, targets)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        loss, grad = fl.cross_entropy.value_and_grad(logits, targets)
    for _ in range(2):
        logits.normal_()
        fl.cross_entropy.value_and_grad(torch.randn_like(logits), targets)
        graph.replay()
        expected = fl.cross_entropy.value_and_grad(logits, targets)
        assert_same(torch, ((loss, grad), expected))


@on_gpu_only
def test_a_thread_without_a_context(torch):
    """The first thing that a thread does, and the last: it may have none before and after."""
    logits = torch.randn(64, 1000, device="cuda")
    targets = torch.randint(0, 1000, (64,), device="cuda")
    expected = fl.cross_entropy(logits, targets)
    found = []
    for _ in range(2):
        thread = threading.Thread(target=lambda: found.append(fl.cross_entropy(logits, targets)))
        thread.start()
        thread.join()
    for loss in found:
        torch.testing.assert_close(loss, expected, rtol=0, atol=0)


@on_gpu_only
def test_with_another_device_current(torch):
    if torch.cuda.device_count() < 2:
        pytest.skip("there is one GPU")
    logits = torch.randn(64, 1000, device="cuda:1")
    targets = torch.randint(0, 1000, (64,), device="cuda:1")
    expected = torch.nn.functional.cross_entropy(logits, targets)
    for device in (0, 1, 0):
        with torch.cuda.device(device):
            loss = fl.cross_entropy(logits, targets)
            torch.testing.assert_close(loss, expected)
            assert torch.cuda.current_device() == device
