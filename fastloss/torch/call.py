"""What a call of a loss is besides its tensors, as an object and as the text operators carry."""

from __future__ import annotations

import ast
import functools
import operator
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch

from fastloss import engine
from fastloss.loss import SPECS
from fastloss.spec import Spec, Want

Tensor = torch.Tensor

#: A loss, its reduction, its options, the targets, the sample weight, and whether the gradient may
#: lie where the predictions lie.
EagerCall = tuple[Spec, str, Mapping[str, Any], Any, Any, bool]


def is_integer(tensor: Tensor) -> bool:
    """Return whether a tensor may be one of class indices."""
    return not (tensor.is_floating_point() or tensor.is_complex() or tensor.dtype is torch.bool)


def name_of(spec: Spec) -> str:
    """Return the name by which operators know a loss; two losses never share one."""
    name = spec.name
    while SPECS[name] is not spec:
        name += "'"
    return name


class Call(NamedTuple):
    """A loss, its reduction and its options; `arrays` names the options that are tensors."""

    loss: str
    reduction: str
    options: Mapping[str, Any]
    arrays: tuple[str, ...]

    @property
    def spec(self) -> Spec:
        """The loss."""
        return SPECS[self.loss]

    def compute(
        self,
        want: Want,
        predictions: Tensor,
        targets: Tensor,
        sample_weight: Tensor | None,
        arrays: Sequence[Tensor],
        grad_output: Any = None,
        out: Tensor | None = None,
    ) -> tuple[Any, Any, Any]:
        """Return (loss, gradient, hessian), outside of autograd."""
        options = dict(self.options)
        options.update(zip(self.arrays, arrays, strict=True))
        return engine.compute(
            self.spec, want, predictions, targets, sample_weight, self.reduction, grad_output,
            out, options,
        )  # fmt: skip

    def text(self) -> str:
        """Return the call as the literal that `read_call` reads."""
        options = {name: _constant(value) for name, value in self.options.items()}
        return repr((self.loss, self.reduction, options, self.arrays))


def _constant(value: Any) -> Any:
    """Return an option's value; torch.compile makes a constant of a number that may change."""
    if type(value) is float:
        return float.fromhex(value.hex())
    return operator.index(value) if type(value) is int else value


@functools.cache
def read_call(text: str) -> Call:
    """Return the call that `Call.text` wrote."""
    return Call(*ast.literal_eval(text))
