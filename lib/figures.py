"""How the book's figures look: one Plotly template, and one colour, dash and marker for each role.

Colours are Okabe and Ito's, and never carry meaning alone: each role has its own dash or marker as well. Backgrounds
are transparent and no text colour is set, so that figures follow the page's light or dark theme. Ink is a grey that
stands out on both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import plotly.graph_objects as go

from lib import checks

__all__ = [
    "BLUE",
    "DIVERGING",
    "GREEN",
    "INK",
    "PURPLE",
    "ROLES",
    "SEQUENTIAL",
    "TEMPLATE",
    "VERMILLION",
    "Role",
    "figure",
    "model",
    "observed",
    "paper",
    "rival",
    "theory",
]

INK = "#767676"
BLUE = "#0072B2"
VERMILLION = "#D55E00"
GREEN = "#009E73"
PURPLE = "#CC79A7"
SEQUENTIAL = "Cividis"
DIVERGING = "PuOr"


@dataclass(frozen=True)
class Role:
    """What a trace stands for, and how it is drawn."""

    name: str
    color: str
    mode: str
    dash: str = "solid"
    symbol: str = "circle"


ROLES: Mapping[str, Role] = {
    "observed": Role("observed", INK, "markers", symbol="circle-open"),
    "model": Role("model", BLUE, "lines"),
    "rival": Role("rival", VERMILLION, "lines", dash="dash"),
    "theory": Role("theory", GREEN, "lines", dash="dot"),
    "paper": Role("paper", PURPLE, "markers", symbol="diamond"),
}

TEMPLATE = go.layout.Template(
    layout={
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "colorway": [BLUE, VERMILLION, GREEN, PURPLE, "#E69F00", "#56B4E9"],
        "font": {"family": "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif", "size": 14},
        "title": {"x": 0, "xref": "paper", "xanchor": "left", "font": {"size": 16}},
        "margin": {"l": 64, "r": 16, "t": 56, "b": 56},
        "hovermode": "closest",
        "legend": {
            "orientation": "h",
            "x": 0,
            "y": 1,
            "xanchor": "left",
            "yanchor": "bottom",
            "bgcolor": "rgba(0,0,0,0)",
        },
        "colorscale": {"sequential": "Cividis", "diverging": "PuOr"},
        "xaxis": {"gridcolor": "rgba(128,128,128,0.22)", "zerolinecolor": "rgba(128,128,128,0.5)", "automargin": True},
        "yaxis": {"gridcolor": "rgba(128,128,128,0.22)", "zerolinecolor": "rgba(128,128,128,0.5)", "automargin": True},
    }
)


def figure(title: str, x: str, y: str, **layout) -> go.Figure:
    """An empty figure in the book's style.

    Parameters
    ----------
    title : str
        The finding in words: screen readers speak it after each move of a control.
    x, y : str
        Axis labels, written ``"quantity (unit)"``.
    **layout
        Further entries of Plotly's layout, in its underscore notation.

    Returns
    -------
    plotly.graph_objects.Figure

    Raises
    ------
    ValueError
        If the title or a label is empty.

    Examples
    --------
    >>> picture = figure("Growth", "day", "individuals (per 0.5 cm³)", yaxis_type="log")
    >>> picture.layout.yaxis.title.text
    'individuals (per 0.5 cm³)'
    """
    for name, text in (("title", title), ("x", x), ("y", y)):
        if not isinstance(text, str) or not text.strip():
            raise ValueError(f"{name} must be a text that is not empty, got {checks.describe(text)}")
    picture = go.Figure(layout={"template": TEMPLATE})
    picture.update_layout(title_text=title, xaxis_title_text=x, yaxis_title_text=y)
    return picture.update_layout(**layout)


def _trace(role: Role, name: str | None, settings: dict) -> dict:
    style = {"name": role.name if name is None else name, "mode": role.mode}
    if "lines" in role.mode:
        style["line"] = {"color": role.color, "dash": role.dash, "width": 2.5}
    else:
        edge = {"color": role.color, "width": 1.5}
        style["marker"] = {"color": role.color, "symbol": role.symbol, "size": 8, "line": edge}
    for key in ("line", "marker"):
        if isinstance(settings.get(key), dict):
            settings = {**settings, key: {**style.get(key, {}), **settings[key]}}
    return {**style, **settings}


def observed(name: str | None = None, **settings) -> dict:
    """Settings of a scatter trace that shows data: open ink markers.

    Parameters
    ----------
    name : str, optional
        The legend's text; the role's name by default.
    **settings
        Further settings of ``plotly.graph_objects.Scatter``; entries of ``line`` and ``marker`` are merged.

    Examples
    --------
    >>> observed("P. aurelia", x=[0, 1], y=[2, 14])["mode"]
    'markers'
    """
    return _trace(ROLES["observed"], name, settings)


def model(name: str | None = None, **settings) -> dict:
    """Settings of a scatter trace that shows our model: a solid blue line (see :func:`observed`).

    Examples
    --------
    >>> model("fit")["line"]["color"]
    '#0072B2'
    """
    return _trace(ROLES["model"], name, settings)


def rival(name: str | None = None, **settings) -> dict:
    """Settings of a scatter trace that shows a baseline: a dashed vermillion line (see :func:`observed`).

    Examples
    --------
    >>> rival()["line"]["dash"]
    'dash'
    """
    return _trace(ROLES["rival"], name, settings)


def theory(name: str | None = None, **settings) -> dict:
    """Settings of a scatter trace that shows a theorem or bound: a dotted green line (see :func:`observed`).

    Examples
    --------
    >>> theory()["line"]["dash"]
    'dot'
    """
    return _trace(ROLES["theory"], name, settings)


def paper(name: str | None = None, **settings) -> dict:
    """Settings of a scatter trace that shows the paper's number: a purple diamond (see :func:`observed`).

    Examples
    --------
    >>> paper()["marker"]["symbol"]
    'diamond'
    """
    return _trace(ROLES["paper"], name, settings)
