"""The launches of a call, written down to be repeated with arrays that lie elsewhere.

Of a call that is like an earlier one in all but the addresses of its arrays, every launch is
known: only those arguments change that are addresses.
"""

from __future__ import annotations

import ctypes
import struct
import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from fastloss.arrays.cuda import DeviceArray, Place
from fastloss.cuda.compile import Kernel
from fastloss.cuda.launch import STREAM, Launch
from fastloss.cuda.primitives import WIDE

#: A call of more launches takes long on the device, and is not written down.
MANY_LAUNCHES = 256


class Address(int):
    """An address that knows the array it lies in, also a few bytes further on."""

    array: DeviceArray

    def __add__(self, count: int) -> Address:
        return address_in(self.array, int(self) + int(count))

    __radd__ = __add__


def address_in(array: DeviceArray, value: int) -> Address:
    """Return an address that lies in an array, or right behind it."""
    address = Address(value)
    address.array = array
    return address


class _Noted(NamedTuple):
    kernel: Kernel
    blocks: int
    record: tuple[Any, ...]


class Recording:
    """What a call allocates and launches, written down while it runs."""

    def __init__(self) -> None:
        self._new: list[DeviceArray] = []
        self._launches: list[_Noted] = []

    def watch(self, place: Place) -> Place:
        """Return a place at which everything is written down."""

        def empty(*call: Any) -> DeviceArray:
            array = place.empty(*call)
            self._new.append(array)
            return array

        def note(kernel: Kernel, blocks: int, record: tuple[Any, ...]) -> None:
            if blocks:
                self._launches.append(_Noted(kernel, blocks, record))

        return place._replace(empty=empty, note=note)

    def replay(self, keep: Any, device: int, arrays: Sequence[DeviceArray | None]) -> Replay | None:
        """Return the call as one of other arrays instead of these; None where there is no way.

        The call's other arrays, its scratch memory, lie one behind the other in what is the last
        of the addresses that a replay takes. `keep` is what lives as long.
        """
        if len(self._launches) > MANY_LAUNCHES:
            return None
        sources = {id(a): (k, a.address) for k, a in enumerate(arrays) if a is not None}
        scratch = 0
        for array in self._new:
            # As wide loads and stores were chosen for; every library's memory begins like that.
            if array.address % WIDE:
                return None
            if id(array) not in sources:
                sources[id(array)] = (len(arrays), array.address - scratch)
                scratch += -(-array.nbytes // WIDE) * WIDE
        known = [*(a for a in arrays if a is not None), *self._new]
        replay = Replay(keep, len(arrays) + 1, scratch)
        for kernel, blocks, record in self._launches:
            addresses = []
            for k, field in enumerate(record):
                if isinstance(field, Address):
                    source, start = sources[id(field.array)]
                    addresses.append((k, source, field - start))
                elif isinstance(field, int) and any(_holds(array, field) for array in known):
                    return None  # an address that has forgotten its array
            launch = kernel.new_launch(device)
            launch.fill(0, blocks, record)
            replay.add(launch, addresses)
        return replay


def _holds(array: DeviceArray, address: int) -> bool:
    low, high = np.lib.array_utils.byte_bounds(array)
    return low <= address < high


class Replay:
    """The launches of a call, whose addresses are still to be given.

    An argument that is an address is read from one place by all launches, and only written there.
    """

    def __init__(self, keep: Any, count: int, scratch: int) -> None:
        self._keep = keep
        #: Bytes of scratch memory that a call takes.
        self.scratch = scratch
        self._given = _Words(count)
        self._write = struct.Struct(f"{count}q").pack_into
        #: What lies further on in an array: (number of its address, bytes) -> its place.
        self._further: dict[tuple[int, int], _Words] = {}
        self._launches: list[Launch] = []
        self._stream = 0
        self._lock = threading.Lock()

    def add(self, launch: Launch, addresses: Sequence[tuple[int, int, int]]) -> None:
        """Append a launch; `addresses` are (number of the argument, of its address, offset)."""
        for k, source, offset in addresses:
            if offset == 0:
                launch.read_from(k, self._given.address + 8 * source)
            else:
                place = self._further.setdefault((source, offset), _Words(1))
                launch.read_from(k, place.address)
        self._launches.append(launch)

    def run(self, stream: int, addresses: Sequence[int]) -> None:
        """Launch on the current device."""
        with self._lock:
            self._write(self._given.memory, 0, *addresses)
            for (source, offset), place in self._further.items():
                place.memory[0] = addresses[source] + offset
            if stream != self._stream:
                for launch in self._launches:
                    launch.words[STREAM] = stream
                self._stream = stream
            for launch in self._launches:
                launch()


class _Words:
    """Memory that stays where it is."""

    def __init__(self, count: int) -> None:
        self.memory = (ctypes.c_int64 * count)()
        self.address = ctypes.addressof(self.memory)
