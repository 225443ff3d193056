"""Start a chapter: ``python -m lib.site.scaffold PART SLUG`` (``make new PART=... SLUG=...``).

Writes the text in its fixed order, the module, the claims file and a test that fails until all is filled in, and adds
the chapter to ``_toc.yml``.
"""

from __future__ import annotations

import re
import sys
from importlib import resources
from pathlib import Path

from lib.site.layout import ROOT, Chapter, find_chapter

__all__ = ["add_to_contents", "files", "scaffold"]


def files(chapter: Chapter, root: Path = ROOT) -> dict[str, Path]:
    """The four files of a chapter, by the name of their template."""
    return {
        "chapter.md.in": chapter.source(root),
        "module.py.in": root / f"lib/{chapter.module}.py",
        "claims.yml.in": root / f"claims/{chapter.slug}.yml",
        "test_module.py.in": root / f"tests/test_{chapter.module}.py",
    }


def add_to_contents(text: str, chapter: Chapter, planned: list[str]) -> str:
    """The table of contents with the chapter added at its planned place of its part.

    Parameters
    ----------
    text : str
        ``_toc.yml`` as it stands; comments and order are kept.
    chapter : Chapter
    planned : list of str
        Document names of the part in their planned order.

    Raises
    ------
    ValueError
        If the part's own page is not in the table.
    """
    entry = f"      - file: {chapter.docname}\n"
    if entry in text:
        return text
    lines = text.splitlines(keepends=True)
    overview = f"      - file: book/back/part-{chapter.part}\n"
    if overview not in lines:
        raise ValueError(f"_toc.yml: has no entry {overview.strip()!r}, so the place of the part is not known")
    at = lines.index(overview) + 1
    earlier = planned[: planned.index(chapter.docname)]
    while at < len(lines) and not lines[at].startswith("  - caption:"):
        name = re.match(r"      - file: (\S+)", lines[at])
        if name and name[1] not in earlier:
            break
        at += 1
    return "".join([*lines[:at], entry, *lines[at:]])


def scaffold(part: str, slug: str, root: Path = ROOT) -> list[Path]:
    """Write the files of a new chapter.

    Parameters
    ----------
    part, slug : str
        A planned chapter of ``book/parts.yml``.
    root : Path
        Root of the repository.

    Returns
    -------
    list of Path
        The files written.

    Raises
    ------
    ValueError
        For an unknown part or slug, or where one of the files exists; nothing is written then.
    """
    from lib.site.layout import parts

    chapter = find_chapter(part, slug, root)
    targets = files(chapter, root)
    present = [str(path.relative_to(root)) for path in targets.values() if path.exists()]
    if present:
        raise ValueError(f"slug: {slug!r} has been started, {', '.join(present)} exists; nothing was written")
    contents = root / "_toc.yml"
    planned = [c.docname for p in parts(root) if p.name == part for c in p.chapters]
    table = add_to_contents(contents.read_text(encoding="utf-8"), chapter, planned)
    values = {name: getattr(chapter, name) for name in ("part", "slug", "title", "question", "module")}
    for template, path in targets.items():
        text = (resources.files("lib.site") / "templates" / template).read_text(encoding="utf-8")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(re.sub(r"@(part|slug|title|question|module)@", lambda m: values[m[1]], text), encoding="utf-8")
    contents.write_text(table, encoding="utf-8")
    return list(targets.values())


def main(arguments: list[str]) -> None:
    """Run from the command line."""
    if len(arguments) != 2 or not all(arguments):
        sys.exit("usage: make new PART=dynamics SLUG=small-gain-nash (parts and slugs: book/parts.yml)")
    try:
        written = scaffold(*arguments)
    except ValueError as error:
        sys.exit(str(error))
    print("Written:")
    for path in written:
        print(f"  {path.relative_to(ROOT)}")
    print("and one line in _toc.yml. The new test fails until everything is filled in; see CONTRIBUTING.md.")


if __name__ == "__main__":
    main(sys.argv[1:])
