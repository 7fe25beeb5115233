"""Refusals: what is refused, how it is said, and that nothing was written."""

import numpy as np
import pytest

from tests.helpers import Unchanged

X = np.linspace(0.1, 0.9, 12).reshape(4, 3)
"""Legal predictions for every loss but those between boxes."""
Y = np.array([0, 1, 2, 1])
SOFT = np.full((4, 3), 1 / 3)
BOXES = np.array([[0.0, 1.0, 2.0, 3.0]] * 4)
SIGNS = np.where(np.arange(12).reshape(4, 3) % 2, 1.0, -1.0)

TARGETS = {
    "hard": Y,
    "soft": SOFT,
    "bits": (SIGNS > 0).astype(float),
    "real": SOFT,
    "counts": SOFT,
    "signs": SIGNS,
    "boxes": BOXES,
    "which": Y % 2,
}


def legal(case):
    """Predictions and targets that the loss accepts."""
    count = case.loss.vectors
    whole = BOXES if case.kind == "boxes" else X
    predictions = np.stack([whole + k for k in range(count)], axis=-2) if count else whole.copy()
    return predictions, TARGETS[case.kind].copy()


def refused(error, words, call, *args, **kwargs):
    """The call raises `error`, its message holds every word, and no array changed."""
    arrays = [*args, *kwargs.values()]
    with Unchanged(*arrays), pytest.raises(error) as caught:
        call(*args, **kwargs)
    message = str(caught.value)
    for word in words:
        assert word.lower() in message.lower(), f"{word!r} is not in {message!r}"
    assert len(message) > 20


def refused_everywhere(error, words, case, predictions, targets, **options):
    """By every method, with `out` and in place."""
    function = case.function
    refused(error, words, function, predictions, targets, **options)
    for method in (function.value_and_grad, function.grad, function.grad_and_hess):
        refused(error, words, method, predictions, targets, **options)
        if isinstance(predictions, np.ndarray):
            refused(
                error,
                words,
                method,
                predictions,
                targets,
                out=np.full(np.shape(predictions), 7.0),
                **options,
            )
            refused(error, words, method, predictions, targets, out=predictions, **options)
