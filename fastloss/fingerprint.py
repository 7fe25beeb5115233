"""A digest of the formulas that users bring, so that a cached kernel never outlives them.

Numba's cache sees a function that can be imported by its name alone. The digest follows its
code instead: bytecode and constants, and whatever it refers to by name, recursively.
"""

from __future__ import annotations

import hashlib
import types
from collections.abc import Callable, Iterator
from typing import Any

from fastloss.labels import is_ours

_PLAIN = (bool, int, float, complex, str, bytes, type(None))


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
    value = getattr(value, "py_func", value)  # a compiled function stands for its source
    if isinstance(value, _PLAIN):
        yield f"{type(value).__name__}:{value!r}"
    elif isinstance(value, types.ModuleType):
        yield f"module:{value.__name__}"
    elif isinstance(value, (tuple, frozenset)):
        yield f"{type(value).__name__}:{len(value)}"
        for item in sorted(value, key=repr) if isinstance(value, frozenset) else value:
            yield from _parts(item, seen)
    elif isinstance(value, types.CodeType):
        yield value.co_code.hex()
        yield repr(value.co_names)
        yield from _parts(value.co_consts, seen)
    elif isinstance(value, types.FunctionType):
        if id(value) not in seen:
            seen.add(id(value))
            yield from _function_parts(value, seen)
    elif isinstance(value, (types.BuiltinFunctionType, type)) or hasattr(value, "dtype"):
        yield repr(value)
    else:
        raise _CannotTell(value)


def _function_parts(function: types.FunctionType, seen: set[int]) -> Iterator[str]:
    yield from _parts(function.__code__, seen)
    yield from _parts(function.__defaults__ or (), seen)
    for cell in function.__closure__ or ():
        yield from _parts(cell.cell_contents, seen)
    modules = []
    for name in function.__code__.co_names:
        if name in function.__globals__:
            value = function.__globals__[name]
            if isinstance(value, types.ModuleType):
                modules.append(value)
            yield name
            yield from _parts(value, seen)
    # `helpers.slope`: the attribute is a name of the code as well.
    for module in modules:
        for name in function.__code__.co_names:
            attribute = getattr(module, name, None)
            if isinstance(attribute, types.FunctionType) or hasattr(attribute, "py_func"):
                yield from _parts(attribute, seen)
