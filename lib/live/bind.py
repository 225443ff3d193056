"""Record a figure, find which of its leaves follow the controls, and prove that the page will show what Python shows.

The author does not declare outputs. While the figure function runs once under the recorder, :class:`Escape` watches
tensors that depend on a control leave torch, into Plotly or into a text. A leaf of the figure that changes between
settings is then matched, by value, with one of those tensors; texts carry a mark that says which number stands where.

The proof: at random settings and at the corners of the box of all sliders, the replayed program must fill the template
to exactly the figure that Python makes.
"""

from __future__ import annotations

import copy
import functools
import itertools
import random
import time
from collections.abc import Callable

import numpy as np
import torch

from .errors import NotLive, place_of
from .escape import MARK, Escape
from .leaves import at, differ, leaves, plain, put, same, without_gaps
from .program import pack, record, replay
from .trace import Recorder

__all__ = ["compile_figure"]

_CORNERS = 16  # settings at the ends of the sliders that are tried at most
_PATIENCE = 20.0  # seconds of proving per figure before fewer corners are tried; never fewer than _FEWEST
_FEWEST = 4
_PIECES = 1024  # arrays larger than this must leave torch whole


def compile_figure(function: Callable, controls: dict, chosen: dict, probes: int = 3) -> dict:
    """One variant of a figure for the page: template, bindings, program.

    Parameters
    ----------
    function : callable
        The author's function: settings in, ``plotly.graph_objects.Figure`` out.
    controls : dict of Slider, Choice, Seed or Toggle
        All controls of the figure.
    chosen : dict
        Values of the choices and toggles, which Python sees.
    probes : int
        Random settings at which the program is proved, besides the corners.

    Returns
    -------
    dict
        ``{"template": ..., "binds": [...], "program": {...}}``, plain JSON.

    Raises
    ------
    NotLive
        If the page could not follow the function; the message names the author's line and the way out.
    """
    name = f"{function.__name__} ({place_of(function)})"
    free = {key: control for key, control in controls.items() if key not in chosen}
    rng = random.Random(0)

    def somewhere() -> dict[str, float]:
        return {key: float(control.somewhere(rng)) for key, control in free.items()}

    first = somewhere()
    recorder, inputs, escape, template = _recorded(function, first, chosen, name)
    tensors = escape.tensors
    program = pack(recorder, inputs, tensors)

    settings = [somewhere() for _ in range(probes)]
    corners = list(itertools.islice(itertools.product(*(control.ends for control in free.values())), _CORNERS))
    settings += [dict(zip(free, map(float, corner), strict=True)) for corner in corners]
    cases = [(first, template, replay(program, first))]
    began = time.monotonic()
    for i, setting in enumerate(settings):
        if i >= probes + _FEWEST and time.monotonic() - began > _PATIENCE:
            break
        cases.append((setting, _python(function, setting, chosen), replay(program, setting)))

    binds = _bindings(template, tensors, cases, name)
    for setting, want, outs in cases[1:]:
        where = ", ".join(f"{key}={value:.4g}" for key, value in setting.items())
        differ(_filled(template, binds, outs), want, f"{name} at {where}")
    return _packed(template, binds, recorder, inputs, tensors)


def _recorded(function, setting, chosen, name):
    watchers: list[Escape] = []

    def watch(recorder: Recorder) -> Escape:
        watchers.append(Escape(recorder))
        return watchers[0]

    recorder, inputs, figure = record(functools.partial(function, **chosen), setting, watch)
    try:
        return recorder, inputs, watchers[0], plain(figure)
    except AttributeError as error:
        raise NotLive(f"{name}: must return a plotly.graph_objects.Figure, got {type(figure).__name__}") from error


def _python(function, setting, chosen) -> dict:
    tensors = {key: torch.tensor(value, dtype=torch.float64) for key, value in setting.items()}
    return plain(function(**tensors, **chosen))


def _bindings(template: dict, tensors: list, cases: list, name: str) -> list[dict]:
    """How each leaf that changes is computed: from tensor ``out``, or as a ``text`` with numbers in it."""
    binds = []
    computed = [[outs[i].double().numpy() for _, _, outs in cases] for i in range(len(tensors))]
    for path, value in leaves(template):
        if isinstance(value, str):
            if MARK.search(value):
                binds.append({"path": path, "text": _text(value)})
            continue
        found = [at(figure, path) for _, figure, _ in cases]
        seen = [None if v is None or isinstance(v, str | dict) else _array(v) for v in found]
        if any(s is None or s.shape != seen[0].shape for s in seen):
            continue  # another shape or kind: the proof will name it
        pieces = _matched(path, seen, computed)
        if pieces is None:
            raise NotLive(_unmatched(path, seen, computed, name))
        binds += pieces
    return binds


def _matched(path: list, seen: list[np.ndarray], computed: list[list[np.ndarray]]) -> list[dict] | None:
    """The bindings of one leaf, whole or in pieces (a list of numbers, a list of rows); None if there are none.

    An array that no setting changed is bound all the same if it equals a tensor that left: what it shows may be rare.
    """
    constant = all(np.array_equal(s, seen[0], equal_nan=True) for s in seen)
    if constant and seen[0].size < 2:
        return []
    for i, values in enumerate(computed):
        if all(same(s, v) for s, v in zip(seen, values, strict=True)):
            return [{"path": path, "out": i}]
    if constant:
        return []
    if not seen[0].ndim or seen[0].size > _PIECES:
        return None
    pieces = [_matched([*path, k], [s[k] for s in seen], computed) for k in range(len(seen[0]))]
    return None if None in pieces else [bind for piece in pieces for bind in piece]


def _unmatched(path: list, seen: list[np.ndarray], computed: list[list[np.ndarray]], name: str) -> str:
    where = "".join(f"[{key!r}]" for key in path)
    if any(_nearly(seen, values) for values in computed):
        return (
            f"{name}: figure{where} is computed by torch, but rounding decides some of it, and the page may round "
            "otherwise: round what argmax or sort compares (torch.round(x, decimals=9)) where there may be ties, take "
            "torch.atan2 instead of acos near 1, show fewer steps of a chaotic run"
        )
    return (
        f"{name}: figure{where} changes with the sliders but was not computed by torch from them: "
        "do its arithmetic in torch, not in numpy or Python (and sort eigenvalues: their order is not fixed; "
        "and show fewer steps of a chaotic run: it lives on rounding)"
    )


def _nearly(seen: list[np.ndarray], values: list[np.ndarray]) -> bool:
    """Whether an array that should follow the controls is this tensor but for rounding and what rounding decides."""
    if values[0].shape != seen[0].shape:
        return False
    changing = [(s, v) for s, v in zip(seen, values, strict=True) if s.size and np.ptp(s) > 0]
    close = [np.isclose(s, v, rtol=1e-4, atol=1e-4 * np.abs(s).max()) for s, v in changing]
    return bool(close) and all(c.mean() > 0.5 for c in close)


def _array(value) -> np.ndarray | None:
    try:
        return np.asarray(value, dtype=float)
    except (TypeError, ValueError):
        return None


def _text(value: str) -> list:
    parts = MARK.split(value)
    text: list = [parts[0]]
    for i in range(1, len(parts), 3):
        text += [[int(parts[i]), parts[i + 1]], parts[i + 2]]
    return text


def _filled(template: dict, binds: list[dict], outs: list[torch.Tensor]) -> dict:
    """What ``fill`` of the runtime does, in Python."""
    figure = copy.deepcopy(template)
    for bind in binds:
        if "out" in bind:
            put(figure, bind["path"], outs[bind["out"]].double().tolist())
        else:
            words = (t if isinstance(t, str) else _word(outs[t[0]].item(), t[1]) for t in bind["text"])
            put(figure, bind["path"], "".join(words))
    return figure


def _word(number: float, spec: str) -> str:
    return format(int(number) if spec.endswith("d") else number, spec)


def _packed(template: dict, binds: list[dict], recorder: Recorder, inputs: dict, tensors: list) -> dict:
    """The variant with only the tensors that are shown."""
    used = {bind["out"] for bind in binds if "out" in bind}
    used |= {t[0] for bind in binds for t in bind.get("text", ()) if not isinstance(t, str)}
    order = {old: new for new, old in enumerate(sorted(used))}
    for bind in binds:
        if "out" in bind:
            bind["out"] = order[bind["out"]]
        else:
            bind["text"] = [t if isinstance(t, str) else [order[t[0]], t[1]] for t in bind["text"]]
        put(template, bind["path"], None)
    program = pack(recorder, inputs, [tensors[i] for i in order])
    template = without_gaps(template)
    return {"template": template, "binds": binds, "program": program}
