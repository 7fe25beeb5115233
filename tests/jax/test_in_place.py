"""Inside jit the gradient lies where a layer has put the predictions; all else stays as it is."""

import numpy as np
import pytest

jax = pytest.importorskip("jax")

import jax.numpy as jnp  # noqa: E402

import fastloss as fl  # noqa: E402
import fastloss.jax as flj  # noqa: E402
from tests.catalogue import EACH_KIND  # noqa: E402
from tests.helpers import FLOAT32, assert_same_bits, each  # noqa: E402

#: Of few digits, so that their sums are exact in any order.
LOGITS = np.round(8 * np.random.default_rng(0).standard_normal((6, 5)).astype(np.float32)) / 8
LABELS = jnp.array([0, 4, 2, 1, 3, 0])
WEIGHTS = np.linspace(0.5, 2.0, 6, dtype=np.float32)


def through_a_layer(call, predictions, targets, **options):
    """Return the results for predictions that the compiled program has made itself."""
    step = jax.jit(lambda half, t: call(half * 2, t, **options))
    return jax.tree.map(np.asarray, step(predictions / 2, targets))


@each("case", EACH_KIND)
def test_the_same_bits_as_elsewhere(case):
    predictions, targets = case.draw((6, 5), FLOAT32)
    targets = targets.astype(np.int32) if targets.dtype == np.int64 else targets
    expected = case.function.value_and_grad(predictions, targets)
    got = through_a_layer(case.function.value_and_grad, predictions, targets)
    for a, b in zip(got, expected, strict=True):
        assert_same_bits(a, np.asarray(b))


@each("options", [{"sample_weight": WEIGHTS}, {"reduction": "none"}])
@each("loss", [fl.cross_entropy, fl.ntxent])
def test_the_long_way(loss, options):
    labels = np.arange(6) // 2
    for call in (loss.value_and_grad, loss.grad):
        expected = jax.tree.leaves(call(LOGITS, labels, **options))
        got = jax.tree.leaves(through_a_layer(call, LOGITS, labels, **options))
        for a, b in zip(got, expected, strict=True):
            assert_same_bits(a, np.asarray(b))


def test_a_training_step_holds_one_array_of_the_logits_size():
    h, w, y = (
        np.zeros((256, 4), np.float32),
        np.zeros((4, 1000), np.float32),
        np.zeros(256, np.int32),
    )
    step = jax.jit(jax.value_and_grad(lambda w, h, y: flj.cross_entropy(h @ w, y)))
    compiled = step.lower(w, h, y).compile()
    size = 4 * 256 * 1000
    assert size <= compiled.memory_analysis().temp_size_in_bytes < 1.1 * size
    assert "copy(" not in compiled.as_text()


def test_what_the_program_was_given_is_not_copied():
    compiled = jax.jit(flj.cross_entropy.value_and_grad).lower(LOGITS, LABELS).compile()
    assert "fastloss_" in compiled.as_text() and "copy(" not in compiled.as_text()


def test_a_loss_in_a_jit_of_its_own_spares_the_copy():
    def copies(loss):
        def step(half):
            logits = half * 2
            return loss(logits, LABELS), logits.argmax(1)

        step = jax.jit(jax.value_and_grad(step, has_aux=True))
        return "copy(" in step.lower(LOGITS).compile().as_text()

    assert copies(flj.cross_entropy)
    assert not copies(jax.jit(flj.cross_entropy))


def test_logits_that_are_needed_afterwards():
    def loss(half):
        logits = half * 2
        return flj.cross_entropy(logits, LABELS), (logits, logits.argmax(1), logits.sum())

    half = jnp.asarray(LOGITS / 2)
    (value, (logits, best, total)), grad = jax.jit(jax.value_and_grad(loss, has_aux=True))(half)
    expected = fl.cross_entropy.value_and_grad(LOGITS, np.asarray(LABELS))
    assert value == expected[0]
    assert_same_bits(np.asarray(grad), 2 * expected[1])
    assert_same_bits(np.asarray(logits), LOGITS)
    assert (best == LOGITS.argmax(1)).all()
    assert total == LOGITS.sum()
    assert_same_bits(np.asarray(half), LOGITS / 2)


def test_two_losses_of_the_same_logits():
    def loss(half):
        logits = half * 2
        return flj.cross_entropy(logits, LABELS) + flj.focal_cross_entropy(logits, LABELS)

    grad = jax.jit(jax.grad(loss))(LOGITS / 2)
    losses = fl.cross_entropy, fl.focal_cross_entropy
    expected = sum(2 * loss.grad(LOGITS, np.asarray(LABELS)) for loss in losses)
    assert_same_bits(np.asarray(grad), expected)


def test_inside_scan_and_vmap():
    def one(_, half):
        return None, flj.cross_entropy.value_and_grad(half * 2, LABELS)

    batches = np.stack([LOGITS, -LOGITS, LOGITS * 3]) / 2
    _, scanned = jax.jit(lambda b: jax.lax.scan(one, None, b))(batches)
    mapped = jax.jit(jax.vmap(lambda half: one(None, half)[1]))(batches)
    for k, half in enumerate(batches):
        expected = fl.cross_entropy.value_and_grad(half * 2, np.asarray(LABELS))
        for got in (scanned, mapped):
            assert_same_bits(np.asarray(got[0][k]), np.asarray(expected[0]))
            assert_same_bits(np.asarray(got[1][k]), expected[1])


def test_what_is_refused_is_named_as_it_was():
    """What the kernels refuse is found before anything is written."""
    n = 100_000
    half, targets = np.full(n, 0.25, np.float32), np.ones(n, np.float32)
    half[-1] = 1.0
    with pytest.raises(Exception, match=rf"ValueError.*\({n - 1},\) the prediction is 2 "):
        through_a_layer(fl.binary_cross_entropy.value_and_grad, 2 * half, targets)
