"""The few icons of the theme instead of all of them.

The theme ships Font Awesome twice: 1.5 MB of script with every icon there is, and three fonts. A page of the book shows
about twenty icons. After the build this module removes the script and cuts the fonts down to the glyphs that the pages
and the theme's own style sheets name: 800 kB (compressed) less on every first visit.
"""

from __future__ import annotations

import io
import re
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

__all__ = ["glyphs", "setup", "shrink"]

_SCRIPT = re.compile(r"\s*<script src=\"[^\"]*scripts/fontawesome\.js[^\"]*\"></script>")
_CLASS = re.compile(r"\bfa-[a-z0-9-]+")
_RULE = re.compile(r"((?:\.fa-[a-z0-9-]+::?before,?)+)\{content:\"(\\[0-9a-f]+|[^\"\\])\"")
_CONTENT = re.compile(r"(?:--pst-icon-[a-z-]+|content):\s*[\"'](\\[0-9a-f]{4}|[\ue000-\uf8ff])[\"']")
_BY_SCRIPT = {"fa-xmark", "fa-check", "fa-copy"}  # set by the theme's scripts, in no page's text


def _code(text: str) -> int:
    return int(text[1:], 16) if text.startswith("\\") else ord(text)


def glyphs(site: Path) -> set[int]:
    """Code points of the icons that the built pages and style sheets use.

    Parameters
    ----------
    site : Path
        Folder of the built site.

    Returns
    -------
    set of int
    """
    used = set(_BY_SCRIPT)
    for page in site.rglob("*.html"):
        used |= set(_CLASS.findall(page.read_text(encoding="utf8")))
    points: set[int] = set()
    for sheet in (site / "_static").rglob("*.css"):
        text = sheet.read_text(encoding="utf8")
        for names, code in _RULE.findall(text):
            if used & set(_CLASS.findall(names)):
                points.add(_code(code))
        points |= {_code(code) for code in _CONTENT.findall(_RULE.sub("", text))}
    return points


def shrink(site: Path) -> int:
    """Remove the icon script from a built site and cut its icon fonts; returns the number of glyphs kept.

    Raises
    ------
    ExtensionError
        If the theme's fonts are not where they are expected: the icons would go missing unseen.
    """
    from fontTools import subset
    from fontTools.ttLib import TTFont

    fonts = site / "_static/vendor/fontawesome/webfonts"
    whole = sorted(fonts.glob("*.ttf"))
    marker = fonts / "glyphs.txt"
    points = glyphs(site)
    wanted = " ".join(f"{p:x}" for p in sorted(points))
    if not whole and not marker.is_file():
        raise ExtensionError(f"icons: the theme's fonts are not in {fonts.name}; was the theme updated?")
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf8")
        if "fontawesome.js" in text:
            page.write_text(_SCRIPT.sub("", text), encoding="utf8")
    for leftover in (site / "_static/scripts").glob("fontawesome.js*"):
        leftover.unlink()
    if marker.is_file() and marker.read_text(encoding="utf8") == wanted and not whole:
        return len(points)
    import pydata_sphinx_theme

    source = Path(pydata_sphinx_theme.__file__).parent / "theme/pydata_sphinx_theme/static/vendor/fontawesome/webfonts"
    for path in sorted(source.glob("*.ttf")):
        font = TTFont(path, recalcTimestamp=False)
        options = subset.Options(flavor="woff2", layout_features=[], notdef_outline=True, hinting=False)
        cutter = subset.Subsetter(options)
        cutter.populate(unicodes=points)
        cutter.subset(font)
        font.flavor = "woff2"
        out = io.BytesIO()
        font.save(out)
        (fonts / path.with_suffix(".woff2").name).write_bytes(out.getvalue())
    for path in whole:  # the fallback for browsers without woff2: there are none left
        path.unlink()
    marker.write_text(wanted, encoding="utf8")
    return len(points)


def _build_finished(app: Sphinx, exception) -> None:
    if exception is None and app.builder.format == "html":
        shrink(Path(app.outdir))


def setup(app: Sphinx) -> None:
    """Cut the icons down once the pages are written."""
    app.connect("build-finished", _build_finished, priority=400)  # before the archive is made
