"""How Sphinx builds these pages; ``make docs`` builds them with warnings as errors."""

import sys
from pathlib import Path

from shd_bids import __version__

sys.path.insert(0, str(Path(__file__).parent / "extensions"))

project = "shd-bids"
author = "the shd-bids developers"
copyright = f"{author}, Apache-2.0"  # noqa: A001  # Sphinx's name
version = release = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "citations",
    "command_line",
    "mathml",
]
exclude_patterns = ["_build", "extensions"]
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

highlight_language = "text"
smartquotes = False

html_theme = "furo"
html_title = f"shd-bids {release}"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_show_sphinx = False
html_math_renderer = "mathml"
copybutton_exclude = ".linenos, .gp, .go"

autosummary_generate = True
autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
napoleon_google_docstring = False
napoleon_use_rtype = False
# Types of other projects are not looked up: that would need the network.
nitpick_ignore_regex = [(r"py:(class|obj|data|exc)", r".*")]
