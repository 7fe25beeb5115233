"""Tells which formula of an element-wise loss does not compile, and why."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import from_dtype, njit
from numba.core.errors import NumbaError

from fastloss.cpu.compile import OPTIONS
from fastloss.cpu.ir import REAL
from fastloss.spec import PointwiseSpec


def refusal(spec: PointwiseSpec, real: np.dtype[Any]) -> TypeError | None:
    """Return the error for the first formula that cannot be one; None if all can.

    Each is compiled by itself, so that the reason speaks of it and not of the kernel around it.
    """
    number, options = from_dtype(real), len(spec.options)
    formulas = {
        "value": (spec.value, options),
        "grad": (spec.grad, options),
        "hess": (spec.hess, options),
        "the domain's valid": (spec.domain.valid if spec.domain else None, 1),
    }
    for role, (formula, more) in formulas.items():
        if formula is None:
            continue
        try:
            compiled = njit((number,) * (2 + more), **OPTIONS)(formula)
        except NumbaError as error:
            reason = str(error).partition("\n")[2].strip() or str(error)
        else:
            returned = compiled.nopython_signatures[0].return_type
            if isinstance(returned, REAL):
                continue
            reason = f"it returns {returned}"
        return TypeError(
            f"{spec.name}: {role} is not a function of {number} numbers that returns a number: "
            f"{reason}\n(Formulas are compiled by Numba for one element at a time; see "
            "fastloss.pointwise_loss)"
        )
    return None
