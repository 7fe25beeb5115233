"""Put the results of a run into the README, as two tables and two plots.

``python -m bench.report [bench/results/MACHINE.json]``; without a file, that of this machine.
Everything between the two marks in the README is written here and nowhere by hand.
"""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench import plots
from bench.results import Results, load
from fastloss.benchmark import tables
from fastloss.benchmark.cases import CASES
from fastloss.benchmark.verdict import Judged, Verdict, judge

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
BEGIN, END = "<!-- benchmarks: begin -->", "<!-- benchmarks: end -->"

NOT_MEASURED = "Not measured yet: `make bench`, then `make report`."

#: What the machine had installed when it was measured, beside Python.
NAMED = ("numba", "numpy", "torch", "jax", "optax", "scikit-learn")

HEAD = (
    ("case", "call", "time", "limit", "over it", "over the best", "faster than peers", "best peer"),
    (":--", ":--", "--:", ":--", "--:", "--:", "--:", ":--"),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the block of the README and the plots."""
    parser = argparse.ArgumentParser(prog="python -m bench.report", description=__doc__)
    parser.add_argument("results", type=Path, nargs="?", default=Results().path)
    path = parser.parse_args(arguments).results.resolve()
    if not path.exists():
        parser.error(f"there is no {path}; `make bench` writes it")
    if ROOT not in path.parents:
        parser.error(f"{path} is not in this repository, so the README cannot point to it")
    results = load(path)
    for name, draw in plots.PLOTS.items():
        draw(results, path.parent / name)
    README.write_text(replace_block(README.read_text(), block(results, path)))
    print(f"wrote the tables in {README.name} and {', '.join(plots.PLOTS)} in {path.parent.name}")
    return 0


def block(results: Mapping[str, Any], path: Path) -> str:
    """Return what stands between the marks."""
    folder = path.parent.relative_to(ROOT)
    machine, versions = results["machine"], results["versions"]
    libraries = ", ".join(f"{name} {versions[name]}" for name in NAMED)
    lines = [
        f"Measured {results['date']} on {machine['cpu']} ({machine['vectors']}), "
        f"{machine['threads']} threads, with Python {versions['python']}, {libraries}; "
        f"written by `make report` from [`{folder / path.name}`]({folder / path.name}).",
        "",
        *table((*HEAD, *goal_rows(results))),
        "",
        *frameworks(results),
        *(f"![{plots.describe(name)}]({folder / name})" for name in plots.PLOTS),
    ]
    return "\n".join(lines)


def table(rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a table in Markdown."""
    return ["| " + " | ".join(row) + " |" for row in rows]


def frameworks(results: Mapping[str, Any]) -> list[str]:
    """Return the part on training steps; nothing where there was no framework."""
    if not results.get("frameworks"):
        return []
    return [
        "Inside PyTorch and JAX: value and gradient of `cross_entropy` as a training step asks for "
        "them (`backward()`, `jax.value_and_grad` under `jit`), and how many times as long the "
        "framework's own loss takes.",
        "",
        *table(step_rows(results["frameworks"])),
        "",
        "The most memory that a training step holds, its logits included: "
        f"{peaks(results.get('frameworks memory', {}))}.",
        "",
    ]


def step_rows(figures: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return the head and a row per shape: our time, and the others' beside it."""
    steps: dict[str, dict[str, float]] = {}
    for key, figure in figures.items():
        _, _, shape = key.partition(" ")
        steps.setdefault(shape, {}).update(figure["us"])
    names = list(dict.fromkeys(name for us in steps.values() for name in us))
    rows = [("float32", *names), (":--", *["--:"] * len(names))]
    for shape, us in steps.items():
        row, ours = [f"`{shape}`"], math.nan
        for name in names:
            if name.startswith("fastloss"):
                ours = us[name]
                row.append(tables.seconds(ours * 1e-6))
            else:
                row.append(tables.times(us[name] / ours))
        rows.append(tuple(row))
    return rows


def peaks(figures: Mapping[str, Any]) -> str:
    """Return who holds how much."""
    return ", ".join(f"`{who}` {figure['MB']:.0f} MB" for who, figure in figures.items())


def goal_rows(results: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return a row per goal: bold is reached, a figure with its target behind it is missed."""
    cases = results["cases"]
    return [
        goal_row(judged, cases[str(judged.case)]["us"])
        for judged in judge(CASES, cases)
        if judged.limit is not None
    ]


def goal_row(judged: Judged, us: Mapping[str, Any]) -> tuple[str, ...]:
    goal = judged.goal
    show = tables.times if goal.limit else tables.seconds
    return (
        f"`{judged.case}`",
        goal.call,
        tables.seconds(us["fastloss"][goal.call] * 1e-6),
        goal.limit or tables.NOTHING,
        mark(judged.limit, show),
        tables.times(judged.over_best),
        mark(judged.peers, tables.times),
        judged.best_peer or tables.NOTHING,
    )


def mark(verdict: Verdict | None, show: Any) -> str:
    """Return the figure in bold if it reached its target, else with the target."""
    if verdict is None:
        return tables.NOTHING
    target, measured, hit = tables.verdict(verdict, show)
    return f"**{measured}**" if hit == "hit" else f"{measured} (goal {target})"


def replace_block(text: str, content: str) -> str:
    """Return the README with `content` between the marks."""
    if BEGIN not in text or END not in text:
        raise ValueError(f"{README.name} needs the lines {BEGIN} and {END}, in this order")
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n{content}\n{END}{rest.partition(END)[2]}"


def current_block(text: str) -> str:
    """Return what stands between the marks now."""
    return text.partition(BEGIN)[2].partition(END)[0].strip("\n")


def source_of(content: str) -> Path | None:
    """Return the results file that a block names; None if nothing was measured yet."""
    found = re.search(r"\[`(bench/results/[^`]+\.json)`\]", content)
    return ROOT / found[1] if found else None


if __name__ == "__main__":
    raise SystemExit(main())
