"""The one list of losses that drives the tests: a new loss is tested by being listed here.

`LOSSES` has one entry per loss, `CASES` one per loss, kind of target and set of options. Every
loss goes through the tests of its own formula and once through those of the machinery that
carries it (dtypes, layouts, reductions, libraries, devices); what that machinery does in all its
variants is tested on a few losses that stand for the rest, the `CORE_...`: every kind of loss,
of target, of option and of domain is among them.
"""

import fastloss as fl
from tests.catalogue import batches, boxes, classification, elementwise, regions, rows, vectors
from tests.catalogue.entry import Case, Loss

__all__ = [
    "BY_NAME", "CASES", "CORE", "CORE_CASES", "CORE_FIRST", "CORE_PLAIN", "EACH", "EACH_KIND",
    "FIRST", "LISTED", "LOSSES", "PLAIN", "Case", "Loss",
]  # fmt: skip

LISTED = {loss.name for loss in fl.losses()}
"""What the package lists, before any test adds losses of its own."""

LOSSES = (
    *classification.LOSSES,
    *rows.LOSSES,
    *boxes.LOSSES,
    *regions.LOSSES,
    *vectors.LOSSES,
    *batches.LOSSES,
    *elementwise.LOSSES,
)

CASES = tuple(
    Case(loss, kind, option_set)
    for loss in LOSSES
    if loss.independent
    for kind in loss.targets
    for option_set in loss.options
    if loss.only.get(option_set, kind) == kind
)
PLAIN = tuple(case for case in CASES if case.option_set == "plain")
"""One case per loss and kind of target: for what does not depend on the options."""
FIRST = tuple({case.loss.name: case for case in reversed(PLAIN)}.values())
"""One case per loss: for what does not depend on the targets either."""
BY_NAME = {str(case): case for case in CASES}

CORE = {loss.name for loss in (*classification.LOSSES, *elementwise.CORE)}
CORE_CASES, CORE_PLAIN, CORE_FIRST = (
    tuple(case for case in cases if case.loss.name in CORE) for cases in (CASES, PLAIN, FIRST)
)
EACH = (*CORE_PLAIN, *(case for case in FIRST if case.loss.name not in CORE))
"""Every loss, the core with every kind of target."""

OTHER_KINDS = {"multi_margin", "js_divergence", "giou", "dice", "triplet"}
"""Losses of the kinds that are not in the core: of class indices, of vectors, boxes, regions,
distances. To compile one of them takes seconds."""
EACH_KIND = tuple(case for case in EACH if case.loss.name in CORE | OTHER_KINDS)
"""The core and one of every other kind: for what a loss' own formulas have no part in."""
