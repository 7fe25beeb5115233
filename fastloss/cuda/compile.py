"""How kernels are compiled, cached and launched.

A kernel's arguments are the fields of one NamedTuple of ints and floats, all of 64 bits, each
a parameter of its own. Numba would look at the type of every one of them in every call; they
go to the driver as they are instead, see `launch`.
"""

from __future__ import annotations

import functools
import importlib
import threading
from collections.abc import Callable
from typing import Any, get_type_hints

from numba.core import types

from fastloss.cuda.launch import Launch, format_of
from fastloss.device import current, numba_cuda, simulated
from fastloss.labels import named
from fastloss.lazy import lazy

#: Threads of a lean kernel that run on a multiprocessor at a time, at least.
LEAN_THREADS = 1024

#: Every kernel made so far, for tests that walk them.
KERNELS: list[Kernel] = []


def signature_of(record: type) -> Any:
    """Return the Numba signature of a kernel whose arguments are the fields of `record`."""
    kinds = get_type_hints(record).values()
    fields = [types.float64 if kind is float else types.int64 for kind in kinds]
    return types.void(types.NamedTuple(fields, record))  # type: ignore[attr-defined]


class Kernel:
    """A kernel, compiled for a device when it is first launched there.

    Parameters
    ----------
    make : callable
        Returns the function of one `record` to compile.
    record : type
        The NamedTuple of its arguments.
    threads : int
        Threads of a block.
    label : str
        Tells apart the kernels that one `make` can return.
    user_digest : str or None
        As for the kernels of the CPU.
    lean : bool
        Hold it to 64 registers a thread, so that 1024 threads fit on a multiprocessor.
    """

    def __init__(
        self,
        make: Callable[[], Callable[..., Any]],
        record: type,
        threads: int,
        label: str,
        user_digest: str | None = "",
        *,
        lean: bool = False,
    ) -> None:
        self.make = make
        self.record = record
        self.threads = threads
        self.label = label
        self.user_digest = user_digest
        self.lean = lean
        # Left alone, the compiler spills registers rather than let fewer blocks run.
        self.launch_bounds = (threads, max(1, LEAN_THREADS // threads) if lean else 1)
        self._functions: dict[int, Any] = {}
        self._launches: dict[int, Launch] = {}
        self._lock = threading.Lock()
        KERNELS.append(self)

    @lazy
    def function(self) -> Callable[..., Any]:
        """The kernel as a Python function."""
        cuda_math()
        return named(self.make(), self.label + (self.user_digest or ""))

    @lazy
    def dispatcher(self) -> Any:
        """The kernel as an object of Numba's, compiled for the current device."""
        cuda = numba_cuda()
        if simulated():
            return cuda.jit(self.function)
        decorate = functools.partial(
            cuda.jit, signature_of(self.record), launch_bounds=self.launch_bounds
        )
        if self.user_digest is None:
            return decorate()(self.function)
        try:
            return decorate(cache=True)(self.function)
        except RuntimeError as error:
            if "no locator" not in str(error):
                raise
            return decorate()(self.function)

    def ptx(self, capability: tuple[int, int]) -> str:
        """Compile to PTX, which needs no GPU."""
        code, _ = numba_cuda().compile(
            self.function, signature_of(self.record), device=False, abi="numba", cc=capability,
            launch_bounds=self.launch_bounds,
        )  # fmt: skip
        return str(code)

    def launch(self, device: int, stream: int, blocks: int, record: tuple[Any, ...]) -> None:
        """Launch on the current device, which is `device`; returns at once."""
        if blocks == 0:
            return
        launch = self._launches.get(device)
        if launch is None:
            launch = self._launches.setdefault(device, self.new_launch(device))
        with self._lock:
            launch.fill(stream, blocks, record)
            launch()

    def new_launch(self, device: int) -> Launch:
        """Return a launch on `device`, to be filled by who keeps it."""
        function = self._functions.get(device)
        if function is None:
            function = self._functions.setdefault(device, self._load(device))
        return Launch(function, self.threads, self.fields)

    @lazy
    def fields(self) -> str:
        """The arguments as a format of `struct`."""
        return format_of(self.record)

    def _load(self, device: int) -> Any:
        """Compile for a device, and return what its driver knows the kernel by."""
        if simulated():
            return self.dispatcher, self.record, self.fields
        with current(device):
            (compiled,) = self.dispatcher.overloads.values()
            compiled.bind()
            return int(compiled.library.get_cufunc().handle)


@functools.cache
def cuda_math() -> None:
    """Give the elementary functions their CUDA implementations (Numba's registry)."""
    importlib.import_module("fastloss.cuda.math")
