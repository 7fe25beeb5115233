"""Scalar building blocks for your own ``@njit`` and ``@cuda.jit`` functions.

`exp`, `log`, `log1p`, `expm1`, `arctan`, `tanh`, `sigmoid`, `softplus` and `maximum` vectorise in
a loop, where the functions of `math` do not. ``const(0.5, x)`` is a literal in the type of x.
``logsumexp(row)`` is the stable log-sum-exp of a 1-D array. For every element-wise loss of the
package there are ``<loss>_value``, ``<loss>_grad`` and ``<loss>_hess``, functions of
``(prediction, target, *options)``.

Examples
--------
>>> import numpy as np
>>> from numba import njit
>>> import fastloss.jit as flj
>>> @njit
... def total(p, t):
...     s = 0.0
...     for i in range(p.size):
...         s += flj.mse_value(p[i], t[i])
...     return s
>>> total(np.array([1.0, 2.0]), np.zeros(2))
2.5
"""

from __future__ import annotations

import importlib
import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numba.core.registry import cpu_target

from fastloss.cpu.compile import vector_math
from fastloss.elementary import (
    arctan,
    const,
    divide,
    exp,
    expm1,
    inline,
    jitable,
    log,
    log1p,
    maximum,
    sigmoid,
    softplus,
    tanh,
)
from fastloss.loss import registered
from fastloss.spec import PointwiseSpec

# The elementary functions on both targets; that of CUDA brings no numba.cuda along.
vector_math()
importlib.import_module("fastloss.cuda.math")


@jitable
def logsumexp(row: Any) -> Any:
    """log(sum(exp(row))) of a 1-D array: -inf if it is empty or all -inf, nan beside a nan."""
    largest = -np.inf
    for x in row:
        largest = maximum(largest, x)
    if largest == -np.inf or largest == np.inf:
        return largest
    total = 0.0
    for x in row:
        total += math.exp(x - largest)
    return largest + math.log(total)


if TYPE_CHECKING:
    # The formulas of the losses are made below.
    def __getattr__(name: str) -> Any: ...


def _export_formulas() -> list[str]:
    names = []
    for loss in registered():
        if isinstance(loss.spec, PointwiseSpec):
            for role in ("value", "grad", "hess"):
                name = f"{loss.name}_{role}"
                globals()[name] = inline(getattr(loss.spec, role))
                names.append(name)
    return names


__all__ = [
    "arctan", "const", "divide", "exp", "expm1", "log", "log1p", "logsumexp", "maximum",
    "sigmoid", "softplus", "tanh", *_export_formulas(),
]  # fmt: skip

# Where Numba itself imports this, for a function that it compiles, it would not see what is new.
cpu_target.typing_context.refresh()
cpu_target.target_context.refresh()
