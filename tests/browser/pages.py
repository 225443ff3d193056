"""What the browser tests share: the list of built pages and a page that notes everything that goes wrong on it."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from lib.site.layout import ROOT

__all__ = ["AXE", "DESKTOP", "PHONE", "Visit", "built_pages", "visit"]

DESKTOP = {"width": 1440, "height": 900}
PHONE = {"width": 390, "height": 844}
AXE = ROOT / "tests/browser/vendor/axe.min.js"
SITE = ROOT / "_build/html"


def built_pages() -> list[str]:
    """Addresses of all pages, relative to the site; empty before the book is built."""
    return sorted(path.relative_to(SITE).as_posix() for path in SITE.rglob("*.html") if "_static" not in path.parts)


@dataclass
class Visit:
    """A loaded page with what was requested and what went wrong."""

    page: object
    requests: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def outside(self, address: str) -> list[str]:
        """Requests that left the site."""
        return [url for url in self.requests if not url.startswith((address, "data:", "blob:"))]

    def scroll_through(self) -> None:
        """Bring every part of the page near, as a reader does, so that every figure is drawn."""
        height = self.page.evaluate("document.documentElement.scrollHeight")
        for y in range(0, height, 600):
            self.page.evaluate(f"window.scrollTo({{top: {y}, behavior: 'instant'}})")
            self.page.wait_for_timeout(30)
        for kind, ready in (("div.book-plotly", "[data-drawn]"), ("figure.live", ".live-on")):
            for i in range(self.page.locator(kind).count()):
                # Not Playwright's own way, which waits for two frames alike: a busy machine may owe it frames.
                here = "element => element.scrollIntoView({block: 'center', behavior: 'instant'})"
                self.page.locator(kind).nth(i).evaluate(here)
            count = self.page.locator(kind).count()
            if count:
                self.page.locator(f"{kind}{ready}").nth(count - 1).wait_for(state="attached", timeout=60_000)

    def overflow(self) -> int:
        """Pixels by which the page is wider than its window."""
        return self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")

    def axe(self) -> list[str]:
        """Serious and critical findings of axe-core, one line each."""
        self.page.evaluate(AXE.read_text(encoding="utf-8") + "; 0")
        result = self.page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        return [
            f"{rule['id']}: {node['html'][:160]} ({'; '.join(node['failureSummary'].split(chr(10))[1:2])})"
            for rule in result["violations"]
            if rule["impact"] in ("serious", "critical")
            for node in rule["nodes"]
        ]


@contextmanager
def visit(browser, address: str, *, viewport=DESKTOP, theme: str = "light", javascript: bool = True):
    """Open a page and watch it.

    Parameters
    ----------
    browser : playwright.sync_api.Browser
    address : str
        Address of the page, http or file.
    viewport : dict
        Width and height in pixels.
    theme : str
        What the reader's system prefers, ``"light"`` or ``"dark"``.
    javascript : bool
        Whether scripts run.

    Yields
    ------
    Visit
    """
    # Reduced motion: nothing is measured half way through a transition.
    context = browser.new_context(
        viewport=viewport, color_scheme=theme, java_script_enabled=javascript, reduced_motion="reduce"
    )
    page = context.new_page()
    seen = Visit(page)
    page.on("request", lambda request: seen.requests.append(request.url))
    page.on("console", lambda message: seen.problems.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: seen.problems.append(f"{error}"))
    if javascript:  # without it, scripts "fail" by intent
        page.on("requestfailed", lambda request: seen.problems.append(f"{request.url}: {request.failure}"))
    page.on(
        "response",
        lambda response: seen.problems.append(f"{response.url}: {response.status}") if response.status >= 400 else None,
    )
    try:
        page.goto(address, wait_until="load")
        yield seen
    finally:
        context.close()


def file_address(name: str) -> str:
    """Address of a page opened from disk."""
    return (Path(SITE) / name).as_uri()
