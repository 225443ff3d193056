"""The one error of live figures, and where in the author's text it happened."""

from __future__ import annotations

import linecache
import traceback
from pathlib import Path

__all__ = ["NotLive", "author_line", "instead_of", "place_of"]

_OURS = str(Path(__file__).parent)


# what the page can run in place of an operation that it cannot
_INSTEAD = {
    "_linalg_svd": "take torch.linalg.eigh of a.mT @ a; ",
    "linalg_lstsq": "solve the normal equations, torch.linalg.solve(a.mT @ a, a.mT @ b); ",
    "linalg_pinv": "solve the normal equations, torch.linalg.solve(a.mT @ a, a.mT @ b); ",
    "linalg_qr": "take torch.linalg.cholesky of a.mT @ a; ",
    "avg_pool2d": "average the windows of x.unfold; ",
}


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


def instead_of(name: str) -> str:
    """What the page has in place of an ATen operation that it has not, as the start of a sentence, or ``""``."""
    if name.startswith("_foreach_"):
        return "pass foreach=False; "
    if name.startswith("bitwise_") or name.endswith("shift__"):
        return "use % and // for integers; "
    return _INSTEAD.get(name, "")


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
