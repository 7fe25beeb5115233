"""How compiled kernels are told apart, in Numba's caches and by their symbols.

Numba's cache looks at the file that holds a kernel and at nothing that this file uses; the
digest of all sources in the kernel's name makes it sound.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from pathlib import Path
from types import FunctionType
from typing import Any

PACKAGE = Path(__file__).resolve().parent


@functools.cache
def source_digest() -> str:
    """Digest of every source file of the package."""
    digest = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        digest.update(path.relative_to(PACKAGE).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def label_of(*parts: Any) -> str:
    """Return a label for what a kernel is compiled for; the same in every process."""
    return hashlib.sha256(_spell(parts).encode()).hexdigest()[:12]


def _spell(part: Any) -> str:
    if isinstance(part, tuple):
        return "(" + ",".join(_spell(item) for item in part) + ")"
    return part.__qualname__ if callable(part) else str(part)


def is_ours(function: Callable[..., Any]) -> bool:
    """Return whether a function is of this package; one run by `exec` may be of no module."""
    return (function.__module__ or "").partition(".")[0] == __name__.partition(".")[0]


def named(function: Callable[..., Any], label: str) -> Callable[..., Any]:
    """Put the sources' digest into the name, which is part of the cache's file name and key.

    The functions inside get the label as well: the symbol of one is made of its name, its
    argument types and a number counted per process, and of two cached kernels that define
    the same symbol, the one loaded later runs the other's code.
    """
    _label_inner(function, label)
    function.__qualname__ = f"{function.__name__}_{source_digest()}{label}"
    return function


def _label_inner(function: Callable[..., Any], label: str) -> None:
    for cell in getattr(function, "__closure__", None) or ():
        inner = cell.cell_contents
        if not isinstance(inner, FunctionType) or not is_ours(inner):
            continue  # a formula of the user's is inlined and keeps its name
        if "<locals>" in inner.__qualname__ and not inner.__qualname__.endswith(label):
            inner.__qualname__ += f"_{label}"
            _label_inner(inner, label)
