"""Good arguments of the functions on land cover and percolation."""

import math

import numpy as np
import torch

from lib.landscape import Terrain
from tests.bad_input.kinds import KINDS, NO_NUMBER, NO_NUMBERS, NOT_FINITE, RAGGED, Call

MODULES = (
    "box_counting",
    "clusters",
    "components",
    "land_catalogue",
    "land_filling",
    "land_tables",
    "landcover",
    "landscape",
    "percolation",
)

NO_MASK = (
    "three",
    None,
    RAGGED,
    [],
    True,
    [True],
    [[]],
    [[1, 0]],
    [[0.5]],
    torch.ones(2, 2),
    np.ones((2, 2), np.uint8),
)
KINDS |= {
    "mask": NO_MASK,
    "occupied": (*NO_MASK, [[False, False]], torch.zeros(2, 3, 3, dtype=torch.bool)),
    "one occupied": (*NO_MASK, [[False, False]], torch.ones(2, 3, 3, dtype=torch.bool)),
    "land": ("three", RAGGED, [], [[1, 0]], torch.ones(2, 2), [[True]], [[True] * 3, [False] * 3, [True] * 3]),
    "neighbours": (0, 6, "4", None, True, [4], torch.tensor(4)),
    "box sides": (None, 3, "12", [], [0], [-2], [1.5], [True], [1, math.nan]),
    "box sides or none": (3, "12", [], [0, 2], [-2, 2], [1.5, 2], [True, 2], [2], [2, 2]),
    "image shape": (None, 8, "ab", (8,), (8, 8, 8), (8.0, 8), (0, 8), (True, 8), (7, 7)),
    "landscape shape": (None, 64, "ab", (64,), (64, 64, 1), (64.0, 64), (0, 64), (True, 64), (31, 64), (64, 31)),
    "field shape": (None, 8, "ab", (8,), (8, 8, 8), (8.0, 8), (0, 8), (True, 8), (1, 1)),
    "level": (1.5, "3", None, True, math.nan, -1, 9),
    "chances": (*NO_NUMBERS, *NOT_FINITE, -0.1, 1.1, [0.5, 2.0]),
    "chances of a sweep": (*NO_NUMBERS, *NOT_FINITE, 0.5, [], [-0.1], [1.1], [0.5, 0.0]),
    "weight": (*NO_NUMBERS, *NOT_FINITE, -0.1, 1e7, [0.1, 0.2]),
    "exponent": (*NO_NUMBER, -1, 21),
    "numpy generator": (None, 0, "seed", torch.Generator()),
    "ground": (None, 3, "land", torch.ones(3, 3)),
    "built shares": (None, 0.1, [], ["x"], [True], [0.0], [-0.1], [1.1], [0.2, 0.1], [math.nan], [0.2, 0.9]),
    "window": (
        None,
        3,
        "west",
        (1, 2, 3),
        (2, 1, 1, 2),
        (1, 2, 2, 1),
        (1, 1, 2, math.nan),
        (1, 1, "2", 2),
        (0, 0, 0, 1),
    ),
    "pixel": (*NO_NUMBER, 0, -1.0, 10.0),
}

MASK = [[True, True, False], [False, True, True], [True, False, False]]
NEIGHBOURS = {"neighbours": ("neighbours", 8)}
ROWS = torch.arange(9.0, dtype=torch.float64).expand(9, 9)
GROUND = Terrain(land=ROWS > 3, road=ROWS, core=ROWS.T, rough=ROWS.T, disorder=ROWS.T)
LANDSCAPE = {
    "seed": ("seed", 0),
    "shape": ("landscape shape", (32, 40)),
    "disorder": ("weight", 0.2),
    "road_weight": ("weight", 2.0),
}
NULL = {
    "mask": ("one occupied", MASK),
    "replicas": ("number", 2),
    "seed": ("seed", 0),
    "within": ("land", [[True] * 3] * 3),
}
SITES = {"side": ("number", 4), "samples": ("number", 2), "seed": ("seed", 0)}
CALLS = [
    Call("components.connected_components", {"mask": ("mask", MASK), **NEIGHBOURS}),
    Call("components.propagated_labels", {"mask": ("mask", MASK), "rounds": ("number", 2)}),
    Call("box_counting.boundary", {"mask": ("mask", MASK)}),
    Call("box_counting.box_sizes", {"shape": ("image shape", (12, 9))}),
    Call("box_counting.power_sizes", {"shape": ("image shape", (12, 9))}),
    Call("box_counting.box_counts", {"mask": ("mask", MASK), "sizes": ("box sides", [1, 2])}),
    Call("box_counting.box_dimension", {"mask": ("occupied", MASK), "sizes": ("box sides or none", [1, 2])}),
    Call("box_counting.sierpinski_carpet", {"level": ("level", 1)}),
    Call("clusters.cluster_stats", {"mask": ("one occupied", MASK), **NEIGHBOURS}),
    Call("clusters.order_parameter", {"mask": ("occupied", MASK), **NEIGHBOURS}),
    Call("clusters.largest_cluster", {"mask": ("occupied", MASK), **NEIGHBOURS}),
    Call("clusters.frontier", {"mask": ("occupied", MASK), **NEIGHBOURS}),
    Call("clusters.spans", {"mask": ("mask", MASK), **NEIGHBOURS}),
    Call("percolation.shuffled", NULL),
    Call("percolation.shuffled_order_parameter", {**NULL, **NEIGHBOURS}),
    Call("percolation.random_sites", {"probability": ("chances", 0.5), **SITES}),
    Call("percolation.site_percolation", {"probability": ("chances of a sweep", [0.9]), **SITES, **NEIGHBOURS}),
    Call(
        "landscape.random_field",
        {
            "shape": ("field shape", (4, 5)),
            "exponent": ("exponent", 3),
            "generator": ("numpy generator", np.random.default_rng(0)),
        },
    ),
    Call("landscape.terrain", {"seed": ("seed", 0), "shape": ("landscape shape", (32, 40))}),
    Call(
        "landscape.grow_built",
        {
            "ground": ("ground", GROUND),
            "disorder": ("weight", 0.2),
            "road_weight": ("weight", 2.0),
            "shares": ("built shares", [0.1, 0.2]),
        },
    ),
    Call("landscape.synthetic_built", LANDSCAPE),
    Call("land_filling.synthetic_landscape", LANDSCAPE),
    Call("land_tables.frame_shape", {"bbox": ("window", (0, 0, 2, 1)), "pixel": ("pixel", 0.5)}),
]

# It reads files: tests/test_land_catalogue.py writes some.
ELSEWHERE = {"land_catalogue.load_land_cover": "tests/test_land_catalogue.py"}
