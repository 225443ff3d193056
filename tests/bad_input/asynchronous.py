"""Good arguments of the functions on graphs, asynchronous iteration and symbolic lattices."""

import math

import networkx
import numpy as np
import torch

from lib import graphs
from tests.bad_input.kinds import KINDS, NO_NUMBERS, NOT_FINITE, NOT_WHOLE, Call

MODULES = ("asynchronous", "clocks", "contraction", "graphs", "neighbours", "stale_reads", "symbolic")

LETTERS = torch.tensor([0, 1])
MASKS = torch.ones(3, 2, dtype=torch.bool)
NO_MASK = ("three", None, 1, [True, False], torch.tensor([1.0, 2.0]), torch.tensor(True), torch.empty(2, 0) > 0)
KINDS |= {
    "sites of a ring": (*NOT_WHOLE, 0, 2),
    "edges of a graph": (
        "three",
        None,
        1,
        [[1.0, 0.0]],
        [1, 2],
        [(0, 1, 2)],
        [(0,), (0, 1)],
        [(True, False)],
        [(0, 2)],
        [(-1, 0)],
    ),
    "adjacency or sparse": (
        *NO_NUMBERS,
        *NOT_FINITE,
        [],
        1.0,
        np.ones(3),
        np.ones((2, 3)),
        np.ones((2, 2, 2)),
        [[math.nan]],
    ),
    "networkx graph": ("three", None, [], np.eye(2), networkx.Graph()),
    "Graph": ("ring", None, 3, np.eye(3), torch.eye(3)),
    "uniform numbers": (*NO_NUMBERS, *NOT_FINITE, -0.5, [1.5]),
    "ratio of rates": (*NO_NUMBERS, *NOT_FINITE, 0.5, -1.0),
    "probabilities of sites": (
        *NO_NUMBERS,
        *NOT_FINITE,
        [],
        1.0,
        [0.0, 0.5],
        [1.5, 0.5],
        [-0.1, 0.5],
        np.full((2, 3, 3), 0.5),
    ),
    "leading sizes": (3, None, "three", (0,), (1.5,), (True,)),
    "single sites": ("three", None, 1, [0, 1], torch.tensor([0.0]), torch.tensor([2]), torch.tensor([-1])),
    "masks of ticks": (*NO_MASK, torch.tensor([True, False])),
    "mask of sites": (*NO_MASK, torch.tensor([True, False, True])),
    "seen sites": NO_MASK,
    "done epochs": ("three", None, 1, True, torch.tensor(1.0), torch.zeros(5, 7, dtype=torch.int64)),
    "norm of a map": ("2", None, 1, ["inf"]),
    "weights of a norm": (
        *(bad for bad in NO_NUMBERS if bad is not None),
        *NOT_FINITE,
        1.0,
        [0.0, 1.0],
        [1.0, -1.0],
        [1.0] * 3,
    ),
    "below one": (*NO_NUMBERS, *NOT_FINITE, -0.1, 1.0, [0.5, 1.2]),
    "count of epochs": (*NO_NUMBERS, *NOT_FINITE, -1, [0, -2]),
    "initial error": (*NO_NUMBERS, *NOT_FINITE, -1.0, [1.0, -1.0]),
    "pair of sites": (*NO_NUMBERS, *NOT_FINITE, [], 1.0, [1.0, 2.0, 3.0]),
    "pair of sites or none": (*(bad for bad in NO_NUMBERS if bad is not None), *NOT_FINITE, [], 1.0, [1.0, 2.0, 3.0]),
    "vector of any length": (*NO_NUMBERS, *NOT_FINITE, [], 1.0),
    "map of a state": (None, "half", 3, torch.eye(2), torch.sum, lambda x: None, lambda x: x[..., :1]),
    "function of a state": (None, "half", 3, torch.eye(2)),
    "site tensor": ("three", None, 1.0, [1.0, 2.0], torch.tensor(1.0)),
    "bound of delays": (1.5, "3", True, -1, [1], torch.tensor([1]), torch.ones(2, 2), torch.full((2, 2), -1)),
    "ages of reads": (1, "3", [1], torch.tensor([1]), torch.ones(3, 2, 2), torch.full((3, 2, 2), -1)),
    "bounds of reads": (*NO_NUMBERS, *NOT_FINITE, -1, [1, -1]),
    "longest memory": (*(bad for bad in NOT_WHOLE if bad is not None), -1),
    "kind of clock": ("sundial", None, 1, ["poisson"]),
    "schedule of sites": (
        *NO_MASK,
        torch.tensor([True, False]),
        torch.tensor([2]),
        torch.tensor([-1]),
        torch.tensor(0),
    ),
    "word of letters": ("ab", None, 1, [0, 1], torch.tensor([0.0, 1.0]), torch.tensor(1), LETTERS[:0], -LETTERS),
    "word in the alphabet": ("ab", None, [0, 1], torch.tensor([0.0]), torch.tensor([2]), torch.tensor([[0]])),
    "letter of an alphabet": (*NOT_WHOLE, -1),
    "text in the alphabet": ("", None, 3, "abc", ["a"]),
    "distinct characters": ("", None, 3, "aa", ["a", "b"]),
}

A = [[0.0, 0.5], [0.5, 0.0]]
RING = ("Graph", graphs.ring(3))
GENERATOR = ("generator", torch.Generator())


def half(x):
    return 0.5 * x


RUN = {
    "F": ("map of a state", half),
    "x0": ("pair of sites", [1.0, 2.0]),
    "target": ("pair of sites or none", [0.0, 0.0]),
    "weights": ("weights of a norm", [1.0, 2.0]),
    "keep_states": ("flag", True),
}
SCHEDULE = {"steps": ("steps", 3), "generator": GENERATOR, "replicas": ("leading sizes", (2,))}
CALLS = [
    Call("graphs.ring", {"size": ("sites of a ring", 5), "reach": ("number", 1)}),
    Call("graphs.complete", {"size": ("number", 3)}),
    Call(
        "graphs.from_edges",
        {"edges": ("edges of a graph", [(0, 1)]), "size": ("number", 2), "directed": ("flag", False)},
    ),
    Call("graphs.from_adjacency", {"A": ("adjacency or sparse", A)}),
    Call("graphs.from_networkx", {"G": ("networkx graph", networkx.path_graph(3))}),
    Call("neighbours.neighbour_sum", {"graph": RING, "x": ("vector", [1.0, 2.0, 3.0])}),
    Call("neighbours.neighbour_mean", {"graph": RING, "x": ("vector", [1.0, 2.0, 3.0])}),
    Call("neighbours.degrees", {"graph": RING}),
    Call("neighbours.dense", {"graph": RING}),
    Call("neighbours.sparse", {"graph": RING}),
    Call("neighbours.row_stochastic", {"graph": RING}),
    Call("clocks.log_uniform_rates", {"uniform": ("uniform numbers", [0.5]), "ratio": ("ratio of rates", 10.0)}),
    Call("clocks.bernoulli_schedule", {"rates": ("probabilities of sites", [0.5, 1.0]), **SCHEDULE}),
    Call("clocks.poisson_schedule", {"rates": ("positive", [0.5, 3.0]), **SCHEDULE}),
    Call("clocks.masks_of_sites", {"sites": ("single sites", torch.tensor([0, 1])), "size": ("number", 2)}),
    Call("clocks.epochs", {"masks": ("masks of ticks", MASKS)}),
    Call(
        "clocks.epoch_step",
        {
            "seen": ("seen sites", torch.zeros(3, 2, dtype=torch.bool)),
            "done": ("done epochs", torch.zeros(3, dtype=torch.int64)),
            "mask": ("mask of sites", MASKS),
        },
    ),
    Call(
        "contraction.contraction_constant",
        {"A": ("matrix", A), "norm": ("norm of a map", "inf"), "weights": ("weights of a norm", None)},
    ),
    Call(
        "contraction.contraction_bound",
        {"c": ("below one", 0.5), "epochs": ("count of epochs", [0, 1]), "initial": ("initial error", 1.0)},
    ),
    Call("contraction.affine_fixed_point", {"A": ("matrix", A), "b": ("pair of sites", [1.0, 2.0])}),
    Call(
        "contraction.synchronous_fixed_point",
        {"F": ("map of a state", half), "x0": ("vector of any length", [1.0, 2.0]), "sweeps": ("number", 5)},
    ),
    Call(
        "stale_reads.stale_read_adversary",
        {
            "A": ("matrix", A),
            "bound": ("bounds of reads", 2),
            "longest": ("longest memory", 3),
            "updates": ("steps", 4),
            "x0": ("pair of sites or none", None),
        },
    ),
    Call(
        "asynchronous.asynchronous_step",
        {"F": ("function of a state", half), "x": ("site tensor", torch.ones(3, 2)), "mask": ("mask of sites", MASKS)},
    ),
    Call(
        "asynchronous.async_iterate",
        {
            **RUN,
            "rates": ("probabilities of sites", [0.5, 1.0]),
            "steps": ("steps", 3),
            "generator": GENERATOR,
            "delays": ("bound of delays", 2),
            "clock": ("kind of clock", "bernoulli"),
        },
    ),
    Call(
        "asynchronous.iterate_schedule",
        {
            **RUN,
            "schedule": ("schedule of sites", MASKS),
            "delays": ("ages of reads", torch.ones(3, 2, 2, dtype=torch.int64)),
        },
    ),
    Call("symbolic.encode", {"text": ("text in the alphabet", "ab"), "alphabet": ("distinct characters", "ab")}),
    Call("symbolic.decode", {"word": ("word in the alphabet", LETTERS), "alphabet": ("distinct characters", "ab")}),
    Call("symbolic.prefix_distance", {"x": ("word of letters", LETTERS), "y": ("word of letters", LETTERS)}),
    Call("symbolic.prefix", {"letter": ("letter of an alphabet", 0), "word": ("word of letters", LETTERS)}),
    Call("symbolic.leading_run", {"word": ("word of letters", LETTERS), "letter": ("letter of an alphabet", 0)}),
    Call(
        "symbolic.symbolic_line",
        {
            "word": ("word of letters", LETTERS),
            "letter": ("letter of an alphabet", 0),
            "schedule": ("schedule of sites", MASKS),
        },
    ),
]

ELSEWHERE = {"graphs.torus": "takes its sides one by one: tests/test_graphs.py"}
