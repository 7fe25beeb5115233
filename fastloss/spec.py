"""What a loss is and what is asked of it: the words in which the layers speak to each other."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from fastloss.arrays.kinds import Array

Formula = Callable[..., Any]


class Want(enum.Enum):
    """What a call asks for."""

    LOSS = (True, False, False)
    GRAD = (False, True, False)
    LOSS_AND_GRAD = (True, True, False)
    GRAD_AND_HESS = (False, True, True)

    def __init__(self, loss: bool, grad: bool, hess: bool) -> None:
        self.loss = loss
        self.grad = grad
        self.hess = hess


@dataclass(frozen=True)
class Option:
    """An option of a loss: its default, and the check that refuses a bad value.

    `check(where, value)` returns the value to use; `where` names loss and option for the
    error. An option whose value is an array is checked against the predictions later.
    """

    name: str
    default: Any
    check: Callable[[str, Any], Any]


@dataclass(frozen=True, eq=False)
class Domain:
    """The values that a loss accepts, where not all are.

    ``valid(prediction, target, tolerance)`` is a formula like any other, compiled into the
    kernel; `expected` completes the error's sentence. The tolerance is a few times the eps
    of the predictions' dtype.
    """

    valid: Formula
    expected: str


def everything(prediction: float, target: float, tolerance: float) -> bool:
    """The domain of a loss that accepts all values."""
    return True


@dataclass(frozen=True, eq=False)
class PointwiseSpec:
    """An element-wise loss as scalar functions f(prediction, target, *options)."""

    name: str
    value: Formula
    grad: Formula
    hess: Formula | None = None
    options: tuple[Option, ...] = ()
    domain: Domain | None = None


@dataclass(frozen=True, eq=False)
class ClassSpec:
    """A loss over the classes of one axis; `from_logits` tells softmax from probabilities."""

    name: str
    from_logits: bool
    options: tuple[Option, ...] = ()


Spec = PointwiseSpec | ClassSpec


class Operands(NamedTuple):
    """The arrays of one call, read from where they live; None where there is none."""

    predictions: Array
    targets: Array
    sample_weight: Array | None
    grad_output: Array | None
    grad_out: Array | None
    hess_out: Array | None
    array_options: Mapping[str, Array]


class Request(NamedTuple):
    """One kind of call: what is wanted, with every option filled in and checked.

    Options that are arrays stand in `Operands.array_options` instead.
    """

    spec: Spec
    want: Want
    reduction: str
    options: Mapping[str, Any]


class Results(NamedTuple):
    """What a plan hands back; None where it was not wanted."""

    loss: Array | None
    grad: Array | None
    hess: Array | None
