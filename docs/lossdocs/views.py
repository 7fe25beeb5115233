"""What a loss looks like: which predictions to plot it over, for which targets and options.

Nothing here names a loss. What there is to see follows from the loss itself: its kind, the values
that its domain accepts, its formula and its options.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from fastloss import Loss
from fastloss.spec import Option, PointwiseSpec

Evaluate = Callable[..., tuple[np.ndarray, np.ndarray]]

#: How many options are shown beside the defaults.
MOST_VARIANTS = 2


class Curve(NamedTuple):
    """One line of both panels."""

    label: str
    """Its target, its option, or "" for what needs no name: the defaults of any target."""
    value: np.ndarray
    grad: np.ndarray
    target: int
    """The number of its target, from 0."""
    variant: int
    """0 for the default options, else the number of the option that differs."""


class View(NamedTuple):
    """What a picture of a loss shows."""

    across: str
    """What runs along the horizontal axis, in TeX."""
    derivative: str
    """The name of the gradient, in TeX."""
    x: np.ndarray
    curves: list[Curve]


class _Axis(NamedTuple):
    across: str
    derivative: str
    x: np.ndarray
    targets: list[tuple[str, Evaluate]]
    """A label and (x, **options) -> (value, gradient) for each target."""


def view(loss: Loss) -> View:
    """Choose what to plot of a loss, and compute it."""
    pointwise = isinstance(loss.spec, PointwiseSpec)
    axis = _elements(loss) if pointwise else _classes(loss)
    curves = []
    for number, (label, evaluate) in enumerate(axis.targets):
        curves.append(Curve(label, *evaluate(axis.x), number, 0))
    first, evaluate = axis.targets[0]
    variants = islice(_variants(loss, axis.x, evaluate), MOST_VARIANTS)
    for number, (options, value, grad) in enumerate(variants, 1):
        label = f"{first}, {options}" if first else options
        curves.append(Curve(label, value, grad, 0, number))
    # Where a loss has no value, its formula for the gradient means nothing.
    curves = [c._replace(grad=np.where(np.isfinite(c.value), c.grad, np.nan)) for c in curves]
    drawn = np.any([np.isfinite(curve.value) for curve in curves], axis=0)
    curves = [c._replace(value=c.value[drawn], grad=c.grad[drawn]) for c in curves]
    return View(axis.across, axis.derivative, axis.x[drawn], curves)


def _grid(low: float, high: float) -> np.ndarray:
    """Points that hit the whole numbers, where kinks lie."""
    return np.linspace(low, high, 1201)


_LOGITS = _grid(-4.0, 4.0)
_INSIDE = _grid(0.0, 1.0)[1:-1]


# --- losses of one element --------------------------------------------------------------


def _elements(loss: Loss) -> _Axis:
    """The axis of an element-wise loss: its error, its margin, its probability or its logit."""
    spec = loss.spec
    valid = spec.domain.valid if spec.domain else lambda p, t, tolerance: True

    def at(target: float) -> Evaluate:
        def evaluate(x: np.ndarray, **options: Any) -> tuple[np.ndarray, np.ndarray]:
            values = [options.get(option.name, option.default) for option in spec.options]
            checked = [o.check(o.name, v) for o, v in zip(spec.options, values, strict=True)]
            return _apply(spec.value, x, target, checked), _apply(spec.grad, x, target, checked)

        return evaluate

    def accepted(x: np.ndarray, target: float) -> np.ndarray:
        return x[[bool(valid(p, target, 0.0)) for p in x.tolist()]]

    wide = _grid(-3.0, 3.0)
    if _same_after(loss, lambda p, t: (0.5 * p, 2.0 * t)):
        targets = [(f"$y = {y:+}$", at(float(y))) for y in (1, -1)]
        return _Axis("prediction $p$", r"\partial \ell / \partial p", wide, targets)
    if _is_binary(loss):
        targets = [(f"$y = {y}$", at(float(y))) for y in (1, 0)]
        if accepted(wide, 1.0).size < wide.size:
            return _Axis("probability $p$", r"\partial \ell / \partial p", _INSIDE, targets)
        return _Axis("logit $z$", r"\partial \ell / \partial z", _LOGITS, targets)
    if _same_after(loss, lambda p, t: (p + 1.5, t + 1.5)):
        return _Axis("error $p - y$", r"\partial \ell / \partial p", wide, [("", at(0.0))])
    targets = [(f"$y = {y}$", at(float(y))) for y in (1, 3)]
    x = accepted(wide, 1.0)
    return _Axis("prediction $p$", r"\partial \ell / \partial p", x, targets)


def _is_binary(loss: Loss) -> bool:
    """Whether targets are labels 0 and 1: the family of the loss says so."""
    return str(loss.spec.value.__module__).rpartition(".")[2] == "binary"


def _same_after(loss: Loss, move: Callable[[Any, Any], tuple[Any, Any]]) -> bool:
    """Whether the formula gives the same after `move`: a loss of p - y, for example, or of p y."""
    options = [option.check(option.name, option.default) for option in loss.spec.options]
    p, t = np.linspace(-1.75, 2.0, 16), 0.25
    here, there = (_apply(loss.spec.value, *at, options) for at in ((p, t), move(p, t)))
    return bool(np.allclose(here, there))


def _apply(formula: Callable[..., Any], x: np.ndarray, target: float, options: Any) -> np.ndarray:
    """Return the formula, an ordinary Python function, of each x."""

    def one(p: float) -> float:
        try:
            return float(formula(p, target, *options))
        except (OverflowError, ValueError, ZeroDivisionError):  # inf or nan once compiled
            return math.nan

    return np.array([one(p) for p in x.tolist()])


# --- losses over classes ----------------------------------------------------------------


def _classes(loss: Loss) -> _Axis:
    """The axis of a loss over classes: its true class against one other."""
    if getattr(loss.spec, "from_logits", True):
        across, derivative, x = "margin $z_y - z_c$", r"\partial \ell / \partial z_y", _LOGITS
    else:
        across, derivative, x = "probability $p_y$", r"\partial \ell / \partial p_y", _INSIDE

    def evaluate(x: np.ndarray, **options: Any) -> tuple[np.ndarray, np.ndarray]:
        other = np.zeros_like(x) if across.startswith("margin") else 1.0 - x
        predictions = np.stack([x, other], axis=1)  # (points, classes)
        value, grad = loss.value_and_grad(
            predictions, _first_class(loss, predictions), reduction="none", **options
        )
        return value, grad[:, 0]

    return _Axis(across, derivative, x, [("", evaluate)])


def _first_class(loss: Loss, predictions: np.ndarray) -> np.ndarray:
    """Return targets that say class 0: indices, or where there are none a one-hot array."""
    indices = np.zeros(len(predictions), np.int64)
    try:
        loss.value_and_grad(predictions, indices, reduction="none")
    except (TypeError, ValueError):
        return np.eye(predictions.shape[1])[indices]
    return indices


# --- options ----------------------------------------------------------------------------


def _variants(
    loss: Loss, x: np.ndarray, evaluate: Evaluate
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """The options that make a difference one can see: "name = value" and the curves."""
    value, grad = evaluate(x)
    for option in loss.spec.options:
        for other in _other_values(option):
            changed = evaluate(x, **{option.name: other})
            if _differ(value, changed[0]) and _differ(grad, changed[1]):
                yield f"{option.name} = {other}", *changed
                break


def _other_values(option: Option) -> Iterator[Any]:
    """Values that the option takes, besides its default; none for arrays, indices and names."""
    default = option.default
    if isinstance(default, bool):
        yield not default
        return
    if default is None or default == 0:
        candidates = [0.2, 2.0]
    elif isinstance(default, float):
        scales = (0.5, 2.0) if default < 1.0 else (2.0, 0.5)
        candidates = [scale * default for scale in (*scales, 100.0, 1000.0)]
    else:
        return
    for candidate in candidates:
        try:
            option.check(option.name, candidate)
        except (TypeError, ValueError):
            continue
        yield float(f"{candidate:.3g}")


def _differ(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two curves lie visibly apart somewhere in the middle."""
    middle = slice(len(a) // 10, -len(a) // 10)
    shared = np.isfinite(a[middle]) & np.isfinite(b[middle])
    a, b = a[middle][shared], b[middle][shared]
    return bool(a.size and np.abs(a - b).max() > 0.03 * np.ptp(a))
