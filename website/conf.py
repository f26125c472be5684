"""Sphinx's configuration; ``scripts/docs`` builds the site with it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / "extensions"), str(HERE.parent)]

import flowtorch  # noqa: E402  # after the path to the checkout

project = "flowtorch"
author = "The flowtorch developers"
copyright = "2026, The flowtorch developers, MIT licence"
version = release = flowtorch.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "accessible",
    "bundled_mathjax",
    "names",
    "repository_links",
    "speed_summary",
]
exclude_patterns = ["_build", "extensions", "inventories"]
nitpicky = True
# Types in signatures without a place of their own: other libraries', aliases, and classes that nobody makes by hand.
nitpick_ignore_regex = [
    ("py:.*", r"(lightning|matplotlib|numpy|pandas|pyro|sbi|sklearn|types|argparse)\..*"),
    (
        "py:class",
        r"flowtorch\..*\.(BlockLayer|BlockWeights|C|Contraction|Kind|LipschitzNetwork|Piece|PlanT_co|Row|Steps|Summary|Target)",
    ),
    (
        "py:class",
        "Activation|ActivationName|Axes|Covariance|Curve|Distribution|Figure|Function|Given|LipschitzNetwork|Loss|Losses|"
        "MakeOptimizer|Mask|Mixing|ModuleFactory|Nested|NestedLike|ParameterLayout|PlanT_co|RandomState|ScaleFn|Schedule|"
        r"Search|ShapeLike|bij\.Compose",
    ),
]
suppress_warnings = ["mystnb.unknown_mime_type"]

# Pages ---------------------------------------------------------------------------------------------------------------
myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath", "fieldlist"]
myst_heading_anchors = 3
nb_execution_mode = "off" if os.environ.get("FLOWTORCH_DOCS") == "fast" else "cache"
nb_execution_cache_path = str(HERE / "_build" / "notebooks")
nb_execution_excludepatterns: list[str] = []
nb_execution_timeout = 300
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_merge_streams = True
nb_render_markdown_format = "myst"
# Figures made without pyplot are shown as pictures too, sharp ones.
profile = HERE / "_build" / "ipython" / "profile_default"
profile.mkdir(parents=True, exist_ok=True)
(profile / "ipython_kernel_config.py").write_text(
    "c.IPKernelApp.matplotlib = 'inline'\nc.IPKernelApp.log_level = 40\nc.InlineBackend.figure_formats = {'retina'}\n"
    # Of errors that a page shows, the message, without the folders of the machine that built it.
    "c.InteractiveShell.xmode = 'Minimal'\n"
    # Pyro's progress bar misses a widget that no page has.
    "c.InteractiveShellApp.exec_lines = ['import warnings', \"warnings.filterwarnings('ignore', 'IProgress')\"]\n"
)
os.environ["IPYTHONDIR"] = str(profile.parent)

# Docstrings ----------------------------------------------------------------------------------------------------------
autodoc_inherit_docstrings = False
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
autodoc_typehints_format = "short"
autosummary_generate = False
napoleon_numpy_docstring = False
napoleon_custom_sections = ["Shapes"]
python_maximum_signature_line_length = 88
python_use_unqualified_type_names = True
add_module_names = False

# No internet is needed to build: these two inventories are written by website/inventories.py.
intersphinx_mapping = {
    "python": ("https://docs.python.org/3/", str(HERE / "inventories" / "python.inv")),
    "torch": ("https://docs.pytorch.org/docs/stable/", str(HERE / "inventories" / "torch.inv")),
}

# How it looks --------------------------------------------------------------------------------------------------------
html_theme = "furo"
html_title = "flowtorch"
html_favicon = "static/favicon.svg"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_search_summary = False  # it is fetched, which a browser refuses to pages opened from a disk
html_show_sphinx = False
html_theme_options = {"navigation_with_keys": True, "footer_icons": []}
pygments_style = "a11y-high-contrast-light"
pygments_dark_style = "a11y-high-contrast-dark"
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
copybutton_exclude = ".linenos, .gp, .go"
