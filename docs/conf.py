"""Settings of the documentation site: sphinx-build -W docs site."""

import sys
from importlib.metadata import version as version_of
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "rgnn"
author = "The rgnn developers"
project_copyright = author
version = release = version_of("rgnn")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "reference",
    "run",
]
exclude_patterns = ["_run"]
html_theme = "furo"
html_title = f"rgnn {version}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False

myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence", "deflist", "attrs_inline"]
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
smartquotes = False  # two hyphens begin an option
copybutton_prompt_text = "$ "
