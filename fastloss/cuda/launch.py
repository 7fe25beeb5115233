"""A launch as the driver reads it: all of it in memory, handed over by addresses.

`cuda.core.launch` would look at the type of every argument of every launch, which takes longer
than a small kernel runs.
"""

from __future__ import annotations

import ctypes
import functools
import struct
from collections.abc import Callable
from typing import Any, NoReturn, TypeAlias, get_type_hints

from fastloss.device import driver_function, error_name, simulated

#: The driver's CUlaunchConfig, of 8-byte words: grid, block, bytes of shared memory, stream,
#: attributes and their number.
CONFIG = struct.Struct("=7I4x2qI4x")

#: The words of the stream and of the first argument.
STREAM, ARGUMENTS = 4, CONFIG.size // 8

#: cuLaunchKernelEx: (config, function, addresses of the arguments, NULL) -> error code.
_Driver: TypeAlias = Callable[[int, Any, int, None], int]


def format_of(record: type) -> str:
    """Return a NamedTuple of ints and floats, all of 64 bits, as a format of `struct`."""
    return "".join("d" if kind is float else "q" for kind in get_type_hints(record).values())


class Launch:
    """The memory of a launch, to be filled and launched again and again; one thread at a time.

    Parameters
    ----------
    function : int
        The driver's handle of the kernel; in the simulator, what `simulated.launch` takes.
    threads : int
        Threads of a block.
    fields : str
        The format of the arguments.
    """

    def __init__(self, function: Any, threads: int, fields: str) -> None:
        self._function = function
        self._threads = threads
        self._layout = struct.Struct(CONFIG.format + fields)
        count = len(fields)
        self._memory = (ctypes.c_int64 * (ARGUMENTS + 2 * count))()
        self._config = ctypes.addressof(self._memory)
        self._pointers = self._config + 8 * (ARGUMENTS + count)
        #: The config and the arguments, then the addresses of the arguments.
        self.words = memoryview(self._memory).cast("B").cast("q")
        for k in range(count):
            self.read_from(k, self._config + 8 * (ARGUMENTS + k))
        self._driver = _driver()

    def read_from(self, argument: int, address: int) -> None:
        """Say where an argument lies; of itself it lies with the others."""
        self.words[(self._pointers - self._config) // 8 + argument] = address

    def fill(self, stream: int, blocks: int, record: tuple[Any, ...]) -> None:
        """Say what is launched next."""
        self._layout.pack_into(
            self._memory, 0, blocks, 1, 1, self._threads, 1, 1, 0, stream, 0, 0, *record
        )

    def __call__(self) -> None:
        """Launch; the driver has copied all of it when this returns."""
        error = self._driver(self._config, self._function, self._pointers, None)
        if error:
            _refuse(error)


@functools.cache
def _driver() -> _Driver:
    if simulated():
        from fastloss.cuda import simulated as stand_in

        return stand_in.launch
    return driver_function("cuLaunchKernelEx", 4)


def _refuse(error: int) -> NoReturn:
    raise RuntimeError(
        f"CUDA could not launch a kernel ({error_name(error)}); where that is the failure of "
        "earlier work on the device, CUDA_LAUNCH_BLOCKING=1 shows of which"
    )
