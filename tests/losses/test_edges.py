"""The contract's "Edges" of the losses over classes: bad indices, ignored rows, masks, nan.

The element-wise ones and the empty batches are in test_edges_elementwise.py.
"""

import numpy as np
import pytest

import fastloss as fl
from tests.catalogue import BY_NAME
from tests.checks import check
from tests.helpers import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, Unchanged, each, each_dtype, f64
from tests.oracles import classes

INF, NAN = np.inf, np.nan
WIDTHS = (3, 10, 100, 1000, 5000)
"""Class counts that go through different kernels or blocks."""


def rows(width, count=5, dtype=np.float32, seed=0):
    """Ordinary logits and targets."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal((count, width)).astype(dtype), rng.integers(0, width, count)


def softened(targets, width):
    """One-hot targets with a little mass on every class."""
    return (0.9 * (np.arange(width) == targets[:, None]) + 0.1 / width).astype(np.float32)


def compare(logits, targets, **options):
    """Loss and gradient of every row against the oracle; nan and inf must match exactly."""
    expected = classes.cross_entropy(logits.astype(np.float64), targets, **options)
    loss, grad = fl.cross_entropy.value_and_grad(logits, targets, reduction="none", **options)
    np.testing.assert_allclose(loss, expected.loss, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(grad, expected.grad, rtol=2e-6, atol=1e-6)


# --- class indices ----------------------------------------------------------------------


@each("wrong", [-1, -101, 10, 2**31, -(2**63)])
@each("loss", ["cross_entropy", "categorical_cross_entropy"])
def test_index_out_of_range(loss, wrong):
    """The message names position, value and C; nothing is written before it is raised."""
    predictions, targets = np.full((4, 10), 0.1), np.array([0, 3, wrong, -7])
    out = np.full((4, 10), 7.0)
    with Unchanged(predictions, targets, out), pytest.raises(IndexError) as caught:
        getattr(fl, loss).value_and_grad(predictions, targets, out=out)
    message = str(caught.value)
    assert str(wrong) in message and "10" in message and "2" in message.replace(str(wrong), "")
    with Unchanged(predictions, targets), pytest.raises(IndexError):
        getattr(fl, loss).value_and_grad(predictions, targets, out=predictions)


def test_index_out_of_range_names_its_position_in_every_axis():
    predictions, targets = np.zeros((2, 7, 3)), np.zeros((2, 3), int)
    targets[1, 2] = 77
    with pytest.raises(IndexError, match=r"\(1, 2\)|\[1, 2\]") as caught:
        fl.cross_entropy(predictions, targets, axis=1)
    assert "77" in str(caught.value) and "7" in str(caught.value).replace("77", "")


def test_index_out_of_range_at_the_end_of_a_large_batch():
    """Found in the last row before the first row's gradient is written, also when run in
    parallel.
    """
    logits, targets = rows(1000, 300)
    targets[-1] = 1000
    with Unchanged(logits), pytest.raises(IndexError, match="299"):
        fl.cross_entropy.value_and_grad(logits, targets, out=logits)


def test_large_unsigned_index_does_not_wrap():
    """2^64 - 100 is not -100."""
    with pytest.raises(IndexError, match=str(2**64 - 100)):
        fl.cross_entropy(np.zeros((1, 3)), np.array([2**64 - 100], np.uint64))


@each("ignore", [-100, -1, 0, 2, 255, -(2**40)])
def test_ignore_index(ignore):
    """Any integer, in or out of [0, C); the default then no longer ignores anything."""
    logits, _ = rows(3, dtype=np.float64)
    targets = np.array([1, ignore, 1, ignore, 1])
    compare(logits, targets, ignore_index=ignore)
    loss = fl.cross_entropy(logits, targets, ignore_index=ignore)
    np.testing.assert_allclose(loss, fl.cross_entropy(logits[::2], targets[::2]), rtol=1e-15)
    if ignore != -100:
        with pytest.raises(IndexError, match="-100"):
            fl.cross_entropy(logits, np.array([1, -100, 1, 1, 1]), ignore_index=ignore)


@pytest.mark.parametrize("width", WIDTHS)
@each_dtype
def test_ignored_row_is_zero_even_with_nan(width, dtype):
    """Loss 0 and gradient 0, not 0 * nan; out is overwritten with that 0."""
    logits, targets = rows(width, dtype=dtype)
    logits[1], logits[3, 0] = NAN, INF
    targets[[1, 3]] = -100
    out = np.full_like(logits, 7)
    loss, _ = fl.cross_entropy.value_and_grad(logits, targets, reduction="none", out=out)
    assert not loss[[1, 3]].any() and not f64(out)[[1, 3]].any()
    assert np.isfinite(fl.cross_entropy(logits, targets))


@each("loss", ["cross_entropy", "categorical_cross_entropy"])
@pytest.mark.parametrize("options", [{}, {"label_smoothing": 0.1}], ids=str)
def test_all_rows_ignored(loss, options):
    """A mean over nothing is nan, its gradient 0; the sum is 0."""
    predictions, targets = np.full((3, 4), 0.25, np.float32), np.full(3, -100)
    loss = getattr(fl, loss)
    value, grad = loss.value_and_grad(predictions, targets, **options)
    assert np.isnan(value) and grad.shape == (3, 4) and not grad.any()
    assert loss(predictions, targets, reduction="sum", **options) == 0
    assert not loss(predictions, targets, reduction="none", **options).any()


def test_ignored_rows_have_no_z_loss():
    logits, targets = rows(5, dtype=np.float64)
    targets[2:] = -100
    compare(logits, targets, z_loss=0.5)
    some = fl.cross_entropy(logits, targets, z_loss=0.5)
    np.testing.assert_allclose(
        some, fl.cross_entropy(logits[:2], targets[:2], z_loss=0.5), rtol=1e-15
    )


# --- masks ------------------------------------------------------------------------------


MASKS = {
    "first": lambda c: slice(0, 1),
    "leading-half": lambda c: slice(0, c // 2),
    "all-but-last": lambda c: slice(0, c - 1),
    "last": lambda c: slice(c - 1, c),
    "trailing-half": lambda c: slice(c - c // 2, c),
    "every-other": lambda c: slice(0, c, 2),
}


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
@pytest.mark.parametrize("width", WIDTHS)
def test_masked_logits(mask, width):
    """-inf is probability 0 wherever it stands, also over whole leading blocks.

    On the target the loss is inf.
    """
    logits, targets = rows(width)
    logits[:, mask(width)] = -INF
    compare(logits, targets)
    compare(logits, targets, label_smoothing=0.1)
    compare(logits, softened(targets, width))
    free = np.flatnonzero(np.isfinite(logits[0]))
    targets[:] = free[-1]
    compare(logits, targets)
    assert np.isfinite(fl.cross_entropy(logits, targets))
    # Soft targets without mass on the masks: 0 * log 0 = 0.
    soft = np.zeros_like(logits)
    soft[:, free] = 1.0 / free.size
    compare(logits, soft)
    assert np.isfinite(fl.cross_entropy(logits, soft))


@pytest.mark.parametrize("width", [3, 100, 3000])
def test_masks_under_every_logit_option(width):
    logits, targets = rows(width)
    logits[:, : width // 2] = -INF
    targets[:] = width - 1
    for options in ({"logit_scale": 2.0}, {"logit_softcap": 3.0}, {"z_loss": 0.1}):
        compare(logits, targets, **options)
    compare(logits, targets, logit_scale=0.5, logit_softcap=3.0, z_loss=0.1)
    compare(logits, np.zeros(5, int), logit_softcap=3.0)
    assert fl.cross_entropy(logits, np.zeros(5, int), logit_softcap=3.0) == INF


@each_dtype
def test_target_on_a_mask(dtype):
    """Loss +inf; gradient p - t, finite."""
    logits = np.array([[-INF, 0, 0]], dtype)
    for options in ({}, {"label_smoothing": 0.5}):
        loss, grad = fl.cross_entropy.value_and_grad(logits, np.array([0]), **options)
        e = options.get("label_smoothing", 0)
        assert loss == INF
        np.testing.assert_allclose(
            f64(grad), [[e - 1 - e / 3, 0.5 - e / 3, 0.5 - e / 3]], rtol=8e-3
        )


def test_smoothing_puts_mass_on_masks():
    """As in torch: any mask makes the smoothed loss inf; its gradient stays finite."""
    loss, grad = fl.cross_entropy.value_and_grad(
        np.array([[-INF, 0.0, 0.0]]), np.array([1]), label_smoothing=0.3
    )
    assert loss == INF
    np.testing.assert_allclose(grad, [[-0.1, 0.5 - 0.8, 0.5 - 0.1]], rtol=1e-14)


def test_class_weight_zero_leaves_no_mass_on_a_mask():
    """0 * inf is 0: a class that weighs nothing may be masked."""
    logits = np.array([[-INF, 1.0, 2.0], [0.0, 1.0, 2.0]])
    weight = np.array([0.0, 1.0, 1.0])
    loss, grad = fl.cross_entropy.value_and_grad(logits, np.array([0, 1]), class_weight=weight)
    np.testing.assert_allclose(loss, np.log(np.exp([0.0, 1, 2]).sum()) - 1, rtol=1e-15)
    assert not grad[0].any()


# --- broken rows ------------------------------------------------------------------------


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("bad", [NAN, INF], ids=["nan", "inf"])
def test_broken_row(width, bad):
    """That row is nan, loss and gradient.

    The rows beside it are untouched, wherever the bad logit stands.
    """
    for place in sorted({0, 1, width // 2, width - 2, width - 1}):
        logits, targets = rows(width, 6)
        loss, grad = fl.cross_entropy.value_and_grad(logits, targets, reduction="none")
        logits[2, place] = bad
        got, got_grad = fl.cross_entropy.value_and_grad(logits, targets, reduction="none")
        assert np.isnan(got[2]) and np.isnan(got_grad[2]).all()
        others = np.arange(6) != 2
        np.testing.assert_array_equal(got[others], loss[others])
        np.testing.assert_array_equal(got_grad[others], grad[others])
        compare(logits, softened(targets, width))


@pytest.mark.parametrize("width", WIDTHS)
def test_row_of_only_masks(width):
    logits, targets = rows(width)
    logits[3] = -INF
    compare(logits, targets)
    compare(logits, softened(targets, width))
    assert np.isnan(fl.cross_entropy(logits, targets))


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(
    "first, second", [(NAN, -INF), (-INF, NAN), (INF, -INF), (NAN, INF), (INF, INF)]
)
def test_broken_and_masked_at_once(width, first, second):
    """Skipping masks by x != -inf, or a maximum that drops nan, would hide the nan."""
    for a, b in ((0, width - 1), (0, 1), (width - 2, width - 1)):
        logits, targets = rows(width)
        logits[1, a], logits[1, b] = first, second
        compare(logits, targets)
    logits[2] = -INF
    logits[2, 0] = NAN
    compare(logits, targets)


@each(
    "options",
    [{"logit_softcap": 5.0}, {"logit_scale": 2.0}, {"z_loss": 0.1}, {"label_smoothing": 0.1}],
)
def test_broken_rows_under_options(options):
    """tanh(inf) is finite: a +inf logit must not hide behind the cap."""
    for width in (4, 300):
        logits, targets = rows(width)
        logits[1, 0], logits[3, width - 1], logits[4] = NAN, INF, -INF
        compare(logits, targets, **options)


@each("dtype", [FLOAT16, BFLOAT16, FLOAT64])
def test_broken_rows_in_every_dtype(dtype):
    for width in (5, 600):
        logits, targets = rows(width, dtype=dtype)
        logits[0, 0], logits[1, width - 1], logits[2] = NAN, INF, -INF
        loss, grad = fl.cross_entropy.value_and_grad(logits, targets, reduction="none")
        np.testing.assert_array_equal(np.isnan(loss), [True, True, True, False, False])
        np.testing.assert_array_equal(
            np.isnan(f64(grad)), np.repeat(np.isnan(loss)[:, None], width, 1)
        )


def test_largest_finite_logits():
    """lse - z stays finite at both ends of the range."""
    top = np.finfo(np.float32).max
    loss, grad = fl.cross_entropy.value_and_grad(
        np.array([[top, top, 0]], np.float32), np.array([0])
    )
    np.testing.assert_allclose(loss, np.log(2.0), rtol=2e-7)
    np.testing.assert_allclose(grad, [[-0.5, 0.5, 0]], rtol=2e-7)
    loss = fl.cross_entropy(np.array([[-top, -top]], np.float32), np.array([0]))
    np.testing.assert_allclose(loss, np.log(2.0), rtol=2e-7)


@each("dtype", [FLOAT32, FLOAT64])
def test_one_class(dtype):
    """C = 1: certain, so loss 0 and gradient 0."""
    logits = np.array([[3.0], [-4.0]], dtype)
    loss, grad = fl.cross_entropy.value_and_grad(logits, np.zeros(2, int))
    assert loss == 0 and not grad.any()


def test_logits_far_beyond_the_cap(rng):
    """Flat there: gradient 0, no nan."""
    case = BY_NAME["cross_entropy-hard-capped"]
    logits = (10.0 ** rng.uniform(-3, 30, (6, 9)) * rng.choice([-1, 1], (6, 9))).astype(np.float32)
    check(case, logits, rng.integers(0, 9, 6), logit_softcap=5.0)
