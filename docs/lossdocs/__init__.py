"""What the documentation needs beyond Sphinx: a page for every loss, made from the loss itself.

`pages` writes and fills them, `pictures` draws, `views` chooses what is drawn, `curves` computes
it, `formulas` typesets, `references` tells parameters from broken references, `commands` shows
the command line's own help.
"""

from __future__ import annotations

from typing import Any

from sphinx.application import Sphinx

from lossdocs import commands, formulas, pages, references


def setup(app: Sphinx) -> dict[str, Any]:
    """Add all of it to Sphinx."""
    formulas.setup(app)
    pages.setup(app)
    references.setup(app)
    commands.setup(app)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
