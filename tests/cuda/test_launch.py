"""From a kernel to its launch, as far as that goes without a GPU; needs the compiler's wheels.

The current device and the driver's launch are stand-ins; Numba's compiler, its linker to
machine code and its cache on disk are real.
"""

import inspect
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
        linked.append(kernel.library.get_cubin(cc=DEVICE.compute_capability))

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


def test_launch_hands_over_every_field(monkeypatch):
    """On the stream and the grid that were asked for, compiled once, Python numbers all."""
    import cuda.core

    from fastloss.cuda import compile as compiling

    linked = pretend(monkeypatch.setattr)
    launches = []
    monkeypatch.setattr(cuda.core, "launch", lambda *call: launches.append(call))
    monkeypatch.setattr(compiling, "stream_of", lambda device, handle: ("stream", handle))
    from numba.cuda.codegen import CUDACodeLibrary

    function = SimpleNamespace(kernel="the function")
    monkeypatch.setattr(CUDACodeLibrary, "get_cufunc", lambda self: function)
    finish = kernel("softmax_rows-thread-float32")
    finish._functions.clear()
    record = finish.record(*range(len(finish.record._fields)))
    for _ in range(2):
        finish.launch(0, 7, 3, record)
    finish.launch(0, 7, 0, record)
    assert len(launches) == 2 and linked
    stream, grid, launched, *arguments = launches[0]
    assert stream == ("stream", 7) and launched == "the function"
    assert tuple(grid.grid) == (3, 1, 1) and tuple(grid.block) == (finish.threads, 1, 1)
    assert tuple(arguments) == tuple(record)


def test_numba_still_has_what_a_launch_takes():
    """Names that are not part of its documented interface."""
    from numba.cuda.cudadrv import driver
    from numba.cuda.dispatcher import _Kernel

    assert isinstance(_Kernel.library, property) and callable(_Kernel.bind)
    # What `get_cufunc` returns, and what Numba itself hands to `cuda.core.launch`.
    assert "self.kernel = kernel" in inspect.getsource(driver)
    assert "kernel = cufunc.kernel" in inspect.getsource(_Kernel.launch)
