"""Make the notebooks for Colab from the chapters.

``python -m lib.site.notebooks`` writes ``book/notebooks/<part>/<slug>.ipynb`` from ``book/<part>/<slug>.md``;
``python -m lib.site.notebooks --check`` only says whether they are in step. The notebooks hold no outputs and are never
edited by hand.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
from pathlib import Path

import yaml

from lib.site.book import Book, front_matter
from lib.site.lower import GLUED, Lowering
from lib.site.markup import parse

__all__ = ["generate", "main", "notebook", "outdated", "sources", "write"]

ROOT = Path(__file__).resolve().parents[2]
LIVE = re.compile(r'@live\b.*?"""([^\n".?!{}]+)', re.DOTALL)
"""The first sentence of a live figure's caption."""

OUTSIDE_CHAPTERS = {"back", "notebooks"}  # folders of book/ that are no parts

SETUP = """\
#@title Setup: run me first (does nothing where the book's package is already installed) {{display-mode: "form"}}
import importlib.util
import subprocess
import sys

if importlib.util.find_spec("lib") is None:
    # --no-deps: the torch, numpy, plotly and ipywidgets that are installed here stay as they are
    source = "git+{repository}@{branch}"
    subprocess.check_call([sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", source])
    importlib.invalidate_caches()
import lib
"""

WELCOME = """\
*This notebook was made from the chapter [{title}]({page}) of [{book}]({site}), where its figures move in the page. \
Here you can change everything. For a GPU choose Runtime, Change runtime type; then run all cells from the top.*"""


def sources(root=ROOT):
    """Find the chapters.

    Parameters
    ----------
    root : path
        Root of the repository.

    Returns
    -------
    list of pathlib.Path
        ``book/<part>/<slug>.md`` of every part, sorted.
    """
    found = sorted((Path(root) / "book").glob("*/*.md"))
    return [path for path in found if path.parent.name not in OUTSIDE_CHAPTERS and path.parent.name[0] not in "._"]


def target(source, root=ROOT):
    """Where the notebook of a chapter belongs."""
    return Path(root) / "book" / "notebooks" / source.parent.name / f"{source.stem}.ipynb"


def _cell(kind, text, identity, **metadata):
    # The id depends on place and content alone, so that a chapter that did not change gives the same file.
    digest = hashlib.sha1(f"{identity}\n{kind}\n{text}".encode()).hexdigest()[:16]
    cell = {"cell_type": kind, "id": digest, "metadata": metadata, "source": text.splitlines(keepends=True)}
    if kind == "code":
        cell |= {"execution_count": None, "outputs": []}
    return cell


def _tags(block):
    tags = block.options.get("tags", [])
    return yaml.safe_load(tags) if isinstance(tags, str) else tags


def _folded(code):
    """Give code that the page hides a title under which Colab folds it."""
    first, _, rest = code.partition("\n")
    caption = LIVE.search(code)
    if caption:
        return f'#@title Figure: {caption[1]} {{display-mode: "form"}}\n{code}'
    if first.startswith("# "):
        return f'#@title {first[2:].rstrip(".")} {{display-mode: "form"}}\n{rest}'
    return f'#@title Code of what is shown here {{display-mode: "form"}}\n{code}'


def _code(block):
    """Lower a code cell to ``(kind, text, metadata)``, or None if the notebook leaves it out."""
    tags = _tags(block)
    if "remove-cell" in tags:
        return None
    code = re.sub(r"^from myst_nb import glue$", "from lib.glue import glue", block.body, flags=re.MULTILINE)
    kept = [tag for tag in tags if tag == "raises-exception"]
    metadata = {"tags": kept} if kept else {}
    if {"hide-input", "remove-input", "hide-cell"} & set(tags):
        return "code", _folded(code), {"cellView": "form", "jupyter": {"source_hidden": True}, **metadata}
    return "code", code, metadata


def _glued(text):
    """Make the cell that shows a paragraph with numbers of the run."""
    filled = GLUED.sub(r"[[\1]]", text)
    quotes = '"""' if '"""' not in filled else "'''"
    code = (
        '#@title A paragraph with numbers of this run {display-mode: "form"}\n'
        "import lib.glue\n\n"
        f"lib.glue.text(r{quotes}{filled}\n{quotes})"
    )
    return "code", code, {"cellView": "form", "jupyter": {"source_hidden": True}}


def _pieces(lowering, body, first_line):
    """Lower a chapter's text to a list of ``(kind, text, metadata)``, Markdown between two cells joined."""
    pieces, markdown = [], []

    def finish():
        if markdown:
            pieces.append(("markdown", "\n\n".join(markdown), {}))
            markdown.clear()

    for block in parse(body, first_line):
        if block.kind == "directive" and block.name == "code-cell":
            finish()
            cell = _code(block)
            if cell is not None:
                pieces.append(cell)
            continue
        if block.kind == "text" and block.body.startswith("+++"):
            finish()
        lowered = lowering.block(block)
        if GLUED.search(lowered):
            finish()
            pieces.append(_glued(lowered))
        elif lowered.strip():
            markdown.append(lowered)
    if lowering.cited and not lowering.listed:
        markdown.append("## References\n\n" + lowering.references())
    finish()
    return pieces


def notebook(source, book):
    """Make one notebook.

    Parameters
    ----------
    source : pathlib.Path
        The chapter.
    book : lib.site.book.Book
        What it may refer to.

    Returns
    -------
    dict
        Content of the ``.ipynb``, without outputs.

    Raises
    ------
    ValueError
        If the chapter uses a directive or role without a form in a notebook, or refers to what is not there; the
        message names the line.
    """
    docname = source.relative_to(book.root).with_suffix("").as_posix()
    _, body, first_line = front_matter(source.read_text(encoding="utf-8"))
    try:
        first = Lowering(book, docname)
        _pieces(first, body, first_line)  # learns the numbers that references need
        pieces = _pieces(Lowering(book, docname, numbers=first.labels), body, first_line)
    except ValueError as error:
        name = f"{docname}.md"
        raise ValueError(str(error) if str(error).startswith(name) else f"{name}, {error}") from None
    welcome = WELCOME.format(title=book.titles[docname], page=book.page(docname), book=book.title, site=book.site)
    setup = SETUP.format(repository=book.repository, branch=book.branch)
    cells = [
        _cell("markdown", welcome, "welcome"),
        _cell("code", setup.rstrip("\n"), "setup", cellView="form"),
    ]
    cells += [_cell(kind, text, str(place), **metadata) for place, (kind, text, metadata) in enumerate(pieces)]
    return {
        "cells": cells,
        "metadata": {
            "accelerator": "GPU",
            "colab": {"name": f"{source.stem}.ipynb", "provenance": [], "toc_visible": True},
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }


def generate(root=ROOT):
    """Make all notebooks.

    Parameters
    ----------
    root : path
        Root of the repository.

    Returns
    -------
    dict of pathlib.Path to str
        Text of each file.
    """
    book = Book(root)
    return {
        target(source, root): json.dumps(notebook(source, book), indent=1, ensure_ascii=False) + "\n"
        for source in sources(root)
    }


def _present(root):
    return set((Path(root) / "book" / "notebooks").rglob("*.ipynb"))


def _is_in_step(path, text):
    return path.is_file() and path.read_text(encoding="utf-8") == text


def outdated(root=ROOT):
    """Compare the notebooks with their chapters.

    Parameters
    ----------
    root : path
        Root of the repository.

    Returns
    -------
    list of str
        One sentence per notebook that is missing, out of step or without a chapter.
    """
    made = generate(root)
    found = []
    for path, text in made.items():
        name = path.relative_to(root).as_posix()
        if not _is_in_step(path, text):
            found.append(f"{name} differs from its chapter" if path.is_file() else f"{name} is missing")
    found += [f"{path.relative_to(root).as_posix()} has no chapter" for path in sorted(_present(root) - set(made))]
    return found


def write(root=ROOT):
    """Write the notebooks that changed and remove those without a chapter.

    Parameters
    ----------
    root : path
        Root of the repository.

    Returns
    -------
    list of pathlib.Path
        The files written or removed.
    """
    made = generate(root)
    changed = []
    for path, text in made.items():
        if not _is_in_step(path, text):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            changed.append(path)
    for path in sorted(_present(root) - set(made)):
        path.unlink()
        changed.append(path)
    return changed


def main(arguments=None):
    """Command line.

    Parameters
    ----------
    arguments : list of str, optional
        ``[]`` or ``["--check"]``; the process's own by default.

    Returns
    -------
    int
        Exit status: 1 if ``--check`` finds a notebook out of step.
    """
    parser = argparse.ArgumentParser(prog="python -m lib.site.notebooks", description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="only say whether the notebooks are in step")
    if parser.parse_args(arguments).check:
        found = outdated(ROOT)
        for sentence in found:
            print(sentence)
        if found:
            print("Run: python -m lib.site.notebooks")
        return 1 if found else 0
    for path in write(ROOT):
        print(f"{'wrote' if path.exists() else 'removed'} {path.relative_to(ROOT).as_posix()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
