"""The options of a loss as arguments of its kernels, behind those that all of them have."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, get_type_hints

import numpy as np

from fastloss.cuda.memory import number_at
from fastloss.cuda.primitives import float32_of_bits, float64_of_bits
from fastloss.elementary import inline

#: What an option adds to the arguments: its number, the bits of its number in the precision that
#: is computed in (which a thread need not convert), or where its array lies.
NUMBER = (("number", float),)
BITS = (("bits", int),)
LINE = (("address", int), ("layout", int), ("size", int), ("code", int))


def extended(base: Any, name: str, more: Iterable[tuple[str, type]]) -> Any:
    """Return the NamedTuple `base` with more fields behind."""
    return NamedTuple(name, [*get_type_hints(base).items(), *more])


@functools.cache
def record_of(base: Any, array_options: tuple[bool, ...], bits: bool = False) -> Any:
    """Return the NamedTuple of the arguments `base` with the options behind them.

    `bits`: numbers are passed as `bits_of` makes them.
    """
    if not array_options:
        return base
    fields = [
        (f"{name}_{k}", kind)
        for k, is_array in enumerate(array_options)
        for name, kind in (LINE if is_array else BITS if bits else NUMBER)
    ]
    # Numba tells NamedTuples apart by their class, and spells its name in symbols.
    name = base.__name__ + "".join("a" if a else "n" for a in array_options)
    return extended(base, name, fields)


def bits_of(numbers: Iterable[float], real: Any) -> list[int]:
    """Return what the kernels that take `bits` are passed for numbers."""
    dtype = np.dtype(real)
    with np.errstate(over="ignore"):  # what is beyond the range is infinite
        values = np.array(list(numbers), dtype)
    bits: list[int] = values.view(f"i{dtype.itemsize}").tolist()
    return bits


@functools.cache
def options_of(
    base: Any,
    array_options: tuple[bool, ...],
    real: Any,
    constants: tuple[float | None, ...] | None = None,
) -> Callable[..., Any]:
    """Return the function that reads the options of element `i` as a tuple of `real`.

    With `constants`, numbers are passed as bits, and those that are not None are known already.
    """
    read: Callable[..., Any] = no_options
    at = len(base._fields)
    for k, is_array in enumerate(array_options):
        if is_array:
            read = with_array(read, at, real)
        elif constants is None:
            read = with_number(read, at, real)
        elif constants[k] is None:
            read = with_bits(read, at, real)
        else:
            read = with_constant(read, constants[k], real)
        at += len(LINE if is_array else NUMBER)
    return read


@inline
def no_options(call, i):
    return ()


def with_number(before: Callable[..., Any], at: int, real: Any) -> Any:
    """Add the option that is the number in field `at`."""

    def read(call, i):
        return (*before(call, i), real(call[at]))

    return inline(read)


def with_bits(before: Callable[..., Any], at: int, real: Any) -> Any:
    """Add the option whose bits are in field `at`."""
    of_bits = float64_of_bits if real is np.float64 else float32_of_bits

    def read(call, i):
        return (*before(call, i), of_bits(call[at]))

    return inline(read)


def with_constant(before: Callable[..., Any], constant: Any, real: Any) -> Any:
    """Add the option that is this number in every call of the kernel."""
    number = float(constant)

    def read(call, i):
        return (*before(call, i), real(number))

    return inline(read)


def with_array(before: Callable[..., Any], at: int, real: Any) -> Any:
    """Add the option whose array is described from field `at` on."""
    layout, size, code = at + 1, at + 2, at + 3

    def read(call, i):
        value = number_at(call[at], call[layout], i, call[size], call[code])
        return (*before(call, i), real(value))

    return inline(read)
