"""The command line: ``python -m fastloss info | warmup | bench | demo``."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from pathlib import Path

from fastloss.cli.info import print_info
from fastloss.cli.warmup import DTYPES, warm_up

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command in ``arguments`` (by default the process's own); return its exit status."""
    options = _parser().parse_args(arguments)
    status: int = options.run(options)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m fastloss", description="Fast loss functions.")
    commands = parser.add_subparsers(title="commands", metavar="command", required=True)

    info = commands.add_parser("info", help="print what a bug report needs")
    info.set_defaults(run=_run_info)

    warmup = commands.add_parser("warmup", help="compile the losses ahead into the cache")
    warmup.add_argument(
        "--dtype",
        nargs="+",
        choices=DTYPES,
        default=["float32"],
        help="of the predictions (default: float32)",
    )
    warmup.add_argument(
        "--loss", nargs="+", metavar="NAME", help="only these losses (default: all)"
    )
    warmup.set_defaults(run=_run_warmup)

    bench = commands.add_parser("bench", help="time the losses beside their peers, in short")
    bench.add_argument(
        "--seconds",
        type=_seconds,
        default=0.2,
        help="for every contestant of a case (default: 0.2)",
    )
    bench.set_defaults(run=_run_bench)

    demo = commands.add_parser("demo", help="train four small networks on handwritten digits")
    demo.add_argument(
        "--out",
        type=Path,
        default=Path("fastloss-demo.png"),
        metavar="PICTURE",
        help="where the picture goes (default: fastloss-demo.png)",
    )
    demo.add_argument("--epochs", type=_whole(1), help="of every task (default: the task's own)")
    demo.add_argument(
        "--seed",
        type=_whole(0, 2**32 - 1),  # scikit-learn's limits
        default=0,
        help="of split, weights and order (default: 0)",
    )
    demo.set_defaults(run=_run_demo)
    return parser


def _seconds(text: str) -> float:
    """Read a time to measure for."""
    seconds = float(text)
    if not 0.0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is no number of seconds above 0")
    return seconds


def _whole(low: int, high: float = math.inf) -> Callable[[str], int]:
    """Make the reader of a whole number in [low, high]."""

    def read(text: str) -> int:
        number = int(text)
        if not low <= number <= high:
            limits = f"at least {low}" if high == math.inf else f"from {low} to {high}"
            raise argparse.ArgumentTypeError(f"{text} is no whole number {limits}")
        return number

    read.__name__ = "whole number"  # what argparse calls it
    return read


def _run_info(options: argparse.Namespace) -> int:
    print_info()
    return 0


def _run_warmup(options: argparse.Namespace) -> int:
    return warm_up(options.dtype, options.loss)


def _run_bench(options: argparse.Namespace) -> int:
    from fastloss.cli.bench import run

    return run(options.seconds)


def _run_demo(options: argparse.Namespace) -> int:
    from fastloss.cli.demo import run

    return run(options.out, options.epochs, options.seed)
