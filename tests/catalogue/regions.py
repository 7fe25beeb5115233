"""Losses over regions. The shared tests take the last axis for the region."""

import numpy as np

from tests.catalogue.draws import bits, uniform
from tests.catalogue.entry import Loss
from tests.oracles import regions


def masks(rng, shape, axis=None):
    return bits(rng, shape).astype(np.float64)


def region_loss(name, options):
    return Loss(
        name,
        getattr(regions, name),
        predictions=uniform(0.0, 1.0),
        targets={"soft": uniform(0.0, 1.0), "bits": masks},
        options={"plain": {}, "smooth": {"smooth": 1.0}} | options,
        over_classes=True,
        only={"smooth": "bits", "melted": "soft"},
        axis=-1,
    )


LOSSES = (
    region_loss("dice", {"melted": {"from_logits": True, "smooth": 0.5}}),
    region_loss(
        "tversky",
        {"melted": {"alpha": 0.25, "beta": 1.5, "from_logits": True}},
    ),
    region_loss("jaccard", {"melted": {"from_logits": True, "smooth": 0.25}}),
)
