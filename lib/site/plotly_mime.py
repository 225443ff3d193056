"""Plotly figures on the page: MyST-NB has no renderer for Plotly's MIME type and would drop them with a warning.

A figure becomes its still pictures (seen until it is drawn, and for good without JavaScript) and its JSON, which
``book.js`` draws when the reader comes near.
"""

from __future__ import annotations

import hashlib
import html
import json
from typing import Any, ClassVar

import myst_nb.core.render
from docutils import nodes

__all__ = ["MIME", "PlotlyRenderer", "describe", "figure_hash", "install", "markup"]

MIME = "application/vnd.plotly.v1+json"
HEIGHT = 450


def figure_hash(figure: dict[str, Any]) -> str:
    """First 16 hexadecimal digits of the SHA-256 of a figure's canonical JSON.

    Examples
    --------
    >>> figure_hash({"data": [], "layout": {}})
    '7d7f7ef54d4a3b8d'
    """
    canonical = json.dumps(figure, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


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
    layout = figure.get("layout", {})
    meta = layout.get("meta")
    title = layout.get("title", "")
    words = meta.get("alt", "") if isinstance(meta, dict) else ""
    words = words or (title.get("text", "") if isinstance(title, dict) else title)
    if not words:
        raise ValueError("figure: layout.title and layout.meta.alt are both empty; give the figure a title")
    return _plain(words)


def _plain(text: str) -> str:
    """Plotly's small HTML subset as plain text."""
    kept, inside = [], False
    for character in text.replace("<br>", " "):
        if character == "<":
            inside = True
        elif character == ">":
            inside = False
        elif not inside:
            kept.append(character)
    return html.unescape("".join(kept))


def markup(figure: dict[str, Any]) -> str:
    """HTML of one figure: two still pictures and the JSON to draw it from."""
    kept = {key: figure[key] for key in ("data", "layout", "frames", "config") if key in figure}
    name = figure_hash(kept)
    words = html.escape(describe(kept), quote=True)
    body = json.dumps(kept, separators=(",", ":")).replace("<", "\\u003c")
    height = int(kept.get("layout", {}).get("height") or HEIGHT)
    stills = "".join(
        f'<img class="book-still only-{theme}" src="live-still:{name}:{theme}" alt="{words}" loading="lazy">'
        for theme in ("light", "dark")
    )
    return (
        f'<div class="book-plotly" data-still="{name}" role="group" aria-label="{words}" style="min-height:{height}px">'
        f'{stills}<script type="application/json">{body}</script></div>'
    )


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
    """Register the renderer. MyST-NB finds plugins by entry points of installed packages; ``lib`` need not be
    installed."""
    found = myst_nb.core.render.load_mime_renders
    if getattr(found, "has_plotly", False):
        return

    def with_plotly():
        return [*found(), PlotlyRenderer]

    with_plotly.has_plotly = True
    myst_nb.core.render.load_mime_renders = with_plotly
