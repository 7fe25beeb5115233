"""A loss bound to its options, for libraries that ask for gradient and hessian per row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fastloss.arrays import Array
from fastloss.loss import Loss
from fastloss.objectives.conventions import convention_of
from fastloss.objectives.initial import initial_score
from fastloss.objectives.options import checked_options
from fastloss.objectives.rows import class_indices, row_weights
from fastloss.spec import ClassSpec, PointwiseSpec


class Objective:
    """What the objectives of all libraries have in common; immutable."""

    #: The library whose starting scores `initial_score` gives.
    library = ""

    def __init__(self, loss: Loss, hessian: str, options: Mapping[str, Any]) -> None:
        checked_options(loss, options)
        self.loss = loss
        self.hessian = hessian
        self.options = dict(options)
        self.over_classes = isinstance(loss.spec, ClassSpec)
        self.convention = convention_of(hessian, loss, options)
        lacks = isinstance(loss.spec, PointwiseSpec) and loss.spec.hess is None
        if lacks and not self.convention.constant:
            raise TypeError(
                f"{loss.name} was made without a hessian, which a booster needs; pass hess= to "
                "pointwise_loss"
            )

    def derivatives(
        self, scores: Array, labels: Any, weight: Any, *, order: str
    ) -> tuple[Array, Array]:
        """Return (gradient, hessian) of the weighted sum of the losses by the scores.

        scores are (N,) or (N, C); labels (N,), or as many as there are scores; weight (N,),
        empty or None. `order` names them in errors.
        """
        if scores.ndim not in (1, 2):
            raise ValueError(f"{order}: scores must be (N,) or (N, C), not {scores.shape}")
        targets = self._targets(scores, np.asarray(labels), order)
        weights = row_weights(len(scores), weight, order)
        per_example = None if weights is None else weights[:, None]  # (N, 1)
        per_element = per_example if scores.ndim == 2 else weights
        sample_weight = weights if self.over_classes else per_element
        if self.convention.constant:
            grad = self.loss.grad(
                scores, targets, sample_weight=sample_weight, reduction="sum", **self.options
            )
            hess = np.empty_like(grad)
            self.convention.fill(hess, grad, per_element)
            return grad, hess
        grad, hess = self.loss.grad_and_hess(
            scores, targets, sample_weight=sample_weight, reduction="sum", **self.options
        )
        self.convention.apply(hess, per_element, scores.shape[-1])
        return grad, hess

    def initial_score(self, labels: Any, sample_weight: Any = None, classes: int = 0) -> Any:
        """Return the score that the library's built-in objective starts from.

        See `fastloss.objectives.initial_score`.
        """
        return initial_score(
            self.loss, labels, sample_weight, library=self.library, classes=classes, **self.options
        )

    def _targets(self, scores: Array, labels: Array, order: str) -> Array:
        """Return the labels as the loss takes them for these scores."""
        if labels.size == scores.size and (scores.ndim == 2 or not self.over_classes):
            soft_or_real = labels.reshape(scores.shape)
            if not self.over_classes or scores.shape[1] > 1:
                return soft_or_real
        if not self.over_classes:
            raise ValueError(
                f"{order}: {self.loss.name} takes one label for each score, but there are "
                f"{labels.size} labels and scores of shape {scores.shape}"
            )
        if scores.ndim != 2:
            raise ValueError(
                f"{order}: {self.loss.name} takes scores of shape (N, C), one column per class, "
                f"not {scores.shape}; set the booster's num_class (binary labels: use "
                "binary_cross_entropy_with_logits)"
            )
        if labels.size != len(scores):
            raise ValueError(
                f"{order}: there are {labels.size} labels for {len(scores)} rows; give a class "
                "for each row, or a probability for each row and class"
            )
        return class_indices(labels.reshape(-1))

    def __repr__(self) -> str:
        options = "".join(f", {name}={value!r}" for name, value in self.options.items())
        return f"{type(self).__name__}({self.loss.name}{options}, hessian={self.hessian!r})"

    def __deepcopy__(self, memo: Any) -> Objective:
        # scikit-learn's clone copies parameters deeply; nothing here changes.
        return self


class CalledObjective(Objective):
    """An objective that the library and its scikit-learn estimators call as a function."""

    #: What the library is called in errors.
    title = ""

    def __call__(self, first: Any, second: Any, sample_weight: Any = None) -> tuple[Array, Array]:
        """Return (gradient, hessian): of (scores, data), or of (labels, scores, weights)."""
        if hasattr(second, "get_label"):
            scores, labels, sample_weight = first, second.get_label(), second.get_weight()
        else:
            labels, scores = first, second
        return self.derivatives(np.asarray(scores), labels, sample_weight, order=self.title)
