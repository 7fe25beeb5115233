"""Sentences that the docstrings of several losses share."""

from __future__ import annotations

ARRAYS = """Parameters
        ----------
        predictions : array, any shape, float64, float32, float16 or bfloat16
        targets : array of the same shape, any real dtype"""

CALL = """sample_weight, reduction, grad_output, out
            See `fastloss.loss.Loss`."""

OF_CLASSES = f"""axis : int, default -1
        {CALL}"""

ERRORS = """Raises
        ------
        TypeError, ValueError
            For dtypes, shapes and options that do not fit; targets do not broadcast."""

SIGN_ERRORS = """Raises
        ------
        TypeError, ValueError
            For dtypes, shapes and options that do not fit, and for targets other than -1 and
            +1; the error names the first."""

CLASS_ERRORS = """Raises
        ------
        TypeError, ValueError
            For dtypes, shapes and options that do not fit."""

INDEX_ERRORS = """Raises
        ------
        IndexError
            If a class index is neither in [0, C) nor `ignore_index`; nothing is written.
        TypeError, ValueError
            For dtypes, shapes and options that do not fit."""
