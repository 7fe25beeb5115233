"""The goals of the cases against what was measured: reached, or missed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fastloss.benchmark.cases import FORWARD, GRADIENT, Case, Goal
from fastloss.benchmark.contest import LIMIT, OURS

#: For each case by its name: what `Outcome.as_json` returns.
Measured = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Verdict:
    """One figure against its target."""

    target: float
    measured: float
    at_least: bool = False
    """Whether more is better."""

    @property
    def hit(self) -> bool:
        """Whether the target was reached."""
        # Rounded as printed: what reads as the target has reached it.
        measured = float(f"{self.measured:.3g}")
        return measured >= self.target if self.at_least else measured <= self.target


@dataclass(frozen=True)
class Judged:
    """A goal of a case and what became of it; None where there is nothing to judge."""

    case: Case
    goal: Goal
    limit: Verdict | None
    """Times over the plain limit, or seconds where the goal has no limit."""
    over_best: float | None
    """Times over the best that the machine can do with the same bytes."""
    peers: Verdict | None
    best_peer: str | None


def judge(cases: Iterable[Case], measured: Measured) -> Iterator[Judged]:
    """Judge every goal, in order; a case that was not measured has no verdicts."""
    for case in cases:
        for goal in case.goals:
            yield _judge(case, goal, measured.get(str(case)))


def _judge(case: Case, goal: Goal, figures: Mapping[str, Any] | None) -> Judged:
    if figures is None:
        return Judged(case, goal, None, None, None, None)
    us = figures["us"]
    ours = us[OURS][goal.call]
    limits = us.get(LIMIT, {})
    limit = Verdict(goal.at_most, ours / limits[goal.limit] if goal.limit else ours * 1e-6)
    best = best_limit(limits, goal.limit) if goal.limit else None
    name, fastest = best_peer(us, FORWARD if goal.call == FORWARD else GRADIENT)
    peers = None
    if goal.faster is not None and fastest is not None:
        peers = Verdict(goal.faster, fastest / ours, at_least=True)
    return Judged(case, goal, limit, ours / best if best else None, peers, name)


def best_limit(limits: Mapping[str, float], name: str) -> float | None:
    """Return the time of the best the machine can do; in the caches that is the plain form."""
    return min((limits[form] for form in (name, f"best {name}") if form in limits), default=None)


def best_peer(us: Mapping[str, Mapping[str, float]], call: str) -> tuple[str | None, float | None]:
    """Return the fastest peer at that call, and its time."""
    times = {who: t[call] for who, t in us.items() if who not in (OURS, LIMIT) and call in t}
    if not times:
        return None, None
    name = min(times, key=lambda who: times[who])
    return name, times[name]
