"""Numba's intrinsics, pickled by the place where they are found.

Numba pickles an intrinsic with a random number, so a cached kernel whose closure holds one is
never found again by another process.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from numba.extending import _Intrinsic


class NamedIntrinsic(_Intrinsic):  # type: ignore[misc]
    """An intrinsic that is an attribute of its module, under its own name."""

    def _reduce_states(self) -> dict[str, Any]:
        return {"module": self.__module__, "name": self._name}

    @classmethod
    def _rebuild(cls, module: str, name: str) -> Any:
        return getattr(importlib.import_module(module), name)


def intrinsic(definition: Callable[..., Any], **options: Any) -> NamedIntrinsic:
    """Decorate the definition of an intrinsic, as `numba.extending.intrinsic` does."""
    made = NamedIntrinsic(definition.__name__, definition, **options)
    made._register()
    return made


def intrinsic_of_literals(definition: Callable[..., Any]) -> NamedIntrinsic:
    """Decorate the definition of an intrinsic that looks at the values of literal arguments."""
    return intrinsic(definition, prefer_literal=True)


def intrinsic_called(name: str, module: str) -> Callable[[Callable[..., Any]], NamedIntrinsic]:
    """Decorate one of many definitions that a function makes: it will be `module.name`."""

    def decorate(definition: Callable[..., Any]) -> NamedIntrinsic:
        definition.__name__, definition.__module__ = name, module
        return intrinsic(definition)

    return decorate
