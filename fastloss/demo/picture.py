"""One picture of the demo: a column per task, with its curves, predictions and scores."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import PercentFormatter

from fastloss.demo.layers import Floats
from fastloss.demo.scores import intersection_over_union
from fastloss.demo.tasks import ASKED
from fastloss.demo.training import Training

LOSS, SCORE = "#2b6cb0", "#dd6b20"
RIGHT, WRONG = "#2f855a", "#c53030"
YES, NO = "#6b46c1", "#a0aec0"


def draw_picture(trainings: list[Training], path: Path) -> None:
    """Draw the four trainings in the order of ``four_tasks`` and save the picture."""
    figure = Figure(figsize=(17, 11.5), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(
        "fastloss: four questions about a handwritten digit, four losses",
        fontsize=18,
        weight="bold",
    )
    columns: Any = figure.subfigures(1, 4, wspace=0.02)
    drawings: list[tuple[Callable[..., None], Callable[..., None]]] = [
        (_draw_digits, _draw_confusion),
        (_draw_boxes, _draw_ious),
        (_draw_doubtful, _draw_probabilities),
        (_draw_doubtful, _draw_margins),
    ]
    for column, training, (draw_predictions, draw_summary) in zip(
        columns, trainings, drawings, strict=True
    ):
        curves, predictions, summary = column.subfigures(3, 1, height_ratios=(3, 4, 3))
        column.suptitle(f"{training.task.title}\n{training.task.loss.name}", fontsize=13)
        _draw_curves(training, curves.subplots())
        draw_predictions(training, predictions)
        draw_summary(training, summary.subplots())
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90)


def _draw_curves(training: Training, axes: Axes) -> None:
    """Training loss and test score by epoch."""
    task = training.task
    epochs = np.arange(1, len(training.losses) + 1)
    axes.semilogy(epochs, training.losses, color=LOSS)
    axes.set_xlabel("epoch")
    axes.set_ylabel("training loss", color=LOSS)
    scores = axes.twinx()
    scores.plot(epochs, training.scores, color=SCORE)
    scores.axhline(task.baseline, color=SCORE, linestyle=":", linewidth=1)
    scores.set_ylim(0, 1.04)
    scores.yaxis.set_major_formatter(PercentFormatter(1.0))
    final = training.scores[-1]
    scores.set_ylabel(f"test {task.metric}", color=SCORE)
    axes.set_title(
        f"test {task.metric} {final:.1%}, guessing {task.baseline:.1%}", fontsize=11, color=SCORE
    )


def _draw_digits(training: Training, figure: Any) -> None:
    """Test digits with the predicted label: first the mistaken ones, then others."""
    test = training.task.test
    named = training.predictions.argmax(axis=1)
    wrong = named != test.targets
    order = np.argsort(~wrong, kind="stable")[:30]
    figure.suptitle(f"named: its {wrong.sum()} mistakes first (red)", fontsize=11)
    for axes, index in zip(_grid(figure, 5, 6), order, strict=False):
        _show(axes, test.images[index])
        label = f"{named[index]}"
        if wrong[index]:
            label += f", is {test.targets[index]}"
        axes.set_title(label, fontsize=10, pad=2, color=WRONG if wrong[index] else RIGHT)


def _draw_boxes(training: Training, figure: Any) -> None:
    """Test canvases with the true box and the predicted one; the worst comes last."""
    test = training.task.test
    ious = intersection_over_union(training.predictions, test.targets)
    chosen = [*range(11), int(ious.argmin())]
    figure.suptitle("true box (green), predicted (orange), IoU; last: the worst", fontsize=11)
    for axes, index in zip(_grid(figure, 3, 4), chosen, strict=False):
        _show(axes, test.images[index])
        size = test.images.shape[1]
        _outline(axes, test.targets[index] * size, "#48bb78")
        _outline(axes, training.predictions[index] * size, "#ed8936")
        axes.set_title(f"{ious[index]:.2f}", fontsize=10, pad=2)


def _draw_doubtful(training: Training, figure: Any) -> None:
    """Draw the test digits on which the network is least sure."""
    test = training.task.test
    score = training.predictions[:, 0]
    figure.suptitle(f"nearest to the border: is it an {ASKED}? (red: mistaken)", fontsize=11)
    for axes, index in zip(_grid(figure, 5, 6), np.argsort(np.abs(score)), strict=False):
        _show(axes, test.images[index])
        right = (score[index] > 0) == (test.targets[index, 0] > 0)
        answer = "yes" if score[index] > 0 else "no"
        axes.set_title(
            f"{answer} {score[index]:+.1f}", fontsize=9, pad=2, color=RIGHT if right else WRONG
        )


def _draw_confusion(training: Training, axes: Axes) -> None:
    """Counts of true and predicted labels."""
    counts = np.zeros((10, 10), int)
    np.add.at(counts, (training.task.test.targets, training.predictions.argmax(axis=1)), 1)
    axes.imshow(counts, cmap="Blues", aspect="auto")
    for (row, column), count in np.ndenumerate(counts):
        if count:
            colour = "white" if row == column else WRONG
            axes.text(column, row, str(count), ha="center", va="center", fontsize=9, color=colour)
    axes.set_xticks(range(10))
    axes.set_yticks(range(10))
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")


def _draw_ious(training: Training, axes: Axes) -> None:
    """Draw the distribution of the IoU over the test canvases."""
    ious = intersection_over_union(training.predictions, training.task.test.targets)
    axes.hist(ious, bins=np.linspace(0, 1, 41).tolist(), color=SCORE)
    axes.axvline(ious.mean(), color="black", linewidth=1)
    axes.text(ious.mean(), axes.get_ylim()[1] * 0.95, f"mean {ious.mean():.2f} ", ha="right")
    axes.set_xlabel("IoU")
    axes.set_ylabel("test canvases")


def _draw_probabilities(training: Training, axes: Axes) -> None:
    """Draw the sigmoid of the scores, by true answer."""
    probability = 1 / (1 + np.exp(-training.predictions[:, 0].astype(np.float64)))
    _draw_by_answer(training, probability, (0, 1), axes)
    axes.axvline(0.5, color="black", linewidth=1)
    axes.set_xlabel(f"probability of an {ASKED}")


def _draw_margins(training: Training, axes: Axes) -> None:
    """Draw the scores, by true answer, with the margins that hinge pushes them out of."""
    score = training.predictions[:, 0]
    edge = float(np.abs(score).max())
    _draw_by_answer(training, score, (-edge, edge), axes)
    axes.axvline(0, color="black", linewidth=1)
    axes.axvspan(-1, 1, color="#f6e05e", alpha=0.4, zorder=0, label="inside the margin")
    axes.legend(fontsize=9)
    axes.set_xlabel("score")


def _draw_by_answer(
    training: Training, values: Floats, limits: tuple[float, float], axes: Axes
) -> None:
    bins = np.linspace(*limits, 41).tolist()
    is_asked = training.task.test.targets[:, 0] > 0
    axes.hist(values[~is_asked], bins=bins, color=NO, label="another digit", log=True)
    axes.hist(values[is_asked], bins=bins, color=YES, alpha=0.8, label=f"an {ASKED}", log=True)
    axes.set_ylabel("test digits")
    axes.legend(fontsize=9)


def _grid(figure: Any, rows: int, columns: int) -> list[Axes]:
    """Return empty axes without frames, row by row."""
    grid = list(figure.subplots(rows, columns).flat)
    for axes in grid:
        axes.set_axis_off()
    return grid


def _show(axes: Axes, image: Floats) -> None:
    axes.imshow(image[..., 0], cmap="gray_r")


def _outline(axes: Axes, box: Floats, colour: str) -> None:
    top, left, bottom, right = box
    # imshow puts the middle of the first pixel at 0.
    corner = (left - 0.5, top - 0.5)
    rectangle = Rectangle(corner, right - left, bottom - top, fill=False, color=colour, linewidth=2)
    axes.add_patch(rectangle)
