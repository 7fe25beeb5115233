"""One JAX primitive for all losses: how it is typed, lowered, batched and (not) differentiated."""

from __future__ import annotations

import functools
import hashlib
import uuid
import warnings
from collections.abc import Sequence
from inspect import signature
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jax.sharding import NamedSharding, PartitionSpec
from jaxlib.mlir import ir

from fastloss import engine
from fastloss.axes import axes_of, behind_batch, without
from fastloss.checks import real_of
from fastloss.jax import ffi
from fastloss.jax.call import Call, Target, compute
from fastloss.loss import registered
from fastloss.spec import ClassSpec, Operands, Spec

loss_p = Primitive("fastloss")
loss_p.multiple_results = True


# --- types: a wrong shape or dtype is an error while tracing ------------------------------


@functools.lru_cache(maxsize=1024)
def _results(call: Call, *operands: tuple[tuple[int, ...], Any]) -> tuple[Any, ...]:
    """Check the call; return (shape, dtype) of each result."""
    # Arrays of these shapes that take no memory: the checks are those of every other call.
    arrays = [np.broadcast_to(np.empty((), dtype), shape) for shape, dtype in operands]
    p, t, w, u, options = call.split(arrays)
    scalars = dict(call.options)
    if u is not None and u.ndim == 0:
        u = None
    engine.checked_request(
        call.spec, call.want, call.reduction, Operands(p, t, w, u, None, None, options), scalars,
        {**scalars, **options},
    )  # fmt: skip
    shape = _loss_shape(call, p.shape) if call.reduction == "none" else ()
    loss = [(shape, real_of(p))] if call.want.loss else []
    return *loss, *[(p.shape, p.dtype)] * (call.want.grad + call.want.hess)


def _loss_shape(call: Call, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of the unreduced loss of predictions of this shape."""
    return without(shape, axes_of(call.spec, dict(call.options), shape))


@loss_p.def_abstract_eval
def _abstract(*operands: Any, call: Call) -> list[Any]:
    results = _results(call, *((o.shape, np.dtype(o.dtype)) for o in operands))
    return [_typed(operands[0], shape, dtype) for shape, dtype in results]


def _typed(predictions: Any, shape: tuple[int, ...], dtype: Any) -> Any:
    """Return the type of a result: in a `shard_map` it varies over the devices as they do."""
    mesh = predictions.sharding.mesh
    if mesh.empty:
        return jax.core.ShapedArray(shape, dtype)
    whole = NamedSharding(mesh, PartitionSpec(*[None] * len(shape)))
    return predictions.update(shape=shape, dtype=dtype, weak_type=False, sharding=whole)


# --- on the CPU -------------------------------------------------------------------------


def _target_name(call: Call, shapes: Any, in_place: bool) -> str:
    """Return a name that means the same in every process: XLA's own cache outlives this one."""
    known = any(loss.spec is call.spec for loss in registered())
    unique = "" if known else _token(call.spec)
    text = repr((unique, call.spec.name, call.want.name, call[2:], shapes, in_place))
    return "fastloss_" + hashlib.sha256(text.encode()).hexdigest()[:24]


@functools.cache
def _token(spec: Spec) -> str:
    return uuid.uuid4().hex


def _lower_cpu(ctx: Any, *operands: Any, call: Call) -> Any:
    def layouts(avals: Any) -> list[ffi.Layout]:
        return [ffi.Layout(aval.shape, aval.dtype) for aval in avals]

    inputs, outputs = layouts(ctx.avals_in), layouts(ctx.avals_out)
    shapes = [(a.shape, str(a.dtype)) for a in (*ctx.avals_in, *ctx.avals_out)]
    in_place = _is_passing(call, operands[0])
    name = _target_name(call, shapes, in_place)
    try:
        ffi.register(name, Target(call, inputs, outputs, in_place), inputs, outputs)
    except RuntimeError as error:
        _say_once(str(error))
        return mlir.lower_fun(_callback, multiple_results=True)(ctx, *operands, call=call)
    aliases = {0: int(call.want.loss)} if in_place else None
    return jax.ffi.ffi_lowering(name, operand_output_aliases=aliases)(ctx, *operands)


def _is_passing(call: Call, predictions: Any) -> bool:
    """Return whether the gradient shall lie where the predictions lie.

    Where those are needed afterwards XLA copies them before. It always needs what the program was
    given; what it made itself, as logits by a layer, nobody reads after the loss as a rule.
    """
    return call.want.grad and not call.want.hess and not isinstance(predictions, ir.BlockArgument)


def _callback(*operands: Any, call: Call) -> Any:
    """Compute by way of Python and copies, where there is no FFI."""
    results = _results(call, *((o.shape, np.dtype(o.dtype)) for o in operands))

    def on_the_host(*arrays: Any) -> list[Any]:
        outputs = [np.empty(shape, dtype) for shape, dtype in results]
        compute(call, [*map(np.asarray, arrays)], outputs)
        return outputs

    shapes = [jax.ShapeDtypeStruct(shape, dtype) for shape, dtype in results]
    return jax.pure_callback(on_the_host, shapes, *operands)


@functools.cache
def _say_once(reason: str) -> None:
    warnings.warn(
        f"fastloss: {reason}; losses inside jit go through jax.pure_callback, which is slower",
        stacklevel=2,
    )


def _lower_elsewhere(ctx: Any, *operands: Any, call: Call) -> Any:
    raise NotImplementedError(
        f"{call.spec.name}: inside jax.jit, fastloss computes on the CPU only; call the loss "
        "outside of jit, or put the step on the CPU with jax.default_device"
    )


loss_p.def_impl(functools.partial(jax.interpreters.xla.apply_primitive, loss_p))
# A lowering that JAX keeps sees nothing of where its operands come from.
_seeing = (
    {"cacheable": False} if "cacheable" in signature(mlir.register_lowering).parameters else {}
)
mlir.register_lowering(loss_p, _lower_cpu, platform="cpu", **_seeing)
mlir.register_lowering(loss_p, _lower_elsewhere)


# --- transformations --------------------------------------------------------------------


def _no_derivative(primals: Any, tangents: Any, *, call: Call) -> Any:
    raise NotImplementedError(
        f"{call.spec.name} has no second derivative through JAX; its diagonal is the second "
        f"result of {call.spec.name}.grad_and_hess(...)"
    )


ad.primitive_jvps[loss_p] = _no_derivative


def _batch(operands: Sequence[Any], dims: Sequence[Any], *, call: Call) -> Any:
    """Compute over one more axis: at once where the loss is unreduced, else one by one."""
    mapped = [d is not None for d in dims]
    moved = [o if d is None else jnp.moveaxis(o, d, 0) for o, d in zip(operands, dims, strict=True)]
    size = moved[mapped.index(True)].shape[0]
    merged = _merged(call, size, moved, mapped)
    if merged is not None:
        whole, arguments = merged
        results = loss_p.bind(*arguments, call=whole)
    else:
        results = jax.lax.map(
            lambda rows: loss_p.bind(*_interleaved(rows, moved, mapped), call=call),
            [o for o, m in zip(moved, mapped, strict=True) if m],
        )
    return results, [0] * len(results)


def _interleaved(rows: Sequence[Any], operands: Sequence[Any], mapped: Sequence[bool]) -> list[Any]:
    taken = iter(rows)
    return [next(taken) if m else o for o, m in zip(operands, mapped, strict=True)]


def _merged(
    call: Call, size: int, operands: Sequence[Any], mapped: Sequence[bool]
) -> tuple[Call, list[Any]] | None:
    """Return the call over one more leading axis, and its operands; None where there is none."""
    if call.reduction != "none" or not call.spec.independent:
        return None
    p, t, w, u, arrays = call.split(operands)
    of_p, of_t, of_w, of_u, of_arrays = call.split(mapped)
    is_class = isinstance(call.spec, ClassSpec)
    if is_class and any(of_arrays.values()):
        return None
    if isinstance(call.spec, ClassSpec):
        options = behind_batch(call.spec, dict(call.options))
        call = call._replace(options=tuple(options.items()))
    ndim = len(_loss_shape(call, (size, *p.shape[of_p:])))

    def whole(array: Any, own: bool) -> Any:
        return array if own else jnp.broadcast_to(array, (size, *array.shape))

    def aligned(array: Any, own: bool) -> Any:
        if not own:
            return array
        return array.reshape(size, *[1] * (ndim - array.ndim), *array.shape[1:])

    result = [whole(p, of_p), whole(t, of_t)]
    if w is not None:
        result.append(aligned(w, of_w))
    if u is not None:
        result.append(jnp.broadcast_to(aligned(u, of_u), _loss_shape(call, result[0].shape)))
    result += [aligned(a, of_arrays[name]) for name, a in arrays.items()]
    return call, result


batching.primitive_batchers[loss_p] = _batch
