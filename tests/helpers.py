"""What every test file needs.

Dtypes and their rounding, comparison, awkward memory layouts, fresh processes.
"""

import importlib
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from numba import cfunc

from fastloss.cpu import compile as compilation

FLOAT64, FLOAT32, FLOAT16 = (np.dtype(d) for d in (np.float64, np.float32, np.float16))
BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
DTYPES = (FLOAT64, FLOAT32, FLOAT16, BFLOAT16)
EPS = {d: float(ml_dtypes.finfo(d).eps) for d in DTYPES}
LARGEST = {d: float(ml_dtypes.finfo(d).max) for d in DTYPES}
TINY = {d: float(ml_dtypes.finfo(d).smallest_subnormal) for d in DTYPES}


def each(name: str, values) -> pytest.MarkDecorator:
    """Parametrize over values that name themselves."""
    return pytest.mark.parametrize(name, list(values), ids=str)


each_dtype = each("dtype", DTYPES)


def loss_dtype(dtype) -> np.dtype:
    """float64 in gives a float64 loss, every narrower float a float32 one."""
    return FLOAT64 if np.dtype(dtype) == FLOAT64 else FLOAT32


def working_eps(dtype) -> float:
    """The epsilon of the arithmetic: narrow floats are computed in float32."""
    return EPS[loss_dtype(dtype)]


def f64(array) -> np.ndarray:
    """The exact value of an array of any of the four dtypes, in float64."""
    return np.asarray(array).astype(np.float64)


def assert_close(actual, expected, scale, worked_in, ulps=4, what="result"):
    """Allow `ulps` roundings of the working precision relative to `scale`, and one rounding into
    actual's dtype.

    nan and infinities must match exactly, overflow into an inf of actual's dtype included.
    There is no other slack: an `actual` in bfloat16 must be the float32 answer rounded once.
    """
    actual = np.asarray(actual)
    expected, scale = np.broadcast_arrays(
        np.asarray(expected, np.float64), np.asarray(scale, np.float64)
    )
    assert actual.shape == expected.shape, (
        f"{what}: shape {actual.shape}, expected {expected.shape}"
    )
    got, dtype = f64(actual), actual.dtype
    expected = np.where(np.abs(expected) > LARGEST[dtype], np.copysign(np.inf, expected), expected)
    finite = np.isfinite(expected)
    np.testing.assert_array_equal(got[~finite], expected[~finite], err_msg=f"{what}: nan and inf")
    rounding = 0.5 * EPS[dtype] * np.abs(expected[finite]) + 0.5 * TINY[dtype]
    bound = (
        ulps * working_eps(worked_in) * scale[finite] * (1 + EPS[dtype])
        + rounding
        + TINY[loss_dtype(worked_in)]
    )
    error = np.abs(got[finite] - expected[finite])
    bad = ~(error <= bound)
    if bad.any():
        worst = np.argmax(np.where(bad, error / bound, 0))
        raise AssertionError(
            f"{what}: {bad.sum()} of {error.size} wrong; worst {got[finite][worst]!r}, "
            f"expected {expected[finite][worst]!r}, error {error[worst]:.3g}, "
            f"allowed {bound[worst]:.3g}"
        )


def assert_same_bits(actual, expected):
    """Equal bit for bit, nan and the sign of zero included."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.dtype == expected.dtype and actual.shape == expected.shape
    assert actual.tobytes() == expected.tobytes()


class Unchanged:
    """Context: none of the arrays may change inside it."""

    def __init__(self, *arrays):
        self.arrays = [a for a in arrays if isinstance(a, np.ndarray)]

    def __enter__(self):
        self.before = [a.tobytes() for a in self.arrays]

    def __exit__(self, *exception):
        for array, before in zip(self.arrays, self.before, strict=True):
            assert array.tobytes() == before, "an input was written"


# Memory layouts: each returns an array of equal values laid out differently.


def fortran(a):
    return np.asfortranarray(a)


def reversed_strides(a):
    """Negative strides on every axis."""
    flip = (slice(None, None, -1),) * a.ndim
    return np.ascontiguousarray(a[flip])[flip]


def strided(a):
    """Every other element of a larger array, on every axis."""
    big = np.zeros(tuple(2 * n for n in a.shape), a.dtype)
    view = big[(slice(None, None, 2),) * a.ndim]
    view[...] = a
    return view


def read_only(a):
    b = a.copy()
    b.flags.writeable = False
    return b


def misaligned(a):
    """Data that starts one byte off."""
    raw = np.zeros(a.nbytes + 1, np.uint8)[1:]
    view = raw.view(a.dtype).reshape(a.shape) if a.size else a
    view[...] = a
    return view


def swapped_axes(a):
    """The memory order of the transposed array, which for more than two axes is neither C nor
    Fortran.
    """
    return np.ascontiguousarray(a.swapaxes(0, -1)).swapaxes(0, -1) if a.ndim > 1 else strided(a)


LAYOUTS = {
    f.__name__: f for f in (fortran, reversed_strides, strided, read_only, misaligned, swapped_axes)
}
WRITABLE_LAYOUTS = {name: f for name, f in LAYOUTS.items() if f is not read_only}


def compiled_anew(kernel):
    """A kernel as Numba compiles it now: of what comes from its cache it shows nothing."""
    compilation.vector_math()
    return cfunc(compilation._SIGNATURE, **compilation.OPTIONS)(kernel.make())


def libraries(library):
    """The library and all that were linked into it, and into them."""
    found = {id(library): library}
    for linked in library._linking_libraries:
        found.update((id(one), one) for one in libraries(linked))
    return found.values()


def run_python(
    code: str, timeout=300, check=True, python_path=None, **environment
) -> subprocess.CompletedProcess:
    """Run code in a fresh interpreter that sees this package.

    Its output on failure is the test's message.
    """
    root = Path(python_path or Path(importlib.import_module("fastloss").__file__).parent.parent)
    env = os.environ | {"PYTHONPATH": str(root)} | {k: str(v) for k, v in environment.items()}
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=timeout,
        env=env,
        cwd=root if python_path else None,
    )
    if check:
        assert result.returncode == 0, (
            f"exit code {result.returncode}\n{result.stdout}\n{result.stderr}"
        )
    return result
