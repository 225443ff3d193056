"""The status page: how long each chapter ran, when, and what it holds.

``setup`` registers the directive ``{status}``.
"""

from __future__ import annotations

import html
import platform
from importlib import metadata

from lib.site import records

__all__ = ["setup", "table"]

HEADINGS = ("Chapter", "Seconds to run", "Claims", "Live figures", "Run on")
PACKAGES = ("torch", "numpy", "scipy", "plotly", "sphinx", "myst-nb")


def _versions():
    parts = [f"Python {platform.python_version()}"]
    for name in PACKAGES:
        try:
            parts.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            parts.append(f"{name} not installed")
    return ", ".join(parts)


def table(app, page: str) -> str:
    """Draw the table of executed pages.

    Parameters
    ----------
    app : sphinx.application.Sphinx
        After all pages were read.
    page : str
        Page the table stands on; links are relative to it.

    Returns
    -------
    str
        HTML.
    """
    body, total, verdicts, live = [], 0.0, 0, 0
    for docname, found in records.of(app.env).items():
        link = html.escape(app.builder.get_relative_uri(page, docname))
        title = html.escape(app.env.titles[docname].astext())
        seconds = found["seconds"]
        total += seconds or 0.0
        verdicts += len(found["claims"])
        live += found["live"]
        written = "not run" if seconds is None else f"{seconds:.1f}"
        body.append(
            f'<tr><th scope="row"><a href="{link}">{title}</a></th><td>{written}</td>'
            f"<td>{len(found['claims'])}</td><td>{found['live']}</td><td>{found['date'] or ''}</td></tr>"
        )
    head = "".join(f'<th scope="col">{heading}</th>' for heading in HEADINGS)
    return (
        '<div class="claims" role="region" tabindex="0" aria-label="Status of the build">'
        '<table class="claims-table status-table"><caption>Pages that were executed</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody>"
        f'<tfoot><tr><th scope="row">All</th><td>{total:.1f}</td><td>{verdicts}</td><td>{live}</td><td></td></tr>'
        "</tfoot>"
        f"</table></div><p>Built with {html.escape(_versions())}.</p>"
    )


def setup(app):
    """Register the directive with Sphinx."""
    records.setup(app)
    app.add_directive("status", records.slot_directive("status"))
    app.connect("doctree-resolved", lambda app, doctree, docname: records.fill(app, doctree, docname, "status", table))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
