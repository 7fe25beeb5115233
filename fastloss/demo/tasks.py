"""The demo's four tasks: what is asked about a digit, and the loss that teaches it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastloss as fl
from fastloss.demo import data, plain_losses, scores
from fastloss.demo.layers import Floats

# The digit of the yes-or-no tasks: the one most often mistaken for another.
ASKED = 8


@dataclass(frozen=True)
class Examples:
    """Images (N, H, W, 1) and what is to be said about them."""

    images: Floats
    targets: NDArray[Any]


@dataclass(frozen=True)
class Task:
    """One question about images, its examples, its loss and its score."""

    title: str
    loss: Any
    plain_loss: Callable[[Floats, NDArray[Any]], plain_losses.ValueAndGradient]
    outputs: int
    epochs: int
    learning_rate: float
    draw_training: Callable[[np.random.Generator], Examples]
    test: Examples
    metric: str
    score: Callable[[Floats, NDArray[Any]], float]
    baseline: float


def four_tasks(seed: int) -> list[Task]:
    """Return the four tasks on the same split into training and test digits."""
    train, test = data.load(seed)
    return [
        _which_digit(train, test),
        _where_is_it(train, test, seed),
        _is_it_asked_for(train, test, with_hinge=False),
        _is_it_asked_for(train, test, with_hinge=True),
    ]


def _which_digit(train: data.Digits, test: data.Digits) -> Task:
    return Task(
        title="which digit?",
        loss=fl.cross_entropy,
        plain_loss=plain_losses.cross_entropy,
        outputs=10,
        epochs=60,
        learning_rate=2e-3,
        draw_training=lambda rng: Examples(data.with_noise(train.images, rng), train.labels),
        test=Examples(test.images, test.labels),
        metric="accuracy",
        score=scores.label_accuracy,
        baseline=scores.majority_accuracy(train.labels, test.labels),
    )


def _where_is_it(train: data.Digits, test: data.Digits, seed: int) -> Task:
    def draw(rng: np.random.Generator) -> Examples:
        canvases = data.place_at_random(train.images, rng)
        return Examples(canvases.images, canvases.boxes)

    rng = np.random.default_rng(seed)
    placed = data.place_at_random(test.images, rng)
    return Task(
        title="where is it?",
        loss=fl.mse,
        plain_loss=plain_losses.half_squared_error,
        outputs=4,
        epochs=100,
        learning_rate=4e-3,
        draw_training=draw,
        test=Examples(placed.images, placed.boxes),
        metric="mean IoU",
        score=scores.mean_iou,
        baseline=scores.mean_box_iou(draw(rng).targets, placed.boxes),
    )


def _is_it_asked_for(train: data.Digits, test: data.Digits, *, with_hinge: bool) -> Task:
    no, yes = (-1.0, 1.0) if with_hinge else (0.0, 1.0)

    def targets(digits: data.Digits) -> Floats:
        return np.where(digits.labels == ASKED, yes, no).astype(np.float32)[:, None]

    train_targets = targets(train)
    return Task(
        title=f"is it an {ASKED}?",
        # On logits, not on a sigmoid's probabilities: the same loss and exact in both tails.
        loss=fl.hinge if with_hinge else fl.binary_cross_entropy_with_logits,
        plain_loss=(
            plain_losses.hinge if with_hinge else plain_losses.binary_cross_entropy_with_logits
        ),
        outputs=1,
        epochs=60,
        learning_rate=2e-3,
        draw_training=lambda rng: Examples(data.with_noise(train.images, rng), train_targets),
        test=Examples(test.images, targets(test)),
        metric="accuracy",
        score=scores.sign_accuracy,
        baseline=scores.majority_accuracy(train_targets, targets(test)),
    )
