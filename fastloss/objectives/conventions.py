"""How the libraries' own objectives depart from the exact hessian, each with its source.

A booster divides a leaf's sum of gradients by its sum of hessians, so its objectives replace
curvatures that vanish or that underestimate the loss. An objective that is to grow the trees
of a built-in one has to do the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastloss.arrays import Array
from fastloss.loss import Loss, registered


@dataclass(frozen=True)
class Convention:
    """What a library takes for the hessian of a loss, in terms of the exact one.

    With C classes and a weight w it is max(factor(C) * exact, floor * w), or w where it is
    `constant`.
    """

    factor: float = 1.0
    per_class: bool = False
    """Whether C / (C - 1) is part of the factor."""
    floor: float = 0.0
    constant: bool = False
    at_rest: float | None = None
    """What a constant one is where the gradient is 0, if not w."""

    def apply(self, hess: Array, weight: Array | None, classes: int) -> None:
        """Turn the exact hessian, weights included, into the library's; in place."""
        factor = self.factor * (classes / (classes - 1) if self.per_class and classes > 1 else 1.0)
        if factor != 1.0:
            np.multiply(hess, hess.dtype.type(factor), out=hess)
        if self.floor > 0.0:
            floor = hess.dtype.type(self.floor)
            np.maximum(hess, floor if weight is None else floor * weight, out=hess)

    def fill(self, hess: Array, grad: Array, weight: Array | None) -> None:
        """Write a constant hessian."""
        hess[...] = 1.0 if weight is None else weight
        if self.at_rest is not None:
            hess[grad == 0.0] = self.at_rest


#: The loss's own second derivative.
EXACT = Convention()

#: Twice the diagonal bounds the softmax's whole hessian (its rows sum to 0), and a leaf must
#: never be divided by 0. Loss by loss as in XGBoost 2.0 to 3.4:
#: src/objective/multiclass_obj.cu (SoftmaxMultiClassObj::GetGradient: 2 p (1 - p), 1e-16),
#: src/objective/regression_loss.h (SecondOrderGradient of LogisticRegression: 1e-16, of
#: SquaredLogError: 1e-6),
#: src/objective/quantile_obj.cu (h = weight; until 3.2),
#: src/objective/regression_obj.cu (PoissonRegression: exp(p + max_delta_step), 0.7 by default;
#: MeanAbsoluteError: h = weight; until 3.2),
#: src/objective/hinge.cu (h = weight inside the margin, the least normal float outside).
_XGBOOST = {
    "cross_entropy": Convention(factor=2.0, floor=1e-16),
    "binary_cross_entropy_with_logits": Convention(floor=1e-16),
    "mse": EXACT,
    "mae": Convention(constant=True),
    "quantile": Convention(constant=True),
    "msle": Convention(floor=1e-6),
    "poisson_nll": Convention(factor=math.exp(0.7)),
    "hinge": Convention(constant=True, at_rest=float(np.finfo(np.float32).tiny)),
}

#: As in LightGBM 3.0 to 4.7: src/objective/multiclass_objective.hpp (MulticlassSoftmax: the
#: factor K / (K - 1) of Friedman's paper), src/objective/binary_objective.hpp,
#: src/objective/regression_objective.hpp (RegressionL2loss, RegressionL1loss,
#: RegressionHuberLoss and RegressionQuantileloss: 1; RegressionPoissonLoss:
#: exp(score + poisson_max_delta_step)).
_LIGHTGBM = {
    "cross_entropy": Convention(per_class=True),
    "binary_cross_entropy_with_logits": EXACT,
    "mse": EXACT,
    "mae": Convention(constant=True),
    "huber": Convention(constant=True),
    "quantile": Convention(constant=True),
    "poisson_nll": Convention(factor=math.exp(0.7)),
}

#: A loss that the library does not have: exact, but never 0 or negative, as XGBoost's floor.
_OTHER = Convention(floor=1e-16)

_LIBRARIES: Mapping[str, Mapping[str, Convention]] = {"xgboost": _XGBOOST, "lightgbm": _LIGHTGBM}

#: What `hessian` may be.
NAMES = ("exact", *_LIBRARIES)


def convention_of(name: Any, loss: Loss, options: Mapping[str, Any]) -> Convention:
    """Return the convention of that name for a loss with these options.

    Raises
    ------
    ValueError
        If there is no convention of that name.
    """
    if name == "exact":
        return EXACT
    if not isinstance(name, str) or name not in _LIBRARIES:
        raise ValueError(f"hessian must be one of {', '.join(map(repr, NAMES))}, not {name!r}")
    return _LIBRARIES[name].get(builtin_name(loss, options), _OTHER)


def builtin_name(loss: Loss, options: Mapping[str, Any]) -> str:
    """Return the name under which the libraries' tables know a loss; empty if they do not.

    A loss of the user's own may be called "huber" and be another; a Poisson loss of rates
    instead of their logarithms is none that a booster has, nor is a squared hinge.
    """
    if loss not in registered() or options.get("log_input") is False or options.get("squared"):
        return ""
    return loss.name
