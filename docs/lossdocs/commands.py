"""The directive ``command-help``: what a command of ``python -m fastloss`` says about itself."""

from __future__ import annotations

import os
import subprocess
import sys

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective


class CommandHelp(SphinxDirective):
    """``.. command-help:: warmup`` shows the output of ``python -m fastloss warmup --help``."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return the output as a literal block."""
        command = [sys.executable, "-m", "fastloss", self.arguments[0], "--help"]
        environment = os.environ | {"COLUMNS": "80", "NO_COLOR": "1"}
        text = subprocess.check_output(command, text=True, env=environment)
        return [nodes.literal_block(text, text, language="none")]


def setup(app: Sphinx) -> None:
    """Add the directive."""
    app.add_directive("command-help", CommandHelp)
