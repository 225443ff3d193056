"""The book's figure style: colours by role, never colour alone."""

import plotly.graph_objects as go
import pytest

from lib import figures


def test_roles_differ_by_more_than_colour():
    looks = {(role.mode, role.dash, role.symbol) for role in figures.ROLES.values()}
    assert len(looks) == len(figures.ROLES)
    assert len({role.color for role in figures.ROLES.values()}) == len(figures.ROLES)


def contrast(colour: str, background: float) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    light = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    high, low = max(light, background), min(light, background)
    return (high + 0.05) / (low + 0.05)


def test_ink_is_legible_on_light_and_dark_pages():
    assert contrast(figures.INK, 1.0) > 4.5
    assert contrast(figures.INK, 0.0) > 4.5


def test_a_figure_follows_the_theme_of_the_page():
    picture = figures.figure("Prey dies out", "day", "individuals (per 0.5 cm³)", yaxis_type="log")
    layout = picture.layout
    assert layout.title.text == "Prey dies out"
    assert (layout.xaxis.title.text, layout.yaxis.type) == ("day", "log")
    assert layout.template.layout.paper_bgcolor == "rgba(0,0,0,0)"
    assert layout.template.layout.font.color is None


@pytest.mark.parametrize("name", ["title", "x", "y"])
def test_a_figure_needs_words(name):
    words = {"title": "a", "x": "b", "y": "c", name: "  "}
    with pytest.raises(ValueError, match=f"{name} must be a text that is not empty"):
        figures.figure(**words)


@pytest.mark.parametrize("role", list(figures.ROLES))
def test_each_role_draws_a_trace(role):
    settings = getattr(figures, role)("seen", x=[0, 1], y=[1, 2], line={"width": 1}, marker={"size": 3})
    trace = go.Scatter(**settings)
    assert trace.name == "seen"
    part = trace.line if "lines" in trace.mode else trace.marker
    assert part.color == figures.ROLES[role].color
    assert getattr(figures, role)()["name"] == role
