"""Plotly figures on the page: MyST-NB has no renderer for Plotly's MIME type and would drop them with a warning.

A figure becomes its still pictures (seen until it is drawn, and for good without JavaScript) and its JSON, which
``book.js`` draws when the reader comes near.
"""

from __future__ import annotations

import html
import json
import re
from typing import Any, ClassVar

import myst_nb.core.render
from docutils import nodes

from lib.live.page import plain_title, still_name

__all__ = ["MIME", "PlotlyRenderer", "describe", "figures", "install", "markup"]

MIME = "application/vnd.plotly.v1+json"
HEIGHT = 400
BOX = re.compile(
    r'<div class="book-plotly" data-still="([0-9a-f]{16})".*?<script type="application/json">(.*?)</script>', re.DOTALL
)


def describe(figure: dict[str, Any]) -> str:
    """What the figure shows, in words: ``layout.meta.alt`` or the title.

    Raises
    ------
    ValueError
        If the figure has neither: a reader who cannot see it would get nothing.

    Examples
    --------
    >>> describe({"layout": {"title": {"text": "Counts of <i>P. aurelia</i>"}}})
    'Counts of P. aurelia'
    """
    meta = figure.get("layout", {}).get("meta")
    words = (meta.get("alt", "") if isinstance(meta, dict) else "") or plain_title(figure)
    if not words:
        raise ValueError("figure: layout.title and layout.meta.alt are both empty; give the figure a title")
    return words


def markup(figure: dict[str, Any]) -> str:
    """HTML of one figure: two still pictures and the JSON to draw it from."""
    kept = {key: figure[key] for key in ("data", "layout", "frames", "config") if key in figure}
    # The page dresses figures by its own template; without it a figure is smaller, and its name says what it shows.
    kept["layout"] = {key: value for key, value in kept.get("layout", {}).items() if key != "template"}
    name = still_name(kept)
    words = html.escape(describe(kept), quote=True)
    title = html.escape(plain_title(kept))
    heading = f'<p class="book-figure-title" aria-hidden="true">{title}</p>' if title else ""
    body = json.dumps(kept, separators=(",", ":")).replace("<", "\\u003c")
    height = int(kept["layout"].get("height") or HEIGHT)
    stills = "".join(
        f'<img class="book-still only-{theme}" src="live-still:{name}:{theme}" alt="{words}" loading="lazy">'
        for theme in ("light", "dark")
    )
    return (
        f'<div class="book-plotly" data-still="{name}" role="group" aria-label="{words}" '
        f'style="--book-figure-height:{height}px">'
        f'{heading}{stills}<script type="application/json">{body}</script></div>'
    )


def figures(page: str) -> dict[str, dict[str, Any]]:
    """The figures in a page's HTML, by the name of their still picture.

    Examples
    --------
    >>> page = markup({"data": [], "layout": {"title": {"text": "Counts"}}})
    >>> list(figures(page).values())
    [{'data': [], 'layout': {'title': {'text': 'Counts'}}}]
    """
    return {found[1]: json.loads(found[2]) for found in BOX.finditer(page)}


class PlotlyRenderer:
    """MyST-NB plugin for :data:`MIME`."""

    mime_priority_overrides: ClassVar = [("html", MIME, 5)]

    @staticmethod
    def handle_mime(renderer, data, inline: bool):
        """Return the nodes of a figure, or None for what is not one."""
        if inline or data.mime_type != MIME:
            return None
        figure = data.content if isinstance(data.content, dict) else json.loads(data.content)
        return [nodes.raw("", markup(figure), format="html")]


def install() -> None:
    """Register the renderer: MyST-NB finds plugins by entry points, and ``lib`` need not be installed."""
    found = myst_nb.core.render.load_mime_renders
    if getattr(found, "has_plotly", False):
        return

    def with_plotly():
        return [*found(), PlotlyRenderer]

    with_plotly.has_plotly = True
    myst_nb.core.render.load_mime_renders = with_plotly
