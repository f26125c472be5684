"""MathJax from the site itself: of the package that brings it, the one script and the fonts that pages use."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path

from sphinx.application import Sphinx

FILES = ("tex-chtml.js", "output/chtml/fonts/woff-v2")


def copy(app: Sphinx, exception: Exception | None) -> None:
    spec = find_spec("sphinx-mathjax-offline")
    if exception is not None or app.builder.format != "html" or spec is None or spec.origin is None:
        return
    source, target = Path(spec.origin).parent / "static" / "mathjax", Path(app.outdir) / "_static" / "mathjax"
    for name in FILES:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        if (source / name).is_dir():
            shutil.copytree(source / name, target / name, dirs_exist_ok=True)
        else:
            shutil.copy(source / name, target / name)


def setup(app: Sphinx) -> dict[str, bool]:
    app.config.mathjax_path = "mathjax/tex-chtml.js"  # type: ignore[attr-defined]  # Sphinx makes it
    app.connect("build-finished", copy)
    return {"parallel_read_safe": True}
