"""Losses over regions of several axes: arrays in their layouts, and one call beside its oracle."""

import numpy as np

import fastloss as fl
from tests.helpers import FLOAT64, Unchanged, assert_close
from tests.oracles import regions
from tests.oracles.expected import reduce

NAMES = ("dice", "jaccard", "tversky")
SHAPE = (2, 3, 4, 5)


def draw(shape=SHAPE, dtype=FLOAT64, seed=0):
    """Probabilities and masks."""
    rng = np.random.default_rng(seed)
    return rng.random(shape).astype(dtype), rng.integers(0, 2, shape).astype(dtype)


def flat(array, axes):
    """The array with its regions on the last axis."""
    last = range(-len(axes), 0)
    moved = np.moveaxis(array, sorted(a % array.ndim for a in axes), last)
    return moved.reshape(*moved.shape[: -len(axes)], -1)


def check(name, p, t, axes, ulps=8, out=None, wrap=lambda loss: loss, **call):
    """Loss and gradient over these axes, against the oracle over one."""
    options = {k: call[k] for k in ("smooth", "alpha", "from_logits") if k in call}
    given = {k: v for k, v in call.items() if k not in options}
    wide = [flat(a.astype(np.float64), axes) for a in (p, t)]
    expected = reduce(getattr(regions, name)(*wide, **options), **given)
    dtype = p.dtype
    with Unchanged(*([] if out is p else [p]), t):
        loss, grad = wrap(getattr(fl, name)).value_and_grad(p, t, axis=axes, out=out, **call)
    assert_close(loss, expected.loss, expected.loss_scale, dtype, ulps, "loss")
    assert_close(flat(grad, axes), expected.grad, expected.grad_scale, dtype, ulps, "grad")
    return loss, grad


def cropped(a):
    big = np.full((*a.shape[:-2], a.shape[-2] + 4, a.shape[-1] + 4), np.nan, a.dtype)
    big[..., 2:-2, 2:-2] = a
    return big[..., 2:-2, 2:-2]


def channels_last(a):
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(a, 1, -1)), -1, 1)


def flipped(a):
    return np.ascontiguousarray(a[..., ::-1, ::-1])[..., ::-1, ::-1]


def mirrored(a):
    return np.ascontiguousarray(a[..., ::-1])[..., ::-1]


REGION_LAYOUTS = {
    f.__name__: f
    for f in (np.ascontiguousarray, np.asfortranarray, channels_last, cropped, flipped, mirrored)
}
