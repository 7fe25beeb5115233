"""What a loss looks like: which predictions to plot it over, for which targets and options.

Nothing here names a loss. What there is to see follows from the loss itself: its kind, what its
docstring says that predictions are, its formula and its options.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from fastloss import Loss
from fastloss.spec import CLASS_OPTIONS, DistanceSpec, Option, PointwiseSpec, SimilaritySpec
from lossdocs.curves import of_classes, of_elements

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
    if isinstance(loss.spec, PointwiseSpec):
        axis = _elements(loss)
    elif isinstance(loss.spec, DistanceSpec):
        axis = _distances(loss)
    elif isinstance(loss.spec, SimilaritySpec):
        axis = _similarities(loss)
    else:
        axis = _classes(loss)
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


_WIDE = _grid(-3.0, 3.0)
_LOGITS = _grid(-4.0, 4.0)
_INSIDE = _grid(0.0, 1.0)[1:-1]
_LOGARITHMS = _grid(-4.0, 0.0)[:-1]


def _kind(loss: Loss) -> str:
    """What the docstring says that predictions are: "Logits", for example, or "" for numbers."""
    found = re.search(r"^predictions : .*\n {4}([\w-]+)", loss.__doc__ or "", re.MULTILINE)
    return found[1] if found else ""


def _by(variable: str) -> str:
    return rf"\partial \ell / \partial {variable}"


# --- losses of one element --------------------------------------------------------------


def _elements(loss: Loss) -> _Axis:
    """The axis of an element-wise loss: its score, its probability, its logit or its error."""

    def at(target: float) -> Evaluate:
        return lambda x, **options: of_elements(loss, x, target, options)

    labels = [("$y = 1$", at(1.0)), ("$y = 0$", at(0.0))]
    match _kind(loss):
        case "Scores":
            signs = [("$y = +1$", at(1.0)), ("$y = -1$", at(-1.0))]
            return _Axis("score $p$", _by("p"), _WIDE, signs)
        case "Probabilities":
            return _Axis("probability $p$", _by("p"), _INSIDE, labels)
        case "Logits":
            return _Axis("logit $z$", _by("z"), _LOGITS, labels)
    here, moved = at(0.0)(_WIDE)[0], at(1.5)(_WIDE + 1.5)[0]
    if np.allclose(here, moved):
        return _Axis("error $p - y$", _by("p"), _WIDE, [("", at(0.0))])
    targets = [("$y = 1$", at(1.0)), ("$y = 3$", at(3.0))]
    return _Axis("prediction $p$", _by("p"), _grid(-1.0, 3.0), targets)


# --- losses over classes ----------------------------------------------------------------


def _classes(loss: Loss) -> _Axis:
    """The axis of a loss over two classes, the target's and another; or of vectors or boxes."""

    def at(
        target: tuple[float, ...], place: Callable[..., Any], way: Callable[..., Any]
    ) -> Evaluate:
        def evaluate(x: np.ndarray, **options: Any) -> tuple[np.ndarray, np.ndarray]:
            predictions = np.stack(place(x), axis=1)  # (points, classes)
            value, grad = of_classes(loss, predictions, np.array(target), options)
            return value, np.sum(grad * np.stack(way(x), axis=1), axis=1)

        return evaluate

    def first(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.ones_like(x), np.zeros_like(x)

    def across(low: float, high: float) -> Evaluate:
        """Move a box from left to right across a square; they have their left edges on x = 0."""
        square = (0.0, 0.0, 2.0, 2.0)
        return at(
            square,
            lambda x: (x, np.full_like(x, low), x + 2.0, np.full_like(x, high)),
            lambda x: (np.ones_like(x), np.zeros_like(x), np.ones_like(x), np.zeros_like(x)),
        )

    sure, torn = (1.0, 0.0), (0.5, 0.5)
    match _kind(loss):
        case "Vectors":  # on the unit circle, with the derivative along it
            turn = at(sure, lambda x: (np.cos(x), np.sin(x)), lambda x: (-np.sin(x), np.cos(x)))
            return _Axis(r"angle $\varphi$", _by(r"\varphi"), _grid(0.0, np.pi), [("", turn)])
        case "Boxes":
            targets = [("same square", across(0.0, 2.0)), ("half as high", across(0.5, 1.5))]
            return _Axis("shift $x$ of a square of side 2", _by("x"), _grid(-3.0, 3.0), targets)
        case "Probabilities" if isinstance(loss.spec.axis, tuple):  # a mask of one in two elements
            share = at(sure, lambda x: (x, 1.0 - x), first)
            across = "probability $p_1$ in the mask, $1 - p_1$ outside"
            return _Axis(across, _by("p_1"), _INSIDE, [("", share)])
        case "Probabilities":
            share = at(sure, lambda x: (x, 1.0 - x), first)
            return _Axis("probability $p_y$", _by("p_y"), _INSIDE, [("", share)])
        case "Log-probabilities":
            distributions = [("$p = (1, 0)$", sure), ("$p = (0.5, 0.5)$", torn)]
            targets = [
                (label, at(target, lambda x: (x, np.log1p(-np.exp(x))), first))
                for label, target in (distributions if loss.spec.vectors else [("", sure)])
            ]
            q = r"\log q_1" if loss.spec.vectors else r"\log q_y"
            return _Axis(f"log-probability ${q}$", _by(q), _LOGARITHMS, targets)
        case "Logits" if not loss.spec.indices:  # of labels that do not compete
            targets = [
                (f"$y = ({y}, {y})$", at((y, y), lambda x: (x, x), lambda x: np.ones((2, len(x)))))
                for y in (1, 0)
            ]
            return _Axis("logit $z$ of both labels", _by("z"), _LOGITS, targets)
    ahead = at(sure, lambda x: (x, np.zeros_like(x)), first)
    return _Axis("margin $z_y - z_c$", _by("z_y"), _LOGITS, [("", ahead)])


# --- losses of distances ----------------------------------------------------------------


def _distances(loss: Loss) -> _Axis:
    """The axis of a loss of distances: the second vector moves away from the first.

    A third one, on its way, is at a distance of 1.
    """

    def at(target: int) -> Evaluate:
        def evaluate(x: np.ndarray, **options: Any) -> tuple[np.ndarray, np.ndarray]:
            places = (np.zeros_like(x), x, np.ones_like(x))[: loss.spec.vectors]
            predictions = np.stack(places, axis=1)[..., None]  # (points, vectors, 1)
            targets = np.full(len(x), target)
            value, grad = loss.value_and_grad(predictions, targets, reduction="none", **options)
            return value, grad[:, 1, 0]

        return evaluate

    labels = [("$y = 1$", at(1)), ("$y = 0$", at(0))]
    targets = [("", at(0))] if loss.spec.ordered else labels
    return _Axis("distance $d(a, b)$", _by("d"), _grid(0.0, 3.0), targets)


# --- losses of similarities -------------------------------------------------------------


def _similarities(loss: Loss) -> _Axis:
    """The axis of a loss of a batch: an embedding turns from its positive to one of another label.

    The derivative is that along the circle.
    """
    positive, other, labels = (1.0, 0.0), (0.0, 1.0), np.array([0, 0, 1])

    def turned(angle: float, options: dict[str, Any]) -> tuple[float, float]:
        cos, sin = np.cos(angle), np.sin(angle)
        value, grad = loss.value_and_grad(
            np.array([(cos, sin), positive, other]), labels, **options
        )  # fmt: skip
        return float(value), float(grad[0] @ (-sin, cos))

    def evaluate(x: np.ndarray, **options: Any) -> tuple[np.ndarray, np.ndarray]:
        value, grad = zip(*(turned(angle, options) for angle in x.tolist()), strict=True)
        return np.array(value), np.array(grad)

    axis = _grid(0.0, np.pi / 2)
    return _Axis(r"angle $\varphi$ to the positive", _by(r"\varphi"), axis, [("", evaluate)])


# --- options ----------------------------------------------------------------------------


def _variants(
    loss: Loss, x: np.ndarray, evaluate: Evaluate
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """The options that make a difference one can see: "name = value" and the curves."""
    value, grad = evaluate(x)
    for option in loss.spec.options:
        # Which classes there are, or what numbers stand for a probability, is not the loss' shape.
        if option.name in CLASS_OPTIONS or option.name.startswith(("log_", "from_")):
            continue
        for other in _other_values(option):
            changed = evaluate(x, **{option.name: other})
            if _differ(value, changed[0]) and _differ(grad, changed[1]):
                yield f"{option.name} = {other}", *changed
                break


def _other_values(option: Option) -> Iterator[Any]:
    """Values that the option takes, besides its default."""
    default = option.default
    if isinstance(default, bool):
        candidates = [not default]
    elif default is None:
        candidates = [2.0]
    elif default == 0:
        candidates = [0.2]
    elif isinstance(default, int):
        candidates = [default + 1]
    else:
        scales = (0.5, 2.0) if default < 1.0 else (2.0, 0.5)
        candidates = [float(f"{scale * default:.3g}") for scale in (*scales, 1.2, 100.0, 1000.0)]
    for candidate in candidates:
        try:
            option.check(option.name, candidate)
        except (TypeError, ValueError):
            continue
        yield candidate


def _differ(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two curves lie visibly apart somewhere in the middle."""
    middle = slice(len(a) // 10, -len(a) // 10)
    shared = np.isfinite(a[middle]) & np.isfinite(b[middle])
    a, b = a[middle][shared], b[middle][shared]
    return bool(a.size and np.abs(a - b).max() > 0.03 * np.ptp(a))
