"""One case: fastloss, its peers and the limits of the memory on the same arrays."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

import fastloss as fl
from fastloss.benchmark import limits
from fastloss.benchmark.cases import FORWARD, GRADIENT, GRADIENT_OUT, Call, Case
from fastloss.benchmark.inputs import Inputs, draw
from fastloss.benchmark.machine import Disturbance
from fastloss.benchmark.measure import Contestant, Timing, measure
from fastloss.benchmark.peers import PEERS, Peer, gather
from fastloss.dtypes import EPS, real_dtype

OURS, LIMIT = "fastloss", "limit"

#: Roundings that a peer may be off by: to the dtype of the predictions, and to the one that
#: sums are made in.
STORED_ROUNDINGS, ROUNDINGS = 4, 64

#: From one subnormal float16 to the next; the gradient of a large mean lies among them.
SUBNORMAL_STEP = 2.0**-24


class Entry(NamedTuple):
    """Whose time it is, and of what."""

    who: str
    what: str


@dataclass(frozen=True)
class Outcome:
    """What a case showed."""

    case: Case
    timings: Mapping[Entry, Timing]
    left_out: Mapping[str, str]
    """Peers without a time, and why."""
    disagreeing: Mapping[str, str]
    """Peers whose result is another than ours, and by how much; they have no time either."""
    disturbance: Disturbance
    """What else the machine did meanwhile."""

    def as_json(self) -> dict[str, Any]:
        """Return what the results file keeps: medians in microseconds, by whom and what."""
        medians: dict[str, dict[str, float]] = {}
        rounds: dict[str, dict[str, int]] = {}
        for (who, what), timing in self.timings.items():
            medians.setdefault(who, {})[what] = float(f"{timing.median * 1e6:.5g}")
            rounds.setdefault(who, {})[what] = len(timing.samples)
        return {
            "us": medians,
            "rounds": rounds,
            "left_out": {**self.left_out, **self.disagreeing},
            "others": self.disturbance.others,
            "stolen": self.disturbance.stolen,
        }


def run(case: Case, seconds: float, peers: Sequence[str] = tuple(PEERS)) -> Outcome:
    """Time `case`, each contestant for about `seconds`, after a check that all agree."""
    inputs = draw(case, limits.threads())
    ready, left_out = gather(inputs, peers)
    calls = our_calls(inputs)
    expected: Any = calls[GRADIENT]()
    with ExitStack() as stack:
        for peer in ready.values():
            stack.enter_context(peer.while_called())
        disagreeing = {
            name: f"disagrees, {gap}"
            for name, peer in ready.items()
            if (gap := difference(inputs, expected, peer.forward(), peer.gradient()))
        }
        ready = {name: peer for name, peer in ready.items() if name not in disagreeing}
        del expected

        contestants: dict[Entry, Contestant] = {Entry(OURS, what): f for what, f in calls.items()}
        contestants |= {Entry(LIMIT, what): f for what, f in memory_limits(inputs).items()}
        contestants |= rivals(case, ready)
        disturbance = stack.enter_context(Disturbance())
        timings = measure(contestants, seconds)
    return Outcome(case, timings, left_out, disagreeing, disturbance)


def our_calls(inputs: Inputs) -> dict[Call, Contestant]:
    """Return fastloss' three forms of call, through the public door."""
    case, p, t, out = inputs.case, inputs.predictions, inputs.targets, inputs.out
    loss = getattr(fl, case.loss)
    options = {"axis": case.axis} if case.over_classes and len(case.shape) > 2 else {}
    return {
        FORWARD: lambda: loss(p, t, **options),
        GRADIENT: lambda: loss.value_and_grad(p, t, **options),
        GRADIENT_OUT: lambda: loss.value_and_grad(p, t, out=out, **options),
    }


def rivals(case: Case, peers: Mapping[str, Peer]) -> dict[Entry, Contestant]:
    """Return the calls of the peers that the case asks for."""
    found: dict[Entry, Contestant] = {}
    for name, peer in peers.items():
        forms: dict[Call, Callable[[], Any]] = {FORWARD: peer.forward, GRADIENT: peer.gradient}
        found |= {Entry(name, what): forms[what] for what in case.calls}
    return found


def memory_limits(inputs: Inputs) -> dict[str, Contestant]:
    """Return the limits over the same bytes: for a loss by element, with its targets."""
    a, target = limits.as_words(inputs.predictions), limits.as_words(inputs.out)
    if a is None or target is None:
        return {}
    found: dict[str, Contestant] = {
        "copy": lambda: limits.copy(a, target),
        "best copy": lambda: limits.best_copy(a, target),
        "read": lambda: limits.read(a),
    }
    if inputs.targets.nbytes == inputs.predictions.nbytes:
        b = limits.as_words(inputs.targets)
        found["triad"] = lambda: limits.triad(a, b, target)
        found["best triad"] = lambda: limits.best_triad(a, b, target)
    return found


def difference(
    inputs: Inputs, expected: tuple[Any, Any], value: Any, both: tuple[Any, Any]
) -> str | None:
    """Say by how much a peer's (loss, gradient) differ from ours; None if they agree.

    Everyone adds up in another order, and some round each partial sum.
    """
    stored = STORED_ROUNDINGS * EPS[inputs.case.dtype]
    eps = EPS[real_dtype(inputs.case.dtype).name]
    # On probabilities a loss is a sum over all elements, which some take in one go.
    terms = inputs.predictions.size if inputs.case.soft else inputs.examples
    tolerance = stored + eps * (ROUNDINGS + math.sqrt(terms))
    ours = float(expected[0])
    for given in (value, both[0]):
        theirs = float(_as_float(given))
        if not abs(theirs - ours) <= tolerance * abs(ours):
            return f"its loss is {theirs:.8g}, not {ours:.8g}"
    ours, theirs = _as_float(expected[1]), _as_float(both[1])
    gap, largest = np.abs(ours - theirs).max(), np.abs(ours).max()
    step = SUBNORMAL_STEP if inputs.case.dtype == "float16" else 0.0
    # Some add up an example's entries one by one.
    roundings = ROUNDINGS + math.sqrt(inputs.predictions.size // inputs.examples)
    if not gap <= largest * (stored + eps * roundings) + step:  # a nan is off as well
        return f"its gradient is off by {gap:.1e} where the largest element is {largest:.1e}"
    return None


def _as_float(array: Any) -> Any:
    """Return a NumPy array in which differences can be taken."""
    if hasattr(array, "detach"):  # PyTorch, whose bfloat16 NumPy does not know
        array = array.detach()
        array = array.float() if array.itemsize == 2 else array
    array = np.asarray(array)
    return array.astype(np.float32) if array.itemsize == 2 else array
