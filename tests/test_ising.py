"""Ising observers: exact moments against a plain sum over all states, and the brief's numbers."""

import itertools

import networkx as nx
import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lib import ising


def brute_force(edges, n, couplings):
    """Log partition function, mean and covariance by numpy, over all 2^n states."""
    states = np.array(list(itertools.product((1, -1), repeat=n)))
    T = np.stack([states[:, i] * states[:, j] for i, j in edges], axis=1)
    weight = np.exp(T @ couplings)
    p = weight / weight.sum()
    mean = p @ T
    return np.log(weight.sum()), mean, (T - mean).T @ ((T - mean) * p[:, None])


def random_graph(seed, n=None):
    draw = np.random.default_rng(seed)
    n = int(draw.integers(2, 8)) if n is None else n
    pairs = list(itertools.combinations(range(n), 2))
    chosen = draw.permutation(len(pairs))[: int(draw.integers(1, len(pairs) + 1))]
    edges = [tuple(int(node) for node in draw.permutation(pairs[k])) for k in chosen]
    return edges, n, draw.normal(0, 0.7, len(edges))


@given(st.integers(0, 2**31))
@settings(max_examples=60, deadline=None)
def test_moments_against_all_states(seed):
    edges, n, theta = random_graph(seed)
    log_partition, mean, fisher = brute_force(edges, n, theta)
    np.testing.assert_allclose(ising.ising_log_partition(edges, n, theta), log_partition, rtol=1e-13)
    np.testing.assert_allclose(ising.ising_mean(edges, n, theta), mean, atol=1e-13)
    np.testing.assert_allclose(ising.ising_fisher(edges, n, theta), fisher, atol=1e-13)
    for one, transformed in zip(
        (log_partition, mean, fisher), ising._by_transform(tuple(edges), n, torch.tensor(theta)), strict=True
    ):
        np.testing.assert_allclose(transformed, one, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("n", [11, 13])
def test_the_transform_against_all_states(n):
    edges, _, theta = random_graph(3, n)
    log_partition, mean, fisher = brute_force(edges, n, theta)
    np.testing.assert_allclose(ising.ising_log_partition(edges, n, theta), log_partition, rtol=1e-13)
    np.testing.assert_allclose(ising.ising_mean(edges, n, theta), mean, atol=1e-12)
    np.testing.assert_allclose(ising.ising_fisher(edges, n, theta), fisher, atol=1e-12)
    assert ising.ising_mean(edges, n, torch.tensor(np.stack([theta, 0 * theta]))).shape == (2, len(edges))


def blocked_enumeration(edges, n, theta, block=2**14):
    """Moments by two passes over all 2^n states, in blocks: for the mean, then for the covariance around it."""
    first, second = torch.tensor(edges).unbind(dim=1)
    highest = theta.abs().sum()

    def blocks():
        for states in torch.arange(2**n).split(block):
            spins = 1.0 - 2.0 * ((states[:, None] >> torch.arange(n)) & 1).double()
            T = spins[:, first] * spins[:, second]
            yield T, (T @ theta - highest).exp()

    total = sum(weight.sum() for _, weight in blocks())
    mean = sum(weight @ T for T, weight in blocks()) / total
    fisher = sum(((T - mean) * weight[:, None]).mT @ (T - mean) for T, weight in blocks()) / total
    return highest + total.log(), mean, fisher


def test_seventeen_spins_against_blocked_enumeration():
    """Sixteen bits: four products of four bits each; disconnected spins and a strong negative coupling among them."""
    draw = torch.Generator().manual_seed(4)
    pairs = list(itertools.combinations(range(1, 17), 2))
    edges = [pairs[k] for k in torch.randperm(len(pairs), generator=draw)[:30].tolist()]
    theta = 0.4 * torch.randn(30, generator=draw, dtype=torch.float64)
    theta[0] = -3
    log_partition, mean, fisher = blocked_enumeration(edges, 17, theta)
    torch.testing.assert_close(ising.ising_log_partition(edges, 17, theta), log_partition, rtol=1e-14, atol=0)
    torch.testing.assert_close(ising.ising_mean(edges, 17, theta), mean, rtol=0, atol=1e-13)
    torch.testing.assert_close(ising.ising_fisher(edges, 17, theta), fisher, rtol=0, atol=1e-13)


@pytest.mark.parametrize("n", [3, 12])
def test_derivatives_of_the_log_partition_function(n):
    """By automatic differentiation: the mean and the Fisher information, by table and by transform."""
    edges, theta = [(0, 1), (1, 2), (0, 2)], torch.tensor([0.3, -0.2, 0.7], dtype=torch.float64)

    def log_partition(couplings):
        return ising.ising_log_partition(edges, n, couplings)

    mean = torch.autograd.functional.jacobian(log_partition, theta)
    torch.testing.assert_close(mean, ising.ising_mean(edges, n, theta), rtol=0, atol=1e-14)
    fisher = torch.autograd.functional.hessian(log_partition, theta)
    torch.testing.assert_close(fisher, ising.ising_fisher(edges, n, theta), rtol=0, atol=1e-14)


@pytest.mark.parametrize("bits", range(10))
def test_walsh_hadamard_is_scipy_s_matrix(bits):
    x = torch.randn(3, 2**bits, generator=torch.Generator().manual_seed(bits), dtype=torch.float64)
    kept = x.clone()
    expected = x.numpy() @ scipy.linalg.hadamard(2**bits)
    np.testing.assert_allclose(ising.walsh_hadamard(x), expected, rtol=0, atol=1e-12)
    assert torch.equal(x, kept)


@pytest.mark.parametrize("n", [3, 12])
def test_huge_couplings_end_in_ground_states(n):
    """A frustrated triangle has six of them, one edge against its coupling in each third; a satisfied one has two."""
    edges = [(0, 1), (1, 2), (0, 2)]
    mean, F = (function(edges, n, [-1e6] * 3) for function in (ising.ising_mean, ising.ising_fisher))
    np.testing.assert_allclose(mean, [-1 / 3] * 3, atol=1e-14)
    np.testing.assert_allclose(F, 4 / 3 * np.eye(3) - 4 / 9, atol=1e-14)
    np.testing.assert_allclose(ising.ising_mean(edges, n, [1e300] * 3), 1)
    np.testing.assert_allclose(ising.ising_fisher(edges, n, [1e300] * 3), 0, atol=0)
    for batch in ([1e308] * 3, [[0.1] * 3, [1e308] * 3]):
        with pytest.raises(ValueError, match="couplings must be small enough for the energy"):
            ising.ising_fisher(edges, n, batch)


@pytest.mark.parametrize("n", [3, 12])
def test_batches_of_none(n):
    edges, none = [(0, 1), (1, 2), (0, 2)], torch.zeros(2, 0, 3, dtype=torch.float64)
    assert ising.ising_log_partition(edges, n, none).shape == (2, 0)
    assert ising.ising_mean(edges, n, none).shape == (2, 0, 3)
    assert ising.ising_fisher(edges, n, none).shape == (2, 0, 3, 3)


def test_twenty_two_spins_on_a_ring():
    """Closed form: the ring's partition function is (2 cosh J)^n + (2 sinh J)^n."""
    n, J = 22, 0.6
    edges = [(node, (node + 1) % n) for node in range(n)]
    t = np.tanh(J)
    mean = (t + t ** (n - 1)) / (1 + t**n)
    pair = (t**2 + t ** (n - 2)) / (1 + t**n)
    F = ising.ising_fisher(edges, n, [J] * n).numpy()
    np.testing.assert_allclose(np.diag(F), 1 - mean**2, rtol=1e-12)
    np.testing.assert_allclose(F[~np.eye(n, dtype=bool)], pair - mean**2, atol=1e-13)


@given(st.integers(0, 2**31))
@settings(max_examples=30, deadline=None)
def test_the_fisher_information_is_the_slope_of_the_mean_and_positive(seed):
    edges, n, theta = random_graph(seed)
    F = ising.ising_fisher(edges, n, theta).numpy()
    assert np.linalg.eigvalsh(F).min() > -1e-14
    np.testing.assert_allclose(F, F.T, atol=1e-15)
    step = 1e-5 * np.eye(len(edges))
    slope = (ising.ising_mean(edges, n, theta + step) - ising.ising_mean(edges, n, theta - step)) / 2e-5
    np.testing.assert_allclose(slope, F, atol=1e-8)
    slope = (
        ising.ising_log_partition(edges, n, theta + step) - ising.ising_log_partition(edges, n, theta - step)
    ) / 2e-5
    np.testing.assert_allclose(slope, ising.ising_mean(edges, n, theta), atol=1e-8)


@given(st.integers(2, 9), st.integers(0, 2**31))
@settings(max_examples=30, deadline=None)
def test_on_a_tree_the_edges_stand_alone(n, seed):
    edges = list(nx.random_labeled_tree(n, seed=seed % 1000).edges)
    theta = np.random.default_rng(seed).normal(0, 1, n - 1)
    np.testing.assert_allclose(ising.ising_fisher(edges, n, theta), np.diag(np.cosh(theta) ** -2), atol=1e-13)
    np.testing.assert_allclose(ising.ising_mean(edges, n, theta), np.tanh(theta), atol=1e-13)


def test_brief_5_mass_is_the_square_of_the_fisher_information():
    edges, n = ising.observer_graph("K4")
    theta = np.random.default_rng(0).normal(0.3, 0.4, 6)
    step = 1e-5 * np.eye(6)
    J = ((ising.ising_mean(edges, n, theta + step) - ising.ising_mean(edges, n, theta - step)) / 2e-5).mT
    F = ising.ising_fisher(edges, n, theta)
    assert torch.linalg.norm(J.mT @ J - F @ F) / torch.linalg.norm(F @ F) < 1e-8


def test_batches_equal_single_systems():
    for name in ("K4", "grid 3x3"):
        edges, n = ising.observer_graph(name)
        theta = torch.randn(3, 5, len(edges), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        for function in (ising.ising_log_partition, ising.ising_mean, ising.ising_fisher):
            single = torch.stack([function(edges, n, one) for one in theta.flatten(0, 1)])
            torch.testing.assert_close(function(edges, n, theta).flatten(0, 1), single, rtol=1e-12, atol=1e-14)


def test_blocks_change_nothing(monkeypatch):
    edges, n = ising.observer_graph("K4")
    theta = torch.randn(50, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    whole = ising.ising_fisher(edges, n, theta)
    monkeypatch.setattr(ising, "BLOCK", 500)
    torch.testing.assert_close(ising.ising_fisher(edges, n, theta), whole, rtol=1e-14, atol=1e-15)
    assert ising.ising_fisher(edges, n, theta.float()).dtype == torch.float32


def test_statistics_are_products_of_spins_and_nobody_else_s():
    """Large tables are not kept, and writing to one that was handed out changes nothing."""
    edges = [(0, 11), (3, 4), (10, 2)]
    kept = ising._table.cache_info().currsize
    T = ising.edge_statistics(edges, 12)
    assert ising._table.cache_info().currsize == kept
    states = np.arange(2**11)
    spins = 1 - 2 * ((states[:, None] >> np.arange(12)) & 1)
    np.testing.assert_array_equal(T, np.stack([spins[:, i] * spins[:, j] for i, j in edges], axis=1))
    small = ising.ising_fisher([(0, 1)], 2, [0.3])
    ising.edge_statistics([(0, 1)], 2).zero_()
    assert torch.equal(ising.ising_fisher([(0, 1)], 2, [0.3]), small)


def test_the_gallery_is_what_its_names_say():
    same = {
        "path": nx.path_graph(6),
        "star": nx.star_graph(5),
        "binary tree": nx.balanced_tree(2, 2),
        "cycle": nx.cycle_graph(6),
        "C4": nx.cycle_graph(4),
        "C5": nx.cycle_graph(5),
        "diamond": nx.diamond_graph(),
        "K3": nx.complete_graph(3),
        "K4": nx.complete_graph(4),
        "K5": nx.complete_graph(5),
        "K3,3": nx.complete_bipartite_graph(3, 3),
        "grid 3x3": nx.grid_2d_graph(3, 3),
        "Petersen": nx.petersen_graph(),
    }
    assert set(same) == set(ising.GALLERY)
    for name, graph in same.items():
        edges, n = ising.observer_graph(name)
        ours = nx.Graph(edges)
        assert len(ours) == n and nx.is_isomorphic(ours, graph)


@pytest.mark.parametrize(
    ("edges", "n", "couplings", "message"),
    [
        ([(0, 1)], 23, [0.1], "n must be an integer from 2 to 22, got 23"),
        ([(0, 0)], 3, [0.1], r"edges must be pairs of different spins from 0 to 2, each pair once, got \(0, 0\)"),
        ([(0, 1), (1, 0)], 3, [0.1, 0.2], r"edges .* each pair once, got \(1, 0\)"),
        ([(0, 3)], 3, [0.1], r"edges .* got \(0, 3\)"),
        ([(0, 1)], 3, [0.1, 0.2], r"couplings must have shape \(\.\.\., 1\), got \(2,\)"),
    ],
)
def test_the_brief_s_refusals(edges, n, couplings, message):
    for function in (ising.ising_fisher, ising.ising_mean, ising.ising_log_partition):
        with pytest.raises(ValueError, match=message):
            function(edges, n, couplings)
