"""How Sphinx builds this documentation: `make docs`."""

from __future__ import annotations

import os
import tempfile

# The API reference imports the package, and Airflow with it, which wants a home.
os.environ.setdefault("AIRFLOW_HOME", tempfile.mkdtemp(prefix="airflow-home-"))
os.environ.setdefault("AIRFLOW__CORE__LOAD_EXAMPLES", "False")

from airflow_provider_polyteia import __version__

project = "airflow-provider-polyteia"
author = "The authors of airflow-provider-polyteia"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
default_role = "code"

myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the fields of the docstrings say it, in words

html_theme = "furo"
html_title = f"Polyteia for Airflow {version}"
html_show_sourcelink = False
html_copy_source = False
html_show_copyright = False
html_static_path = ["_static"]
html_css_files = ["site.css"]
