"""Attributes that are computed when they are first asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar, overload

T = TypeVar("T")


class lazy(Generic[T]):
    """As `functools.cached_property`, without the lock that it takes before Python 3.12.

    It is one for all instances and held while the attribute is computed; a child that is forked
    meanwhile would wait for it forever. Two threads may both compute: what they get must be equal.
    """

    def __init__(self, compute: Callable[[Any], T]) -> None:
        self.compute = compute
        self.name = compute.__name__
        self.__doc__ = compute.__doc__

    @overload
    def __get__(self, instance: None, owner: Any) -> lazy[T]: ...
    @overload
    def __get__(self, instance: object, owner: Any) -> T: ...
    def __get__(self, instance: Any, owner: Any) -> lazy[T] | T:
        """Compute; from then on the instance has an attribute of this name, and it is found."""
        if instance is None:
            return self
        return vars(instance).setdefault(self.name, self.compute(instance))  # type: ignore[no-any-return]
