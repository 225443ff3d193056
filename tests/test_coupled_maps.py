"""Coupled map lattices: acceptance numbers, closed forms, a loop, equivariance, live figures, bad input."""

import math

import networkx as nx
import numpy as np
import plotly.graph_objects as go
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lib import graphs
from lib.coupled_maps import (
    coupled_map_lattice,
    coupled_map_step,
    logistic_map,
    logistic_slope,
    lyapunov_exponent,
    spread,
    synchrony_window,
    transverse_eigenvalues,
    transverse_multipliers,
)
from lib.live import Seed, Slider, live, uniform
from lib.live.program import replay
from lib.symmetry import automorphisms

LN2 = math.log(2)


def draws(seed=0):
    return torch.Generator().manual_seed(seed)


def numbers(*shape, seed=0):
    return torch.rand(*shape, generator=draws(seed), dtype=torch.float64)


def loop(f, W, eps, x, steps):
    """The definition, site by site."""
    for _ in range(steps):
        after = [f(value) for value in x]
        mean = [sum(w * value for w, value in zip(row, after)) for row in W]
        x = [(1 - eps) * own + eps * others for own, others in zip(after, mean)]
    return x


@pytest.mark.parametrize("form", ["dense", "graph", "name"])
@pytest.mark.parametrize("lattice", ["ring", "torus", "mean"])
def test_against_the_definition(lattice, form):
    start = numbers(12, seed=3)
    graph = {"ring": graphs.ring(12), "torus": graphs.torus(3, 4), "mean": None}[lattice]
    W = torch.full((12, 12), 1 / 12, dtype=torch.float64)
    if graph is not None:
        W = graphs.dense(graphs.row_stochastic(graph))
    given_as = {"dense": W, "graph": graphs.from_adjacency(W), "name": lattice}[form]
    x0 = start.reshape(3, 4) if given_as == "torus" else start
    ours = coupled_map_lattice(logistic_map, given_as, 0.3, x0, 8, keep="last").reshape(-1)
    expected = loop(lambda x: 4 * x * (1 - x), W.tolist(), 0.3, start.tolist(), 8)
    np.testing.assert_allclose(ours, expected, atol=1e-9)


def test_step_and_path_are_the_same_run():
    x = numbers(2, 3, 7)
    path = coupled_map_lattice(logistic_map, "ring", [[0.1], [0.4]], x, 5)
    assert path.shape == (2, 3, 6, 7)
    torch.testing.assert_close(path[..., 0, :], x, rtol=0, atol=0)
    for tick in range(5):
        x = coupled_map_step(logistic_map, "ring", [[0.1], [0.4]], x)
        assert torch.equal(path[..., tick + 1, :], x)
    alone = coupled_map_lattice(logistic_map, "ring", 0.4, numbers(2, 3, 7)[1, 2], 5, keep="last")
    assert torch.equal(alone, path[1, 2, -1])  # the same bits alone and in a batch


def test_a_batch_of_couplings_and_matrices():
    W = torch.stack([graphs.dense(graphs.row_stochastic(graph)) for graph in (graphs.ring(5), graphs.complete(5))])
    both = coupled_map_lattice(logistic_map, W, 0.2, numbers(5), 10, keep="last")
    assert both.shape == (2, 5)
    for matrix, last in zip(W, both):
        one = coupled_map_lattice(logistic_map, matrix, 0.2, numbers(5), 10, keep="last")
        np.testing.assert_allclose(last, one, atol=1e-10)
    tori = coupled_map_lattice(logistic_map, "torus", [0.1, 0.2], numbers(3, 4), 2)
    assert tori.shape == (2, 3, 3, 4)
    assert coupled_map_lattice(logistic_map, "mean", 0.2, numbers(5).float(), 3).dtype == torch.float32


def test_brief_4_globally_coupled_maps():
    eps = torch.tensor([0.3, 0.4, 0.45, 0.52, 0.6, 0.7], dtype=torch.float64)
    path = coupled_map_lattice(logistic_map, "mean", eps, numbers(100, seed=1), 3000)
    late = spread(path[:, -200:]).amax(dim=-1)
    assert (late[:3] > 0.01).all()
    assert (late[3:] < 1e-12).all()
    assert (path[3:, -200:].amax(dim=(-1, -2)) > 0.1).all()  # synchronised, not fallen into the fixed point 0


@pytest.mark.parametrize(
    ("size", "together", "apart"),
    [
        (3, [0.36, 0.5, 0.75, 0.95], [0.30]),
        (4, [0.52, 0.63, 0.74], [0.48, 0.78]),
        (5, [0.74, 0.78, 0.82], [0.70, 0.85]),
        (6, [], [0.30, 0.43, 0.56, 0.69, 0.82, 0.95]),
    ],
)
def test_brief_5_rings(size, together, apart):
    eps = torch.tensor(together + apart, dtype=torch.float64)
    noise = torch.randn(5, 1, size, generator=draws(2), dtype=torch.float64)
    last = coupled_map_lattice(logistic_map, "ring", eps.expand(5, -1), 0.3 + 1e-3 * noise, 4000, keep="last")
    median = spread(last).median(dim=0).values
    assert (median[: len(together)] < 1e-12).all()
    assert (median[len(together) :] > 1e-3).all()
    low, high = synchrony_window(graphs.ring(size), LN2)
    assert ((low < eps) & (eps < high)).tolist() == [True] * len(together) + [False] * len(apart)


def test_brief_6_partial_updating_kills_chaos():
    share = torch.tensor([0.6, 0.5, 0.3, 0.7, 0.8, 0.9], dtype=torch.float64)[:, None]
    path = coupled_map_lattice(logistic_map, "mean", 0.6, numbers(6, 100, seed=4), 3000, share, draws(5))
    assert (spread(path[:3, -1]) < 1e-12).all()
    np.testing.assert_allclose(path[:3, -1], 0.75, atol=1e-12)
    assert (spread(path[3:, -100:]).mean(dim=-1) > 0.05).all()


def test_exercise_2_mean_update_at_the_fixed_point():
    """A deviation at 3/4 is multiplied by 1 - 3 q on average; below 2/3 that is below 1 in size."""
    assert float(logistic_map(0.75)) == 0.75
    for share in (0.5, 2 / 3, 0.9):
        assert (1 - share) + share * float(logistic_slope(0.75)) == pytest.approx(1 - 3 * share)


@pytest.mark.parametrize(
    ("coupling", "low", "high"),
    [
        ("mean", 0.5, 1.0),
        (graphs.ring(3), 1 / 3, 1.0),
        (graphs.ring(4), 0.5, 0.75),
        (graphs.ring(5), 0.7236068, 0.8291796),
    ],
    ids=["mean", "three", "four", "five"],
)
def test_brief_windows(coupling, low, high):
    found = synchrony_window(coupling, LN2)
    np.testing.assert_allclose([float(edge) for edge in found], [low, high], atol=1e-7)


@pytest.mark.parametrize("size", range(6, 20))
def test_rings_of_six_and_more_have_no_window(size):
    assert all(bool(edge.isnan()) for edge in synchrony_window(graphs.ring(size), LN2))


@pytest.mark.parametrize("size", [3, 4, 5, 8, 13])
def test_eigenvalues_of_rings_in_closed_form(size):
    modes = np.sort(np.cos(2 * np.pi * np.arange(1, size) / size))[::-1]
    values = transverse_eigenvalues(graphs.ring(size))
    np.testing.assert_allclose(values.real, modes, atol=1e-12)
    np.testing.assert_allclose(values.imag, 0, atol=1e-12)


@given(st.integers(2, 6), st.integers(0, 10_000), st.floats(-1.0, 1.5))
@settings(max_examples=40)
def test_the_window_is_where_all_multipliers_are_below_one(size, seed, lyapunov):
    """Random row-stochastic matrices, also with complex eigenvalues, against a fine lattice of couplings."""
    W = numbers(size, size, seed=seed) ** 4
    W = W / W.sum(dim=-1, keepdim=True)
    eps = torch.linspace(0, 1, 501, dtype=torch.float64)
    largest = transverse_multipliers(W, eps, lyapunov).amax(dim=-1)
    eigenvalues = np.linalg.eigvals(W.numpy())
    others = np.delete(eigenvalues, np.abs(eigenvalues - 1).argmin())
    expected = np.exp(lyapunov) * np.abs(1 - eps.numpy()[:, None] * (1 - others)).max(axis=1)
    np.testing.assert_allclose(largest, expected, atol=1e-7)
    low, high = synchrony_window(W, lyapunov)
    clear = (largest - 1).abs() > 1e-6
    assert torch.equal(((low < eps) & (eps < high))[1:-1][clear[1:-1]], (largest < 1)[1:-1][clear[1:-1]])


def test_stability_keeps_the_precision_of_what_it_is_given():
    half, lyapunov = torch.tensor(0.75), torch.tensor(LN2)
    multipliers = transverse_multipliers("mean", half, lyapunov)
    assert multipliers.dtype == torch.float32 and float(multipliers[0]) == pytest.approx(0.5, abs=1e-6)
    assert all(edge.dtype == torch.float32 for edge in synchrony_window("mean", lyapunov))
    assert transverse_multipliers(graphs.ring(3), 0.75, LN2).dtype == torch.float64


def test_two_components_synchronise_only_without_chaos():
    apart = torch.block_diag(torch.full((2, 2), 0.5), torch.full((2, 2), 0.5)).double()
    assert bool(synchrony_window(apart, LN2)[0].isnan())
    low, high = synchrony_window(apart, [-0.1, 0.1])
    assert (float(low[0]), float(high[0])) == (0.0, 1.0) and bool(low[1].isnan())


def test_lyapunov_exponents_in_closed_form():
    chaotic = lyapunov_exponent(logistic_map, logistic_slope, numbers(1000), 300)
    assert float(chaotic.mean()) == pytest.approx(LN2, abs=2e-3)
    fixed = 1 - 1 / 2.5  # stable fixed point of the map with r = 2.5, slope 2 - r
    stable = lyapunov_exponent(lambda x: logistic_map(x, 2.5), lambda x: logistic_slope(x, 2.5), [fixed, fixed], 10)
    np.testing.assert_allclose(stable, math.log(0.5), atol=1e-12)
    assert float(lyapunov_exponent(logistic_map, logistic_slope, 0.5, 1)) == -math.inf


def test_growth_of_a_small_difference_is_the_multiplier():
    """Pecora and Carroll by hand: perturb synchrony along an eigenvector and follow the linear growth."""
    graph, eps, steps = graphs.ring(5), 0.4, 200
    W = graphs.dense(graphs.row_stochastic(graph))
    mode = torch.cos(2 * math.pi * torch.arange(5, dtype=torch.float64) / 5)
    mode = mode / mode.norm()
    x = torch.full((5,), 0.3, dtype=torch.float64)
    growth = exponent = 0.0
    for _ in range(steps):
        change = logistic_slope(x) * mode
        mode = (1 - eps) * change + eps * W @ change
        mode = mode - mode.mean()  # rounding would let the synchronous mode in, which grows faster
        growth += float(mode.norm().log()) / steps
        exponent += float(logistic_slope(x[0]).abs().log()) / steps
        mode = mode / mode.norm()
        x = coupled_map_step(logistic_map, graph, eps, x)
    slowest = transverse_multipliers(graph, eps, exponent)[0]
    assert math.log(float(slowest)) == pytest.approx(growth, abs=1e-9)


GALLERY = [nx.petersen_graph(), nx.cycle_graph(6), nx.star_graph(4), nx.complete_graph(4), nx.path_graph(5)]


@given(st.sampled_from(range(len(GALLERY))), st.integers(0, 10_000), st.floats(0, 1))
@settings(max_examples=40)
def test_equivariance_under_automorphisms(which, seed, eps):
    """Renaming the sites by a symmetry of the graph before or after the run is the same."""
    G = GALLERY[which]
    group = automorphisms(G)
    image = group[seed % len(group)]
    x = numbers(len(G), seed=seed)
    masks = numbers(3, len(G), seed=seed + 1) < 0.7

    def run(x, masks):
        graph = graphs.from_networkx(G)
        return coupled_map_lattice(logistic_map, graph, eps, x, 3, masks=masks, keep="last")

    torch.testing.assert_close(run(x[image], masks[:, image]), run(x, masks)[image], rtol=0, atol=1e-12)


@given(st.integers(2, 9), st.integers(0, 10_000), st.floats(0, 1))
@settings(max_examples=30)
def test_synchrony_is_invariant_and_states_stay_in_the_interval(size, seed, eps):
    x = coupled_map_lattice(logistic_map, "mean", eps, numbers(size, seed=seed), 20)
    assert bool(((x >= 0) & (x <= 1)).all())
    equal = numbers(1, seed=seed).expand(size)
    assert float(spread(coupled_map_lattice(logistic_map, "mean", eps, equal, 20)).max()) == 0
    assert torch.equal(coupled_map_lattice(logistic_map, "mean", 0.0, equal, 1)[1], logistic_map(equal))


def test_updates_of_masks_and_of_probabilities():
    x = numbers(6)
    masks = torch.tensor([[True] * 3 + [False] * 3, [False] * 6])
    path = coupled_map_lattice(logistic_map, "ring", 0.5, x, 2, masks=masks)
    assert torch.equal(path[1, 3:], x[3:]) and not bool((path[1, :3] == x[:3]).any())
    assert torch.equal(path[2], path[1])
    everyone = coupled_map_lattice(logistic_map, "ring", 0.5, x, 2)
    for always in (1, torch.ones(6).double()):  # nothing to draw, nothing to draw it from
        assert torch.equal(everyone, coupled_map_lattice(logistic_map, "ring", 0.5, x, 2, always))
    rates = torch.tensor([0.1, 0.9], dtype=torch.float64)
    long = coupled_map_lattice(logistic_map, "mean", 0.1, [0.3, 0.4], 4000, rates, draws())
    moved = (long.diff(dim=0) != 0).double().mean(dim=0)
    np.testing.assert_allclose(moved, rates, atol=0.03)
    again = coupled_map_lattice(logistic_map, "mean", 0.1, [0.3, 0.4], 4000, rates, draws())
    assert torch.equal(long, again)


def test_spread():
    assert float(spread(torch.tensor([[1.0, 2.0], [5.0, -1.0]]), sites=2)) == 6
    assert spread(torch.zeros(4, 3, 2)).shape == (4, 3)


def test_a_chaotic_run_is_the_same_on_the_page():
    """Sums in a fixed order: the program that the page replays gives the very numbers, chaos or not."""

    @live(eps=Slider(0, 1, 0.3, label="Coupling"), share=Slider(0.1, 1, 0.5, label="Share"), seed=Seed(3))
    def figure(eps, share, seed):
        """Chaos."""
        masks = uniform(seed, 60, 9, stream=1) < share
        mean = coupled_map_lattice(logistic_map, "mean", eps, uniform(seed, 9), 60)
        ring = coupled_map_lattice(logistic_map, "ring", eps, uniform(seed, 9), 60, masks=masks)
        step = coupled_map_step(logistic_map, "torus", eps, uniform(seed, 3, 4))
        multipliers = transverse_multipliers(graphs.ring(5), eps, LN2)
        title = f"{spread(mean[-1]):.3f}"
        made = go.Figure(layout={"title": title}).add_heatmap(z=mean).add_heatmap(z=ring).add_heatmap(z=step)
        return made.add_scatter(y=multipliers)

    (made,) = figure.spec()["variants"].values()
    for setting in ({"eps": 0.3, "share": 0.5, "seed": 3}, {"eps": 0.11, "share": 0.9, "seed": 8}):
        outs = replay(made["program"], setting)
        plotted = figure(**setting).data
        for number, trace in enumerate(plotted[:3]):
            bind = next(bind for bind in made["binds"] if bind["path"] == ["data", number, "z"])
            np.testing.assert_array_equal(outs[bind["out"]], trace.z)


ONE = ([0.1, 0.2, 0.3],)
THIRD = [[1 / 3] * 3] * 3


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: coupled_map_step(logistic_map, [[0.5, 0.4], [0.5, 0.5]], 0.1, [0.1, 0.2]),
            "W must have rows that sum",
        ),
        (lambda: coupled_map_step(logistic_map, [[1.5, -0.5], [0, 1]], 0.1, [0.1, 0.2]), "W must have entries"),
        (lambda: coupled_map_step(logistic_map, THIRD, 0.1, [0.1, 0.2]), r"x must have shape \(\.\.\., 3\)"),
        (lambda: coupled_map_step(logistic_map, graphs.ring(4), 0.1, [0.1, 0.2]), r"x must have shape \(\.\.\., 4\)"),
        (
            lambda: coupled_map_step(logistic_map, graphs.from_edges([(0, 1)], 3), 0.1, *ONE),
            "W must give every site a neighbour",
        ),
        (
            lambda: coupled_map_step(logistic_map, graphs.from_adjacency([[0.0, -1.0], [1.0, 0.0]]), 0.1, [0.1, 0.2]),
            "W must have weights of at least 0, got -1",
        ),
        (lambda: coupled_map_step(logistic_map, "star", 0.1, *ONE), "W must be one of 'mean', 'ring', 'torus'"),
        (lambda: coupled_map_step(logistic_map, 3, 0.1, *ONE), "W must be 'mean', 'ring', 'torus', a Graph or"),
        (lambda: coupled_map_step(logistic_map, "torus", 0.1, *ONE), r"x must have shape \(\.\.\., n, n\)"),
        (lambda: coupled_map_step(logistic_map, "mean", 1.1, *ONE), r"eps must lie in \[0, 1\], got 1.1"),
        (lambda: coupled_map_step("f", "mean", 0.1, *ONE), "f must be a function of a tensor, got 'f'"),
        (lambda: coupled_map_step(torch.sum, "mean", 0.1, *ONE), r"f must keep the shape \(3,\)"),
        (lambda: coupled_map_step(logistic_map, "mean", 0.1, *ONE, mask=[True] * 3), "mask must be a tensor of true"),
        (
            lambda: coupled_map_step(logistic_map, "mean", 0.1, *ONE, mask=torch.ones(2, 3, dtype=torch.bool)),
            r"mask must have a shape that broadcasts to \(3,\), got \(2, 3\)",
        ),
        (lambda: coupled_map_lattice(logistic_map, "mean", 0.1, *ONE, 2, 0.5), "generator must be given"),
        (lambda: coupled_map_lattice(logistic_map, "mean", 0.1, *ONE, 2, 0.0), r"update_prob must lie in \(0, 1\]"),
        (
            lambda: coupled_map_lattice(logistic_map, "mean", 0.1, *ONE, 2, [0.5, 0.5]),
            r"update_prob must have a shape that broadcasts to \(3,\)",
        ),
        (
            lambda: coupled_map_lattice(logistic_map, "mean", 0.1, *ONE, 2, 0.5, 7),
            "generator must be a torch.Generator",
        ),
        (
            lambda: coupled_map_lattice(logistic_map, "mean", 0.1, *ONE, 2, masks=torch.ones(3, 3, dtype=torch.bool)),
            r"masks must have a shape that broadcasts to \(2, 3\), got \(3, 3\)",
        ),
        (lambda: coupled_map_lattice(logistic_map, "mean", 0.1, *ONE, 2, keep="all"), "keep must be one of"),
        (lambda: transverse_eigenvalues("ring"), "W must be one of 'mean'"),
        (lambda: transverse_eigenvalues([[1.0]]), "W must have 2 to 4096 sites"),
        (lambda: transverse_eigenvalues(graphs.ring(5000)), "W must have 2 to 4096 sites.*got 5000"),
        (lambda: transverse_multipliers("mean", 2.0, 0.1), "eps must lie in"),
        (lambda: lyapunov_exponent(logistic_map, 3, 0.3, 10), "df must be a function"),
        (lambda: lyapunov_exponent(logistic_map, logistic_slope, 0.3, 0), "n must be an integer of at least 1"),
        (lambda: spread([1.0, 2.0], sites=2), r"x must have shape \(\.\.\., n, n\)"),
        (lambda: logistic_map([1.0, 2.0], [1.0, 2.0, 3.0]), "the leading dimensions of x and r"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
