"""An observer in a running hypergraph: the world keeps its books, the learners are what they say, and who wins."""

import networkx as nx
import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.hypergraph import boundary
from lib.running_hypergraph import run_hypergraph
from lib.running_observer import (
    FALLS,
    STEP_SIZES,
    WINDOWS,
    boundary_features,
    compare_predictors,
    learn_boundary,
    poisson_surprise,
)


@pytest.fixture(scope="module")
def run():
    return run_hypergraph(1500, seed=3)


@pytest.fixture(scope="module")
def comparison():
    return compare_predictors(2000)


def test_the_world_stays_bounded_and_never_settles(run):
    assert run.size.max() <= 600 and run.size.min() > 0
    assert run.size[500:].std() > 50
    share = float(run.storm.double().mean())
    assert 0.15 < share < 0.4  # 20 steps of 80 on average


@given(st.integers(0, 10_000), st.integers(1, 60), st.floats(0, 1))
@settings(max_examples=25, deadline=None)
def test_edges_are_counted(seed, steps, mixing):
    run = run_hypergraph(steps, seed, start=20, ceiling=60, mixing=mixing)
    again = run_hypergraph(steps, seed, start=20, ceiling=60, mixing=mixing)
    assert torch.equal(run.edges, again.edges) and torch.equal(run.events, again.events)
    assert (run.events <= run.crossing).all() and (run.crossing + run.within <= run.size).all()
    assert run.size[0] == 20 and run.crossing[0] == 2
    births = torch.bincount(run.step, minlength=steps).double()
    sizes = torch.cat([run.size, torch.tensor([float(len(run.edges))])])
    deaths = births - sizes.diff()
    assert (deaths >= 0).all() and (births + deaths <= run.size).all()
    # No node is entered or left twice: every edge is a piece of the cycle.
    for ends in run.edges.unbind(dim=1):
        assert len(ends.unique()) == len(ends)


def test_the_boundary_is_that_of_the_hypergraph():
    """A shorter run is the beginning of a longer one, so that its last edges are those before the next step."""
    full = run_hypergraph(41, seed=5)
    for steps in (1, 7, 40):
        left = run_hypergraph(steps, seed=5)
        assert torch.equal(left.events, full.events[:steps]) and len(left.edges) == full.size[steps]
        interior = set(left.inside.nonzero()[:, 0].tolist())
        assert len(boundary(left.edges.tolist(), interior)) == full.crossing[steps]


def test_fresh_nodes_take_a_neighbour_s_side_without_mixing():
    run = run_hypergraph(300, seed=1, mixing=0.0)
    # The boundary can only be lost: no edge within one side ever gets a node of the other.
    assert (run.crossing.diff() <= 0).all() and run.crossing[0] == 2


def test_events_come_at_the_rate(run):
    """Counts are sums of independent trials with the probabilities behind the rate."""
    surplus = (run.events - run.rate).sum() / run.rate.sum().sqrt()
    assert abs(float(surplus)) < 4
    share = run.rate / run.crossing.clamp(min=1)
    assert float(share[run.storm].min()) >= 0.14 and float(share.min()) >= 0.02


def test_the_causal_graph_is_a_forest_by_generation(run):
    graph = run.causal_graph(20)
    assert len(graph) == int((run.step < 20).sum()) > 0
    assert nx.is_forest(graph) and nx.is_directed_acyclic_graph(graph)
    for parent, child in graph.edges:
        assert graph.nodes[child]["generation"] == graph.nodes[parent]["generation"] + 1
        assert run.step[parent] < run.step[child]
        assert graph.out_degree(parent) <= 2
    marked = sum(boundary for _, boundary in graph.nodes(data="boundary"))
    assert marked == int(run.at_boundary[: len(graph)].sum())


def test_features_know_only_the_past(run):
    features = boundary_features(run)
    assert torch.equal(features[:, :2], boundary_features(run, "boundary"))
    assert torch.equal(features[:, :1], boundary_features(run, "nothing"))
    torch.testing.assert_close(features[:, 1], torch.log(1 + run.crossing))
    happened = seen = 0.0
    for step in range(30):
        assert float(features[step, 2]) == pytest.approx(np.log((0.5 + happened) / (10 + seen)), rel=1e-12)
        happened, seen = (happened + float(run.events[step])) / 2, (seen + float(run.crossing[step])) / 2


@given(st.floats(0.01, 50), st.integers(0, 60))
@settings(max_examples=40, deadline=None)
def test_surprise_is_that_of_scipy(rate, count):
    expected = -scipy.stats.poisson.logpmf(count, rate)
    assert float(poisson_surprise(rate, count)) == pytest.approx(expected, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("learner", ["ng", "gd"])
@pytest.mark.parametrize("fall", [0, 20])
def test_learners_against_a_plain_loop(run, learner, fall):
    X, counts = boundary_features(run).numpy()[:80], run.events.numpy()[:80]
    lr = 0.02 if learner == "ng" else 0.001
    w, F = np.zeros(3), np.eye(3)
    found = learn_boundary(X, counts, learner, lr, fall)
    for step, (x, y) in enumerate(zip(X, counts, strict=True), start=1):
        rate = np.exp(w @ x)
        assert float(found.surprise[step - 1]) == pytest.approx(-scipy.stats.poisson.logpmf(y, rate), rel=1e-9)
        slope = (rate - y) * x
        share = max(1 / (step + 1), 1 / 200)
        F = (1 - share) * F + share * rate * np.outer(x, x)
        direction = np.linalg.solve(F, slope) if learner == "ng" else slope
        size = lr * max(1, fall / step)
        w = w - size / max(1, size * np.sqrt(slope @ direction)) * direction
        np.testing.assert_allclose(found.weights[step], w, rtol=1e-8, atol=1e-12)


def test_learners_are_batched(run):
    X = torch.stack([boundary_features(run)[:60], boundary_features(run_hypergraph(60, 8))])
    counts = torch.stack([run.events[:60], run_hypergraph(60, 8).events])
    rates = torch.tensor([[0.01], [0.03], [0.1]], dtype=torch.float64)
    together = learn_boundary(X, counts, "ng", rates)
    assert together.surprise.shape == (3, 2, 60)
    alone = learn_boundary(X[1], counts[1], "ng", 0.1)
    torch.testing.assert_close(together.weights[2, 1], alone.weights, rtol=1e-8, atol=1e-10)


def test_the_predictor_finds_the_likeliest_weights(run):
    """On average over the second half, against Newton's method on all counts."""
    X, counts = boundary_features(run), run.events
    w = torch.tensor([float(counts.mean().log()), 0, 0], dtype=torch.float64)
    for _ in range(30):
        rate = (X @ w).exp()
        w = w + torch.linalg.solve(X.mT @ (rate[:, None] * X), X.mT @ (counts - rate))
    learned = learn_boundary(X, counts, "ng", lr=0.003, fall=300).weights[750:].mean(dim=0)
    torch.testing.assert_close(learned[1:], w[1:], rtol=0, atol=0.2)


def test_who_is_least_surprised(comparison):
    order = dict(zip(comparison.names, comparison.mean.tolist(), strict=True))
    assert comparison.surprise.shape == (8, 6, 2000)
    assert min(order, key=order.get) == "true rate"
    for worse, least, most in (
        ("no memory", 0.4, 0.7),
        ("boundary only", 0.1, 0.3),
        ("plain gradient, standardised", 0.1, 0.3),
    ):
        gap, error = comparison.gap(worse, "natural gradient")
        assert least < gap < most and gap > 2 * error
    # A plain gradient whose step size is tuned as finely does as well, and smoothing, which learns nothing, nearly.
    gap, error = comparison.gap("plain gradient", "natural gradient")
    assert abs(gap) < 2 * error < 0.02
    assert abs(comparison.gap("smoothed counts", "natural gradient")[0]) < 0.02
    # The natural gradient does not mind the coordinates.
    assert abs(comparison.gap("natural gradient, standardised", "natural gradient")[0]) < 0.01
    assert bool(comparison.surprise.isfinite().all())


def test_chosen_step_sizes_lie_inside_the_range_tried(comparison):
    """A best value at the end of the range would say that better ones lie outside."""
    for size, fall in comparison.step_sizes:
        assert min(STEP_SIZES) < size < max(STEP_SIZES) and fall in FALLS
    assert min(WINDOWS) < comparison.window < max(WINDOWS)


def test_runs_too_short_to_standardise():
    """One step has no spread; two may have the same features."""
    for steps in (1, 2):
        compared = compare_predictors(steps, seeds=(1, 2))
        assert compared.surprise.shape == (8, 2, steps) and bool(compared.surprise.isfinite().all())


def test_dependent_features_are_named():
    """The identity that F starts with is forgotten; what is left is singular."""
    features, events = torch.ones(8000, 2, dtype=torch.float64), torch.full((8000,), 5.0, dtype=torch.float64)
    with pytest.raises(ValueError, match=r"features must be linearly independent, but F is singular at step \d+"):
        learn_boundary(features, events)


def test_probabilities_of_birth_and_death_together():
    assert len(run_hypergraph(3, growth=0.9, death=0.1, storm_death=0.1).size) == 3
    for name in ("death", "storm_death"):
        with pytest.raises(ValueError, match=f"^{name} and growth = 0.9 must be at most 1 together, got 0.2"):
            run_hypergraph(3, growth=0.9, **{"death": 0.05, "storm_death": 0.05, name: 0.2})


def test_a_hypergraph_may_die_out():
    run = run_hypergraph(60, seed=2, start=3, ceiling=3, death=0.8)
    assert run.size[-1] == 0 and len(run.edges) == 0 and run.events[-1] == run.rate[-1] == 0
    assert bool(boundary_features(run).isfinite().all())


def test_seeds_must_differ():
    with pytest.raises(ValueError, match="seeds must differ from each other and from tuning_seed = 0"):
        compare_predictors(10, seeds=(0, 1))
    with pytest.raises(ValueError, match="seeds must be a list of at least two"):
        compare_predictors(10, seeds=(1,))
    with pytest.raises(ValueError, match="worse must be one of 'natural gradient'"):
        compare_predictors(10, seeds=(1, 2)).gap("nobody", "natural gradient")
