"""What to feed a loss: functions (rng, shape, class axis) -> array in float64."""

import numpy as np


def normal(size):
    return lambda rng, shape, axis=None: size * rng.standard_normal(shape)


def uniform(low, high):
    return lambda rng, shape, axis=None: rng.uniform(low, high, shape)


def grid(rng, shape, axis=None):
    """Multiples of 1/4: what is off the kinks stays off them, as a difference to these."""
    return rng.integers(-8, 9, shape) / 4


def amounts(rng, shape, axis=None):
    """Multiples of 1/4 from 0, which occurs."""
    return rng.integers(0, 17, shape) / 4


def counts(rng, shape, axis=None):
    return rng.integers(0, 9, shape)


def bits(rng, shape, axis=None):
    return rng.integers(0, 2, shape)


def signs(rng, shape, axis=None):
    return rng.choice([-1.0, 1.0], shape)


def softmax(a, axis):
    e = np.exp(a - a.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def probabilities(rng, shape, axis=-1):
    return softmax(2.0 * rng.standard_normal(shape), axis)


def indices(rng, shape, axis):
    rest = list(shape)
    width = rest.pop(axis)
    return rng.integers(0, width, rest)


def class_weight(width):
    return np.linspace(0.5, 2.0, width)


def pos_weight(width):
    return np.linspace(0.5, 3.0, width)


def rival_scores(width):
    """Multiples of 1/4 between -1 and 1."""
    return np.arange(width) % 9 / 4 - 1


def off_the_edge(p):
    """Probabilities well inside (0, 1)."""
    return 0.2 + 0.6 * p


def off_the_kink(p):
    """Values at least 0.1 from every multiple of 1/4, the margins in use among them."""
    return np.round(4.0 * p) / 4.0 + 0.1


def off_zero(p):
    """Positive values at least 0.1 from every multiple of 1/4."""
    return off_the_kink(abs(p))
