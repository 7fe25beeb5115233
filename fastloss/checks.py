"""What a call must fulfil, and the errors that say what was given, expected and to do."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from fastloss.arrays import Array
from fastloss.axes import axes_of, without
from fastloss.dtypes import FLOATS, INTEGERS, name_of, real_dtype
from fastloss.spec import ClassSpec, DistanceSpec, Operands, Request, SimilaritySpec, Spec

REDUCTIONS = ("none", "sum", "mean")


# --- options ----------------------------------------------------------------------------


def check_reduction(loss: str, reduction: Any) -> None:
    """Refuse a reduction that does not exist."""
    if not isinstance(reduction, str) or reduction not in REDUCTIONS:
        raise ValueError(f'{loss}: reduction must be "none", "sum" or "mean", not {reduction!r}')


def fill_options(
    spec: Spec,
    scalars: Mapping[str, Any],
    arrays: Mapping[str, Array],
    given: Mapping[str, Any],
) -> dict[str, Any]:
    """Return every option that is no array, checked, with the defaults of those not given."""
    known = {option.name: option for option in spec.options}
    for name in given:
        if name not in known:
            options = ", ".join([*known, "sample_weight", "reduction"])
            raise TypeError(f"{spec.name} has no option {name!r}; its options are: {options}")
    filled = {}
    for name, option in known.items():
        where = f"{spec.name}: {name}"
        if name in arrays:
            option.check(where, arrays[name])
        else:
            filled[name] = option.check(where, scalars.get(name, option.default))
    return filled


def number(
    low: float = -math.inf,
    high: float = math.inf,
    *,
    above: float = -math.inf,
    below: float = math.inf,
    array: bool = False,
    optional: bool = False,
) -> Callable[[str, Any], Any]:
    """Make the check of a finite number in [low, high], > above and < below.

    `array`: an array that broadcasts against the predictions will do as well; `optional`:
    so will None.
    """
    bounds = [f"at least {low:g}"] if low > -math.inf else []
    bounds += [f"above {above:g}"] if above > -math.inf else []
    bounds += [f"at most {high:g}"] if high < math.inf else []
    bounds += [f"below {below:g}"] if below < math.inf else []
    expected = "a finite number" + (" " + " and ".join(bounds) if bounds else "")
    expected += ", or an array that broadcasts against the predictions" if array else ""
    expected += ", or None" if optional else ""

    def check(where: str, value: Any) -> Any:
        if value is None and optional:
            return None
        if isinstance(value, np.ndarray) and array:
            return check_real(where, value)
        if isinstance(value, (int, float)) and _is_finite(value):
            if low <= value <= high and above < value < below:
                return float(value)
            raise ValueError(f"{where} must be {expected}, not {value!r}")
        error = ValueError if isinstance(value, (int, float)) else TypeError
        raise error(f"{where} must be {expected}, not {_describe(value)}")

    return check


def as_number(role: str, value: Any) -> float:
    """Return a number as a float; integers have no largest."""
    try:
        return float(value)
    except OverflowError:
        raise ValueError(f"{role} must be a number that a float holds, not {value}") from None


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer that no float holds
        return False


def per_class(low: float) -> Callable[[str, Any], Any]:
    """Make the check of a number of at least `low`, or an array with one for each class."""
    one = number(low)
    return lambda where, value: (
        class_weights(where, value) if isinstance(value, np.ndarray) else one(where, value)
    )


def one_of(*values: float) -> Callable[[str, Any], float]:
    """Make the check of an option that is one of a few numbers."""

    def check(where: str, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise TypeError(f"{where} must be one of {values}, not {_describe(value)}")
        if value not in values:
            raise ValueError(f"{where} must be one of {values}, not {value!r}")
        return value

    return check


def flag(where: str, value: Any) -> bool:
    """Check an option that is True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{where} must be True or False, not {_describe(value)}")
    return bool(value)


def index(where: str, value: Any) -> int:
    """Check an option that is an integer."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{where} must be an integer, not {_describe(value)}")
    if not -(2**63) <= value < 2**63:
        raise ValueError(f"{where} must be an integer of at most 64 bits, not {value}")
    return value


def indices(where: str, value: Any) -> int | tuple[int, ...]:
    """Check an option that is an integer, or a tuple of at least one."""
    if not isinstance(value, tuple):
        try:
            return index(where, value)
        except TypeError:
            raise TypeError(
                f"{where} must be an integer or a tuple of integers, not {_describe(value)}"
            ) from None
    if not value:
        raise ValueError(f"{where} must name at least one axis, not ()")
    return tuple([index(where, one) for one in value])


def class_weights(where: str, value: Any) -> Any:
    """Check an option that is an array with one weight per class, or None."""
    if value is None:
        return None
    if isinstance(value, (int, float)):
        raise ValueError(f"{where} must have the shape (C,), not (): it is the number {value!r}")
    if not isinstance(value, np.ndarray):
        raise TypeError(f"{where} must be an array of shape (C,) or None, not {_describe(value)}")
    if value.ndim != 1:
        raise ValueError(f"{where} must have the shape (C,), not {value.shape}")
    return check_real(where, value)


def _describe(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape}"
    return f"{value!r} ({type(value).__name__})"


# --- arrays -----------------------------------------------------------------------------


def check_real(role: str, array: Array) -> Array:
    """Refuse an array that is not of real numbers in native byte order."""
    name = name_of(array.dtype)
    if name not in FLOATS and name not in INTEGERS and name != "bool":
        _refuse_dtype(role, array, "real numbers")
    return array


def as_float(array: Array, dtype: np.dtype[Any]) -> Array:
    """Return `array` as `dtype`: itself, or a copy in C order if it is of another."""
    if name_of(array.dtype) == "bfloat16" and array.dtype.names:
        # Bits whose library NumPy does not know: a bfloat16 is the upper half of a float32.
        array = (array.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
    return array if array.dtype == dtype else array.astype(dtype, order="C")


def as_scalar(array: Array) -> Any:
    """Return a 0-d array as a Python number."""
    return (as_float(array, np.dtype(np.float32)) if array.dtype.names else array).item()


def _refuse_dtype(role: str, array: Array, expected: str) -> None:
    given = name_of(array.dtype)
    if not array.dtype.isnative:
        raise TypeError(
            f"{role} are in the other byte order ({given}); convert them with "
            f".astype({array.dtype.newbyteorder('=').str!r})"
        )
    raise TypeError(f"{role} must be {expected}, not {given}; convert them with .astype(...)")


def check_operands(request: Request, operands: Operands) -> None:
    """Refuse arrays whose dtype, rank or shape does not fit."""
    p, t = operands.predictions, operands.targets
    if name_of(p.dtype) not in FLOATS:
        _refuse_dtype("predictions", p, f"of a floating dtype ({', '.join(FLOATS)})")
    if isinstance(request.spec, ClassSpec):
        shape = _check_class_targets(request, request.spec, p, t, operands.array_options)
    elif isinstance(request.spec, DistanceSpec):
        shape = _check_vectors(request.spec, p, t)
    elif isinstance(request.spec, SimilaritySpec):
        shape = _check_embeddings(request, p, t)
    else:
        check_real("targets", t)
        if t.shape != p.shape:
            raise ValueError(
                f"targets have the shape {t.shape}, predictions {p.shape}; element-wise losses "
                "take equal shapes and do not broadcast: reshape one of them"
            )
        _check_array_options(request.spec.name, operands)
        shape = p.shape
    _check_rounded(request, real_of(p))
    _check_weight(operands.sample_weight, shape)
    _check_upstream(request.reduction, operands.grad_output, shape)
    for role, out in (("out", operands.grad_out), ("out (hessian)", operands.hess_out)):
        if out is not None:
            _check_out(role, out, p)


def _check_rounded(request: Request, real: np.dtype[Any]) -> None:
    """Refuse a number that is another in the dtype of the computation, and there out of range."""
    for option in request.spec.options:
        value = request.options.get(option.name)
        if type(value) is not float:
            continue
        with np.errstate(over="ignore"):
            rounded = float(real.type(value))
        if rounded != value:
            try:
                option.check(f"{request.spec.name}: {option.name}", rounded)
            except ValueError as error:
                raise ValueError(f"{error}, which {value!r} is in {real}") from None


def _check_class_targets(
    request: Request, spec: ClassSpec, p: Array, t: Array, array_options: Mapping[str, Array]
) -> tuple[int, ...]:
    """Check the targets of a loss over classes; return the shape of one loss per example."""
    axes = axes_of(spec, request.options, p.shape)
    axis = axes[0] if len(axes) == 1 else axes
    classes = math.prod([p.shape[axis] for axis in axes])
    shape: tuple[int, ...] = without(p.shape, axes)
    if classes == 0:
        raise ValueError(f"predictions of shape {p.shape} have no classes on axis {axis}")
    if spec.classes not in (None, classes):
        raise ValueError(
            f"{spec.name}: predictions of shape {p.shape} have {classes} entries on axis {axis}, "
            f"expected {spec.classes}"
        )
    for name, weights in array_options.items():
        if weights.shape != (classes,):
            raise ValueError(
                f"{name} has the shape {weights.shape}, expected ({classes},): one weight "
                f"for each of the {classes} classes on axis {axis}"
            )
    name = name_of(t.dtype)
    if name in INTEGERS and spec.indices:
        if t.shape != shape:
            raise ValueError(
                f"class indices have the shape {t.shape}, expected {shape}: that of the "
                f"predictions, {p.shape}, without the class axis {axis}"
            )
    elif name in FLOATS and spec.vectors:
        if t.shape != p.shape:
            hint = "; class indices must be of an integer dtype" if spec.indices else ""
            raise ValueError(
                f"{'probability targets' if spec.indices else 'targets'} have the shape "
                f"{t.shape}, expected that of the predictions, {p.shape}{hint}"
            )
    else:
        kinds = ["class indices (integers)"] if spec.indices else []
        kinds += ["probabilities (floats)" if spec.indices else "floats"] if spec.vectors else []
        _refuse_dtype("targets", t, " or ".join(kinds))
    return shape


def _check_vectors(spec: DistanceSpec, p: Array, t: Array) -> tuple[int, ...]:
    """Check the operands of a loss of distances; return the shape of one loss per example."""
    name = name_of(t.dtype)
    if name not in INTEGERS and name != "bool":
        _refuse_dtype("targets", t, "0 and 1, of an integer dtype or bool")
    if p.ndim < 2 or p.shape[-2] != spec.vectors or p.shape[-1] == 0:
        raise ValueError(
            f"{spec.name}: predictions have the shape {p.shape}, expected (..., {spec.vectors}, D) "
            f"with D > 0: {spec.vectors} vectors for each example; numpy.stack(vectors, axis=-2) "
            "makes one array of them"
        )
    shape: tuple[int, ...] = p.shape[:-2]
    if t.shape != shape:
        raise ValueError(
            f"targets have the shape {t.shape}, expected {shape}: that of the predictions, "
            f"{p.shape}, without the last two axes"
        )
    return shape


def _check_embeddings(request: Request, p: Array, t: Array) -> tuple[int, ...]:
    """Check the operands of a loss of a batch's similarities; return the shape of its losses."""
    name = request.spec.name
    if name_of(t.dtype) not in INTEGERS:
        _refuse_dtype("targets", t, "labels of an integer dtype")
    if p.ndim != 2 or p.shape[1] == 0:
        raise ValueError(
            f"{name}: predictions have the shape {p.shape}, expected (N, D) with D > 0: an "
            "embedding for each example; reshape them"
        )
    if t.shape != p.shape[:1]:
        raise ValueError(
            f"targets have the shape {t.shape}, expected {p.shape[:1]}: a label for each example"
        )
    shape: tuple[int, ...] = t.shape
    return shape


def _check_array_options(loss: str, operands: Operands) -> None:
    shape = operands.predictions.shape
    for name, array in operands.array_options.items():
        _check_broadcast(f"{loss}: {name}", array, shape, "the predictions")


def _check_broadcast(role: str, array: Array, shape: tuple[int, ...], of: str) -> None:
    extra = array.ndim - len(shape)
    fits = extra <= 0 and all(
        given in (1, wanted) for given, wanted in zip(array.shape[::-1], shape[::-1], strict=False)
    )
    if not fits:
        raise ValueError(
            f"{role} has the shape {array.shape}, which does not broadcast to that of {of}, {shape}"
        )


def _check_weight(weight: Array | None, shape: tuple[int, ...]) -> None:
    if weight is not None:
        check_real("sample_weight", weight)
        _check_broadcast("sample_weight", weight, shape, "the unreduced loss")


def _check_upstream(reduction: str, upstream: Array | None, shape: tuple[int, ...]) -> None:
    if upstream is None:
        return
    check_real("grad_output", upstream)
    if upstream.ndim == 0:
        return
    if reduction != "none":
        raise ValueError(
            f'grad_output must be a scalar for reduction="{reduction}", not an array of shape '
            f"{upstream.shape}"
        )
    if upstream.shape != shape:
        raise ValueError(
            f"grad_output has the shape {upstream.shape}, expected a scalar or {shape}, the "
            "shape of the unreduced loss"
        )


def _check_out(role: str, out: Array, predictions: Array) -> None:
    if out.shape != predictions.shape:
        raise ValueError(
            f"{role} has the shape {out.shape}, expected that of the predictions, "
            f"{predictions.shape}"
        )
    if name_of(out.dtype) != name_of(predictions.dtype):
        raise TypeError(
            f"{role} is {name_of(out.dtype)}, expected {name_of(predictions.dtype)}, the dtype "
            "of the predictions"
        )
    steps = zip(out.strides, out.shape, strict=True)
    if out.size > 0 and any(step == 0 and n > 1 for step, n in steps):
        raise ValueError(
            f"{role} has a zero stride: several elements share one place; pass an array of its own"
        )


def real_of(predictions: Array) -> np.dtype[Any]:
    """Return the dtype in which these predictions are computed."""
    return real_dtype(name_of(predictions.dtype))


# --- memory -----------------------------------------------------------------------------


def check_overlap(operands: Operands) -> None:
    """Refuse an `out` that is read-only, or that shares memory with an input it is not."""
    p, t, w, u, grad, hess, arrays = operands
    for out in (grad,) if hess is None else (grad, hess):
        if out is None:
            continue
        if not out.flags.writeable:
            raise ValueError("out is read-only; pass a writable array")
        # By their bounds first: small calls notice.
        if np.may_share_memory(out, t):
            _refuse_shared(out, "targets", t)
        if (
            out is not p
            and np.may_share_memory(out, p)
            and np.shares_memory(out, p)
            and not _same(out, p)
        ):
            raise ValueError(
                "out shares memory with predictions without being the same array; pass "
                "out=predictions to work in place, or an array of its own"
            )
        if w is not None:
            _refuse_shared(out, "sample_weight", w)
        if u is not None:
            _refuse_shared(out, "grad_output", u)
        for name, array in arrays.items():
            _refuse_shared(out, name, array)
    if grad is not None and hess is not None and np.shares_memory(grad, hess):
        raise ValueError("out: gradient and hessian share memory; pass two arrays")


def _refuse_shared(out: Array, role: str, array: Array) -> None:
    if np.shares_memory(out, array):
        raise ValueError(f"out shares memory with {role}; pass an array of its own")


def _same(a: Array, b: Array) -> bool:
    return a.ctypes.data == b.ctypes.data and a.strides == b.strides
