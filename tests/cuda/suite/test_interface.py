"""Arrays of libraries of which only `__cuda_array_interface__` is known, and their streams."""

from types import SimpleNamespace

import numpy as np
import pytest

import fastloss as fl
from fastloss import engine
from fastloss.arrays.numba import NumbaKind
from tests.cuda.device import SIMULATED, OnDevice, needs_gpu, on_gpu_only
from tests.helpers import FLOAT32, FLOAT64, each

pytestmark = needs_gpu

#: Streams of the tests with a recorder, which exist nowhere.
OURS, THEIRS, OUTS = 7, 9, 11


def foreign(array, **interface):
    """An array on the device, with other words in its interface."""
    moved = OnDevice(array)
    moved.__cuda_array_interface__ |= interface
    return moved


@each("dtype", [FLOAT32, FLOAT64])
def test_a_dtype_of_a_library_of_its_own(dtype):
    """NumPy would take some for a dtype, such as a class for Python objects."""
    for other in (SimpleNamespace(name=dtype.name), type("Float", (), {}), "one of ours"):
        x, y = foreign(np.array([1.0, 3.0], dtype)), foreign(np.zeros(2, dtype))
        x.dtype = y.dtype = other
        assert fl.mse(x, y, reduction="sum").copy_to_host() == 5.0


@each("role", ["predictions", "targets", "sample_weight"])
def test_a_mask_is_not_ignored(role):
    call = {name: OnDevice(np.ones(3)) for name in ("predictions", "targets", "sample_weight")}
    fl.mse(**call)
    call[role] = foreign(np.ones(3), mask=OnDevice(np.array([True, False, True])))
    with pytest.raises(TypeError, match=f"{role}: .*mask"):
        fl.mse(**call)


@each("classes", [3, 200, 9000])
def test_no_rows_of_any_length(classes):
    """In strides that NumPy's empty arrays do not have."""
    empty = np.zeros((0, classes), np.float32)
    logits, targets = foreign(empty, strides=(4 * classes, 4)), OnDevice(np.zeros(0, np.int64))
    loss, grad = fl.cross_entropy.value_and_grad(logits, targets)
    assert np.isnan(loss.copy_to_host()) and grad.shape == (0, classes)
    assert fl.cross_entropy(logits, targets, reduction="sum").copy_to_host() == 0


# --- streams ----------------------------------------------------------------------------


@pytest.fixture
def events(monkeypatch):
    """What is done on streams, in its order; plans made before are forgotten."""
    if not SIMULATED:
        pytest.skip("there are no such streams on a GPU")
    from numba import cuda

    from fastloss import device
    from fastloss.cuda.compile import Kernel

    seen, copy = [], cuda.to_device

    def to_device(values):
        seen.append("copy")
        return copy(values)

    launch = Kernel.launch

    def record_launch(kernel, device, stream, *call):
        if seen[-1:] != [("launch", stream)]:
            seen.append(("launch", stream))
        launch(kernel, device, stream, *call)

    monkeypatch.setattr(cuda, "to_device", to_device)
    monkeypatch.setattr(Kernel, "launch", record_launch)
    monkeypatch.setattr(device, "wait_for", lambda stream, other: seen.append((stream, other)))
    monkeypatch.setattr(device, "wait", lambda stream: seen.append(("wait", stream)))
    engine._plans.clear()
    yield seen
    engine._plans.clear()


def test_streams_wait_for_each_other(events):
    """Before a launch for what was written, after it for what is read."""
    a = np.ones((4, 3), np.float32)
    x, y, out = (foreign(a.copy(), stream=stream) for stream in (OURS, THEIRS, OUTS))
    loss, grad = fl.mse.value_and_grad(x, y, out=out)
    assert grad is out and loss.stream == OURS
    at = events.index(("launch", OURS))
    assert sorted(events[:at]) == [(OURS, THEIRS), (OURS, OUTS)]
    assert sorted(events[at + 1 :]) == [(THEIRS, OURS), (OUTS, OURS)]


def test_results_belong_to_the_stream_that_writes_them(events):
    x = foreign(np.ones(3), stream=OURS)
    for result in fl.mse.value_and_grad(x, x, reduction="none"):
        assert result.stream == OURS
    x = OnDevice(np.ones(3))
    assert fl.mse(x, x).stream == 0


@on_gpu_only
def test_results_say_the_stream_of_numba():
    from numba import cuda

    stream = cuda.stream()
    x = cuda.to_device(np.ones(3), stream=stream)
    for result in fl.mse.value_and_grad(x, x):
        assert result.__cuda_array_interface__["stream"] == int(stream)
        assert (result.copy_to_host() == 0).all()


def test_a_library_that_must_wait_does_whatever_its_array_is_for(events, monkeypatch):
    """Once, and when all is launched."""
    read = NumbaKind.read

    def finish(stream):
        events.append(("finish", stream))

    def read_waiting(kind, array, role):
        described = read(kind, array, role)
        if role != "predictions":
            described.place = described.place._replace(finish=finish)
        return described

    monkeypatch.setattr(NumbaKind, "read", read_waiting)
    x, y, w = (foreign(np.ones(3), stream=stream) for stream in (OURS, THEIRS, THEIRS))
    fl.mse(x, y, sample_weight=w)
    assert events[-1] == ("finish", OURS) and events.count(("finish", OURS)) == 1


def test_what_a_plan_keeps_arrives_before_a_launch(events):
    """A copy may return earlier, and not every stream waits for the default one."""
    x = foreign(np.zeros((6, 5), np.float32)[::2, ::2], stream=OURS)
    fl.mse.grad(x, x)
    copied = len(events) - events[::-1].index("copy")
    assert events[copied:] == [("wait", 0), ("launch", OURS)]
    events.clear()
    fl.mse.grad(x, x)
    assert events == [("launch", OURS)], "the same plan copies nothing"
