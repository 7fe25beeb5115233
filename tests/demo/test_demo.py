"""The demo's tasks: examples, scores, plain losses, and that a short training learns."""

import dataclasses

import numpy as np
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("matplotlib")
pytest.importorskip("rich")

from fastloss.demo import data, run_demo, scores
from fastloss.demo.tasks import four_tasks
from fastloss.demo.training import BATCH, steps, train

TITLES = ["cross_entropy", "mse", "binary_cross_entropy_with_logits", "hinge"]


@pytest.fixture(scope="module")
def tasks():
    return four_tasks(seed=0)


def test_no_digit_is_both_trained_and_tested():
    train_digits, test_digits = data.load(seed=0)
    assert len(train_digits.images) + len(test_digits.images) == 1797
    # A few of the 1797 images are equal to each other; a split that leaked would share hundreds.
    seen = {image.tobytes() for image in train_digits.images}
    assert sum(image.tobytes() in seen for image in test_digits.images) <= 2


def test_the_box_is_that_of_the_ink():
    digits, _ = data.load(seed=0)
    canvases = data.place_at_random(digits.images[:50], np.random.default_rng(3))
    for image, box in zip(canvases.images, canvases.boxes, strict=True):
        # Ink is at least 1/16; noise is below CANVAS_NOISE, so only ink is certainly above it.
        rows, columns = np.nonzero(image[..., 0] > data.CANVAS_NOISE)
        top, left, bottom, right = box * data.CANVAS
        assert top <= rows.min()
        assert left <= columns.min()
        assert rows.max() < bottom <= data.CANVAS
        assert columns.max() < right <= data.CANVAS


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ([0.0, 0.0, 1.0, 1.0], 1.0),
        ([0.0, 0.5, 1.0, 1.5], 1 / 3),
        ([2.0, 2.0, 3.0, 3.0], 0.0),
        ([1.0, 1.0, 0.0, 0.0], 0.0),
    ],
    ids=["same", "half", "apart", "inside-out"],
)
def test_intersection_over_union(box, expected):
    unit = np.array([[0.0, 0.0, 1.0, 1.0]])
    assert scores.intersection_over_union(np.array([box]), unit)[0] == pytest.approx(expected)


def test_guessing_knows_only_the_training_set():
    assert scores.majority_accuracy(np.array([1, 1, 2]), np.array([2, 2, 2, 1])) == 0.25
    assert scores.mean_box_iou(np.array([[0, 0, 2, 2.0]] * 2), np.array([[0, 0, 2, 1.0]])) == 0.5


@pytest.mark.parametrize("index", range(4), ids=TITLES)
def test_fastloss_and_plain_numpy_agree(tasks, index):
    """What the two are timed on must be the same work."""
    task = tasks[index]
    outputs = np.random.default_rng(5).normal(size=(BATCH, task.outputs)).astype(np.float32)
    targets = task.test.targets[:BATCH]
    value, gradient = task.loss.value_and_grad(outputs, targets)
    plain_value, plain_gradient = task.plain_loss(outputs, targets)
    assert float(value) == pytest.approx(plain_value, rel=1e-5)
    np.testing.assert_allclose(gradient, plain_gradient, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize(
    ("index", "epochs", "score"),
    [(0, 4, 0.8), (1, 3, 0.35), (2, 12, 0.95), (3, 20, 0.95)],
    ids=TITLES,
)
def test_a_short_training_beats_guessing(tasks, index, epochs, score):
    task = tasks[index]
    assert score > task.baseline
    calls = []
    training = train(task, epochs, seed=0, on_step=lambda: calls.append(None))
    assert training.scores[-1] > score
    assert training.losses[-1] < training.losses[0] / 2
    assert len(calls) == epochs * steps(task) == len(training.timings.fast)
    assert 0 < training.timings.share_of_fast() < 1


def test_a_seed_decides_the_training(tasks):
    task = dataclasses.replace(tasks[2], epochs=1)
    first, second = (train(task, 1, seed=7, on_step=lambda: None) for _ in range(2))
    np.testing.assert_array_equal(first.predictions, second.predictions)


def test_the_whole_demo_draws_its_picture(tmp_path, capsys):
    picture = tmp_path / "new" / "demo.png"
    trainings = run_demo(picture, epochs=1)
    assert [training.task.loss.name for training in trainings] == TITLES
    assert picture.read_bytes().startswith(b"\x89PNG")
    printed = capsys.readouterr().out
    assert all(name in printed for name in TITLES)
