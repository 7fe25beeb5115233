"""Losses between two boxes."""

import numpy as np

from tests.catalogue.draws import off_the_kink
from tests.catalogue.entry import Loss
from tests.oracles import boxes


def draw(rng, shape, axis=-1):
    """Boxes with edges at multiples of 1/4: most overlap, some lie apart, some edges are equal."""
    examples = list(shape)
    examples.pop(axis)
    low = rng.integers(0, 33, (*examples, 2)) / 4
    high = low + rng.integers(8, 33, low.shape) / 4
    return np.moveaxis(np.concatenate([low, high], -1), -1, axis)


def of_boxes(name, **entry):
    return Loss(
        name,
        getattr(boxes, name),
        predictions=draw,
        targets={"boxes": draw},
        smooth=off_the_kink,
        options={"plain": {}, "eps": {"eps": 2.0}},
        over_classes=True,
        classes=4,
        **entry,
    )


LOSSES = (of_boxes("giou"), of_boxes("diou"), of_boxes("ciou", exact_slopes=False))
