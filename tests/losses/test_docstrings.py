"""What every loss' docstring must hold: the reference page of the loss is made of nothing else.

The examples run when the documentation is built.
"""

import re

import pytest

import fastloss as fl

each_loss = pytest.mark.parametrize("loss", fl.losses(), ids=lambda loss: loss.name)


def sections(loss) -> dict[str, str]:
    """The docstring by the headings of its sections; what stands before them is ""."""
    _, *parts = re.split(r"^(.*)\n-{3,}$", "\n---\n" + loss.__doc__, flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))


@each_loss
def test_begins_with_a_sentence_and_a_typeset_formula(loss):
    summary, blank, *_ = loss.__doc__.splitlines()
    assert summary.endswith(".") and not blank
    assert re.search(r"^\.\. math:: \S", sections(loss)[""], re.MULTILINE)


@each_loss
def test_describes_arguments_and_errors(loss):
    parameters = sections(loss)["Parameters"]
    arguments = ["predictions", "targets", *(option.name for option in loss.spec.options)]
    for name in arguments:
        assert re.search(rf"^{name} : .", parameters, re.MULTILINE), name
    assert "shape" in parameters and "reduction" in parameters
    assert "Error" in sections(loss)["Raises"]


@each_loss
def test_names_its_source(loss):
    assert re.search(r"\bSources?: .", sections(loss)["Notes"])


@each_loss
def test_has_an_example_that_calls_it(loss):
    assert re.search(
        rf"^(>>>|\.\.\.) .*\bfl\.{loss.name}\b", sections(loss)["Examples"], re.MULTILINE
    )
