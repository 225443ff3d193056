"""The figures and questions of the page that the tests of this folder open."""

import math

import plotly.graph_objects as go
import torch

from lib.exercises import Bet, Number, Pick
from lib.live import Choice, Seed, Slider, Toggle, live, uniform

__all__ = ["FIGURES", "QUESTIONS"]


@live(
    rate=Slider(-1, 1, 0.3, label="Growth rate", unit="per year"),
    scale=Slider(0.01, 10, 0.5, log=True, format=".4g", label="Start"),
    log=Toggle(False, label="Logarithmic axis"),
)
def growth(rate, scale, log):
    """Ten years of growth.

    The `rate` is per year; what happens below zero?
    """
    time = torch.arange(11, dtype=torch.float64)
    count = scale * torch.exp(rate * time)
    layout = {"title": f"ends at {count[-1]:.3f} & more", "xaxis_title": "time (year)", "yaxis_title": "count, all (1)"}
    figure = go.Figure(layout=layout).add_scatter(x=time, y=count, name="model", line_color="#0072B2")
    figure.add_scatter(y=count / 2, name="half", mode="markers", marker_color="#767676")
    return figure.update_yaxes(type="log" if log else "linear")


@live(seed=Seed(3), size=Choice((4, 7), label="Points"), shape=Choice(("line", 'odd "<&> name'), label="Shape"))
def draws(seed, size, shape):
    """Random draws."""
    y = uniform(seed, size)
    trace = go.Scatter(y=y, name=shape) if shape == "line" else go.Bar(y=y)
    return go.Figure(trace, layout={"title": f"mean {y.mean():.3f}"})


@live(angle=Slider(0, 3, 1, label="Angle", step=0.1, format=".1f", ticks=4, play=True), grid=True)
def table(angle):
    """A map computed in advance."""
    x = torch.linspace(0, 1, 6, dtype=torch.float64)
    z = torch.cos(angle + 6 * x[:, None]) * x
    return go.Figure(go.Heatmap(z=z, x=x, zmin=-1, zmax=1), layout={"title": f"corner {z[-1, -1]:.2f}"})


@live(bend=Slider(0, 1, 0.5, label="Bend"), lift=Slider(0, 1, 0.25, label="Lift", play=True))
def heavy(bend, lift):
    """Many sines of many numbers: longer than a frame."""
    x = uniform(bend * 0, 150_000)
    for _ in range(40):
        x = torch.sin(x + bend) + lift
    return go.Figure(layout={"title": f"mean {x.mean():.4f}"}).add_scatter(y=x[::5000])


@live(
    time=Slider(0, 2, 0.5, step=0.1, format=".1f", label="Time", unit="days", play=True),
    width=Slider(0.1, 10, 1, step=2, log=True, format=".4g", label="Width <m>", play=True),
    seed=Seed(1, button="Shake <it>"),
)
def wave(time, width, seed):
    """A wave that moves."""
    y = torch.sin(torch.arange(9, dtype=torch.float64) / width - time) + uniform(seed, 9)
    return go.Figure(layout={"title": f"at {time:.1f} days: {y[-1]:.4f}"}).add_scatter(y=y)


FIGURES = {figure.name: figure for figure in (growth, draws, table, heavy, wave)}

QUESTIONS = (
    Bet("first", "Will it rise?", ("yes", "no", "it stays"), "no", "The rate is `below` zero."),
    Number(
        "cross",
        "Where does it cross one?",
        0.1,
        tolerance=0.005,
        unit="per year",
        hints=[(0.5, math.inf, "Far too high."), (0.105, 0.5, "Too high."), (-math.inf, -1, "Far too low.")],
        otherwise="Too low.",
        right="Right: the two curves meet.",
        solution="Solve `exp(10 rate) = e`.",
    ),
    Pick("who", "Which curve is lower?", ("model", "half"), "half", hints={"model": "Read the legend."}),
)
