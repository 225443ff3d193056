"""What live figures draw of observers, recorded and replayed: the page computes the same numbers."""

import json

import numpy as np
import pytest
import torch

from lib import observers
from tests.replays import recorded, replays

C = torch.logspace(-2, 1, 40, dtype=torch.float64)
TRUE = np.random.default_rng(0).normal(0.4, 0.3, 6)
MIX = np.random.default_rng(1).normal(size=(6, 6))


def fisher_of(name, coupling):
    edges, n = observers.observer_graph(name)
    return observers.ising_fisher(edges, n, coupling * torch.ones(len(edges), dtype=torch.float64))


def regimes(name):
    def figure(coupling, weight):
        F = fisher_of(name, coupling)
        eigs = torch.linalg.eigvalsh(F)
        alpha, c = observers.regime_alpha(eigs)
        curves = [observers.convergence_functional(eigs, C, model) for model in ("A", "B", "C", "D", weight)]
        times = observers.quadratic_learning(eigs, C)
        directions = observers.directional_alpha(F, torch.eye(len(F), dtype=torch.float64), c + 0.1)
        spread = observers.alpha_spread(eigs, c + 0.1)
        Delta, delta = observers.deviation_tensor(observers.mass_tensor(F), F)
        losses = observers.quadratic_losses(eigs, weight, steps=20)
        return (alpha, c, *curves, times.iterations, times.flow_time, directions, spread, Delta, delta, losses)

    return figure


def learning(coordinates, learner):
    def figure(lr, c):
        path = observers.learn(*observers.observer_graph("K4"), TRUE, None, learner, 30, lr, coordinates, c)
        return path.loss, path.couplings

    return figure


def optima(coupling):
    eigs = torch.linalg.eigvalsh(fisher_of("K4", coupling))
    return tuple(observers.functional_minimum(eigs, model) for model in ("A", "C", coupling))


FIGURES = {
    **{f"regimes of {name}": (regimes(name), "coupling", "weight") for name in ("K4", "path", "Petersen")},
    "natural gradient": (learning(None, "ng"), "lr", "c"),
    "natural gradient, mixed": (learning(observers.linear_mix(MIX), "ng"), "lr", "c"),
    "natural gradient, sinh": (learning(observers.sinh_coordinates(), "ng"), "lr", "c"),
    "gradient, sinh": (learning(observers.sinh_coordinates(), "gd"), "lr", "c"),
    "typed": (learning(None, "typed"), "lr", "c"),
    "optima": (optima, "coupling"),
}


@pytest.mark.parametrize("name", FIGURES)
def test_a_recorded_figure_replays(name):
    figure, *controls = FIGURES[name]
    program = recorded(figure, dict.fromkeys(controls, 0.5))
    assert len(json.dumps(program)) < 150_000
    settings = [dict.fromkeys(controls, value) for value in (0.1, 0.3, 0.8)]
    for found, expected in replays(program, figure, settings):
        np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-9)
