"""Calls on XLA's memory: by a plan that takes addresses where there is one, with the same bits."""

import array
import threading
import time

import numpy as np
import pytest

jax = pytest.importorskip("jax")

import jax.numpy as jnp  # noqa: E402

import fastloss as fl  # noqa: E402
import fastloss.jax as flj  # noqa: E402
from fastloss.jax import ffi  # noqa: E402
from fastloss.jax.call import Target  # noqa: E402
from tests.helpers import assert_same_bits, each  # noqa: E402

LOGITS = jax.random.normal(jax.random.key(0), (6, 5))
LABELS = jnp.array([0, 4, 2, 1, 3, 0])
SIGNS = jnp.sign(LOGITS)


@pytest.fixture
def taken(monkeypatch):
    """Whether each call went the short way."""
    found = []
    real = Target._short_way

    def watched(*args):
        found.append(real(*args))
        return found[-1]

    monkeypatch.setattr(Target, "_short_way", watched)
    return found


def run(call, *arrays, **options):
    return jax.tree.map(np.asarray, jax.jit(lambda *a: call(*a, **options))(*arrays))


CALLS = {
    "loss": (fl.cross_entropy, LABELS, {}),
    "each loss": (fl.cross_entropy, LABELS, {"reduction": "none"}),
    "options": (fl.cross_entropy.value_and_grad, LABELS, {"label_smoothing": 0.1, "z_loss": 0.1}),
    "other axis": (fl.cross_entropy.grad, LABELS[:5], {"axis": 0}),
    "soft": (fl.cross_entropy.value_and_grad, jax.nn.softmax(LOGITS), {}),
    "curvature": (fl.cross_entropy.grad_and_hess, LABELS, {}),
    "labels": (fl.hinge.value_and_grad, SIGNS, {}),
    "integers": (fl.mse.value_and_grad, SIGNS.astype(np.int32), {"reduction": "none"}),
}


@each("name", CALLS)
def test_same_bits_by_both_ways(name, taken, monkeypatch):
    call, targets, options = CALLS[name]
    short = run(call, LOGITS, targets, **options)
    assert taken == [True]
    monkeypatch.setattr(Target, "plan", None)
    # By another name: XLA knows the target of these shapes already.
    monkeypatch.setattr("fastloss.jax.primitive._target_name", lambda *_: f"the long way: {name}")
    long = run(call, LOGITS, targets, **options)
    assert taken == [True, False]
    for a, b in zip(jax.tree.leaves(short), jax.tree.leaves(long), strict=True):
        assert_same_bits(a, b)


def test_weights_and_losses_of_other_plans_go_the_long_way(taken):
    run(fl.cross_entropy, LOGITS, LABELS, sample_weight=jnp.ones(6))
    run(fl.cross_entropy, LOGITS, LABELS, class_weight=jnp.ones(5))
    run(fl.ntxent, LOGITS, LABELS)
    run(fl.cross_entropy, LOGITS, LABELS.astype(np.uint8))
    assert taken == [False] * 4


def test_empty_arrays():
    loss, grad = run(fl.mse.value_and_grad, LOGITS[:0], SIGNS[:0], reduction="sum")
    assert loss == 0.0 and grad.shape == (0, 5)


@each("bad", [5, -1])
def test_a_refused_target_is_named(bad, taken):
    with pytest.raises(Exception, match=f"IndexError.*{bad}"):
        run(fl.cross_entropy.value_and_grad, LOGITS, LABELS.at[2].set(bad))
    with pytest.raises(Exception, match=r"ValueError.*0\.5"):
        run(fl.hinge.value_and_grad, LOGITS, SIGNS.at[2, 1].set(0.5))
    assert taken == [False, False]


def test_targets_are_read_once():
    """Nobody sees what is written before a target is refused."""
    target = Target(*_call_of(fl.hinge, LOGITS, SIGNS), in_place=False)
    assert target.plan.checks and target.plan.prepare is None


def _call_of(loss, *arrays):
    """What XLA's target is made of."""
    from fastloss.jax.call import Call
    from fastloss.jax.ffi import Layout
    from fastloss.spec import Want

    call = Call(loss.spec, Want.LOSS_AND_GRAD, "mean", (), False, False, ())
    layouts = [Layout(array.shape, array.dtype) for array in arrays]
    return call, layouts, [Layout((), np.float32), layouts[0]]


def test_threads_that_trace_one_call_register_it_once(monkeypatch):
    """XLA takes a name once; who came second took JAX for one without FFI."""
    names, meet = [], threading.Barrier(2)

    def slow(name, *_, **__):
        names.append(name)
        time.sleep(0.2)

    monkeypatch.setattr(jax.ffi, "register_ffi_target", slow)

    def register():
        meet.wait()
        ffi.register("fastloss_twice", lambda given, wanted: None, [], [])

    threads = [threading.Thread(target=register) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ffi._handlers.pop("fastloss_twice")
    assert names == ["fastloss_twice"]


# --- what is refused before JAX sees it --------------------------------------------------

UNHASHABLE = {
    "class_weight": (TypeError, {"class_weight": [1.0, 2.0, 3.0, 4.0, 5.0]}),
    "label_smoothing": (TypeError, {"label_smoothing": {}}),
    "axis": (TypeError, {"axis": [0, 1]}),
    "an axis in a tuple": (TypeError, {"axis": ([0], 1)}),
    "reduction": (ValueError, {"reduction": ["mean"]}),
    "no option": (TypeError, {"weights": [1.0]}),
}


@each("case", UNHASHABLE)
def test_what_cannot_be_hashed_is_refused_in_the_words_of_numpy(case):
    error, options = UNHASHABLE[case]
    with pytest.raises(error) as expected:
        fl.cross_entropy(np.asarray(LOGITS), np.asarray(LABELS), **options)
    for call in (flj.cross_entropy, jax.jit(lambda x, y: fl.cross_entropy(x, y, **options))):
        with pytest.raises(error) as got:
            call(LOGITS, LABELS, **(options if call is flj.cross_entropy else {}))
        assert str(got.value) == str(expected.value)


def test_options_may_be_other_libraries_arrays():
    weight = array.array("d", [1.0, 2.0, 3.0, 4.0, 5.0])
    expected = fl.cross_entropy(LOGITS, LABELS, class_weight=weight, z_loss=np.float32(0.5))
    got = flj.cross_entropy(LOGITS, LABELS, class_weight=weight, z_loss=np.float32(0.5))
    assert_same_bits(np.asarray(got), np.asarray(expected))


@each("bad", [2**40, -(2**33), 2**31])
def test_class_indices_that_jax_would_wrap_are_refused(bad):
    """Without x64 JAX makes int32 of them, and of 2**40 the class 0."""
    labels = np.asarray(LABELS, np.int64)
    labels[2] = bad
    for call in (flj.cross_entropy, jax.jit(lambda x: fl.cross_entropy.grad(x, labels))):
        with pytest.raises(IndexError, match=rf"position \(2,\) is {bad}.*int32.*jax_enable_x64"):
            call(*(LOGITS, labels)[: 1 + (call is flj.cross_entropy)])


def test_integers_that_fit_are_taken():
    labels = np.asarray(LABELS, np.uint64)
    expected = fl.cross_entropy(np.asarray(LOGITS), labels)
    assert_same_bits(np.asarray(flj.cross_entropy(LOGITS, labels)), np.asarray(expected))
    assert flj.cross_entropy(LOGITS[:0], labels[:0], reduction="sum") == 0.0
    labels = np.where(labels == 0, -(2**31), labels).astype(np.int64)
    expected = fl.cross_entropy(np.asarray(LOGITS), labels, ignore_index=-(2**31))
    got = flj.cross_entropy(LOGITS, labels, ignore_index=-(2**31))
    assert_same_bits(np.asarray(got), np.asarray(expected))


def test_integers_that_jax_would_wrap_are_refused_where_they_are_no_classes():
    with pytest.raises(ValueError, match=r"mse: .*position \(0, 0\) is 1099511627776"):
        flj.mse(LOGITS, np.full(LOGITS.shape, 2**40))
