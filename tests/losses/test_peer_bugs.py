"""Bugs that were found in other loss libraries, one test each, named after the place where it was
reported.
"""

import mmap
import sys

import numpy as np
import pytest

import fastloss as fl
from tests.catalogue import BY_NAME
from tests.checks import check, grad_of
from tests.helpers import BFLOAT16, EPS, FLOAT32, Unchanged, assert_same_bits, each, f64, run_python

INF, NAN = np.inf, np.nan
HARD = BY_NAME["cross_entropy-hard-plain"]


def test_liger_272_and_unsloth_5002_logits_are_not_overwritten():
    """A kernel that puts the gradient over the logits makes every later use of them wrong,
    silently.
    """
    logits, targets = HARD.draw((50, 300), FLOAT32)
    with Unchanged(logits, targets):
        first = fl.cross_entropy.value_and_grad(logits, targets)
        second = fl.cross_entropy.value_and_grad(logits, targets)
    for a, b in zip(first, second, strict=True):
        assert_same_bits(a, b)


def test_liger_pr_1251_upstream_gradient_of_the_in_place_path():
    """The upstream gradient reaches the in-place gradient too."""
    logits, targets = HARD.draw((6, 5))
    expected = 0.25 * grad_of(fl.cross_entropy, logits, targets)
    grad_of(fl.cross_entropy, logits, targets, out=logits, grad_output=0.25)
    np.testing.assert_allclose(logits, expected, rtol=1e-15)


@each("name", ["cross_entropy", "mse", "binary_cross_entropy_with_logits"])
def test_megatron_pr_1594_no_conversion_is_no_licence_to_write(name):
    """asarray and astype(copy=False) give the caller's own array if the dtype is right already."""
    p, y = np.full((4, 4), 0.5), np.full((4, 4), 0.25)
    weight = np.full(4, 2.0)
    with Unchanged(p, y, weight):
        getattr(fl, name).value_and_grad(p, y, sample_weight=weight)


@pytest.mark.parametrize("block", [1, 64, 1024, 2048, 4096])
def test_flash_attention_1930_first_block_of_masks(block):
    """An online softmax that starts with -inf - -inf is nan from there on."""
    logits, targets = HARD.draw((3, 5000), FLOAT32)
    logits[:, :block] = -INF
    targets[:] = 4999
    check(HARD, logits, targets, ulps=8)


def test_pytorch_195829_skipping_masks_hides_no_nan():
    logits = np.array([[NAN, -INF, 0], [-INF, NAN, -INF], [-INF, 1, 0]])
    loss = fl.cross_entropy(logits, np.array([2, 2, 2]), reduction="none")
    np.testing.assert_array_equal(np.isnan(loss), [True, True, False])


def test_unsloth_pr_10616_masks_do_not_come_back_through_the_softcap():
    """A padding class at -inf, capped to -30, would count as a class again."""
    logits = np.zeros((2, 8))
    logits[:, 5:] = -INF
    loss = fl.cross_entropy(logits, np.array([0, 4]), logit_softcap=30.0)
    np.testing.assert_allclose(loss, np.log(5.0), rtol=1e-15)


@pytest.mark.parametrize(
    "width", [1, 3, 7, 15, 17, 31, 33, 63, 65, 127, 129, 1023, 1025, 2047, 2049]
)
def test_verl_pr_5349_padded_tails_are_not_summed(width):
    """A tail filled up with zeros adds exp(0) each: worst when every logit is very negative."""
    for dtype in (np.float32, BFLOAT16):
        logits = np.full((3, width), -50).astype(dtype)
        loss = fl.cross_entropy(logits, np.zeros(3, int))
        np.testing.assert_allclose(loss, np.log(width), rtol=3e-7, atol=1e-7)


def test_liger_968_upstream_gradient_differs_per_row(rng):
    logits, targets = HARD.draw((7, 40), FLOAT32)
    check(HARD, logits, targets, reduction="none", grad_output=rng.standard_normal(7))


def test_liger_678_reduction_none_is_per_row():
    """The losses come back unsummed, ignored rows among them as 0."""
    logits, targets = HARD.draw((4, 3))
    targets[1] = -100
    rows = fl.cross_entropy(logits, targets, reduction="none")
    assert rows.shape == (4,) and rows[1] == 0 and (rows[[0, 2, 3]] > 0).all()


def test_transformer_engine_623_upstream_gradient_of_stride_zero():
    """loss.sum() hands over one number, broadcast.

    Read as contiguous it is whatever lies behind it.
    """
    logits, targets = HARD.draw((9, 20), FLOAT32)
    memory = np.array([2.0, 77.0, 77.0])
    upstream = np.lib.stride_tricks.as_strided(memory, (9,), (0,))
    check(HARD, logits, targets, reduction="none", grad_output=upstream)


def test_transformer_engine_2734_transposed_logits():
    """The last stride alone does not tell a contiguous array.

    Here it is one element, the other is not.
    """
    logits, targets = HARD.draw((6, 10), FLOAT32)
    check(HARD, np.asfortranarray(logits), targets)
    check(HARD, logits[::2], targets[::2])
    turned = np.ascontiguousarray(logits.reshape(2, 3, 10).transpose(1, 0, 2)).transpose(1, 0, 2)
    assert turned.strides[-1] == 4
    check(HARD, turned, targets.reshape(2, 3))


def test_transformer_engine_pr_2476_mean_under_ignore_index():
    """Divided by the rows that count, not by all of them; the number is computed by hand."""
    logits = np.log(np.array([[3.0, 1.0], [1.0, 1.0], [1.0, 7.0]]))
    loss, grad = fl.cross_entropy.value_and_grad(logits, np.array([0, -100, 0]))
    np.testing.assert_allclose(loss, (np.log(4 / 3) + np.log(8)) / 2, rtol=1e-15)
    np.testing.assert_allclose(grad, [[-0.125, 0.125], [0, 0], [-0.4375, 0.4375]], rtol=1e-15)


@each("reduction", ["mean", "sum", "none"])
def test_pytorch_116349_and_liger_177_all_rows_ignored(reduction):
    """No inf or nan gradient, no ZeroDivisionError."""
    logits, _ = HARD.draw((4, 3))
    grad = grad_of(fl.cross_entropy, logits, np.full(4, -100), reduction=reduction)
    assert not grad.any()


def test_flash_attention_714_and_liger_pr_47_offsets_beyond_32_bits():
    """Three rows far apart in 14 GB of address space, of which a few pages exist."""
    if sys.platform != "linux":
        pytest.skip("needs memory that is reserved but not there")
    no_reserve = getattr(mmap, "MAP_NORESERVE", 0x4000)
    stride = 1_200_000_000
    size = 4 * (2 * stride + 16)
    try:
        memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | no_reserve)
    except OSError as error:
        pytest.skip(f"no address space: {error}")
    sparse = np.frombuffer(memory, np.float32)
    rows = np.lib.stride_tricks.as_strided(sparse, (3, 10), (4 * stride, 4))
    logits, targets = HARD.draw((3, 10), FLOAT32)
    rows[...] = logits
    check(HARD, rows, targets)
    grad_of(fl.cross_entropy, rows, targets, out=rows)
    near = np.zeros((3, 16), np.float32)[:, :10]  # not contiguous either: the same kernel
    near[...] = logits
    np.testing.assert_array_equal(rows, grad_of(fl.cross_entropy, near, targets))


def test_liger_512_and_cce_14_no_accumulation_in_bfloat16():
    """256 ones in bfloat16 are as far as counting goes.

    A row of 100,000 equal logits needs more.
    """
    logits = np.zeros((2, 100_000), BFLOAT16)
    np.testing.assert_allclose(
        fl.cross_entropy(logits, np.zeros(2, int)), np.log(100_000), rtol=2e-7
    )
    ones = np.ones(5000, BFLOAT16)
    assert fl.mse(ones, np.zeros_like(ones), reduction="sum", half=False) == 5000


def test_liger_1329_target_gradient_in_bfloat16():
    """p = 0.999 rounds to 1 in bfloat16: p - 1 must be taken before."""
    logits = np.array([[7, 0]], BFLOAT16)
    grad = f64(grad_of(fl.cross_entropy, logits, np.array([0])))
    expected = [[-1 / (1 + np.exp(7)), 1 / (1 + np.exp(7))]]
    np.testing.assert_allclose(grad, expected, rtol=EPS[BFLOAT16] / 2)  # rounded once


def test_torch_float16_mean_of_many_rows():
    """torch's CPU mean over 70,000 float16 rows is nan."""
    logits = np.zeros((70_000, 2), np.float16)
    np.testing.assert_allclose(
        fl.cross_entropy(logits, np.zeros(70_000, int)), np.log(2), rtol=2e-7
    )


def test_torch_soft_margin_loss_at_minus_100():
    """log(1 + exp(100)) is inf in float32 when written like this; its value is 100."""
    z = np.array([-100.0, 100.0], np.float32)
    loss, grad = fl.binary_cross_entropy_with_logits.value_and_grad(
        z, np.array([1.0, 0.0], np.float32)
    )
    assert loss == 100
    np.testing.assert_array_equal(grad, np.array([-0.5, 0.5], np.float32))


def test_optax_1267_saturated_logits_under_label_smoothing():
    """0 * inf, wherever a probability underflows to 0 beside a target of 0."""
    z = np.array([-1e4, -200, 200, 1e4], np.float32)
    for y in (np.zeros(4, np.float32), np.ones(4, np.float32)):
        loss, grad = fl.binary_cross_entropy_with_logits.value_and_grad(
            z, y, label_smoothing=0.1, reduction="none"
        )
        assert np.isfinite(loss).all() and np.isfinite(grad).all()
    logits = np.array([[1e4, 0, -1e4]], np.float32)
    loss = fl.cross_entropy(logits, np.array([[1.0, 0, 0]], np.float32))
    assert loss == 0


def test_torch_int32_class_indices():
    logits, targets = HARD.draw((4, 3))
    assert fl.cross_entropy(logits, targets.astype(np.int32)) == fl.cross_entropy(logits, targets)


def test_optax_index_minus_one_does_not_wrap():
    with pytest.raises(IndexError, match="-1"):
        fl.cross_entropy(np.zeros((2, 3)), np.array([0, -1]))


def test_sklearn_out_of_range_index_is_checked():
    with pytest.raises(IndexError, match="3"):
        fl.cross_entropy(np.zeros((2, 3)), np.array([0, 3]))


@each("dtype", [np.float16, np.float32, np.float64, BFLOAT16])
def test_sklearn_24315_certain_probabilities(dtype):
    """eps = 1e-15 rounds away in float32, and 0 * log 0 is nan."""
    one = np.array([0, 1], dtype)
    assert fl.binary_cross_entropy(one, one) == 0
    both = np.array([[1, 0], [0, 1]], dtype)
    assert fl.categorical_cross_entropy(both, both) == 0
    assert fl.categorical_cross_entropy(both, np.array([0, 1])) == 0


def test_numba_9387_torch_keeps_its_threads():
    """A Numba call may reset another library's OpenMP.

    Torch's thread count is the user's, not ours.
    """
    pytest.importorskip("torch")
    run_python(
        """
        import os, torch, numba, numpy as np
        torch.set_num_threads(1)
        numba_before, environment = numba.get_num_threads(), dict(os.environ)
        import fastloss as fl
        logits, targets = np.zeros((4000, 100), np.float32), np.zeros(4000, np.int64)
        fl.cross_entropy.value_and_grad(logits, targets)
        fl.mse(logits, logits)
        assert torch.get_num_threads() == 1, torch.get_num_threads()
        assert numba.get_num_threads() == numba_before
        assert dict(os.environ) == environment
        """
    )
