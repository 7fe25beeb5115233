"""Which names there must be, and what may stand in single backticks: one of them, or a parameter.

Every public name is described somewhere. Sphinx looks up what stands in backticks; what it does not
find must be a parameter of the function that is being described, or it is a broken reference.
"""

from __future__ import annotations

from collections.abc import Iterator

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging

import fastloss as fl

logger = logging.getLogger(__name__)


def as_parameter(
    app: Sphinx, env: BuildEnvironment, node: addnodes.pending_xref, content: nodes.Element
) -> nodes.Node | None:
    """Return the name set as a parameter's, or None if it is not one."""
    target = node.get("reftarget")
    if node.get("refdomain") != "py" or node.get("reftype") != "obj":
        return None
    if any(target in _parameters(described) for described in _enclosing(node)):
        return nodes.emphasis("", content.astext())
    return None


def _enclosing(node: nodes.Node) -> Iterator[addnodes.desc]:
    """The descriptions that a node stands in, the innermost first."""
    while node.parent is not None:
        node = node.parent
        if isinstance(node, addnodes.desc):
            yield node


def _parameters(described: addnodes.desc) -> set[str]:
    """The names in the signature and those listed below it."""
    signature = described.findall(addnodes.desc_parameter)
    names = {name.astext() for p in signature for name in p.findall(addnodes.desc_sig_name)}
    for term in described.findall(nodes.term):
        for strong in term.findall(nodes.strong):
            names.update(strong.astext().split(", "))
    return names


def check_complete(app: Sphinx, env: BuildEnvironment) -> None:
    """Warn of public names that no page describes."""
    described = env.domains.python_domain.objects
    for name in fl.__all__:
        if f"fastloss.{name}" not in described:
            logger.warning("fastloss.%s is public, but no page describes it", name)


def setup(app: Sphinx) -> None:
    """Ask for the meaning of names that Sphinx does not find, and for those that lack."""
    app.connect("missing-reference", as_parameter)
    app.connect("env-check-consistency", check_complete)
