"""The built site in a browser: ``scripts/docs --check`` builds it and runs these.

They need Chromium, found as ``CHROMIUM`` or by its usual names, and ``scripts/docs`` to have been run.
"""

from __future__ import annotations

import functools
import http.server
import json
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="the extra docs brings Playwright")
axe = pytest.importorskip("axe_playwright_python.base", reason="the extra docs brings axe")

SITE = Path(__file__).parents[2] / "website" / "_build" / "html"
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
PAGES = sorted(
    str(p.relative_to(SITE)) for p in SITE.rglob("*.html") if "_modules" not in p.parts and p.stem != "search"
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
    pytest.mark.skipif(not PAGES, reason="scripts/docs has not been run"),
]


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(SITE)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    """A page on a wide screen that keeps a list of what went wrong, requests to elsewhere among it."""
    context = browser.new_context(color_scheme="light", viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.faults = []
    page.on("console", lambda m: page.faults.append(f"console: {m.text}") if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda e: page.faults.append(f"error: {e}"))
    page.on("requestfailed", lambda r: page.faults.append(f"failed: {r.url}"))
    page.on("response", lambda r: page.faults.append(f"{r.status}: {r.url}") if r.status >= 400 else None)
    page.on("request", lambda r: None if r.url.startswith((address, "data:")) else page.faults.append(f"out: {r.url}"))
    yield page
    context.close()


def open_page(page: Any, url: str) -> None:
    """Opens a page and waits until its formulas have been set."""
    page.goto(url)
    page.wait_for_load_state("networkidle")
    page.evaluate("() => window.MathJax && MathJax.startup && MathJax.startup.promise")


def serious(page: Any, *, rules: list[str] | None = None) -> str:
    """Returns what axe finds to be serious or worse, as JSON; of some of its rules, if they are named."""
    options = {"resultTypes": ["violations"], **({"runOnly": rules} if rules else {})}
    found = page.evaluate("options => axe.run(options)", options)["violations"]
    bad = {v["id"]: [n["html"][:120] for n in v["nodes"][:5]] for v in found if v["impact"] in ("serious", "critical")}
    return json.dumps(bad, indent=1) if bad else ""


WIDER = """() => document.documentElement.scrollWidth <= innerWidth ? [] : [...document.querySelectorAll("article *")]
    .filter(e => e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML.slice(0, 100)).slice(0, 5)
    .concat(["the page: " + document.documentElement.scrollWidth])"""


@pytest.mark.parametrize("name", PAGES)
def test_page(page: Any, address: str, name: str) -> None:
    """No errors, no requests to elsewhere, accessible in light and dark, and no wider than a phone."""
    open_page(page, address + name)
    assert page.faults == []
    assert page.locator("h1").count() == 1
    assert page.locator("mjx-merror").count() == 0
    page.evaluate(axe.AXE_FILE_PATH.read_text(encoding="utf-8"))
    assert serious(page) == ""
    page.emulate_media(color_scheme="dark")
    assert serious(page, rules=["color-contrast"]) == ""
    page.set_viewport_size({"width": 375, "height": 812})
    assert page.evaluate(WIDER) == []


def test_search_finds_a_plan(page: Any, address: str) -> None:
    page.goto(address + "search.html?q=SplineCoupling")
    page.wait_for_selector("ul.search li a")
    first = [link.inner_text() for link in page.locator("ul.search li a").all()[:5]]
    assert any("SplineCoupling" in text for text in first), first
    assert page.faults == []


def test_the_picture_on_the_front_page_moves(page: Any, address: str) -> None:
    page.goto(address)
    slider = page.locator("#flow-picture input")
    before = page.locator("#flow-picture canvas").screenshot()
    slider.fill("0")
    assert page.locator("#flow-picture canvas").screenshot() != before


def test_a_message_is_found_whatever_its_numbers(page: Any, address: str) -> None:
    page.goto(address + "inside/messages.html")
    page.locator("#find-message input").fill(
        "Flow.log_prob: values in the support (0, inf) are expected; got 77 of 99 outside."
    )
    shown = [item.inner_text() for item in page.locator("details.messages li:visible").all()]
    assert 1 <= len(shown) <= 5 and any("are expected; got 5 of 5 outside." in text for text in shown), shown
    assert page.faults == []
