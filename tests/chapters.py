"""What the tests of all chapters do alike: run cells, read curves and titles, set every slider to its ends."""

import itertools
import re

import numpy as np

from lib.live import Slider
from lib.site.anatomy import code_cells

__all__ = ["curves", "figures_at_the_ends", "run_cells", "title_numbers"]

NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e[-+]\d+)?")


def run_cells(chapter, wanted=("@live",), **names):
    """Names that the chapter's cells define; only cells that hold one of the wanted words are run."""
    for cell in code_cells(chapter.read_text(encoding="utf-8")):
        code = "\n".join(cell.lines)
        if any(word in code for word in wanted):
            exec(code, names)
    return names


def curves(figure):
    """x and y of the traces that have a name."""
    return {trace.name: (np.asarray(trace.x, float), np.asarray(trace.y, float)) for trace in figure.data if trace.name}


def title_numbers(figure):
    """The numbers that stand in the title, in their order."""
    return [float(text) for text in NUMBER.findall(figure.layout.title.text)]


def figures_at_the_ends(live, **chosen):
    """The figure at every corner of its sliders."""
    ends = {key: (control.lo, control.hi) for key, control in live.controls.items() if isinstance(control, Slider)}
    for corner in itertools.product(*ends.values()):
        yield live(**chosen, **dict(zip(ends, corner, strict=True)))
