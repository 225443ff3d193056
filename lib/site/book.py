"""What a chapter may refer to: addresses, titles and labels of the other pages, terms, references, macros."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from lib.site.citations import Bibliography
from lib.site.reexports import home

__all__ = ["Book", "front_matter"]

FRONT = re.compile(r"\A---\n(.*?)\n---\n", re.DOTALL)


def front_matter(text):
    """Split a page into its settings and its text.

    Parameters
    ----------
    text : str
        Content of a ``.md`` file.

    Returns
    -------
    settings : dict
    body : str
    first_line : int
        Line of the file the body starts on.

    Examples
    --------
    >>> front_matter("---\\na: 1\\n---\\n# Title")
    ({'a': 1}, '# Title', 4)
    """
    head = FRONT.match(text)
    if head is None:
        return {}, text, 1
    return yaml.safe_load(head[1]) or {}, text[head.end() :], head[0].count("\n") + 1


class Book:
    """The book as its chapters see it.

    Parameters
    ----------
    root : path
        Root of the repository, with ``_config.yml`` and ``book/``.
    """

    def __init__(self, root):
        self.root = Path(root)
        config = yaml.safe_load((self.root / "_config.yml").read_text(encoding="utf-8"))
        repository = config["repository"]
        self.title = config.get("title", "the book")
        self.repository = repository["url"].rstrip("/")
        self.branch = repository.get("branch", "main")
        self.site = config.get("html", {}).get("baseurl", "").rstrip("/") + "/"
        sphinx = config.get("sphinx", {}).get("config", {})
        self.macros = sphinx.get("mathjax3_config", {}).get("tex", {}).get("macros", {})
        files = config.get("bibtex_bibfiles") or ["book/references.bib"]
        self.bibliography = Bibliography(self.root / files[0])
        self.titles, self.labels, self.terms = {}, {}, {}
        self.passing_on = set()
        for path in sorted((self.root / "book").rglob("*.md")):
            self._read(path)

    def _read(self, path):
        docname = path.relative_to(self.root).with_suffix("").as_posix()
        text = path.read_text(encoding="utf-8")
        heading = re.search(r"^# +(.+?)\s*$", text, re.MULTILINE)
        self.titles[docname] = heading[1] if heading else docname
        for label in re.finditer(r"^\(([^()\s]+)\)=\s*\n+(?:#+ +(.+?)\s*$)?", text, re.MULTILINE):
            self.labels[label[1]] = (docname, label[2] or self.titles[docname])
        for label in re.finditer(r"^:(?:label|name): *(\S+)\s*$|^\$\$ *\(([^)\s]+)\)\s*$", text, re.MULTILINE):
            self.labels[label[1] or label[2]] = (docname, self.titles[docname])
        self.passing_on.update(re.findall(r"automodule:: (\S+)\n   :members:\n   :ignore-module-all:", text))
        for glossary in re.finditer(r"^(`{3,}|:{3,})\{glossary\}\n(.*?)^\1\s*$", text, re.MULTILINE | re.DOTALL):
            for term in re.findall(r"^(?![:\s])(.+?)\s*$", glossary[2], re.MULTILINE):
                self.terms[term.lower()] = term

    def described(self, name):
        """Name under which the API page describes a function: its home where its module only passes it on."""
        return home(name) if name.rpartition(".")[0] in self.passing_on else name

    def page(self, docname):
        """Public address of a page."""
        return f"{self.site}{docname}.html"

    def source(self, path, raw=False):
        """Address of a file in the repository; ``raw`` is the file itself, as pictures need it."""
        if raw:
            address = self.repository.replace("https://github.com/", "https://raw.githubusercontent.com/")
            return f"{address}/{self.branch}/{path}"
        return f"{self.repository}/blob/{self.branch}/{path}"

    def expand_macros(self, formula):
        """Write out the book's own TeX commands, which other renderers do not know.

        Parameters
        ----------
        formula : str
            TeX.

        Returns
        -------
        str
            TeX without the macros of ``_config.yml``.

        Raises
        ------
        ValueError
            If the formula uses a macro with arguments.
        """
        for name, meaning in self.macros.items():
            used = re.compile(rf"\\{name}(?![A-Za-z])")
            if not used.search(formula):
                continue
            if not isinstance(meaning, str):
                raise ValueError(f"formula uses the macro \\{name} with arguments; write it out: {formula!r}")
            formula = used.sub(lambda _, meaning=meaning: meaning, formula)
        return formula
