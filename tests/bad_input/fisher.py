"""Good arguments of the functions of information geometry, simplex walks and Markov chains."""

import math

import numpy as np
import torch

from lib import fisher
from tests.bad_input.kinds import KINDS, NO_NUMBERS, NOT_FINITE, Call

MODULES = (
    "absorption",
    "category_maps",
    "fisher",
    "fisher_rao",
    "fisher_rao_normal",
    "markov",
    "simplex",
    "transition_statistics",
)

BAD = (*NO_NUMBERS, *NOT_FINITE)
KINDS |= {
    "distribution": (*BAD, [], 1.0, [0.5, 0.4], [0.5, 0.6], [1.5, -0.5], [1.0, 0.0, 0.0], [math.nan, 1.0]),
    "weights or none": ("three", [1j], [], 1.0, [0.5, 0.4], [1.5, -0.5], [1.0, 0.0, 0.0], [math.nan, 1.0]),
    "inner distribution": (*BAD, [], 1.0, [0.5, 0.4], [1.5, -0.5], [1.0, 0.0]),
    "free distribution": (*BAD, [], 1.0, [0.5, 0.4], [1.5, -0.5]),
    "walk": (*BAD, [], 1.0, [0.5, 0.5], [[0.5, 0.5]], [[0.5, 0.6]] * 2, [[1.5, -0.5]] * 2),
    "three": (*BAD, [], 1.0, [0.5, 0.5], [0.5, 0.4, 0.2], [1.5, -0.25, -0.25]),
    "chance of an event": (*BAD, -0.1, 1.1, [0.5, 1.1]),
    "share": (*BAD, -0.1, 0.0, 1.1, [0.5, 0.0]),
    "position": (*BAD, [], -0.1, 1.1, [0.5, 1.1], [[0.5]]),
    "normal": (*BAD, [], 1.0, [1.0], [0.0, 0.0], [0.0, -1.0], [0.0, 1.0, 1.0]),
    "function": (3, None, "exp", [math.exp]),
    "damping of a step": (*BAD, -1.0, [1.0, -1.0]),
    "information": (*BAD, [], 1.0, np.ones(3), np.ones((2, 3)), [[1.0, 0.5], [0.0, 1.0]], -np.eye(2), np.ones((2, 2))),
    "parameters": (*BAD, [], 1.0),
    "jacobian": (*BAD, [], 1.0, np.ones(3), np.ones((3, 3))),
    "outcomes": (*BAD, [], 1.0, np.ones(3)),
    "shares": (*BAD, [], 1.0, [0.5], [0.5, -0.5], [0.0, 0.0], [1.0, 1.0, 1.0]),
    "labels": ("ab", 3, None, [], ["a", "a"], [["a"], ["b"]], torch.tensor([1, 2]), ["c", "d"]),
    "corners": ("ab", 3, [], ["x", "x"], [["x"]], ["y"]),
    "grouping": (None, 3, {}, [("a", "x")], {"c": "x"}, "ab"),
    "rising": (*BAD, [], 1.0, [0.0], [0.0, 0.0], [1.0, 0.0], [0.0, 1.0, 2.0], [[0.0, 1.0]]),
    "orders": (*BAD, [], -0.5, [0.5, -1.0], [[1.0]]),
    "series": (*BAD, [], 1.0, [1.0, 2.0], np.ones((3, 2))),
    "whole map": ("three", None, [[1], [1, 2]], 1.0, [[1.0]], [[True]], [[1j]], [], np.ones((2, 2))),
    "other map": ("three", None, [[1], [1, 2]], 1.0, [[1.0]], [[True]], [[1j]], [], np.ones((2, 2)), [[1]], [1, 2]),
    "codes": ("57", None, 5, [], [5, 5], [5.0], [True], [-1], [2**16], ["5"], torch.tensor([[5]])),
    "share of all": ("1", None, True, math.nan, math.inf, [0.5], -0.1, 1.1, torch.tensor(0.5)),
    "chain": (*BAD, [], 1.0, np.ones(3), np.ones((2, 3)), np.ones((2, 2)), [[1.5, -0.5], [0.0, 1.0]], np.eye(2)),
    "law": (*BAD, [], 1.0, np.ones(3), np.ones((2, 3)), np.ones((2, 2)), [[1.5, -0.5], [0.0, 1.0]], np.eye(2)),
    "any chain": (*BAD, [], 1.0, np.ones(3), np.ones((2, 3)), np.ones((2, 2)), [[1.5, -0.5], [0.0, 1.0]], [[1.0]]),
    "states": ("1", None, 1.5, True, -1, 2, [], [0, 1], [1, 1], [1.0], [True], torch.tensor(1), torch.tensor([1])),
    "first state": (1.5, "3", None, True, -1, 1, 2),
    "tally": (*BAD, [], 1.0, np.ones(3), np.ones((2, 3)), [[-1.0, 1.0], [1.0, 1.0]], [[0.0, 0.0], [1.0, 1.0]]),
    "tallies": (*BAD, [], 1.0, np.ones((2, 2)), np.ones((1, 2, 2)), np.zeros((2, 2, 2)), -np.ones((2, 2, 2))),
    "empty row": ("drop", None, 1, True),
    "floating tensor or none": ("cpu", 3, [1.0], torch.tensor([1])),
    "at least two": (1.5, "3", None, True, math.nan, [2], 1, 0, -1),
}

HALF = [0.5, 0.5]
NORMAL = [0.0, 1.0]
EYE = [[1.0, 0.0], [0.0, 1.0]]
CHAIN = [[0.5, 0.5], [0.0, 1.0]]
MAP = [[5, 7], [7, 0]]
PAIR = {"p": ("distribution", HALF), "q": ("distribution", [0.25, 0.75])}
NORMALS = {"p": ("normal", NORMAL), "q": ("normal", [1.0, 2.0])}
STEP = {
    "grad": ("vector", [1.0, 1.0]),
    "fisher": ("information", EYE),
    "damping": ("damping of a step", 0.0),
}
TIMES = {"P": ("chain", CHAIN), "absorbing": ("states", 1)}
CODES = {"codes": ("codes", [5, 7])}
CALLS = [
    Call("fisher_rao.distributions", {"p": ("free distribution", HALF)}),
    Call("fisher_rao.kullback_leibler", PAIR),
    Call("fisher_rao.bhattacharyya_coefficient", PAIR),
    Call("fisher_rao.fisher_rao_distance", PAIR),
    Call("fisher_rao.fisher_rao_geodesic", {**PAIR, "t": ("position", 0.5)}),
    Call("fisher_rao.bernoulli_distance", {"a": ("chance of an event", 0.3), "b": ("chance of an event", 0.7)}),
    Call("fisher_rao_normal.normal_distance", NORMALS),
    Call("fisher_rao_normal.normal_geodesic", {**NORMALS, "t": ("position", 0.5)}),
    Call("fisher_rao.categorical_metric", {"p": ("inner distribution", HALF)}),
    Call("fisher_rao_normal.normal_metric", {"p": ("normal", NORMAL)}),
    Call(
        "fisher_rao.curve_length",
        {
            "curve": ("function", lambda t: torch.stack([t, 1 + t], dim=-1)),
            "metric": ("function", fisher.normal_metric),
            "panels": ("number", 2),
            "like": ("floating tensor or none", None),
        },
    ),
    Call(
        "fisher.fisher_information",
        {"scores": ("outcomes", [[-1.0], [1.0]]), "probabilities": ("weights or none", HALF)},
    ),
    Call(
        "fisher.exponential_family_fisher",
        {"statistics": ("outcomes", [[-1.0], [1.0]]), "probabilities": ("distribution", HALF)},
    ),
    Call(
        "fisher.log_likelihood_fisher",
        {
            "log_likelihood": ("function", lambda theta: torch.log_softmax(theta, 0)),
            "theta": ("parameters", [0.0, 1.0]),
        },
    ),
    Call("fisher.natural_gradient", STEP),
    Call("fisher.natural_gradient_step", {"theta": ("vector", [0.0, 0.0]), **STEP, "lr": ("positive", 0.1)}),
    Call("fisher.pull_back", {"F": ("matrix", EYE), "J": ("jacobian", EYE)}),
    Call(
        "simplex.to_simplex",
        {
            "fractions": ("shares", [0.5, 0.5]),
            "classes": ("labels", ["a", "b"]),
            "grouping": ("grouping", {"a": "x", "b": "x"}),
            "corners": ("corners", ["x"]),
        },
    ),
    Call("simplex.trajectory_speed", {"P": ("walk", [HALF, [0.25, 0.75]]), "years": ("rising", [2017, 2018])}),
    Call("simplex.ternary_coordinates", {"P": ("three", [0.2, 0.5, 0.3])}),
    Call("simplex.shannon_entropy", {"p": ("free distribution", HALF)}),
    Call("simplex.renyi_entropy", {"p": ("free distribution", HALF), "alpha": ("orders", 2.0)}),
    Call("simplex.step_divergence", {"P": ("walk", [HALF, [0.25, 0.75]])}),
    Call("simplex.mann_kendall", {"x": ("series", [1.0, 2.0, 4.0]), "exact": ("flag", True)}),
    Call("category_maps.class_fractions", {"maps": ("whole map", MAP), **CODES}),
    Call("category_maps.transition_counts", {"a": ("whole map", MAP), "b": ("other map", MAP), **CODES}),
    Call("category_maps.transition_series", {"maps": ("whole map", [MAP, MAP]), **CODES}),
    Call(
        "category_maps.relabel_at_random",
        {
            "maps": ("whole map", MAP),
            "error": ("share of all", 0.5),
            **CODES,
            "generator": ("generator", torch.Generator()),
        },
    ),
    Call(
        "category_maps.label_noise_matrix",
        {"shares": ("free distribution", [0.5, 0.5]), "error": ("chance of an event", 0.02)},
    ),
    Call(
        "category_maps.label_noise_retention",
        {"error": ("chance of an event", 0.02), "share": ("share", 0.13), "classes": ("at least two", 7)},
    ),
    Call("transition_statistics.transition_matrix", {"C": ("tally", EYE), "empty": ("empty row", "refuse")}),
    Call("transition_statistics.transition_errors", {"C": ("tally", EYE)}),
    Call("transition_statistics.g_test", {"counts": ("tallies", [EYE, EYE])}),
    Call("transition_statistics.frobenius_distances", {"counts": ("tallies", [EYE, EYE])}),
    Call("absorption.absorbing_times", TIMES),
    Call("absorption.absorption_probabilities", TIMES),
    Call(
        "absorption.simulate_absorption",
        {
            **TIMES,
            "start": ("first state", 0),
            "walkers": ("number", 2),
            "generator": ("generator", torch.Generator()),
            "max_steps": ("number", 1000),
        },
    ),
    Call("markov.stationary_law", {"P": ("law", CHAIN)}),
    Call("markov.spectral_gap", {"P": ("any chain", CHAIN)}),
    Call("markov.mixing_time", {"P": ("any chain", CHAIN)}),
]

ELSEWHERE = {}
