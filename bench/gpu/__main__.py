"""Measure, print, and keep what was printed in bench/results/."""

import re
import sys
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path

RESULTS = Path(__file__).resolve().parent.parent / "results"
CLASSES = (10, 256, 1024, 4096, 16384, 32768, 65536, 131072, 262144)
GIGABYTE = 2**30
ELEMENTS = 10**8


def cross_entropy():
    """About 1 GiB of logits: the forward alone, and value with gradient."""
    import torch

    from bench.gpu import measure, peers

    there, absent = peers.installed()
    for with_grad in (False, True):
        task = "value and gradient" if with_grad else "forward"
        columns = ["dtype", "classes", "copy, GB/s"]
        columns += [f"{name}, ms (of copy)" for name in there]
        table = measure.Table(f"cross_entropy, {task}, 1 GiB of logits", columns)
        for dtype in (torch.bfloat16, torch.float32):
            copy = measure.copy_bandwidth(GIGABYTE)
            for classes in CLASSES:
                rows = GIGABYTE // (classes * dtype.itemsize)
                logits = torch.randn(rows, classes, device="cuda", dtype=dtype)
                targets = torch.randint(0, classes, (rows,), device="cuda")
                moved = logits.nbytes * (2 if with_grad else 1)
                cells = [str(dtype).removeprefix("torch."), f"{classes}", f"{copy / 1e6:.0f}"]
                for make in there.values():
                    cells.append(cell(measure, make(with_grad), logits, targets, moved, copy))
                table.add(*cells)
                del logits
                torch.cuda.empty_cache()
        yield table
    if absent:
        yield f"Not installed, so not measured: {', '.join(absent)}.\n"


def cell(measure, call, logits, targets, moved, copy):
    """Milliseconds, and the bandwidth in percent of the copy's."""
    try:
        ms = measure.milliseconds(call, logits.clone(), targets)
    except Exception as error:
        return f"failed: {type(error).__name__}"
    return f"{ms:.3f} ({100 * moved / ms / copy:.0f}%)"


def elementwise():
    """Every element-wise loss at 1e8 elements, value and gradient."""
    import torch

    import fastloss as fl
    from bench.gpu import measure
    from fastloss.spec import PointwiseSpec

    table = measure.Table(
        f"element-wise losses, value and gradient, {ELEMENTS:.0e} elements",
        ["loss", "dtype", "ms", "bandwidth, of the copy's"],
    )
    for loss in fl.losses():
        if not isinstance(loss.spec, PointwiseSpec):
            continue
        for dtype in (torch.bfloat16, torch.float32):
            copy = measure.copy_bandwidth(GIGABYTE)
            predictions = torch.rand(ELEMENTS, device="cuda").to(dtype)
            targets = torch.ones_like(predictions)
            ms = measure.milliseconds(loss.value_and_grad, predictions, targets)
            share = 3 * predictions.nbytes / ms / copy
            table.add(
                loss.name, str(dtype).removeprefix("torch."), f"{ms:.3f}", f"{100 * share:.0f}%"
            )
    yield table


def host():
    """What a call costs before it returns."""
    import torch

    import fastloss as fl
    from bench.gpu import measure, peers

    table = measure.Table("host time of a call, 64 x 1000, float32", ["call", "us"])
    logits = torch.randn(64, 1000, device="cuda")
    targets = torch.randint(0, 1000, (64,), device="cuda")
    eager = peers.by_autograd(torch.nn.functional.cross_entropy)
    for name, call, other in (
        ("fastloss cross_entropy", fl.cross_entropy, targets),
        ("fastloss cross_entropy, value and gradient", fl.cross_entropy.value_and_grad, targets),
        ("torch eager cross_entropy", eager(False), targets),
        ("torch eager cross_entropy, forward and backward", eager(True), targets),
        ("fastloss mse, value and gradient", fl.mse.value_and_grad, logits.clone()),
    ):
        table.add(name, f"{measure.host_microseconds(call, logits.detach(), other):.1f}")
    yield table


def why_not():
    """Why nothing can be measured here; None if it can."""
    try:
        import torch
    except ImportError:
        return "PyTorch, whose tensors are measured, is not installed"
    return None if torch.cuda.is_available() else "there is no CUDA device that PyTorch can use"


def main():
    reason = why_not()
    if reason is not None:
        print(f"bench-gpu measured nothing: {reason}.")
        return 1
    import torch

    name = torch.cuda.get_device_name()
    when = datetime.now(timezone.utc).strftime("%Y-%m-%d")
    versions = ", ".join(f"{package} {version(package)}" for package in ("torch", "numba-cuda"))
    text = f"# fastloss on {name}\n\nPrinted by `make bench-gpu` on {when}, {versions}.\n"
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"gpu-{re.sub(r'[^a-z0-9]+', '-', name.lower())}.md"
    for part in (host, elementwise, cross_entropy):
        for table in part():
            text += f"\n{table}"
            path.write_text(text)
    print(f"kept in bench/results/{path.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
