"""Derivatives by 4th-order central differences, which know the loss only by its values."""

import numpy as np


def derivative(f, x, step=1e-3):
    """d f_i / d x_i for a function that maps each element of x on its own.

    Error of order step^4.
    """
    return (8.0 * (f(x + step) - f(x - step)) - (f(x + 2 * step) - f(x - 2 * step))) / (12.0 * step)


def partial(f, x, step=1e-3):
    """d sum(f) / d x_i for each element i of x, when f mixes elements.

    One pair of calls per element.
    """
    out = np.empty(x.shape)
    for i in np.ndindex(x.shape):

        def along(delta, i=i):
            moved = x.copy()
            moved[i] += delta
            return f(moved).sum()

        out[i] = (8.0 * (along(step) - along(-step)) - (along(2 * step) - along(-2 * step))) / (
            12.0 * step
        )
    return out


def diagonal(g, x, step=1e-3):
    """d g_i / d x_i for each element i of x, where g returns a gradient in the shape of x."""
    out = np.empty(x.shape)
    for i in np.ndindex(x.shape):

        def along(delta, i=i):
            moved = x.copy()
            moved[i] += delta
            return g(moved)[i]

        out[i] = (8.0 * (along(step) - along(-step)) - (along(2 * step) - along(-2 * step))) / (
            12.0 * step
        )
    return out
