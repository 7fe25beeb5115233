"""What the metrics compute themselves, against scikit-learn, over random configurations."""

import numpy as np
import pytest

from fastloss.metrics import delegation
from tests.helpers import LAYOUTS, each
from tests.metrics.peer import check_same, ours, theirs

FLOATS = (np.float64, np.float32)
N = 500


@pytest.fixture
def same(monkeypatch):
    """Compare a call of ours, which must not go to scikit-learn, with scikit-learn's."""

    def compare(name, *args, **kwargs):
        with monkeypatch.context() as patched:
            patched.setattr(delegation, "_theirs", None)
            expected = check_same(name, *args, **kwargs)
        assert not isinstance(expected, tuple), f"scikit-learn refuses this: {expected}"

    return compare


def two(rng, low=0, high=1, dtype=np.int64, n=N):
    labels = np.where(rng.random(n) < 0.4, high, low).astype(dtype)
    labels[:2] = low, high
    return labels


def simplex(rng, n, classes, dtype):
    p = rng.random((n, classes))
    return (p / p.sum(1, keepdims=True)).astype(dtype)


def all_classes(rng, n, classes, start=0, dtype=np.int64):
    y = rng.integers(0, classes, n)
    y[:classes] = np.arange(classes)
    return (y + start).astype(dtype)


def some_weights(rng, kind, n=N):
    if kind == "none":
        return None
    if kind == "integers":
        return rng.integers(1, 4, n)
    weights = rng.random(n).astype(np.float32 if kind == "float32" else np.float64)
    if kind == "zeros":
        weights[::3] = 0.0
    return weights


each_weights = each("kind", ("none", "float64", "float32", "integers", "zeros"))


@pytest.mark.parametrize("dtype", FLOATS)
@each_weights
@pytest.mark.parametrize("low, high", [(0, 1), (-1, 1), (3, 7)])
class TestTwoLabels:
    def test_log_loss(self, same, rng, dtype, kind, low, high):
        y, p = two(rng, low, high), rng.random(N).astype(dtype)
        p[5:7] = 0.0, 1.0  # clipped to the dtype's eps, on either side of the truth
        for normalize in (True, False):
            same("log_loss", y, p, normalize=normalize, sample_weight=some_weights(rng, kind))

    def test_brier_score_loss(self, same, rng, dtype, kind, low, high):
        y, p = two(rng, low, high), rng.random(N).astype(dtype)
        w = some_weights(rng, kind)
        for pos_label in (None, low, high):
            for scale in ("auto", True, False):
                same(
                    "brier_score_loss", y, p,
                    sample_weight=w, pos_label=pos_label, scale_by_half=scale,
                )  # fmt: skip

    def test_hinge_loss(self, same, rng, dtype, kind, low, high):
        y, d = two(rng, low, high), rng.normal(0, 2, N).astype(dtype)
        same("hinge_loss", y, d, sample_weight=some_weights(rng, kind))


@pytest.mark.parametrize("dtype", FLOATS)
@each_weights
@pytest.mark.parametrize(
    "classes, start, labels", [(3, 0, np.int64), (10, 5, np.int32), (2, 0, np.uint8)]
)
class TestManyLabels:
    def test_log_loss(self, same, rng, dtype, kind, classes, start, labels):
        y, p = all_classes(rng, N, classes, start, labels), simplex(rng, N, classes, dtype)
        w = some_weights(rng, kind)
        same("log_loss", y, p, sample_weight=w)
        same("log_loss", y, p, sample_weight=w, normalize=False)

    def test_brier_score_loss(self, same, rng, dtype, kind, classes, start, labels):
        y, p = all_classes(rng, N, classes, start, labels), simplex(rng, N, classes, dtype)
        w = some_weights(rng, kind)
        for scale in ("auto", True, False):
            same("brier_score_loss", y, p, sample_weight=w, scale_by_half=scale)

    def test_hinge_loss(self, same, rng, dtype, kind, classes, start, labels):
        classes = max(classes, 3)  # for two, scikit-learn takes one column of decisions
        y = all_classes(rng, N, classes, start, labels)
        d = rng.normal(0, 2, (N, classes)).astype(dtype)
        same("hinge_loss", y, d, sample_weight=some_weights(rng, kind))


class TestAbsentLabels:
    """`labels` names those that do not occur."""

    def test_two(self, same, rng):
        p = rng.random(N)
        same("log_loss", np.ones(N, int), p, labels=[0, 1])
        same("log_loss", np.zeros(N, int), p, labels=np.array([0, 1]))
        same("brier_score_loss", np.zeros(N, int), p)
        same("brier_score_loss", np.full(N, 5), p)

    def test_many(self, same, rng):
        y, p = rng.integers(1, 3, N), simplex(rng, N, 4, np.float64)
        same("log_loss", y, p, labels=[0, 1, 2, 3])
        same("brier_score_loss", y, p, labels=[1, 2, 3, 4])
        same("hinge_loss", y, rng.normal(size=(N, 4)), labels=[0, 1, 2, 3])


@each("labels", (bool, np.int8, np.uint8, np.float64))
def test_dtypes_of_labels(same, rng, labels):
    y, p = two(rng, dtype=labels), rng.random(N)
    same("log_loss", y, p)
    same("brier_score_loss", y, p)
    same("hinge_loss", y, p)


@pytest.mark.parametrize("truth, dtype", [(np.float64, np.float64), (np.float32, np.float32)])
@each_weights
class TestRegression:
    def test_one_output(self, same, rng, truth, dtype, kind):
        y, p = rng.normal(size=N).astype(truth), rng.normal(size=N).astype(dtype)
        w = some_weights(rng, kind)
        for name, options in (("mean_squared_error", {}), ("mean_pinball_loss", {"alpha": 0.9})):
            same(name, y, p, sample_weight=w, **options)
            same(name, y, p[:, None], sample_weight=w, **options)
            same(name, y, p, sample_weight=w, multioutput="raw_values", **options)

    def test_outputs(self, same, rng, truth, dtype, kind):
        y, p = rng.normal(size=(N, 3)).astype(truth), rng.normal(size=(N, 3)).astype(dtype)
        w = some_weights(rng, kind)
        for name, options in (("mean_squared_error", {}), ("mean_pinball_loss", {"alpha": 0.2})):
            for multioutput in ("uniform_average", "raw_values", np.array([0.2, 0.5, 0.3])):
                same(name, y, p, sample_weight=w, multioutput=multioutput, **options)


def test_whole_numbers_are_computed_as_float64(same, rng):
    y, p = rng.integers(-9, 9, N), rng.integers(-9, 9, N)
    same("mean_squared_error", y, p)
    same("mean_squared_error", y, p.astype(np.float32))
    same("mean_squared_error", y.astype(np.float32), p.astype(np.float64))
    same("mean_squared_error", y.astype(np.float64), p.astype(np.float32))
    same("mean_pinball_loss", y, p, alpha=0.3)


@each("scale", (1e-300, 1e-50, 1e-42, 1e39, 1e300))
def test_weights_that_float32_does_not_hold(same, rng, scale):
    """The probabilities are float32, the weights float64: their proportions are what counts."""
    y, p, w = two(rng), rng.random(N).astype(np.float32), scale * rng.uniform(1.0, 2.0, N)
    many, q = all_classes(rng, N, 3), simplex(rng, N, 3, np.float32)
    same("log_loss", y, p, sample_weight=w)
    same("log_loss", many, q, sample_weight=w)
    same("brier_score_loss", y, p, sample_weight=w)
    same("brier_score_loss", many, q, sample_weight=w)
    same("hinge_loss", many, q, sample_weight=w)
    same("mean_squared_error", p, p[::-1].copy(), sample_weight=w)
    added = theirs("log_loss")(y, p, sample_weight=w, normalize=False)
    assert ours("log_loss")(y, p, sample_weight=w, normalize=False) == pytest.approx(added, 1e-6, 0)


@each("layout", LAYOUTS)
def test_layouts(same, rng, layout):
    lay = LAYOUTS[layout]
    y, p = all_classes(rng, N, 3), simplex(rng, N, 3, np.float64)
    same("log_loss", lay(y), lay(p))
    same("brier_score_loss", lay(y), lay(p))
    same("hinge_loss", lay(y), lay(p))
    same("mean_squared_error", lay(p), lay(p[::-1].copy()))
    same("log_loss", lay(two(rng)), lay(p[:, 0].copy()), sample_weight=lay(p[:, 1].copy()))


def test_blocks_of_rows(same, rng):
    """More rows than are turned over at a time, and a last block that is not full."""
    y, d = all_classes(rng, 4096 * 2 + 17, 5), rng.normal(size=(4096 * 2 + 17, 5))
    same("hinge_loss", y, d)


def test_float32_sums_keep_their_digits(rng):
    """A sum in float32 over a million rows loses them; scikit-learn's float64 is the truth."""
    y, p = two(rng, n=1_000_000), rng.random(1_000_000).astype(np.float32)
    exact = theirs("brier_score_loss")(y, p.astype(np.float64))
    assert ours("brier_score_loss")(y, p) == pytest.approx(exact, rel=2 * 2.0**-24)
