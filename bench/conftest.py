"""The session of the benchmarks: shows each case as it is done, ends in the table of goals.

pytest-benchmark times one function per test, so it cannot alternate between contestants.
The rounds are therefore gone through by `fastloss.benchmark.measure`, and the plugin is handed
the samples of fastloss' own call (see `hand_over`): `--benchmark-json`, `--benchmark-save` and
`--benchmark-compare` work on them. Its table is not shown unless it was asked to compare: it
ranks the cases against each other, which says nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.results import Results
from bench.summary import write_summary
from fastloss.benchmark.measure import Timing

HERE = Path(__file__).parent

_results = pytest.StashKey[Results]()
_partial = pytest.StashKey[bool]()

#: A line that the terminal shows behind the test's name.
SHOWN = "fastloss"


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_results] = Results()
    config.stash[_partial] = False


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--seconds",
        type=float,
        default=0.0,
        help="time of each contestant in a case (default: by the case's size)",
    )
    parser.addoption(
        "--results",
        metavar="FILE",
        help="add the results to this file, also those of a part (default: the file of this "
        "machine in bench/results, written by a whole run that passed)",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            # Peers warn of their own futures; in the package's tests a warning is an error.
            item.add_marker(pytest.mark.filterwarnings("default"))


def pytest_deselected(items: list[pytest.Item]) -> None:
    if items:
        items[0].config.stash[_partial] = True


def pytest_collection_finish(session: pytest.Session) -> None:
    files = {item.path for item in session.items}
    if not files.issuperset(HERE.glob("test_*.py")):
        session.config.stash[_partial] = True


@pytest.fixture(scope="session")
def results(pytestconfig: pytest.Config) -> Results:
    """What this run has measured so far."""
    return pytestconfig.stash[_results]


@pytest.fixture
def show(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Show a line behind the test's name."""
    return lambda line: record_property(SHOWN, line)


@pytest.fixture
def hand_over(benchmark: Any) -> Callable[[Timing], None]:
    """Give pytest-benchmark the samples of a call, as if it had run it itself."""

    def give(timing: Timing) -> None:
        # What `benchmark(...)` does after each round; there is no public way in.
        stats = benchmark._make_stats(timing.repeats)
        benchmark._mode = "interleaved"
        for sample in timing.samples:
            stats.update(sample * timing.repeats)

    return give


def pytest_benchmark_group_stats(config: pytest.Config) -> list[Any] | None:
    return None if config.getoption("benchmark_compare") else []


def pytest_report_teststatus(
    report: pytest.TestReport, config: pytest.Config
) -> tuple[str, str, str] | None:
    lines = [str(value) for name, value in report.user_properties if name == SHOWN]
    if report.when != "call" or not lines:
        return None
    return report.outcome, ".", f"{report.outcome.upper()}  {'; '.join(lines)}"


def pytest_terminal_summary(terminalreporter: Any, exitstatus: int, config: pytest.Config) -> None:
    found = config.stash[_results]
    if not found:
        return
    write_summary(terminalreporter, found)
    terminalreporter.section("fastloss: results")
    chosen, path = config.getoption("--results"), found.path
    whole = not config.stash[_partial] and exitstatus == pytest.ExitCode.OK
    if chosen:
        found.save(Path(chosen), onto=True)
        terminalreporter.write_line(f"added to {chosen}")
    elif whole:
        found.save(path)
        terminalreporter.write_line(f"written to {os.path.relpath(path)}")
    else:
        terminalreporter.write_line(
            f"{os.path.relpath(path)} was left as it is: only a part ran, or something failed"
        )
