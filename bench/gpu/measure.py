"""Timing with device events, and the results as a table."""

import statistics
import time

import torch

REPEATS, WARM = 30, 5


def milliseconds(call, *arguments):
    """Median time on the device, between events around one call each."""
    for _ in range(WARM):
        call(*arguments)
    pairs = []
    for _ in range(REPEATS):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        call(*arguments)
        end.record()
        pairs.append((begin, end))
    torch.cuda.synchronize()
    return statistics.median(begin.elapsed_time(end) for begin, end in pairs)


def host_microseconds(call, *arguments, calls=1000):
    """Time until a call returns, with the device kept far behind so that nothing waits for it."""
    for _ in range(WARM):
        call(*arguments)
    torch.cuda.synchronize()
    times = []
    for _ in range(calls // 100):
        torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(100):
            call(*arguments)
        times.append((time.perf_counter() - start) / 100)
    return 1e6 * statistics.median(times)


def copy_bandwidth(nbytes):
    """Bytes per millisecond, read and written, of a device-to-device copy of so many bytes."""
    source = torch.empty(nbytes // 4, dtype=torch.float32, device="cuda")
    target = torch.empty_like(source)
    return 2 * source.nbytes / milliseconds(target.copy_, source)


class Table:
    """Rows of a Markdown table, printed as they come."""

    def __init__(self, title, columns):
        self.lines = [f"## {title}", "", "| " + " | ".join(columns) + " |"]
        self.lines.append("|" + "---|" * len(columns))
        print("\n".join(self.lines))

    def add(self, *cells):
        line = "| " + " | ".join(cells) + " |"
        self.lines.append(line)
        print(line, flush=True)

    def __str__(self):
        return "\n".join(self.lines) + "\n"
