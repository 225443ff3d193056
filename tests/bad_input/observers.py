"""Good arguments of the functions of the chapter on good regulators."""

import math

import networkx as nx
import numpy as np
import torch

from lib.causal_graphs import sort_causal_graph
from lib.ising_learning import theta_coordinates
from lib.running_hypergraph import run_hypergraph
from tests.bad_input.kinds import KINDS, NO_NUMBERS, NOT_FINITE, Call

MODULES = (
    "causal_graphs",
    "hypergraph",
    "hypergraph_arrays",
    "ising",
    "ising_learning",
    "mass",
    "observers",
    "regimes",
    "regulators",
    "rewrite_rules",
    "running_hypergraph",
    "running_observer",
)

NO_PAIRS = ("three", None, 3, [], [(0, 0)], [(0, 9)], [(0, 1), (1, 0)], [(0, 1, 2)], [(0.5, 1)], [0], {0: 1})
NO_ROWS = (*NO_NUMBERS, *NOT_FINITE, [], 1.0)
NOT_SYMMETRIC = (np.ones((2, 3)), [[1.0, 0.5], [0.0, 1.0]])
INDEFINITE = torch.eye(2) * torch.tensor([1.0, -1.0])
KINDS |= {
    "observer hyperedges": ("three", None, 3, [3], ["ab"], [()], [(-1, 0)], [(0.5,)], [(True,)], {0: (1, 2)}),
    "observer rule": ("", "{x}", None, 3, [("x",)], "{x} -> {y} -> {z}", "x -> y"),
    "observer one-edge rule": ("", "{x}", None, 3, "{x},{y} -> {x}"),
    "observer letters": ("ABC", "ab", None, 3, ["A"]),
    "observer causal graph": (None, "graph", 3, nx.DiGraph([(0, 1)]), nx.path_graph(2)),
    "observer causal graphs": (None, "graphs", 3, [None], [nx.DiGraph([(0, 1)])]),
    "observer edges of anything": (None, 3, "ab", [3], [([],)]),
    "observer interior": (None, 3, "ab", [[1]]),
    "observer generation or none": (1.5, "3", True, math.nan, -1),
    "observer pairs": NO_PAIRS,
    "observer spins": (1.5, "3", None, True, 1, 23, -1),
    "observer gallery": ("K9", None, 3, ["K4"]),
    "observer couplings": (*NO_ROWS, [0.1], np.ones((2, 4))),
    "observer couplings or none": (*(bad for bad in NO_NUMBERS if bad is not None), *NOT_FINITE, [], 1.0, [0.1]),
    "observer learner": ("sgd", None, 1, ["ng"]),
    "observer coordinates": ("theta", 3, lambda phi: phi),
    "observer invertible": (
        *NO_NUMBERS,
        *NOT_FINITE,
        [],
        1.0,
        np.ones(3),
        np.ones((2, 3)),
        np.ones((2, 2)),
        np.ones((2, 2, 2)),
    ),
    "observer at least zero": (*NO_NUMBERS, *NOT_FINITE, -1.0, [1.0, -1.0]),
    "observer shares below one": (*NO_NUMBERS, *NOT_FINITE, -0.1, 1.0),
    "observer spectrum": (*NO_ROWS, [0.0, 1.0], [-1.0, 1.0]),
    "observer functional": ("E", None, True, [1.0, "A"], -1.0, math.nan, "a"),
    "observer hessian": ("F", None, 1, ["fisher"]),
    "observer tolerance": ("1", None, True, math.nan, math.inf, 0, 1, -1.0, 2.0),
    "observer fisher": (
        *NO_NUMBERS,
        *NOT_FINITE,
        [],
        1.0,
        np.ones(2),
        np.ones((2, 3)),
        [[1.0, 0.5], [0.0, 1.0]],
        INDEFINITE,
        np.zeros((2, 2)),
    ),
    "observer symmetric": (
        *NO_NUMBERS,
        *NOT_FINITE,
        [],
        1.0,
        np.ones(2),
        np.ones((2, 3)),
        [[1.0, 0.5], [0.0, 1.0]],
        np.zeros((2, 2)),
    ),
    "observer direction": (*NO_ROWS, [1.0], [0.0, 0.0]),
    "observer any matrix": (*NO_ROWS, np.ones(2)),
    "observer outcomes": (
        *NO_NUMBERS,
        *NOT_FINITE,
        [],
        1.0,
        [0, 1],
        [[0.5, 1]],
        [[-1, 0]],
        np.ones((2, 2, 2)),
    ),
    "observer shares": (*NO_ROWS, [1.0], [0.7, 0.7], [1.5, -0.5]),
    "observer policy": (*NO_ROWS, [1.0], [[0.7, 0.7], [0.5, 0.5]], [[1.5, -0.5], [0.5, 0.5]]),
    "observer side": ([("x",)], (("x",), 3), ((),), (("",),), "x", None),
    "observer left side": ([("x",)], (("x",), 3), ((),), (("",),), "x", None, ()),
    "observer rule text": ("", "{x}", None, 3, "{x} {y} -> {z}"),
    "observer cycle": (1.5, "3", None, True, 2, 601),
    "observer probability": ("1", None, True, math.nan, math.inf, -0.1, 1.1),
    "observer length": ("1", None, True, math.nan, math.inf, 0.5),
    "observer run": (None, "run", 3),
    "observer knows": ("all", None, 3, ["memory"]),
    "observer online": ("sgd", None, 1, "typed"),
    "observer run seeds": (None, 3, "ab", [], [1], [1, 1], [0, 1], [1.5, 2], [True, 2], [-1, 2]),
    "observer features": (*NO_ROWS, np.ones(3), np.ones((2, 3))),
    "observer positive step": (*NO_NUMBERS, *NOT_FINITE, 0.0, -1.0),
}

GRAPH = {"edges": ("observer pairs", [(0, 1), (1, 2), (0, 2)]), "n": ("observer spins", 3)}
ISING = {**GRAPH, "couplings": ("observer couplings", [0.5, 0.2, -0.1])}
SPLIT = "{x,y} -> {x,z},{z,y}"
REWRITE = {"edges": ("observer hyperedges", [(0, 1)]), "rule": ("observer rule", SPLIT)}
EIGS = {"eigs": ("observer spectrum", [0.5, 1.5])}
FISHER = {"F": ("observer fisher", [[2.0, 0.5], [0.5, 1.0]])}
CONTROL = {"psi": ("observer outcomes", [[0, 1], [1, 0]]), "p_s": ("observer shares", [0.5, 0.5])}
MIXED = {**EIGS, "c": ("observer at least zero", [0.0, 1.0])}
CALLS = [
    Call("causal_graphs.sort_causal_graph", {"string": ("observer letters", "BBA"), "seed": ("seed", 0)}),
    Call("causal_graphs.causal_layout", {"graph": ("observer causal graph", sort_causal_graph("BBA"))}),
    Call("causal_graphs.causal_classes", {"graphs": ("observer causal graphs", [sort_causal_graph("BBA")])}),
    Call("hypergraph.HypergraphRewriter", {**REWRITE, "seed": ("seed", 0)}),
    Call(
        "hypergraph.is_causally_invariant",
        {
            "edges": ("observer hyperedges", [(0, 1), (1, 2)]),
            "rule": ("observer rule", "{x,y},{y,z} -> {x,z}"),
            "orders": ("number", 2),
            "max_generation": ("observer generation or none", None),
            "seed": ("seed", 0),
        },
    ),
    Call(
        "hypergraph.boundary",
        {"edges": ("observer edges of anything", [(0, 1)]), "interior": ("observer interior", {0})},
    ),
    Call(
        "hypergraph_arrays.grow",
        {
            "edges": ("observer hyperedges", [(0, 1)]),
            "rule": ("observer one-edge rule", SPLIT),
            "generations": ("steps", 2),
            "device": ("device", "cpu"),
            "max_edges": ("number", 100),
        },
    ),
    Call(
        "rewrite_rules.RewriteRule", {"left": ("observer left side", (("x",),)), "right": ("observer side", (("x",),))}
    ),
    Call("rewrite_rules.RewriteRule.parse", {"text": ("observer rule text", SPLIT)}),
    Call("ising.observer_graph", {"name": ("observer gallery", "K4")}),
    Call("ising.edge_statistics", GRAPH),
    Call("ising.ising_log_partition", ISING),
    Call("ising.ising_mean", ISING),
    Call("ising.ising_fisher", ISING),
    Call("ising_learning.linear_mix", {"A": ("observer invertible", [[2.0, 1.0], [0.0, 1.0]])}),
    Call(
        "ising_learning.learn",
        {
            **GRAPH,
            "target": ("observer couplings", [0.5, 0.2, -0.1]),
            "start": ("observer couplings or none", None),
            "learner": ("observer learner", "typed"),
            "steps": ("steps", 2),
            "lr": ("positive", 0.1),
            "coordinates": ("observer coordinates", theta_coordinates()),
            "c": ("observer at least zero", 1.0),
            "damping": ("observer at least zero", 0.0),
        },
    ),
    Call("regimes.regime_alpha", EIGS),
    Call("regimes.alpha_of", {"c": ("observer at least zero", 0.5)}),
    Call("regimes.mixing_of", {"alpha": ("observer shares below one", 0.5)}),
    Call("regimes.convergence_functional", {**MIXED, "model": ("observer functional", "A")}),
    Call("regimes.functional_minimum", {**EIGS, "model": ("observer functional", 2.0)}),
    Call(
        "regimes.quadratic_learning",
        {**MIXED, "hessian": ("observer hessian", "fisher"), "tolerance": ("observer tolerance", 0.1)},
    ),
    Call("regimes.quadratic_losses", {**MIXED, "steps": ("steps", 2), "hessian": ("observer hessian", "identity")}),
    Call(
        "mass.directional_alpha",
        {**FISHER, "v": ("observer direction", [1.0, 0.0]), "beta": ("observer at least zero", 0.5)},
    ),
    Call("mass.alpha_spread", {**EIGS, "beta": ("observer at least zero", 0.5)}),
    Call("mass.mass_tensor", {"J": ("observer any matrix", [[1.0, 2.0]])}),
    Call("mass.deviation_tensor", {"M": ("observer symmetric", np.eye(2)), **FISHER}),
    Call("regulators.optimal_regulators", CONTROL),
    Call("regulators.outcome_entropy", {**CONTROL, "policy": ("observer policy", [[0.5, 0.5], [1.0, 0.0]])}),
    Call(
        "running_hypergraph.run_hypergraph",
        {
            "steps": ("number", 5),
            "seed": ("seed", 0),
            "start": ("observer cycle", 300),
            "ceiling": ("number", 600),
            "growth": ("observer probability", 0.15),
            "death": ("observer probability", 0.02),
            "storm_death": ("observer probability", 0.14),
            "mixing": ("observer probability", 0.2),
            "calm_length": ("observer length", 60),
            "storm_length": ("observer length", 20),
        },
    ),
    Call(
        "running_observer.boundary_features",
        {"run": ("observer run", run_hypergraph(steps=5)), "knows": ("observer knows", "memory")},
    ),
    Call("running_observer.poisson_surprise", {"rate": ("positive", 2.0), "counts": ("observer at least zero", [1.0])}),
    Call(
        "running_observer.learn_boundary",
        {
            "features": ("observer features", np.ones((5, 2))),
            "events": ("counts", [1.0, 2.0, 0.0, 4.0, 1.0]),
            "learner": ("observer online", "ng"),
            "lr": ("positive", 0.1),
            "fall": ("observer at least zero", 0.0),
        },
    ),
    Call(
        "running_observer.compare_predictors",
        {"steps": ("number", 3), "seeds": ("observer run seeds", [1, 2]), "tuning_seed": ("seed", 0)},
    ),
]

# Nothing can be wrong about their arguments.
ELSEWHERE = {
    "ising_learning.theta_coordinates": "no argument",
    "ising_learning.sinh_coordinates": "no argument",
}
