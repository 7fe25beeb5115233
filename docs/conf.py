"""Sphinx' settings for the documentation of fastloss; `make docs` builds it."""

import doctest
import sys
from pathlib import Path

import fastloss

sys.path.insert(0, str(Path(__file__).parent))

project = "fastloss"
author = "The fastloss authors"
copyright = author
version = release = fastloss.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.doctest",
    "numpydoc",
    "lossdocs",
]

# --- references --------------------------------------------------------------------------
# A broken reference is an error. Other projects' names cannot be looked up without a network.
nitpicky = True
nitpick_ignore_regex = [("py:.*", r"(jax|math|numba|numpy|torch)(\..*)?")]
default_role = "py:obj"

# --- docstrings --------------------------------------------------------------------------
autodoc_typehints = "none"  # the docstrings say what arrays are, annotations that they are Any
autodoc_member_order = "bysource"
autosummary_generate = False
numpydoc_show_class_members = False

# --- examples ----------------------------------------------------------------------------
doctest_default_flags = doctest.ELLIPSIS | doctest.DONT_ACCEPT_TRUE_FOR_1

# --- pages -------------------------------------------------------------------------------
html_theme = "furo"
html_title = f"fastloss {release}"
html_math_renderer = "mathml"
html_static_path = ["static"]
html_css_files = ["fastloss.css"]
html_copy_source = False
html_show_copyright = False
