"""fastloss: the fastest loss functions in Python.

A loss is a value, a gradient and, for boosters, a curvature, computed together in one pass
over the predictions, where the array already lives.

>>> import numpy as np
>>> import fastloss as fl
>>> logits, targets = np.zeros((2, 4), np.float32), np.array([1, 3])
>>> loss, grad = fl.cross_entropy.value_and_grad(logits, targets)
>>> round(float(loss), 4), grad[0].tolist()
(1.3863, [0.125, -0.375, 0.125, 0.125])
"""

from __future__ import annotations

import importlib
from typing import Any

from fastloss.config import config
from fastloss.errors import DeviceError
from fastloss.loss import Loss, registered
from fastloss.losses.binary import *
from fastloss.losses.boxes import *
from fastloss.losses.class_margins import *
from fastloss.losses.classification import *
from fastloss.losses.confidence import *
from fastloss.losses.distances import *
from fastloss.losses.divergences import *
from fastloss.losses.likelihoods import *
from fastloss.losses.margins import *
from fastloss.losses.multilabel import *
from fastloss.losses.ranking import *
from fastloss.losses.regions import *
from fastloss.losses.regression import *
from fastloss.losses.robust import *
from fastloss.losses.similarity import *
from fastloss.pointwise import pointwise_loss

__version__ = "0.1.0"

#: Every loss of the package, as a tuple: `losses()`.
losses = registered


#: Modules that are at hand without an import of their own, and cost nothing until asked for.
_LAZY = ("jit", "metrics", "objectives")


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return importlib.import_module(f"fastloss.{name}")
    raise AttributeError(f"module 'fastloss' has no attribute {name!r}")


__all__ = ["DeviceError", "Loss", "config", "losses", "pointwise_loss"]
__all__ += [loss.name for loss in losses()]
