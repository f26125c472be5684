"""The directive ``speed-summary``: ratios of README's table of speed, for the front page.

Each cell has how many times as long the fastest other PyTorch library takes, then FlowJAX; times, and the last column,
are left out.
"""

from __future__ import annotations

import re
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

README = Path(__file__).parents[2] / "README.md"


def summary(text: str) -> list[str]:
    """Returns the lines of the table, in Markdown."""
    head, rule, *rows = (line for line in text.splitlines() if line.startswith("|") and line.count("|") == 6)
    lines = [line.rstrip("|").rpartition("|")[0] + "|" for line in (head, rule)]
    for row in rows:
        name, *cells, _ = (cell.strip() for cell in row.strip("|").split("|"))
        # **time**<br>library ratio<br>FlowJAX ratio<br>matrix products ratio
        found = [re.findall(r"<br>(?:\w+) ([\d.]+)", cell)[:2] for cell in cells]
        short = name.replace("rational quadratic ", "").replace(", D =", ",").replace("autoregressive", "autoregr.")
        lines.append(f"| {short} | " + " | ".join(" · ".join(ratios) for ratios in found) + " |")
    return lines


class SpeedSummary(SphinxDirective):
    """See above."""

    def run(self) -> list[nodes.Node]:
        self.env.note_dependency(str(README))
        text = README.read_text(encoding="utf-8")
        table = summary(text[text.index("| batch 512 |") :])
        return self.parse_text_to_nodes("\n".join(table), allow_section_headings=False)


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("speed-summary", SpeedSummary)
    return {"parallel_read_safe": True}
