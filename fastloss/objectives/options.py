"""Which losses and options the objectives take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastloss.engine import filled_options
from fastloss.loss import Loss
from fastloss.spec import ClassSpec, PointwiseSpec


def checked_options(loss: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return every option of a loss that is no array, with the defaults of those not given.

    Raises
    ------
    TypeError
        If `loss` is none, or not one of a booster's rows, or has not that option.
    ValueError
        For an option's value that does not exist.
    """
    if not isinstance(loss, Loss):
        raise TypeError(
            f"loss must be a fastloss loss, such as fastloss.cross_entropy, not {loss!r}; "
            "fastloss.pointwise_loss makes one of your own"
        )
    if not isinstance(loss.spec, PointwiseSpec | ClassSpec):
        raise TypeError(
            f"{loss.name} is a loss of embeddings, whose predictions are no booster's scores; "
            "take one of a score or of classes"
        )
    if isinstance(loss.spec, ClassSpec) and isinstance(loss.spec.axis, tuple):
        raise TypeError(
            f"{loss.name} is a loss of whole regions, not of a booster's rows; "
            "fastloss.binary_cross_entropy_with_logits is one of rows"
        )
    if "axis" in options:
        raise TypeError(f"{loss.name}: the layout is the booster's; axis cannot be chosen")
    return filled_options(loss.spec, options)
