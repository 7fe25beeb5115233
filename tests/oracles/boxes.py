"""Float64 oracles of the losses between boxes, in the units of the boxes."""

import numpy as np

from tests.oracles.rows import over_rows

SIGN = np.array([-1.0, -1.0, 1.0, 1.0])
"""By how much an extent grows with each coordinate."""


def _axes(a):
    """Values of (x, y) as those of (x1, y1, x2, y2)."""
    return np.concatenate([a, a], -1)


def _across(a):
    """The same of the other axis."""
    return _axes(a[..., ::-1])


def _area(a):
    return a[..., :1] * a[..., 1:]


class _Boxes:
    """Extents (x, y) and areas, with their derivatives by the prediction's coordinates."""

    def __init__(self, p, t):
        self.p, self.t = p[..., 2:] - p[..., :2], t[..., 2:] - t[..., :2]
        shared = np.minimum(p[..., 2:], t[..., 2:]) - np.maximum(p[..., :2], t[..., :2])
        self.shared = np.where((shared > 0).all(-1, keepdims=True), shared, 0.0)
        self.around = np.maximum(p[..., 2:], t[..., 2:]) - np.minimum(p[..., :2], t[..., :2])
        inner = np.where(p == t, 0.5, SIGN * p < SIGN * t)
        self.d_around = SIGN * (1 - inner)
        self.d_I = SIGN * inner * _across(self.shared)
        self.d_A = SIGN * _across(self.p)
        self.d_C = self.d_around * _across(self.around)
        self.I, self.C = _area(self.shared), _area(self.around)
        self.U = _area(self.p) + _area(self.t) - self.I


def _quotient(n, d, n1=0.0, d1=0.0, n2=0.0, d2=0.0):
    """n / d with its derivatives, and their scales."""
    value = n / d
    first = (n1 - value * d1) / d
    second = (n2 - value * d2 - 2 * first * d1) / d
    first_scale = (np.abs(n1) + np.abs(value * d1)) / d
    second_scale = (np.abs(n2) + np.abs(value * d2) + 2 * first_scale * np.abs(d1)) / d
    return np.array(
        [*np.broadcast_arrays(value, first, second, np.abs(value), first_scale, second_scale)]
    )


def _answer(parts):
    """The sum of (factor, quotient) and 1, as the six arrays of `Expected`."""
    sums = sum(factor * q[:3] for factor, q in parts)
    scales = sum(np.abs(factor) * q[3:] for factor, q in parts)
    return (
        1 + sums[0, ..., 0],
        sums[1],
        sums[2],
        1 + scales[0, ..., 0],
        2 * scales[1],
        4 * scales[2],
    )


def _iou(b, eps):
    return _quotient(b.I, b.U + eps, b.d_I, b.d_A - b.d_I)


@over_rows
def giou(p, t, eps=1e-7):
    b = _Boxes(p, t)
    filled = _quotient(b.U + eps, b.C + eps, b.d_A - b.d_I, b.d_C)
    loss, *rest = _answer([(-1.0, _iou(b, eps)), (-1.0, filled)])
    return 1 + loss, *rest


def _diou(p, t, eps):
    b = _Boxes(p, t)
    gap = _axes((p[..., :2] + p[..., 2:] - t[..., :2] - t[..., 2:]) / 2)
    diagonal = (b.around**2).sum(-1, keepdims=True) + eps
    far = (gap[..., :2] ** 2).sum(-1, keepdims=True)
    around = _axes(b.around)
    slopes = (gap, 2 * around * b.d_around, 0.5, 2 * b.d_around**2)
    # The distance of centres is a difference of what is as large as the diagonal.
    quotient = _quotient(far, diagonal, *slopes)
    quotient[4:] += _quotient(far, diagonal, around, *slopes[1:])[4:]
    return b, [(-1.0, _iou(b, eps)), (1.0, quotient)]


@over_rows
def diou(p, t, eps=1e-7):
    return _answer(_diou(p, t, eps)[1])


@over_rows
def ciou(p, t, eps=1e-7):
    """Alpha is a constant of the derivatives."""
    b, parts = _diou(p, t, eps)
    (w, h), (w_t, h_t) = (np.split(a, 2, -1) for a in (b.p, b.t))
    k = 4 / np.pi**2
    gap = np.arctan(w_t / h_t) - np.arctan(w / h)
    v = k * gap**2
    miss = _answer(parts[:1])[0][..., None]
    alpha = v / (miss + v + eps)
    turn = SIGN * np.array([1.0, -1.0, 1.0, -1.0])
    first = turn * _across(b.p) / (w**2 + h**2)
    second = -2 * turn * SIGN * _axes(b.p) * _across(b.p) / (w**2 + h**2) ** 2
    shape = [v, -2 * k * gap * first, 2 * k * (first**2 - gap * second)]
    scales = [v + np.abs(gap), 2 * k * np.abs(first), 2 * k * (first**2 + np.abs(second))]
    return _answer([*parts, (alpha, np.array(np.broadcast_arrays(*shape, *scales)))])
