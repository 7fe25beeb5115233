"""The demo's layers, against central differences in float64."""

from collections.abc import Callable

import numpy as np
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("matplotlib")
pytest.importorskip("rich")

from fastloss.demo.layers import Convolution, Dense, Flatten, MaxPool, ReLU
from fastloss.demo.network import Adam, convolutional_network

STEP = 1e-4
RNG = np.random.default_rng(20260101)


def central_differences(function: Callable[[], float], array: np.ndarray) -> np.ndarray:
    """4th-order differences of a function by every element of an array that it reads."""
    gradient = np.empty_like(array)
    for index in np.ndindex(array.shape):
        kept = array[index]
        values = []
        for steps in (-2, -1, 1, 2):
            array[index] = kept + steps * STEP
            values.append(function())
        array[index] = kept
        gradient[index] = (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * STEP)
    return gradient


def assert_gradients_agree(layer, inputs: np.ndarray) -> None:
    upstream = RNG.normal(size=layer.forward(inputs).shape)

    def total() -> float:
        return float((layer.forward(inputs) * upstream).sum())

    by_inputs = central_differences(total, inputs)
    by_parameters = [central_differences(total, p.value) for p in layer.parameters]
    layer.forward(inputs)
    np.testing.assert_allclose(layer.backward(upstream), by_inputs, rtol=1e-8, atol=1e-8)
    for parameter, expected in zip(layer.parameters, by_parameters, strict=True):
        np.testing.assert_allclose(parameter.gradient, expected, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (Dense(5, 3, RNG, np.float64), (4, 5)),
        (Convolution(2, 3, RNG, dtype=np.float64), (2, 4, 5, 2)),
        (Convolution(1, 2, RNG, kernel=5, dtype=np.float64), (1, 6, 4, 1)),
        (ReLU(), (3, 7)),
        (MaxPool(), (2, 4, 6, 3)),
        (Flatten(), (2, 3, 2, 2)),
        (convolutional_network(4, 2, RNG, np.float64), (2, 4, 4, 1)),
    ],
    ids=["dense", "convolution", "convolution-5x5", "relu", "max-pool", "flatten", "network"],
)
def test_backward_is_the_gradient_of_forward(layer, shape):
    inputs = RNG.normal(size=shape)
    # Away from the kinks of ReLU, where a difference quotient is no derivative.
    inputs += np.copysign(0.01, inputs)
    assert_gradients_agree(layer, inputs)


def test_convolution_is_the_sum_over_the_neighbourhood():
    """By the definition, loop by loop, on the one pixel that has all its neighbours."""
    layer = Convolution(2, 1, RNG, dtype=np.float64)
    image = RNG.normal(size=(1, 3, 3, 2))
    kernel = layer.parameters[0].value.reshape(3, 3, 2)
    expected = sum(
        image[0, i, j, c] * kernel[i, j, c] for i in range(3) for j in range(3) for c in range(2)
    )
    assert layer.forward(image)[0, 1, 1, 0] == pytest.approx(expected, rel=1e-12)


def test_an_even_kernel_is_refused():
    with pytest.raises(ValueError, match="odd"):
        Convolution(1, 1, RNG, kernel=2)


def test_tied_maxima_share_one_gradient():
    layer = MaxPool()
    layer.forward(np.ones((1, 2, 2, 1)))
    assert layer.backward(np.full((1, 1, 1, 1), 3.0)).sum() == 3.0


def test_the_first_step_of_adam_has_the_learning_rate():
    """Bias correction makes the first step independent of the gradient's size."""
    (weight, bias) = Dense(2, 2, RNG, np.float64).parameters
    before = weight.value.copy()
    weight.gradient[:] = [[1e-3, -5.0], [2.0, 1e3]]
    Adam([weight, bias]).step(0.1)
    np.testing.assert_allclose(weight.value - before, -0.1 * np.sign(weight.gradient), rtol=1e-4)
