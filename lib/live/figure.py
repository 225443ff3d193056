"""`live`: turn a figure function (torch in, Plotly figure out) into a figure that is live everywhere.

On the static page (the build sets ``LIVE_PAGE=1``) the figure shows itself as HTML with a recorded program; in Jupyter
and Colab as ipywidgets around a Plotly ``FigureWidget`` that Python recomputes; in the tests it is simply called.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import json
import os
import sys

import plotly.graph_objects as go
import torch

from lib.live.controls import CONTROLS

__all__ = ["Live", "live"]

LARGEST_SPEC = 1_000_000  # characters; more is nearly always random data baked into the figure


def live(grid=False, worker="auto", **controls):
    """Decorate a figure function with controls.

    The function's docstring is the caption (and the figure's accessible name); every parameter is a control; it returns
    one ``plotly.graph_objects.Figure``. Put the finding in the figure's title: the page reads it out when it changes.

    Parameters
    ----------
    grid : bool
        Compute the figure at build time on a lattice of settings and interpolate on the page. For models that are too
        heavy for a browser, with at most two sliders.
    worker : {"auto", True, False}
        Whether the page computes off the main thread: always, never, or when a move takes longer than a frame.
    **controls : Slider, Choice, Seed or Toggle
        One for each parameter of the function. Sliders and seeds arrive as 0-dim float64 tensors.

    Returns
    -------
    callable
        The decorator, which makes a `Live`.

    Raises
    ------
    ValueError
        If a control is of another type, or controls and parameters do not match.

    Examples
    --------
    >>> import plotly.graph_objects as go
    >>> import torch
    >>> from lib.live import Slider, live
    >>> @live(rate=Slider(0, 1, 0.5, label="Growth rate", unit="per year"))
    ... def growth(rate):
    ...     "Ten years of growth."
    ...     return go.Figure().add_scatter(y=torch.exp(rate * torch.arange(10)))
    >>> growth.defaults
    {'rate': 0.5}
    >>> len(growth(rate=0.2).data[0].y)
    10
    """
    if not isinstance(grid, bool):
        raise ValueError(f"live: grid must be True or False, got {grid!r}")
    if worker not in ("auto", True, False):
        raise ValueError(f"live: worker must be 'auto', True or False, got {worker!r}")
    if not controls:
        raise ValueError("live: give at least one control, as in @live(K=Slider(0, 4, 1.5))")
    for name, control in controls.items():
        if not isinstance(control, CONTROLS):
            kinds = ", ".join(kind.__name__ for kind in CONTROLS)
            raise ValueError(f"live: {name} must be one of {kinds}, got {control!r}")
    return lambda function: Live(function, controls, grid=grid, worker=worker)


class Live:
    """A figure function with controls: call it for one figure, show it for the interactive one.

    Made by `live`, which has the parameters.
    """

    def __init__(self, function, controls, *, grid=False, worker="auto"):
        parameters = inspect.signature(function).parameters
        needed = {name for name, parameter in parameters.items() if parameter.default is parameter.empty}
        unknown, missing = [name for name in controls if name not in parameters], sorted(needed - set(controls))
        if unknown or missing:
            raise ValueError(
                f"live: the controls of {function.__name__} must be its parameters; "
                f"without a parameter: {unknown}, without a control: {missing}"
            )
        functools.update_wrapper(self, function)
        self.function = function
        self.controls = dict(controls)
        self.grid = grid
        self.worker = worker
        self._spec = None

    @property
    def name(self):
        """Name of the figure; on the page it is the element ``live-NAME``."""
        return self.function.__name__

    @property
    def caption(self):
        """The docstring: caption and accessible name."""
        text = inspect.getdoc(self.function)
        if not text:
            raise ValueError(
                f"{self.name}: write a docstring, it is the figure's caption and its name for screen readers"
            )
        return text

    @property
    def defaults(self):
        """Default setting of every control."""
        return {name: control.value for name, control in self.controls.items()}

    def __repr__(self):
        settings = ", ".join(f"{name}={value!r}" for name, value in self.defaults.items())
        return f"<live figure {self.name}({settings})>"

    def __call__(self, **values):
        """Compute one figure; controls that are not given have their defaults.

        Raises
        ------
        ValueError
            If a name is not a control, or a value is outside its range or options.
        """
        for name in values:
            if name not in self.controls:
                raise ValueError(f"{self.name}: no control named {name!r}; there are {list(self.controls)}")
        arguments = {}
        for name, value in (self.defaults | values).items():
            control = self.controls[name]
            value = control.check(name, value)
            if control.kind in ("slider", "seed"):
                value = torch.as_tensor(value, dtype=torch.float64)
            arguments[name] = value
        figure = self.function(**arguments)
        if not isinstance(figure, go.Figure):
            raise ValueError(f"{self.name}: must return a plotly.graph_objects.Figure, got {type(figure).__name__}")
        return figure

    # -- the page ----------------------------------------------------------------------------------------------------
    def variants(self):
        """Settings of all choices and toggles: the page holds one program for each."""
        fixed = {name: control.settings for name, control in self.controls.items() if hasattr(control, "settings")}
        return [dict(zip(fixed, settings)) for settings in itertools.product(*fixed.values())]

    @staticmethod
    def key(chosen):
        """Name of one variant, ``"64|true"``."""
        return "|".join(str(value).lower() if isinstance(value, bool) else str(value) for value in chosen.values())

    def spec(self):
        """What the page needs to be live: controls, figure templates and programs, as JSON-able dicts.

        Raises
        ------
        lib.live.NotLive
            If the page could not follow the function; the message names the line and the way out.
        ValueError
            If the result is too large for a page.
        """
        if self._spec is None:
            spec = {
                "name": self.name,
                "first": self.key({name: self.defaults[name] for name in self.variants()[0]}),
                "controls": [control.spec(name) for name, control in self.controls.items()],
                "variants": {self.key(chosen): self._compile(chosen) for chosen in self.variants()},
            }
            if self.worker != "auto":
                spec["worker"] = self.worker
            size = len(json.dumps(spec))
            if size > LARGEST_SPEC:
                raise ValueError(
                    f"{self.name}: {size:,} characters for the page, at most {LARGEST_SPEC:,}: draw random numbers "
                    "with lib.live.uniform or normal, show fewer points, or offer fewer options"
                )
            self._spec = spec
        return self._spec

    def _compile(self, chosen):
        if self.grid:
            from lib.live.grid import tabulate

            variant = tabulate(self, chosen)
        else:
            from lib.live.bind import compile_figure

            variant = compile_figure(self.function, self.controls, chosen)
        # Plotly's default look is 7 kB; the page has the book's own.
        variant["template"].get("layout", {}).pop("template", None)
        return variant

    def page(self):
        """The figure as HTML for the static page."""
        from lib.live.page import figure_html

        return figure_html(self)

    def standalone(self):
        """The figure as one self-contained HTML document: runtime and Plotly inside, no request to anywhere."""
        from lib.live.page import document

        return document(self)

    # -- Jupyter and Colab -------------------------------------------------------------------------------------------
    def widget(self):
        """Controls and figure as ipywidgets, recomputed by Python.

        Raises
        ------
        ImportError
            If ipywidgets, or what Plotly's ``FigureWidget`` needs, is not installed.
        """
        from lib.live.widget import build

        return build(self)

    def _ipython_display_(self):
        from IPython.display import display

        if os.environ.get("LIVE_PAGE"):
            display({"text/html": self.page(), "text/plain": repr(self)}, raw=True)
            return
        if "google.colab" in sys.modules:
            from google.colab import output

            output.enable_custom_widget_manager()
        try:
            display(self.widget())
        except ImportError:
            # No FigureWidget here: the page's own figure needs nothing but the browser.
            from lib.live.page import frame

            display({"text/html": frame(self), "text/plain": repr(self)}, raw=True)
