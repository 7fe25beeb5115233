"""The README's figures come from the results file, all of them."""

import copy
import re

import pytest

pytest.importorskip("matplotlib")

from bench import plots, report
from bench.results import Results, load
from fastloss.benchmark import machine
from fastloss.benchmark.cases import CASES

RESULTS = {
    "cases": {
        str(case): {
            "us": {
                "fastloss": {"forward": 50.0, "gradient": 110.0, "gradient, out=": 100.0},
                "limit": {
                    "copy": 91.0, "best copy": 81.0, "read": 51.0, "triad": 95.0, "best triad": 85.0
                },
                "torch": {"forward": 300.0, "gradient": 900.0},
                "jax": {"forward": 200.0, "gradient": 812.0},
            },
            "left_out": {"sklearn": "not asked"},
        }
        for case in CASES
    },
    "frameworks": {
        "torch (2, 3)": {"us": {"fastloss.torch": 40.0, "torch": 44.0}},
        "torch (4, 5)": {"us": {"fastloss.torch": 50.0, "torch": 600.0}},
        "optax (2, 3)": {"us": {"fastloss.jax": 20.0, "optax": 19.0}},
        "optax (4, 5)": {"us": {"fastloss.jax": 2000.0, "optax": 9000.0}},
    },
    "frameworks memory": {"fastloss.torch (4, 5)": {"MB": 12.4}, "torch (4, 5)": {"MB": 36.0}},
    "machine": {"cpu": "Some CPU", "vectors": "avx2", "threads": 2},
    "date": "2026-01-02",
    "versions": dict.fromkeys(("python", *report.NAMED), "1.2.3"),
}  # fmt: skip


@pytest.fixture
def path():
    return report.ROOT / "bench" / "results" / "some-cpu.json"


def test_the_same_results_make_the_same_table(path):
    assert report.block(RESULTS, path) == report.block(copy.deepcopy(RESULTS), path)


def test_a_figure_in_the_results_is_the_figure_in_the_table(path):
    changed = copy.deepcopy(RESULTS)
    case = next(case for case in CASES if case.goals)
    changed["cases"][str(case)]["us"]["fastloss"][case.goals[0].call] = 123.0
    assert "123 us" not in report.block(RESULTS, path)
    assert "123 us" in report.block(changed, path)


def test_every_goal_that_was_measured_has_a_row(path):
    table = [line for line in report.block(RESULTS, path).splitlines() if line.startswith("| `")]
    shapes = 2
    assert len(table) == sum(len(case.goals) for case in CASES) + shapes
    partial = {**RESULTS, "cases": {}}
    assert report.goal_rows(partial) == []


def test_steps_inside_frameworks_stand_beside_their_own(path):
    lines = report.block(RESULTS, path).splitlines()
    assert "| float32 | fastloss.torch | torch | fastloss.jax | optax |" in lines
    assert "| `(2, 3)` | 40 us | 1.1x | 20 us | 0.95x |" in lines
    assert "| `(4, 5)` | 50 us | 12x | 2 ms | 4.5x |" in lines
    assert any("`fastloss.torch (4, 5)` 12 MB, `torch (4, 5)` 36 MB" in line for line in lines)
    without = {key: value for key, value in RESULTS.items() if "frameworks" not in key}
    assert "PyTorch" not in report.block(without, path)


@pytest.mark.parametrize("name", plots.PLOTS)
def test_the_same_results_make_the_same_plot(name, tmp_path):
    for file in ("one.png", "two.png"):
        plots.PLOTS[name](RESULTS, tmp_path / file)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    assert plots.drawn_from(tmp_path / "one.png") == plots.digest(RESULTS)
    assert plots.digest(RESULTS) != plots.digest({**RESULTS, "date": "2026-01-03"})


def test_a_block_is_replaced_and_nothing_else():
    text = f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n"
    new = report.replace_block(text, "new\nlines")
    assert new == f"before\n{report.BEGIN}\nnew\nlines\n{report.END}\nafter\n"
    assert report.current_block(new) == "new\nlines"
    with pytest.raises(ValueError, match="needs the lines"):
        report.replace_block("no marks", "new")


def test_no_figure_in_the_readme_is_typed_by_hand():
    """The block between the marks is what `make report` writes from the file that it names."""
    content = report.current_block(report.README.read_text())
    source = report.source_of(content)
    if source is None:
        assert content == report.NOT_MEASURED
    else:
        assert content == report.block(load(source), source)
        for name in plots.PLOTS:
            assert plots.drawn_from(source.parent / name) == plots.digest(load(source))


def test_committed_results_name_no_host(monkeypatch):
    """A results file is called by its CPU, vectors and cores, or by what FASTLOSS_MACHINE says."""
    import platform
    import socket

    monkeypatch.delenv("FASTLOSS_MACHINE", raising=False)
    assert re.fullmatch(r"[a-z0-9-]+-(avx512f|avx2|avx|sse2|sve|neon)-\d+-cores", machine.name())
    monkeypatch.setattr(platform, "node", lambda: "the-host")
    monkeypatch.setattr(socket, "gethostname", lambda: "the-host")
    assert "the-host" not in str(machine.describe())
    monkeypatch.setenv("FASTLOSS_MACHINE", "My Laptop (2026)")
    assert Results().path.name == "my-laptop-2026.json"


def test_results_of_a_part_are_laid_over_those_there_are(tmp_path):
    file = tmp_path / "deep" / "results.json"
    Results(cases={"a": 1, "b": 2}, start={"x": 0}).save(file)
    Results(cases={"b": 3}).save(file, onto=True)
    found = load(file)
    assert found["cases"] == {"a": 1, "b": 3} and found["start"] == {"x": 0}
    assert found["versions"]["fastloss"] and found["machine"]["threads"] >= 1
    Results(cases={"c": 4}).save(file)
    assert load(file)["cases"] == {"c": 4}
