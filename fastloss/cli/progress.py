"""A progress bar by rich where it is installed, and a counting line where it is not."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import TypeVar

Item = TypeVar("Item")


def with_progress(items: Sequence[Item]) -> Iterator[Item]:
    """Yield the items, showing which one is at work by its ``str``."""
    try:
        import rich.progress  # noqa: F401
    except ImportError:
        return _count(items)
    return _bar(items)


def _bar(items: Sequence[Item]) -> Iterator[Item]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns) as progress:
        bar = progress.add_task("", total=len(items))
        for item in items:
            progress.update(bar, description=str(item))
            yield item
            progress.advance(bar)
        progress.update(bar, description="")


def _count(items: Sequence[Item]) -> Iterator[Item]:
    is_terminal = sys.stdout.isatty()
    for number, item in enumerate(items, 1):
        line = f"{number}/{len(items)} {item}"
        # A terminal shows one line that changes; a log gets all of them.
        print(
            f"\r\033[K{line}" if is_terminal else line, end="" if is_terminal else "\n", flush=True
        )
        yield item
    if is_terminal:
        print()
