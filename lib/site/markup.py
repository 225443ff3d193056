"""Split the text of a chapter (MyST Markdown) into blocks: directives, code, displayed formulas and running text."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from types import MappingProxyType

import yaml

__all__ = ["Block", "parse"]

FENCE = re.compile(r"^(?P<indent> *)(?P<fence>`{3,}|~{3,}|:{3,})(?P<rest>.*)$")
DIRECTIVE = re.compile(r"^\s*\{(?P<name>[^}\s]+)\}\s*(?P<argument>.*?)\s*$")
OPTION = re.compile(r"^:(?P<name>[A-Za-z][\w-]*):\s*(?P<value>.*)$")
MATH_END = re.compile(r"^(?P<body>.*?)\$\$\s*(?:\((?P<label>[^)\s]+)\))?\s*$", re.DOTALL)
AMSMATH = re.compile(r"^\\begin\{(?P<name>equation|align|gather|multline|alignat|eqnarray)(?P<star>\*?)\}")


@dataclass(frozen=True)
class Block:
    """A piece of a chapter's text.

    Attributes
    ----------
    kind : {"directive", "code", "math", "text"}
        What it is.
    body : str
        Its content: of a directive without options, of a formula without dollars, of code and text as it stands.
    line : int
        Line of the text it starts on, from 1.
    name, argument : str
        Of a directive.
    options : mapping of str to str or list
        Of a directive.
    label : str
        Of a formula or a directive (``:label:`` or ``:name:``).
    numbered : bool
        Whether a formula carries a number.
    body_line : int
        Line of the text the content of a directive starts on.
    indent : str
        Spaces before the block (inside a list).
    """

    kind: str
    body: str
    line: int
    name: str = ""
    argument: str = ""
    options: MappingProxyType = field(default_factory=lambda: MappingProxyType({}))
    label: str = ""
    numbered: bool = False
    body_line: int = 0
    indent: str = ""


def _options(lines):
    """Take the options off the head of a directive's content."""
    found, at = {}, 0
    if lines and lines[0].strip() == "---":
        end = next((i for i, line in enumerate(lines[1:], start=1) if line.strip() == "---"), len(lines) - 1)
        for name, value in (yaml.safe_load("\n".join(lines[1:end])) or {}).items():
            found[name] = value if isinstance(value, list) else str(value)
        return found, lines[end + 1 :]
    while at < len(lines) and (option := OPTION.match(lines[at].strip())):
        found[option["name"]] = option["value"].strip()
        at += 1
    return found, lines[at:]


def _unindent(lines, indent):
    return [line[len(indent) :] if line.startswith(indent) else line.lstrip() for line in lines]


def _fenced(lines, start, opening, first_line):
    """Read a fenced block; returns it and the index after it."""
    fence, indent = opening["fence"], opening["indent"]
    closing = re.compile(rf"^ {{0,{len(indent) + 3}}}{re.escape(fence[0])}{{{len(fence)},}}\s*$")
    end = start + 1
    while end < len(lines) and not closing.match(lines[end]):
        end += 1
    at = first_line + start
    if end == len(lines):
        raise ValueError(f"line {at}: the block opened by {fence}{opening['rest'].strip()} is never closed")
    content = _unindent(lines[start + 1 : end], indent)
    directive = DIRECTIVE.match(opening["rest"])
    if directive is None:
        body = "\n".join([fence + opening["rest"], *content, fence])
        return Block("code", body, at, indent=indent), end + 1
    height = len(content)
    options, content = _options(content)
    while content and not content[0].strip():
        content = content[1:]
    body_line = at + 1 + height - len(content)
    name = directive["name"]
    if name == "math" and directive["argument"]:
        content = [directive["argument"], *content]
    label = options.get("label", "") or options.get("name", "")
    block = Block(
        kind="math" if name == "math" else "directive",
        body="\n".join(content).strip("\n"),
        line=at,
        name=name,
        argument=directive["argument"],
        options=MappingProxyType(options),
        label=label,
        numbered=name == "math" and bool(label),
        body_line=body_line,
        indent=indent,
    )
    return block, end + 1


def _dollars(lines, start, first_line):
    """Read a formula between double dollars; returns it and the index after it."""
    indent = lines[start][: len(lines[start]) - len(lines[start].lstrip())]
    collected = lines[start].strip()[2:]
    end = start
    while not (closed := MATH_END.match(collected)):
        end += 1
        if end == len(lines):
            raise ValueError(f"line {first_line + start}: the formula opened by $$ is never closed")
        collected += "\n" + lines[end].strip()
    label = closed["label"] or ""
    block = Block("math", closed["body"].strip(), first_line + start, label=label, numbered=bool(label), indent=indent)
    return block, end + 1


def _environment(lines, start, first_line, opening):
    """Read a displayed LaTeX environment; returns it and the index after it."""
    closing = f"\\end{{{opening['name']}{opening['star']}}}"
    end = start
    while closing not in lines[end]:
        end += 1
        if end == len(lines):
            raise ValueError(f"line {first_line + start}: {lines[start]} is never ended")
    body = "\n".join(lines[start : end + 1])
    inner = {"equation": "", "align": "aligned", "gather": "gathered"}.get(opening["name"])
    if inner is not None:  # a form that may carry a \tag and stands between dollars
        body = body[len(opening[0]) : body.index(closing)].strip()
        body = f"\\begin{{{inner}}}\n{body}\n\\end{{{inner}}}" if inner else body
    return Block("math", body, first_line + start, numbered=not opening["star"]), end + 1


def parse(text, first_line=1):
    """Split text into blocks.

    Parameters
    ----------
    text : str
        MyST Markdown without front matter.
    first_line : int
        Line of the file the text starts on, for messages.

    Returns
    -------
    list of Block
        In order. Text blocks are single paragraphs (or runs of lines without an empty one).

    Raises
    ------
    ValueError
        If a fence or a formula is never closed.

    Examples
    --------
    >>> [block.kind for block in parse("One.\\n\\n$$x$$ (eq-x)\\n\\n```{note}\\nTwo.\\n```")]
    ['text', 'math', 'directive']
    """
    lines = text.split("\n")
    blocks, paragraph, at = [], [], 0

    def finish():
        if paragraph:
            blocks.append(Block("text", "\n".join(paragraph), first_line + at - len(paragraph)))
            paragraph.clear()

    while at < len(lines):
        line = lines[at]
        opening = FENCE.match(line)
        # CommonMark: what follows a fence of backticks holds none itself (else it is code in running text)
        if opening and not (opening["fence"][0] == "`" and "`" in opening["rest"]):
            finish()
            block, at = _fenced(lines, at, opening, first_line)
        elif line.lstrip().startswith("$$"):
            finish()
            block, at = _dollars(lines, at, first_line)
        elif environment := AMSMATH.match(line):
            finish()
            block, at = _environment(lines, at, first_line, environment)
        else:
            block = None
            if line.strip():
                paragraph.append(line)
                at += 1
            else:
                finish()
                at += 1
        if block is not None:
            blocks.append(block)
    finish()
    return blocks
