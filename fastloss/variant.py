"""What a kernel is compiled for: dtypes and the parts that are present, never sizes."""

from __future__ import annotations

from typing import NamedTuple

from fastloss.dtypes import FLOATS, name_of
from fastloss.losses.softmax import Link
from fastloss.spec import Operands


class Outputs(NamedTuple):
    """What a kernel writes; `per_example`: one loss each, instead of their sum or mean."""

    loss: bool
    grad: bool
    hess: bool
    per_example: bool


class PointwiseVariant(NamedTuple):
    """Of the element-wise kernel; `array_options` tells of each option if it is an array.

    `constants` are the values of options that it is compiled for, None for the others (a target
    may leave them all to its run time). `checked`: it looks for values outside the domain, which
    is else done before (or never, where nothing may wait for it). `signs`: that has kept targets of
    -1 and +1 as bits.
    """

    predictions: str
    targets: str
    weighted: bool
    array_options: tuple[bool, ...]
    outputs: Outputs
    constants: tuple[float | None, ...] = ()
    checked: bool = False
    signs: bool = False


class ClassVariant(NamedTuple):
    """Of the kernels over classes.

    `soft`: probability targets, of dtype `targets`. `mass`: there is probability mass beside
    a class index (soft targets or smoothing). `class_weight`: that mass is weighted by class.
    `weighted`: there are example weights or an upstream gradient (a target may leave that to its
    run time). `gathered`: the classes of an example do not lie in a row, and are brought into one
    (the same).
    """

    predictions: str
    targets: str
    soft: bool
    mass: bool
    class_weight: bool
    link: Link
    outputs: Outputs
    weighted: bool = True
    gathered: bool = False


class RowVariant(NamedTuple):
    """Of the kernels of a `RowSpec`.

    `soft`: targets are vectors, of dtype `targets`. `rows`: all arrays over the classes are rows,
    one after the other (a target may leave that to its run time). `gathered`: as above.
    """

    predictions: str
    targets: str
    soft: bool
    outputs: Outputs
    rows: bool = False
    gathered: bool = False


def class_variant(
    operands: Operands,
    smoothing: float,
    link: Link,
    outputs: Outputs,
    weighted: bool = True,
) -> ClassVariant:
    """Return what the kernels of a cross-entropy on these arrays are compiled for."""
    row = row_variant(operands, outputs)
    mass = row.soft or smoothing > 0.0
    class_weight = mass and "class_weight" in operands.array_options
    return ClassVariant(
        row.predictions, row.targets, row.soft, mass, class_weight, link, outputs, weighted
    )


def row_variant(operands: Operands, outputs: Outputs) -> RowVariant:
    """Return what the kernels of a `RowSpec` on these arrays are compiled for."""
    targets = name_of(operands.targets.dtype)
    soft = targets in FLOATS
    predictions = name_of(operands.predictions.dtype)
    return RowVariant(predictions, targets if soft else "float32", soft, outputs)


class DistanceVariant(NamedTuple):
    """Of the kernels of a `DistanceSpec`.

    `norm`: which one, see `fastloss.losses.norms`. `pairs`: how many distances are looked at.
    """

    predictions: str
    norm: int
    pairs: int
    outputs: Outputs
