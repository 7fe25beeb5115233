"""The arrays of a case, drawn from a fixed seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fastloss.arrays.kinds import Array
from fastloss.benchmark.cases import Case
from fastloss.dtypes import numpy_dtype

#: Losses whose targets are -1 and +1.
OF_SIGNS = {
    "exponential", "hinge", "margin_ranking", "modified_huber", "perceptron", "soft_margin",
    "squared_hinge",
}  # fmt: skip

OF_BOXES = {"ciou", "giou"}


#: Losses whose predictions are probabilities, each by itself.
OF_PROBABILITIES = {"binary_cross_entropy", "dice", "jaccard", "tversky"}


@dataclass(frozen=True)
class Inputs:
    """What every contestant is given."""

    case: Case
    predictions: Array  # (N, C), (N, C, H, W) or (N,)
    targets: Array  # class indices (N,) or (N, H, W), or of the predictions' shape
    out: Array  # like predictions; fastloss and the limits write it
    threads: int

    @property
    def examples(self) -> int:
        """How many losses the mean is over."""
        return self.case.examples


def draw(case: Case, threads: int) -> Inputs:
    """Return the arrays of `case`."""
    rng = np.random.default_rng(0)
    dtype = numpy_dtype(case.dtype)
    predictions = rng.standard_normal(case.shape, np.float32).astype(dtype)
    if case.loss == "msle":
        predictions = np.abs(predictions)
    if case.loss in OF_PROBABILITIES:
        predictions = rng.uniform(0.01, 0.99, case.shape).astype(dtype)
    if case.loss == "categorical_cross_entropy":
        predictions = _distributions(case, rng).astype(dtype)
    if case.loss in OF_BOXES:
        predictions = _boxes(case, rng).astype(dtype)
    targets = _targets(case, rng, dtype)
    return Inputs(case, predictions, targets, np.zeros_like(predictions), threads)


def _distributions(case: Case, rng: np.random.Generator) -> Array:
    """Return a distribution over the classes for each example."""
    mass: Array = rng.random(case.shape, np.float32)
    mass /= mass.sum(axis=1, keepdims=True)
    return mass


def _boxes(case: Case, rng: np.random.Generator) -> Array:
    """Return boxes of which most overlap with others like them."""
    low = rng.uniform(0, 100, (case.shape[0], 2))
    return np.concatenate([low, low + rng.uniform(50, 150, low.shape)], axis=1)


def _targets(case: Case, rng: np.random.Generator, dtype: np.dtype[np.generic]) -> Array:
    if case.loss in OF_BOXES:
        return _boxes(case, rng).astype(dtype)
    if case.over_classes and not case.soft:
        return rng.integers(0, case.shape[1], case.shape[:1] + case.shape[2:])
    if case.over_classes:
        return _distributions(case, rng).astype(dtype)
    if case.loss == "ntxent":  # two views of each example
        return np.arange(case.examples) // 2
    if not case.by_element:  # of distances: which of two
        return rng.integers(0, 2, case.examples)
    if case.loss in OF_SIGNS:
        return rng.choice(np.array([-1, 1], np.float32), case.shape).astype(dtype)
    return rng.integers(0, 2, case.shape).astype(dtype)
