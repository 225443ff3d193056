"""Links that lead out of the book: [source] beside documented functions and "Open in Colab" on chapters."""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path
from typing import Any

from lib.site.layout import ROOT, config, parts

__all__ = ["add_header_buttons", "colab_address", "linkcode_resolver", "strip_thebe"]


THEBE_SETTINGS = re.compile(
    r'<script type="text/x-thebe-config">.*?</script>\s*(<script>\s*kernelName = .*?</script>\s*)?', re.DOTALL
)


def linkcode_resolver(url: str, branch: str):
    """Make the function Sphinx asks for the source line of an object.

    Parameters
    ----------
    url, branch : str
        Address and branch of the repository.
    """

    def resolve(domain: str, info: dict[str, str]) -> str | None:
        if domain != "py":
            return None
        found = sys.modules.get(info["module"])
        for name in info["fullname"].split("."):
            found = getattr(found, name, None)
        try:
            found = inspect.unwrap(found)
            lines, first = inspect.getsourcelines(found)
            path = Path(inspect.getsourcefile(found)).resolve().relative_to(ROOT)
        except (TypeError, OSError, ValueError):  # constants, attributes, objects made in C
            return None
        return f"{url}/blob/{branch}/{path.as_posix()}#L{first}-L{first + len(lines) - 1}"

    return resolve


def colab_address(url: str, branch: str, docname: str) -> str:
    """Where Colab opens the generated notebook of a chapter.

    Examples
    --------
    >>> colab_address("https://github.com/a/b", "main", "book/dynamics/leslie")
    'https://colab.research.google.com/github/a/b/blob/main/book/notebooks/dynamics/leslie.ipynb'
    """
    owner_and_name = url.split("github.com/", 1)[-1].strip("/")
    inside = docname.removeprefix("book/")
    return f"https://colab.research.google.com/github/{owner_and_name}/blob/{branch}/book/notebooks/{inside}.ipynb"


def add_header_buttons(app, pagename: str, templatename: str, context: dict[str, Any], doctree) -> None:
    """Put "Open in Colab" on every written chapter (event ``html-page-context``)."""
    chapters = {chapter.docname for part in parts(app.srcdir) for chapter in part.chapters}
    if pagename not in chapters:
        return
    settings = config(app.srcdir)["repository"]
    button = {
        "type": "link",
        "url": colab_address(settings["url"].rstrip("/"), settings["branch"], pagename),
        "text": "Open in Colab",
        "tooltip": "Run this chapter on a GPU in Google Colab",
        "icon": "fas fa-play",
        "label": "open-in-colab",
    }
    context.setdefault("header_buttons", []).insert(0, button)


def strip_thebe(app, pagename: str, templatename: str, context: dict[str, Any], doctree) -> None:
    """Take Thebe's scripts off the page (event ``html-page-context``).

    Jupyter Book 1 loads its stub on every page, twice, which is a page error; the book's figures need no kernel.
    """
    if "body" in context:
        context["body"] = THEBE_SETTINGS.sub("", context["body"])
    context["script_files"] = [
        file
        for file in context.get("script_files", [])
        if "thebe" not in f"{getattr(file, 'filename', file)}{getattr(file, 'attributes', {}).get('body', '')}".lower()
    ]
    context["css_files"] = [
        file for file in context.get("css_files", []) if "thebe" not in str(getattr(file, "filename", file))
    ]
