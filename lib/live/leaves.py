"""A Plotly figure as plain data, and its leaves: the texts, numbers and arrays that can follow a control."""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Iterator

import numpy as np

from .errors import NotLive

__all__ = ["at", "differ", "leaves", "plain", "put", "same", "without_gaps"]

Path = list  # keys and indices from the root of the figure to a leaf


def plain(figure) -> dict:
    """A Plotly figure as dicts, lists, numbers and texts; packed arrays are unpacked, the template is left out."""
    data = _unpack(json.loads(figure.to_json()))
    data.get("layout", {}).pop("template", None)
    return data


def _unpack(node):
    if isinstance(node, dict):
        if "bdata" in node:
            array = np.frombuffer(base64.b64decode(node["bdata"]), np.dtype(node["dtype"]))
            if "shape" in node:
                array = array.reshape([int(n) for n in str(node["shape"]).split(",")])
            return array.tolist()
        return {key: _unpack(value) for key, value in node.items()}
    return [_unpack(value) for value in node] if isinstance(node, list | tuple) else node


def leaves(node, path: tuple = ()) -> Iterator[tuple[Path, object]]:
    """All (path, value) with a value that a control could change: texts, numbers, and arrays of numbers."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from leaves(value, (*path, key))
    elif isinstance(node, list) and not _is_array(node):
        for i, value in enumerate(node):
            yield from leaves(value, (*path, i))
    elif isinstance(node, list | str) or (isinstance(node, int | float) and not isinstance(node, bool)):
        yield list(path), node


def _is_array(node) -> bool:
    try:
        return np.asarray(node, dtype=float).size > 0
    except (TypeError, ValueError):
        return False


def at(node, path: Path):
    """The value at a path, or None."""
    try:
        for key in path:
            node = node[key]
    except (KeyError, IndexError, TypeError):
        return None
    return node


def put(node, path: Path, value) -> None:
    """Set the value at a path."""
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value


def without_gaps(node):
    """The same figure with ``None`` for NaN and infinities, which JSON does not have and Plotly leaves out alike."""
    if isinstance(node, dict):
        return {key: without_gaps(value) for key, value in node.items()}
    if isinstance(node, list):
        return [without_gaps(value) for value in node]
    return None if isinstance(node, float) and not math.isfinite(node) else node


def same(a: np.ndarray, b: np.ndarray) -> bool:
    """Equal shape, and equal numbers to 1e-6 of their size (1e-9 of the largest for what should cancel)."""
    if a.shape != b.shape:
        return False
    finite = np.abs(a[np.isfinite(a)])
    return np.allclose(a, b, rtol=1e-6, atol=1e-9 * (1 + (finite.max() if finite.size else 0)), equal_nan=True)


_NUMBER = re.compile(r"[-+]?\d+\.?\d*(?:e[-+]\d+)?")


def _same_text(a: str, b: str) -> bool:
    """Equal words, and numbers equal up to the last digit shown."""
    if a == b:
        return True
    if _NUMBER.sub("#", a) != _NUMBER.sub("#", b):
        return False
    numbers = ([float(n) for n in _NUMBER.findall(text)] for text in (a, b))
    return np.allclose(*numbers, rtol=1e-6, atol=1e-9)


def differ(got, want, who: str, path: str = "figure") -> None:
    """Raise :class:`NotLive` at the first leaf where the page's figure is not Python's."""
    if isinstance(want, dict) and isinstance(got, dict) and want.keys() == got.keys():
        for key in want:
            differ(got[key], want[key], who, f"{path}.{key}")
        return
    if _is_number_like(want) and _is_number_like(got):
        equal = same(np.asarray(want, float), np.asarray(got, float))
    elif isinstance(want, list) and isinstance(got, list) and len(want) == len(got):
        for i, (a, b) in enumerate(zip(got, want, strict=True)):
            differ(a, b, who, f"{path}[{i}]")
        return
    elif isinstance(want, str) and isinstance(got, str):
        equal = _same_text(want, got)
    else:
        equal = got == want
    if not equal:
        if isinstance(want, str):
            cause = (
                "Format tensors in texts, f'{x:.2f}', not float(x) or x.item(), and choose between texts by a Choice"
            )
        else:
            cause = "A branch, a loop length or a trace depends on a slider outside torch: use torch.where or a Choice"
        raise NotLive(
            f"{who}: {path} would not follow the sliders on the page: Python made {_short(want)}, "
            f"the page {_short(got)}. {cause}"
        )


def _is_number_like(value) -> bool:
    return isinstance(value, int | float) or (isinstance(value, list) and _is_array(value))


def _short(value) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
