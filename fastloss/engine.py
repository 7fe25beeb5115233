"""From a public call to a result: where do the arrays live, is the call sound, who computes.

A call that has been seen before (same loss, options, dtypes, shapes and strides) finds its
plan in a table: its checks are done and its kernel is chosen.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from fastloss import checks
from fastloss.arrays import CPU, Array, Kind, kind_of
from fastloss.errors import DeviceError
from fastloss.spec import Operands, Request, Results, Spec, Want

#: The module that computes on each kind of device; its `plan` is the door.
TARGETS = {"cpu": "fastloss.cpu", "cuda": "fastloss.cuda"}

_NO_OPTIONS: Mapping[str, Any] = {}
_MANY_PLANS = 1024


class Plan(Protocol):
    """A call made ready: what depends on the arrays' contents alone is left to do."""

    def run(self, operands: Operands, upstream: float) -> Results:
        """Compute."""


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
    kind = kind_of(predictions, "predictions")
    if kind.follows is not None and kind.follows(want, predictions, targets, sample_weight):
        return kind.follow(
            spec, want, predictions, targets, sample_weight, reduction, grad_output, out, options
        )
    return compute(
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
    kind = kind_of(predictions, "predictions")
    scalars: tuple[tuple[str, Any, Any], ...]
    if (
        type(predictions) is type(targets) is np.ndarray
        and sample_weight is grad_output is None
        and not options
        and (out is None or type(out) is np.ndarray)
    ):  # Nothing to read, and small calls notice.
        device, p, t, w, u, upstream = CPU, predictions, targets, None, None, 1.0
        grad_out, hess_out, arrays, scalars = out, None, _NO_OPTIONS, ()
    else:
        device = kind.device(predictions)
        p = read_on(device, kind, predictions, "predictions")
        t = read_on(device, kind_of(targets, "targets"), targets, "targets")
        w = None if sample_weight is None else read_weight(device, sample_weight)
        upstream, u = (1.0, None) if grad_output is None else read_upstream(device, grad_output)
        grad_out, hess_out = (None, None) if out is None else read_outputs(device, want, out)
        arrays, scalars = split_options(device, options) if options else (_NO_OPTIONS, ())
    operands = Operands(p, t, w, u, grad_out, hess_out, arrays)

    key = (
        device, spec, want, reduction, p.dtype, p.shape, p.strides, t.dtype, t.shape, t.strides,
        None if w is None else signature(w), None if u is None else signature(u),
        None if grad_out is None else signature(grad_out),
        None if hess_out is None else signature(hess_out), scalars,
        tuple([(name, signature(a)) for name, a in arrays.items()]) if arrays else None,
    )  # fmt: skip
    try:
        plan = _plans.get(key)
    except TypeError:  # an option or a reduction that cannot be hashed: the checks refuse it
        plan = None
    if plan is None:
        plan = make_plan(
            spec,
            want,
            reduction,
            device,
            operands,
            {name: value for name, value, _ in scalars},
            options,
        )
        if len(_plans) >= _MANY_PLANS:
            _plans.clear()
        _plans[key] = plan
    if out is not None:
        checks.check_overlap(operands)
    loss, grad, hess = plan.run(operands, upstream)
    return (
        None if loss is None else kind.give(loss),
        give_gradient(kind, grad, grad_out, out, 0),
        give_gradient(kind, hess, hess_out, out, 1),
    )


def make_plan(
    spec: Spec,
    want: Want,
    reduction: str,
    device: str,
    operands: Operands,
    scalars: Mapping[str, Any],
    given: Mapping[str, Any],
) -> Plan:
    """Check everything that does not depend on the arrays' contents, and choose a kernel."""
    request = checked_request(spec, want, reduction, operands, scalars, given)
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


def signature(array: Array) -> tuple[Any, ...]:
    """What a plan depends on in an array."""
    return array.dtype, array.shape, array.strides


# --- arguments --------------------------------------------------------------------------


def target_of(device: str) -> str:
    """Return the kind of a device: "cuda" of "cuda:1"."""
    return device.partition(":")[0]


def read_on(device: str, kind: Kind, array: Any, role: str) -> Array:
    """Read an array that must live on `device`."""
    where = kind.device(array)
    if where != device:
        raise DeviceError(
            f"predictions are on {device} but {role} on {where}; move them to one device"
        )
    if target_of(device) not in TARGETS:
        raise DeviceError(
            f"{role} are on {device}, where this version of fastloss cannot compute (only on "
            f"{', '.join(TARGETS)}); copy them to the CPU first"
        )
    return kind.read(array, role)


def read_weight(device: str, weight: Any) -> Array:
    """Read `sample_weight`; a Python number is a weight as well."""
    if isinstance(weight, (int, float)):
        return np.asarray(weight, np.float64)
    return read_on(device, kind_of(weight, "sample_weight"), weight, "sample_weight")


def read_upstream(device: str, upstream: Any) -> tuple[float, Array | None]:
    """Split `grad_output` into a scalar, or 1 and an array."""
    if isinstance(upstream, (int, float)):
        return float(upstream), None
    array = read_on(device, kind_of(upstream, "grad_output"), upstream, "grad_output")
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
    kind = kind_of(array, "out")
    read_on(device, kind, array, "out")
    return kind.read_out(array)


def split_options(
    device: str, options: Mapping[str, Any]
) -> tuple[dict[str, Array], tuple[tuple[str, Any, Any], ...]]:
    """Split the options that were given into arrays and (name, value, type) triples.

    The type of a tuple is that of each entry.
    """
    arrays, scalars = {}, []
    for name, value in options.items():
        if value is not None and not isinstance(value, (int, float, str, tuple)):
            array = read_on(device, kind_of(value, name), value, name)
            if array.ndim > 0 or device != CPU:
                arrays[name] = array
                continue
            value = checks.as_scalar(array)
        # With its type: 1, 1.0 and True are equal, but not equally good.
        kind = tuple(map(type, value)) if isinstance(value, tuple) else type(value)
        scalars.append((name, value, kind))
    return arrays, tuple(scalars)


def give_gradient(kind: Kind, result: Array | None, written: Array | None, out: Any, k: int) -> Any:
    """Return what was given as `out`, or the new array as one of the predictions' kind."""
    if result is None:
        return None
    if written is not None:
        return out[k] if isinstance(out, tuple) else out
    return kind.give(result)
