"""Collect what the benchmarks measure; print it and keep it at the end of the run."""

from __future__ import annotations

import json
import platform
from pathlib import Path
from typing import Any

import pytest

from bench import peers

RESULTS = Path(__file__).parent / "results"

_rows: list[dict[str, Any]] = []


@pytest.fixture
def record() -> Any:
    """Record one row: the case and its figures."""
    return _rows.append


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print one line per case, and write the results file."""
    if not _rows:
        return
    terminalreporter.section("fastloss")
    for row in _rows:
        figures = "  ".join(f"{name} {value}" for name, value in row.items() if name != "case")
        terminalreporter.write_line(f"{row['case']:58s} {figures}")
    _, missing = peers.available()
    if missing:
        terminalreporter.write_line(f"peers not installed, left out: {', '.join(missing)}")
    RESULTS.mkdir(exist_ok=True)
    name = f"{platform.system()}-{platform.machine()}-{platform.python_version()}".lower()
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps({"rows": _rows, "missing_peers": missing}, indent=1) + "\n")
    terminalreporter.write_line(f"written to {path.relative_to(Path.cwd())}")
