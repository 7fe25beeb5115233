"""Objectives as a good NumPy program writes them, in each library's own layout."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def xgboost_softmax(labels: Array, scores: Array) -> tuple[Array, Array]:
    """Float32 (N, C) in C order, hessian max(2 p (1 - p), 1e-16)."""
    p = scores - scores.max(axis=1, keepdims=True)
    np.exp(p, out=p)
    p /= p.sum(axis=1, keepdims=True)
    hess = 1.0 - p
    hess *= p
    hess *= 2.0
    np.maximum(hess, np.float32(1e-16), out=hess)
    p[np.arange(len(p)), labels.astype(np.int64)] -= 1.0
    return p, hess


def lightgbm_softmax(labels: Array, scores: Array) -> tuple[Array, Array]:
    """Float64 (N, C) in Fortran order, hessian p (1 - p) C / (C - 1)."""
    z = scores.T  # (C, N) in C order
    p = z - z.max(axis=0)
    np.exp(p, out=p)
    p /= p.sum(axis=0)
    hess = 1.0 - p
    hess *= p
    hess *= len(p) / (len(p) - 1)
    p[labels.astype(np.int64), np.arange(p.shape[1])] -= 1.0
    return p.T, hess.T


def logistic(labels: Array, scores: Array) -> tuple[Array, Array]:
    """(N,) scores, hessian max(p (1 - p), 1e-16)."""
    p = np.exp(-scores)
    p += 1.0
    np.reciprocal(p, out=p)
    hess = p * (1.0 - p)
    np.maximum(hess, p.dtype.type(1e-16), out=hess)
    p -= labels
    return p, hess
