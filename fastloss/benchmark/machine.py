"""On what the measurements were made; never the name of the host."""

from __future__ import annotations

import datetime
import os
import platform
import re
from typing import Any

import numba

from fastloss.benchmark import limits
from fastloss.system import cpu_model, version

LIBRARIES = (
    *("fastloss", "numba", "llvmlite", "numpy", "ml_dtypes"),
    *("torch", "jax", "jaxlib", "optax", "scikit-learn"),
)


def name() -> str:
    """Return FASTLOSS_MACHINE, or a name made of the CPU's model and the number of cores."""
    given = os.environ.get("FASTLOSS_MACHINE")
    return slug(given or f"{cpu_model()} {os.cpu_count()} cores")


def slug(text: str) -> str:
    """Return `text` as a file's name: lower case, dashes for all that is no letter or digit."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def describe() -> dict[str, Any]:
    """Return what belongs to every results file."""
    return {
        "machine": {
            "name": name(),
            "cpu": cpu_model(),
            "cores": os.cpu_count(),
            "threads": limits.threads(),
            "threading layer": numba.threading_layer(),
            "system": f"{platform.system()} {platform.machine()}",
        },
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d"),
        "versions": {
            "python": platform.python_version(),
            **{library: version(library) for library in LIBRARIES},
        },
    }
