"""The losses as functions of JAX arrays that always take JAX's way, traced or not."""

from __future__ import annotations

import inspect
from typing import Any

import fastloss as fl
from fastloss.jax.route import evaluate
from fastloss.loss import Loss
from fastloss.spec import Want


class JaxLoss:
    """A loss of `fastloss` with the same name, arguments and methods, for JAX.

    `fastloss`'s own losses take JAX arrays and tracers as well; these take every argument that
    `jax.numpy.asarray` takes, and never leave JAX: results are dispatched asynchronously.
    """

    def __init__(self, loss: Loss) -> None:
        self.name = loss.name
        self.loss = loss
        self.__name__ = loss.name
        self.__doc__ = loss.__doc__
        self.__signature__ = inspect.signature(loss)

    def _evaluate(self, want: Want, predictions: Any, targets: Any, options: dict[str, Any]) -> Any:
        weight = options.pop("sample_weight", None)
        reduction = options.pop("reduction", "mean")
        upstream = options.pop("grad_output", None)
        return evaluate(
            self.loss.spec, want, predictions, targets, weight, reduction, upstream, None, options
        )

    def __call__(self, predictions: Any, targets: Any, **options: Any) -> Any:
        """Return the loss."""
        if "grad_output" in options:
            raise TypeError(f"{self.name} takes no grad_output; its methods do")
        return self._evaluate(Want.LOSS, predictions, targets, options)[0]

    def value_and_grad(self, predictions: Any, targets: Any, **options: Any) -> tuple[Any, Any]:
        """Return (loss, gradient), computed in one pass."""
        loss, grad, _ = self._evaluate(Want.LOSS_AND_GRAD, predictions, targets, options)
        return loss, grad

    def grad(self, predictions: Any, targets: Any, **options: Any) -> Any:
        """Return the gradient with respect to the predictions."""
        return self._evaluate(Want.GRAD, predictions, targets, options)[1]

    def grad_and_hess(self, predictions: Any, targets: Any, **options: Any) -> tuple[Any, Any]:
        """Return (gradient, diagonal of the hessian)."""
        _, grad, hess = self._evaluate(Want.GRAD_AND_HESS, predictions, targets, options)
        return grad, hess

    def __repr__(self) -> str:
        return f"<fastloss.jax loss {self.name}{self.__signature__}>"


#: Every loss of the package, by its name.
LOSSES = {loss.name: JaxLoss(loss) for loss in fl.losses()}
