"""Take the README's pictures of the built book: ``make screens`` after ``make book``.

The first screen of the Leslie chapter with two sliders moved, light and dark, in headless Chromium.
"""

from __future__ import annotations

from pathlib import Path

from lib.site import browser, serve
from lib.site.layout import ROOT

__all__ = ["take"]

PAGE = "book/dynamics/leslie.html"
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]


def take(site: Path = ROOT / "_build/html", target: Path = ROOT / "book/_static/screens") -> list[Path]:
    """Write ``leslie-light.png`` and ``leslie-dark.png``.

    Parameters
    ----------
    site : Path
        Folder of the built book.
    target : Path
        Folder of the pictures.

    Returns
    -------
    list of Path
    """
    from playwright.sync_api import sync_playwright

    target.mkdir(parents=True, exist_ok=True)
    server, address = serve.start(site, prefix="/book/")
    pictures = []
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser.ensure(), args=FLAGS)
        for theme in ("light", "dark"):
            context = chromium.new_context(
                viewport={"width": 1080, "height": 860}, color_scheme=theme, reduced_motion="reduce"
            )
            page = context.new_page()
            page.goto(address + PAGE)
            page.locator("#live-predator_prey.live-on").wait_for(state="attached")
            page.evaluate("document.getElementById('live-predator_prey').live.set({predation: 0.04, ratio: 0.5})")
            page.wait_for_timeout(500)
            pictures.append(target / f"leslie-{theme}.png")
            page.screenshot(path=pictures[-1])
            context.close()
        chromium.close()
    server.shutdown()
    return pictures


if __name__ == "__main__":
    for path in take():
        print(path.relative_to(ROOT))
