"""A whole case on small arrays: everyone is timed, or is named with a reason."""

import subprocess
import sys

import numpy as np
import pytest

from fastloss.benchmark import contest
from fastloss.benchmark.cases import BOTH, CALLS, Case
from fastloss.benchmark.contest import OURS, Entry
from fastloss.benchmark.inputs import draw
from fastloss.benchmark.peers import PEERS, Library, gather

QUICK = tuple(name for name, library in PEERS.items() if not library.slow_start)

SMALL = (
    Case("cross_entropy", (64, 10), calls=BOTH),
    Case("cross_entropy", (64, 10), "float64"),
    Case("cross_entropy", (64, 10), "bfloat16"),
    Case("cross_entropy", (64, 10), "float16"),
    Case("cross_entropy", (64, 10), soft=True),
    Case("cross_entropy", (2, 5, 4, 4)),
    Case("cross_entropy", (2, 5, 4, 4), "bfloat16", soft=True),
    Case("multi_margin", (64, 10)),
    Case("sparsemax", (64, 10)),
    Case("js_divergence", (64, 10), soft=True),
    Case("cosine_distance", (64, 10), soft=True),
    Case("giou", (64, 4), soft=True),
    Case("ciou", (64, 4), soft=True),
    Case("mse", (1000,)),
    Case("binary_cross_entropy", (1000,)),
    Case("binary_cross_entropy_with_logits", (1000,), "float64"),
    Case("binary_cross_entropy_with_logits", (1000,), "float16"),
    Case("hinge", (1000,), calls=BOTH),
)

pytestmark = pytest.mark.filterwarnings("default")  # peers warn of their own futures


@pytest.mark.parametrize("case", SMALL, ids=str)
def test_everyone_has_a_time_or_a_reason(case, monkeypatch):
    monkeypatch.setattr("fastloss.benchmark.measure.MOST_ROUNDS", 2)
    outcome = contest.run(case, 0.001, QUICK)
    assert not outcome.disagreeing
    timed = {who for who, _ in outcome.timings}
    assert set(PEERS) <= timed | set(outcome.left_out)
    assert not set(PEERS) & timed & set(outcome.left_out)
    assert {what for who, what in outcome.timings if who == OURS} == set(CALLS)
    for name in timed & set(PEERS):
        assert {what for who, what in outcome.timings if who == name} == set(case.calls)
    assert outcome.timings[Entry(OURS, "forward")].median > 0
    figures = outcome.as_json()
    assert figures["left_out"].keys() == outcome.left_out.keys()
    assert figures["us"][OURS].keys() == set(CALLS)


def test_a_peer_that_computes_something_else_is_not_timed(monkeypatch):
    import fastloss.benchmark.peers.numpy as plain

    wrong = plain._squared, lambda p, t: (plain._squared(p, t), 1.01 * (p - t) / p.size)
    monkeypatch.setitem(plain.ELEMENTWISE, "mse", wrong)
    outcome = contest.run(Case("mse", (1000,)), 0.001, ("numpy",))
    assert "gradient is off by" in outcome.disagreeing["numpy"]
    assert not any(who == "numpy" for who, _ in outcome.timings)
    assert "numpy" in outcome.as_json()["left_out"]


@pytest.mark.parametrize("loss, gradient", [(1.001, 1.0), (1.0, 1.001), (np.nan, 1.0), (1, np.nan)])
def test_results_that_differ_are_noticed(loss, gradient):
    inputs = draw(Case("mse", (8,)), 1)
    expected = np.float32(2.0), np.full(8, 0.5, np.float32)
    assert contest.difference(inputs, expected, expected[0], expected) is None
    given = expected[0] * loss, expected[1] * gradient
    assert contest.difference(inputs, expected, given[0], given)


def test_a_peer_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setitem(PEERS, "absent", Library("torch", "make_eager", ("no_such_library",)))
    inputs = draw(Case("mse", (8,)), 1)
    ready, left_out = gather(inputs, ("numpy", "absent"))
    assert set(ready) == {"numpy"}
    assert left_out["absent"] == "no_such_library not installed"
    assert left_out["jax"] == "not asked for"
    assert "full suite" in left_out["torch.compile"]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_jax_computes_elsewhere_as_before(dtype):
    """A benchmark may be one cell of a notebook."""
    import jax

    inputs = draw(Case("cross_entropy", (64, 10), dtype), 1)
    peer = gather(inputs, ("jax",))[0]["jax"]
    with peer.while_called():
        value, gradient = peer.gradient()
    assert value.dtype == gradient.dtype == dtype
    assert not jax.config.jax_enable_x64


def test_torch_has_as_many_threads_as_before():
    import torch

    before = torch.get_num_threads()
    other = 3 - min(before, 2)
    torch.set_num_threads(other)
    try:
        contest.run(Case("mse", (1000,)), 0.001, ("torch",))
        assert torch.get_num_threads() == other
    finally:
        torch.set_num_threads(before)


def test_importing_fastloss_imports_no_benchmark():
    program = (
        "import sys, fastloss; "
        "assert not any(name.startswith('fastloss.benchmark') for name in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
