"""Tables of what others made: web files (``{vendored}``) and shipped data (``{datasets}``), with their licences."""

from __future__ import annotations

import html
from pathlib import Path

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from lib import data
from lib.site import assets

__all__ = ["datasets_table", "setup", "vendored_table"]


def _table(caption, headings, rows):
    head = "".join(f'<th scope="col">{html.escape(heading)}</th>' for heading in headings)
    body = ""
    for first, *rest in rows:
        cells = "".join(f"<td>{html.escape(str(cell))}</td>" for cell in rest)
        body += f'<tr><th scope="row">{html.escape(str(first))}</th>{cells}</tr>'
    return (
        f'<div class="claims" role="region" tabindex="0" aria-label="{html.escape(caption)}">'
        f'<table class="claims-table"><caption>{html.escape(caption)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def vendored_table(root: Path) -> str:
    """Web files of others' making that stand in the repository or come with a pinned wheel.

    Parameters
    ----------
    root : Path
        Root of the repository, with the table of assets.

    Returns
    -------
    str
        HTML.
    """
    listed = assets.load_table(Path(root))
    rows = [
        (row["name"], row.get("version", "as pinned"), row["licence"], row["package"], row["use"])
        for row in [*listed["files"], *listed.get("wheels", [])]
    ]
    return _table("Web files made by others", ("Name", "Version", "Licence", "From", "Used for"), rows)


def datasets_table() -> str:
    """Data that ship with the book.

    Returns
    -------
    str
        HTML.
    """
    rows = [
        (entry.title, entry.source, entry.licence, "; ".join(sorted(set(entry.units.values()))), entry.sha256[:16])
        for entry in data.DATASETS.values()
    ]
    return _table("Data shipped with the book", ("Data", "Source", "Licence", "Units", "SHA-256 begins"), rows)


class Vendored(SphinxDirective):
    """``{vendored}``: the table of web files."""

    def run(self) -> list[nodes.Node]:
        """Draw the table; the page depends on the list of assets."""
        self.env.note_dependency(str(Path(self.env.srcdir) / assets.TABLE))
        return [nodes.raw("", vendored_table(self.env.srcdir), format="html")]


class Datasets(SphinxDirective):
    """``{datasets}``: the table of shipped data."""

    def run(self) -> list[nodes.Node]:
        """Draw the table."""
        return [nodes.raw("", datasets_table(), format="html")]


def setup(app):
    """Register both directives with Sphinx."""
    app.add_directive("vendored", Vendored)
    app.add_directive("datasets", Datasets)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
