"""The widget path: every control is moved, and the FigureWidget must equal the figure that the function returns.

Runs under ipywidgets 8 with plotly 7 and under Colab's set (ipywidgets 7.7.1, plotly 5.24.1); needs no fixtures, so
that Colab's environment can run this file alone.
"""

import random
import subprocess
import sys

import numpy as np
import plotly.graph_objects as go
import pytest
import torch

from lib.live import Choice, Seed, Slider, Toggle, live
from lib.live.widget import refresh


@live(
    rate=Slider(0, 1, 0.5, label="Growth rate", unit="per year"),
    scale=Slider(0.01, 10, 0.5, log=True, format=".3g"),
    seed=Seed(2),
    kind=Choice(("line", "bars", "both")),
    size=Choice((5, 8), label="Points"),
    marked=Toggle(True, label="Mark the threshold"),
)
def shapes(rate, scale, seed, kind, size, marked):
    """Traces, shapes and titles that come and go."""
    x = torch.arange(size, dtype=torch.float64)
    y = scale * torch.exp(rate * x) + seed
    figure = go.Figure()
    if kind != "bars":
        figure.add_scatter(x=x, y=y, name="line", line_color="red" if marked else None)
    if kind != "line":
        figure.add_bar(x=x, y=2 * y)
    if marked:
        figure.add_hline(y=float(scale), line_dash="dot", annotation_text="threshold")
        figure.update_layout(title=f"ends at {y[-1]:.3f}", yaxis_type="log")
    return figure


def same(a, b):
    """Whether two pieces of figures are equal, arrays by value."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)) and a and isinstance(a[0], dict):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b))
    if isinstance(a, (list, tuple, np.ndarray)):
        return np.array_equal(np.asarray(a), np.asarray(b))
    return a == b


def content(figure):
    """A figure as dicts, without what Plotly adds by itself."""
    parts = figure.to_plotly_json()
    data = [{key: value for key, value in trace.items() if key != "uid"} for trace in parts["data"]]
    layout = {key: value for key, value in parts["layout"].items() if key != "template"}
    return {"data": [without_empty(trace) for trace in data], "layout": without_empty(layout)}


def without_empty(parts):
    """FigureWidget keeps an empty shell of what was removed."""
    return {
        key: value for key, value in parts.items() if not (isinstance(value, (dict, list, tuple)) and len(value) == 0)
    }


def assert_shows(box, figure):
    values = {name: widget.value for name, widget in box.controls.items()}
    assert same(content(box.figure), content(figure(**values))), values
    assert box.say.value == ""


def settings(control):
    if control.kind in ("choice", "toggle"):
        return control.settings
    if control.kind == "seed":
        return (0, 7, control.largest)
    rng = random.Random(0)
    return [control.at(position) for position in (0, control.count, control.home, rng.randrange(control.count))]


def test_starts_at_the_defaults():
    box = shapes.widget()
    assert {name: widget.value for name, widget in box.controls.items()} == shapes.defaults
    assert_shows(box, shapes)


@pytest.mark.parametrize("name", list(shapes.controls))
def test_each_control_moves_the_figure(name):
    box = shapes.widget()
    for value in settings(shapes.controls[name]):
        box.controls[name].value = value
        assert box.controls[name].value == value
        assert_shows(box, shapes)


def test_traces_shapes_and_titles_come_and_go_in_any_order():
    box = shapes.widget()
    rng = random.Random(1)
    for _ in range(40):
        name = rng.choice(list(shapes.controls))
        box.controls[name].value = rng.choice(list(settings(shapes.controls[name])))
        assert_shows(box, shapes)


def test_reset_returns_to_the_defaults():
    box = shapes.widget()
    box.controls["kind"].value = "both"
    box.controls["scale"].value = 10.0
    box.reset.click()
    assert {name: widget.value for name, widget in box.controls.items()} == shapes.defaults
    assert_shows(box, shapes)


def test_new_draw_takes_the_next_seed():
    box = shapes.widget()
    row = next(
        child for child in box.children if getattr(child, "children", ()) and child.children[0] is box.controls["seed"]
    )
    row.children[1].click()
    assert box.controls["seed"].value == 3
    box.controls["seed"].value = Seed.largest
    row.children[1].click()
    assert box.controls["seed"].value == 0
    assert_shows(box, shapes)


@live(
    time=Slider(0, 4, 1, step=0.5, format=".1f", label="Time", play=True),
    scale=Slider(1, 100, 5, step=2, log=True, format=".3g", play=True),
    seed=Seed(2, button="Shake it"),
)
def playing(time, scale, seed):
    """A process in time."""
    return go.Figure().add_scatter(y=scale * torch.exp(-time * torch.arange(4)) + seed)


def player(box, name):
    """The Play button beside a slider, and its state under the name that this generation of ipywidgets has for it."""
    row = next(row for row in box.children if getattr(row, "children", ())[1:] == (box.controls[name],))
    return row.children[0], "playing" if row.children[0].has_trait("playing") else "_playing"


@pytest.mark.parametrize("name", ["time", "scale"])
def test_play_moves_its_slider_through_every_position(name):
    box = playing.widget()
    control, (button, _) = playing.controls[name], player(box, name)
    assert (button.min, button.max, button.step, button.value) == (0, control.count, 1, control.home)
    for position in range(control.count + 1):
        button.value = position
        assert box.controls[name].value == control.at(position)
        assert_shows(box, playing)


@pytest.mark.parametrize("name", ["time", "scale"])
def test_moving_the_slider_stops_play_where_it_is(name):
    box = playing.widget()
    control, (button, state) = playing.controls[name], player(box, name)
    setattr(button, state, True)
    button.value = control.count - 1
    assert getattr(button, state) and box.controls[name].value == control.at(control.count - 1)
    box.controls[name].value = control.at(1)
    assert not getattr(button, state) and button.value == 1
    box.reset.click()
    assert button.value == control.home and box.controls[name].value == control.value
    assert_shows(box, playing)


def test_between_positions_the_slider_stays_where_it_was_put():
    box = playing.widget()
    box.controls["time"].value = 1.2
    assert box.controls["time"].value == 1.2 and player(box, "time")[0].value == 2
    assert_shows(box, playing)


def test_play_draws_each_position_once_and_not_faster_than_twelve_a_second():
    asked = []

    @live(time=Slider(0, 4, 0, step=0.5, format=".1f", play=True))
    def counted(time):
        """Counts its calls."""
        asked.append(float(time))
        return go.Figure().add_scatter(y=[float(time)])

    box = counted.widget()
    button, _ = player(box, "time")
    asked.clear()
    for position in range(1, 9):
        button.value = position
    assert asked == [position / 2 for position in range(1, 9)]
    assert button.interval >= 83 and button.show_repeat is False


def test_a_seeds_button_has_its_text():
    texts = [row.children[1].description for row in playing.widget().children if hasattr(row, "children")][-1:]
    assert texts == ["Shake it"]


def test_an_error_keeps_the_last_figure_and_is_shown():
    @live(x=Slider(0, 1, 0.5))
    def fragile(x):
        """Fails at one end."""
        if float(x) == 1:
            raise ValueError("too <large>")
        return go.Figure().add_scatter(y=[float(x)])

    box = fragile.widget()
    box.controls["x"].value = 1.0
    assert "too &lt;large&gt;" in box.say.value
    assert box.figure.data[0].y == (0.5,)
    box.controls["x"].value = 0.25
    assert_shows(box, fragile)


def test_three_dimensional_and_table_traces():
    shown = go.FigureWidget(go.Figure(go.Heatmap(z=[[1, 2], [3, 4]])))
    for new in (
        go.Figure(go.Heatmap(z=[[5, 6], [7, 8]], zmin=0)),
        go.Figure(go.Surface(z=[[1, 2], [3, 4]])),
        go.Figure([go.Scatter(y=[1]), go.Scatter(y=[2])], layout={"annotations": [{"text": "a", "x": 0, "y": 0}]}),
        go.Figure(go.Scatter(y=[3])),
    ):
        refresh(shown, new)
        assert same(content(shown), content(new))


def test_shown_as_widget_in_a_notebook(monkeypatch):
    displayed = []
    monkeypatch.delenv("LIVE_PAGE", raising=False)
    monkeypatch.setattr("IPython.display.display", displayed.append)
    shapes._ipython_display_()
    assert displayed[0].figure.data[0].name == "line"


def test_colab_gets_its_widget_manager(monkeypatch):
    import types

    calls = []
    output = types.SimpleNamespace(enable_custom_widget_manager=lambda: calls.append("enabled"))
    monkeypatch.setitem(sys.modules, "google.colab", types.SimpleNamespace(output=output))
    monkeypatch.delenv("LIVE_PAGE", raising=False)
    monkeypatch.setattr("IPython.display.display", calls.append)
    shapes._ipython_display_()
    assert calls[0] == "enabled" and hasattr(calls[1], "figure")


def test_without_figurewidget_the_page_itself_is_shown(monkeypatch):
    @live(x=Slider(0, 1, 0.5))
    def plain_line(x):
        """A line."""
        return go.Figure().add_scatter(y=x * torch.arange(3))

    def unavailable(figure):
        raise ImportError("Please install anywidget to use the FigureWidget class")

    displayed = []
    monkeypatch.delenv("LIVE_PAGE", raising=False)
    monkeypatch.setattr("IPython.display.display", lambda shown, raw: displayed.append(shown))
    monkeypatch.setattr(go, "FigureWidget", unavailable)
    plain_line._ipython_display_()
    text = displayed[0]["text/html"]
    assert text.startswith("<iframe") and 'title="A line."' in text and "live-plain_line" in text


def test_the_widget_path_never_imports_the_tracer():
    code = (
        "import sys, plotly.graph_objects as go\n"
        "from lib.live import live, Slider, Seed, normal\n"
        "f = live(x=Slider(0, 1, 0.5), s=Seed())(lambda x, s: go.Figure().add_scatter(y=x * normal(s, 3)))\n"
        "f.widget().controls['x'].value = 0.75\n"
        "print({'lib.live.' + m for m in ('trace', 'tracing', 'bind', 'program', 'runtime')} & set(sys.modules))\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == "set()"
