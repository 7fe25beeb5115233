"""The CUDA stack of this machine: numba-cuda, the driver, a GPU; clear errors where one lacks."""

from __future__ import annotations

import ctypes
import functools
import importlib.util
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from fastloss.errors import DeviceError

#: The oldest architecture whose instructions the kernels use (Ampere: bfloat16, max.NaN).
OLDEST = (8, 0)

_INSTALL = "install it with `pip install 'fastloss[cuda13]'` (or cuda12, for an older driver)"


@functools.cache
def numba_cuda() -> Any:
    """Return the module `numba.cuda` of the package numba-cuda.

    Raises
    ------
    DeviceError
        If it is not installed.
    """
    if importlib.util.find_spec("numba_cuda") is None:
        raise DeviceError(f"arrays on CUDA need the package numba-cuda; {_INSTALL}")
    from numba import cuda

    return cuda


@functools.cache
def simulated() -> bool:
    """Whether Numba's CUDA simulator stands in for a GPU (NUMBA_ENABLE_CUDASIM=1)."""
    return bool(numba_cuda().config.ENABLE_CUDASIM)


@functools.cache
def require_gpu(device: int) -> None:
    """Refuse a machine or a GPU that the kernels cannot run on.

    Raises
    ------
    DeviceError
        If numba-cuda, the driver or a GPU is missing, or the GPU is too old.
    """
    cuda = numba_cuda()
    if simulated():
        return
    try:
        count = len(cuda.gpus)
    except Exception as error:  # Numba, its bindings and the driver have each their own
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DeviceError(
            "arrays on CUDA need an NVIDIA driver and a GPU, and Numba finds none on this "
            f"machine ({reason}); check `nvidia-smi` and `numba -s`, or copy the arrays to the CPU"
        ) from error
    if count == 0:
        raise DeviceError("Numba finds no CUDA device on this machine; copy the arrays to the CPU")
    if not 0 <= device < count:
        raise DeviceError(f"there is no CUDA device {device}; Numba finds {count}")
    capability = tuple(cuda.gpus[device].compute_capability)
    if capability < OLDEST:
        raise DeviceError(
            f"CUDA device {device} has compute capability {spell(capability)}; fastloss needs "
            f"{spell(OLDEST)} or newer (Ampere); copy the arrays to the CPU"
        )


def spell(capability: tuple[int, ...]) -> str:
    """Return a compute capability as NVIDIA writes it."""
    return ".".join(str(part) for part in capability)


def current(device: int) -> AbstractContextManager[Any]:
    """Return a context in which `device` is the current one; the former is restored."""
    if current_check(device)():
        return _NO_CHANGE
    context: AbstractContextManager[Any] = numba_cuda().gpus[device]
    return context


_NO_CHANGE: AbstractContextManager[Any] = nullcontext()


@functools.cache
def current_check(device: int) -> Callable[[], bool]:
    """Return what tells whether `device` is the current one of the thread: a new one has none."""
    if simulated():
        return lambda: True
    # That in which every library works.
    context = int(numba_cuda().gpus[device].get_primary_context().handle)
    get = driver_function("cuCtxGetCurrent", 1)

    def is_current() -> bool:
        found = ctypes.c_void_p()
        return get(ctypes.byref(found)) == 0 and found.value == context

    return is_current


@functools.cache
def driver_function(name: str, pointers: int) -> Callable[..., int]:
    """Return a function of the driver that takes so many pointers and returns an error code.

    Called by ctypes, without the objects that CUDA's bindings make of everything.
    """
    from cuda.bindings import driver

    # A stream of 0 is the one that all threads share, as it is to the libraries.
    flag = driver.CUdriverProcAddress_flags.CU_GET_PROC_ADDRESS_LEGACY_STREAM
    error, address, _ = driver.cuGetProcAddress(name.encode(), 12000, int(flag))
    if error != driver.CUresult.CUDA_SUCCESS or not address:
        raise DeviceError(f"the NVIDIA driver has no {name}; fastloss needs one for CUDA 12")
    prototype = ctypes.CFUNCTYPE(ctypes.c_int, *(ctypes.c_void_p,) * pointers)
    return prototype(int(address))


def error_name(code: int) -> str:
    """Return the name of an error of the driver."""
    from cuda.bindings import driver

    try:
        return str(driver.CUresult(code).name)
    except ValueError:  # newer than the bindings
        return f"error {code}"


def device_of(address: int) -> int:
    """Return the number of the device whose memory an address points to."""
    require_gpu(0)
    if simulated() or address == 0:
        return 0
    from cuda.bindings import driver

    attribute = driver.CUpointer_attribute.CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL
    with current(0):
        error, device = driver.cuPointerGetAttribute(attribute, address)
    if error != driver.CUresult.CUDA_SUCCESS:
        raise DeviceError(f"no CUDA device owns the memory at {address:#x} ({error.name})")
    return int(device)


def read_bytes(address: int, size: int) -> bytes:
    """Copy a few bytes from the current device to the host; waits for the device."""
    if simulated():
        return ctypes.string_at(address, size)
    from cuda.bindings import driver

    buffer = ctypes.create_string_buffer(size)
    (error,) = driver.cuMemcpyDtoH(ctypes.addressof(buffer), address, size)
    if error != driver.CUresult.CUDA_SUCCESS:
        raise DeviceError(f"could not read {size} bytes from the device ({error.name})")
    return buffer.raw


def wait_for(stream: int, other: int) -> None:
    """Make what is launched on `stream` wait for all that was launched on `other`."""
    if simulated() or stream == other:
        return
    event = numba_cuda().event(timing=False)
    event.record(_stream(other))
    event.wait(_stream(stream))


def wait(stream: int) -> None:
    """Wait for all that was launched on a stream of the current device."""
    if not simulated():
        _stream(stream).synchronize()


def _stream(handle: int) -> Any:
    cuda = numba_cuda()
    return cuda.external_stream(handle) if handle else cuda.default_stream()
