"""Train a network on a task with fastloss' gradients, and time the loss on the way."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import numpy as np

from fastloss.demo.layers import Floats
from fastloss.demo.network import Adam, Network, convolutional_network
from fastloss.demo.tasks import Examples, Task

BATCH = 64


@dataclass
class Timings:
    """Seconds of every training step: both forms of the loss, and all the rest."""

    fast: list[float] = field(default_factory=list)
    plain: list[float] = field(default_factory=list)
    rest: list[float] = field(default_factory=list)

    def share_of_fast(self) -> float:
        """Return fastloss' part of the time of a training that uses it."""
        return sum(self.fast) / (sum(self.fast) + sum(self.rest))

    def share_of_plain(self) -> float:
        """Return plain NumPy's part of the time of a training that uses it."""
        return sum(self.plain) / (sum(self.plain) + sum(self.rest))


@dataclass
class Training:
    """What came of a task: its curves by epoch, its timings and its predictions on the test."""

    task: Task
    losses: list[float] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    timings: Timings = field(default_factory=Timings)
    largest_difference: float = 0.0
    predictions: Floats = field(default_factory=lambda: np.empty((0, 0), np.float32))


def train(task: Task, epochs: int, seed: int, on_step: Callable[[], None]) -> Training:
    """Train a fresh network on the task; ``on_step`` is called after each of ``steps(...)``."""
    rng = np.random.default_rng(seed)
    size = task.test.images.shape[1]
    network = convolutional_network(size, task.outputs, rng)
    optimiser = Adam(network.parameters)
    training = Training(task)
    _compile_ahead(task)
    done, total = 0, epochs * steps(task)
    for _ in range(epochs):
        losses = []
        for batch in _batches(task.draw_training(rng), rng):
            rate = _cosine(task.learning_rate, done / total)
            losses.append(_step(network, optimiser, rate, batch, training))
            done += 1
            on_step()
        training.losses.append(float(np.mean(losses)))
        training.predictions = network.forward(task.test.images)
        training.scores.append(task.score(training.predictions, task.test.targets))
    return training


def steps(task: Task) -> int:
    """Return the number of training steps in an epoch."""
    examples = task.draw_training(np.random.default_rng(0))
    return math.ceil(len(examples.images) / BATCH)


def _step(
    network: Network, optimiser: Adam, rate: float, batch: Examples, training: Training
) -> float:
    """Learn from one batch; return its loss."""
    task, timings = training.task, training.timings
    started = perf_counter()
    outputs = network.forward(batch.images)
    forward = perf_counter() - started
    (value, gradient), (_, plain_gradient) = _time_both(task, outputs, batch, timings)
    started = perf_counter()
    network.backward(gradient)
    optimiser.step(rate)
    timings.rest.append(forward + perf_counter() - started)
    difference = float(np.abs(gradient - plain_gradient).max())
    training.largest_difference = max(training.largest_difference, difference)
    return float(value)


def _time_both(task: Task, outputs: Floats, batch: Examples, timings: Timings) -> tuple[Any, Any]:
    """Evaluate fastloss and plain NumPy on the same outputs; who goes first takes turns."""
    contestants = [
        (task.loss.value_and_grad, timings.fast),
        (task.plain_loss, timings.plain),
    ]
    turn = len(timings.rest) % 2
    results: list[Any] = [None, None]
    for index in (turn, 1 - turn):
        loss, seconds = contestants[index]
        started = perf_counter()
        results[index] = loss(outputs, batch.targets)
        seconds.append(perf_counter() - started)
    return results[0], results[1]


def _compile_ahead(task: Task) -> None:
    """Call the loss once, so that no compilation is counted as training."""
    targets = task.test.targets[:BATCH]
    task.loss.value_and_grad(np.zeros((len(targets), task.outputs), np.float32), targets)


def _batches(examples: Examples, rng: np.random.Generator) -> Iterator[Examples]:
    order = rng.permutation(len(examples.images))
    for start in range(0, len(order), BATCH):
        chosen = order[start : start + BATCH]
        yield Examples(examples.images[chosen], examples.targets[chosen])


def _cosine(learning_rate: float, progress: float) -> float:
    """Let the learning rate fall to 0 along a half-wave."""
    return 0.5 * learning_rate * (1 + math.cos(math.pi * progress))
