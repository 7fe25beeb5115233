"""Formulas as MathML, which browsers typeset themselves: no script, and no host to fetch one from.

The converter is docutils' own.
"""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.util import logging

logger = logging.getLogger(__name__)

# TeX reads \frac12 as 1/2, the converter as 12 over what follows.
_JOINED_DIGITS = re.compile(r"\\[td]?frac\s*\d\d")

# A function's name, with what stands before it and an opening bracket after it. The converter
# sets none of TeX's thin spaces around it.
_NAME = re.compile(
    r"(?P<operator>[^)\]|]</mo>\s*|<(?:math|mrow|mtd)[^>]*>\s*)?"
    r"(?:<mi>(?P<name>\w+)</mi>\s*<mo>&ApplyFunction;</mo>|<mo>(?P<limit>max|min)</mo>)"
    r"(?P<bracket>\s*(?:<mrow>\s*)?<mo[^>]*>[(\[])?"
)


def _spaced(found: re.Match[str]) -> str:
    before = "0" if found["operator"] else "0.1667em"
    after = "0" if found["bracket"] else "0.1667em"
    name = found["name"] or found["limit"]
    spaced = f'<mo form="prefix" lspace="{before}" rspace="{after}">{name}</mo>'
    return f"{found['operator'] or ''}{spaced}{found['bracket'] or ''}"


def mathml(node: nodes.Element, block: bool) -> str:
    """Return the formula of a node; what cannot be typeset is a warning, and shown as it is."""
    tex = node.astext()
    if _JOINED_DIGITS.search(tex):
        logger.warning(r"write \frac 1 2 for \frac12 in the formula %s", tex, location=node)
    try:
        return _NAME.sub(_spaced, tex2mathml(tex, as_block=block))
    except MathError as error:
        logger.warning("cannot typeset the formula %s: %s", tex, error, location=node)
        return f"<code>{nodes.unescape(tex)}</code>"


def _visit_math(translator: Any, node: nodes.Element) -> None:
    translator.body.append(mathml(node, block=False))
    raise nodes.SkipNode


def _visit_math_block(translator: Any, node: nodes.Element) -> None:
    translator.body.append(f'<div class="math">{mathml(node, block=True)}</div>\n')
    raise nodes.SkipNode


def setup(app: Sphinx) -> None:
    """Offer the renderer as "mathml"."""
    app.add_html_math_renderer("mathml", (_visit_math, None), (_visit_math_block, None))
