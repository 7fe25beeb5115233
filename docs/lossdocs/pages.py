"""A page for every loss of `fastloss.losses()`, and the table of all of them.

The pages are written before Sphinx reads its sources and consist of a title and the directive
``loss``, which renders the loss: signature, docstring and picture.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective

import fastloss as fl
from lossdocs.pictures import save
from lossdocs.views import view

#: Where the pages go, in the folder of the sources.
FOLDER = "losses"


def write_pages(app: Sphinx) -> None:
    """Write the page and the pictures of every loss, in place of those of an earlier build."""
    folder = Path(app.srcdir, FOLDER)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for loss in fl.losses():
        title = f"{loss.name}\n{'=' * len(loss.name)}"
        (folder / f"{loss.name}.rst").write_text(f"{title}\n\n.. loss:: {loss.name}\n")


class LossPage(SphinxDirective):
    """``.. loss:: hinge`` documents `fastloss.hinge`."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return the loss as Sphinx would describe a function."""
        name = self.arguments[0]
        loss = getattr(fl, name)
        picture = view(loss)
        save(picture, Path(self.env.srcdir, FOLDER, name))
        doc = _with_picture(inspect.cleandoc(loss.__doc__), name, picture.across)
        lines = [*doc.splitlines(), ""]
        # As autodoc does for functions: numpydoc turns the sections into fields and rubrics.
        self.env.events.emit("autodoc-process-docstring", "function", name, loss, None, lines)
        signature = inspect.signature(loss)
        described = [f".. py:function:: {name}{signature}", "", *(f"   {line}" for line in lines)]
        described = [".. py:currentmodule:: fastloss", "", *described]
        self.content = StringList(described, source=f"docstring of fastloss.{name}")
        return self.parse_content_to_nodes()


def _with_picture(doc: str, name: str, across: str) -> str:
    """Put the picture between the summary and the parameters."""
    summary, heading, rest = doc.partition("\nParameters\n-")
    across = across.replace("$", "").replace("_", "")
    lines = [summary]
    for style in ("light", "dark"):
        lines += [
            f".. image:: /{FOLDER}/{name}-{style}.svg",
            f"   :alt: Value and gradient of {name} over the {across}.",
            f"   :class: only-{style}",
            "",
        ]
    return "\n".join(lines) + heading + rest


class LossTable(SphinxDirective):
    """``.. losses::`` lists all losses, by family, with their formulas."""

    def run(self) -> list[nodes.Node]:
        """Return a table for every family and the pages' place in the table of contents."""
        lines = [".. toctree::", "   :hidden:", ""]
        lines += [f"   /{FOLDER}/{loss.name}" for loss in fl.losses()]
        for module, losses in _families():
            lines += [
                "",
                f".. rubric:: {_title(module)}",
                "",
                ".. list-table::",
                "   :widths: 30 70",
            ]
            lines += ["   :class: losses", ""]
            for loss in losses:
                summary = re.sub(r"`(\w+)`", _reference, loss.__doc__.partition("\n")[0])
                lines += [f"   * - :py:obj:`~fastloss.{loss.name}`", f"     - {summary}", ""]
                lines += [f"       .. math:: {_formula(loss)}", ""]
        return self.parse_text_to_nodes("\n".join(lines))


def _reference(name: re.Match[str]) -> str:
    """What stands in single backticks on a page, for the table: a loss or a parameter."""
    return f"`~fastloss.{name[1]}`" if name[1] in fl.__all__ else f"*{name[1]}*"


def _formula(loss: fl.Loss) -> str:
    """Return the first formula of the docstring, on one line."""
    formula = re.search(r"^\.\. math::(.*\n(?:(?: +.*)?\n)*)", loss.__doc__ or "", re.MULTILINE)
    if formula is None:
        raise ExtensionError(f"the docstring of {loss.name} has no formula: no '.. math::'")
    return " ".join(formula[1].split())


def _families() -> Iterator[tuple[ModuleType, list[fl.Loss]]]:
    """Every module that defines losses, with those, in the order of `fastloss.losses()`."""
    folder = importlib.import_module("fastloss.losses")  # `fastloss.losses` is a function, too
    modules = [
        importlib.import_module(f"{folder.__name__}.{entry.name}")
        for entry in pkgutil.iter_modules(folder.__path__)
    ]
    families: dict[str, list[fl.Loss]] = {}
    for loss in fl.losses():
        home = next(m for m in modules if any(value is loss for value in vars(m).values()))
        families.setdefault(home.__name__, []).append(loss)
    for name, losses in families.items():
        yield importlib.import_module(name), losses


def _title(module: ModuleType) -> str:
    """Return the first words of a module's docstring."""
    return str(module.__doc__).partition("\n")[0].partition(":")[0].rstrip(".")


def setup(app: Sphinx) -> None:
    """Add the pages and the directives."""
    app.connect("builder-inited", write_pages)
    app.add_directive("loss", LossPage)
    app.add_directive("losses", LossTable)
