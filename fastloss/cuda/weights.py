"""What is the same for every kernel: weights, upstream gradient and divisor among its arguments."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, cast, get_type_hints

from fastloss.cuda.memory import number_at
from fastloss.cuda.options import extended
from fastloss.elementary import inline

Own = TypeVar("Own")


class Weights(NamedTuple):
    """The arguments of the weights and of the factor of all derivatives.

    w are the weights, u the upstream gradient, `_layout` the record of each, `_code` its dtype for
    `number_at`. The divisor of a mean is a number, or nan for the sum of the `weight_sums`.
    """

    w: int
    w_layout: int
    w_size: int
    w_code: int
    w_number: float
    u: int
    u_layout: int
    u_size: int
    u_code: int
    upstream: float
    divisor: float
    weight_sums: int
    weight_count: int


def with_weights(own: type[Own]) -> type[Own]:
    """Put the fields of `Weights` behind those of the NamedTuple `own`; for type checkers it stays.

    A field that is a tuple would have to be unpacked in every launch.
    """
    record = extended(own, own.__name__, get_type_hints(Weights).items())
    record.__module__, record.__doc__ = own.__module__, own.__doc__
    return cast("type[Own]", record)


@functools.cache
def weights_of(plain: bool) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return the functions (arguments, number) that read a weight and an upstream gradient.

    `plain`: there are no arrays of them.
    """

    @inline
    def weight_of(call, i):
        if plain or call.w == 0:
            return call.w_number
        return number_at(call.w, call.w_layout, i, call.w_size, call.w_code)

    @inline
    def upstream_of(call, i):
        if plain or call.u == 0:
            return 1.0
        return number_at(call.u, call.u_layout, i, call.u_size, call.u_code)

    return weight_of, upstream_of
