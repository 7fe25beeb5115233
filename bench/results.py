"""What a run measured, and the file that keeps it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fastloss.benchmark import machine

FOLDER = Path(__file__).parent / "results"


class Results(dict[str, Any]):
    """Sections by name: "cases" and those of the other files here."""

    def section(self, name: str) -> dict[str, Any]:
        """Return a section to write into."""
        found: dict[str, Any] = self.setdefault(name, {})
        return found

    @property
    def path(self) -> Path:
        """The file of this machine."""
        return FOLDER / f"{machine.name()}.json"

    def save(self, path: Path, *, onto: bool = False) -> None:
        """Write the file anew, or lay these figures over those it has."""
        merged = load(path) if onto and path.exists() else {}
        for name, section in self.items():
            merged[name] = {**merged.get(name, {}), **section}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({**merged, **machine.describe()}, indent=1) + "\n")


def load(path: Path) -> dict[str, Any]:
    """Read a results file."""
    found: dict[str, Any] = json.loads(path.read_text())
    return found
