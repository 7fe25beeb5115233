"""A small transformer language model with a large vocabulary, on Python's own standard library.

With 32,768 words the logits are most of a step's memory and the loss a good part of its time. The
same training runs with torch's cross-entropy and with fastloss's, each in a process of its own, so
that the peak of memory is its own too. Needs pip install 'fastloss[torch,demo]'.
"""

import argparse
import functools
import json
import re
import resource
import subprocess
import sys
import sysconfig
import time
from collections import Counter
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from rich.progress import track

import fastloss.torch as flt

LOSSES = {
    "torch": torch.nn.functional.cross_entropy,
    # Nobody reads the logits after the loss: its gradient takes their memory.
    "fastloss": functools.partial(flt.cross_entropy, inplace=True),
}
VOCABULARY, WIDTH, CONTEXT, BATCH = 32_768, 128, 128, 8


def corpus() -> torch.Tensor:
    """Return the words of the standard library's sources as numbers; 0 is a rare word."""
    words = []
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        words += re.findall(r"\w+|[^\w\s]|\n", path.read_text(errors="ignore"))
    common = Counter(words).most_common(VOCABULARY - 1)
    numbers = {word: number for number, (word, _) in enumerate(common, 1)}
    return torch.tensor([numbers.get(word, 0) for word in words])


class LanguageModel(torch.nn.Module):
    """Two causal transformer layers between an embedding and the logits."""

    def __init__(self) -> None:
        super().__init__()
        self.words = torch.nn.Embedding(VOCABULARY, WIDTH)
        self.places = torch.nn.Embedding(CONTEXT, WIDTH)
        layer = torch.nn.TransformerEncoderLayer(
            WIDTH, 4, 4 * WIDTH, dropout=0.0, batch_first=True, norm_first=True
        )
        self.layers = torch.nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.logits = torch.nn.Linear(WIDTH, VOCABULARY)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits, (N, T, C)."""
        mask = torch.nn.Transformer.generate_square_subsequent_mask(x.shape[1])
        h = self.words(x) + self.places(torch.arange(x.shape[1]))
        return self.logits(self.layers(h, mask=mask, is_causal=True))


def train(name: str, steps: int) -> dict:
    """Train; return the losses, the median times and the peak of memory."""
    torch.manual_seed(0)
    model, text = LanguageModel(), corpus()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    batches = torch.Generator().manual_seed(0)
    losses, step_times, loss_times = [], [], []
    for _ in track(range(steps), description=f"{name:9}"):
        starts = torch.randint(len(text) - CONTEXT - 1, (BATCH,), generator=batches)
        x = torch.stack([text[s : s + CONTEXT + 1] for s in starts])
        started = time.perf_counter()
        logits = model(x[:, :-1]).flatten(0, 1)
        # The loss's own part, forward and backward, ends where the gradient reaches the logits.
        marks = [time.perf_counter()]
        logits.register_hook(lambda _, marks=marks: marks.append(time.perf_counter()))
        loss = LOSSES[name](logits, x[:, 1:].flatten())
        loss.backward()
        del logits
        optimizer.step()
        optimizer.zero_grad()
        loss_times.append(marks[1] - marks[0])
        step_times.append(time.perf_counter() - started)
        losses.append(loss.item())
    return {
        "losses": losses,
        "step": torch.tensor(step_times).median().item(),
        "loss": torch.tensor(loss_times).median().item(),
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,  # GiB on Linux
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--out", default="finetune_vocab.png")
    parser.add_argument("--only", choices=LOSSES, help=argparse.SUPPRESS)
    parser.add_argument("--results", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only:
        Path(arguments.results).write_text(json.dumps(train(arguments.only, arguments.steps)))
        return

    runs = {}
    for name in LOSSES:
        results = Path(f"{arguments.out}.{name}.json")
        command = [sys.executable, __file__, "--only", name, "--steps", str(arguments.steps)]
        subprocess.run([*command, "--results", str(results)], check=True)
        runs[name] = json.loads(results.read_text())
        results.unlink()
    for name, run in runs.items():
        print(
            f"{name:9} step {run['step'] * 1e3:7.1f} ms, of which the loss "
            f"{run['loss'] * 1e3:6.1f} ms; peak memory {run['memory']:.2f} GiB; "
            f"last loss {run['losses'][-1]:.4f}"
        )
    draw(runs, arguments.out)
    print(f"drawn to {arguments.out}")


def draw(runs: dict, path: str) -> None:
    """Learning curves, times and memory, side by side."""
    figure, axes = plt.subplots(1, 3, figsize=(12, 4), layout="constrained", width_ratios=(2, 1, 1))
    for (name, run), style in zip(runs.items(), ("-", "--"), strict=True):
        axes[0].plot(run["losses"], style, label=name)
    axes[0].set(xlabel="step", ylabel="training loss")
    axes[0].legend()
    names = list(runs)
    rest = [(run["step"] - run["loss"]) * 1e3 for run in runs.values()]
    axes[1].bar(names, rest, label="the rest of the step", color="lightgray")
    axes[1].bar(names, [r["loss"] * 1e3 for r in runs.values()], bottom=rest, label="loss")
    axes[1].set_ylabel("median time of a step, ms")
    axes[1].set_ylim(0, 1.35e3 * max(run["step"] for run in runs.values()))
    axes[1].legend(loc="upper center")
    axes[2].bar(names, [run["memory"] for run in runs.values()])
    axes[2].set_ylabel("peak memory, GiB")
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
