"""The one error of live figures, and where in the author's text it happened."""

from __future__ import annotations

import linecache
import traceback
from pathlib import Path

__all__ = ["NotLive", "author_line", "place_of"]

_OURS = str(Path(__file__).parent)


class NotLive(Exception):
    """The figure cannot be replayed on the page; the message says which line and why."""


def author_line() -> str:
    """Name the innermost line of the running call that belongs to the author.

    Frames of torch, plotly and of ``lib.live`` itself are passed over. A line of a notebook cell is named by the
    chapter it stands in, so that a failing build points into the text and not into a temporary file.

    Returns
    -------
    str
        ``"leslie.md:120: if fertility > 2:"``, or ``"an unknown line"``.
    """
    for frame in reversed(traceback.extract_stack()):
        name = frame.filename
        foreign = "site-packages" in name or name.startswith(("<frozen", "<string>")) or "/lib/python3" in name
        if foreign or name.startswith(_OURS):
            continue
        line = linecache.getline(name, frame.lineno or 0).strip() or (frame.line or "")
        return f"{_place(name, frame.lineno or 0)}: {line}"
    return "an unknown line"


def place_of(function) -> str:
    """Where a function is defined, ``leslie.md:118``."""
    code = getattr(function, "__code__", None)
    return _place(code.co_filename, code.co_firstlineno) if code else "unknown place"


def _place(filename: str, lineno: int) -> str:
    """``file:line``, where a notebook cell is looked up among the chapters of the working folder."""
    if "ipykernel" not in filename and "ipython-input" not in filename:
        return f"{Path(filename).name}:{lineno}"
    cell = [text.rstrip() for text in linecache.getlines(filename)]
    while cell and not cell[-1]:
        cell.pop()
    for chapter in sorted(Path.cwd().glob("*.md")):
        text = [row.rstrip() for row in chapter.read_text(encoding="utf8").splitlines()]
        for at in range(len(text) - len(cell) + 1):
            if cell and text[at : at + len(cell)] == cell:
                return f"{chapter.name}:{at + lineno}"
    return f"cell:{lineno}"
