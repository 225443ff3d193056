"""`live` and what it writes: calling, validation, variants, specs, the card's HTML, the lattice, the document."""

import base64
import inspect
import json
import re

import numpy as np
import plotly.graph_objects as go
import pytest
import torch

from lib.live import Choice, Seed, Slider, Toggle, live
from lib.live.grid import BUDGET, NOTE, axis
from lib.live.leaves import plain
from lib.live.page import document
from tests.live.page_figures import FIGURES, draws, growth, table


def line(**values):
    """A line through what it is given."""
    return go.Figure().add_scatter(y=[float(value) for value in values.values()])


def test_calling_uses_the_defaults_and_converts():
    seen = {}

    @live(x=Slider(0, 1, 0.5), s=Seed(4), c=Choice((2, 3)), t=Toggle(True))
    def figure(x, s, c, t):
        """What it received."""
        seen.update(x=x, s=s, c=c, t=t)
        return go.Figure()

    assert isinstance(figure(c=3), go.Figure)
    assert seen["c"] == 3 and seen["t"] is True
    for name, value in (("x", 0.5), ("s", 4)):
        assert seen[name].dtype == torch.float64 and seen[name].shape == () and float(seen[name]) == value
    assert figure.defaults == {"x": 0.5, "s": 4, "c": 2, "t": True}
    assert "figure(x=0.5, s=4" in repr(figure)
    given = torch.tensor(0.25, dtype=torch.float64, requires_grad=True)
    figure(x=given)
    assert seen["x"] is given


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (dict(rates=1), "no control named 'rates'"),
        (dict(rate=1.5), r"rate=1.5 is outside its slider's range \[-1, 1\]"),
        (dict(rate="fast"), "rate: the setting must be a number"),
        (dict(rate=torch.ones(2)), "rate: the setting must be one number"),
        (dict(rate=float("nan")), "rate: the setting must be finite"),
        (dict(log=1), "log=1 is not True or False"),
    ],
)
def test_bad_settings(values, words):
    with pytest.raises(ValueError, match=words):
        growth(**values)


def test_bad_choices_and_seeds():
    with pytest.raises(ValueError, match="size=5 is not one of its options"):
        draws(size=5)
    with pytest.raises(ValueError, match="not a seed"):
        draws(seed=0.5)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: live()(line), "at least one control"),
        (lambda: live(x=0.5), "x must be one of Slider, Choice, Seed, Toggle, got 0.5"),
        (lambda: live(x=Slider)(line), "x must be one of"),
        (lambda: live(grid=1, x=Seed()), "grid must be True or False"),
        (lambda: live(worker="never", x=Seed()), "worker must be"),
        (lambda: live(x=Seed())(lambda y: y), r"without a parameter: \['x'\], without a control: \['y'\]"),
        (lambda: live(x=Seed())(lambda x: x)(), "must return a plotly.graph_objects.Figure, got Tensor"),
        (lambda: live(x=Seed())(lambda x: go.Figure()).page(), "write a docstring"),
    ],
)
def test_bad_figures(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_there_is_one_variant_for_each_setting_of_choices_and_toggles():
    assert set(draws.spec()["variants"]) == {
        f"{size}|{shape}" for size in (4, 7) for shape in ("line", 'odd "<&> name')
    }
    assert set(growth.spec()["variants"]) == {"true", "false"}
    assert growth.spec()["first"] == "false"


@pytest.mark.parametrize("figure", FIGURES.values(), ids=FIGURES)
def test_specs_are_strict_json_and_bring_no_template(figure):
    spec = json.loads(json.dumps(figure.spec(), allow_nan=False))
    assert [row["name"] for row in spec["controls"]] == list(figure.controls)
    assert all("template" not in variant["template"]["layout"] for variant in spec["variants"].values())


def test_a_figure_too_large_for_a_page_is_refused():
    @live(x=Slider(0, 1, 0.5))
    def huge(x):
        """Baked random numbers."""
        noise = torch.randn(120_000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        return go.Figure().add_scatter(y=(noise * x)[:10], text=[f"{value:.9f}" for value in noise.tolist()])

    with pytest.raises(ValueError, match="characters for the page, at most"):
        huge.spec()


def test_the_card_escapes_what_authors_write():
    html = draws.page()
    assert '<option value="odd &quot;&lt;&amp;&gt; name">' in html
    assert "<&> name" not in re.sub(r"<script.*?</script>", "", html, flags=re.DOTALL)
    script = re.search(r'<script type="application/json">(.*?)</script>', html, re.DOTALL)[1]
    assert json.loads(script) == json.loads(json.dumps(draws.spec()))


def test_the_card_is_accessible_before_any_script_runs():
    html = growth.page()
    assert html.startswith('<figure class="live" id="live-growth" aria-labelledby="live-growth-caption"')
    for name in growth.controls:
        assert f'<label for="live-growth-{name}">' in html and f'id="live-growth-{name}"' in html
    assert 'aria-valuetext="0.30 per year"' in html
    assert html.count("live-still:") == 2 and html.count('alt="Ten years of growth. ends at') == 2
    assert "<fieldset disabled>" in html and "<noscript>" in html and 'href="live-colab:"' in html
    assert "<p>The <code>rate</code> is per year; what happens below zero?</p>" in html


def test_the_picture_has_another_name_when_the_figure_changes():
    names = {figure.page().split('data-still="')[1][:16] for figure in FIGURES.values()}
    assert len(names) == len(FIGURES)
    assert growth.page().split('data-still="')[1][:16] in names


def test_html_output_in_the_build(monkeypatch):
    shown = []
    monkeypatch.setenv("LIVE_PAGE", "1")
    monkeypatch.setattr("IPython.display.display", lambda bundle, raw: shown.append(bundle))
    growth._ipython_display_()
    assert set(shown[0]) == {"text/html", "text/plain"} and shown[0]["text/html"] == growth.page()


# -- the lattice -------------------------------------------------------------------------------------------------------
def test_the_default_lies_on_the_lattice():
    assert axis(Slider(0, 1, 0.3, ticks=5)) == [0.0, 0.3, 0.5, 0.75, 1.0]
    assert axis(Slider(0, 1, 0.5, ticks=3)) == [0.0, 0.5, 1.0]
    assert axis(Slider(0, 1, 0.4, ticks=2)) == [0.0, 0.4, 1.0]
    assert axis(Slider(1, 100, 10, log=True, ticks=3)) == [1.0, 10.0, 100.0]


def test_a_lattice_holds_the_figures_at_its_points():
    variant = table.spec()["variants"][""]
    rows = [row for row in variant["grid"]["out"] if "data" in row]
    (row,) = rows
    levels = np.frombuffer(base64.b64decode(row["data"]), "<u2").reshape(-1, *row["shape"])
    for angle, z in zip(variant["grid"]["axes"]["angle"], row["lo"] + levels * (row["hi"] - row["lo"]) / 65535):
        np.testing.assert_allclose(z, plain(table(angle=angle))["data"][0]["z"], atol=(row["hi"] - row["lo"]) / 65535)
    assert NOTE in table.page() and NOTE not in growth.page()


@pytest.mark.parametrize(
    ("controls", "make", "words"),
    [
        (dict(x=Slider(0, 1, 0.5), s=Seed()), None, "cannot have a Seed"),
        (dict(x=Choice((1, 2))), None, "needs a Slider"),
        (dict(x=Slider(0, 1, 0.5, ticks=100), y=Slider(0, 1, 0.5, ticks=100)), None, "the lattice has 10,000 settings"),
        (dict(x=Slider(0, 1, 0.5)), lambda x: go.Scatter(y=[float(x), float("nan") if x > 0.7 else 1.0]), "NaN"),
        (dict(x=Slider(0, 1, 0.5)), lambda x: go.Scatter(y=[float(x)] * (2 if x > 0.7 else 3)), "changes its shape"),
        (dict(x=Slider(0, 1, 0.5)), lambda x: [go.Scatter(y=[1, 2])] * (2 if x > 0.7 else 1), "must not change"),
        (dict(x=Slider(0, 1, 0.5, ticks=99)), lambda x: go.Scatter(y=x * torch.arange(2000)), f"at most {BUDGET:,}"),
    ],
)
def test_bad_lattices(controls, make, words):
    def figure(**values):
        """A figure."""
        return go.Figure(make(**values) if make else None)

    parameters = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in controls]
    figure.__signature__ = inspect.Signature(parameters)
    with pytest.raises(ValueError, match=words):
        live(grid=True, **controls)(figure).spec()


def test_a_lattice_drops_to_eight_bits_before_it_gives_up():
    @live(grid=True, x=Slider(0, 1, 0.5, ticks=50))
    def wide(x):
        """Many points."""
        return go.Figure().add_scatter(y=x * torch.arange(2000))

    assert wide.spec()["variants"][""]["grid"]["out"][0]["bits"] == 8


# -- the standalone document -------------------------------------------------------------------------------------------
def test_standalone_needs_no_other_file():
    html = document(growth)
    outside = re.sub(r"<script.*?</script>", "", html, flags=re.DOTALL)
    assert "src=" not in outside and "href=" not in outside and "live-still:" not in outside
    assert html == growth.standalone()
