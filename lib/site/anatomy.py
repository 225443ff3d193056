"""The order and the measure of a chapter, checked on its text file.

A chapter opens with its question and a live figure, goes on through ten headings that are the same in every chapter,
and keeps to a length that one can read in a sitting.
``python -m lib.site.anatomy book/dynamics/leslie.md`` lists what is amiss.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path

import yaml

from lib.site.layout import ROOT

__all__ = [
    "CODE_LINES",
    "HEADINGS",
    "WORDS",
    "WORDS_ABOVE_FIGURE",
    "Cell",
    "code_cells",
    "faults",
    "prose_words",
    "visible_code_lines",
]

HEADINGS = (
    "Bet",
    "The claim",
    "The model in 20 lines",
    "Why it happens",
    "Experiments",
    "Paper and ours",
    "Scale it up",
    "Where it breaks",
    "Exercises",
    "Further",
)
"""Headings of the second level, after the question and the first live figure, which need none."""

WORDS = (900, 1500)
CODE_LINES = (60, 130)
WORDS_ABOVE_FIGURE = 60
EQUATIONS = 3
FIGURES = (3, 8)

FOLDED = {"hide-input", "hide-cell", "remove-input", "remove-cell"}
FENCE = re.compile(r"^(?P<mark>`{3,}|:{3,})(?P<info>.*)$")


@dataclass(frozen=True)
class Cell:
    """A code cell: its tags, its lines without options, and the line of the file where it starts."""

    tags: tuple[str, ...]
    lines: tuple[str, ...]
    start: int


def _blocks(text: str):
    """Split a chapter into ``(kind, start, lines)`` with kind ``prose``, ``heading`` or the info string of an
    outermost backtick fence.

    Colon fences (admonitions, proofs, exercises) hold prose and are looked into.
    """
    lines = text.split("\n")
    first = 0
    if lines and lines[0].strip() == "---":
        first = lines.index("---", 1) + 1
    i = first
    while i < len(lines):
        fence = FENCE.match(lines[i])
        if fence and fence["mark"][0] == "`":
            start = i
            closing = re.compile(rf"^`{{{len(fence['mark'])},}}\s*$")
            i += 1
            body = []
            while i < len(lines) and not closing.match(lines[i]):
                body.append(lines[i])
                i += 1
            yield fence["info"].strip(), start + 1, body
        elif fence:
            pass  # the fence of a note or an exercise: its text is prose
        elif lines[i].startswith("#"):
            yield "heading", i + 1, [lines[i]]
        else:
            yield "prose", i + 1, [lines[i]]
        i += 1


def code_cells(text: str) -> list[Cell]:
    """Code cells of a chapter in their order.

    Examples
    --------
    >>> code_cells("```{code-cell}\\n:tags: [hide-input]\\nx = 1\\n```")[0].tags
    ('hide-input',)
    """
    cells = []
    for kind, start, body in _blocks(text):
        if not kind.startswith("{code-cell}"):
            continue
        tags: tuple[str, ...] = ()
        rest = list(body)
        if rest and rest[0].strip() == "---":
            end = rest.index("---", 1)
            tags = tuple((yaml.safe_load("\n".join(rest[1:end])) or {}).get("tags", ()))
            rest = rest[end + 1 :]
        while rest and rest[0].startswith(":"):
            key, _, value = rest.pop(0)[1:].partition(":")
            if key == "tags":
                tags = tuple(yaml.safe_load(value))
        cells.append(Cell(tags, tuple(rest), start))
    return cells


def prose_words(text: str) -> int:
    """Number of words of the running text: no code, no formulas, no front matter, no labels.

    Examples
    --------
    >>> prose_words("# Title here\\n\\nTwo *words* $x + y$.\\n")
    2
    """
    return sum(len(_words(line)) for kind, _, lines in _blocks(text) if kind == "prose" for line in lines)


def _words(line: str) -> list[str]:
    """Words of a line of prose."""
    if re.fullmatch(r"\s*(\([\w-]+\)=|\{[.#][^}]*\}|:[\w-]+:.*)\s*", line):  # labels, attributes, options of directives
        return []
    line = re.sub(r"\$[^$]*\$", " ", line)
    line = re.sub(r"\{[\w:.-]+\}`([^`<]*)[^`]*`", r"\1", line)
    line = re.sub(r"\]\([^)]*\)", "]", line)
    return re.findall(r"[^\W\d_][\w'’-]*", line)


def visible_code_lines(text: str, root: Path = ROOT) -> int:
    """Lines of code a reader sees: cells that are not folded, and the listings included from ``lib``."""
    shown = sum(
        len([line for line in cell.lines if line.strip()])
        for cell in code_cells(text)
        if not FOLDED.intersection(cell.tags)
    )
    for kind, _, body in _blocks(text):
        if kind.startswith("{literalinclude}"):
            shown += _included_lines(kind, body)
    return shown


def _included_lines(kind: str, body: list[str]) -> int:
    """Lines of an included listing, from its ``:lines:`` or, for ``:pyobject:``, from the object's source."""
    options = dict(re.findall(r"^:([\w-]+):\s*(.*)$", "\n".join(body), flags=re.MULTILINE))
    path = (ROOT / "book/part" / kind.split("}", 1)[1].strip()).resolve()
    source = path.read_text(encoding="utf-8").split("\n") if path.is_file() else []
    if "pyobject" in options:
        import ast

        name = options["pyobject"].split(".")[-1]
        for node in ast.walk(ast.parse("\n".join(source))):
            if getattr(node, "name", None) == name:
                return node.end_lineno - node.lineno + 1
        return 0
    if "lines" in options:
        total = 0
        for piece in options["lines"].split(","):
            low, _, high = piece.partition("-")
            total += (int(high) if high else (int(low) if "-" not in piece else len(source))) - int(low) + 1
        return total
    return len(source)


def faults(path: Path) -> list[str]:
    """What keeps a text file from being a finished chapter.

    Parameters
    ----------
    path : Path
        The chapter.

    Returns
    -------
    list of str
        One sentence per fault, empty for a finished chapter.
    """
    text = Path(path).read_text(encoding="utf-8")
    found: list[str] = []
    blocks = list(_blocks(text))
    headings = [(start, line) for kind, start, lines in blocks if kind == "heading" for line in lines]
    second = [line[3:].strip() for _, line in headings if line.startswith("## ")]
    if [line for _, line in headings if line.startswith("# ")] != [line for _, line in headings[:1]]:
        found.append("the chapter needs exactly one title (# ...), before every other heading")
    if tuple(second) != HEADINGS:
        found.append(f"headings must be, in this order: {', '.join(HEADINGS)}; found: {', '.join(second)}")
    found += _opening_faults(text, headings)
    words, lines = prose_words(text), visible_code_lines(text)
    if not WORDS[0] <= words <= WORDS[1]:
        found.append(f"the text has {words} words; {WORDS[0]} to {WORDS[1]} are wanted")
    if not CODE_LINES[0] <= lines <= CODE_LINES[1]:
        found.append(f"{lines} lines of code are visible; {CODE_LINES[0]} to {CODE_LINES[1]} are wanted")
    why = _section(text, "Why it happens")
    equations = len(re.findall(r"^\$\$", _without_folded(why), flags=re.MULTILINE)) / 2 + why.count("```{math}")
    if equations > EQUATIONS:
        found.append(f"'Why it happens' displays {equations:.0f} equations; at most {EQUATIONS} are wanted")
    if "claims.table(" not in _section(text, "Paper and ours"):
        found.append("'Paper and ours' must show claims.table(...)")
    if "{cite" not in text:
        found.append("the chapter cites nothing")
    if "TODO" in text or "FILL IN" in text:
        found.append("something is still to be filled in")
    return found


def _opening_faults(text: str, headings: list[tuple[int, str]]) -> list[str]:
    """Faults of question, first figure and what stands above it."""
    found = []
    lines = text.split("\n")
    marks = [i for i, line in enumerate(lines) if line.strip() == "{.question}"]
    if len(marks) != 1 or marks[0] + 2 >= len(lines) or lines[marks[0] + 2].strip():
        found.append("the question must stand once, in one line below {.question}, with a blank line after it")
    bet = next((start for start, line in headings if line == "## Bet"), len(lines))
    live = [cell for cell in code_cells(text) if any(line.strip().startswith("@live") for line in cell.lines)]
    if not live or live[0].start > bet:
        found.append("a live figure (@live) must stand above the heading 'Bet'")
        return found
    above = prose_words("\n".join(lines[: code_cells(text)[0].start - 1]))
    if above > WORDS_ABOVE_FIGURE:
        found.append(f"{above} words stand above the first figure; at most {WORDS_ABOVE_FIGURE} are wanted")
    if "Bet(" not in _section(text, "Bet"):
        found.append("'Bet' must ask the reader to commit to an answer (lib.exercises.Bet)")
    return found


def _section(text: str, heading: str) -> str:
    """Text below a heading of the second level."""
    match = re.search(rf"^## {re.escape(heading)}\s*$(.*?)(?=^## |\Z)", text, flags=re.MULTILINE | re.DOTALL)
    return match[1] if match else ""


def _without_folded(text: str) -> str:
    """Text without admonitions that are folded (class ``dropdown``) or dropdowns."""
    return re.sub(
        r"^(:{3,}|`{4,})\{(dropdown|admonition|prf:proof)\}.*?^\1\s*$", "", text, flags=re.MULTILINE | re.DOTALL
    )


if __name__ == "__main__":
    complaints = [f"{name}: {fault}" for name in sys.argv[1:] for fault in faults(Path(name))]
    sys.exit("\n".join(complaints))
