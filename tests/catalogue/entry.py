"""What an entry of the list of losses says, and the cases that it makes."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

import fastloss as fl
from tests.oracles.expected import Expected

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
    """Whether an example extends over the last axis, of classes or of entries."""
    vectors: int = 0
    """How many vectors an example has, on an axis of their own before the last; 0: no such axis."""
    independent: bool = True
    """Whether an example's loss depends on it alone; others are in no case, only in the list."""
    classes: int | None = None
    """The only number of classes that the loss is for."""
    exact_slopes: bool = True
    """Whether the derivatives are those of the value, with nothing in it taken as a constant."""
    only: Mapping[str, str] = field(default_factory=dict)
    """options' name -> the only kind of target they make sense for."""
    axis: int | None = None
    """The axis of a case's calls that name none, where it is not the loss' own default."""


class OnAxis:
    """A loss whose `axis` has another default."""

    def __init__(self, loss, axis):
        self.name = loss.name
        self.value, self.value_and_grad, self.grad, self.grad_and_hess = (
            functools.partial(method, axis=axis)
            for method in (loss, loss.value_and_grad, loss.grad, loss.grad_and_hess)
        )

    def __call__(self, predictions, targets, **call):
        return self.value(predictions, targets, **call)


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
        return self.function_of(fl)

    def function_of(self, module):
        """The loss of this name in a module of losses."""
        loss = getattr(module, self.loss.name)
        return loss if self.loss.axis is None else OnAxis(loss, self.loss.axis)

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
        same dtype). A loss for one number of classes gets that many, whatever the shape says.
        """
        if self.loss.classes is not None:
            lengths = list(shape)
            lengths[axis] = self.loss.classes
            shape = tuple(lengths)
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
