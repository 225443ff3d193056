"""A live figure in Jupyter and Colab: ipywidgets around a Plotly ``FigureWidget``, recomputed by Python.

Works with ipywidgets 7.7 and 8 and with plotly 5.24 to 7, so only what both generations know is used.
"""

from __future__ import annotations

import html
import time

__all__ = ["build", "refresh"]

SMOOTH = 0.15  # seconds: a figure that takes longer follows a slider when it is let go, not while it moves
PACE = 1 / 12  # seconds between the moves of a slider that plays, at least
_STYLE = {"description_width": "initial"}


def build(live):
    """Controls and figure in one box.

    Parameters
    ----------
    live : lib.live.Live

    Returns
    -------
    ipywidgets.VBox
        With attributes ``controls`` (name to widget) and ``figure`` (the ``FigureWidget``).

    Raises
    ------
    ImportError
        If ipywidgets, or what Plotly's ``FigureWidget`` needs, is not installed.
    """
    import ipywidgets
    import plotly.graph_objects as go

    began = time.perf_counter()
    first = live()
    seconds = time.perf_counter() - began
    smooth = seconds < SMOOTH
    shown = go.FigureWidget(first)
    controls = {
        name: _MAKERS[control.kind](ipywidgets, name, control, smooth) for name, control in live.controls.items()
    }
    say = ipywidgets.HTML()
    busy = False

    def change(_=None):
        if busy:
            return
        try:
            refresh(shown, live(**{name: widget.value for name, widget in controls.items()}))
            say.value = ""
        except Exception as error:  # the figure keeps its last good state, and the reader sees why
            say.value = f"<p>This setting could not be shown: {html.escape(str(error))}</p>"

    def reset(_):
        nonlocal busy
        busy = True
        for name, widget in controls.items():
            widget.value = live.defaults[name]
        busy = False
        change()

    rows = []
    for name, widget in controls.items():
        widget.observe(change, "value")
        row = widget
        if live.controls[name].kind == "seed":
            draw = ipywidgets.Button(description=live.controls[name].button)
            draw.on_click(_next_draw(widget))
            row = ipywidgets.HBox([widget, draw])
        elif getattr(live.controls[name], "play", False):
            row = ipywidgets.HBox([_player(ipywidgets, live.controls[name], widget, seconds), widget])
        rows.append(row)
    again = ipywidgets.Button(description="Reset")
    again.on_click(reset)
    box = ipywidgets.VBox([*rows, again, shown, say])
    box.controls, box.figure, box.reset, box.say = controls, shown, again, say
    return box


def refresh(shown, new):
    """Make a ``FigureWidget`` equal to a new figure, in one message where the traces are of the same kinds.

    What the new figure does not have (a trace, a shape, an annotation, a title) disappears.

    Parameters
    ----------
    shown : plotly.graph_objects.FigureWidget
        Changed in place.
    new : plotly.graph_objects.Figure
    """
    with shown.batch_update():
        if [trace.type for trace in shown.data] == [trace.type for trace in new.data]:
            for old, trace in zip(shown.data, new.data):
                _overwrite(old, trace.to_plotly_json(), keep=("type", "uid"))
        _overwrite(shown.layout, new.layout.to_plotly_json(), keep=("template",))
    if [trace.type for trace in shown.data] != [trace.type for trace in new.data]:
        shown.data = ()
        shown.add_traces(new.data)


def _overwrite(old, new, keep):
    """Give a trace or layout the properties `new` and no others."""
    for key in set(old.to_plotly_json()) - set(new) - set(keep):
        old[key] = None
    for key, value in new.items():
        if key not in keep:
            old[key] = value


def _next_draw(widget):
    def step(_):
        widget.value = (widget.value + 1) % (widget.max + 1)

    return step


def _player(ipywidgets, control, slider, seconds):
    """A native Play button that moves a slider through its positions; moving the slider by hand stops it."""
    settings = [control.at(position) for position in range(control.count + 1)]

    def position():
        return min(range(len(settings)), key=lambda k: abs(settings[k] - slider.value))

    # Time for Python to answer twice over: the button in the browser does not wait for it.
    interval = round(1000 * max(PACE, 2 * seconds))
    player = ipywidgets.Play(value=position(), min=0, max=control.count, interval=interval, show_repeat=False)
    playing = "playing" if player.has_trait("playing") else "_playing"  # ipywidgets 8, 7

    def play(_):
        if position() != player.value:
            slider.value = settings[player.value]

    def follow(_):
        if position() != player.value:
            setattr(player, playing, False)
            player.value = position()

    player.observe(play, "value")
    slider.observe(follow, "value")
    return player


def _described(name, control):
    text = control.label or name.replace("_", " ")
    unit = getattr(control, "unit", "")
    return f"{text} ({unit})" if unit else text


def _slider(ipywidgets, name, control, smooth):
    common = {
        "description": _described(name, control),
        "continuous_update": smooth,
        "style": _STYLE,
        "layout": {"width": "32em"},
    }
    if control.log:
        # The positions of the page, with exact ends and default; FloatLogSlider would round them.
        settings = [control.at(position) for position in range(control.count + 1)]
        options = [(format(setting, control.format), setting) for setting in settings]
        return ipywidgets.SelectionSlider(options=options, value=control.value, **common)
    return ipywidgets.FloatSlider(
        value=control.value, min=control.lo, max=control.hi, step=control.step, readout_format=control.format, **common
    )


def _choice(ipywidgets, name, control, smooth):
    options = [(str(option), option) for option in control.options]
    return ipywidgets.Dropdown(
        options=options, value=control.value, description=_described(name, control), style=_STYLE
    )


def _toggle(ipywidgets, name, control, smooth):
    return ipywidgets.Checkbox(value=control.value, description=_described(name, control), style=_STYLE, indent=False)


def _seed(ipywidgets, name, control, smooth):
    return ipywidgets.BoundedIntText(
        value=control.value, min=0, max=control.largest, description=_described(name, control), style=_STYLE
    )


_MAKERS = {"slider": _slider, "choice": _choice, "toggle": _toggle, "seed": _seed}
