"""The options of a loss as arguments of its kernels, behind those that all of them have."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, get_type_hints

from fastloss.cuda.memory import number_at
from fastloss.elementary import inline

#: What an option adds to the arguments: its number, or where its array lies.
NUMBER = (("number", float),)
LINE = (("address", int), ("layout", int), ("size", int), ("code", int))


def extended(base: Any, name: str, more: Iterable[tuple[str, type]]) -> Any:
    """Return the NamedTuple `base` with more fields behind."""
    return NamedTuple(name, [*get_type_hints(base).items(), *more])


@functools.cache
def record_of(base: Any, array_options: tuple[bool, ...]) -> Any:
    """Return the NamedTuple of the arguments `base` with the options behind them."""
    if not array_options:
        return base
    fields = [
        (f"{name}_{k}", kind)
        for k, is_array in enumerate(array_options)
        for name, kind in (LINE if is_array else NUMBER)
    ]
    # Numba tells NamedTuples apart by their class, and spells its name in symbols.
    name = base.__name__ + "".join("a" if a else "n" for a in array_options)
    return extended(base, name, fields)


@functools.cache
def options_of(base: Any, array_options: tuple[bool, ...], real: Any) -> Callable[..., Any]:
    """Return the function that reads the options of element `i` as a tuple of `real`."""
    read: Callable[..., Any] = no_options
    at = len(base._fields)
    for is_array in array_options:
        read = (with_array if is_array else with_number)(read, at, real)
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


def with_array(before: Callable[..., Any], at: int, real: Any) -> Any:
    """Add the option whose array is described from field `at` on."""
    layout, size, code = at + 1, at + 2, at + 3

    def read(call, i):
        value = number_at(call[at], call[layout], i, call[size], call[code])
        return (*before(call, i), real(value))

    return inline(read)
