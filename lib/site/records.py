"""What each executed chapter left behind: its verdicts, its live figures, its running time.

Read from the executed notebook when a page is read and kept in Sphinx's environment, so that a build which reads only
one changed chapter, or takes every execution from the cache, still knows all of them.
"""

from __future__ import annotations

import contextlib
import datetime
import re
from pathlib import Path

import nbformat
from docutils import nodes
from jupyter_cache import get_cache
from sphinx.util.docutils import SphinxDirective

from lib import claims

__all__ = ["PageRecords", "Slot", "chapter_of", "claim_line", "faults", "fill", "of", "read", "setup"]

LIVE = re.compile(r"""<figure\b[^>]*\bclass=["'][^"']*\blive\b""")


class PageRecords(dict):
    """Records of one page.

    Keys: ``claims`` (records as `lib.claims.Outcome.record` makes them), ``lines`` (line of the chapter's text where
    each claim is checked), ``live`` (number of live figures), ``seconds`` (running time, None if unknown) and ``date``
    (ISO).
    """


class Slot(nodes.General, nodes.Element):
    """A place in a page that is filled when all pages have been read; ``kind`` says with what."""


def slot_directive(kind):
    """Make the directive that leaves a `Slot` of that kind.

    Parameters
    ----------
    kind : str
        Such as ``"scoreboard"``.
    """

    class Directive(SphinxDirective):
        has_content = False

        def run(self):
            slots = self.env.__dict__.setdefault("book_slots", {})
            slots.setdefault(self.env.docname, set()).add(kind)
            return [Slot(kind=kind)]

    return Directive


def of(env) -> dict[str, PageRecords]:
    """Records of all pages that are notebooks, by page name, in alphabetical order."""
    return dict(sorted(env.__dict__.get("book_records", {}).items()))


def chapter_of(docname: str) -> str:
    """Slug of the chapter a page may hold.

    Examples
    --------
    >>> chapter_of("book/dynamics/leslie")
    'leslie'
    """
    return docname.rsplit("/", 1)[-1]


def claim_line(source: str, slug: str, claim_id: str) -> int | None:
    """Line (from 1) of a chapter's text on which a claim is checked.

    Examples
    --------
    >>> claim_line("import lib\\nclaims.check('a', 'b', 1)", "a", "b")
    2
    >>> claim_line("nothing", "a", "b") is None
    True
    """
    call = re.search(rf"""check\(\s*["']{re.escape(slug)}["']\s*,\s*["']{re.escape(claim_id)}["']""", source)
    call = call or re.search(rf"""["']{re.escape(claim_id)}["']""", source)
    return source.count("\n", 0, call.start()) + 1 if call else None


def read(notebook: dict, source: str) -> PageRecords:
    """Take the records out of an executed notebook.

    Parameters
    ----------
    notebook : dict
        Content of the ``.ipynb``.
    source : str
        Text of the chapter.

    Returns
    -------
    PageRecords
        Without ``seconds`` and ``date``, which the execution cache knows.
    """
    verdicts, live = [], 0
    for cell in notebook.get("cells", []):
        for output in cell.get("outputs", []):
            ours = output.get("metadata", {}).get("living_models", {})
            if "claim" in ours:
                verdicts.append(dict(ours["claim"]))
            page = output.get("data", {}).get("text/html", "")
            live += len(LIVE.findall("".join(page)))
    lines = {record["id"]: claim_line(source, record["slug"], record["id"]) for record in verdicts}
    return PageRecords(claims=verdicts, lines=lines, live=live, seconds=None, date=None)


def _executed(config, docname):
    """Load the executed notebook of a page."""
    notebook = nbformat.read(Path(config.output_folder) / f"{docname}.ipynb", as_version=4)
    if config.execution_mode == "cache":
        # MyST-NB writes the file without outputs when they come from its cache: look there, too.
        with contextlib.suppress(KeyError):
            _, notebook = get_cache(config.execution_cache_path).merge_match_into_notebook(notebook)
    return notebook


def _gather(app, doctree):
    env = app.env
    docname = env.docname
    if "kernelspec" not in env.metadata.get(docname, {}):
        return
    found = read(_executed(env.mystnb_config, docname), Path(env.doc2path(docname)).read_text(encoding="utf-8"))
    execution = env.__dict__.get("nb_metadata", {}).get(docname, {}).get("exec_data")
    if execution:
        found["seconds"] = execution["runtime"]
        found["date"] = datetime.datetime.fromtimestamp(execution["mtime"], datetime.UTC).date().isoformat()
    env.__dict__.setdefault("book_records", {})[docname] = found


def _purge(app, env, docname):
    for store in ("book_records", "book_slots"):
        env.__dict__.get(store, {}).pop(docname, None)


def _merge(app, env, docnames, other):
    for store in ("book_records", "book_slots"):
        theirs = other.__dict__.get(store, {})
        ours = env.__dict__.setdefault(store, {})
        ours.update({docname: theirs[docname] for docname in docnames if docname in theirs})


def _rewrite_slots(app, env):
    """Pages with slots depend on every chapter: write them again in each build."""
    return sorted(docname for docname in env.__dict__.get("book_slots", {}) if docname in env.found_docs)


def faults(env, folder: Path) -> list[str]:
    """Compare what the chapters concluded with what the claims files state.

    Parameters
    ----------
    env : sphinx.environment.BuildEnvironment
        After all pages were read.
    folder : Path
        Folder of the claims files.

    Returns
    -------
    list of str
        One sentence per fault: a claim without verdict, a verdict without claim, a verdict the numbers contradict, a
        claims file without chapter.
    """
    found = []
    pages = of(env)
    known = {chapter_of(docname): docname for docname in pages}
    loaded = {}
    for path in sorted(Path(folder).glob("*.yml")):
        try:
            loaded[path.stem] = claims.load(path.stem, folder)
        except ValueError as error:
            found.append(str(error))
            loaded[path.stem] = None
        if path.stem not in known:
            found.append(f"claims/{path.name}: no page {path.stem} of the book is a chapter; is it in _toc.yml?")
    for docname, page in pages.items():
        found += _page_faults(docname, page, loaded)
    return found


def _page_faults(docname, page, loaded):
    slug = chapter_of(docname)
    stated = loaded.get(slug, {})
    if stated is None:  # the file itself is at fault, which is said already
        return []
    seen = set()
    found = []
    for record in page["claims"]:
        at = f"{docname}, line {page['lines'][record['id']] or 'unknown'}: claim '{record['id']}'"
        if record["slug"] != slug:
            found.append(f"{at} belongs to '{record['slug']}'; a chapter gives verdicts on its own claims ('{slug}')")
            continue
        if record["id"] not in stated:
            found.append(f"{at}: a verdict without a claim; claims/{slug}.yml has {', '.join(stated) or 'none'}")
            continue
        if record["id"] in seen:
            found.append(f"{at} gets two verdicts; allowed: one")
        seen.add(record["id"])
        claim = stated[record["id"]]
        if record["measured"] is not None and (claim.scale == "gpu") != bool(record["source"]):
            came = record["source"] or "this run"
            found.append(f"{at}: measured comes from {came}, which does not fit the claim's scale '{claim.scale}'")
        try:
            claims.judge(claim, record["measured"], record["verdict"], record["note"])
        except ValueError as error:
            found.append(f"{at}: {error}")
    missing = [claim_id for claim_id in stated if claim_id not in seen]
    found += [f"{docname}: claim '{claim_id}' of claims/{slug}.yml has no verdict" for claim_id in missing]
    return found


def fill(app, doctree, docname, kind, make):
    """Put what ``make(app, docname)`` returns (HTML) into the slots of that kind."""
    for slot in list(doctree.findall(Slot)):
        if slot["kind"] == kind:
            slot.replace_self(nodes.raw("", make(app, docname), format="html"))


def setup(app):
    """Connect the gathering, once however many pages use it."""
    if getattr(app, "book_records_connected", False):
        return
    app.book_records_connected = True
    app.add_node(Slot)
    app.connect("doctree-read", _gather)
    app.connect("env-purge-doc", _purge)
    app.connect("env-merge-info", _merge)
    app.connect("env-updated", _rewrite_slots)
