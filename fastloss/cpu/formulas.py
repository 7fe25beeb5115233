"""Tells which formula of a user's element-wise loss cannot be one, and why."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numba import from_dtype, njit
from numba.core import types
from numba.core.compiler_lock import global_compiler_lock
from numba.core.errors import NumbaError

from fastloss.cpu.compile import OPTIONS
from fastloss.spec import Formula, PointwiseSpec


@functools.cache
def refusal(spec: PointwiseSpec, real: np.dtype[Any]) -> str | None:
    """Return what is wrong with the first formula that a kernel cannot call; None if it can all.

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
        with global_compiler_lock:  # LLVM has a lock of its own, with which no child may be forked
            reason = None if formula is None else _reason(formula, (number,) * (2 + more))
        if reason is not None:
            return (
                f"{spec.name}: {role} is not a function of {number} numbers that returns a "
                f"number: {reason}\n(Formulas are compiled by Numba for one element at a time; see "
                "fastloss.pointwise_loss)"
            )
    return None


def _reason(formula: Formula, signature: tuple[Any, ...]) -> str | None:
    try:
        compiled = njit(signature, **OPTIONS)(formula)
    except NumbaError as error:
        return str(error).partition("\n")[2].strip() or str(error)
    (form,) = compiled.nopython_signatures
    if not isinstance(form.return_type, types.Integer | types.Float | types.Boolean):
        return f"it returns {form.return_type}"
    # A pickled exception: a kernel has nobody to hand it to, and would leave out what comes after.
    if "picklebuf" in compiled.inspect_llvm(form.args):
        return (
            "it may raise an exception (an assertion, an index out of range or an array that finds "
            "no memory are some, too); return nan there, or refuse values by a domain"
        )
    return None
