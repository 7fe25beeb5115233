"""Cross-entropy from logits with one group of threads for each example."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from fastloss.cuda.compile import Kernel
from fastloss.cuda.examples import ClassCall
from fastloss.cuda.rows import make_rows
from fastloss.cuda.softmax_steps import softmax_steps
from fastloss.cuda.variant import ClassVariant, Mapping, is_lean
from fastloss.labels import label_of


@functools.cache
def compute_kernel(variant: ClassVariant, mapping: Mapping) -> Kernel:
    """Return the kernel for the dtypes, options and outputs of `variant`."""

    def make() -> Callable[..., Any]:
        return make_rows(softmax_steps(variant, mapping).steps, variant, mapping)

    label, lean = "softmax" + label_of(variant, mapping), is_lean(variant, mapping)
    return Kernel(make, ClassCall, mapping.threads, label, lean=lean)
