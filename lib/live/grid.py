"""The lattice fallback: figures computed at build time, packed, and interpolated on the page.

For models that are too heavy to replay in a browser, or that the tracer cannot follow. Interpolation is smooth where
the model is smooth and wrong where it jumps, so the caption says what the reader sees.
"""

from __future__ import annotations

import base64
import itertools
import math

import numpy as np

__all__ = ["BUDGET", "LARGEST_LATTICE", "NOTE", "axis", "tabulate"]

BUDGET = 150_000  # characters of packed numbers per figure and choice
LARGEST_LATTICE = 2_000  # figures computed at build time per choice
NOTE = "Computed in advance on a lattice of settings; between them the page interpolates."


def axis(slider):
    """Settings along one slider: `ticks` of them, evenly spaced, with the default among them.

    Examples
    --------
    >>> from lib.live import Slider
    >>> axis(Slider(0, 1, 0.3, ticks=5))
    [0.0, 0.3, 0.5, 0.75, 1.0]
    """
    space = np.geomspace if slider.log else np.linspace
    ticks = [float(f"{tick:.6g}") for tick in space(slider.lo, slider.hi, slider.ticks)]
    ticks[0], ticks[-1] = slider.lo, slider.hi
    if slider.value not in ticks:
        # The first picture a reader sees is exact: the nearest inner point moves to the default.
        inner = range(1, len(ticks) - 1)
        if inner:
            ticks[min(inner, key=lambda i: abs(ticks[i] - slider.value))] = slider.value
        else:
            ticks.insert(1, slider.value)
    return ticks


def tabulate(figure, chosen):
    """Compute `figure` on the lattice of its sliders and pack what changes.

    Parameters
    ----------
    figure : lib.live.Live
    chosen : dict
        Settings of its choices and toggles.

    Returns
    -------
    dict
        ``{"template", "binds", "grid": {"axes", "out"}}``; every entry of ``out`` is a list of texts or an array of
        integers between its lowest and highest value, row by row of the lattice.

    Raises
    ------
    ValueError
        If there is no slider, a seed, too many settings, a number that is not finite, a figure whose structure
        changes, or a table over the budget.
    """
    from lib.live.leaves import at, leaves, plain, put

    name = figure.name
    sliders = {key: control for key, control in figure.controls.items() if control.kind == "slider"}
    if any(control.kind == "seed" for control in figure.controls.values()):
        raise ValueError(f"{name}: a grid figure cannot have a Seed; use a Choice of a few seeds")
    if not sliders:
        raise ValueError(f"{name}: a grid figure needs a Slider; with choices alone, leave grid out")
    axes = {key: axis(slider) for key, slider in sliders.items()}
    count = math.prod(len(ticks) for ticks in axes.values())
    if count > LARGEST_LATTICE:
        raise ValueError(
            f"{name}: the lattice has {count:,} settings, at most {LARGEST_LATTICE:,}: fewer ticks, or two sliders"
        )
    points = itertools.product(*axes.values())
    figures = [plain(figure(**dict(zip(axes, point)), **chosen)) for point in points]
    template, binds, columns = figures[0], [], []
    for path, first in list(leaves(template)):
        column = [at(other, path) for other in figures]
        if all(value == first for value in column):
            continue
        binds.append({"path": path, "out": len(columns)})
        columns.append(_texts(column) if isinstance(first, str) else _numbers(name, path, column))
    for other in figures:
        for bind in binds:
            put(other, bind["path"], None)
    if any(other != template for other in figures):
        raise ValueError(f"{name}: the traces or layout of a grid figure must not change with its sliders")
    return {"template": template, "binds": binds, "grid": {"axes": axes, "out": _pack(name, columns, count)}}


def _texts(column):
    if not all(isinstance(text, str) for text in column):
        raise ValueError(f"a text of a grid figure must stay a text, got {column[0]!r} and others")
    return column


def _numbers(name, path, column):
    try:
        numbers = np.asarray(column, dtype=float)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{name}: {_spell(path)} changes its shape with the sliders: a grid needs one shape"
        ) from error
    if not np.isfinite(numbers).all():
        raise ValueError(f"{name}: {_spell(path)} holds NaN or infinity, which a grid cannot interpolate")
    return numbers


def _spell(path):
    return "figure" + "".join(f"[{part!r}]" for part in path)


def _pack(name, columns, count):
    """Sixteen bits a number if they fit the budget, else eight."""
    for bits, kind in ((16, "<u2"), (8, "u1")):
        out = []
        for column in columns:
            if isinstance(column, list):
                out.append({"texts": column})
                continue
            lo, hi = float(column.min()), float(column.max())
            levels = np.round((column - lo) / ((hi - lo) or 1.0) * (2**bits - 1)).astype(kind)
            data = base64.b64encode(levels.tobytes()).decode()
            out.append({"lo": lo, "hi": hi, "bits": bits, "shape": list(column.shape[1:]), "data": data})
        size = sum(len(row["data"]) if "data" in row else sum(map(len, row["texts"])) for row in out)
        if size <= BUDGET:
            return out
    raise ValueError(
        f"{name}: the grid needs {size:,} characters for {count} settings, at most {BUDGET:,}: "
        "fewer ticks, fewer points per curve, or fewer sliders"
    )
