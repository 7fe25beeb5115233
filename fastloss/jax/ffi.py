"""Python functions over NumPy arrays as targets of XLA's typed FFI: no copy in either direction.

The structures are those of ``xla/ffi/api/c_api.h``, API version 0. Nothing here knows a loss.
"""

from __future__ import annotations

import ctypes
import math
import mmap
import sys
import threading
from collections.abc import Callable, Sequence
from ctypes import POINTER, c_char_p, c_int, c_int64, c_size_t, c_uint32, c_void_p
from typing import Any

import jax
import numpy as np

from fastloss.arrays import Array

#: Version of the interface that the structures below describe.
MAJOR, MINOR = 0, 1

#: From how many bytes NumPy asks for huge pages.
_LARGE = 1 << 22

_METADATA = 1
_INVALID_ARGUMENT = 3


#: How every structure of the interface begins.
_HEADER = (("struct_size", c_size_t), ("extension_start", c_void_p))


class _ApiVersion(ctypes.Structure):
    _fields_ = (*_HEADER, ("major", c_int), ("minor", c_int))


class _Metadata(ctypes.Structure):
    _fields_ = (("struct_size", c_size_t), ("api_version", _ApiVersion), ("traits", c_uint32))


class _Extension(ctypes.Structure):
    _fields_ = (
        ("struct_size", c_size_t),
        ("type", c_int),
        ("next", c_void_p),
        ("metadata", POINTER(_Metadata)),
    )


class _ErrorArgs(ctypes.Structure):
    _fields_ = (*_HEADER, ("message", c_char_p), ("code", c_int))


_ErrorCreate = ctypes.CFUNCTYPE(c_void_p, POINTER(_ErrorArgs))


class _Api(ctypes.Structure):
    _fields_ = (
        *_HEADER,
        ("api_version", _ApiVersion),
        ("internal_api", c_void_p),
        ("error_create", _ErrorCreate),
    )


class _Buffer(ctypes.Structure):
    _fields_ = (
        *_HEADER,
        ("dtype", c_int),
        ("data", c_void_p),
        ("rank", c_int64),
        ("dims", c_void_p),
    )


class _Buffers(ctypes.Structure):
    _fields_ = (
        *_HEADER,
        ("size", c_int64),
        ("types", c_void_p),
        ("buffers", POINTER(POINTER(_Buffer))),
    )


class _CallFrame(ctypes.Structure):
    _fields_ = (
        *_HEADER,
        ("api", POINTER(_Api)),
        ("context", c_void_p),
        ("stage", c_int),
        ("args", _Buffers),
        ("rets", _Buffers),
    )


_Handler = ctypes.CFUNCTYPE(c_void_p, POINTER(_CallFrame))

#: Where arrays lie; 0 for an empty one.
Addresses = Sequence[int]

#: The handlers that XLA may call, by the name of their target: they live as long as the process.
_handlers: dict[str, Any] = {}

#: Two threads that trace one call must not register it twice.
_registering = threading.Lock()


class Layout:
    """Shape and dtype of a dense array in C order at an address."""

    def __init__(self, shape: tuple[int, ...], dtype: Any) -> None:
        self.shape = shape
        self.dtype = np.dtype(dtype)
        self.nbytes = math.prod(shape) * self.dtype.itemsize
        self._memory = ctypes.c_char * self.nbytes

    def at(self, address: int) -> Array:
        """Return the array at the address."""
        if not address:  # an empty array needs no memory
            return np.empty(self.shape, self.dtype)
        return np.ndarray(self.shape, self.dtype, self._memory.from_address(address))


def _huge_pages() -> Callable[[int, int], None]:
    """Return what asks Linux for huge pages under large new memory, as NumPy does for its own.

    XLA's results come as untouched memory, and faulting them in by 4 KiB takes longer than
    computing them.
    """
    advise = getattr(ctypes.CDLL(None), "madvise", None) if sys.platform == "linux" else None

    def ask(address: int, nbytes: int) -> None:
        if advise is not None and nbytes >= _LARGE:
            start = -(-address // mmap.PAGESIZE) * mmap.PAGESIZE
            advise(c_void_p(start), c_size_t(address + nbytes - start), mmap.MADV_HUGEPAGE)

    return ask


def register(
    name: str,
    function: Callable[[Addresses, Addresses], None],
    inputs: Sequence[Layout],
    outputs: Sequence[Layout],
) -> None:
    """Make `function`, which reads inputs and writes outputs, a target on the CPU.

    It gets the addresses of both. What it raises becomes XLA's error, with the same text.

    Raises
    ------
    RuntimeError
        If this JAX has no typed FFI, or one of another version.
    """
    with _registering:
        if name not in _handlers:
            _handlers[name] = _registered(name, function, inputs, outputs)


def _registered(
    name: str,
    function: Callable[[Addresses, Addresses], None],
    inputs: Sequence[Layout],
    outputs: Sequence[Layout],
) -> Any:
    """Register a target; return its handler."""
    ask_for_huge_pages = _huge_pages()

    def handler(frame_pointer: Any) -> int | None:
        frame = frame_pointer.contents
        if frame.extension_start:
            extension = _Extension.from_address(frame.extension_start)
            if extension.type == _METADATA:
                metadata = extension.metadata.contents
                metadata.api_version.major, metadata.api_version.minor = MAJOR, MINOR
                metadata.traits = 0
                return None
        try:
            if frame.args.size != len(inputs) or frame.rets.size != len(outputs):
                raise TypeError(f"{name}: XLA passed another number of arrays")
            given, wanted = frame.args.buffers, frame.rets.buffers
            results = [wanted[k].contents.data or 0 for k in range(len(outputs))]
            for address, layout in zip(results, outputs, strict=True):
                ask_for_huge_pages(address, layout.nbytes)
            function([given[k].contents.data or 0 for k in range(len(inputs))], results)
        except BaseException as error:  # nothing may unwind through XLA
            message = f"{type(error).__name__}: {error}".encode()
            args = _ErrorArgs(ctypes.sizeof(_ErrorArgs), None, message, _INVALID_ARGUMENT)
            created: int = frame.api.contents.error_create(ctypes.byref(args))
            return created
        return None

    callback = _Handler(handler)
    pointer = ctypes.cast(callback, c_void_p).value
    try:
        jax.ffi.register_ffi_target(name, jax.ffi.pycapsule(pointer), platform="cpu")
    except Exception as error:
        raise RuntimeError(f"JAX {jax.__version__} has no typed FFI as known here") from error
    return callback
