"""Losses of several vectors for each example: the last axis of a shape is that of their entries."""

from tests.catalogue.entry import Loss
from tests.oracles import distances


def close_vectors(count):
    """So many vectors for each example, some of them within a margin of 1 of each other."""
    return lambda rng, shape, axis=None: 0.4 * rng.standard_normal((*shape[:-1], count, shape[-1]))


def which(rng, shape, axis=None):
    return rng.integers(0, 2, shape[:-1])


LOSSES = (
    Loss(
        "contrastive",
        distances.contrastive,
        predictions=close_vectors(2),
        targets={"which": which},
        options={
            "plain": {},
            "cubic": {"p": 3.0, "eps": 0.125, "margin": 2.0, "half": False},
        },
        over_classes=True,
        vectors=2,
    ),
    Loss(
        "triplet",
        distances.triplet,
        predictions=close_vectors(3),
        targets={"which": which},
        options={
            "plain": {},
            "swapped": {"swap": True, "margin": 0.5},
            "city": {"p": 1.0, "eps": 0.0, "margin": 2.0},
        },
        over_classes=True,
        vectors=3,
    ),
)
