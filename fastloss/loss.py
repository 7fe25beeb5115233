"""The object that every public loss is: callable, with its gradient and its curvature."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from fastloss.engine import evaluate
from fastloss.spec import Spec, Want

_LOSSES: dict[str, Loss] = {}

#: Every loss ever made, by a name of its own: a user's may share `name` with another.
SPECS: dict[str, Spec] = {}


class Loss:
    """A loss function: a value, a gradient and a diagonal hessian.

    Call it for the loss; the methods return derivatives with respect to the predictions. All
    take the loss's own options as keywords, and these:

    Parameters
    ----------
    predictions : array of float64, float32, float16 or bfloat16
        Anything that hands over CPU or CUDA memory; never modified, except by ``out=predictions``.
    targets : array
        See the loss.
    sample_weight : array or number, optional
        Broadcasts against the unreduced loss. What has weight 0 counts for nothing, even
        where its loss is nan. An element-wise loss takes it in the precision of the loss.
    reduction : {"mean", "sum", "none"}, default "mean"
        ``"mean"`` is the average weighted by `sample_weight` (and class weights, where the
        loss says so). A mean over nothing is nan, and its gradient 0.
    grad_output : number or array, optional
        The upstream gradient: a number, or for ``reduction="none"`` an array in the shape of
        the loss. Methods only.
    out : array, optional
        Where the gradient goes; ``out=predictions`` works in place. For `grad_and_hess` also
        a pair (gradient, hessian). Methods only.
    """

    def __init__(
        self,
        spec: Spec,
        doc: str | None = None,
        made_by: tuple[Callable[..., Loss], tuple[Any, ...]] | None = None,
    ) -> None:
        #: A function and its arguments that return this loss, in another process as well; None
        #: for the package's own, which are found by name.
        self._made_by = made_by
        self.name = spec.name
        self.spec = spec
        unique = spec.name
        while SPECS.setdefault(unique, spec) is not spec:
            unique += "'"
        self.__name__ = spec.name
        if doc is not None:
            self.__doc__ = inspect.cleandoc(doc)
        keyword = inspect.Parameter.KEYWORD_ONLY
        arguments = [
            inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD)
            for name in ("predictions", "targets")
        ]
        arguments += [
            inspect.Parameter(option.name, keyword, default=option.default)
            for option in spec.options
        ]
        arguments.append(inspect.Parameter("sample_weight", keyword, default=None))
        arguments.append(inspect.Parameter("reduction", keyword, default="mean"))
        self.__signature__ = inspect.Signature(arguments)

    def __call__(
        self,
        predictions: Any,
        targets: Any,
        *,
        sample_weight: Any = None,
        reduction: str = "mean",
        **options: Any,
    ) -> Any:
        """Return the loss: 0-d for "mean" and "sum", one per example for "none"."""
        return evaluate(
            self.spec, Want.LOSS, predictions, targets, sample_weight, reduction, None, None,
            options,
        )[0]  # fmt: skip

    def value_and_grad(
        self,
        predictions: Any,
        targets: Any,
        *,
        sample_weight: Any = None,
        reduction: str = "mean",
        grad_output: Any = None,
        out: Any = None,
        **options: Any,
    ) -> tuple[Any, Any]:
        """Return (loss, gradient), computed in one pass.

        The gradient has the shape and dtype of the predictions; with ``reduction="none"`` it
        is that of the sum of the losses, each times its `grad_output`.
        """
        return evaluate(
            self.spec, Want.LOSS_AND_GRAD, predictions, targets, sample_weight, reduction,
            grad_output, out, options,
        )[:2]  # fmt: skip

    def grad(
        self,
        predictions: Any,
        targets: Any,
        *,
        sample_weight: Any = None,
        reduction: str = "mean",
        grad_output: Any = None,
        out: Any = None,
        **options: Any,
    ) -> Any:
        """Return the gradient with respect to the predictions."""
        return evaluate(
            self.spec, Want.GRAD, predictions, targets, sample_weight, reduction,
            grad_output, out, options,
        )[1]  # fmt: skip

    def grad_and_hess(
        self,
        predictions: Any,
        targets: Any,
        *,
        sample_weight: Any = None,
        reduction: str = "mean",
        grad_output: Any = None,
        out: Any = None,
        **options: Any,
    ) -> tuple[Any, Any]:
        """Return (gradient, diagonal of the hessian), each per element of the predictions."""
        return evaluate(
            self.spec, Want.GRAD_AND_HESS, predictions, targets, sample_weight, reduction,
            grad_output, out, options,
        )[1:]  # fmt: skip

    def __repr__(self) -> str:
        return f"<fastloss loss {self.name}{self.__signature__}>"

    def __reduce__(self) -> Any:
        if _LOSSES.get(self.name) is self:
            return _builtin, (self.name,)
        return self._made_by

    def __deepcopy__(self, memo: Any) -> Loss:
        return self  # as of a function


def register(loss: Loss) -> Loss:
    """Add a loss of the package to those that `fastloss.losses()` lists."""
    return _LOSSES.setdefault(loss.name, loss)


def registered() -> tuple[Loss, ...]:
    """Return every loss of the package, in the order of the documentation."""
    return tuple(_LOSSES.values())


def _builtin(name: str) -> Loss:
    return _LOSSES[name]
