"""Good arguments of the functions on coupled maps, oscillators, strata, symmetry and admissible fields."""

import math

import networkx
import numpy as np
import torch

from lib import graphs
from lib.coupled_maps import logistic_map, logistic_slope
from tests.bad_input.kinds import KINDS, NO_NUMBERS, NOT_FINITE, Call

MODULES = (
    "admissible",
    "automorphisms",
    "coupled_maps",
    "evolution_metric",
    "kuramoto",
    "lattice",
    "master_stability",
    "strata",
    "symmetry",
)

THREE = [0.1, 0.2, 0.3]
NO_THREE = (*NO_NUMBERS, *NOT_FINITE, [], 1.0, [1.0] * 4)
NO_MATRIX = (*NO_NUMBERS, *NOT_FINITE, [], 1.0, np.ones(3), np.ones((2, 3)), [[math.nan]])
NO_BOOLS = ("three", 1, [True, False], torch.tensor([1.0, 2.0, 3.0]), torch.ones(4, dtype=torch.bool))
NO_LABELS = ("three", None, 3, [], [0.0, 1.0, 2.0], [0, -1, 1], [True, False, True], [[0], [0, 1]])
NO_GRAPH = (*NO_MATRIX, np.ones((2, 3, 3)), networkx.Graph())
NO_FUNCTION = ("f", None, 3, torch.eye(3), torch.sum, lambda x: None)

KINDS |= {
    "map": NO_FUNCTION,
    "term of a field": ("f", None, 3, torch.eye(3)),
    "coupling of sites": (*NO_MATRIX, "star", np.ones((3, 3)), -np.eye(3), graphs.ring(4)),
    "spectrum": (*NO_MATRIX, "ring", [[1.0]], np.ones((3, 3)), graphs.ring(5000)),
    "coupling strength": (*NO_NUMBERS, *NOT_FINITE, -0.1, 1.1),
    "three sites": NO_THREE,
    "batched sites": (*NO_NUMBERS, *NOT_FINITE, [], 1.0),
    "mask of three": NO_BOOLS,
    "masks of three": (*NO_BOOLS, torch.ones(5, 3, dtype=torch.bool)),
    "update probability": (*NO_NUMBERS, *NOT_FINITE, 0.0, 1.5, -1.0, [0.5] * 4),
    "what to keep": ("all", None, 1, ["path"]),
    "method": ("heun", None, 1, ["euler"]),
    "coupling of any sign": (*NO_NUMBERS, *NOT_FINITE),
    "at least zero": (*NO_NUMBERS, *NOT_FINITE, -1.0, [1.0, -1.0]),
    "density": ("cauchy", None, 1, ["normal"], lambda omega: -1.0, lambda omega: math.nan),
    "name of a density": ("cauchy", None, 1, ["normal"]),
    "flow": ("f", None, 3, torch.eye(3), lambda s, x: x.sum(), lambda s, x: None),
    "distance or none": ("f", 3, torch.eye(3), lambda a, b: 0.0),
    "tolerance": ("1", None, True, math.nan, math.inf, -1.0, [1.0]),
    "period or none": ("1", True, math.nan, math.inf, 0.0, -1.0, [1.0]),
    "labels of any sites": NO_LABELS,
    "labels of three": (*NO_LABELS, [0, 1]),
    "one partition": (*NO_LABELS, [[0, 1, 2]]),
    "one partition of three": (*NO_LABELS, [0, 1], [[0, 1, 2]]),
    "graph of any form": NO_GRAPH,
    "colours or none": ("abc", 3, [1.0, 2.0], [1.0, math.nan, 2.0], [None, 1, 2], [[1], [2], [3]], {0: 1}),
    "name of an attribute or none": (3, True, ["weight"]),
    "permutations": (*NO_LABELS[:-1], [0, 1, 2], [[0, 0, 1]], [[1, 2, 3]]),
    "few sites": (1.5, "3", None, True, 0, -1, 11),
    "any Graph": ("ring", None, 3, np.eye(3), torch.eye(3)),
}

MAP = {"f": ("map", logistic_map), "W": ("coupling of sites", "mean"), "eps": ("coupling strength", 0.5)}
SITES = ("three sites", THREE)
SITES_2D = {"sites": ("number", 1)}
OSCILLATORS = {
    "K": ("coupling of any sign", 1.0),
    "omega": SITES,
    "dt": ("positive", 0.1),
    "coupling": ("coupling of sites", "mean"),
}
DENSITY = {"density": ("density", "normal"), "width": ("positive", 0.5)}
LABELS = ("one partition of three", [0, 1, 0])
PATH = networkx.path_graph(3)
ATTRIBUTE = {"weight": ("name of an attribute or none", None)}
COLOURED = {"G": ("graph of any form", PATH), "colors": ("colours or none", [1, 2, 1]), **ATTRIBUTE}
QUOTIENT = {"A": ("graph of any form", PATH), "labels": LABELS, **ATTRIBUTE}
SAMPLED = {
    "F": ("map", torch.sin),
    "labels": ("one partition", [0, 1, 0]),
    "samples": ("number", 4),
    "seed": ("seed", 0),
}
GENERATOR = ("generator", torch.Generator())
MASKS = torch.ones(2, 3, dtype=torch.bool)

CALLS = [
    Call("coupled_maps.logistic_map", {"x": ("reals", 0.3), "r": ("reals", 4.0)}),
    Call("coupled_maps.logistic_slope", {"x": ("reals", 0.3), "r": ("reals", 4.0)}),
    Call("coupled_maps.coupled_map_step", {**MAP, "x": ("batched sites", THREE), "mask": ("mask of three", None)}),
    Call(
        "coupled_maps.coupled_map_lattice",
        {
            **MAP,
            "x0": ("batched sites", THREE),
            "steps": ("steps", 2),
            "update_prob": ("update probability", 0.5),
            "generator": GENERATOR,
            "keep": ("what to keep", "path"),
        },
    ),
    Call(
        "coupled_maps.coupled_map_lattice",
        {**MAP, "x0": ("batched sites", THREE), "steps": ("steps", 2), "masks": ("masks of three", MASKS)},
    ),
    Call("coupled_maps.spread", {"x": ("vector of any length", THREE), **SITES_2D}),
    Call(
        "coupled_maps.lyapunov_exponent",
        {"f": ("map", logistic_map), "df": ("map", logistic_slope), "x0": ("reals", THREE), "n": ("number", 3)},
    ),
    Call("master_stability.transverse_eigenvalues", {"W": ("spectrum", "mean")}),
    Call(
        "master_stability.transverse_multipliers",
        {"W": ("spectrum", "mean"), "eps": ("coupling strength", 0.5), "lyapunov": ("reals", 0.7)},
    ),
    Call("master_stability.synchrony_window", {"W": ("spectrum", graphs.ring(3)), "lyapunov": ("reals", 0.7)}),
    Call("kuramoto.kuramoto_step", {**OSCILLATORS, "theta": ("batched sites", THREE)}),
    Call(
        "kuramoto.kuramoto",
        {
            **OSCILLATORS,
            "theta0": ("batched sites", THREE),
            "steps": ("steps", 2),
            "keep": ("what to keep", "order"),
        },
    ),
    Call("kuramoto.order_parameter", {"theta": ("vector of any length", THREE), **SITES_2D}),
    Call("kuramoto.stationary_order", {"r": ("vector of any length", THREE)}),
    Call(
        "kuramoto.frequency_quantiles",
        {"n": ("number", 3), "density": ("name of a density", "normal"), "width": ("positive", 0.5)},
    ),
    Call("kuramoto.critical_coupling", DENSITY),
    Call("kuramoto.kuramoto_theory", {"K": ("at least zero", 2.0), **DENSITY}),
    Call(
        "evolution_metric.phase_offset_distance",
        {"theta1": ("reals", 0.0), "theta2": ("reals", 1.0), "omega": ("at least zero", 1.0)},
    ),
    Call("evolution_metric.phase_offset_matrix", {"theta": ("batched sites", THREE), "omega": SITES}),
    Call(
        "evolution_metric.evolution_distance",
        {
            "flow": ("flow", lambda s, x: x + s),
            "x": ("batched sites", THREE),
            "y": SITES,
            "distance": ("distance or none", None),
            "invertible": ("flag", True),
            "points": ("few points", 9),
        },
    ),
    Call(
        "strata.stratum",
        {"x": ("vector of any length", THREE), "tol": ("tolerance", 0.1), "period": ("period or none", None)},
    ),
    Call("strata.synchrony_projection", {"x": ("batched sites", THREE), "labels": ("labels of three", [0, 1, 0])}),
    Call("strata.number_of_cells", {"labels": ("labels of any sites", [0, 1, 0])}),
    Call("strata.refines", {"fine": ("labels of any sites", [0, 1, 2]), "coarse": ("labels of three", [0, 1, 0])}),
    Call("strata.number_of_strata", {"n": ("number", 4)}),
    Call("strata.all_partitions", {"n": ("few sites", 4)}),
    Call(
        "strata.cell_masks",
        {
            "labels": ("one partition", [0, 1, 0]),
            "update_prob": ("share of updates", 0.5),
            "steps": ("steps", 2),
            "generator": GENERATOR,
        },
    ),
    Call("symmetry.equitable_partition", COLOURED),
    Call("automorphisms.orbits", COLOURED),
    Call("automorphisms.automorphisms", {**COLOURED, "limit": ("number", 10)}),
    Call("symmetry.indicator_matrix", {"labels": ("one partition", [0, 1, 0])}),
    Call("symmetry.quotient_matrix", QUOTIENT),
    Call("symmetry.is_equitable", QUOTIENT),
    Call("automorphisms.orbit_partition", {"permutations": ("permutations", [[2, 1, 0]])}),
    Call(
        "admissible.admissible_field",
        {
            "graph": ("any Graph", graphs.ring(3)),
            "rates": SITES,
            "internal": ("term of a field", torch.sin),
            "coupling": ("term of a field", torch.tanh),
            "strength": ("reals", 0.5),
        },
    ),
    Call(
        "admissible.integrate",
        {
            "field": ("map", torch.sin),
            "x0": ("batched sites", THREE),
            "steps": ("steps", 2),
            "dt": ("positive", 0.1),
            "masks": ("masks of three", MASKS),
            "method": ("method", "euler"),
            "keep": ("what to keep", "path"),
        },
    ),
    Call("admissible.invariance_defect", SAMPLED),
    Call("admissible.is_invariant", {**SAMPLED, "tol": ("tolerance", 0.1)}),
]
KINDS |= {"few points": (1.5, "3", None, True, 2, -1), "share of updates": ("1", None, True, math.nan, 0, 1.5, [0.5])}

ELSEWHERE = {}
