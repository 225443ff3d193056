"""The scoreboard: every claim of every chapter with the paper's number, ours and the verdict.

``setup`` registers the directive ``{scoreboard}`` and makes the build fail when claims and verdicts do not match.
"""

from __future__ import annotations

import html
import os
from pathlib import Path

from sphinx.errors import ExtensionError

from lib import claims, claims_table
from lib.site import records

__all__ = ["rows", "setup", "table"]

HEADINGS = ("Claim", "Paper", "Ours", "Verdict", "Seconds", "Code", "Chapter")


def rows(app) -> list[dict]:
    """All verdicts of the book.

    Parameters
    ----------
    app : sphinx.application.Sphinx
        After all pages were read.

    Returns
    -------
    list of dict
        With ``docname``, ``title``, ``claim``, ``record`` and ``line``, in the order of pages and claims files.
    """
    env = app.env
    folder = Path(app.srcdir) / "claims"
    found = []
    for docname, page in records.of(env).items():
        slug = records.chapter_of(docname)
        if not page["claims"]:
            continue
        by_id = {record["id"]: record for record in page["claims"]}
        for claim_id, claim in claims.load(slug, folder).items():
            found.append(
                {
                    "docname": docname,
                    "title": env.titles[docname].astext(),
                    "claim": claim,
                    "record": by_id[claim_id],
                    "line": page["lines"][claim_id],
                }
            )
    return found


def _source_link(app, docname, line):
    address = app.config.html_theme_options.get("repository_url", "").rstrip("/")
    if not address:
        return ""
    branch = app.config.html_theme_options.get("repository_branch") or "main"
    path = Path(app.env.doc2path(docname)).relative_to(app.srcdir).as_posix()
    place = f"#L{line}" if line else ""
    words = f"line {line}" if line else "file"
    # ?plain=1 shows the Markdown source; GitHub's rendered view has no lines
    return f'<a href="{html.escape(address)}/blob/{branch}/{path}?plain=1{place}">{words}</a>'


def _cell(content, key=None):
    data = f' data-sort="{html.escape(str(key))}"' if key is not None else ""
    return f"<td{data}>{content}</td>"


def _order(value):
    """What a claim's value or a measurement is sorted by: its first number, or how many cases say yes."""
    if isinstance(value, (tuple, list)):
        return sum(value) if all(isinstance(entry, bool) for entry in value) else value[0]
    return "" if value is None else value


def _row(app, page, row):
    claim, record = row["claim"], row["record"]
    link = html.escape(app.builder.get_relative_uri(page, row["docname"]))
    small = claims_table.SMALL
    ours = "not measured"
    if record["measured"] is not None:
        ours = claims_table.value_text(record["measured"], claim.unit, claims_table.digits_of(claim))
    ours = html.escape(ours) + (small.format(html.escape(record["elsewhere"])) if record["elsewhere"] else "")
    seconds = record["seconds"]
    notes = " ".join(note for note in (claim.note, record["note"]) if note)
    statement = claims_table.prose(claim.statement) + (small.format(claims_table.prose(notes)) if notes else "")
    paper = claims_table.stated_html(claim)
    if claim.tolerance is not None:
        paper += small.format(html.escape(claims_table.tolerance_text(claim)))
    return (
        f'<tr data-verdict="{record["verdict"]}">'
        f'<th scope="row"><a href="{link}#claim-{claim.id}">{html.escape(claim.id)}</a><br>{statement}'
        f"<br><small>{claims_table.prose(claim.where)}</small></th>"
        + _cell(paper, _order(claim.value))
        + _cell(ours, _order(record["measured"]))
        + _cell(claims_table.badge(record["verdict"]), claims.VERDICTS.index(record["verdict"]))
        + _cell("" if seconds is None else f"{seconds:.2g}", "" if seconds is None else seconds)
        + _cell(_source_link(app, row["docname"], row["line"]), row["line"] or "")
        + _cell(f'<a href="{link}">{html.escape(row["title"])}</a>')
        + "</tr>"
    )


def table(app, page: str) -> str:
    """Draw the scoreboard.

    Parameters
    ----------
    app : sphinx.application.Sphinx
        After all pages were read.
    page : str
        Page the table stands on; links are relative to it.

    Returns
    -------
    str
        HTML. Without JavaScript it is a plain table; ``scoreboard.js`` adds sorting and the choice of verdicts.
    """
    found = rows(app)
    if not found:
        return '<p class="scoreboard-empty">No chapter has given a verdict yet.</p>'
    counts = {verdict: sum(row["record"]["verdict"] == verdict for row in found) for verdict in claims.VERDICTS}
    tally = "".join(
        f"<li>{claims_table.badge(verdict)} <strong>{count}</strong></li>" for verdict, count in counts.items() if count
    )
    head = "".join(f'<th scope="col">{heading}</th>' for heading in HEADINGS)
    body = "".join(_row(app, page, row) for row in found)
    return (
        f'<ul class="scoreboard-tally" aria-label="Claims by verdict">{tally}</ul>'
        '<div class="scoreboard tex2jax_process"><p class="scoreboard-count" role="status"></p>'
        '<div class="claims" role="region" tabindex="0" aria-label="Scoreboard">'
        '<table class="claims-table scoreboard-table">'
        "<caption>Every claim the book tests, the paper's number and ours</caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div></div>"
    )


def _point_kernels_here(app, config):
    """Chapters read the claims and results of the book that is being built."""
    os.environ["LIVING_MODELS_ROOT"] = str(app.srcdir)


def _check(app, env):
    found = records.faults(env, Path(app.srcdir) / "claims")
    if found:
        raise ExtensionError("Claims and verdicts do not match:\n- " + "\n- ".join(found))


def setup(app):
    """Register directive, styles and checks with Sphinx."""
    records.setup(app)
    app.add_directive("scoreboard", records.slot_directive("scoreboard"))
    app.connect("config-inited", _point_kernels_here)
    app.connect("env-updated", _check)
    app.connect(
        "doctree-resolved", lambda app, doctree, docname: records.fill(app, doctree, docname, "scoreboard", table)
    )
    app.add_css_file("claims.css")
    app.add_js_file("scoreboard.js", loading_method="defer")
    return {"parallel_read_safe": True, "parallel_write_safe": True}
