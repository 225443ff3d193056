"""The whole site as one archive, made at the end of every build and linked by the role ``{site-archive}``."""

from __future__ import annotations

import zipfile
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx

__all__ = ["NAME", "pack", "setup"]

NAME = "living-models-site.zip"
LEFT_OUT = {".buildinfo", "objects.inv", "sitemap.xml", NAME}
DATE = (2026, 1, 1, 0, 0, 0)  # a fixed date: the same pages give the same archive


def pack(site: Path) -> Path:
    """Write the archive into the site itself and return its path.

    Parameters
    ----------
    site : Path
        Folder of the built pages.
    """
    target = Path(site) / NAME
    partial = target.with_suffix(".part")
    with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for path in sorted(Path(site).rglob("*")):
            if not path.is_file() or path.name in LEFT_OUT or path == partial:
                continue
            entry = zipfile.ZipInfo(f"living-models/{path.relative_to(site).as_posix()}", DATE)
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, path.read_bytes())
    partial.replace(target)
    return target


def link(name, rawtext, text, lineno, inliner, options=None, content=None):
    """Role ``{site-archive}``: a link with the given words to the archive, relative to the page."""
    up = "../" * inliner.document.settings.env.docname.count("/")
    return [nodes.reference(rawtext, text, refuri=f"{up}{NAME}", internal=False, classes=["site-archive"])], []


def finished(app: Sphinx, exception: Exception | None) -> None:
    """Pack the site after a build that went well (event ``build-finished``)."""
    if exception is None and app.builder.format == "html":
        pack(Path(app.outdir))


def setup(app: Sphinx) -> None:
    """Register the role and the event."""
    app.add_role("site-archive", link)
    app.connect("build-finished", finished, priority=900)
