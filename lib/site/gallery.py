"""The book as small pictures: ``{gallery}`` shows all parts, ``{part} name`` shows one.

A written chapter is a card with its first still picture, its title and its question, all taken from the chapter
itself. A chapter that is only planned is a line in a list "in preparation", taken from ``book/parts.yml``.
"""

from __future__ import annotations

import html
from typing import ClassVar

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from lib.site import stills
from lib.site.layout import Chapter, Part, parts

__all__ = ["Gallery", "PartOverview", "gallery_node", "setup"]


class gallery_node(nodes.General, nodes.Element):
    """Place of the cards; replaced when a page is written, once every chapter has been read."""


class Gallery(SphinxDirective):
    """``{gallery}``: every part of the book with its chapters."""

    def run(self) -> list[nodes.Node]:
        """Leave a place for the cards."""
        return [gallery_node(parts=None, headings=True)]


class PartOverview(SphinxDirective):
    """``{part} dynamics``: the chapters of one part."""

    required_arguments: ClassVar[int] = 1

    def run(self) -> list[nodes.Node]:
        """Leave a place for the cards of the part named by the argument."""
        names = [part.name for part in parts(self.env.srcdir)]
        if self.arguments[0] not in names:
            raise self.error(f"part: {self.arguments[0]!r} is not a part of the book; choose one of {', '.join(names)}")
        return [gallery_node(parts=[self.arguments[0]], headings=False)]


def _question(app: Sphinx, chapter: Chapter) -> str:
    """The chapter's own question where it is written, else the planned one."""
    return getattr(app.env, "book_questions", {}).get(chapter.docname, chapter.question)


def _title(app: Sphinx, chapter: Chapter) -> str:
    """The chapter's own title where it is written, else the planned one."""
    title = app.env.titles.get(chapter.docname)
    return title.astext() if title is not None else chapter.title


def _card(app: Sphinx, docname: str, chapter: Chapter) -> str:
    """HTML of a written chapter's card."""
    address = html.escape(app.builder.get_relative_uri(docname, chapter.docname), quote=True)
    first = next(iter(stills.of_page(app.env, chapter.docname)), None)
    pictures = ""
    if first is not None:
        pictures = "".join(
            f'<img class="only-{theme}" src="{stills.address(app, docname, first, theme)}" alt="" loading="lazy">'
            for theme in ("light", "dark")
        )
    return (
        f'<a class="book-card" href="{address}"><span class="book-card-picture">{pictures}</span>'
        f'<span class="book-card-title">{html.escape(_title(app, chapter))}</span>'
        f'<span class="book-card-question">{html.escape(_question(app, chapter))}</span></a>'
    )


def _part(app: Sphinx, docname: str, part: Part, heading: bool) -> str:
    """HTML of one part: heading, cards of what is written, list of what is in preparation."""
    found = app.env.found_docs
    written = [chapter for chapter in part.chapters if chapter.docname in found]
    planned = [chapter for chapter in part.chapters if chapter.docname not in found]
    pieces = []
    if heading:
        address = html.escape(app.builder.get_relative_uri(docname, part.docname), quote=True)
        pieces.append(
            f'<h2 class="book-part-title"><a href="{address}">{html.escape(part.title)}</a></h2>'
            f'<p class="book-part-question">{html.escape(part.question)}</p>'
        )
    if written:
        pieces.append(f'<div class="book-cards">{"".join(_card(app, docname, chapter) for chapter in written)}</div>')
    if planned:
        rows = "".join(
            f'<li><span class="book-planned-title">{html.escape(chapter.title)}</span> '
            f'<span class="book-planned-question">{html.escape(chapter.question)}</span></li>'
            for chapter in planned
        )
        pieces.append(f'<p class="book-planned-label">In preparation</p><ul class="book-planned">{rows}</ul>')
    return f'<section class="book-part" id="part-{part.name}">{"".join(pieces)}</section>'


def remember_question(app: Sphinx, doctree: nodes.document) -> None:
    """Keep the paragraph of class ``question`` of a page (event ``doctree-read``)."""
    if not hasattr(app.env, "book_questions"):
        app.env.book_questions = {}
    app.env.book_questions.pop(app.env.docname, None)
    for paragraph in doctree.findall(nodes.paragraph):
        if "question" in paragraph.get("classes", []):
            app.env.book_questions[app.env.docname] = paragraph.astext()
            return


def forget(app: Sphinx, env, docname: str) -> None:
    """Drop what is known of a removed page (event ``env-purge-doc``)."""
    getattr(env, "book_questions", {}).pop(docname, None)


def pages_with_cards(app: Sphinx, env) -> list[str]:
    """Pages that show other pages' titles and pictures, written again in every build (event ``env-updated``)."""
    pages = [env.config.root_doc, *(part.docname for part in parts(app.srcdir))]
    return [page for page in pages if page in env.found_docs]


def resolve(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Put the cards in their place (event ``doctree-resolved``)."""
    for place in list(doctree.findall(gallery_node)):
        chosen = [part for part in parts(app.srcdir) if place["parts"] is None or part.name in place["parts"]]
        body = "".join(_part(app, docname, part, place["headings"]) for part in chosen)
        place.replace_self(nodes.raw("", f'<div class="book-gallery">{body}</div>', format="html"))


def setup(app: Sphinx) -> None:
    """Register directives and events."""
    app.add_node(gallery_node)
    app.add_directive("gallery", Gallery)
    app.add_directive("part", PartOverview)
    app.connect("doctree-read", remember_question)
    app.connect("env-purge-doc", forget)
    app.connect("env-updated", pages_with_cards)
    app.connect("doctree-resolved", resolve)
