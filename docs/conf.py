"""Sphinx settings; built with warnings as errors by ``make docs``."""

import vittles_ng

project = "vittles_ng"
author = "vittles_ng contributors"
project_copyright = author
version = release = vittles_ng.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
    "numpydoc",
]
exclude_patterns = ["_build"]
default_role = None
nitpicky = False

autosummary_generate = False
autodoc_member_order = "bysource"
autodoc_typehints = "none"
numpydoc_show_class_members = False
numpydoc_xref_param_type = False

html_theme = "furo"
html_title = f"vittles_ng {release}"
html_copy_source = False
