"""Where things stand in the repository, and the plan of the book (``book/parts.yml``)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml

__all__ = ["ROOT", "Chapter", "Part", "config", "find_chapter", "parts", "repository", "site_address"]

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Chapter:
    """One system of the plan, written or not.

    Attributes
    ----------
    part, slug : str
        Names of its folder and its file.
    title, question : str
        What stands on its card until the chapter speaks for itself.
    """

    part: str
    slug: str
    title: str
    question: str

    @property
    def docname(self) -> str:
        """Sphinx's name of the page, e.g. ``book/dynamics/leslie``."""
        return f"book/{self.part}/{self.slug}"

    @property
    def module(self) -> str:
        """Name that the scaffold gives the chapter's module in ``lib``: the slug with underscores."""
        return self.slug.replace("-", "_")

    def source(self, root: Path = ROOT) -> Path:
        """The text file of the chapter."""
        return Path(root) / f"{self.docname}.md"

    def is_written(self, root: Path = ROOT) -> bool:
        """Whether the chapter's text file exists."""
        return self.source(root).is_file()


@dataclass(frozen=True)
class Part:
    """A part of the book: its name (a folder), title, question and planned chapters."""

    name: str
    title: str
    question: str
    chapters: tuple[Chapter, ...]

    @property
    def docname(self) -> str:
        """Sphinx's name of the part's own page."""
        return f"book/back/part-{self.name}"


def parts(root: Path = ROOT) -> tuple[Part, ...]:
    """The plan of the book, in the order of the table of contents.

    Parameters
    ----------
    root : Path
        Root of the repository (or of a small book in a test).

    Returns
    -------
    tuple of Part
        Empty when the book has no plan.

    Examples
    --------
    >>> [part.name for part in parts()][:2]
    ['dynamics', 'geometry']
    """
    plan = Path(root) / "book/parts.yml"
    if not plan.is_file():
        return ()
    found = []
    for row in yaml.safe_load(plan.read_text(encoding="utf-8")):
        chapters = tuple(Chapter(row["part"], c["slug"], c["title"], c["question"]) for c in row["chapters"])
        found.append(Part(row["part"], row["title"], row["question"], chapters))
    return tuple(found)


def find_chapter(part: str, slug: str, root: Path = ROOT) -> Chapter:
    """The planned chapter of that part and slug.

    Raises
    ------
    ValueError
        For a part or slug that is not in the plan; the message lists what is.

    Examples
    --------
    >>> find_chapter("dynamics", "leslie").docname
    'book/dynamics/leslie'
    """
    plan = {p.name: p for p in parts(root)}
    if part not in plan:
        raise ValueError(f"part: {part!r} is not a part of the book; choose one of {', '.join(plan)}")
    chapters = {c.slug: c for c in plan[part].chapters}
    if slug not in chapters:
        raise ValueError(f"slug: {slug!r} is not planned in part {part!r}; choose one of {', '.join(chapters)}")
    return chapters[slug]


def config(root: Path = ROOT) -> dict:
    """``_config.yml`` as a dictionary."""
    return yaml.safe_load((Path(root) / "_config.yml").read_text(encoding="utf-8"))


def repository(root: Path = ROOT) -> tuple[str, str]:
    """Address and branch of the repository: the one setting every link to it is made from.

    Examples
    --------
    >>> repository()[1]
    'main'
    """
    settings = config(root)["repository"]
    return settings["url"].rstrip("/"), settings["branch"]


def site_address(root: Path = ROOT) -> str:
    """Public address of the built book, with a slash at its end."""
    return config(root)["html"]["baseurl"].rstrip("/") + "/"
