"""A digest of the formulas that users bring, so that a cached kernel never outlives them.

Numba's cache sees a function that can be imported by its name alone. The digest follows its
code instead: bytecode and constants, and whatever it refers to by name, recursively.
"""

from __future__ import annotations

import enum
import hashlib
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from fastloss.labels import is_ours

_PLAIN = (bool, int, float, complex, str, bytes, type(None))

#: Packages whose functions and constants are known by name: what never changes, what has Numba's
#: version in the cache, and this one, whose sources are in the name of every kernel.
_SETTLED = ("builtins", "cmath", "fastloss", "llvmlite", "math", "numba", "numpy", "operator")


class _CannotTell(Exception):
    """Something whose changes would go unseen."""


def fingerprint(*functions: Callable[..., Any] | None) -> str | None:
    """Return a digest of the code of `functions`, or None where it would not be sure.

    Functions of this package give "": the digest of its sources covers them.
    """
    digest = hashlib.sha256()
    foreign = False
    for function in functions:
        if function is None or is_ours(function):
            continue
        foreign = True
        try:
            for part in _parts(function, set()):
                digest.update(part.encode())
        except _CannotTell:
            return None
    return digest.hexdigest()[:16] if foreign else ""


def _parts(value: Any, seen: set[int]) -> Iterator[str]:
    """Spell out a value, so that another text follows wherever a formula would see a change."""
    for source in ("py_func", "_pyfunc", "_defn"):  # what Numba compiles of it
        value = getattr(value, source, value)
    if isinstance(value, enum.Enum):
        yield f"{type(value).__qualname__}.{value.name}"
        yield from _parts(value.value, seen)
    elif isinstance(value, _PLAIN):
        yield f"{type(value).__name__}:{value!r}"
    elif isinstance(value, (np.ndarray, np.generic)):
        if value.dtype.hasobject:
            raise _CannotTell(value)
        yield f"{value.dtype.descr} {value.shape} {value.tobytes().hex()}"
    elif isinstance(value, (tuple, frozenset)):
        yield f"{type(value).__name__}:{len(value)}:{getattr(value, '_fields', ())}"
        for item in sorted(value, key=repr) if isinstance(value, frozenset) else value:
            yield from _parts(item, seen)
    elif isinstance(value, types.CodeType):
        yield value.co_code.hex()
        yield repr(value.co_names)
        yield from _parts(value.co_consts, seen)
    elif _is_settled(value):
        name = getattr(value, "__name__", str(value))
        yield f"{_module_of(value)}.{getattr(value, '__qualname__', name)}"
    elif isinstance(value, types.FunctionType):
        if id(value) not in seen:
            seen.add(id(value))
            yield from _function_parts(value, seen)
    elif isinstance(value, enum.EnumMeta):
        members: Mapping[str, enum.Enum] = value.__members__
        for member in members.values():
            yield from _parts(member, seen)
    elif isinstance(value, type) and issubclass(value, tuple):
        yield f"{value.__qualname__}:{getattr(value, '_fields', ())}"
    else:
        raise _CannotTell(value)


def _function_parts(function: types.FunctionType, seen: set[int]) -> Iterator[str]:
    yield from _parts(function.__code__, seen)
    yield from _parts(function.__defaults__ or (), seen)
    for cell in function.__closure__ or ():
        yield from _parts(cell.cell_contents, seen)
    names = list(_names(function.__code__))
    yield from _attributes(function.__globals__, names, seen, {id(function.__globals__)})


def _names(code: types.CodeType) -> Iterator[str]:
    """All names that the code looks up, and the functions inside of it."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)


def _attributes(
    namespace: Mapping[str, Any], names: list[str], seen: set[int], visited: set[int]
) -> Iterator[str]:
    """Spell out what a namespace has of these names; modules are namespaces of theirs."""
    for name in names:
        if name not in namespace:
            continue
        value = namespace[name]
        yield name
        if not isinstance(value, types.ModuleType) or _is_settled(value):
            yield from _parts(value, seen)
        elif id(vars(value)) not in visited:
            # `helpers.slope`: the attribute is a name of the code as well.
            visited.add(id(vars(value)))
            yield from _attributes(vars(value), names, seen, visited)


def _is_settled(value: Any) -> bool:
    """Whether the cache is known to start again where this changes, or it never changes."""
    return _module_of(value).partition(".")[0] in _SETTLED


def _module_of(value: Any) -> str:
    if isinstance(value, types.ModuleType):
        return value.__name__
    if not hasattr(value, "__module__"):  # of C: a ufunc is its class's, a dict nobody's
        value = type(value)
        return "" if value.__module__ == "builtins" else str(value.__module__)
    return value.__module__ or ""  # None of a function run by `exec`
