"""What the pages are made from, as one number: when it changes, chapters run again and pages are written again.

Sphinx looks only at the text files, and the execution cache only at the code cells. A change in ``lib``, in a claims
file, in a stored result, in the pins or in the plan of the book would be missed by both.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable
from pathlib import Path

from lib.site.layout import ROOT

__all__ = ["cache_folder", "digest", "execution_key", "page_key"]

KEPT_CACHES = 3
"""Number of execution caches that stay on disk, so that going back and forth between two states is quick."""

SUFFIXES = {".py", ".js", ".css", ".yml", ".yaml", ".json", ".csv", ".txt", ".md", ".toml", ".svg", ".npz", ".in"}


def files_below(folder: Path, without: Iterable[Path] = ()) -> list[Path]:
    """The source files below a folder, in a fixed order; a folder that is absent has none."""
    skip = tuple(without)
    return [
        path
        for path in sorted(Path(folder).rglob("*"))
        if path.suffix in SUFFIXES and path.is_file() and not any(path.is_relative_to(s) for s in skip)
    ]


def digest(paths: Iterable[Path], root: Path = ROOT) -> str:
    """SHA-256 over names and contents of files.

    Examples
    --------
    >>> digest([])[:8]
    'e3b0c442'
    """
    total = hashlib.sha256()
    for path in paths:
        name = path.relative_to(root) if path.is_relative_to(root) else path
        total.update(f"{name}\0".encode())
        total.update(path.read_bytes())
    return total.hexdigest()


def execution_key() -> str:
    """Everything a chapter's numbers can depend on besides its own cells."""
    # The Sphinx extension only shows results; the page's JavaScript and CSS are served, not run by the kernel.
    paths = [p for p in files_below(ROOT / "lib", without=[ROOT / "lib/site"]) if p.suffix not in {".js", ".css"}]
    paths += files_below(ROOT / "claims") + files_below(ROOT / "results") + [ROOT / "requirements.txt"]
    return digest(paths)


def page_key(source: Path) -> int:
    """Everything a page can depend on besides its own text, as the number Sphinx compares between two builds."""
    paths = files_below(ROOT / "lib") + files_below(ROOT / "claims") + files_below(ROOT / "results")
    paths += [ROOT / "requirements.txt"]
    paths += [p for p in (source / "_toc.yml", source / "book/parts.yml") if p.is_file()]
    return int(digest(paths)[:12], 16)


def cache_folder(build: Path) -> Path:
    """The execution cache that belongs to the present state; older ones beyond a few are removed."""
    base = Path(build) / ".jupyter_cache"
    folder = base / execution_key()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    folder.touch()
    by_age = sorted((p for p in base.iterdir() if p.is_dir()), key=lambda p: p.stat().st_mtime, reverse=True)
    for old in by_age[KEPT_CACHES:]:
        shutil.rmtree(old, ignore_errors=True)
    return folder
