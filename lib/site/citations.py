"""Citations as a notebook shows them: author and year in the text, a list of references at the end."""

from __future__ import annotations

import re
from pathlib import Path

from pybtex.database import parse_file

__all__ = ["Bibliography"]

ACCENTS = {"'": "\u0301", "`": "\u0300", '"': "\u0308", "^": "\u0302", "~": "\u0303", "=": "\u0304", "c": "\u0327"}

WHERE = ("journal", "booktitle", "publisher", "howpublished")


def _plain(text):
    """Turn BibTeX's braces and accents into plain text."""
    text = re.sub(r"\\(['`\"^~=c])\{?([A-Za-z])\}?", lambda hit: hit[2] + ACCENTS[hit[1]], text)
    text = text.replace("--", "–").replace("\\&", "&").replace("~", " ")
    return " ".join(text.replace("{", "").replace("}", "").split())


def _family(person):
    return _plain(" ".join(person.prelast_names + person.last_names))


def _people(entry):
    """The authors, of a volume without authors the editors."""
    return entry.persons.get("author") or entry.persons.get("editor") or []


class Bibliography:
    """The book's references.

    Parameters
    ----------
    path : path
        A BibTeX file. It may be absent; then every key is unknown.
    """

    def __init__(self, path):
        path = Path(path)
        self.path = path
        self.entries = dict(parse_file(str(path), bib_format="bibtex").entries) if path.is_file() else {}

    def _entry(self, key):
        if key not in self.entries:
            raise ValueError(f"citation key is {key!r}, which {self.path.name} does not have")
        return self.entries[key]

    def authors(self, key):
        """Names as a sentence uses them: one, two, or the first of many.

        Parameters
        ----------
        key : str
            BibTeX key.

        Returns
        -------
        str
            Such as ``"Gilman et al."``.
        """
        entry = self._entry(key)
        names = [_family(person) for person in _people(entry)] or [_plain(entry.fields.get("title", key))]
        if len(names) > 2:
            return f"{names[0]} et al."
        return " and ".join(names)

    def year(self, key):
        """Year of an entry, ``"n.d."`` without one."""
        return self._entry(key).fields.get("year", "n.d.")

    def parenthetical(self, keys):
        """Cite in parentheses: ``(Gause, 1934; Leslie, 1945)``."""
        return "(" + "; ".join(f"{self.authors(key)}, {self.year(key)}" for key in keys) + ")"

    def textual(self, keys):
        """Cite inside the sentence: ``Gause (1934) and Leslie (1945)``."""
        return " and ".join(f"{self.authors(key)} ({self.year(key)})" for key in keys)

    def reference(self, key):
        """One line of the list of references as Markdown.

        Parameters
        ----------
        key : str
            BibTeX key.

        Returns
        -------
        str
            Authors (year). Title. Where it appeared, and a link.
        """
        entry = self._entry(key)
        fields = {name.lower(): _plain(value) for name, value in entry.fields.items()}
        names = []
        for person in _people(entry):
            given = [_plain(name) for name in person.first_names + person.middle_names]
            initials = " ".join(f"{name[0]}." for name in given if name)
            names.append(f"{initials} {_family(person)}".strip())
        who = ", ".join(names) or fields.get("organization", "")
        where = next((fields[name] for name in WHERE if fields.get(name)), "")
        place = f"*{where}*" if where else ""
        if fields.get("volume"):
            place += f" {fields['volume']}"
        if fields.get("pages"):
            place += f", {fields['pages']}"
        link = ""
        if fields.get("doi"):
            link = f"[doi:{fields['doi']}](https://doi.org/{fields['doi']})"
        elif fields.get("eprint"):
            link = f"[arXiv:{fields['eprint']}](https://arxiv.org/abs/{fields['eprint']})"
        elif fields.get("url"):
            link = f"<{fields['url']}>"
        head = f"{who} ({self.year(key)})" if who else f"({self.year(key)})"
        return ". ".join(part for part in (head, fields.get("title", ""), place, link) if part) + "."
