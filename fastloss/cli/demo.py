"""``python -m fastloss demo``: start the demo, or say what it lacks."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

NEEDED = {"matplotlib": "matplotlib", "rich": "rich", "sklearn": "scikit-learn"}


def run(picture: Path, epochs: int | None, seed: int) -> int:
    """Run the demo; without its extra, say how to get it.

    A picture that could not be drawn is refused before the training.
    """
    missing = [name for module, name in NEEDED.items() if importlib.util.find_spec(module) is None]
    if missing:
        print(
            f"The demo needs {', '.join(missing)}: pip install 'fastloss[demo]'",
            file=sys.stderr,
        )
        return 1
    from matplotlib.backend_bases import FigureCanvasBase

    from fastloss.demo import run_demo

    suffixes = ["", *(f".{name}" for name in FigureCanvasBase.get_supported_filetypes())]
    if picture.suffix.lower() not in suffixes:
        print(
            f"{picture} has the suffix of no picture; there are {' '.join(suffixes[1:])}",
            file=sys.stderr,
        )
        return 2
    try:
        picture.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        print(f"the folder of the picture cannot be made: {error}", file=sys.stderr)
        return 2
    run_demo(picture, epochs, seed)
    return 0
