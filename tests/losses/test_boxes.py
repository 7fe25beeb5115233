"""Edges of the losses between boxes: equal, flat, inverted, apart, huge, tiny and broken ones."""

from fractions import Fraction

import mpmath as mp
import numpy as np
import pytest

import fastloss as fl
from tests.helpers import EPS, FLOAT16, FLOAT32, FLOAT64, assert_same_bits, each, f64

INF, NAN = np.inf, np.nan
NAMES = ("giou", "diou", "ciou")
each_name = each("name", NAMES)
UNIT = [0.0, 0.0, 2.0, 2.0]


def value_and_grad(name, p, t, dtype=FLOAT64, **options):
    p, t = (np.atleast_2d(np.asarray(a, dtype)) for a in (p, t))
    return getattr(fl, name).value_and_grad(p, t, reduction="none", **options)


def random_boxes(rng, count, dtype=FLOAT64):
    corners = np.sort(rng.uniform(0, 100, (count, 2, 2)), axis=1)
    return corners.reshape(count, 4).astype(dtype)


# --- equal, or almost -------------------------------------------------------------------


@each("dtype", [FLOAT32, FLOAT64])
@each_name
def test_equal_boxes(name, dtype, rng):
    """What eps leaves, and no rounding beside it."""
    p = random_boxes(rng, 200, dtype)
    area = (f64(p)[:, 2] - f64(p)[:, 0]) * (f64(p)[:, 3] - f64(p)[:, 1])
    for eps in (1e-7, 1.0):
        loss, grad = value_and_grad(name, p, p, dtype, eps=eps)
        parts = 2 if name == "giou" else 1  # of it: 1 - IoU, and the empty part of what surrounds
        # Each of them a few roundings: of the unit's inverse, products and a quotient.
        np.testing.assert_allclose(loss, eps / (area + eps), rtol=4 * parts * EPS[dtype])
    loss, grad = value_and_grad(name, p, p, dtype)
    size = np.maximum(1 / (f64(p)[:, 2] - f64(p)[:, 0]), 1 / (f64(p)[:, 3] - f64(p)[:, 1]))
    assert (np.abs(grad).max(1) <= (8 * EPS[dtype] + 1e-7 / area) * size).all()


def exact_giou(p, t):
    """In rational numbers, eps = 0; the boxes overlap."""
    p, t = ([Fraction(float(v)) for v in box] for box in (p, t))
    area = [(b[2] - b[0]) * (b[3] - b[1]) for b in (p, t)]
    low, high = list(map(max, p, t)), list(map(min, p, t))
    shared = (high[2] - low[0]) * (high[3] - low[1])
    around = (low[2] - high[0]) * (low[3] - high[1])
    union = sum(area) - shared
    return 1 - shared / union + (around - union) / around


def test_almost_equal_boxes_keep_their_digits(rng):
    """The loss is as small as the step; 1 - IoU would have lost it."""
    p = np.array([[1.0, 2.0, 3.0, 5.0]], np.float32)
    for side in range(4):
        t = p.copy()
        t[0, side] = np.nextafter(t[0, side], np.float32(100))
        loss, _ = value_and_grad("giou", p, t, FLOAT32, eps=0.0)
        # Roundings as of equal boxes: sides by the unit, products and a quotient.
        np.testing.assert_allclose(loss[0], float(exact_giou(p[0], t[0])), rtol=4 * EPS[FLOAT32])


@each_name
def test_never_negative(name, rng):
    t = random_boxes(rng, 5000, FLOAT32)
    p = np.nextafter(t, t + rng.choice([-1, 0, 1], t.shape).astype(np.float32))
    loss, grad = value_and_grad(name, p, t, FLOAT32, eps=0.0)
    assert (loss >= 0).all() and (loss < 1).all() and np.isfinite(grad).all()


# --- equal edges ------------------------------------------------------------------------


@each_name
@each("side", range(4))
def test_equal_edges_count_half(name, side):
    """The subgradient lies in the middle of both one-sided slopes."""
    p, t = np.array([1.0, 1.0, 4.0, 5.0]), np.array([0.0, 0.5, 3.0, 6.0])
    p[side] = t[side]
    _, grad = value_and_grad(name, p, t)
    step = np.zeros(4)
    step[side] = 1e-9
    around = [value_and_grad(name, p + s * step, t)[1][0, side] for s in (-1, 1)]
    assert abs(around[0] - around[1]) > 0.01
    np.testing.assert_allclose(grad[0, side], np.mean(around), rtol=1e-6)


@each_name
def test_touching_boxes(name):
    """They share nothing, so the loss pulls only by what surrounds them; it is continuous."""
    touching, t = [0.0, 0.0, 2.0, 2.0], [2.0, 1.0, 4.0, 3.0]
    loss, grad = value_and_grad(name, touching, t)
    apart, grad_apart = value_and_grad(name, [0.0, 0.0, 2.0 - 1e-9, 2.0], t)
    meeting, grad_meeting = value_and_grad(name, [0.0, 0.0, 2.0 + 1e-9, 2.0], t)
    np.testing.assert_allclose([apart, meeting], [loss, loss], atol=1e-8)
    np.testing.assert_allclose(grad, grad_apart, atol=1e-8)
    assert np.abs(grad - grad_meeting).max() > 0.01


@each_name
def test_boxes_apart_are_pulled_together(name, rng):
    p, t = np.array([0.0, 1.0, 2.0, 3.0]), np.array([10.0, 20.0, 13.0, 24.0])
    loss, grad = value_and_grad(name, p, t)
    assert loss[0] > 1 and (grad[0, 2:] < 0).all()
    after, _ = value_and_grad(name, p - grad[0], t)
    assert after[0] < loss[0]


# --- no area ----------------------------------------------------------------------------

POINT = [1.0, 1.0, 1.0, 1.0]
WITHOUT_AREA = {
    # predictions, targets, (giou, diou, ciou)
    "equal points": (POINT, POINT, (1, 1, 1)),
    "points apart": (POINT, [3.0, 4.0, 3.0, 4.0], (2, 2, 2)),
    "point within": (POINT, UNIT, (1, 1, 1)),
    "around a point": (UNIT, POINT, (1, 1, 1)),
    "flat within": ([0.0, 1.0, 2.0, 1.0], UNIT, (1, 1, 1.05)),
    "around something flat": (UNIT, [0.0, 1.0, 2.0, 1.0], (1, 1, 1.05)),
    "thin across flat": ([1.0, 0.0, 1.0, 2.0], [0.0, 1.0, 2.0, 1.0], (2, 1, 1.5)),
}


@each("case", WITHOUT_AREA)
def test_without_area(case):
    """What has no area overlaps nothing, and all is finite: a height of 0 has an angle of 90
    degrees, v is 1/4 beside a square; a point has no shape at all.
    """
    p, t, expected = WITHOUT_AREA[case]
    for name, value in zip(NAMES, expected, strict=True):
        for dtype in (FLOAT32, FLOAT64):
            loss, grad = value_and_grad(name, p, t, dtype)
            np.testing.assert_allclose(loss, value, rtol=2e-7)
            _, hess = getattr(fl, name).grad_and_hess(
                np.array([p], dtype), np.array([t], dtype), reduction="none"
            )
            assert np.isfinite(grad).all() and np.isfinite(hess).all()


def test_slope_of_a_shape_without_height():
    """Towards the height that it lacks: -2 k alpha (90 - 45 degrees) times -1 / w."""
    _, grad = value_and_grad("ciou", [0.0, 1.0, 2.0, 1.0], UNIT)
    alpha = 0.25 / 1.25
    slope = -2 * (4 / np.pi**2) * alpha * (np.pi / 4) / 2
    np.testing.assert_allclose(grad, [[0, -slope, 0, slope]], rtol=1e-6, atol=1e-12)


def test_without_eps():
    """Nothing divided by nothing is nan; two flat boxes still have a diagonal."""
    for name in NAMES:
        assert np.isnan(value_and_grad(name, POINT, POINT, eps=0.0)[0])
        assert value_and_grad(name, UNIT, UNIT, eps=0.0)[0] == 0
    flat = [0.0, 1.0, 2.0, 1.0]
    assert np.isnan(value_and_grad("giou", flat, flat, eps=0.0)[0])
    assert value_and_grad("diou", flat, flat, eps=0.0)[0] == 1
    with pytest.raises(ValueError, match="eps must be a finite number at least 0"):
        fl.giou(np.zeros((1, 4)), np.zeros((1, 4)), eps=-1.0)


# --- inverted ---------------------------------------------------------------------------

INVERTED = {"x": [1.5, 0.0, 0.5, 2.0], "y": [0.0, 1.5, 2.0, 0.5], "both": [1.5, 1.5, 0.5, 0.5]}


@each("which", INVERTED)
@each("name", ["giou", "ciou"])
def test_an_inverted_prediction_is_turned_back(name, which):
    """Its gradient widens the inverted side; and it overlaps nothing."""
    p = np.array(INVERTED[which])
    loss, grad = value_and_grad(name, p, UNIT)
    inverted = p[2:] < p[:2]
    towards = -grad[0, 2:] + grad[0, :2]
    assert loss[0] > 1
    if name == "giou" or which != "both":  # opposite angles: no way round is the shorter one
        assert (towards[inverted] > 0).all()


@each("which", INVERTED)
def test_value_of_an_inverted_prediction(which):
    """In giou its area is negative, also where both sides are; diou sees only its centre."""
    area = -min(abs(np.subtract(INVERTED[which][2:], INVERTED[which][:2])).prod(), 2.0)
    loss, grad = value_and_grad("giou", INVERTED[which], UNIT)
    np.testing.assert_allclose(loss, 1 - area / 4, rtol=1e-6)
    loss, grad = value_and_grad("diou", INVERTED[which], UNIT)
    assert loss == 1 and not grad.any()


@each_name
def test_inverted_targets_and_nan_leave_the_others_alone(name, rng):
    p, t = random_boxes(rng, 16), random_boxes(rng, 16)
    good = value_and_grad(name, p, t)
    t[3] = t[3, [2, 1, 0, 3]]
    t[4] = t[4, [0, 3, 2, 1]]
    for row, (array, side, value) in enumerate(
        [(p, 0, NAN), (p, 3, NAN), (t, 1, NAN), (p, 2, INF), (p, 2, -INF), (p, 1, -INF),
         (t, 0, -INF), (t, 3, INF), (p, 0, INF)], start=5
    ):  # fmt: skip
        array[row, side] = value
    bad = np.arange(3, 14)
    loss, grad = value_and_grad(name, p, t)
    _, hess = getattr(fl, name).grad_and_hess(p, t, reduction="none")
    assert np.isnan(loss[bad]).all() and np.isnan(grad[bad]).all() and np.isnan(hess[bad]).all()
    assert_same_bits(np.delete(loss, bad), np.delete(good[0], bad))
    assert_same_bits(np.delete(grad, bad, 0), np.delete(good[1], bad, 0))


# --- of any size ------------------------------------------------------------------------


@pytest.mark.parametrize("size", [2.0**63, 2.0**119, 2.0**-10])
@each_name
def test_of_any_size(name, size, rng):
    """The loss has no unit, the gradient that of 1 / length: areas of 1e76 are in no float32."""
    p, t = random_boxes(rng, 100, FLOAT32), random_boxes(rng, 100, FLOAT32)
    loss, grad = value_and_grad(name, p, t, FLOAT32, eps=0.0)
    of_size = np.float32(size)
    big_loss, big_grad = value_and_grad(name, p * of_size, t * of_size, FLOAT32, eps=0.0)
    # A power of 2 is exact, but each size has a unit, whose inverse is rounded, of its own.
    np.testing.assert_allclose(big_loss, loss, rtol=4 * EPS[FLOAT32])
    # 2^-119 / 100 is subnormal: what is left of the digits. And parts of up to 0.05 may cancel: two
    # of their roundings.
    tiny = np.finfo(np.float32).smallest_subnormal * size
    np.testing.assert_allclose(
        f64(big_grad) * size, grad, rtol=4 * EPS[FLOAT32], atol=1e-8 + 4 * float(tiny)
    )


@each_name
def test_smaller_than_eps(name):
    """Boxes whose area is nothing beside eps overlap as little as points do."""
    size = np.float32(1e-20)
    loss, grad = value_and_grad(name, np.array(UNIT) * size, np.array(UNIT) * size, FLOAT32)
    np.testing.assert_allclose(loss, 1.0)
    assert np.isfinite(grad).all()


@each_name
def test_float16_of_a_large_image(name):
    """4096 pixels squared are beyond float16; the loss is that of float32, to the last bit."""
    p = np.array([[0, 0, 4096, 4096], [100, 50, 3000, 4000]], FLOAT16)
    t = np.array([[16, 8, 4096, 4000], [90, 60, 3100, 3900]], FLOAT16)
    loss, grad = value_and_grad(name, p, t, FLOAT16)
    wide, wide_grad = value_and_grad(name, p.astype(np.float32), t.astype(np.float32), FLOAT32)
    np.testing.assert_array_equal(loss, wide)
    np.testing.assert_array_equal(grad, wide_grad.astype(FLOAT16))


# --- what is refused --------------------------------------------------------------------


@each_name
def test_other_than_four_numbers(name):
    loss = getattr(fl, name)
    with pytest.raises(ValueError, match=r"\(5, 3\) have 3 entries on axis 1, expected 4"):
        loss(np.zeros((5, 3)), np.zeros((5, 3)))
    with pytest.raises(ValueError, match="3 entries on axis 0, expected 4"):
        loss(np.zeros((3, 4)), np.zeros((3, 4)), axis=0)
    with pytest.raises(TypeError, match="targets must be floats, not int64"):
        loss(np.zeros((5, 4)), np.zeros((5, 4), int))


# --- mpmath -----------------------------------------------------------------------------


def exact_loss(name, p, t, alpha=None, eps=1e-7):
    """At the precision of mpmath; `alpha` None: that of these boxes. Returns (loss, alpha)."""
    eps = mp.mpf(eps)
    (w, h), (w_t, h_t) = ((b[2] - b[0], b[3] - b[1]) for b in (p, t))
    wide = [max(p[i + 2], t[i + 2]) - min(p[i], t[i]) for i in (0, 1)]
    both = [max(min(p[i + 2], t[i + 2]) - max(p[i], t[i]), 0) for i in (0, 1)]
    shared, around = both[0] * both[1], wide[0] * wide[1]
    union = w * h + w_t * h_t - shared
    loss = 1 - shared / (union + eps)
    if name == "giou":
        return loss + (around - union) / (around + eps), None
    gap = [(p[i] + p[i + 2] - t[i] - t[i + 2]) / 2 for i in (0, 1)]
    far = (gap[0] ** 2 + gap[1] ** 2) / (wide[0] ** 2 + wide[1] ** 2 + eps)
    if name == "diou":
        return loss + far, None
    v = 4 / mp.pi**2 * (mp.atan(w_t / h_t) - mp.atan(w / h)) ** 2
    alpha = v / (loss + v + eps) if alpha is None else alpha
    return loss + far + alpha * v, alpha


@each_name
def test_derivatives_against_mpmath(name, rng):
    """Alpha is a constant for both derivatives."""
    p, t = random_boxes(rng, 12), random_boxes(rng, 12)
    p[:4] = t[:4] + rng.uniform(-1, 1, (4, 4))
    loss, grad = value_and_grad(name, p, t)
    _, hess = getattr(fl, name).grad_and_hess(p, t, reduction="none")
    with mp.workdps(60):
        for i in range(len(p)):
            boxes = [[mp.mpf(float(v)) for v in a[i]] for a in (p, t)]
            value, alpha = exact_loss(name, *boxes)
            np.testing.assert_allclose(loss[i], float(value), rtol=1e-13)
            for side in range(4):

                def moved(x, side=side, boxes=boxes, alpha=alpha):
                    box = [x if c == side else v for c, v in enumerate(boxes[0])]
                    return exact_loss(name, box, boxes[1], alpha)[0]

                for n, got in ((1, grad), (2, hess)):
                    exact = float(mp.diff(moved, boxes[0][side], n))
                    np.testing.assert_allclose(got[i, side], exact, rtol=1e-11, atol=1e-15)
