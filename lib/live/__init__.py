"""Figures that are live everywhere: on the static page, in Jupyter, in Colab and in the tests.

Names are loaded on first use, so ``import lib.live`` costs nothing and a notebook that only shows widgets never
imports the tracer.

Examples
--------
>>> from lib.live import Slider
>>> Slider(0, 4, 1.5, label="Coupling").step
0.05
"""

from importlib import import_module

_HOME = {
    "Choice": "controls",
    "Live": "figure",
    "NotLive": "errors",
    "Seed": "controls",
    "Slider": "controls",
    "Toggle": "controls",
    "live": "figure",
    "normal": "random",
    "uniform": "random",
}

__all__ = ["Choice", "Live", "NotLive", "Seed", "Slider", "Toggle", "live", "normal", "uniform"]


def __getattr__(name):
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__():
    return sorted(__all__)
