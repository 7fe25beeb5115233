"""The demo's tables: how good the networks are, and what the loss costs."""

from __future__ import annotations

from statistics import median

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from fastloss.demo.training import BATCH, Training


def print_report(trainings: list[Training], console: Console) -> None:
    """Print a table of scores and one of times."""
    console.print(_score_table(trainings))
    console.print(_time_table(trainings))
    gap = max(training.largest_difference for training in trainings)
    console.print(
        f"Measured in the trainings above, batches of {BATCH}: at every step both forms of the "
        "loss were evaluated on the same outputs, in turn, and fastloss' gradient was used. "
        "The times are medians of a call that returns loss and gradient, on caches that the "
        "network has just filled with its own arrays; share is the part that such calls have in "
        "the time of a training that uses this form alone. The two gradients never differed by "
        f"more than {gap:.0e}.",
        style="dim",
        highlight=False,
    )


def _score_table(trainings: list[Training]) -> Table:
    table = _table("On digits held out from training", ["task", "loss"], ["network", "guessing"])
    for training in trainings:
        task = training.task
        table.add_row(
            task.title,
            task.loss.name,
            f"{task.metric} {_score(training.scores[-1], task.metric)}",
            _score(task.baseline, task.metric),
        )
    return table


def _time_table(trainings: list[Training]) -> Table:
    table = _table("Time spent in the loss", ["loss"], ["fastloss", "share", "NumPy", "share"])
    for training in trainings:
        timings = training.timings
        table.add_row(
            training.task.loss.name,
            _microseconds(timings.fast),
            f"{timings.share_of_fast():.2%}",
            _microseconds(timings.plain),
            f"{timings.share_of_plain():.2%}",
        )
    return table


def _table(title: str, names: list[str], figures: list[str]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD)
    for heading in names:
        table.add_column(heading, no_wrap=True)
    for heading in figures:
        table.add_column(heading, no_wrap=True, justify="right")
    return table


def _score(score: float, metric: str) -> str:
    return f"{score:.1%}" if metric == "accuracy" else f"{score:.3f}"


def _microseconds(seconds: list[float]) -> str:
    return f"{1e6 * median(seconds):.1f} us"
