"""Lower a chapter's MyST to the Markdown that Jupyter and Colab understand.

Theorems, exercises and figures keep their numbers, which are counted on each page alone (`lib.site.numbering` makes
Sphinx do the same). What has no counterpart is refused, with the line of the chapter, so that nothing is lost silently.
"""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from types import SimpleNamespace

from sphinx.directives.code import LiteralIncludeReader

from lib.site.markup import parse

__all__ = ["GLUED", "Lowering"]

GLUED = re.compile("\ue000([^\ue001]*)\ue001")
"""A place for a glued value, until the paragraph has become a cell."""

THEOREMS = (
    "theorem", "lemma", "definition", "remark", "conjecture", "corollary", "algorithm", "criterion", "example",
    "property", "observation", "proposition", "assumption", "notation", "axiom",
)  # fmt: skip
ADMONITIONS = ("note", "tip", "hint", "important", "warning", "caution", "danger", "error", "attention", "seealso")
PLAIN = ("grid", "tab-set", "div", "epigraph", "container")
TITLED = ("card", "grid-item", "grid-item-card", "tab-item", "margin", "sidebar", "topic")
DROPPED = ("toctree", "contents", "tableofcontents", "index", "raw")

INLINE = re.compile(
    r"\{(?P<role>[A-Za-z][\w:.+-]*)\}(?P<ticks>`+)(?P<content>.+?)(?P=ticks)(?!`)"
    r"|(?P<code>(?P<fence>`+)(?!`).+?(?<!`)(?P=fence)(?!`))"
    r"|(?P<formula>(?<![\\$])\$(?![\s$])(?:[^$\\]|\\.)+?\$)"
    r"|(?P<image>!)?\[(?P<words>[^\]\[]*)\]\((?P<target>[^)\s]+)\)",
    re.DOTALL,
)
EXPLICIT = re.compile(r"^(?P<words>.*?)\s*<(?P<target>[^<>]+)>$", re.DOTALL)


class Lowering:
    """One chapter's way from MyST to Markdown.

    Parameters
    ----------
    book : lib.site.notebooks.Book
        What the chapter may refer to: other pages, terms, references, addresses.
    docname : str
        The chapter, e.g. ``book/dynamics/leslie``.
    numbers : dict of str to str, optional
        What references to labels of this chapter read, from a first pass (see `labels`).
    """

    def __init__(self, book, docname, numbers=None):
        self.book = book
        self.docname = docname
        self.numbers = numbers
        self.labels = {}
        self.counts = Counter()
        self.cited = []
        self.listed = False

    def fail(self, line, message):
        """Refuse the chapter, naming the line."""
        raise ValueError(f"{self.docname}.md, line {line}: {message}")

    def text(self, source, line):
        """Lower text with all its blocks.

        Parameters
        ----------
        source : str
            MyST.
        line : int
            Line of the chapter it starts on.

        Returns
        -------
        str
            Markdown.
        """
        try:
            blocks = parse(source, line)
        except ValueError as error:
            raise ValueError(f"{self.docname}.md, {error}") from None
        return "\n\n".join(filter(None, (self.block(block) for block in blocks)))

    def block(self, block):
        """Lower one block; empty for what a notebook does not show."""
        if block.kind == "code":
            lowered = block.body
        elif block.kind == "math":
            lowered = self._formula(block)
        elif block.kind == "directive":
            lowered = self._directive(block)
        else:
            lowered = self._paragraph(block)
        return "\n".join(block.indent + row if row else row for row in lowered.split("\n")) if block.indent else lowered

    # -- blocks

    def _paragraph(self, block):
        rows = []
        for row in block.body.split("\n"):
            target = re.fullmatch(r"\(([^()\s]+)\)=", row.strip())
            attributes = re.fullmatch(r"\{[.#][^}]*\}", row.strip())
            if not (target or attributes or row.startswith(("%", "+++"))):
                rows.append(row)
        return self.inline("\n".join(rows), block.line)

    def _number(self, kind, label, words):
        self.counts[kind] += 1
        written = words.format(self.counts[kind])
        if label:
            self.labels[label] = written
        return written

    def _formula(self, block):
        body = self.book.expand_macros(block.body)
        body = re.sub(r"\\(begin|end)\{(align|gather)\*?\}", r"\\\1{\2ed}", body)
        if "\\\\" in body and "\\begin{" not in body:
            body = f"\\begin{{aligned}}\n{body}\n\\end{{aligned}}"
        if block.numbered:
            number = self._number("equation", block.label, "({})")
            body += f" \\tag{{{number[1:-1]}}}"
        return f"$$\n{body}\n$$"

    def _directive(self, block):
        name = block.name
        if name in DROPPED:
            return ""
        if name.startswith("prf:") and name[4:] in THEOREMS:
            return self._theorem(block, name[4:])
        handler = getattr(self, "_on_" + re.sub(r"[^a-z]", "_", name), None)
        if handler is not None:
            return handler(block)
        if name in ADMONITIONS:
            title = "See also" if name == "seealso" else name.capitalize()
            return self._quote(f"**{title}.**", self._inside(block, with_argument=True))
        if name in PLAIN:
            return self._inside(block)
        if name in TITLED:
            title = f"**{self.inline(block.argument, block.line)}**\n\n" if block.argument else ""
            return title + self._inside(block)
        return self.fail(block.line, f"the directive {{{name}}} has no form in a notebook")

    def _inside(self, block, with_argument=False):
        source = f"{block.argument}\n{block.body}".strip() if with_argument and block.argument else block.body
        return self.text(source, block.body_line)

    @staticmethod
    def _quote(head, body, separate=False):
        # A list, table, formula or listing must start on a line of its own.
        separate = separate or bool(re.match(r"[|`$>*#<-]|\d+\.", body))
        written = head + ("\n\n" if separate else " ") + body if body else head
        return "\n".join(f"> {row}".rstrip() for row in written.split("\n"))

    def _theorem(self, block, kind):
        title = f" ({self.inline(block.argument, block.line)})" if block.argument else ""
        plain = kind.capitalize()
        head = plain if "nonumber" in block.options else self._number(kind, block.label, f"{plain} {{}}")
        if "nonumber" in block.options and block.label:
            self.labels[block.label] = plain
        return self._quote(f"**{head}**{title}", self._inside(block), separate=True)

    def _on_prf_proof(self, block):
        body = self._inside(block, with_argument=True)
        end = "\n\n∎" if body.endswith(("$$", "`", ">")) else " ∎"
        return self._quote("*Proof.*", body + end)

    def _on_exercise(self, block):
        title = f" ({self.inline(block.argument, block.line)})" if block.argument else ""
        head = "Exercise" if "nonumber" in block.options else self._number("exercise", block.label, "Exercise {}")
        return self._quote(f"**{head}**{title}", self._inside(block), separate=True)

    def _on_exercise_start(self, block):
        title = f" ({self.inline(block.argument, block.line)})" if block.argument else ""
        head = self._number("exercise", block.label, "Exercise {}")
        return f"---\n\n**{head}**{title}\n\n{self._inside(block)}".rstrip()

    def _on_exercise_end(self, block):
        return "---"

    def _on_solution(self, block):
        return self._fold(f"Solution to {self._resolve(block.argument, block.line)}", self._inside(block))

    def _on_solution_start(self, block):
        return f"---\n\n**Solution to {self._resolve(block.argument, block.line)}**\n\n{self._inside(block)}".rstrip()

    def _on_solution_end(self, block):
        return "---"

    def _on_dropdown(self, block):
        return self._fold(self.inline(block.argument, block.line) or "More", self._inside(block))

    _on_toggle = _on_dropdown

    @staticmethod
    def _fold(summary, body):
        # Inside <summary> Markdown is not read: formulas stay, emphasis and code are written as HTML.
        summary = re.sub(r"`([^`]+)`", r"<code>\1</code>", summary)
        summary = re.sub(r"\*([^*]+)\*", r"<em>\1</em>", summary)
        return f"<details>\n<summary>{summary}</summary>\n\n{body}\n\n</details>"

    def _on_admonition(self, block):
        if "dropdown" in str(block.options.get("class", "")):
            return self._on_dropdown(block)
        return self._quote(f"**{self.inline(block.argument, block.line)}**", self._inside(block), separate=True)

    def _on_figure(self, block):
        caption = self._inside(block)
        image = f"![{block.options.get('alt', '')}]({self._file(block.argument, raw=True)})"
        if not caption:
            return image
        number = self._number("figure", block.label, "Figure {}")
        return f"{image}\n\n**{number}.** {caption}"

    def _on_image(self, block):
        return f"![{block.options.get('alt', '')}]({self._file(block.argument, raw=True)})"

    def _on_table(self, block):
        number = self._number("table", block.label, "Table {}")
        return f"**{number}.** {self.inline(block.argument, block.line)}\n\n{self._inside(block)}"

    def _on_code_block(self, block):
        return f"```{block.argument}\n{block.body}\n```"

    _on_code = _on_code_block

    def _on_literalinclude(self, block):
        path = posixpath.normpath(posixpath.join(posixpath.dirname(self.docname), block.argument))
        if block.argument.startswith("/"):
            path = block.argument.lstrip("/")
        options = {name: value for name, value in block.options.items() if name not in ("language", "caption", "name")}
        flags = {"linenos", "lineno-match", "force"}
        options = {name: value for name, value in options.items() if name not in flags}
        if "dedent" in options:
            options["dedent"] = int(options["dedent"]) if options["dedent"] else None
        reader = LiteralIncludeReader(str(self.book.root / path), options, SimpleNamespace(source_encoding="utf-8"))
        try:
            listing, _ = reader.read()
        except (OSError, ValueError) as error:
            self.fail(block.line, f"{{literalinclude}} of {block.argument}: {error}")
        language = block.options.get("language", "python" if path.endswith(".py") else "")
        return f"From [`{path}`]({self.book.source(path)}):\n\n```{language}\n{listing.rstrip()}\n```"

    def _on_bibliography(self, block):
        self.listed = True
        return self.references()

    def _on_glue(self, block):
        return f"\ue000{block.argument}\ue001"

    _on_glue_figure = _on_glue_text = _on_glue_md = _on_glue_any = _on_glue

    def references(self):
        """List what the chapter cites, in the order of first citation."""
        return "\n".join(f"- {self.book.bibliography.reference(key)}" for key in self.cited)

    # -- inline

    def inline(self, text, line):
        """Lower roles, links and macros of running text.

        Parameters
        ----------
        text : str
            MyST without blocks.
        line : int
            Line of the chapter, for messages.

        Returns
        -------
        str
            Markdown.
        """

        def lower(found):
            if found["role"]:
                return self._role(found["role"], " ".join(found["content"].split()), line)
            if found["code"]:
                return found["code"]
            if found["formula"]:
                return self.book.expand_macros(found["formula"])
            return self._link(found, line)

        text = INLINE.sub(lower, text)
        return re.sub(r"(?<=[\]`*])\{[.#][^}\n]*\}", "", text)

    def _role(self, role, content, line):
        explicit = EXPLICIT.match(content)
        words = explicit["words"] if explicit else ""
        target = explicit["target"] if explicit else content
        if role.startswith("cite"):
            return self._cite(role, target, line)
        if role.startswith("glue"):
            return f"\ue000{target}\ue001"
        if role in ("ref", "numref", "prf:ref", "eq"):
            return self._reference(role, words, target, line)
        if role == "math":
            return f"${self.book.expand_macros(content)}$"
        if role == "term":
            return self._term(words or target, target, line)
        if role == "doc":
            return self._page(words, target, line)
        if role.startswith("py:"):
            shown = words or (target.lstrip("~").rsplit(".", 1)[-1] if target.startswith("~") else target)
            return f"[`{shown}`]({self.book.page('book/back/api')}#{self.book.described(target.lstrip('~'))})"
        if role in ("sub", "sup", "kbd"):
            return f"<{role}>{content}</{role}>"
        if role == "abbr":
            short = re.fullmatch(r"(.*?)\s*\((.*)\)", content)
            return f"{short[1]} ({short[2]})" if short else content
        if role in ("download", "file"):
            return f"[{words or target}]({self._file(target)})"
        return self.fail(line, f"the role {{{role}}} has no form in a notebook")

    def _cite(self, role, target, line):
        keys = [key.strip() for key in target.split(",")]
        self.cited += [key for key in keys if key not in self.cited]
        try:
            textual = role in ("cite:t", "cite:ct", "cite:ts")
            return self.book.bibliography.textual(keys) if textual else self.book.bibliography.parenthetical(keys)
        except ValueError as error:
            return self.fail(line, str(error))

    def _resolve(self, label, line):
        if self.numbers is None:  # first pass: later labels are not known yet
            return ""
        if label in self.numbers:
            return self.numbers[label]
        return self.fail(line, f"nothing on this page is labelled {label!r}")

    def _reference(self, role, words, target, line):
        if self.numbers is None:
            return ""
        if target in self.numbers:
            written = self.numbers[target]
            if words and role == "numref":
                return words.replace("%s", written.split()[-1]).replace("{number}", written.split()[-1])
            return words or written
        if target in self.book.labels:
            docname, heading = self.book.labels[target]
            return f"[{words or heading}]({self.book.page(docname)}#{target})"
        return self.fail(line, f"no label {target!r} in the book")

    def _term(self, words, target, line):
        term = self.book.terms.get(target.lower())
        if term is None:
            return self.fail(line, f"the glossary has no term {target!r}")
        anchor = "term-" + re.sub(r"[^A-Za-z0-9._-]+", "-", term).strip("-")
        return f"[{words}]({self.book.page('book/back/glossary')}#{anchor})"

    def _page(self, words, target, line):
        folder = posixpath.dirname(self.docname)
        docname = target.lstrip("/") if target.startswith("/") else posixpath.normpath(posixpath.join(folder, target))
        if docname not in self.book.titles:
            return self.fail(line, f"the book has no page {docname!r}")
        return f"[{words or self.book.titles[docname]}]({self.book.page(docname)})"

    def _link(self, found, line):
        target, words = found["target"], found["words"]
        if found["image"]:
            return f"![{words}]({self._file(target, raw=True)})"
        words = self.inline(words, line)
        if re.match(r"[a-z][a-z+.-]*:", target):
            return f"[{words}]({target})"
        if target.startswith("#"):
            return self._reference("ref", words, target[1:], line)
        path, _, anchor = target.partition("#")
        if path.endswith(".md"):
            link = self._page(words, path.removesuffix(".md"), line)
            return f"{link[:-1]}#{anchor})" if anchor else link
        return f"[{words}]({self._file(path)})"

    def _file(self, path, raw=False):
        if re.match(r"[a-z]+:", path):
            return path
        folder = posixpath.dirname(self.docname)
        path = path.lstrip("/") if path.startswith("/") else posixpath.normpath(posixpath.join(folder, path))
        return self.book.source(path, raw=raw)
