"""Still pictures: seen before a figure is drawn, without JavaScript, in print, and as a chapter's thumbnail.

A page names a picture as ``live-still:HASH:light`` (and ``:dark``). This module gathers the figures of all pages, has
the missing pictures drawn in one headless Chromium (:func:`lib.live.still.draw`), puts them into ``_static/stills``
and writes their addresses into the pages.
"""

from __future__ import annotations

import html
import re
import shutil
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

from lib.live import still
from lib.live.page import COLAB_LINK
from lib.site import browser, links, plotly_mime
from lib.site.layout import parts, repository

__all__ = ["address", "of_page", "setup"]

PLACE = re.compile(r"live-still:([0-9a-f]{16}):(light|dark)")


def of_page(env, docname: str) -> list[str]:
    """Hashes of the figures of a page, in their order."""
    return list(getattr(env, "book_stills", {}).get(docname, {}))


def address(app: Sphinx, docname: str, name: str, theme: str) -> str:
    """Address of a picture relative to a page."""
    return "../" * docname.count("/") + f"_static/stills/{name}-{theme}.svg"


def gather(app: Sphinx, doctree: nodes.document) -> None:
    """Keep the figures of a page that has just been read (event ``doctree-read``)."""
    if not hasattr(app.env, "book_stills"):
        app.env.book_stills = {}
    found = {}
    for raw in doctree.findall(nodes.raw):
        if PLACE.search(raw.astext()):
            found.update(still.figures(raw.astext()) | plotly_mime.figures(raw.astext()))
    app.env.book_stills[app.env.docname] = found


def forget(app: Sphinx, env, docname: str) -> None:
    """Drop the figures of a removed page (event ``env-purge-doc``)."""
    getattr(env, "book_stills", {}).pop(docname, None)


def draw(app: Sphinx, env) -> list[str]:
    """Draw what is missing, once all pages are read (event ``env-updated``).

    Raises
    ------
    ExtensionError
        If Chromium is missing or a figure cannot be drawn.
    """
    figures = {name: figure for page in getattr(env, "book_stills", {}).values() for name, figure in page.items()}
    cache = Path(app.outdir).parent / ".stills"
    wanted = [cache / f"{name}-{theme}.svg" for name in figures for theme in ("light", "dark")]
    if not all(path.is_file() for path in wanted):
        try:
            browser.ensure()
            still.draw(figures, cache)
        except Exception as error:
            raise ExtensionError(f"Still pictures could not be drawn: {error}", error, "lib.site.stills") from error
    if missing := [path.name for path in wanted if not path.is_file()]:
        raise ExtensionError(f"Still pictures are missing after drawing: {', '.join(missing)}")
    target = Path(app.outdir) / "_static/stills"
    target.mkdir(parents=True, exist_ok=True)
    for old in target.glob("*.svg"):
        if old.name not in {path.name for path in wanted}:
            old.unlink()
    for path in wanted:
        shutil.copy2(path, target / path.name)
    return []


def place(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Write the addresses of pictures and of the chapter in Colab into a page (event ``doctree-resolved``)."""
    url, branch = repository()
    # Only chapters have a notebook; the first page's figure can be run from the repository.
    chapters = {chapter.docname for part in parts(app.srcdir) for chapter in part.chapters}
    target = links.colab_address(url, branch, docname) if docname in chapters else url
    words = "run this chapter in Colab" if docname in chapters else "run the book yourself"
    colab = f'<a href="{html.escape(target, quote=True)}">{words}</a>'
    for raw in list(doctree.findall(nodes.raw)):
        text = raw.astext()
        if PLACE.search(text):
            filled = PLACE.sub(lambda found: address(app, docname, found[1], found[2]), text)
            filled = filled.replace(COLAB_LINK, colab)
            raw.replace_self(nodes.raw("", filled, format=raw["format"]))


def setup(app: Sphinx) -> None:
    """Register events."""
    app.connect("doctree-read", gather)
    app.connect("env-purge-doc", forget)
    app.connect("env-updated", draw)
    app.connect("doctree-resolved", place)
