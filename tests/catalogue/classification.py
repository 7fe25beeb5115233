"""Losses over the classes of an axis."""

from tests.catalogue.draws import class_weight, indices, normal, off_the_edge, probabilities
from tests.catalogue.entry import Loss
from tests.oracles import classes

CLASS_OPTIONS = {
    "plain": {},
    "weighted": {"class_weight": class_weight},
    "ignoring": {"ignore_index": 1},
    "smoothed": {"label_smoothing": 0.125},
    "melted": {"class_weight": class_weight, "ignore_index": 0, "label_smoothing": 0.25},
}

LOSSES = (
    Loss(
        "cross_entropy",
        classes.cross_entropy,
        predictions=normal(3.0),
        targets={"hard": indices, "soft": probabilities},
        options=CLASS_OPTIONS
        | {
            "z_loss": {"z_loss": 0.125},
            "scaled": {"logit_scale": 0.375},
            "capped": {"logit_softcap": 5.0},
            "all": {
                "class_weight": class_weight,
                "ignore_index": 0,
                "label_smoothing": 0.25,
                "z_loss": 0.0625,
                "logit_scale": 1.75,
                "logit_softcap": 8.0,
            },
        },
        over_classes=True,
        only={"ignoring": "hard"},
    ),
    Loss(
        "categorical_cross_entropy",
        classes.categorical_cross_entropy,
        predictions=probabilities,
        targets={"hard": indices, "soft": probabilities},
        smooth=off_the_edge,
        options=CLASS_OPTIONS,
        over_classes=True,
        only={"ignoring": "hard"},
    ),
)
