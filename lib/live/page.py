"""A live figure as HTML: a card with native controls, a still picture, the finding in words, and the page's program.

The markup works in three steps. Without JavaScript it shows the still picture and says how to get the live one. The
runtime then draws the same figure, switches the controls on, and keeps the finding, the table and the address in step.
"""

from __future__ import annotations

import hashlib
import html
import json
import re
from functools import lru_cache
from importlib.metadata import version
from importlib.resources import files

from lib.live import runtime
from lib.live.grid import NOTE
from lib.live.markup import inline_markup, json_script

__all__ = ["controls_html", "document", "figure_html", "frame", "still_name"]

COLAB_LINK = '<a href="live-colab:">run this chapter in Colab</a>'  # the site's build fills in the address
HEIGHT = 320  # pixels, when the figure does not say


def plain_title(figure):
    """The title of a Plotly figure (as dicts) without markup: the finding in words."""
    title = figure.get("layout", {}).get("title") or {}
    text = title if isinstance(title, str) else title.get("text") or ""
    return " ".join(re.sub(r"<[^>]*>", " ", text).split())


@lru_cache(maxsize=1)
def _look():
    """What a still picture depends on beside its figure: the runtime that draws it."""
    parts = [version("plotly"), (files("lib.live") / "runtime" / "figure.js").read_text(encoding="utf8")]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def still_name(figure):
    """Name of a figure's still picture: changes when the figure (as dicts) or the way it is drawn changes."""
    text = json.dumps(figure, sort_keys=True) + _look()
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def figure_html(live):
    """The card of a live figure.

    Parameters
    ----------
    live : lib.live.Live

    Returns
    -------
    str
        A ``<figure class="live" id="live-NAME">``.
    """
    from lib.live.leaves import plain

    default = plain(live())
    default.get("layout", {}).pop("template", None)
    layout = default.get("layout", {})
    name, title = still_name(default), plain_title(default)
    height = round(layout.get("height") or HEIGHT)
    paragraphs = [" ".join(part.split()) for part in live.caption.split("\n\n")]
    if live.grid:
        paragraphs.append(NOTE)
    owner = f"live-{live.name}"
    alt = html.escape(f"{paragraphs[0]} {title}".strip(), quote=True)
    pictures = "".join(
        f'<img class="only-{theme}" src="live-still:{name}:{theme}" alt="{alt}" width="720" height="{height}">'
        for theme in ("light", "dark")
    )
    caption = "".join(f"<p>{inline_markup(paragraph)}</p>" for paragraph in paragraphs)
    return f"""<figure class="live" id="{owner}" aria-labelledby="{owner}-caption" data-still="{name}">
<p class="live-title" aria-hidden="true">{html.escape(title)}</p>
<div class="live-stage" style="--live-height:{height}px">
<progress class="live-progress" max="1" value="0" aria-label="Computing"></progress>
<div class="live-plot">{pictures}</div>
</div>
<form class="live-form" autocomplete="off">
<fieldset disabled><legend class="live-hidden">Controls</legend>
{controls_html(live)}
</fieldset>
</form>
<p class="live-say" role="status"></p>
<noscript><p class="live-note">This is a still picture. Turn on JavaScript to move the controls, or
{COLAB_LINK}.</p></noscript>
<figcaption id="{owner}-caption">{caption}</figcaption>
<div class="live-foot">
<button type="button" data-do="reset" disabled>Reset</button>
<button type="button" data-do="share" disabled>Copy link</button>
</div>
<details class="live-numbers"><summary>Numbers in this figure</summary>
<button type="button" data-do="csv" disabled>Download CSV</button>
<div class="live-scroll" tabindex="0" role="region" aria-label="Numbers in this figure"><table></table></div>
</details>
{json_script(live.spec())}
</figure>"""


def controls_html(live):
    """One row per control."""
    return "\n".join(_ROWS[control.kind](live, name, control) for name, control in live.controls.items())


def _slider(live, name, control):
    if control.log:
        low, high, step, value = 0, control.count, 1, control.home
    else:
        low, high, step, value = control.lo, control.hi, control.step, control.value
    shown = format(control.value, control.format)
    unit = f' <span class="live-unit">{html.escape(control.unit)}</span>' if control.unit else ""
    spoken = html.escape(f"{shown} {control.unit}".strip(), quote=True)
    owner = f"live-{live.name}-{name}"
    track = (
        f'<input type="range" id="{owner}" name="{name}" min="{_decimal(low)}" max="{_decimal(high)}" '
        f'step="{_decimal(step)}" value="{_decimal(value)}" aria-valuetext="{spoken}">'
    )
    if control.play:
        button = f'<button type="button" data-play="{name}" aria-label="Play {_label(name, control)}"></button>'
        track = f'<span class="live-play">{button}{track}</span>'
    return (
        f'<div class="live-control"><label for="{owner}">{_label(name, control)}</label>'
        f'<span class="live-value"><output for="{owner}" aria-live="off">{shown}</output>{unit}</span>{track}</div>'
    )


def _choice(live, name, control):
    owner = f"live-{live.name}-{name}"
    options = "".join(
        f'<option value="{html.escape(str(option), quote=True)}"{" selected" if option == control.value else ""}>'
        f"{html.escape(str(option))}</option>"
        for option in control.options
    )
    return (
        f'<div class="live-control"><label for="{owner}">{_label(name, control)}</label>'
        f'<select id="{owner}" name="{name}">{options}</select></div>'
    )


def _toggle(live, name, control):
    owner = f"live-{live.name}-{name}"
    return (
        f'<div class="live-control live-toggle"><input type="checkbox" id="{owner}" name="{name}"'
        f'{" checked" if control.value else ""}><label for="{owner}">{_label(name, control)}</label></div>'
    )


def _seed(live, name, control):
    owner = f"live-{live.name}-{name}"
    return (
        f'<div class="live-control"><label for="{owner}">{_label(name, control)}</label>'
        f'<span class="live-draw"><input type="number" id="{owner}" name="{name}" inputmode="numeric" '
        f'min="0" max="{control.largest}" step="1" value="{control.value}">'
        f'<button type="button" data-draw="{name}">{html.escape(control.button)}</button></span></div>'
    )


_ROWS = {"slider": _slider, "choice": _choice, "toggle": _toggle, "seed": _seed}


def _label(name, control):
    return html.escape(control.label or name.replace("_", " "))


def _decimal(number):
    """A number for an HTML attribute: 4 for 4.0, 0.05 for 0.05."""
    return f"{number:.12g}"


def document(live):
    """The figure as one HTML document that needs no other file and makes no request.

    Parameters
    ----------
    live : lib.live.Live

    Returns
    -------
    str
        About 5 MB: Plotly is inside.
    """
    plotly = (files("plotly") / "package_data" / "plotly.min.js").read_text(encoding="utf8")
    card = re.sub(r"<img [^>]*>", "", figure_html(live))
    card = card.replace(COLAB_LINK, "run its chapter in Colab")
    scripts = "".join(f"<script>{_script(text)}</script>" for text in (plotly, runtime.source(minify=False)))
    return (
        f'<!doctype html><html lang="en" data-theme="light"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{html.escape(live.name)}</title>'
        f"<style>body{{margin:0;font-family:system-ui,sans-serif}}{runtime.css()}</style></head>"
        f"<body>{card}{scripts}</body></html>"
    )


def _script(text):
    """A classic script that may stand between script tags."""
    return re.sub(r"</(?=script)", r"<\\/", text, flags=re.IGNORECASE)


def frame(live):
    """The standalone document inside an ``<iframe>``, for a notebook's output cell."""
    rows = (len(live.controls) + 1) // 2
    height = 360 + HEIGHT + 70 * rows
    title = html.escape(live.caption.split("\n")[0], quote=True)
    return (
        f'<iframe title="{title}" style="width:100%;height:{height}px;border:0" '
        f'srcdoc="{html.escape(document(live), quote=True)}"></iframe>'
    )
