"""From a kernel to its launch, as far as that goes without a GPU; needs the compiler's wheels.

The current device and the driver's launch are stand-ins; Numba's compiler, its linker to
machine code and its cache on disk are real.
"""

import contextlib
import ctypes
import inspect
import struct
from types import SimpleNamespace

import pytest

from tests.cuda import assembly
from tests.cuda.builds import BUILDS
from tests.helpers import run_python

pytestmark = pytest.mark.skipif(assembly.missing() is not None, reason=assembly.missing() or "")

DEVICE = SimpleNamespace(compute_capability=(9, 0), id=0)


def pretend(patch):
    """Let Numba believe in a device; what it would load there is linked and counted instead."""
    import numba.cuda.codegen
    import numba.cuda.dispatcher

    assembly.pretend_device(DEVICE, patch)
    context = SimpleNamespace(device=DEVICE)
    patch(numba.cuda.codegen.devices, "get_context", lambda *number: context)
    linked = []

    def bind(kernel):
        kernel.library.get_cubin(cc=DEVICE.compute_capability)
        linked.append(True)

    patch(numba.cuda.dispatcher._Kernel, "bind", bind)
    return linked


def kernel(name):
    (build,) = (build for build in BUILDS if str(build) == name)
    return build.make()


def compile_in_a_process():
    """What the test of the cache runs twice."""
    pretend(setattr)
    dispatcher = kernel("softmax_rows-warp-float32").dispatcher
    print(sum(dispatcher.stats.cache_hits.values()), sum(dispatcher.stats.cache_misses.values()))


def test_the_next_process_finds_the_kernel_in_the_cache(tmp_path):
    code = "from tests.cuda.test_launch import compile_in_a_process as run; run()"
    first = run_python(code, NUMBA_CACHE_DIR=tmp_path).stdout.split()
    second = run_python(code, NUMBA_CACHE_DIR=tmp_path).stdout.split()
    assert first == ["0", "1"] and second == ["1", "0"]


@pytest.fixture
def launches(monkeypatch):
    """What the driver finds in memory: (function, config, arguments) of every launch."""
    from numba.cuda.codegen import CUDACodeLibrary

    from fastloss.cuda import compile as compiling
    from fastloss.cuda import launch

    found = []

    def read(config, function, pointers, extra):
        assert extra is None
        fields = launch.CONFIG.unpack(ctypes.string_at(config, launch.CONFIG.size))
        found.append((function, fields, ctypes.cast(pointers, ctypes.POINTER(ctypes.c_void_p))))
        return 0

    function = SimpleNamespace(handle=1234)
    monkeypatch.setattr(CUDACodeLibrary, "get_cufunc", lambda self: function)
    monkeypatch.setattr(compiling, "current", lambda device: contextlib.nullcontext())
    monkeypatch.setattr(launch, "_driver", lambda: read)
    return found


def test_launch_hands_over_every_field(monkeypatch, launches):
    """On the stream and the grid that were asked for, compiled once, each of 64 bits."""
    linked = pretend(monkeypatch.setattr)
    computing = kernel("softmax_rows-thread-float32")
    computing._functions.clear()
    computing._launches.clear()
    kinds = computing.fields
    assert len(kinds) == len(computing.record._fields) and set(kinds) == {"q", "d"}
    for stream, step in ((7, 1), (2**40, 3)):
        given = [step * k + (0.5 if kind == "d" else 0) for k, kind in enumerate(kinds)]
        computing.launch(0, stream, 3, computing.record(*given))
        function, config, pointers = launches.pop()
        assert function == 1234
        assert config == (3, 1, 1, computing.threads, 1, 1, 0, stream, 0, 0)
        assert given == [
            struct.unpack(kind, ctypes.string_at(pointers[k], 8))[0] for k, kind in enumerate(kinds)
        ]
    computing.launch(0, 7, 0, computing.record(*given))
    assert linked and not launches
    computing._launches.clear()


def test_the_config_is_that_of_the_driver():
    from cuda.bindings import driver

    from fastloss.cuda import launch

    theirs = driver.CUlaunchConfig()
    numbers = {
        "gridDimX": 3, "gridDimY": 4, "gridDimZ": 5, "blockDimX": 64, "blockDimY": 2,
        "blockDimZ": 1, "sharedMemBytes": 16, "hStream": 2**40,
    }  # fmt: skip
    for name, value in numbers.items():
        setattr(theirs, name, value)
    words = ctypes.string_at(theirs.getPtr(), launch.CONFIG.size)
    assert launch.CONFIG.unpack(words) == (*numbers.values(), 0, 0)
    assert struct.unpack_from("q", words, 8 * launch.STREAM) == (2**40,)


def test_a_refused_launch(monkeypatch):
    from fastloss.cuda import launch

    monkeypatch.setattr(launch, "_driver", lambda: lambda *call: 701)
    refused = launch.Launch(1234, 64, "qd")
    refused.fill(0, 1, (2, 3.0))
    with pytest.raises(RuntimeError, match="CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES"):
        refused()


def test_numba_still_has_what_a_launch_takes():
    """Names that are not part of its documented interface."""
    from numba.cuda.cudadrv import driver
    from numba.cuda.dispatcher import _Kernel

    assert isinstance(_Kernel.library, property) and callable(_Kernel.bind)
    # What `get_cufunc` returns, and what Numba itself launches by.
    assert "self.handle = kernel.handle" in inspect.getsource(driver.CudaPythonFunction)
    assert "kernel = cufunc.kernel" in inspect.getsource(_Kernel.launch)
