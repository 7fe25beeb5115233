"""Element-wise losses out of scalar functions: the package's own and the user's."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from fastloss.checks import number
from fastloss.loss import Loss
from fastloss.spec import Domain, Formula, Option, PointwiseSpec

#: What a parameter of a user's loss may be: any finite number, or an array.
_ANY_NUMBER = number(array=True)

#: What its default may be, which stands for every element.
_DEFAULT = number()

#: Every loss by what it was made of, so that an unpickled one is compiled once in a process.
_made: dict[Any, Loss] = {}

#: What the calls of every loss have already.
_TAKEN = ("self", "predictions", "targets", "sample_weight", "reduction", "grad_output", "out")


def pointwise_loss(
    name: str,
    value: Formula,
    grad: Formula,
    hess: Formula | None = None,
    params: Iterable[Any] | Mapping[str, float] = (),
    *,
    domain: Domain | None = None,
    doc: str | None = None,
) -> Loss:
    """Make an element-wise loss out of scalar Python functions.

    The functions are compiled by Numba into the same kernels as the package's own losses,
    and the result has everything those have: dtypes, layouts, reductions, weights, threads.

    Parameters
    ----------
    name : str
        The name of the loss in errors and listings.
    value, grad, hess : callable
        ``f(prediction, target, *params)``: the loss of one element, its derivative by the
        prediction, and its second derivative; the last may be left out, then `Loss.grad_and_hess`
        is refused. They may use ``math`` and whatever else Numba compiles; the functions of
        `fastloss.jit` are faster, because loops over them vectorise. A bare float literal is
        a float64 to Numba: ``fastloss.jit.const(0.5, prediction)`` keeps float32 arithmetic.
        They may not raise: they return nan, or `domain` says what is refused. What they refer
        to by name has the value of when they are first compiled.
    params : iterable or mapping, default ()
        The options of the loss: names whose defaults are those in the signature of `value`,
        or (name, default) pairs. Given in a call as keywords, as numbers or as arrays that
        broadcast against the predictions.
    domain : Domain, optional
        Which values the loss accepts.
    doc : str, optional
        The docstring of the loss; default: that of `value`.

    Returns
    -------
    Loss
        The loss; the same one for the same functions and arguments. It can be pickled where its
        functions can. It is not added to `fastloss.losses()`.

    Raises
    ------
    TypeError
        If a function is missing or does not take two arguments and the parameters, or a default
        is no number; in the first call, if Numba cannot compile it to one that returns a number
        and never raises.
    ValueError
        If a default is not finite.

    Examples
    --------
    >>> import numpy as np
    >>> import fastloss as fl
    >>> def value(p, t, scale=1.0):
    ...     return scale * abs(p - t) ** 3
    >>> def grad(p, t, scale=1.0):
    ...     return 3 * scale * abs(p - t) * (p - t)
    >>> cubic = fl.pointwise_loss("cubic", value, grad, params=("scale",))
    >>> float(cubic(np.array([1.0, 3.0]), np.array([0.0, 1.0]), scale=2.0))
    9.0
    """
    if not isinstance(name, str):
        raise TypeError(f"name must be a string, not {type(name).__name__}")
    if domain is not None and not isinstance(domain, Domain):
        raise TypeError(f"{name}: domain must be a fastloss.spec.Domain, not {domain!r}")
    functions: list[Any] = [getattr(f, "py_func", f) for f in (value, grad, hess)]
    entries = _entries(params)
    options = tuple(_option(name, functions[0], entry) for entry in entries)
    _check_names(name, options)
    for role, function in zip(("value", "grad", "hess"), functions, strict=True):
        if function is not None or role != "hess":
            _check_signature(name, role, function, options)
    # By the defaults' text: 1, 1.0 and True are equal, but not equally good.
    key = name, *functions, repr(entries), domain, doc
    loss = _made.get(key)
    if loss is None:
        spec = PointwiseSpec(name, functions[0], functions[1], functions[2], options, domain)
        made_by = _again, (name, value, grad, hess, entries, domain, doc)
        text = doc if doc is not None else inspect.getdoc(functions[0])
        loss = _made.setdefault(key, Loss(spec, text, made_by))
    return loss


def _again(*arguments: Any) -> Loss:
    """Return the loss that was made of these: what an unpickled loss is."""
    *others, domain, doc = arguments
    return pointwise_loss(*others, domain=domain, doc=doc)


def _entries(params: Iterable[Any] | Mapping[str, float]) -> list[Any]:
    if isinstance(params, str):
        return [params]
    return list(params.items()) if isinstance(params, Mapping) else list(params)


def _option(name: str, value: Formula, entry: Any) -> Option:
    """Return the option that an entry of `params` stands for."""
    if isinstance(entry, Option):
        return entry
    if isinstance(entry, str):
        default = inspect.signature(value).parameters.get(entry)
        if default is None or default.default is inspect.Parameter.empty:
            raise TypeError(
                f"parameter {entry!r} has no default; give one in the signature of value, or "
                f"as ({entry!r}, default)"
            )
        return _checked_option(name, entry, default.default)
    try:
        option, default_value = entry
    except (TypeError, ValueError):
        raise TypeError(f"params takes names or (name, default) pairs, not {entry!r}") from None
    return _checked_option(name, option, default_value)


def _checked_option(name: str, option: str, default: Any) -> Option:
    if isinstance(default, np.generic):
        default = default.item()
    _DEFAULT(f"{name}: the default of {option!r}", default)
    return Option(option, default, _ANY_NUMBER)


def _check_names(name: str, options: tuple[Option, ...]) -> None:
    names = [option.name for option in options]
    for one in names:
        if one in _TAKEN:
            raise TypeError(f"{name}: {one!r} is an argument of every loss; rename the parameter")
        if names.count(one) > 1:
            raise TypeError(f"{name}: params names {one!r} more than once")


def _check_signature(name: str, role: str, function: Any, options: tuple[Option, ...]) -> None:
    if not inspect.isfunction(function):
        raise TypeError(
            f"{name}: {role} must be a function written in Python, not {function!r}; wrap it in one"
        )
    signature = inspect.signature(function)
    try:
        signature.bind(*range(2 + len(options)))
    except TypeError as error:
        raise TypeError(
            f"{name}: {role} must take (prediction, target) and {len(options)} parameters: {error}"
        ) from None
    given = [option.name for option in options]
    own = list(signature.parameters)[2:]
    # Functions are called by position, and may have names of their own.
    if any(one in own and own.index(one) != k for k, one in enumerate(given)):
        raise TypeError(
            f"{name}: {role} takes its parameters in the order {tuple(own)}, but params has "
            f"{tuple(given)}; give them in one order"
        )
