"""Observers that learn: natural gradient against plain loops, invariance, and the brief's numbers."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lib import ising
from lib.fisher import natural_gradient, steepest_ascent
from lib.ising_learning import Coordinates, learn, linear_mix, sinh_coordinates, theta_coordinates

K4 = ising.observer_graph("K4")
TRUE = np.random.default_rng(0).normal(0.4, 0.3, 6)


def spins(edges, n):
    states = 1 - 2 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
    return np.stack([states[:, i] * states[:, j] for i, j in edges], axis=1).astype(float)


def distribution(T, theta):
    weight = np.exp(T @ theta)
    return weight / weight.sum()


@pytest.mark.parametrize("learner", ["ng", "gd", "typed"])
def test_against_a_plain_loop(learner):
    T = spins(*K4)
    goal = distribution(T, TRUE)
    theta = np.full(6, 0.1)
    path = learn(*K4, TRUE, start=[0.1] * 6, learner=learner, steps=6, lr=0.3, c=0.7, damping=0.01)
    for step in range(7):
        p = distribution(T, theta)
        np.testing.assert_allclose(path.couplings[step], theta, rtol=1e-11)
        np.testing.assert_allclose(path.mean[step], p @ T, rtol=1e-11)
        assert float(path.loss[step]) == pytest.approx(float((goal * np.log(goal / p)).sum()), abs=1e-12)
        centred = T - p @ T
        F = centred.T @ (centred * p[:, None])
        metric = {"ng": F, "gd": np.eye(6), "typed": F @ F + 0.7 * F}[learner]
        metric = metric + (0.01 * np.eye(6) if learner != "gd" else 0)
        theta = theta - 0.3 * np.linalg.solve(metric, (p - goal) @ T)


def test_brief_8_and_the_steps_that_go_up():
    losses = learn(*K4, TRUE, lr=1.0, steps=10).loss
    np.testing.assert_allclose(losses[:6], [0.930, 0.225, 0.624, 0.065, 0.099, 0.017], atol=5e-4)
    assert int((losses < 1e-8).nonzero()[0]) == 8
    plain = learn(*K4, TRUE, learner="gd", lr=0.5, steps=100).loss
    assert int((plain < 1e-8).nonzero()[0]) == 84
    eigs = torch.linalg.eigvalsh(ising.ising_fisher(*K4, TRUE))
    assert float(eigs[-1] / eigs[0]) == pytest.approx(10.57, abs=0.005)


def test_brief_7_the_flow_is_a_straight_line_in_the_means():
    path = learn(*K4, TRUE, lr=1e-3, steps=1000)
    goal = ising.ising_mean(*K4, TRUE)
    line = goal + (path.mean[0] - goal) / math.e
    assert float((path.mean[-1] - line).abs().max()) == pytest.approx(2.1e-4, abs=0.05e-4)


def test_brief_6_names_do_not_matter_to_the_natural_gradient():
    mix = linear_mix(np.random.default_rng(1).normal(size=(6, 6)))
    for learner, differs in (("ng", False), ("typed", False), ("gd", True)):
        plain = learn(*K4, TRUE, learner=learner, lr=0.05, steps=50)
        mixed = learn(*K4, TRUE, learner=learner, lr=0.05, steps=50, coordinates=mix)
        difference = float((plain.couplings[-1] - mixed.couplings[-1]).abs().max())
        assert difference > 0.05 if differs else difference < 1e-13


def test_brief_6_in_curved_coordinates_up_to_the_step():
    differences = []
    for steps in (10, 20, 40):
        plain = learn(*K4, TRUE, lr=1 / steps, steps=steps)
        curved = learn(*K4, TRUE, lr=1 / steps, steps=steps, coordinates=sinh_coordinates())
        differences.append(float((plain.couplings[-1] - curved.couplings[-1]).abs().max()))
    np.testing.assert_allclose(differences, [5.9e-4, 2.8e-4, 1.4e-4], atol=0.06e-4)


@given(st.integers(0, 2**31), st.sampled_from(["path", "K3", "C4", "K4"]))
@settings(max_examples=25, deadline=None)
def test_natural_gradient_is_invariant_under_random_mixes(seed, name):
    edges, n = ising.observer_graph(name)
    draw = np.random.default_rng(seed)
    target, start = draw.normal(0, 0.4, (2, len(edges)))
    mix = np.eye(len(edges)) + 0.5 * draw.normal(size=(len(edges), len(edges)))
    tolerance = 1e-12 * np.linalg.cond(mix) ** 2
    plain = learn(edges, n, target, start, lr=0.1, steps=8).couplings
    mixed = learn(edges, n, target, start, lr=0.1, steps=8, coordinates=linear_mix(mix)).couplings
    np.testing.assert_allclose(mixed, plain, atol=tolerance)


def test_batched_observers_learn_as_alone():
    generator = torch.Generator().manual_seed(0)
    targets = 0.4 * torch.randn(4, 3, 6, generator=generator, dtype=torch.float64)
    rates = torch.tensor([0.1, 0.3, 0.5], dtype=torch.float64)
    for coordinates in (None, sinh_coordinates(), linear_mix(torch.eye(6, dtype=torch.float64) + 0.1)):
        together = learn(*K4, targets, steps=5, lr=rates, coordinates=coordinates)
        assert together.couplings.shape == (4, 3, 6, 6) and together.loss.shape == (4, 3, 6)
        for i, j in ((0, 0), (3, 2)):
            alone = learn(*K4, targets[i, j], steps=5, lr=rates[j], coordinates=coordinates)
            torch.testing.assert_close(together.couplings[i, j], alone.couplings, rtol=1e-10, atol=1e-12)
            torch.testing.assert_close(together.loss[i, j], alone.loss, rtol=1e-9, atol=1e-12)


def test_pieces_change_nothing(monkeypatch):
    targets = 0.3 * torch.randn(5, 4, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    rates = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)
    whole = learn(*K4, targets, start=[0.1] * 6, learner="typed", steps=4, lr=rates)
    monkeypatch.setattr("lib.ising_learning.PIECE", 3 * 36)
    pieces = learn(*K4, targets, start=[0.1] * 6, learner="typed", steps=4, lr=rates)
    for name in ("couplings", "mean", "loss"):
        torch.testing.assert_close(getattr(pieces, name), getattr(whole, name), rtol=1e-10, atol=1e-13)


@given(st.integers(0, 2**31))
@settings(max_examples=20, deadline=None)
def test_jacobians_are_those_of_the_maps(seed):
    draw = np.random.default_rng(seed)
    phi = torch.tensor(draw.normal(size=4))
    for coordinates in (theta_coordinates(), sinh_coordinates(), linear_mix(draw.normal(size=(4, 4)) + 3 * np.eye(4))):
        jacobian = torch.autograd.functional.jacobian(coordinates.to_theta, phi)
        torch.testing.assert_close(coordinates.jacobian(phi), jacobian)
        torch.testing.assert_close(coordinates.from_theta(coordinates.to_theta(phi)), phi, rtol=1e-9, atol=1e-9)


def test_coordinates_of_one_s_own():
    cubes = Coordinates("cubes", lambda p: p**3 + p, lambda t: t, lambda p: torch.diag_embed(3 * p**2 + 1))
    path = learn(*K4, TRUE, lr=0.2, steps=60, coordinates=cubes)
    torch.testing.assert_close(path.couplings[-1], torch.tensor(TRUE), rtol=1e-4, atol=1e-4)


def test_the_unchecked_solve_is_the_checked_one_and_tells_what_failed():
    root, grad = np.random.default_rng(2).normal(size=(7, 5, 5)), np.random.default_rng(3).normal(size=(7, 5))
    metric, grad = torch.tensor(root @ root.swapaxes(1, 2) + 0.1 * np.eye(5)), torch.tensor(grad)
    direction, uphill = steepest_ascent(grad, metric)
    torch.testing.assert_close(direction, natural_gradient(grad, metric))
    assert bool(uphill.all())
    metric[2] = -metric[2]
    metric[5] = 0
    assert steepest_ascent(grad, metric)[1].tolist() == [True, True, False, True, True, False, True]


def test_coordinates_of_another_number_of_couplings():
    with pytest.raises(ValueError, match="coordinates must take 6 couplings on cpu, but those named linear mix do not"):
        learn(*K4, TRUE, coordinates=linear_mix(np.eye(4)))
    one = Coordinates("sum", lambda p: p, lambda t: t.sum(dim=-1), lambda p: p)
    with pytest.raises(ValueError, match="those named sum do not"):
        learn(*K4, TRUE, coordinates=one)


def test_nobody_learns_and_nothing_is_changed():
    none = learn(*K4, torch.zeros(2, 0, 6), steps=3, coordinates=sinh_coordinates())
    assert none.couplings.shape == (2, 0, 4, 6) and none.loss.shape == (2, 0, 4)
    target, start = torch.full((6,), 0.4), torch.full((6,), 0.1)
    path = learn(*K4, target, start=start, steps=3)
    assert path.loss.dtype == torch.float32
    assert bool((target == 0.4).all()) and bool((start == 0.1).all())


def test_a_step_that_is_too_long_is_named():
    with pytest.raises(ValueError, match=r"lr must be smaller or damping larger: at step \d+ the metric must be"):
        learn(*K4, [1.5] * 6, lr=30.0, steps=20)
