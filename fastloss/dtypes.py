"""The dtype rule, once: which dtypes a loss takes, computes in and returns."""

from __future__ import annotations

from typing import Any

import numpy as np

FLOATS = ("float64", "float32", "float16", "bfloat16")
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")

#: Marks the bits of a bfloat16 array whose library NumPy does not know (`ml_dtypes` absent).
BFLOAT16_BITS = np.dtype([("bfloat16", np.uint16)])

#: eps of each storage dtype.
EPS = {"float64": 2.0**-52, "float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}

_REAL = {"float64": np.dtype(np.float64)}
_NAMES: dict[np.dtype[Any], str] = {}


def name_of(dtype: np.dtype[Any]) -> str:
    """Return the name of `dtype`; one that is byte-swapped keeps its mark ('>f4')."""
    try:
        return _NAMES[dtype]
    except KeyError:
        name = "bfloat16" if dtype == BFLOAT16_BITS else dtype.name
        name = name if dtype.isnative else dtype.str
        return _NAMES.setdefault(dtype, name)


def real_dtype(name: str) -> np.dtype[Any]:
    """Return the dtype in which predictions of dtype `name` are computed and losses returned."""
    return _REAL.get(name, np.dtype(np.float32))


def numpy_dtype(name: str) -> np.dtype[Any]:
    """Return NumPy's dtype of that name; for bfloat16 that of ml_dtypes."""
    if name != "bfloat16":
        return np.dtype(name)
    try:
        import ml_dtypes
    except ImportError:
        raise ValueError("bfloat16 on NumPy needs ml_dtypes: pip install ml_dtypes") from None
    dtype: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
    return dtype
