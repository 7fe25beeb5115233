"""``python -m fastloss demo``: start the demo, or say what it lacks."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

NEEDED = {"matplotlib": "matplotlib", "rich": "rich", "sklearn": "scikit-learn"}


def run(picture: Path, epochs: int | None, seed: int) -> int:
    """Run the demo; without its extra, say how to get it."""
    missing = [name for module, name in NEEDED.items() if importlib.util.find_spec(module) is None]
    if missing:
        print(
            f"The demo needs {', '.join(missing)}: pip install 'fastloss[demo]'",
            file=sys.stderr,
        )
        return 1
    from fastloss.demo import run_demo

    run_demo(picture, epochs, seed)
    return 0
