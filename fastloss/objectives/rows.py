"""What the boosters say of each row: labels and weights, kept as float32."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastloss.arrays import Array


def class_indices(labels: Array) -> Array:
    """Return labels, which the boosters keep as float32, as class indices.

    Raises
    ------
    ValueError
        If a label is not a whole number; it names the first.
    """
    if labels.dtype.kind in "iu":
        return labels
    with np.errstate(invalid="ignore"):  # nan and infinity are found below
        indices: Array = labels.astype(np.int64)
    whole = indices == labels
    if not whole.all():
        bad = int(np.argmin(whole))
        raise ValueError(
            f"the label at position {bad} is {labels[bad]}, expected a class index: a whole "
            "number from 0"
        )
    return indices


def row_weights(rows: int, weight: Any, where: str) -> Array | None:
    """Return one weight per row, or None where there are none; `where` begins the error."""
    if weight is None:
        return None
    weights = np.asarray(weight)
    if weights.size == 0:  # how XGBoost says that there are none
        return None
    if weights.size != rows:
        raise ValueError(f"{where}: there are {weights.size} weights for {rows} rows")
    return weights.reshape(-1)
