"""On what the measurements were made; never the name of the host."""

from __future__ import annotations

import datetime
import os
import platform
import re
import time
from pathlib import Path
from typing import Any

import numba

from fastloss.benchmark import limits
from fastloss.system import cpu_model, version, widest_vectors

LIBRARIES = (
    *("fastloss", "numba", "llvmlite", "numpy", "ml_dtypes"),
    *("torch", "jax", "jaxlib", "optax", "scikit-learn"),
)


def name() -> str:
    """Return FASTLOSS_MACHINE, or a name made of the CPU's model, its vectors and the cores."""
    given = os.environ.get("FASTLOSS_MACHINE")
    return slug(given or f"{cpu_model()} {widest_vectors()} {os.cpu_count()} cores")


def slug(text: str) -> str:
    """Return `text` as a file's name: lower case, dashes for all that is no letter or digit."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


class Disturbance:
    """What else the machine did: a context that counts it.

    Attributes
    ----------
    others, stolen : float or None
        Share of the cores' time that other processes had, and that a hypervisor gave to
        other machines; None where the system does not tell.
    """

    def __init__(self) -> None:
        self.others: float | None = None
        self.stolen: float | None = None

    def __enter__(self) -> Disturbance:
        self._start = (time.perf_counter(), _own_seconds(), _machine_seconds())
        return self

    def __exit__(self, *stop: object) -> None:
        start, own, machine = self._start
        now = _machine_seconds()
        if machine is None or now is None:
            return
        all_cores = (time.perf_counter() - start) * (os.cpu_count() or 1)
        busy = now[0] - machine[0] - (_own_seconds() - own)
        self.others = round(max(0.0, busy / all_cores), 3)
        self.stolen = round((now[1] - machine[1]) / all_cores, 3)


def _own_seconds() -> float:
    """Return the CPU time of this process and of those it has started and waited for."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def _machine_seconds() -> tuple[float, float] | None:
    """Return what all cores have worked, and what was stolen from them."""
    try:
        first = Path("/proc/stat").read_text().splitlines()[0]
    except OSError:
        return None  # not Linux
    ticks = [int(part) for part in first.split()[1:9]]
    user, nice, system, _idle, _waiting, irq, soft_irq, stolen = ticks
    per_second = os.sysconf("SC_CLK_TCK")
    return (user + nice + system + irq + soft_irq) / per_second, stolen / per_second


def describe() -> dict[str, Any]:
    """Return what belongs to every results file."""
    return {
        "machine": {
            "name": name(),
            "cpu": cpu_model(),
            "vectors": widest_vectors(),
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
