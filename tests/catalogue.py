"""The one list of losses that drives the tests: a new loss is tested by being listed here.

`LOSSES` has one entry per loss, `CASES` one per loss, kind of target and set of options.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

import fastloss as fl
from tests.oracles import classes, elementwise
from tests.oracles.expected import Expected

LISTED = {loss.name for loss in fl.losses()}
"""What the package lists, before any test adds losses of its own."""

Draw = Callable[..., np.ndarray]


@dataclass(frozen=True)
class Loss:
    """One loss: where its truth comes from and what to feed it."""

    name: str
    oracle: Callable[..., Expected]
    predictions: Draw
    """(rng, shape) -> predictions in float64."""
    targets: Mapping[str, Draw]
    """kind of target -> (rng, shape, class axis or None) -> targets."""
    options: Mapping[str, Mapping[str, object]]
    """name -> keyword options.

    A callable value is called with the number of classes (the last axis' length).
    """
    smooth: Callable[[np.ndarray], np.ndarray] = lambda p: p
    """Moves predictions away from kinks and poles, for differences."""
    over_classes: bool = False
    only: Mapping[str, str] = field(default_factory=dict)
    """options' name -> the only kind of target they make sense for."""


@dataclass(frozen=True)
class Case:
    """A loss with one kind of target and one set of options."""

    loss: Loss
    kind: str
    option_set: str

    def __str__(self):
        return f"{self.loss.name}-{self.kind}-{self.option_set}"

    @property
    def function(self):
        return getattr(fl, self.loss.name)

    @property
    def over_classes(self) -> bool:
        return self.loss.over_classes

    def options(self, shape, axis=-1) -> dict:
        """The keyword options for predictions of this shape (the class axis among them when it is
        not the last).
        """
        width = shape[axis] if shape else 1
        options = {
            k: v(width) if callable(v) else v for k, v in self.loss.options[self.option_set].items()
        }
        if self.over_classes and axis != -1:
            options["axis"] = axis
        return options

    def draw(self, shape, dtype=np.float64, seed=0, axis=-1):
        """Predictions in `dtype` (exactly representable there) and targets (floating ones in the
        same dtype).
        """
        rng = np.random.default_rng([seed, *shape])
        predictions = self.loss.predictions(rng, shape, axis).astype(dtype)
        targets = self.loss.targets[self.kind](rng, shape, axis if self.over_classes else None)
        return predictions, targets.astype(dtype) if targets.dtype == np.float64 else targets

    def draw_smooth(self, shape, seed=0):
        """Float64 predictions around which the loss is smooth, and targets."""
        predictions, targets = self.draw(shape, np.float64, seed)
        return self.loss.smooth(predictions), targets

    def expected(self, predictions, targets, **options) -> Expected:
        """The oracle's answer for exactly these values."""
        if not np.issubdtype(targets.dtype, np.integer) or not self.over_classes:
            targets = targets.astype(np.float64)
        options = {k: np.float64(v) if k == "pos_weight" else v for k, v in options.items()}
        return self.loss.oracle(predictions.astype(np.float64), targets, **options)


# --- what to draw -----------------------------------------------------------------------


def _normal(size):
    return lambda rng, shape, axis=None: size * rng.standard_normal(shape)


def _uniform(low, high):
    return lambda rng, shape, axis=None: rng.uniform(low, high, shape)


def _bits(rng, shape, axis=None):
    return rng.integers(0, 2, shape)


def _signs(rng, shape, axis=None):
    return rng.choice([-1.0, 1.0], shape)


def _softmax(a, axis):
    e = np.exp(a - a.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def _probabilities(rng, shape, axis=-1):
    return _softmax(2.0 * rng.standard_normal(shape), axis)


def _indices(rng, shape, axis):
    rest = list(shape)
    width = rest.pop(axis)
    return rng.integers(0, width, rest)


def _class_weight(width):
    return np.linspace(0.5, 2.0, width)


def _pos_weight(width):
    return np.linspace(0.5, 3.0, width)


def _off_the_edge(p):
    """Probabilities well inside (0, 1)."""
    return 0.2 + 0.6 * p


def _off_the_kink(p):
    """Values at least 0.1 from every multiple of 1/4, the margins in use among them."""
    return np.round(4.0 * p) / 4.0 + 0.1


# --- the list ---------------------------------------------------------------------------

CLASS_OPTIONS = {
    "plain": {},
    "weighted": {"class_weight": _class_weight},
    "ignoring": {"ignore_index": 1},
    "smoothed": {"label_smoothing": 0.125},
    "melted": {"class_weight": _class_weight, "ignore_index": 0, "label_smoothing": 0.25},
}

LOSSES = (
    Loss(
        "cross_entropy",
        classes.cross_entropy,
        predictions=_normal(3.0),
        targets={"hard": _indices, "soft": _probabilities},
        options=CLASS_OPTIONS
        | {
            "z_loss": {"z_loss": 0.125},
            "scaled": {"logit_scale": 0.375},
            "capped": {"logit_softcap": 5.0},
            "all": {
                "class_weight": _class_weight,
                "ignore_index": 0,
                "label_smoothing": 0.25,
                "z_loss": 0.0625,
                "logit_scale": 1.75,
                "logit_softcap": 8.0,
            },
        },
        over_classes=True,
        only={"ignoring": "hard"},
    ),
    Loss(
        "categorical_cross_entropy",
        classes.categorical_cross_entropy,
        predictions=_probabilities,
        targets={"hard": _indices, "soft": _probabilities},
        smooth=_off_the_edge,
        options=CLASS_OPTIONS,
        over_classes=True,
        only={"ignoring": "hard"},
    ),
    Loss(
        "binary_cross_entropy",
        elementwise.binary_cross_entropy,
        predictions=_uniform(0.01, 0.99),
        targets={"soft": _uniform(0.0, 1.0), "bits": _bits},
        smooth=_off_the_edge,
        options={"plain": {}},
    ),
    Loss(
        "binary_cross_entropy_with_logits",
        elementwise.binary_cross_entropy_with_logits,
        predictions=_normal(5.0),
        targets={"soft": _uniform(0.0, 1.0), "bits": _bits},
        options={
            "plain": {},
            "pos_weight": {"pos_weight": 3.0},
            "pos_weights": {"pos_weight": _pos_weight},
            "smoothed": {"label_smoothing": 0.125},
            "both": {"pos_weight": 0.5, "label_smoothing": 0.25},
        },
    ),
    Loss(
        "mse",
        elementwise.mse,
        predictions=_normal(3.0),
        targets={"real": _normal(3.0)},
        options={"plain": {}, "half": {"half": True}, "whole": {"half": False}},
    ),
    Loss(
        "hinge",
        elementwise.hinge,
        predictions=_normal(1.5),
        targets={"signs": _signs},
        smooth=_off_the_kink,
        options={
            "plain": {},
            "margin": {"margin": 0.5},
            "squared": {"squared": True},
            "both": {"margin": 2.0, "squared": True},
        },
    ),
)

CASES = tuple(
    Case(loss, kind, option_set)
    for loss in LOSSES
    for kind in loss.targets
    for option_set in loss.options
    if loss.only.get(option_set, kind) == kind
)
PLAIN = tuple(case for case in CASES if case.option_set == "plain")
"""One case per loss and kind of target: for what does not depend on the options."""
FIRST = tuple({case.loss.name: case for case in reversed(PLAIN)}.values())
"""One case per loss: for what does not depend on the targets either."""
BY_NAME = {str(case): case for case in CASES}
