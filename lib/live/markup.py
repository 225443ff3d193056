"""Small pieces of HTML that live figures and exercises share."""

from __future__ import annotations

import html
import json
import re

__all__ = ["inline_markup", "json_script"]


def inline_markup(text):
    """Escape text for HTML; backticks become code.

    Examples
    --------
    >>> inline_markup("a < b in `lib.leslie`")
    'a &lt; b in <code>lib.leslie</code>'
    """
    return re.sub(r"`+([^`]+)`+", r"<code>\1</code>", html.escape(text, quote=True))


def json_script(data):
    """JSON in a ``<script>`` element: compact, strict, and unable to close the element.

    Raises
    ------
    ValueError
        If a number is NaN or infinite, which JSON does not have.

    Examples
    --------
    >>> json_script({"text": "</script>"})
    '<script type="application/json">{"text":"<\\\\/script>"}</script>'
    """
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    text = text.replace("</", "<\\/").replace("<!--", "<\\u0021--")
    return f'<script type="application/json">{text}</script>'
