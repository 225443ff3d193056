"""Still pictures: drawn once, the same on every build, and clear errors when they cannot be."""

import xml.etree.ElementTree as ElementTree

import pytest

from lib.live import still
from tests.live.page_figures import FIGURES


def test_figures_are_found_in_a_page():
    body = FIGURES["growth"].page() + "<p>between</p>" + FIGURES["draws"].page()
    found = still.figures(body)
    assert [figure["name"] for figure in found.values()] == ["growth", "draws"]
    assert all(f"live-still:{name}:light" in body for name in found)
    assert still.figures("<figure class='plain'></figure>") == {}


def test_pictures_are_steady_well_formed_and_cached(tmp_path):
    figures = still.figures(FIGURES["growth"].page())
    first = still.draw(figures, tmp_path / "first")
    second = still.draw(figures, tmp_path / "second")
    assert [theme for _, theme in first] == ["light", "dark"]
    for place, path in first.items():
        text = path.read_text(encoding="utf8")
        assert text == second[place].read_text(encoding="utf8")
        assert ElementTree.fromstring(text).get("width") == "720"
        path.write_text("kept", encoding="utf8")
    assert all(path.read_text(encoding="utf8") == "kept" for path in still.draw(figures, tmp_path / "first").values())
    assert not list(tmp_path.rglob("*.partial"))


def test_a_plain_plotly_figure_can_be_drawn(tmp_path):
    figure = {"data": [{"type": "bar", "y": [1, 2]}], "layout": {"height": 300}}
    paths = still.draw({"0123456789abcdef": figure}, tmp_path)
    assert ElementTree.parse(paths["0123456789abcdef", "dark"]).getroot().get("height") == "300"


def test_missing_chromium_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("CHROMIUM", "no-such-browser")
    with pytest.raises(RuntimeError, match="need Chromium, and no-such-browser is not on the PATH"):
        still.draw({"0123456789abcdef": {"data": []}}, tmp_path)
    assert still.draw({}, tmp_path) == {}


def test_a_picture_that_cannot_be_drawn_is_named(tmp_path):
    spec = FIGURES["growth"].spec()
    with pytest.raises(RuntimeError, match=r"the still picture 0123456789abcdef \(light\) could not be drawn"):
        still.draw({"0123456789abcdef": {**spec, "first": "gone"}}, tmp_path)
    assert not list(tmp_path.glob("*.svg"))
