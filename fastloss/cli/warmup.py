"""``python -m fastloss warmup``: compile ahead, so that the first call of a program need not."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastloss as fl
from fastloss.cli.progress import with_progress
from fastloss.cpu.compile import cache_directory
from fastloss.dtypes import numpy_dtype
from fastloss.loss import Loss
from fastloss.spec import ClassSpec, DistanceSpec, SimilaritySpec

DTYPES = ("float64", "float32", "float16", "bfloat16")

#: Few and many classes have kernels of their own, and so have small inputs and those worth threads.
SHAPES = ((4, 10), (4, 4000), (40_000, 10), (200, 4000))

#: Examples for a loss whose work grows with their square.
FEW = 256

#: What a program may ask of a loss; each has a kernel of its own.
CALLS: dict[str, Callable[[Loss, Any, Any], Any]] = {
    "value": lambda loss, p, t: loss(p, t),
    "rows": lambda loss, p, t: loss(p, t, reduction="none"),
    "value_and_grad": lambda loss, p, t: loss.value_and_grad(p, t),
    "grad": lambda loss, p, t: loss.grad(p, t),
    "grad_and_hess": lambda loss, p, t: loss.grad_and_hess(p, t),
}


@dataclass(frozen=True)
class _Job:
    """One kind of call, on all shapes."""

    loss: Loss
    dtype: np.dtype[Any]
    call: str

    def __str__(self) -> str:
        return f"{self.loss.name} {self.dtype.name} {self.call}"

    def run(self) -> None:
        for shape in SHAPES:
            CALLS[self.call](self.loss, *_arguments(self.loss, shape, self.dtype))


def warm_up(dtypes: Sequence[str], names: Sequence[str] | None = None) -> int:
    """Call the named losses (None: all) in every way, for every dtype of the predictions."""
    try:
        losses = _choose(names)
        jobs = [
            _Job(loss, numpy_dtype(d), call) for d in dtypes for loss in losses for call in CALLS
        ]
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    folder = cache_directory()
    if folder is None:
        print(
            "what is compiled could not be kept: no folder can be written; set NUMBA_CACHE_DIR "
            "to one that can",
            file=sys.stderr,
        )
        return 1
    started = perf_counter()
    for job in with_progress(jobs):
        job.run()
    print(f"compiled in {perf_counter() - started:.1f} s; the cache is {folder}")
    return 0


def _choose(names: Sequence[str] | None) -> list[Loss]:
    known = {loss.name: loss for loss in fl.losses()}
    if names is None:
        return list(known.values())
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"no loss is called {', '.join(unknown)}; there are {', '.join(known)}")
    return [known[name] for name in names]


def _arguments(
    loss: Loss, shape: tuple[int, int], dtype: np.dtype[Any]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return predictions and targets that every loss accepts, as logits or as probabilities."""
    if isinstance(loss.spec, DistanceSpec):
        vectors = np.full((shape[0], loss.spec.vectors, shape[1]), 0.5, dtype)
        return vectors, np.zeros(shape[0], np.int64)
    if isinstance(loss.spec, SimilaritySpec):
        n = min(shape[0], FEW)
        return np.full((n, shape[1]), 0.5, dtype), np.arange(n) // 2
    if isinstance(loss.spec, ClassSpec):
        shape = (shape[0], loss.spec.classes or shape[1])
        if loss.spec.indices:
            return np.full(shape, 1 / shape[1], dtype), np.zeros(shape[0], np.int64)
    return np.full(shape, 0.5, dtype), np.ones(shape, dtype)
