"""The command line, in this process where that suffices and as a user runs it where not."""

import builtins
import subprocess
import sys
from importlib import metadata

import pytest

import fastloss as fl
from fastloss.cli import main, warmup
from fastloss.cpu.compile import cache_directory


def test_info_tells_what_a_bug_report_needs(capsys):
    assert main(["info"]) == 0
    lines = capsys.readouterr().out.splitlines()
    facts = {line[:18].strip(): line[19:] for line in lines}
    assert facts["fastloss"] == fl.__version__
    assert facts["numba"] == metadata.version("numba")
    assert facts["threading layer"] in ("omp", "tbb", "workqueue")
    assert str(cache_directory()) in facts["cache"]
    for name in ("python", "llvmlite", "numpy", "cpu", "cpu features", "cores", "cuda", "settings"):
        assert facts[name]


def test_info_imports_no_framework():
    """It says which versions are installed without paying for their import."""
    program = (
        "import sys; from fastloss.cli import main; main(['info']); "
        "assert not {'torch', 'jax', 'sklearn', 'matplotlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)


@pytest.fixture
def nowhere_to_write(monkeypatch):
    """Let every folder that Numba tries be read-only, which for root none is."""
    from numba.core import caching

    def refuse(locator):
        raise PermissionError("read-only")

    monkeypatch.setattr(caching._CacheLocator, "ensure_cache_path", refuse)


def test_info_says_where_no_kernel_can_be_kept(capsys, nowhere_to_write):
    assert main(["info"]) == 0
    assert "\ncache              none: no folder can be written" in capsys.readouterr().out


def test_warmup_compiles_nothing_that_cannot_be_kept(capsys, monkeypatch, nowhere_to_write):
    monkeypatch.setattr(warmup, "CALLS", {"value": lambda *_: pytest.fail("it compiled")})
    assert main(["warmup", "--loss", "mse"]) == 1
    assert "NUMBA_CACHE_DIR" in capsys.readouterr().err


def test_warmup_calls_a_loss_in_every_way(capsys, monkeypatch):
    seen = []
    monkeypatch.setattr(warmup, "SHAPES", ((4, 10),))
    for name, call in warmup.CALLS.items():
        monkeypatch.setitem(
            warmup.CALLS,
            name,
            lambda loss, p, t, name=name, call=call: seen.append((name, call(loss, p, t))),
        )
    assert main(["warmup", "--loss", "mse", "--dtype", "float64"]) == 0
    assert [name for name, _ in seen] == list(warmup.CALLS)
    assert float(seen[0][1]) == 0.125
    assert "compiled in" in capsys.readouterr().out


@pytest.mark.parametrize("loss", fl.losses(), ids=lambda loss: loss.name)
def test_every_loss_accepts_what_warmup_gives_it(loss):
    import numpy as np

    value = loss(*warmup._arguments(loss, (4, 10), np.dtype(np.float32)))
    assert np.isfinite(value)


def test_warmup_counts_where_rich_is_missing(capsys, monkeypatch):
    real_import = builtins.__import__

    def without_rich(name, *args, **kwargs):
        if name.partition(".")[0] == "rich":
            raise ImportError(name)
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_rich)
    monkeypatch.setattr(warmup, "SHAPES", ((4, 10),))
    assert main(["warmup", "--loss", "mse"]) == 0
    assert f"1/{len(warmup.CALLS)} mse float32 value\n" in capsys.readouterr().out


def test_warmup_names_the_losses_there_are(capsys):
    assert main(["warmup", "--loss", "mse", "cross_entropi"]) == 2
    error = capsys.readouterr().err
    assert "cross_entropi;" in error
    assert "cross_entropy" in error


@pytest.mark.parametrize(
    "arguments", [["cook"], [], ["warmup", "--dtype", "int8"]], ids=["unknown", "none", "dtype"]
)
def test_a_wrong_command_line_is_refused(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert "usage: python -m fastloss" in capsys.readouterr().err


def test_the_demo_says_what_it_lacks(capsys, monkeypatch):
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: None if name == "sklearn" else find(name, *rest),
    )
    assert main(["demo"]) == 1
    assert "scikit-learn: pip install 'fastloss[demo]'" in capsys.readouterr().err


@pytest.mark.filterwarnings("default")  # peers warn of their own futures
def test_bench_times_what_is_there_and_names_what_is_not(capsys, monkeypatch):
    import importlib.util

    from fastloss.benchmark.cases import GRADIENT_OUT, Case, Goal

    goal = Goal(GRADIENT_OUT, 1e-9, "triad", 2)
    cases = (Case("mse", (1000,), short=True, goals=(goal,)), Case("hinge", (1000,)))
    monkeypatch.setattr("fastloss.cli.bench.CASES", cases)
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: None if name in ("torch", "jax") else find(name, *rest),
    )
    assert main(["bench", "--seconds", "0.001"]) == 0
    output = capsys.readouterr().out
    assert "torch: torch not installed (mse float32 (1000,))" in output
    assert "jax: jax not installed (mse float32 (1000,))" in output
    assert "MISS" in output  # nobody reaches a billionth of a triad
    assert "hinge" not in output


def test_the_package_runs_as_a_module():
    run = subprocess.run(
        [sys.executable, "-m", "fastloss", "--help"], capture_output=True, text=True, check=True
    )
    assert all(command in run.stdout for command in ("info", "warmup", "bench", "demo"))


@pytest.mark.parametrize(
    "option, value",
    [
        ("--epochs", "0"),
        ("--epochs", "-1"),
        ("--seed", "-1"),
        ("--seed", str(2**32)),
        ("--seed", "x"),
    ],
)
def test_demo_refuses_what_is_no_number_of_it(option, value, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["demo", option, value])
    assert stop.value.code == 2
    assert f"argument {option}: " in capsys.readouterr().err


def test_demo_refuses_a_picture_that_it_cannot_draw(capsys, monkeypatch, tmp_path):
    for module in ("sklearn", "matplotlib", "rich"):
        pytest.importorskip(module)
    monkeypatch.setattr("fastloss.demo.run_demo", lambda *_: pytest.fail("it trained"))
    assert main(["demo", "--out", str(tmp_path / "demo.xyz")]) == 2
    error = capsys.readouterr().err
    assert ".xyz" in error and ".png" in error
    (tmp_path / "file").touch()
    assert main(["demo", "--out", str(tmp_path / "file" / "demo.png")]) == 2
    assert "file" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["demo.png", "new/demo.SVG", "demo"])
def test_demo_draws_into_any_folder(name, monkeypatch, tmp_path):
    for module in ("sklearn", "matplotlib", "rich"):
        pytest.importorskip(module)
    calls = []
    monkeypatch.setattr("fastloss.demo.run_demo", lambda *call: calls.append(call))
    assert main(["demo", "--out", str(tmp_path / name), "--epochs", "2", "--seed", "3"]) == 0
    assert calls == [(tmp_path / name, 2, 3)]


@pytest.mark.parametrize("seconds", ["nan", "0", "-1", "inf", "soon"])
def test_bench_refuses_what_is_no_time(seconds, capsys):
    with pytest.raises(SystemExit):
        main(["bench", "--seconds", seconds])
    assert "--seconds" in capsys.readouterr().err
