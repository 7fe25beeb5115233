"""The demo's network: layers in a row, and the optimiser that trains them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastloss.demo.layers import (
    Convolution,
    Dense,
    Flatten,
    Floats,
    Layer,
    MaxPool,
    Parameter,
    ReLU,
)


class Network:
    """Layers applied one after the other."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        self._layers = layers
        self.parameters = [parameter for layer in layers for parameter in layer.parameters]

    def forward(self, inputs: Floats) -> Floats:
        """Return the outputs for a batch of inputs."""
        for layer in self._layers:
            inputs = layer.forward(inputs)
        return inputs

    def backward(self, gradient: Floats) -> Floats:
        """Store every parameter's gradient, given that of the loss by the outputs."""
        for layer in reversed(self._layers):
            gradient = layer.backward(gradient)
        return gradient


def convolutional_network(
    size: int, outputs: int, rng: np.random.Generator, dtype: Any = np.float32
) -> Network:
    """Return two convolutions and two dense layers for images of ``size`` x ``size`` pixels."""
    pooled = size // 4
    return Network(
        [
            Convolution(1, 16, rng, dtype=dtype),
            MaxPool(),
            ReLU(),
            Convolution(16, 32, rng, dtype=dtype),
            MaxPool(),
            ReLU(),
            Flatten(),
            Dense(32 * pooled * pooled, 64, rng, dtype),
            ReLU(),
            Dense(64, outputs, rng, dtype),
        ]
    )


class Adam:
    """Adam (Kingma and Ba, 2015) with bias correction."""

    def __init__(
        self,
        parameters: Sequence[Parameter],
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
    ) -> None:
        self._parameters = parameters
        self._beta1, self._beta2, self._epsilon = beta1, beta2, epsilon
        self._means = [np.zeros_like(parameter.value) for parameter in parameters]
        self._squares = [np.zeros_like(parameter.value) for parameter in parameters]
        self._steps = 0

    def step(self, learning_rate: float) -> None:
        """Change every parameter by its gradient."""
        self._steps += 1
        rate = learning_rate / (1 - self._beta1**self._steps)
        correction = 1 - self._beta2**self._steps
        for parameter, mean, square in zip(
            self._parameters, self._means, self._squares, strict=True
        ):
            mean += (1 - self._beta1) * (parameter.gradient - mean)
            square += (1 - self._beta2) * (parameter.gradient**2 - square)
            parameter.value -= rate * mean / (np.sqrt(square / correction) + self._epsilon)
