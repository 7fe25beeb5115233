"""The shape of an oracle's answer, and the reductions of the contract."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Expected:
    """Losses and derivatives before any reduction, in float64.

    Every quantity comes with its *scale*: the size of the terms it is made of, hence what one
    relative rounding error may cost. A loss that is a difference of large numbers has a scale
    larger than itself.
    """

    loss: np.ndarray
    """One value per example (per element for element-wise losses)."""
    grad: np.ndarray
    """d loss / d prediction, in the predictions' shape."""
    hess: np.ndarray
    """d2 loss / d prediction2, the diagonal, in the predictions' shape."""
    loss_scale: np.ndarray
    grad_scale: np.ndarray
    hess_scale: np.ndarray
    weight: np.ndarray
    """What each example counts in the denominator of the mean.

    Its class weight, 0 when ignored, else 1.
    """
    axis: int | None = None
    """The class axis; None for element-wise losses."""

    def per_prediction(self, per_example: np.ndarray) -> np.ndarray:
        """Bring one number per example into a shape that broadcasts against the predictions."""
        return per_example if self.axis is None else np.expand_dims(per_example, self.axis)


@dataclass(frozen=True)
class Reduced:
    """An oracle's answer after the reduction, with its scales."""

    loss: np.ndarray
    grad: np.ndarray
    hess: np.ndarray
    loss_scale: np.ndarray
    grad_scale: np.ndarray
    hess_scale: np.ndarray


def reduce(expected: Expected, reduction="mean", sample_weight=None, grad_output=1.0) -> Reduced:
    """Apply the contract's reductions.

    Sum(w*l)/sum(w), weight 0 removes an example, a mean over nothing is nan.
    """
    shape = expected.loss.shape
    sample = (
        np.ones(shape)
        if sample_weight is None
        else np.broadcast_to(np.asarray(sample_weight, np.float64), shape)
    )
    upstream = np.broadcast_to(np.asarray(grad_output, np.float64), shape)
    weighted = _without_nothing(sample, expected.loss)
    scales = _without_nothing(np.abs(sample), expected.loss_scale)
    if reduction == "none":
        loss, loss_scale, divisor = weighted, scales, 1.0
    elif reduction == "sum":
        loss, loss_scale, divisor = weighted.sum(), scales.sum(), 1.0
    else:
        divisor = (sample * expected.weight).sum()
        with np.errstate(invalid="ignore", divide="ignore"):
            loss = weighted.sum() / divisor
            loss_scale = scales.sum() / abs(divisor)
    if divisor == 0:
        factor = np.zeros(shape)
        loss = np.float64(np.nan)
    else:
        factor = sample * upstream / divisor
    factor = expected.per_prediction(factor)
    return Reduced(
        loss=np.asarray(loss),
        loss_scale=np.asarray(loss_scale),
        grad=_without_nothing(factor, expected.grad),
        hess=_without_nothing(factor, expected.hess),
        grad_scale=_without_nothing(np.abs(factor), expected.grad_scale),
        hess_scale=_without_nothing(np.abs(factor), expected.hess_scale),
    )


def _without_nothing(factor, values):
    """factor * values, where a factor of 0 removes the value even when it is nan or inf."""
    with np.errstate(invalid="ignore"):
        return np.where(factor == 0, 0.0, factor * values)
