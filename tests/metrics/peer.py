"""Comparison with the installed scikit-learn: the same number, or the same error or warning."""

import inspect
import warnings

import numpy as np
from sklearn import metrics as sklearn_metrics

import fastloss as fl


def ours(name):
    return getattr(fl.metrics, name)


def theirs(name):
    return getattr(sklearn_metrics, name)


def outcome(metric, args, kwargs):
    """(what came of the call, its warnings)."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            result = metric(*args, **kwargs)
        except Exception as error:
            result = type(error), str(error)
    return result, [(w.category, str(w.message)) for w in caught]


def rounding(*arrays):
    """The epsilon in which scikit-learn computes with these arrays."""
    floating = [a.dtype for a in map(np.asarray, arrays) if a.dtype.kind == "f"]
    narrow = floating and np.result_type(*floating) == np.float32
    return float(np.finfo(np.float32 if narrow else np.float64).eps)


def check_same(name, *args, **kwargs):
    """The metric gives what scikit-learn's does, to rounding, and leaves the inputs as they are."""
    copies = [a.copy() if isinstance(a, np.ndarray) else a for a in args]
    expected, warned = outcome(theirs(name), args, kwargs)
    actual, warned_of = outcome(ours(name), args, kwargs)
    assert warned_of == warned
    if isinstance(expected, tuple):
        assert actual == expected, "another error"
        return expected
    assert type(actual) is type(expected)
    assert getattr(actual, "dtype", None) == getattr(expected, "dtype", None)
    # Losses of labels are computed in the predictions' precision, errors in that of all arrays;
    # scikit-learn's own sum over N rows in that precision is off by some sqrt(N) eps.
    weights = () if kwargs.get("sample_weight") is None else (kwargs["sample_weight"],)
    slack = 64 * rounding(*((*args[:2], *weights) if name.startswith("mean") else args[1:2]))
    np.testing.assert_allclose(actual, expected, rtol=slack, atol=slack)
    for array, copy in zip(args, copies, strict=True):
        if isinstance(array, np.ndarray):
            np.testing.assert_array_equal(array, copy, err_msg="an input was written")
    return expected


def parameters(metric):
    return {
        name: (parameter.kind, parameter.default)
        for name, parameter in inspect.signature(metric).parameters.items()
    }
