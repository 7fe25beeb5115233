"""What a loss is and what is asked of it: the words in which the layers speak to each other."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from fastloss.arrays.kinds import Array

Formula = Callable[..., Any]


class Want(enum.Enum):
    """What a call asks for."""

    #: Enum's own is a function in Python, and every call looks its plan up.
    __hash__ = object.__hash__

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
    `constants` are values for which an element-wise kernel is compiled on purpose: where its
    formula asks for one, nothing is left of what it does for others.
    """

    name: str
    default: Any
    check: Callable[[str, Any], Any]
    constants: tuple[float, ...] = ()


@dataclass(frozen=True)
class Domain:
    """The values that a loss accepts, where not all are.

    ``valid(prediction, target, tolerance)`` is a formula like any other, compiled into the
    kernel; `expected` completes the error's sentence. The tolerance is a few times the eps
    of the predictions' dtype. `signs`: the targets it accepts are -1 and +1, no others; kernels may
    keep them as bits.
    """

    valid: Formula
    expected: str
    signs: bool = False


def everything(prediction: float, target: float, tolerance: float) -> bool:
    """The domain of a loss that accepts all values."""
    return True


@dataclass(frozen=True, eq=False)
class PointwiseSpec:
    """An element-wise loss as scalar functions f(prediction, target, *options)."""

    #: Whether the loss of an example depends on this example alone; the same for all of a kind.
    independent = True

    name: str
    value: Formula
    grad: Formula
    hess: Formula | None = None
    options: tuple[Option, ...] = ()
    domain: Domain | None = None

    def axes(self, options: Mapping[str, Any]) -> tuple[int, ...]:
        """The axes of the predictions that one example extends over: none."""
        return ()


@dataclass(frozen=True, eq=False)
class ClassSpec:
    """A loss over the classes of one axis, or over a region of several axes.

    A region is walked as if its elements were classes. `indices`, `vectors`: whether its targets
    may be class indices, or an array with a number for every class. A weight for each class, where
    there are any, multiplies the loss of the examples of the class; `counts_class_weight`: a mean
    divides by them, too. `classes` is the number of classes that the loss is for, None for any.
    """

    independent = True

    name: str
    options: tuple[Option, ...] = ()
    indices: bool = True
    vectors: bool = True
    counts_class_weight: bool = True
    classes: int | None = None

    @property
    def axis(self) -> Any:
        """The axis or, for a loss over regions, the axes if a call names none."""
        return next(option.default for option in self.options if option.name == "axis")

    @property
    def parameters(self) -> tuple[Option, ...]:
        """The options that formulas take; none where the loss is no `RowSpec`."""
        return ()

    def axes(self, options: Mapping[str, Any]) -> tuple[int, ...]:
        """The axes of the predictions that one example extends over: of the classes, or region."""
        given = options.get("axis", self.axis)
        return given if isinstance(given, tuple) else (given,)


@dataclass(frozen=True, eq=False)
class CrossEntropySpec(ClassSpec):
    """Cross-entropy from logits: of the softmax over the classes."""


@dataclass(frozen=True, eq=False, kw_only=True)
class SeparableSpec(ClassSpec):
    """A loss over classes to which each class adds by itself: its target times value(prediction).

    A class index is a target of 1 for one class, and no other is looked at. `grad` and `hess` are
    the derivatives of `value`.
    """

    value: Formula
    grad: Formula
    hess: Formula


#: The formulas of a `RowSpec` that may read a result of its rounds.
Role = Literal["value", "grad", "hess"]
ROLES: tuple[Role, ...] = ("value", "grad", "hess")


@dataclass(frozen=True, eq=False)
class Reduction:
    """A number made of all classes of an example.

    `term(z, t, c, row, *options)` is computed for every class: z is its prediction, t its
    target (for class indices 1 or 0: whether it is the one), c its number; see `RowSpec` for
    `row`. "sum" and "max" are those of the terms, "first" is the first class whose term is true
    (the number of classes if there is none). `roles` are the formulas that need it: where a
    call asks for none of them, anything may stand in its place.
    """

    operation: Literal["sum", "max", "first"]
    term: Formula
    roles: tuple[Role, ...] = ROLES


@dataclass(frozen=True, eq=False)
class Derived:
    """A number made of the `row` alone, by formula(row, *options), once for all classes.

    `roles` are the formulas that need it, as for a `Reduction`. With a `count` the formula returns
    a tuple of as many numbers, which stand one after the other in the row.
    """

    formula: Formula
    roles: tuple[Role, ...] = ROLES
    count: int | None = None


@dataclass(frozen=True, eq=False)
class Entry:
    """The prediction, or the target, of the class number `index`."""

    of: Literal["prediction", "target"]
    index: int


def count_of(part: Reduction | Entry | Derived) -> int:
    """Return how many numbers a part of a round adds to the row."""
    return getattr(part, "count", None) or 1


@dataclass(frozen=True, eq=False)
class Round:
    """Reductions that see the same `row`.

    An `Entry` is read, a `Derived` computed, and both stand among the results.

    With `again(before, after)`, a formula of what they were and what they became, they are
    computed until it says no; the terms then see their own former results, at first 0.
    """

    reductions: tuple[Reduction | Entry | Derived, ...]
    again: Formula | None = None

    @property
    def count(self) -> int:
        """How many numbers it adds to the row."""
        return sum(count_of(part) for part in self.reductions)


@dataclass(frozen=True, eq=False, kw_only=True)
class RowSpec(ClassSpec):
    """A loss over classes as scalar functions of what rounds of reductions make of a row.

    Formulas read the tuple `row`: the number of classes, the prediction of the class index (0
    where targets are vectors), and the reductions' results so far, in their order. The loss is
    value(row, *options), its first and second derivatives by the prediction of a class are
    grad(z, t, c, row, *options) and hess(z, t, c, row, *options).
    """

    rounds: tuple[Round, ...] = ()
    value: Formula
    grad: Formula
    hess: Formula

    @property
    def parameters(self) -> tuple[Option, ...]:
        """The options that the formulas take."""
        return tuple(option for option in self.options if option.name not in CLASS_OPTIONS)


#: Options that say which classes there are and what they weigh; formulas do not see them.
CLASS_OPTIONS = ("class_weight", "ignore_index", "axis")


@dataclass(frozen=True, eq=False)
class DistanceSpec:
    """A loss of the distances between the `vectors` (two or three) of an example.

    Predictions are (..., vectors, D); a target is 0 or 1. Where `ordered`, a target of 1 exchanges
    the last two vectors, before anything else. The distances are those of the vectors 0 and 1, 0
    and 2, 1 and 2, of which `pairs(options)` says how many the formulas see. They are the p-norms
    of the differences, each entry plus eps. The loss is value(distances, target, *options); its
    first and second derivatives by the distance number k are grad(k, distances, target, *options)
    and hess(k, distances, target, *options), and there are no mixed ones.
    """

    independent = True

    name: str
    vectors: int
    pairs: Callable[[Mapping[str, Any]], int]
    value: Formula
    grad: Formula
    hess: Formula
    options: tuple[Option, ...] = ()
    ordered: bool = False

    @property
    def parameters(self) -> tuple[Option, ...]:
        """The options that the formulas take."""
        return tuple(option for option in self.options if option.name not in DISTANCE_OPTIONS)

    def axes(self, options: Mapping[str, Any]) -> tuple[int, ...]:
        """The axes of the predictions that one example extends over: vectors and entries."""
        return (-2, -1)


#: Options that say what a distance is, and which there are; formulas do not see them.
DISTANCE_OPTIONS = ("p", "eps", "swap")


@dataclass(frozen=True, eq=False)
class SimilaritySpec:
    """NT-Xent: a loss of the cosine similarities between all examples of a batch.

    Predictions are (N, D), targets labels (N,).
    """

    independent = False

    name: str
    options: tuple[Option, ...] = ()

    def axes(self, options: Mapping[str, Any]) -> tuple[int, ...]:
        """The axes of the predictions that one example extends over: its entries."""
        return (-1,)


Spec = PointwiseSpec | ClassSpec | DistanceSpec | SimilaritySpec


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


#: (loss, gradient, hessian), as a plan hands them back; None where one was not wanted.
Results = tuple[Array | None, Array | None, Array | None]
