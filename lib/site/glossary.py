"""Definitions beside the text: a link to a glossary term shows its definition on hover and on keyboard focus.

The definition is part of the page (nothing is fetched); `glossary.css` shows it, `glossary.js` lets Escape hide it.
"""

from __future__ import annotations

import html

from docutils import nodes
from sphinx import addnodes

__all__ = ["add_cards", "definitions", "setup"]


def _written(node) -> str:
    """Text of a definition as HTML, with its formulas left to the page."""
    if isinstance(node, nodes.math):
        return f'<span class="math notranslate nohighlight">\\({html.escape(node.astext())}\\)</span>'
    if isinstance(node, nodes.Text):
        return html.escape(node.astext())
    return "".join(_written(child) for child in node.children)


def definitions(doctree) -> dict[str, str]:
    """Definitions of a page's glossaries.

    Parameters
    ----------
    doctree : docutils.nodes.document
        The page.

    Returns
    -------
    dict of str to str
        From the anchor of a term (``term-spectral-radius``) to the first paragraph of its definition as HTML.
    """
    found = {}
    for glossary in doctree.findall(addnodes.glossary):
        for item in glossary.findall(nodes.definition_list_item):
            paragraph = next(iter(item.findall(nodes.paragraph)), None)
            if paragraph is None:
                continue
            for term in item.findall(nodes.term):
                for anchor in term["ids"]:
                    found[anchor] = _written(paragraph)
    return found


def _all_definitions(env):
    found = {}
    pages = {entry[0] for (kind, _), entry in env.get_domain("std").objects.items() if kind == "term"}
    for docname in sorted(pages):
        found.update(definitions(env.get_doctree(docname)))
    return found


def add_cards(app, doctree, docname):
    """Give every resolved link to a term its card (event ``doctree-resolved``)."""
    if app.builder.format != "html":
        return
    links = [node for node in doctree.findall(nodes.reference) if "#term-" in node.get("refuri", "")]
    if not links:
        return
    known = _all_definitions(app.env)
    for number, link in enumerate(links, start=1):
        anchor = link["refuri"].split("#", 1)[1]
        if anchor not in known:
            continue
        card = f"definition-{number}"
        before = nodes.raw("", f'<span class="term" data-card="{card}">', format="html")
        after = nodes.raw(
            "", f'<span class="term-card" role="tooltip" id="{card}">{known[anchor]}</span></span>', format="html"
        )
        parent = link.parent
        position = parent.index(link)
        parent.remove(link)
        parent[position:position] = [before, link, after]


def _note_terms(app, doctree):
    """Remember which pages use terms (event ``doctree-read``)."""
    users = app.env.__dict__.setdefault("book_term_users", set())
    used = any(node.get("reftype") == "term" for node in doctree.findall(addnodes.pending_xref))
    (users.add if used else users.discard)(app.env.docname)


def _merge(app, env, docnames, other):
    env.__dict__.setdefault("book_term_users", set()).update(other.__dict__.get("book_term_users", set()))


def _write_again(app, env):
    """When a definition has changed, write the pages that show it again (event ``env-updated``)."""
    known = _all_definitions(env)
    changed = known != env.__dict__.get("book_definitions")
    env.book_definitions = known
    return sorted(env.__dict__.get("book_term_users", set()) & env.found_docs) if changed else []


def setup(app):
    """Connect the cards and their style with Sphinx."""
    app.connect("doctree-read", _note_terms)
    app.connect("env-merge-info", _merge)
    app.connect("env-updated", _write_again)
    app.connect("doctree-resolved", add_cards, priority=900)
    app.add_css_file("glossary.css")
    app.add_js_file("glossary.js", loading_method="defer")
    return {"parallel_read_safe": True, "parallel_write_safe": True}
