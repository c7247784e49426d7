"""How Sphinx builds this documentation: `make docs`."""

from __future__ import annotations

import inspect
import os
import re
import tempfile
from typing import Any

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
smartquotes_action = "D"  # dashes only: texts of exceptions are found with the quotes that a log contains

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


def show_arguments(*event: Any) -> tuple[str, str] | None:
    """Show all arguments of operators and sensors: Airflow wraps `__init__`, so that autodoc sees only `**kwargs`."""
    _, what, _, obj, _, signature, return_annotation = event
    if what != "class" or signature != "(*_, **kwargs)":
        return None
    found = {}
    for base in obj.__mro__:
        if base.__module__.startswith("airflow_provider_polyteia.") and "__init__" in vars(base):
            found = {**inspect.signature(base.__init__).parameters, **found}
    kinds = inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD
    shown = [each.replace(annotation=inspect.Parameter.empty) for each in found.values() if each.kind in kinds]
    required_first = sorted(shown, key=lambda each: (each.kind, each.default is not inspect.Parameter.empty))
    return str(inspect.Signature(required_first)), return_annotation


def link_pages(*event: Any) -> None:
    """Turn references of docstrings to pages, such as `docs/transfers.md#checks-of-files`, into links."""
    lines = event[-1]
    for number, line in enumerate(lines):
        lines[number] = re.sub(r"\bdocs/([a-z-]+)\.md(?:#([a-z0-9-]+))?", _link, line)


def _link(found: re.Match[str]) -> str:
    page, anchor = found.groups()
    title = re.sub(r"\b(?:api|rpc|sql)", lambda word: word[0].upper(), (anchor or page).replace("-", " "))
    return f"`{title} <../{page}.html{'#' + anchor if anchor else ''}>`__"


def setup(app: Any) -> None:
    """Connect the handlers above (Sphinx)."""
    app.connect("autodoc-process-signature", show_arguments)
    app.connect("autodoc-process-docstring", link_pages)
