"""From a public call to a result: where do the arrays live, is the call sound, who computes.

A call that has been seen before (same loss, options, dtypes, shapes and strides) finds its
plan in a table: its checks are done and its kernel is chosen.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np

from fastloss import checks
from fastloss.arrays import CPU, Array, Door, Kind, kind_of
from fastloss.errors import DeviceError
from fastloss.spec import Operands, Request, Results, Spec, Want

#: The module that computes on each kind of device; its `plan` is the door.
TARGETS = {"cpu": "fastloss.cpu", "cuda": "fastloss.cuda"}

#: Options as (name, value, type): 1, 1.0 and True are equal, but not equally good.
_Scalars = tuple[tuple[str, Any, Any], ...]

_NO_ARRAYS: Mapping[str, Array] = {}
_NO_SCALARS: _Scalars = ()
_ndarray = np.ndarray

#: NumPy's numbers are numbers, beside arrays on any device.
_NUMPY_NUMBERS = np.bool_, np.integer, np.floating
_NUMBERS = int, float, *_NUMPY_NUMBERS

#: Makes a NamedTuple without its own constructor, which is a function in Python.
_tuple_new: Callable[..., Any] = tuple.__new__

_MANY_PLANS = 1024


class Plan(Protocol):
    """A call made ready: what depends on the arrays' memory is left to do."""

    def run(self, operands: Operands, upstream: float) -> Results:
        """Refuse what `check_overlap` does not allow; compute."""


_plans: dict[Any, Plan] = {}


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
    """Return (loss, gradient, hessian) as arrays of the predictions' kind.

    Where the predictions' library has to see the call, to differentiate or to trace it, the
    library's own door is taken.
    """
    take: Door = compute
    if type(predictions) is not _ndarray:
        kind = kind_of(predictions, "predictions")
        door = kind.door(want, predictions, (targets, sample_weight, grad_output), options)
        take = door or compute
    return take(
        spec, want, predictions, targets, sample_weight, reduction, grad_output, out, options
    )


def compute(
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
    """Return (loss, gradient, hessian), computed at once from what lies in memory."""
    plain = (
        type(predictions) is type(targets) is _ndarray
        and sample_weight is grad_output is None
        and not options
        and (out is None or type(out) is _ndarray)
    )
    if plain:  # Nothing to read or to give, and small calls notice.
        device, upstream, scalars = CPU, 1.0, _NO_SCALARS
        p, t, w, u, grad_out, hess_out, arrays = operands = _tuple_new(
            Operands, (predictions, targets, None, None, out, None, _NO_ARRAYS)
        )
    else:
        kind = kind_of(predictions, "predictions")
        device, operands, upstream, scalars = read(
            kind, want, predictions, targets, sample_weight, grad_output, out, options
        )
        p, t, w, u, grad_out, hess_out, arrays = operands
    key = (
        device, spec, want, reduction, scalars,
        p.dtype, p.shape, p.strides, t.dtype, t.shape, t.strides,
        None if grad_out is None else (grad_out.dtype, grad_out.shape, grad_out.strides),
        None if w is u is hess_out is None and not arrays else (
            signature(w), signature(u), signature(hess_out),
            tuple([(name, signature(array)) for name, array in arrays.items()]),
        ),
    )  # fmt: skip
    try:
        plan = _plans.get(key)
    except TypeError:  # an option or a reduction that cannot be hashed: the checks refuse it
        plan = None
    if plan is None:
        plan = make_plan(spec, want, reduction, device, operands, scalars, options)
        remember(_plans, key, plan)
    results = plan.run(operands, upstream)
    if plain:
        return results
    loss, grad, hess = results
    return (
        None if loss is None else kind.give(loss, predictions),
        None if grad is None else give_gradient(kind, grad, predictions, grad_out, out, 0),
        None if hess is None else give_gradient(kind, hess, predictions, hess_out, out, 1),
    )


def remember(plans: dict[Any, Any], key: Any, plan: Any) -> None:
    """Keep a plan in a table, which starts again where it has many."""
    if len(plans) >= _MANY_PLANS:
        plans.clear()
    plans[key] = plan


def make_plan(
    spec: Spec,
    want: Want,
    reduction: str,
    device: str,
    operands: Operands,
    scalars: _Scalars,
    given: Mapping[str, Any],
) -> Plan:
    """Check everything that does not depend on the arrays' contents, and choose a kernel."""
    numbers = {name: value for name, value, _ in scalars}
    request = checked_request(spec, want, reduction, operands, numbers, given)
    target = importlib.import_module(TARGETS[target_of(device)])
    plan: Plan = target.plan(request, operands)
    return plan


def checked_request(
    spec: Spec,
    want: Want,
    reduction: str,
    operands: Operands,
    scalars: Mapping[str, Any],
    given: Mapping[str, Any],
) -> Request:
    """Check a call by its options and by the shapes and dtypes of its arrays."""
    checks.check_reduction(spec.name, reduction)
    filled = checks.fill_options(spec, scalars, operands.array_options, given)
    request = Request(spec, want, reduction, filled)
    checks.check_operands(request, operands)
    return request


def signature(array: Array | None) -> tuple[Any, ...] | None:
    """What a plan depends on in an array; a number beside CUDA arrays is one of NumPy."""
    return None if array is None else (type(array), array.dtype, array.shape, array.strides)


# --- arguments --------------------------------------------------------------------------


def read(
    kind: Kind,
    want: Want,
    predictions: Any,
    targets: Any,
    sample_weight: Any,
    grad_output: Any,
    out: Any,
    options: Mapping[str, Any],
) -> tuple[str, Operands, float, _Scalars]:
    """Return the device, the arrays, the upstream number, and the options that are no arrays."""
    device = kind.device(predictions)
    if device not in TARGETS and target_of(device) not in TARGETS:
        raise DeviceError(
            f"predictions are on {device}, where this version of fastloss cannot compute (only on "
            f"{', '.join(TARGETS)}); copy them to the CPU first"
        )
    p = kind.read(predictions, "predictions")
    t = read_on(device, targets, "targets")
    w = None if sample_weight is None else read_weight(device, sample_weight)
    upstream, u = (1.0, None) if grad_output is None else read_upstream(device, grad_output)
    grad_out, hess_out = (None, None) if out is None else read_outputs(device, want, out)
    arrays, scalars = split_options(device, options) if options else (_NO_ARRAYS, _NO_SCALARS)
    return device, _tuple_new(Operands, (p, t, w, u, grad_out, hess_out, arrays)), upstream, scalars


def target_of(device: str) -> str:
    """Return the kind of a device: "cuda" of "cuda:1"."""
    return device.partition(":")[0]


def read_on(device: str, array: Any, role: str) -> Array:
    """Read an array that must live on `device`."""
    kind = kind_of(array, role)
    where = kind.device(array)
    if where != device:
        raise DeviceError(
            f"predictions are on {device} but {role} on {where}; move them to one device"
        )
    return kind.read(array, role)


def read_weight(device: str, weight: Any) -> Array:
    """Read `sample_weight`; a Python number is a weight as well."""
    if isinstance(weight, _NUMBERS):
        return np.asarray(checks.as_number("sample_weight", weight))
    return read_on(device, weight, "sample_weight")


def read_upstream(device: str, upstream: Any) -> tuple[float, Array | None]:
    """Split `grad_output` into a scalar, or 1 and an array."""
    if isinstance(upstream, _NUMBERS):
        return checks.as_number("grad_output", upstream), None
    array = read_on(device, upstream, "grad_output")
    if array.ndim == 0 and device == CPU:  # elsewhere, to look at it would be to wait
        return float(checks.as_scalar(checks.check_real("grad_output", array))), None
    return 1.0, array


def read_outputs(device: str, want: Want, out: Any) -> tuple[Array | None, Array | None]:
    """Read `out`: one array, or a pair of them for gradient and hessian."""
    if isinstance(out, tuple):
        if not want.hess or len(out) != 2:
            raise TypeError(
                "out must be one array; only grad_and_hess takes a pair (gradient, hessian)"
            )
        grad, hess = out
    else:
        grad, hess = out, None
    return tuple(  # type: ignore[return-value]
        None if array is None else _read_output(device, array) for array in (grad, hess)
    )


def _read_output(device: str, array: Any) -> Array:
    read_on(device, array, "out")
    return kind_of(array, "out").read_out(array)


def split_options(device: str, options: Mapping[str, Any]) -> tuple[Mapping[str, Array], _Scalars]:
    """Split the options that were given into arrays and numbers or words.

    The type of a tuple is that of each entry.
    """
    arrays, scalars = {}, []
    for name, value in options.items():
        value = value.item() if isinstance(value, _NUMPY_NUMBERS) else value
        if value is not None and not isinstance(value, (int, float, str, tuple)):
            array = read_on(device, value, name)
            if array.ndim > 0 or device != CPU:
                arrays[name] = array
                continue
            value = checks.as_scalar(array)
        # With its type: 1, 1.0 and True are equal, but not equally good.
        kind = tuple(map(type, value)) if isinstance(value, tuple) else type(value)
        scalars.append((name, value, kind))
    return arrays, tuple(scalars)


def filled_options(spec: Spec, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return every option that is no array, checked, with the defaults of those not given."""
    arrays, scalars = split_options(CPU, given)
    return checks.fill_options(spec, {name: value for name, value, _ in scalars}, arrays, given)


def give_gradient(
    kind: Kind, result: Array, predictions: Any, written: Array | None, out: Any, k: int
) -> Any:
    """Return what was given as `out`, or the new array as one of the predictions' kind."""
    if written is None:
        return kind.give(result, predictions)
    given = out[k] if isinstance(out, tuple) else out
    kind_of(given, "out").wrote(given)
    return given
