"""The peers, each at its best: contiguous, all threads, gradients reset as its users do.

A peer's module makes, of the arrays of a case, functions that compute the mean loss and its
gradient with respect to the predictions. Where the peer has no such loss it raises
`Unsupported`, and the reason is printed and kept with the results.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from fastloss.benchmark.inputs import Inputs


class Unsupported(Exception):
    """The peer cannot compute the case; the message says why."""


@dataclass(frozen=True)
class Peer:
    """What a peer does with the arrays of one case."""

    forward: Callable[[], Any]
    """-> the mean loss"""
    gradient: Callable[[], tuple[Any, Any]]
    """-> (the mean loss, its gradient)"""
    while_called: Callable[[], AbstractContextManager[object]] = nullcontext
    """A context to call both in: what the peer needs then, or must not do."""
    forget: Callable[[], object] = lambda: None
    """Drops what the last call left behind."""
    allocates: bool = True
    """Whether the gradient is a new array, not one that the peer was given."""


@dataclass(frozen=True)
class Library:
    """Where a peer comes from."""

    module: str
    """The module of this package that speaks to it."""
    maker: str
    needs: tuple[str, ...]
    """The modules that must be installed."""
    slow_start: bool = False
    """Whether it takes seconds to get ready: not in the short form of the benchmark."""

    def missing(self) -> list[str]:
        """Return what would have to be installed."""
        return [name for name in self.needs if importlib.util.find_spec(name) is None]

    def make(self, inputs: Inputs) -> Peer:
        """Make the peer ready for the arrays of a case."""
        module = importlib.import_module(f"{__name__}.{self.module}")
        peer: Peer = getattr(module, self.maker)(inputs)
        return peer


PEERS = {
    "numpy": Library("numpy", "make_peer", ()),
    "torch": Library("torch", "make_eager", ("torch",)),
    "torch.compile": Library("torch", "make_compiled", ("torch",), slow_start=True),
    "jax": Library("jax", "make_peer", ("jax", "optax")),
    "sklearn": Library("sklearn", "make_peer", ("sklearn",)),
}


def gather(
    inputs: Inputs, names: Sequence[str] = tuple(PEERS)
) -> tuple[dict[str, Peer], dict[str, str]]:
    """Return the peers that can compute the case, and why the others cannot."""
    ready: dict[str, Peer] = {}
    left_out: dict[str, str] = {}
    for name, library in PEERS.items():
        missing = library.missing()
        if name not in names:
            slow = library.slow_start
            left_out[name] = "takes seconds to start: full suite only" if slow else "not asked for"
        elif missing:
            left_out[name] = f"{', '.join(missing)} not installed"
        else:
            try:
                ready[name] = library.make(inputs)
            except Unsupported as reason:
                left_out[name] = str(reason)
    return ready, left_out
