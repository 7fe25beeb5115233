"""Handwritten digits, on their own and placed at random on a larger canvas.

The 1797 digits (8 x 8 pixels) are those of scikit-learn, which ships them: Alpaydin and Kaynak,
"Optical Recognition of Handwritten Digits", UCI Machine Learning Repository, 1998.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from fastloss.demo.layers import Floats

CANVAS = 24
SCALES = (1, 2)
CANVAS_NOISE = 0.1
TRAINING_NOISE = 0.15


@dataclass(frozen=True)
class Digits:
    """Images (N, 8, 8, 1) with grey values from 0 to 1, and their labels (N,)."""

    images: Floats
    labels: NDArray[np.int64]


@dataclass(frozen=True)
class Canvases:
    """Images (N, CANVAS, CANVAS, 1), and boxes (N, 4): top, left, bottom, right as shares."""

    images: Floats
    boxes: Floats


def load(seed: int) -> tuple[Digits, Digits]:
    """Return training and test digits; a fifth of each class is held out for the test."""
    bunch = load_digits()
    images = (bunch.images[..., None] / 16).astype(np.float32)
    labels = bunch.target.astype(np.int64)
    train, test = train_test_split(
        np.arange(len(labels)), test_size=0.2, stratify=labels, random_state=seed
    )
    return Digits(images[train], labels[train]), Digits(images[test], labels[test])


def place_at_random(images: Floats, rng: np.random.Generator) -> Canvases:
    """Put each digit, enlarged by a random factor, at a random place on a noisy canvas."""
    canvases = np.zeros((len(images), CANVAS, CANVAS, 1), np.float32)
    boxes = np.empty((len(images), 4), np.float32)
    for canvas, box, image in zip(canvases, boxes, images, strict=True):
        digit = _crop_to_ink(image.repeat(scale := rng.choice(SCALES), 0).repeat(scale, 1))
        h, w, _ = digit.shape
        top = rng.integers(CANVAS - h + 1)
        left = rng.integers(CANVAS - w + 1)
        canvas[top : top + h, left : left + w] = digit
        box[:] = np.array([top, left, top + h, left + w]) / CANVAS
    canvases += CANVAS_NOISE * rng.random(canvases.shape, np.float32)
    return Canvases(canvases, boxes)


def with_noise(images: Floats, rng: np.random.Generator) -> Floats:
    """Return training images with other noise at every call, against learning them by heart."""
    return images + TRAINING_NOISE * rng.standard_normal(images.shape, np.float32)


def _crop_to_ink(image: Floats) -> NDArray[Any]:
    """Cut off the empty rows and columns, so that the box is that of the digit itself."""
    rows = np.flatnonzero(image.any(axis=(1, 2)))
    columns = np.flatnonzero(image.any(axis=(0, 2)))
    return image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
