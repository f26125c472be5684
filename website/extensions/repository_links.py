"""Links between files of the repository lead, on the site, to the pages these have become."""

from __future__ import annotations

from pathlib import Path

from sphinx.application import Sphinx

PAGES = {
    "](../scripts/bench/README.md": "](/benchmarks.md",
    "](scripts/bench/README.md": "](/benchmarks.md",
    "](scripts/examples/README.md": "](/examples.md",
    "](scripts/data/README.md": "](/data.md",
    "](CONTRIBUTING.md": "](/contributing.md",
    "](CHANGELOG.md": "](/changelog.md",
    "](website/": "](/",
    "](../../website/": "](/",
}


def replace(text: str) -> str:
    for link, page in PAGES.items():
        text = text.replace(link, page)
    return text


def read(app: Sphinx, name: str, content: list[str]) -> None:
    content[0] = replace(content[0])


def include(app: Sphinx, path: Path, parent: str, content: list[str]) -> None:
    content[0] = replace(content[0])


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("source-read", read)
    app.connect("include-read", include)
    return {"parallel_read_safe": True}
