"""NT-Xent anchor by anchor, straight from its formula, in extended precision."""

import numpy as np

WIDE = np.longdouble


def losses(x, labels, temperature=0.07):
    """The loss of every anchor, 0 where it has no positive, and whether it has one."""
    values, has = wide_losses(x, labels, temperature)
    return values.astype(np.float64), has


def wide_losses(x, labels, temperature):
    x = np.asarray(x, WIDE)
    lengths = np.sqrt((x**2).sum(-1, keepdims=True))
    units = np.where(lengths == 0, 0, x / np.where(lengths == 0, 1, lengths))
    values, has = np.zeros(len(x), WIDE), np.zeros(len(x), bool)
    for i in range(len(x)):
        z = (units @ units[i]) / WIDE(temperature)
        others = z[labels != labels[i]]
        positives = [j for j in range(len(x)) if j != i and labels[j] == labels[i]]
        has[i] = bool(positives)
        for j in positives:
            terms = np.append(others, z[j])
            top = terms.max()
            values[i] += (np.log(np.exp(terms - top).sum()) + top - z[j]) / len(positives)
    return values, has


def gradient(x, labels, factors, temperature=0.07, step=1e-4):
    """That of sum(factors * losses), by 4th-order differences in extended precision."""
    x = np.asarray(x, WIDE)
    out = np.empty(x.shape)
    for i in np.ndindex(x.shape):

        def along(delta, i=i):
            moved = x.copy()
            moved[i] += delta
            return (factors * wide_losses(moved, labels, temperature)[0]).sum()

        out[i] = (8 * (along(step) - along(-step)) - (along(2 * step) - along(-2 * step))) / (
            12 * step
        )
    return out


def hessian(x, labels, factors, temperature=0.07, step=1e-3):
    """The diagonal of the second derivative of the same, by 6th-order differences."""
    x = np.asarray(x, WIDE)
    weights = -490, 270, -27, 2  # whole numbers: their sum has to be 0
    out = np.empty(x.shape)
    for i in np.ndindex(x.shape):
        total = WIDE(0)
        for k in range(-3, 4):
            moved = x.copy()
            moved[i] += k * WIDE(step)
            total += weights[abs(k)] * (factors * wide_losses(moved, labels, temperature)[0]).sum()
        out[i] = total / (180 * WIDE(step) ** 2)
    return out
