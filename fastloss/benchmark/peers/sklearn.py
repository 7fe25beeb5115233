"""scikit-learn's compiled losses, `sklearn._loss`, into arrays that are there."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn._loss.loss import HalfBinomialLoss, HalfMultinomialLoss, HalfSquaredError

from fastloss.benchmark.inputs import Inputs
from fastloss.benchmark.peers import Peer, Unsupported

ELEMENTWISE = {"mse": HalfSquaredError, "binary_cross_entropy_with_logits": HalfBinomialLoss}

WORTH_THREADS = 20_000


def make_peer(inputs: Inputs) -> Peer:
    """Return `loss` and `loss_gradient` on all threads."""
    function = _function(inputs)
    p = inputs.predictions
    # scikit-learn takes class indices as floats of the predictions' dtype. The weights make
    # a mean of it without another pass over the gradient.
    t = inputs.targets.astype(p.dtype)
    weight = np.full(inputs.examples, 1 / inputs.examples, p.dtype)
    losses, grad = np.empty(inputs.examples, p.dtype), np.empty_like(p)
    # Starting threads costs scikit-learn more than a small case takes.
    threads = inputs.threads if p.size >= WORTH_THREADS else 1

    def forward() -> Any:
        return function.loss(t, p, weight, losses, n_threads=threads).sum()

    def gradient() -> tuple[Any, Any]:
        function.loss_gradient(t, p, weight, losses, grad, n_threads=threads)
        return losses.sum(), grad

    return Peer(forward, gradient, allocates=False)


def _function(inputs: Inputs) -> Any:
    case = inputs.case
    if case.dtype not in ("float32", "float64"):
        raise Unsupported(f"scikit-learn has no {case.dtype}")
    if case.soft:
        raise Unsupported("scikit-learn has no probability targets")
    if case.loss == "cross_entropy":
        if len(case.shape) != 2:
            raise Unsupported("scikit-learn takes a matrix of logits only")
        return HalfMultinomialLoss(n_classes=case.shape[1])
    if case.loss not in ELEMENTWISE:
        raise Unsupported("scikit-learn has no such loss")
    return ELEMENTWISE[case.loss]()
