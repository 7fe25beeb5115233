"""What is timed and what it must reach: the one list of cases and goals.

A case is timed in every form that its `calls` name, by fastloss and by every peer that has
the loss. A goal holds one form of fastloss' call against a limit of the memory and against
the fastest peer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import fastloss as fl
from fastloss.axes import axes_of, without
from fastloss.spec import ClassSpec, Spec

Limit = Literal["copy", "read", "triad"]
Call = Literal["forward", "gradient", "gradient, out="]

#: Value alone, value and gradient, the same into an array that is there.
FORWARD: Call = "forward"
GRADIENT: Call = "gradient"
GRADIENT_OUT: Call = "gradient, out="
CALLS = (FORWARD, GRADIENT, GRADIENT_OUT)


@dataclass(frozen=True)
class Goal:
    """What a call of fastloss must reach, in float32 on two cores unless the case says more."""

    call: Call
    at_most: float
    """Times the limit; seconds where there is no limit."""
    limit: Limit | None
    faster: float | None
    """Times as fast as the fastest peer."""


@dataclass(frozen=True)
class Case:
    """A loss on arrays of one kind."""

    loss: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    soft: bool = False
    """Whether the targets of a loss over classes are vectors, such as probabilities."""
    goals: tuple[Goal, ...] = field(default=(), kw_only=True)
    calls: tuple[Call, ...] = field(default=(GRADIENT,), kw_only=True)
    """What the peers are timed at; fastloss always is at all."""
    short: bool = field(default=False, kw_only=True)
    """Whether the short form of the benchmark has it."""

    def __str__(self) -> str:
        soft = " soft" if self.soft else ""
        return f"{self.loss} {self.dtype} {self.shape}{soft}"

    @property
    def over_classes(self) -> bool:
        """Whether the loss has a class axis."""
        return isinstance(getattr(fl, self.loss).spec, ClassSpec)

    @property
    def examples(self) -> int:
        """How many losses the mean is over."""
        spec: Spec = getattr(fl, self.loss).spec
        within = axes_of(spec, {"axis": self.axis}, self.shape)
        return math.prod(without(self.shape, within))

    @property
    def by_element(self) -> bool:
        """Whether each element has a loss of its own, and a target."""
        return self.examples == self.size

    @property
    def axis(self) -> int | tuple[int, ...]:
        """The class axis: PyTorch's, which is the last one of a matrix; or those of regions."""
        spec = getattr(fl, self.loss).spec
        over_region = isinstance(spec, ClassSpec) and isinstance(spec.axis, tuple)
        return spec.axis if over_region else 1

    @property
    def size(self) -> int:
        """Elements of the predictions."""
        return math.prod(self.shape)


BOTH = (FORWARD, GRADIENT)

LARGE = Goal(GRADIENT_OUT, 1.0, "copy", 5)
LARGE_FORWARD = Goal(FORWARD, 1.15, "read", 5)
LARGE_DOUBLE = Goal(GRADIENT_OUT, 1.2, "copy", 3)
LARGE_HALF = Goal(GRADIENT_OUT, 2.0, "copy", 5)
ELEMENTWISE = Goal(GRADIENT_OUT, 1.1, "triad", 2)
BOXES = Goal(GRADIENT_OUT, 1.5, "copy", None)
CATALOGUE = Goal(GRADIENT_OUT, 1.15, "triad", None)
REGION = Goal(GRADIENT_OUT, 1.5, "copy", None)
SMALL_CALL = Goal(GRADIENT_OUT, 6e-6, None, 6)
SMALL_CALL_ALLOCATING = Goal(GRADIENT, 12e-6, None, None)
SINGLE_CALL = Goal(GRADIENT_OUT, 3e-6, None, 6)

CASES = (
    Case(
        "cross_entropy", (32, 10), calls=BOTH, short=True, goals=(SMALL_CALL, SMALL_CALL_ALLOCATING)
    ),
    Case(
        "cross_entropy", (256, 1000), calls=BOTH, short=True,
        goals=(Goal(GRADIENT_OUT, 2.0, "copy", 4),),
    ),
    Case(
        "cross_entropy", (4096, 1000), calls=BOTH, short=True,
        goals=(Goal(GRADIENT_OUT, 1.2, "copy", 4),),
    ),
    Case(
        "cross_entropy", (65536, 10), calls=BOTH, short=True,
        goals=(Goal(GRADIENT_OUT, 4.0, "copy", 10),),
    ),
    Case("cross_entropy", (65536, 100), calls=BOTH),
    Case(
        "cross_entropy", (2048, 32000), calls=BOTH, short=True, goals=(LARGE, LARGE_FORWARD)
    ),
    Case("cross_entropy", (512, 128256), calls=BOTH, goals=(LARGE, LARGE_FORWARD)),
    Case(
        "cross_entropy", (8, 21, 256, 256), calls=BOTH, short=True,
        goals=(Goal(GRADIENT_OUT, 2.0, "copy", 4),),
    ),
    Case("cross_entropy", (256, 1000), "float64"),
    Case("cross_entropy", (65536, 10), "float64"),
    Case("cross_entropy", (2048, 32000), "float64", goals=(LARGE_DOUBLE,)),
    Case("cross_entropy", (256, 1000), "bfloat16"),
    Case("cross_entropy", (65536, 10), "bfloat16"),
    Case("cross_entropy", (2048, 32000), "bfloat16", goals=(LARGE_HALF,)),
    Case("cross_entropy", (8, 21, 256, 256), "bfloat16"),
    Case("cross_entropy", (256, 1000), "float16"),
    Case("cross_entropy", (65536, 10), "float16"),
    Case("cross_entropy", (2048, 32000), "float16", goals=(LARGE_HALF,)),
    Case("cross_entropy", (32, 10), soft=True),
    Case("cross_entropy", (256, 1000), soft=True),
    Case("cross_entropy", (4096, 1000), soft=True),
    Case("cross_entropy", (65536, 10), soft=True),
    Case("cross_entropy", (2048, 32000), soft=True),
    Case("cross_entropy", (8, 21, 256, 256), soft=True),
    Case("cross_entropy", (4096, 1000), "float64", soft=True),
    Case("cross_entropy", (4096, 1000), "bfloat16", soft=True),
    Case("categorical_cross_entropy", (4096, 1000)),
    Case("categorical_cross_entropy", (65536, 10)),
    Case("categorical_cross_entropy", (4096, 1000), soft=True),
    Case("categorical_cross_entropy", (65536, 10), soft=True),
    Case("categorical_cross_entropy", (8, 21, 256, 256), soft=True),
    Case("nll", (4096, 1000)),
    Case("nll", (65536, 10)),
    Case("nll", (8, 21, 256, 256)),
    Case("multiclass_hinge", (4096, 1000)),
    Case("multiclass_hinge", (65536, 10)),
    Case("multi_margin", (4096, 1000)),
    Case("multi_margin", (65536, 10)),
    Case("focal_cross_entropy", (4096, 1000)),
    Case("focal_cross_entropy", (65536, 10)),
    Case("focal_cross_entropy", (8, 21, 256, 256)),
    Case("generalized_cross_entropy", (4096, 1000)),
    Case("generalized_cross_entropy", (65536, 10)),
    Case("sparsemax", (4096, 1000)),
    Case("sparsemax", (65536, 10)),
    Case("sparsemax", (4096, 1000), soft=True),
    Case("sparsemax", (65536, 10), soft=True),
    Case("kl_divergence", (4096, 1000), soft=True),
    Case("kl_divergence", (65536, 10), soft=True),
    Case("js_divergence", (4096, 1000), soft=True),
    Case("js_divergence", (65536, 10), soft=True),
    Case("cosine_distance", (4096, 1000), soft=True),
    Case("cosine_distance", (65536, 10), soft=True),
    Case("giou", (2_500_000, 4), soft=True, goals=(BOXES,)),
    Case("ciou", (2_500_000, 4), soft=True, goals=(BOXES,)),
    *[
        Case(loss, (8, 21, 256, 256), soft=True, goals=(REGION,))
        for loss in ("dice", "tversky", "jaccard")
    ],
    Case("triplet", (65536, 3, 128)),
    Case("contrastive", (65536, 2, 128)),
    Case("ntxent", (1024, 128)),
    Case("mse", (1,), short=True, goals=(SINGLE_CALL,)),
    Case("mse", (1_000,)),
    Case("mse", (1_000_000,)),
    Case("mse", (10_000_000,), calls=BOTH, short=True, goals=(ELEMENTWISE,)),
    Case("binary_cross_entropy_with_logits", (1,), goals=(SINGLE_CALL,)),
    Case("binary_cross_entropy_with_logits", (1_000,)),
    Case("binary_cross_entropy_with_logits", (1_000_000,)),
    Case(
        "binary_cross_entropy_with_logits", (10_000_000,), calls=BOTH, short=True,
        goals=(ELEMENTWISE,),
    ),
    Case("binary_cross_entropy_with_logits", (10_000_000,), "float64"),
    Case("binary_cross_entropy_with_logits", (10_000_000,), "bfloat16"),
    Case("binary_cross_entropy_with_logits", (10_000_000,), "float16"),
    Case("binary_cross_entropy", (1,), goals=(SINGLE_CALL,)),
    Case("binary_cross_entropy", (1_000,)),
    Case("binary_cross_entropy", (1_000_000,)),
    Case("binary_cross_entropy", (10_000_000,), calls=BOTH, goals=(ELEMENTWISE,)),
    Case("hinge", (1,), goals=(SINGLE_CALL,)),
    Case("hinge", (1_000,)),
    Case("hinge", (1_000_000,)),
    Case("hinge", (10_000_000,), calls=BOTH, goals=(ELEMENTWISE,)),
    *[Case(loss, (10_000_000,), goals=(CATALOGUE,)) for loss in (
        "charbonnier", "exponential", "focal", "gamma_nll", "gaussian_nll", "huber", "log_cosh",
        "mae", "margin_ranking", "modified_huber", "msle", "perceptron", "poisson_nll", "poly",
        "quantile", "smooth_l1", "soft_margin", "squared_hinge", "tweedie_nll",
    )],
)  # fmt: skip
