"""A call on JAX arrays or tracers, differentiable by JAX."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jax.custom_derivatives import SymbolicZero

from fastloss import checks
from fastloss.arrays import kind_of
from fastloss.axes import axes_of
from fastloss.jax.call import Call
from fastloss.jax.primitive import loss_p
from fastloss.spec import ClassSpec, Spec, Want


def evaluate(
    spec: Spec,
    want: Want,
    predictions: Any,
    targets: Any,
    sample_weight: Any,
    reduction: str,
    grad_output: Any,
    out: Any,
    options: Mapping[str, Any],
) -> tuple[Any, Any, Any]:
    """Return (loss, gradient, hessian) as traced values."""
    if out is not None:
        raise TypeError("out= is not offered for JAX arrays, which cannot be written")
    arrays, scalars = {}, []
    for name, value in options.items():
        if value is None or isinstance(value, (int, float, str, tuple)):
            scalars.append((name, value))
            continue
        array: Any = value
        if not isinstance(value, jax.Array):
            array = kind_of(value, name).read(value, name)
        if _is_number(array):
            scalars.append((name, checks.as_scalar(array)))
        else:
            arrays[name] = jax.numpy.asarray(array)
    extra = [
        jax.numpy.asarray(array) for array in (sample_weight, grad_output) if array is not None
    ]
    call = Call(
        spec, want, reduction, tuple(scalars), sample_weight is not None, grad_output is not None,
        tuple(arrays),
    )  # fmt: skip
    try:
        hash(call)
    except TypeError:  # the checks refuse what cannot be hashed
        checks.check_reduction(spec.name, reduction)
        checks.fill_options(spec, dict(scalars), {}, dict(scalars))
        raise
    _refuse_wrapped(spec, targets)
    operands = [jax.numpy.asarray(predictions), jax.numpy.asarray(targets), *extra]
    operands = _varying_alike([*operands, *arrays.values()])
    if want is Want.LOSS:
        return _differentiable(call, *operands), None, None
    results = iter(loss_p.bind(*operands, call=call))
    loss, grad, hess = (next(results) if wanted else None for wanted in want.value)
    return loss, grad, hess


def _varying_alike(operands: list[Any]) -> list[Any]:
    """Let all vary over the devices of a `shard_map` that one of them varies over.

    The derivative of this step sums over them, where predictions are the same on all.
    """
    varying = [_varying(jax.typeof(operand)) for operand in operands]
    axes = frozenset[str]().union(*varying)
    return [
        operand if own == axes else _let_vary(operand, tuple(axes - own))
        for operand, own in zip(operands, varying, strict=True)
    ]


def _varying(kind: Any) -> frozenset[str]:
    """Return the axes of the mesh that arrays of this type vary over."""
    manual = getattr(kind, "mat", None)  # before JAX 0.10 the type said it itself
    found: frozenset[str] = getattr(kind, "vma", frozenset()) if manual is None else manual.varying
    return found


def _let_vary(operand: Any, axes: tuple[str, ...]) -> Any:
    if hasattr(jax.lax, "pcast"):
        return jax.lax.pcast(operand, axes, to="varying")
    return jax.lax.pvary(operand, axes)  # type: ignore[attr-defined]  # before JAX 0.8


def _refuse_wrapped(spec: Spec, targets: Any) -> None:
    """Refuse NumPy's integers that would be others in the narrower dtype that JAX gives them."""
    if not isinstance(targets, np.ndarray) or targets.dtype.kind not in "iu" or not targets.size:
        return
    dtype = jax.dtypes.canonicalize_dtype(targets.dtype)
    holds = np.iinfo(dtype)
    for bad in (targets.argmin(), targets.argmax()) if dtype != targets.dtype else ():
        value = targets.flat[bad]
        if not holds.min <= value <= holds.max:
            where = tuple(int(i) for i in np.unravel_index(bad, targets.shape))
            error = IndexError if isinstance(spec, ClassSpec) else ValueError
            raise error(
                f"{spec.name}: the target at position {where} is {value}, which {dtype} does not "
                f"hold, and without jax_enable_x64 JAX has no {targets.dtype}; set it, or correct "
                "the target"
            )


def _is_number(value: Any) -> bool:
    return value.ndim == 0 and not isinstance(value, jax.core.Tracer)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _differentiable(call: Call, *operands: Any) -> Any:
    return loss_p.bind(*operands, call=call)[0]


def _forward(call: Call, *primals: Any) -> tuple[Any, Any]:
    names = ("targets", *["sample_weight"] * call.weighted, *call.arrays)
    for name, primal in zip(names, primals[1:], strict=True):
        floating = jax.numpy.issubdtype(primal.value.dtype, jax.numpy.floating)
        if primal.perturbed and floating:
            raise NotImplementedError(
                f"{call.spec.name}: differentiated by {name}, but only the derivative by the "
                f"predictions is known; use jax.lax.stop_gradient({name})"
            )
    operands = [primal.value for primal in primals]
    mixed = call.reduction == "none" and not call.spec.independent
    if operands[0].dtype == np.float16 or mixed:
        # Divided by the number of examples, a float16 gradient vanishes before the upstream
        # gradient of a scaled loss could lift it, and where each loss depends on all examples, no
        # scaling of a row makes up for it: compute it in the backward pass.
        return loss_p.bind(*operands, call=call)[0], operands
    loss, grad = loss_p.bind(*operands, call=call._replace(want=Want.LOSS_AND_GRAD))
    return loss, (grad, len(operands))


def _backward(call: Call, kept: Any, upstream: Any) -> tuple[Any, ...]:
    count = kept[1] if isinstance(kept, tuple) else len(kept)
    nothing = (None,) * (count - 1)
    if isinstance(upstream, SymbolicZero):
        return None, *nothing
    if isinstance(kept, list):
        whole = call._replace(want=Want.GRAD, upstream=True)
        at = 2 + call.weighted
        (grad,) = loss_p.bind(*kept[:at], upstream, *kept[at:], call=whole)
        return grad, *nothing
    grad = kept[0]
    if call.reduction == "none":
        axes = axes_of(call.spec, dict(call.options), grad.shape)
        upstream = jax.numpy.expand_dims(upstream, axes)
    return (grad * upstream).astype(grad.dtype), *nothing


_differentiable.defvjp(_forward, _backward, symbolic_zeros=True)
