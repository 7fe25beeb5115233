"""Values and gradients of a loss over many predictions, by its formulas as ordinary Python.

No kernel is compiled, but for cross-entropy, which is no formula.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from fastloss import Loss
from fastloss.spec import Derived, Entry, Reduction, Round, RowSpec

Number = Callable[..., float]


def of_elements(
    loss: Loss, x: np.ndarray, target: float, options: Mapping[str, Any]
) -> tuple[np.ndarray, np.ndarray]:
    """Return (value, gradient) of an element-wise loss at each x."""
    values = _checked(loss, loss.spec.options, options)
    points = [(p, target, *values) for p in x.tolist()]
    value, grad = (_apply(formula, points) for formula in (loss.spec.value, loss.spec.grad))
    return value, grad


def of_classes(
    loss: Loss, predictions: np.ndarray, target: np.ndarray, options: Mapping[str, Any]
) -> tuple[np.ndarray, np.ndarray]:
    """Return (value, gradient) for each row of `predictions`, all with the same target.

    The target is a vector; where it says one class, the loss may take it for that index.
    """
    spec = loss.spec
    if not isinstance(spec, RowSpec):
        targets = np.broadcast_to(target, predictions.shape)
        if not spec.vectors:
            targets = targets.argmax(-1)
        return loss.value_and_grad(predictions, targets, reduction="none", **options)
    values = _checked(loss, spec.parameters, options)
    t = target.tolist()
    value, grad = [], []
    for z in predictions.tolist():
        row = (float(len(z)), z[t.index(1.0)] if 1.0 in t else 0.0)
        for round_ in spec.rounds:
            row = _reduced(round_, z, t, row, values)
        value.append((row, *values))
        grad += [(*entry, c, row, *values) for c, entry in enumerate(zip(z, t, strict=True))]
    return _apply(spec.value, value), _apply(spec.grad, grad).reshape(predictions.shape)


def _checked(loss: Loss, named: Any, options: Mapping[str, Any]) -> list[Any]:
    """The values of all options, in their order, as the formulas take them."""
    return [o.check(o.name, options.get(o.name, o.default)) for o in named]


def _apply(formula: Number, points: list[tuple[Any, ...]]) -> np.ndarray:
    def one(arguments: tuple[Any, ...]) -> float:
        try:
            return float(formula(*arguments))
        except (OverflowError, ValueError, ZeroDivisionError):  # inf or nan once compiled
            return math.nan

    return np.array([one(arguments) for arguments in points])


def _reduced(round_: Round, z: Any, t: Any, row: Any, options: Any) -> Any:
    """The row with the results of a round."""

    def results(seen: Any) -> Any:
        return sum([_reduce(r, z, t, seen, options) for r in round_.reductions], ())

    if round_.again is None:
        return row + results(row)
    before = (0.0,) * round_.count
    after = results(row + before)
    while round_.again(before, after):
        before, after = after, results(row + after)
    return row + after


def _reduce(
    part: Reduction | Entry | Derived, z: Any, t: Any, row: Any, options: Any
) -> tuple[float, ...]:
    if isinstance(part, Entry):
        return (float((z if part.of == "prediction" else t)[part.index]),)
    if isinstance(part, Derived):
        found = part.formula(row, *options)
        return (float(found),) if part.count is None else tuple(map(float, found))
    terms = [part.term(z[c], t[c], c, row, *options) for c in range(len(z))]
    if part.operation == "first":
        return (float(terms.index(True) if True in terms else len(terms)),)
    return (float({"sum": sum, "max": max}[part.operation](terms)),)
