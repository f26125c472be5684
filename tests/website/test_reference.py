"""The sources of the site, without building it: every public name has a place, every page a way to it."""

from __future__ import annotations

import contextlib
import importlib
import pkgutil
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

import flowtorch

WEBSITE = Path(__file__).parents[2] / "website"
REFERENCE = WEBSITE / "reference"
NAMES = re.compile(r"^\.\. names:: (\S+)\n((?:\n|   .*\n)*)", re.MULTILINE)
PACKAGES = [
    "flowtorch",
    *(
        info.name
        for info in pkgutil.walk_packages(flowtorch.__path__, "flowtorch.")
        if (info.ispkg or info.name.count(".") == 1) and "._" not in info.name
    ),
]


def places() -> dict[str, list[str]]:
    """Returns the names that the pages list for each package that can be imported; of one without a list, all."""
    found: dict[str, list[str]] = {}
    for page in REFERENCE.glob("*.rst"):
        for package, content in NAMES.findall(page.read_text(encoding="utf-8") + "\n"):
            with contextlib.suppress(ImportError):  # its extra is not installed
                module = importlib.import_module(package)
                found.setdefault(package, []).extend(content.split() or getattr(module, "__all__", []))
    return found


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_has_one_place(package: str) -> None:
    module = pytest.importorskip(package, reason="an extra is not installed", exc_type=ImportError)
    listed = places()
    values = [getattr(sys.modules[p], name) for p, names in listed.items() for name in names]
    public = {name: getattr(module, name) for name in getattr(module, "__all__", ()) if name != "__version__"}
    missing = [
        name
        for name, value in public.items()
        if not isinstance(value, ModuleType) and not any(value is other for other in values)
    ]
    assert missing == []
    names = listed.get(package, [])
    assert sorted(set(names)) == sorted(names)


@pytest.mark.parametrize("page", sorted(REFERENCE.glob("*.rst")), ids=lambda p: p.stem)
def test_every_page_of_the_reference_is_listed(page: Path) -> None:
    assert re.search(rf"^{page.stem}$", (REFERENCE / "index.md").read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize("folder", ["tutorials", "inside"])
def test_every_page_is_listed_and_runs_its_code(folder: str) -> None:
    index = (WEBSITE / folder / "index.md").read_text(encoding="utf-8")
    for page in (WEBSITE / folder).glob("*.md"):
        text = page.read_text(encoding="utf-8")
        assert page.stem == "index" or re.search(rf"^{page.stem}$", index, re.MULTILINE), page
        assert ("{code-cell}" in text) == ("file_format: mystnb" in text), page


def test_every_message_has_its_place() -> None:
    text = (WEBSITE / "inside" / "messages.md").read_text(encoding="utf-8")
    shown = re.findall(r'"(\w+)"', " ".join(re.findall(r"^show\((.*)\)$", text, re.MULTILINE)))
    refused = {path.stem for path in (Path(__file__).parents[1] / "refused").glob("*.py")}
    assert sorted(set(shown)) == sorted(shown)
    assert refused - set(shown) == set()
