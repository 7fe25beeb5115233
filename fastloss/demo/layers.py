"""The layers of a small convolutional network in plain NumPy, forwards and backwards.

Images are (N, H, W, C): with the channels last, a convolution is one matrix product whose result
needs no transposition.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]


@dataclass
class Parameter:
    """A trainable array and the gradient that the last backward pass left for it."""

    value: Floats
    gradient: Floats = field(init=False)

    def __post_init__(self) -> None:
        self.gradient = np.zeros_like(self.value)


class Layer(Protocol):
    """One step of a network; ``backward`` belongs to the latest ``forward``."""

    @property
    def parameters(self) -> Sequence[Parameter]:
        """What an optimiser may change."""

    def forward(self, inputs: Floats) -> Floats:
        """Return the outputs for a batch of inputs."""

    def backward(self, gradient: Floats) -> Floats:
        """Turn the gradient of the outputs into that of the inputs, and store the parameters'."""


def he_normal(rng: np.random.Generator, fan_in: int, shape: tuple[int, ...], dtype: Any) -> Floats:
    """Return initial weights that keep the variance through a ReLU (He et al., 2015)."""
    weights: Floats = rng.normal(0.0, np.sqrt(2.0 / fan_in), shape).astype(dtype)
    return weights


class Dense:
    """Outputs = inputs @ weight + bias."""

    def __init__(
        self, inputs: int, outputs: int, rng: np.random.Generator, dtype: Any = np.float32
    ) -> None:
        self.weight = Parameter(he_normal(rng, inputs, (inputs, outputs), dtype))
        self.bias = Parameter(np.zeros(outputs, dtype))
        self.parameters = (self.weight, self.bias)

    def forward(self, inputs: Floats) -> Floats:
        """(N, inputs) to (N, outputs)."""
        self._inputs = inputs
        outputs: Floats = inputs @ self.weight.value + self.bias.value
        return outputs

    def backward(self, gradient: Floats) -> Floats:
        """(N, outputs) to (N, inputs)."""
        np.matmul(self._inputs.T, gradient, out=self.weight.gradient)
        np.sum(gradient, axis=0, out=self.bias.gradient)
        of_inputs: Floats = gradient @ self.weight.value.T
        return of_inputs


class Convolution:
    """A K x K convolution that keeps height and width: im2col, then one matrix product."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        rng: np.random.Generator,
        kernel: int = 3,
        dtype: Any = np.float32,
    ) -> None:
        if kernel % 2 == 0:
            raise ValueError(f"kernel must be odd to keep the image's size, got {kernel}")
        self._kernel = kernel
        self._product = Dense(kernel * kernel * inputs, outputs, rng, dtype)
        self.parameters = self._product.parameters

    def forward(self, inputs: Floats) -> Floats:
        """(N, H, W, inputs) to (N, H, W, outputs)."""
        self._shape = inputs.shape
        n, h, w, _ = inputs.shape
        return self._product.forward(self._patches(inputs)).reshape(n, h, w, -1)

    def backward(self, gradient: Floats) -> Floats:
        """(N, H, W, outputs) to (N, H, W, inputs)."""
        n, h, w, outputs = gradient.shape
        k, inputs = self._kernel, self._shape[-1]
        patches = self._product.backward(gradient.reshape(-1, outputs))
        patches = patches.reshape(n, h, w, k, k, inputs)
        padded = np.zeros((n, h + k - 1, w + k - 1, inputs), gradient.dtype)
        for i in range(k):
            for j in range(k):
                padded[:, i : i + h, j : j + w] += patches[:, :, :, i, j]
        return padded[:, k // 2 : k // 2 + h, k // 2 : k // 2 + w]

    def _patches(self, images: Floats) -> Floats:
        """(N, H, W, C) to (N*H*W, K*K*C): every pixel's neighbourhood as a row (im2col)."""
        k = self._kernel
        margin = (k // 2, k // 2)
        padded = np.pad(images, ((0, 0), margin, margin, (0, 0)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (k, k), axis=(1, 2))
        n, h, w, c = images.shape
        return windows.transpose(0, 1, 2, 4, 5, 3).reshape(n * h * w, k * k * c)


class ReLU:
    """max(0, x)."""

    parameters: tuple[Parameter, ...] = ()

    def forward(self, inputs: Floats) -> Floats:
        """Keep what is positive."""
        self._positive = inputs > 0
        return np.maximum(inputs, 0)

    def backward(self, gradient: Floats) -> Floats:
        """Pass the gradient on where the input was positive."""
        return gradient * self._positive


class MaxPool:
    """The maximum of every 2 x 2 block."""

    parameters: tuple[Parameter, ...] = ()

    def forward(self, inputs: Floats) -> Floats:
        """(N, H, W, C) to (N, H/2, W/2, C)."""
        corners = self._corners(inputs)
        largest: Floats = np.maximum(
            np.maximum(corners[0], corners[1]), np.maximum(corners[2], corners[3])
        )
        # Enlarged digits hold areas of one grey value, so ties are common: the first one wins.
        untaken = np.ones(largest.shape, bool)
        self._winners = []
        for corner in corners:
            wins = (corner == largest) & untaken
            untaken ^= wins
            self._winners.append(wins)
        return largest

    def backward(self, gradient: Floats) -> Floats:
        """(N, H/2, W/2, C) to (N, H, W, C)."""
        n, h, w, c = gradient.shape
        of_inputs: Floats = np.empty((n, 2 * h, 2 * w, c), gradient.dtype)
        for corner, wins in zip(self._corners(of_inputs), self._winners, strict=True):
            np.multiply(gradient, wins, out=corner)
        return of_inputs

    @staticmethod
    def _corners(images: Floats) -> list[Floats]:
        """Return views of the four pixels of every block."""
        return [images[:, i::2, j::2] for i in (0, 1) for j in (0, 1)]


class Flatten:
    """(N, H, W, C) to (N, H*W*C)."""

    parameters: tuple[Parameter, ...] = ()

    def forward(self, inputs: Floats) -> Floats:
        """Put each image into one row."""
        self._shape = inputs.shape
        return inputs.reshape(len(inputs), -1)

    def backward(self, gradient: Floats) -> Floats:
        """Make images of the rows."""
        return gradient.reshape(self._shape)
