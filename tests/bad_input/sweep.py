"""Good arguments of the functions of sweeps."""

import math
import threading

import numpy as np

from tests import sweep_functions
from tests.bad_input.kinds import KINDS, NO_NUMBER, Call

MODULES = ("sweep", "sweep_table")

KINDS |= {
    "function of a sweep": (3, None, "draw", [math.exp], lambda width, depth, seed: width),
    "grid": (
        None,
        3,
        "width",
        [],
        [3],
        {"width": [1]},
        {"width": [1], "depth": [1], "seed": [1]},
        {"widht": [1], "depth": [1]},
        {"width": 1, "depth": [1]},
        {"width": [], "depth": [1]},
        {"width": "12", "depth": [1]},
        {"width": [1, 1], "depth": [1]},
        {"width": [math.nan], "depth": [1]},
        {"width": np.array(1.0), "depth": [1]},
        {"width": [1j], "depth": [1]},
        {"width": [threading.Lock()], "depth": [1]},
        {"width": [{1: 2}], "depth": [1]},
        {1: [1], "depth": [1]},
        {"two words": [1], "depth": [1]},
        [{"width": 1}],
        [{"width": 1, "depth": 1}, {"width": 1}],
        [{"width": 1, "depth": 1}, {"depth": 1, "width": 1}],
    ),
    "replicates": (None, 1.5, "3", True, math.nan, 0, -1, [], [0, 0], [1.5], [True], [-1], [2**32], ["0"]),
    "budget": (3, "1 h", {"seconds": 3}, True),
    "seeding": (None, True, "same", 3),
    "version": (None, 3),
    "limit or none": tuple(value for value in (*NO_NUMBER, 0, -1.0) if value is not None),
}

CALLS = [
    Call(
        "sweep.Budget",
        {
            "points": ("number or none", 3),
            "seconds": ("limit or none", 60),
            "seconds_per_point": ("limit or none", 0.5),
        },
    ),
    Call(
        "sweep.Sweep",
        {
            "function": ("function of a sweep", sweep_functions.draw),
            "grid": ("grid", {"width": [1, 2], "depth": [3]}),
            "seeds": ("replicates", 2),
            "budget": ("budget", None),
            "seeding": ("seeding", "independent"),
            "version": ("version", ""),
        },
    ),
]

# They need a file: tests/test_sweep.py.
ELSEWHERE = {
    "sweep.run": "tests/test_sweep.py",
    "sweep_table.read_table": "tests/test_sweep.py",
}
