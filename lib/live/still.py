"""Still pictures of live figures: drawn at build time by the page's own runtime, once for each theme.

One headless Chromium draws all pictures that are missing. It loads the runtime and Plotly, replays a figure's program
at its defaults and keeps Plotly's SVG: what a reader sees before the figure is live is what they see afterwards.
"""

from __future__ import annotations

import html
import json
import os
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from pathlib import Path

__all__ = ["THEMES", "WIDTH", "draw", "figures"]

THEMES = ("light", "dark")
WIDTH = 720  # pixels: the width of the book's text

_CARD = re.compile(r'<figure class="live"[^>]*data-still="([0-9a-f]{16})".*?</figure>', re.DOTALL)
_SPEC = re.compile(r'<script type="application/json">(.*?)</script>', re.DOTALL)
_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
]
_INK = {"light": "#1f262d", "dark": "#e2e5e7"}
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif"

# Plotly names the parts of a picture by random numbers; fixed ones give the same file on every build.
_STEADY = "(() => { let s = 1; Math.random = () => (s = (s * 16807) % 2147483647) / 2147483647; })()"


def figures(page):
    """The live figures in a page's HTML.

    Parameters
    ----------
    page : str
        HTML that holds the output of `Live.page`.

    Returns
    -------
    dict
        Picture name to what `draw` takes.

    Examples
    --------
    >>> figures("<p>no figure here</p>")
    {}
    """
    return {card[1]: json.loads(_SPEC.search(card[0])[1]) for card in _CARD.finditer(page)}


def draw(figures, folder):
    """Draw the pictures that are not there yet.

    Parameters
    ----------
    figures : dict
        Picture name to the spec of a live figure (`Live.spec`), or to a Plotly figure as dicts.
    folder : path
        Where ``NAME-light.svg`` and ``NAME-dark.svg`` go; it is also the cache.

    Returns
    -------
    dict
        (name, theme) to the path of its picture.

    Raises
    ------
    RuntimeError
        If Chromium is missing or a figure cannot be drawn.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = {(name, theme): folder / f"{name}-{theme}.svg" for name in figures for theme in THEMES}
    missing = [place for place, path in paths.items() if not path.is_file()]
    if missing:
        # A thread of its own: Playwright's plain interface refuses one that runs an event loop, as a notebook's does.
        with ThreadPoolExecutor(max_workers=1) as pool:
            pool.submit(_draw_all, figures, {place: paths[place] for place in missing}).result()
    return paths


def _draw_all(figures, paths):
    with _Studio() as studio:
        for (name, theme), path in paths.items():
            partial = path.with_suffix(".partial")
            partial.write_text(studio.draw(name, figures[name], theme), encoding="utf8")
            partial.replace(path)


def chromium():
    """Path of Chromium: what the environment variable CHROMIUM names, else the first on the PATH."""
    chosen = os.environ.get("CHROMIUM")
    for name in (chosen,) if chosen else _BROWSERS:
        if path := shutil.which(name):
            return path
    raise RuntimeError(
        f"the still pictures of live figures need Chromium, and {chosen or 'it'} is not on the PATH: install it "
        "(Debian: apt-get install chromium), or set CHROMIUM to its path"
    )


class _Studio:
    """One Chromium page with the runtime and Plotly."""

    def __enter__(self):
        from playwright.sync_api import Error, sync_playwright

        from lib.live import runtime

        self._error = Error
        path = chromium()
        self._playwright = sync_playwright().start()
        try:
            self._browser = self._playwright.chromium.launch(executable_path=path, args=_FLAGS)
            self._page = self._browser.new_page()
            self._page.set_content(f'<!doctype html><body style="font-family: {html.escape(_FONT, quote=True)}">')
            self._page.add_script_tag(content=_STEADY)
            self._page.add_script_tag(path=str(files("plotly") / "package_data" / "plotly.min.js"))
            self._page.add_script_tag(content=runtime.source())
        except Error as error:
            self._playwright.stop()
            raise RuntimeError(f"Chromium ({path}) did not start: {error}") from error
        return self

    def draw(self, name, figure, theme):
        self._page.evaluate(_STEADY)
        css = {"color": _INK[theme], "fontFamily": _FONT}
        try:
            return self._page.evaluate(
                "([figure, theme, width, css]) => live.still(figure, theme, width, css)", [figure, theme, WIDTH, css]
            )
        except self._error as error:
            raise RuntimeError(f"the still picture {name} ({theme}) could not be drawn: {error}") from error

    def __exit__(self, *exception):
        self._browser.close()
        self._playwright.stop()
