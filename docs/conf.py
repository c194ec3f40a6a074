"""How the documentation is built: `sphinx-build -W docs build/docs`. Fetches nothing, and the pages fetch nothing."""

from __future__ import annotations

import inspect
from importlib.metadata import version as version_of
from typing import Any

from anywidget import AnyWidget
from sphinx.pycode import ModuleAnalyzer
from sphinx.util.inspect import signature, stringify_signature

project = "reactive_db"
author = "The reactive_db authors"
release = version = version_of("reactive-db")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
exclude_patterns = ["_build"]
default_role = "literal"  # docstrings write `code` as Markdown does

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3  # links may lead to a heading

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
add_module_names = False
toc_object_entries_show_parents = "hide"
napoleon_attr_annotations = False

html_theme = "pydata_sphinx_theme"
html_title = "reactive_db"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = html_show_sourcelink = False
html_theme_options = {
    "secondary_sidebar_items": ["page-toc"],
    "navbar_end": ["theme-switcher"],
    "footer_start": [],
    "footer_end": [],
    "pygments_light_style": "github-light",
    "pygments_dark_style": "github-dark",
}
html_sidebars: dict[str, list[str]] = {"index": [], "coming-from-convex": []}

LINKS = {
    "(decisions/)": "(explanation/decisions.md)",
    "[benchmarks/README.md](../benchmarks/README.md)": "`benchmarks/README.md`",
}
"""What leads out of the site, or to a folder, where GitHub can follow, and what stands there instead."""


def stay_on_the_site(app: Any, page: str, source: list[str]) -> None:
    for link, instead in LINKS.items():
        source[0] = source[0].replace(link, instead)


def indented_is_code(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Show what is indented after an empty line as code, as Markdown does; reStructuredText wants two colons before."""
    for at in range(len(lines) - 3, -1, -1):
        line, gap, below = lines[at : at + 3]
        if line[:1].strip() and not gap and below.startswith("    "):
            lines[at : at + 1] = [line + ":"] if line.endswith(":") else [line, "", "::"]


def arguments_of_a_widget(app: Any, what: str, name: str, obj: Any, options: Any, *_: str) -> tuple[str, str] | None:
    """A widget's own arguments: traitlets says `*args` of every class."""
    if what == "class" and issubclass(obj, AnyWidget):
        return stringify_signature(signature(obj.__init__, bound_method=True), show_annotation=False), ""
    return None


def words_of_a_property(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Undo what napoleon does to a property: it takes the words before a colon for a type."""
    if what == "property":
        lines[:] = (inspect.getdoc(obj) or "").splitlines()


def forget_overloads(app: Any) -> None:
    """Overloads are for type checkers; people read the one signature that the page gives."""
    for module in ("reactive_db.database", "reactive_db.functions.definitions"):
        analyzer = ModuleAnalyzer.for_module(module)
        analyzer.analyze()
        analyzer.overloads.clear()


def setup(app: Any) -> None:
    app.connect("builder-inited", forget_overloads)
    app.connect("source-read", stay_on_the_site)
    app.connect("autodoc-process-signature", arguments_of_a_widget)
    app.connect("autodoc-process-docstring", indented_is_code, priority=400)  # before napoleon
    app.connect("autodoc-process-docstring", words_of_a_property, priority=600)  # after it
