"""Small repairs of what Sphinx, its theme and notebooks write, so that screen readers and keyboards find their way."""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

SCROLLS = re.compile(r"<(pre|div class=\"table-wrapper[^\"]*\")(?![^>]*tabindex)")

# The lines of a long signature are a list without its terms.
LINES = re.compile(r"<dl>\n((?:<dd><em class=\"sig-param.*?</dd>\n)+)</dl>", re.DOTALL)


def lines(match: re.Match[str]) -> str:
    return match[1].replace("<dd>", '<span class="sig-line">').replace("</dd>", "</span>")


def repair(app: Sphinx, name: str, template: str, context: dict[str, Any], doctree: nodes.document | None) -> None:
    if tree := context.get("furo_navigation_tree"):
        context["furo_navigation_tree"] = tree.replace('role="heading"', 'role="heading" aria-level="2"')
    if body := context.get("body"):
        body = LINES.sub(lines, body)
        # What scrolls sideways is reached by the keyboard.
        context["body"] = SCROLLS.sub(r'<\1 tabindex="0"', body).replace(
            'role="heading">', 'role="heading" aria-level="2">'
        )


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("html-page-context", repair, priority=900)  # after the theme
    return {"parallel_read_safe": True}
