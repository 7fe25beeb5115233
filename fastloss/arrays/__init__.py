"""Where an array lives, and how it comes in and goes out. No mathematics here.

Every array is read as a NumPy array over the same memory, and results leave as the kind of
array that the predictions were. A kind's module is imported when its first array shows up.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

import numpy as np

from fastloss.arrays.kinds import CPU, Array, Door, Kind, NumPyKind, exchange_kind

#: The libraries with a module of their own here, by the root of their arrays' module.
_LIBRARIES = {
    "torch": "fastloss.arrays.torch",
    "jax": "fastloss.arrays.jax",
    "cupy": "fastloss.arrays.cupy",
    "numba": "fastloss.arrays.numba",
}
_ROOTS = {"torch": "torch", "jax": "jax", "jaxlib": "jax", "cupy": "cupy", "numba": "numba"}

_NUMPY = NumPyKind()
_kinds: dict[type, Kind] = {np.ndarray: _NUMPY}


def kind_of(array: Any, role: str) -> Kind:
    """Return the kind of `array`, which is given as the argument `role`.

    Raises
    ------
    TypeError
        If it is no array.
    """
    kind = _kinds.get(type(array))
    return kind if kind is not None else _find_kind(array, role)


def _find_kind(array: Any, role: str) -> Kind:
    kind: Kind
    library = None
    for base in type(array).__mro__:
        library = library or _ROOTS.get(base.__module__.split(".")[0])
    if isinstance(array, (np.ndarray, np.generic)):
        kind = _NUMPY
    elif library is not None and library in sys.modules:
        kind = _kind_of_library(library)
    elif hasattr(array, "__cuda_array_interface__"):
        kind = importlib.import_module(_LIBRARIES["numba"]).KIND
    else:
        kind = exchange_kind(array, role)
    return _kinds.setdefault(type(array), kind)


def _kind_of_library(library: str) -> Kind:
    if library == "torch":
        # A statement, because torch.compile traces it and not importlib.
        from fastloss.arrays.torch import KIND

        return KIND
    kind: Kind = importlib.import_module(_LIBRARIES[library]).KIND
    return kind


__all__ = ["CPU", "Array", "Door", "Kind", "kind_of"]
