"""The demo from end to end: train, report, draw."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from fastloss.demo.picture import draw_picture
from fastloss.demo.report import print_report
from fastloss.demo.tasks import Task, four_tasks
from fastloss.demo.training import Training, steps, train


def run_demo(picture: Path, epochs: int | None = None, seed: int = 0) -> list[Training]:
    """Train the four networks, print how good they are and where the time went, draw it all.

    Parameters
    ----------
    picture
        Where the picture goes; its suffix names the format.
    epochs
        Epochs of every task; by default each task's own number.
    seed
        Decides the split, the initial weights and the order of the examples.
    """
    console = Console()
    tasks = four_tasks(seed)
    with _progress_bar(console) as progress:
        trainings = [_train_with_bar(task, epochs, seed, progress) for task in tasks]
    print_report(trainings, console)
    draw_picture(trainings, picture)
    console.print(f"picture: {picture}")
    return trainings


def _progress_bar(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description:<50}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
    )


def _train_with_bar(task: Task, epochs: int | None, seed: int, progress: Progress) -> Training:
    epochs = task.epochs if epochs is None else epochs
    bar = progress.add_task(f"{task.title}  {task.loss.name}", total=epochs * steps(task))
    return train(task, epochs, seed, lambda: progress.advance(bar))
