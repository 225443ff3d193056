"""Observers in hypergraphs: everything the chapter *Good regulators* uses, under one name.

Rewriting and causal graphs (:mod:`lib.hypergraph`, :mod:`lib.causal_graphs`, :mod:`lib.hypergraph_arrays`), Ising
observers and how they learn (:mod:`lib.ising`, :mod:`lib.ising_learning`), regimes of learning (:mod:`lib.regimes`,
:mod:`lib.mass`), good regulators by brute force (:mod:`lib.regulators`), and an observer inside a hypergraph that is
being rewritten (:mod:`lib.running_hypergraph`, :mod:`lib.running_observer`). Fisher information and natural gradient
are those of :mod:`lib.fisher`.

Source: M. Zhuravlev, "Verifying Good Regulator Conditions for Hypergraph Observers: Natural Gradient Learning from
Causal Invariance via Established Theorems", arXiv:2603.09067.
"""

from __future__ import annotations

from lib.causal_graphs import causal_classes, causal_layout, sort_causal_graph
from lib.fisher import natural_gradient, natural_gradient_step, pull_back
from lib.hypergraph import Event, HypergraphRewriter, Match, boundary, is_causally_invariant
from lib.hypergraph_arrays import Growth, grow
from lib.ising import (
    GALLERY,
    edge_statistics,
    ising_fisher,
    ising_log_partition,
    ising_mean,
    observer_graph,
)
from lib.ising_learning import Coordinates, Learning, learn, linear_mix, sinh_coordinates, theta_coordinates
from lib.mass import alpha_spread, deviation_tensor, directional_alpha, mass_tensor
from lib.regimes import (
    QuadraticLearning,
    alpha_of,
    convergence_functional,
    functional_minimum,
    mixing_of,
    quadratic_learning,
    quadratic_losses,
    regime_alpha,
)
from lib.regulators import optimal_regulators, outcome_entropy
from lib.rewrite_rules import RewriteRule
from lib.running_hypergraph import RunningHypergraph, run_hypergraph
from lib.running_observer import (
    BoundaryLearning,
    Comparison,
    boundary_features,
    compare_predictors,
    learn_boundary,
    poisson_surprise,
)

__all__ = [
    "GALLERY",
    "BoundaryLearning",
    "Comparison",
    "Coordinates",
    "Event",
    "Growth",
    "HypergraphRewriter",
    "Learning",
    "Match",
    "QuadraticLearning",
    "RewriteRule",
    "RunningHypergraph",
    "alpha_of",
    "alpha_spread",
    "boundary",
    "boundary_features",
    "causal_classes",
    "causal_layout",
    "compare_predictors",
    "convergence_functional",
    "deviation_tensor",
    "directional_alpha",
    "edge_statistics",
    "functional_minimum",
    "grow",
    "is_causally_invariant",
    "ising_fisher",
    "ising_log_partition",
    "ising_mean",
    "learn",
    "learn_boundary",
    "linear_mix",
    "mass_tensor",
    "mixing_of",
    "natural_gradient",
    "natural_gradient_step",
    "observer_graph",
    "optimal_regulators",
    "outcome_entropy",
    "poisson_surprise",
    "pull_back",
    "quadratic_learning",
    "quadratic_losses",
    "regime_alpha",
    "run_hypergraph",
    "sinh_coordinates",
    "sort_causal_graph",
    "theta_coordinates",
]
