"""Sphinx configuration: `sphinx-build -W docs OUT` (extra: docs)."""

from __future__ import annotations

import logging
import os
import re
import sys
from pathlib import Path

import latex2mathml.converter
from docutils import nodes

import fpsolve

sys.path.insert(0, str(Path(__file__).parent))
logging.getLogger("fpsolve").setLevel(logging.WARNING)  # Sphinx shows what loggers are told

project = "fpsolve"
author = "the fpsolve authors"
copyright = "the fpsolve authors"
release = version = fpsolve.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.viewcode",
    "numpydoc",
    "myst_nb",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = [
    "_build",
    "work_precision.md",
    "sg_execution_times.rst",
    "**/sg_execution_times.rst",
    "**/README.rst",
]
# Half-written files of other tools.
exclude_patterns += ["gallery/*.ipynb", "gallery/*.py", "gallery/*.zip"]
html_theme = "furo"
html_title = f"fpsolve {release}"
html_static_path: list[str] = []
default_role = "py:obj"

myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 3
# Notebooks are executed; one that fails, fails the build.
nb_execution_mode = os.environ.get("FPSOLVE_DOCS_NOTEBOOKS", "force")
nb_execution_raise_on_error = True
nb_execution_timeout = 300

numpydoc_show_class_members = False
numpydoc_xref_param_type = False
autodoc_member_order = "bysource"
autodoc_typehints = "none"


def picture_of_example(block, block_vars, gallery_conf):
    """Save the figure that an example's `visualize` returned; pyplot knows nothing of it."""
    from sphinx_gallery.scrapers import figure_rst

    figure = block_vars["example_globals"].pop("figure", None)
    if figure is None:
        return ""
    path = next(block_vars["image_path_iterator"])
    figure.savefig(path, dpi=110)
    return figure_rst([path], gallery_conf["src_dir"])


sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "filename_pattern": "/",
    "ignore_pattern": r"__init__\.py",
    "image_scrapers": (picture_of_example,),
    "reset_modules": (),
    "min_reported_time": 1e9,
    "show_memory": False,
    "show_signature": False,
    "download_all_examples": False,
    "plot_gallery": os.environ.get("FPSOLVE_DOCS_GALLERY", "True"),
    "abort_on_example_error": True,
    "within_subsection_order": "FileNameSortKey",
}
suppress_warnings = ["config.cache"]
html_math_renderer = "mathml"

# In docstrings w* and |w| are mathematics; in reStructuredText they would open emphasis and
# substitutions. Text in back quotes and examples is left as it is.
_MARKED = re.compile(r"(`[^`]*`)|([*|])")


def escape_mathematics(app, what, name, obj, options, lines):
    """Escape `*` and `|` outside back quotes, examples and names of parameters."""
    for number, line in enumerate(lines):
        if line.lstrip().startswith((">>>", "...", "**", "*args")):
            continue
        lines[number] = _MARKED.sub(lambda m: m[1] or "\\" + m[2], line)


def inline_formula(writer, node):
    """Write a formula as MathML: browsers show it without a script from elsewhere."""
    writer.body.append(latex2mathml.converter.convert(node.astext()))
    raise nodes.SkipNode


def displayed_formula(writer, node):
    """Write a displayed formula; one wider than the page scrolls by itself."""
    formula = latex2mathml.converter.convert(node.astext(), display="block")
    writer.body.append(f'<div style="overflow-x: auto">{formula}</div>')
    raise nodes.SkipNode


def setup(app):
    """Escape before numpydoc reads the docstrings; formulas become MathML."""
    app.add_html_math_renderer("mathml", (inline_formula, None), (displayed_formula, None))
    app.connect("autodoc-process-docstring", escape_mathematics, priority=100)
