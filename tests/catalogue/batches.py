"""Losses whose examples see each other; they have tests of their own."""

import numpy as np

from tests.catalogue.draws import normal
from tests.catalogue.entry import Loss
from tests.oracles import similarity
from tests.oracles.expected import Expected


def labels(rng, shape, axis=None):
    return rng.integers(0, 3, shape[:-1])


def ntxent(x, targets, **options):
    """Without derivatives."""
    loss, has_positive = similarity.losses(x, targets, **options)
    none = np.full(np.shape(x), np.nan)
    return Expected(loss, none, none, loss, none, none, weight=has_positive.astype(float), axis=-1)


LOSSES = (
    Loss(
        "ntxent",
        ntxent,
        predictions=normal(1.0),
        targets={"labels": labels},
        options={"plain": {}, "warm": {"temperature": 0.5}},
        over_classes=True,
        independent=False,
    ),
)
