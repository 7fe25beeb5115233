"""The contract's "Edges" on a device, where bad values make nan instead of raising."""

import numpy as np
import pytest

import fastloss as fl
from tests.cuda.device import SIMULATED, DeviceLoss, OnDevice, needs_gpu
from tests.helpers import FLOAT32, FLOAT64, Unchanged, each, each_dtype, f64
from tests.oracles import classes

pytestmark = needs_gpu

INF, NAN = np.inf, np.nan
# A thread, part of a warp, a warp, a block, several blocks.
WIDTHS = (2, 7, 40, 150) if SIMULATED else (3, 10, 100, 1000, 5000, 40_001)

cross_entropy = DeviceLoss(fl.cross_entropy)
categorical = DeviceLoss(fl.categorical_cross_entropy)
each_width = pytest.mark.parametrize("width", WIDTHS)


@pytest.fixture
def validating():
    """`fl.config.validate_cuda = True`."""
    fl.config.validate_cuda = True
    yield
    fl.config.validate_cuda = False


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
    loss, grad = cross_entropy.value_and_grad(logits, targets, reduction="none", **options)
    np.testing.assert_allclose(loss, expected.loss, rtol=2e-6, atol=2e-6)
    np.testing.assert_allclose(grad, expected.grad, rtol=5e-6, atol=2e-6)


# --- class indices ----------------------------------------------------------------------


@each_width
@each("loss", [cross_entropy, categorical])
@each("options", [{}, {"label_smoothing": 0.1}])
def test_bad_index_makes_its_row_nan(loss, options, width):
    """Loss and the whole gradient of that row; the others are as they were."""
    logits, targets = rows(width)
    predictions = np.abs(logits) / np.abs(logits).sum(1, keepdims=True)
    good, good_grad = loss.value_and_grad(predictions, targets, reduction="none", **options)
    for wrong in (-1, width, 2**40, -(2**63)):
        bad = targets.copy()
        bad[2] = wrong
        value, grad = loss.value_and_grad(predictions, bad, reduction="none", **options)
        assert np.isnan(value[2]) and np.isnan(grad[2]).all()
        others = np.arange(5) != 2
        np.testing.assert_array_equal(value[others], good[others])
        np.testing.assert_array_equal(grad[others], good_grad[others])
        mean, mean_grad = loss.value_and_grad(predictions, bad, **options)
        assert np.isnan(mean) and np.isnan(mean_grad[2]).all()
        np.testing.assert_allclose(mean_grad[others], good_grad[others] / 5, rtol=1e-5, atol=1e-8)


def test_large_unsigned_index_does_not_wrap():
    loss = cross_entropy(np.zeros((1, 3)), np.array([2**64 - 100], np.uint64), reduction="none")
    assert np.isnan(loss[0])


@each("dtype", ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"])
def test_index_dtypes(dtype):
    logits, targets = rows(5)
    compare(logits, targets.astype(dtype))


@each("loss", [cross_entropy, categorical])
def test_validation_names_the_first_bad_index(loss, validating):
    predictions, targets = np.full((4, 10), 0.1), np.array([0, 3, 77, -7])
    out = np.full((4, 10), 7.0)
    with Unchanged(predictions, targets, out), pytest.raises(IndexError) as caught:
        loss.value_and_grad(predictions, targets, out=out)
    for word in ("(2,)", "77", "C = 10"):
        assert word in str(caught.value)
    targets[2:] = -100, 9
    assert np.isfinite(loss(predictions, targets))


def test_validation_in_every_layout(validating):
    predictions, targets = np.zeros((2, 7, 3)), np.zeros((2, 3), int)
    targets[1, 2] = 77
    with pytest.raises(IndexError, match=r"\(1, 2\) is 77"):
        cross_entropy(predictions, targets, axis=1)
    with pytest.raises(IndexError, match=r"\(0, 0\) is 77"):
        cross_entropy(predictions, targets[::-1, ::-1], axis=1)


@each_width
@each_dtype
def test_ignored_row_is_zero_even_with_nan(width, dtype):
    logits, targets = rows(width, dtype=dtype)
    logits[1], logits[3, 0] = NAN, INF
    targets[[1, 3]] = -100
    out = np.full_like(logits, 7)
    loss, _ = cross_entropy.value_and_grad(logits, targets, reduction="none", out=out)
    assert not loss[[1, 3]].any() and not f64(out)[[1, 3]].any()
    assert np.isfinite(cross_entropy(logits, targets))


@each("loss", [cross_entropy, categorical])
@each("options", [{}, {"label_smoothing": 0.1}])
def test_all_rows_ignored(loss, options):
    predictions, targets = np.full((3, 4), 0.25, np.float32), np.full(3, -100)
    value, grad = loss.value_and_grad(predictions, targets, **options)
    assert np.isnan(value) and grad.shape == (3, 4) and not grad.any()
    assert loss(predictions, targets, reduction="sum", **options) == 0
    assert not loss(predictions, targets, reduction="none", **options).any()


# --- masks and broken rows --------------------------------------------------------------


@each_width
def test_masked_logits(width):
    """-inf is probability 0 wherever it stands, also all over what one thread reads."""
    for mask in (slice(0, 1), slice(0, width - 1), slice(width // 2, width), slice(0, width, 2)):
        logits, targets = rows(width)
        logits[:, mask] = -INF
        compare(logits, targets)
        compare(logits, softened(targets, width))
        free = np.flatnonzero(np.isfinite(logits[0]))
        targets[:] = free[-1]
        compare(logits, targets, logit_scale=2.0, logit_softcap=3.0, z_loss=0.1)
        soft = np.zeros_like(logits)
        soft[:, free] = 1.0 / free.size
        compare(logits, soft)


@each_width
def test_masks_before_very_negative_logits(width):
    """A maximum that starts at 0 would lose every logit below -104."""
    logits, targets = rows(width)
    logits -= 1000
    logits[:, : width - 1] = -INF
    targets[:] = width - 1
    compare(logits, targets)


@each_width
@pytest.mark.parametrize("bad", [NAN, INF], ids=["nan", "inf"])
def test_broken_row(width, bad):
    """That row is nan, loss and gradient; others are untouched."""
    for place in sorted({0, width // 2, width - 1}):
        logits, targets = rows(width, 6)
        loss, grad = cross_entropy.value_and_grad(logits, targets, reduction="none")
        logits[2, place] = bad
        got, got_grad = cross_entropy.value_and_grad(logits, targets, reduction="none")
        assert np.isnan(got[2]) and np.isnan(got_grad[2]).all()
        others = np.arange(6) != 2
        np.testing.assert_array_equal(got[others], loss[others])
        np.testing.assert_array_equal(got_grad[others], grad[others])
        compare(logits, softened(targets, width))


@each_width
def test_row_of_only_masks(width):
    logits, targets = rows(width)
    logits[3] = -INF
    compare(logits, targets)
    compare(logits, softened(targets, width))


def test_large_logits_keep_their_digits():
    logits = np.array([[1e4, 1e4 + 1, 1e4 - 2]], np.float32)
    compare(logits, np.array([0]))


# --- element-wise -----------------------------------------------------------------------


@each_dtype
def test_bad_probabilities_are_nan(dtype):
    loss = DeviceLoss(fl.binary_cross_entropy)
    p = np.array([0.5, 1.5, -0.5, NAN, 1.0, 0.0]).astype(dtype)
    value, grad = loss.value_and_grad(p, np.ones(6, dtype), reduction="none")
    bad = np.array([False, True, True, True, False, False])
    np.testing.assert_array_equal(np.isnan(value), bad)
    np.testing.assert_array_equal(np.isnan(f64(grad)), bad)
    weight = np.where(bad, 0.0, 1.0)
    assert np.isfinite(loss(p, np.ones(6, dtype), sample_weight=weight))


def test_hinge_targets_other_than_signs_are_nan():
    loss = DeviceLoss(fl.hinge)
    value, grad = loss.value_and_grad(np.zeros(3), np.array([1.0, 0.5, -1.0]), reduction="none")
    np.testing.assert_array_equal(np.isnan(value), [False, True, False])
    np.testing.assert_array_equal(np.isnan(grad), [False, True, False])


def test_validation_names_the_first_bad_element(validating):
    p = np.full((3, 4), 0.5)
    p[1, 2], p[2, 0] = 1.5, 7.0
    for layout in (np.ascontiguousarray, np.asfortranarray):
        with pytest.raises(ValueError, match=r"at \(\d, \d\) the prediction is (1.5|7)"):
            DeviceLoss(fl.binary_cross_entropy)(layout(p), layout(np.ones((3, 4))))
    with pytest.raises(ValueError, match="targets -1 or"):
        DeviceLoss(fl.hinge)(p, np.full((3, 4), 2))


@each("dtype", [FLOAT32, FLOAT64])
def test_empty_batch(dtype):
    for loss, targets in (
        (cross_entropy, np.zeros(0, np.int64)),
        (DeviceLoss(fl.mse), np.zeros((0, 3), dtype)),
    ):
        predictions = np.zeros((0, 3), dtype)
        value, grad = loss.value_and_grad(predictions, targets)
        assert np.isnan(value) and grad.shape == (0, 3)
        assert loss(predictions, targets, reduction="sum") == 0
        assert loss(predictions, targets, reduction="none").size == 0


# --- boxes ------------------------------------------------------------------------------


@each("name", ["giou", "diou", "ciou"])
def test_boxes_without_area_inverted_huge_or_broken(name):
    """As on the CPU, where each has a test of its own."""
    square, point = [0, 0, 2, 2], [1, 1, 1, 1]
    pairs = [
        (square, square), (point, point), (point, square), (square, point), ([0, 1, 2, 1], square),
        ([1.5, 0, 0.5, 2], square), ([1.5, 1.5, 0.5, 0.25], square), (square, [2, 0, 0, 2]),
        ([0, NAN, 2, 2], square), (square, [0, 0, 2, INF]), ([0, 0, -INF, 2], square),
        ([0, 0, 1e19, 1e19], [5e18, 0, 15e18, 1e19]), ([0, 0, 1, 1], [1, 0, 2, 1]),
    ]  # fmt: skip
    p, t = (np.array(a, np.float32) for a in zip(*pairs, strict=True))
    loss = getattr(fl, name)
    got = DeviceLoss(loss).value_and_grad(p, t, reduction="none")
    for a, b in zip(got, loss.value_and_grad(p, t, reduction="none"), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=2e-7)


# --- refusals ---------------------------------------------------------------------------


def test_arrays_on_different_devices():
    """The message names both places."""
    from tests.cuda.device import OnDevice

    on_device, on_host = OnDevice(np.zeros((2, 3))), np.array([0, 1])
    with pytest.raises(fl.DeviceError, match=r"cuda:0.*cpu"):
        fl.cross_entropy(on_device, on_host)
    with pytest.raises(fl.DeviceError, match=r"cpu.*cuda:0"):
        fl.cross_entropy(np.zeros((2, 3)), OnDevice(on_host))
    with pytest.raises(fl.DeviceError, match="class_weight"):
        fl.cross_entropy(on_device, OnDevice(on_host), class_weight=np.ones(3))


@each("call", [
    {"targets": np.array([0, 1, 2])}, {"targets": np.array([True, False])},
    {"reduction": "max"}, {"label_smoothing": 2.0}, {"logit_scale": np.array(2.0)},
    {"class_weight": np.ones(4)}, {"sample_weight": np.ones(3)}, {"axis": 2},
])  # fmt: skip
def test_refusals_are_those_of_the_cpu(call):
    call = {"predictions": np.zeros((2, 3)), "targets": np.array([0, 1])} | call
    with pytest.raises((TypeError, ValueError)):
        DeviceLoss(fl.cross_entropy)(**call)


def test_read_only_and_overlapping_out():
    p, t = np.zeros((2, 3)), np.array([0, 1])
    out = np.zeros((2, 3))
    out.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        cross_entropy.value_and_grad(p, t, out=out)
    target = np.full((2, 3), 1 / 3)
    with pytest.raises(ValueError, match="shares memory"):
        cross_entropy.value_and_grad(p, target, out=target)


def test_a_number_is_no_array_of_no_axes():
    """A weight of either kind after the other, which are alike in dtype, shape and strides."""
    x, weight = np.arange(4, dtype=np.float32), np.array(3.0)
    for first, second in ((3.0, weight), (weight, 3.0)):
        mse = DeviceLoss(fl.pointwise_loss("own", lambda p, t: p, lambda p, t: 1.0, doc=str(first)))
        for one in (first, second):
            assert mse(x, x, sample_weight=one, reduction="sum") == 18.0


def test_numbers_of_numpy():
    """They are no arrays, so they are on no other device."""
    x, y = (OnDevice(np.array(values, np.float32)) for values in ([0.0, 3.0], [0.0, 0.0]))
    call = {"delta": np.float32(2), "sample_weight": np.float32(2), "reduction": "sum"}
    assert fl.huber(x, y, **call).copy_to_host() == 8.0
    grad = fl.huber.grad(x, y, delta=np.float16(2), grad_output=np.int32(3), reduction="sum")
    assert grad.copy_to_host().tolist() == [0.0, 6.0]


# --- element-wise losses ----------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_mean_of_losses_whose_sum_leaves_float32(dtype):
    """Neighbours are added up in the precision that they are computed in, but as a mean."""
    far = np.full(1003, 2.0**64, dtype)
    loss = DeviceLoss(fl.mse)(far, np.zeros_like(far))
    assert loss == np.float32(2.0**127)
