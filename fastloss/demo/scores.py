"""How good predictions are on the test digits, and what guessing would reach."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastloss.demo.layers import Floats


def label_accuracy(logits: Floats, labels: NDArray[Any]) -> float:
    """Return the share of rows whose largest logit is that of the label."""
    return float((logits.argmax(axis=1) == labels).mean())


def sign_accuracy(scores: Floats, targets: Floats) -> float:
    """Return the share of scores on the right side of 0; a target above 0 means yes."""
    return float(((scores > 0) == (targets > 0)).mean())


def intersection_over_union(boxes: Floats, others: Floats) -> Floats:
    """Return the IoU of each pair of boxes (N, 4): top, left, bottom, right."""
    upper = np.maximum(boxes[:, :2], others[:, :2])
    lower = np.minimum(boxes[:, 2:], others[:, 2:])
    common = np.prod(np.maximum(lower - upper, 0), axis=1)
    union = _area(boxes) + _area(others) - common
    ratio: Floats = common / union
    return ratio


def mean_iou(boxes: Floats, targets: Floats) -> float:
    """Return the mean IoU of predicted and true boxes."""
    return float(intersection_over_union(boxes, targets).mean())


def majority_accuracy(training: NDArray[Any], test: NDArray[Any]) -> float:
    """Return the test accuracy of always naming the most frequent label of the training set."""
    labels, counts = np.unique(training, return_counts=True)
    return float((test == labels[counts.argmax()]).mean())


def mean_box_iou(training: Floats, test: Floats) -> float:
    """Return the mean IoU of always naming the mean box of the training set."""
    return mean_iou(np.broadcast_to(training.mean(axis=0), test.shape), test)


def _area(boxes: Floats) -> Floats:
    # A predicted box may be inside out; it has no area then.
    area: Floats = np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0), axis=1)
    return area
