"""Asynchronous iteration: acceptance numbers, the theorem of epochs, stale reads, references in plain loops."""

import itertools
import math

import numpy as np
import pytest
import scipy.linalg
import scipy.sparse
import scipy.sparse.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lib import asynchronous, graphs
from lib.asynchronous import GraphMap
from lib.live import random as live_random
from tests.replays import recorded, replays

D = torch.float64
ROTATION = [[0.6, -0.6], [0.6, 0.6]]


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=seeded(seed), dtype=D)


def affine(A, b):
    return lambda x: x @ A.mT + b


def contraction(size, constant, seed):
    """Random matrix whose rows have absolute sum ``constant``, and a random b."""
    A = noise(size, size, seed=seed)
    return constant * A / A.abs().sum(dim=-1, keepdim=True), noise(size, seed=seed + 1)


@pytest.fixture(scope="module")
def torus_run():
    """The affine map of the brief's first check on a 32 x 32 torus, 2000 ticks."""
    c = 0.8
    P = graphs.row_stochastic(graphs.torus(32, 32))
    b = noise(1024, seed=1)
    rates = asynchronous.log_uniform_rates(torch.rand(1024, generator=seeded(2), dtype=D), ratio=10)
    F = GraphMap(P, lambda total, own: c * total + (1 - c) * b)
    fixed = asynchronous.affine_fixed_point(c * P, (1 - c) * b)
    start = noise(1024, seed=3)
    trace = asynchronous.async_iterate(F, start, rates, 2000, seeded(4), target=fixed)
    return c, P, b, F, fixed, start, trace


def test_brief_1_fixed_point_equals_the_sparse_solve(torus_run):
    c, _, b, _, fixed, _, _ = torus_run
    cycle = scipy.sparse.diags_array([1.0, 1.0, 1.0, 1.0], offsets=[-31, -1, 1, 31], shape=(32, 32))
    identity = scipy.sparse.eye_array(32)
    laplacian = scipy.sparse.kron(cycle, identity) + scipy.sparse.kron(identity, cycle)
    system = scipy.sparse.eye_array(1024) - c * laplacian / 4
    expected = scipy.sparse.linalg.spsolve(system.tocsc(), (1 - c) * b.numpy())
    np.testing.assert_allclose(fixed, expected, atol=1e-13)


def test_brief_1_error_never_crosses_the_bound(torus_run):
    c, _, _, _, _, _, trace = torus_run
    bound = asynchronous.contraction_bound(c, trace.epochs, trace.errors[0])
    assert int((trace.errors > bound).sum()) == 0
    # Seen in the brief, with other random numbers: 43 epochs, 7e-16, 310 ticks.
    assert 36 <= int(trace.epochs[-1]) <= 50
    assert float(trace.errors[-1]) < 1e-14
    assert 250 <= int((trace.errors < 1e-6).to(torch.int64).argmax()) <= 400


def test_brief_1_synchronous_updates_take_about_53_ticks(torus_run):
    _, _, _, F, fixed, start, _ = torus_run
    every = torch.ones(120, 1024, dtype=torch.bool)
    trace = asynchronous.iterate_schedule(F, start, every, target=fixed)
    assert 45 <= int((trace.errors < 1e-6).to(torch.int64).argmax()) <= 62
    assert trace.epochs.tolist() == list(range(121))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_brief_2_nonlinear_map(seed):
    mean = graphs.row_stochastic(graphs.torus(24, 24))
    b = noise(576, seed=seed)
    F = GraphMap(mean, lambda total, own: torch.tanh(0.9 * total + b))
    fixed = asynchronous.synchronous_fixed_point(F, torch.zeros(576, dtype=D), sweeps=400)
    generator = seeded(seed + 10)
    masks = torch.zeros(600, 576, dtype=torch.bool)
    for mask in masks:
        mask[torch.randperm(576, generator=generator)[:200]] = True
    trace = asynchronous.iterate_schedule(F, noise(576, seed=seed + 20), masks, target=fixed)
    bound = asynchronous.contraction_bound(0.9, trace.epochs, trace.errors[0])
    assert bool((trace.errors <= bound + 1e-13).all())
    assert float(trace.errors[-1]) < 1e-13
    assert torch.equal(trace.epochs[1:], asynchronous.epochs(masks))


def test_brief_3_radii():
    assert np.abs(np.linalg.eigvals(ROTATION)).max() == pytest.approx(0.848528, abs=5e-7)
    assert float(asynchronous.contraction_constant(ROTATION, "abs_radius")) == pytest.approx(1.2, abs=1e-12)


def test_brief_3_fresh_reads_converge():
    """The brief saw 8e-41 in one run of 600 random single-site updates: an ordinary one among a thousand."""
    sites = torch.randint(2, (1000, 600), generator=seeded(5))
    A = torch.tensor(ROTATION, dtype=D)
    trace = asynchronous.iterate_schedule(affine(A, 0), [1.0, 1.0], sites, target=[0.0, 0.0], keep_states=False)
    assert float(trace.errors[:, -1].max()) < 1e-20
    lower, upper = trace.errors[:, -1].quantile(torch.tensor([0.25, 0.75], dtype=D))
    assert float(lower) < 8e-41 < float(upper)
    expected = np.ones(2)
    for site in sites[0].tolist():
        expected[site] = np.array(ROTATION)[site] @ expected
    np.testing.assert_allclose(trace.final[0], expected, rtol=1e-10)


@pytest.mark.parametrize(("bound", "expected"), [(0, 6e-45), (2, 0.45), (4, 4.7e5), (8, 2.3e6)])
def test_brief_3_stale_reads_diverge(bound, expected):
    path = asynchronous.stale_read_adversary(ROTATION, bound, updates=400)
    assert float(path[-1].abs().max()) == pytest.approx(expected, rel=0.1)


def adversary_in_a_loop(A, bound, updates, start):
    size = len(A)
    past = [list(start)]
    for update in range(updates):
        site = update % size
        highest = lowest = 0.0
        for j in range(size):
            terms = [A[site][j] * state[j] for state in past[-(bound + 1) :]]
            highest += max(terms)
            lowest += min(terms)
        state = list(past[-1])
        state[site] = highest if abs(highest) > abs(lowest) else lowest
        past.append(state)
    return past


@given(st.integers(1, 4), st.integers(0, 5), st.integers(0, 2**31 - 1))
@settings(max_examples=25)
def test_adversary_equals_a_loop(size, bound, seed):
    A, start = noise(3, size, size, seed=seed), noise(3, size, seed=seed + 1)
    paths = asynchronous.stale_read_adversary(A, bound, 12, x0=start)
    for matrix, first, path in zip(A.tolist(), start.tolist(), paths, strict=True):
        np.testing.assert_allclose(path, adversary_in_a_loop(matrix, bound, 12, first), rtol=1e-9, atol=1e-12)
    # A bound for each replica, and a longer memory than any of them needs.
    bounds = torch.tensor([bound, 0, 2])
    together = asynchronous.stale_read_adversary(A, bounds, 12, x0=start, longest=7)
    for k, each in enumerate(bounds.tolist()):
        alone = asynchronous.stale_read_adversary(A[k], each, 12, x0=start[k])
        torch.testing.assert_close(together[k], alone)


@pytest.mark.parametrize("bound", [0, 1, 2, 4, 8])
def test_chazan_miranker_below_one_even_the_adversary_converges(bound):
    """The k-th box is entered after k (n + bound) updates, whatever is read."""
    for size in (2, 3):
        A = noise(40, size, size, seed=size)
        A = 0.96 * A / asynchronous.contraction_constant(A, "abs_radius")[:, None, None]
        values, vectors = np.linalg.eig(A.abs().numpy())
        leading = values.real.argmax(axis=-1)
        weights = torch.from_numpy(np.abs(np.take_along_axis(vectors, leading[:, None, None], -1)[..., 0].real))
        path = asynchronous.stale_read_adversary(A, bound, 600)
        errors = (path.abs() / weights[:, None]).amax(dim=-1)
        boxes = torch.arange(601) // (size + bound)
        allowed = asynchronous.contraction_bound(0.96, boxes, errors[:, :1])
        assert bool((errors <= allowed * (1 + 1e-9)).all())


def test_chazan_miranker_above_one_some_schedule_diverges():
    """Shrunken rotations: synchronous updates converge for all; stale reads break those with rho(|A|) > 1."""
    angle = torch.linspace(0.05, 1.5, 30, dtype=D)
    turn = torch.stack([torch.stack([angle.cos(), -angle.sin()], -1), torch.stack([angle.sin(), angle.cos()], -1)], -2)
    A = 0.85 * turn
    radius = asynchronous.contraction_constant(A, "abs_radius")
    torch.testing.assert_close(radius, 0.85 * (angle.cos() + angle.sin()))
    synchronous = torch.linalg.matrix_power(A, 400)
    assert float(synchronous.abs().max()) < 1e-25
    size = asynchronous.stale_read_adversary(A, 16, 4000)[:, -1].abs().amax(dim=-1)
    assert bool((size[radius < 0.97] < 1e-3).all())
    assert bool((size[radius > 1.1] > 1e3).all())
    assert bool((radius[size > 1e3] > 1).all())


@given(
    st.integers(1, 8),
    st.floats(0.0, 0.99),
    st.sampled_from(["bernoulli", "poisson"]),
    st.booleans(),
    st.integers(0, 2**31 - 1),
)
@settings(max_examples=60)
def test_the_epoch_bound_is_never_violated(size, constant, clock, nonlinear, seed):
    A, b = contraction(size, constant, seed)

    def F(x):
        after = affine(A, b)(x)
        return torch.sin(after) if nonlinear else after

    fixed = asynchronous.synchronous_fixed_point(F, torch.zeros(size, dtype=D), sweeps=5000)
    rates = 0.05 + 0.95 * torch.rand(3, size, generator=seeded(seed), dtype=D)
    start = 10 * noise(3, size, seed=seed)
    trace = asynchronous.async_iterate(F, start, rates, 80, seeded(seed), clock=clock, target=fixed)
    bound = asynchronous.contraction_bound(constant, trace.epochs, trace.errors[:, :1])
    assert bool((trace.errors <= bound + 1e-12).all())
    assert bool((trace.epochs.diff(dim=-1) >= 0).all()) and bool((trace.epochs.diff(dim=-1) <= 1).all())


@given(st.integers(1, 6), st.floats(0.1, 0.95), st.integers(0, 2**31 - 1))
@settings(max_examples=30)
def test_the_bound_holds_in_weighted_norms(size, constant, seed):
    A, b = contraction(size, 1.0, seed)
    weights = 0.1 + torch.rand(size, generator=seeded(seed), dtype=D)
    A = A * constant / asynchronous.contraction_constant(A, weights=weights)
    masks = torch.rand(60, size, generator=seeded(seed + 3)) < 0.4
    fixed = torch.linalg.solve(torch.eye(size, dtype=D) - A, b)
    trace = asynchronous.iterate_schedule(affine(A, b), noise(size), masks, target=fixed, weights=weights)
    c = float(asynchronous.contraction_constant(A, weights=weights))
    assert c == pytest.approx(constant)
    bound = asynchronous.contraction_bound(c, trace.epochs, trace.errors[0])
    assert bool((trace.errors <= bound * (1 + 1e-9) + 1e-12).all())


@given(st.integers(1, 6), st.integers(0, 6), st.sampled_from(["bernoulli", "poisson"]), st.integers(0, 2**31 - 1))
@settings(max_examples=15)
def test_stale_reads_of_a_contraction_never_leave_the_first_box(size, delays, clock, seed):
    A, b = contraction(size, 0.9, seed)
    fixed = asynchronous.affine_fixed_point(A, b)
    rates = torch.full((2, size), 0.7, dtype=D)
    start = noise(2, size, seed=seed + 4)
    trace = asynchronous.async_iterate(
        affine(A, b), start, rates, 500, seeded(seed), delays=delays, clock=clock, target=fixed
    )
    assert bool((trace.errors <= trace.errors[:, :1] + 1e-12).all())
    # A site's slowest read delays a box by a few ticks: 500 ticks are many boxes.
    assert bool((trace.errors[:, -1] < 0.6 * trace.errors[:, 0] + 1e-9).all())


def loop(A, b, start, masks, ages):
    """x_i(t + 1) = sum_j A_ij x_j(t - age_ij(t)) + b_i for the sites of the mask."""
    size = len(b)
    past = [list(start)]
    for tick, mask in enumerate(masks):
        state = list(past[-1])
        for i in range(size):
            if mask[i]:
                state[i] = b[i] + sum(A[i][j] * past[max(tick - ages[tick][i][j], 0)][j] for j in range(size))
        past.append(state)
    return past


@given(st.integers(1, 5), st.integers(0, 12), st.integers(0, 4), st.integers(0, 2**31 - 1))
@settings(max_examples=25)
def test_a_run_equals_a_loop(size, steps, longest, seed):
    A, b = contraction(size, 0.9, seed)
    start = noise(size, seed=seed + 5)
    masks = torch.rand(steps, size, generator=seeded(seed)) < 0.5
    ages = torch.randint(longest + 1, (steps, size, size), generator=seeded(seed + 1))
    expected = loop(A.tolist(), b.tolist(), start.tolist(), masks.tolist(), ages.tolist())
    along_edges = GraphMap(graphs.from_adjacency(A), lambda total, own: total + b)
    for F in (affine(A, b), along_edges):
        trace = asynchronous.iterate_schedule(F, start, masks, ages)
        np.testing.assert_allclose(trace.states, expected, atol=1e-12)
        fresh = asynchronous.iterate_schedule(F, start, masks)
        unaged = loop(A.tolist(), b.tolist(), start.tolist(), masks.tolist(), torch.zeros_like(ages).tolist())
        np.testing.assert_allclose(fresh.states, unaged, atol=1e-12)
    sites = torch.randint(size, (steps,), generator=seeded(seed + 2))
    one = asynchronous.masks_of_sites(sites, size)
    expected = loop(A.tolist(), b.tolist(), start.tolist(), one.tolist(), ages.tolist())
    of_reader = ages[torch.arange(steps), sites]
    trace = asynchronous.iterate_schedule(affine(A, b), start, sites, of_reader)
    np.testing.assert_allclose(trace.states, expected, atol=1e-12)


def test_a_graph_map_reads_its_own_value_late_too():
    F = GraphMap(graphs.ring(3), lambda total, own: own + 1)
    ages = torch.zeros(4, 3, 3, dtype=torch.int64)
    ages[:, 1, 1] = 2
    every = torch.ones(4, 3, dtype=torch.bool)
    trace = asynchronous.iterate_schedule(F, torch.zeros(3, dtype=D), every, ages)
    assert trace.states[:, 0].tolist() == [0, 1, 2, 3, 4]
    assert trace.states[:, 1].tolist() == [0, 1, 1, 1, 2]


def test_single_sites_in_turn_are_gauss_seidel_and_all_at_once_are_jacobi():
    A, b = contraction(5, 0.8, seed=3)
    start = noise(5, seed=4)
    turn = torch.arange(5).repeat(7)
    states = asynchronous.iterate_schedule(affine(A, b), start, turn).states
    lower, upper = np.tril(A, -1), np.triu(A)
    x = start.numpy()
    for sweep in range(7):
        x = scipy.linalg.solve_triangular(np.eye(5) - lower, upper @ x + b.numpy(), lower=True)
        np.testing.assert_allclose(states[5 * (sweep + 1)], x, rtol=1e-12)
    jacobi = asynchronous.iterate_schedule(affine(A, b), start, torch.ones(1, 5, dtype=torch.bool)).final
    np.testing.assert_allclose(jacobi, A.numpy() @ start.numpy() + b.numpy(), rtol=1e-12)
    assert float((jacobi - states[5]).abs().max()) > 0.01


def test_a_map_that_writes_into_its_argument_is_refused():
    """It would turn Jacobi into Gauss-Seidel updates without a word."""

    def sneaky(x):
        x[..., 0] = 0.5 * x[..., 1]
        return 0.5 * x

    with pytest.raises(ValueError, match="F must not write into its argument"):
        asynchronous.iterate_schedule(sneaky, [1.0, 1.0], torch.tensor([0]), target=[0.0, 0.0])


def test_batched_equals_one_by_one():
    A, b = contraction(4, 0.9, seed=8)
    b = b + noise(6, 4, seed=9)  # every replica has a map of its own
    start = noise(6, 4, seed=10)
    masks = torch.rand(6, 30, 4, generator=seeded(1)) < 0.4
    ages = torch.randint(4, (6, 30, 4, 4), generator=seeded(2))
    sites = torch.randint(4, (6, 30), generator=seeded(3))
    of_reader = ages[:, :, 0]
    for schedule, delays in ((masks, None), (masks, ages), (sites, None), (sites, of_reader)):
        together = asynchronous.iterate_schedule(affine(A, b), start, schedule, delays)
        for k in range(6):
            alone = asynchronous.iterate_schedule(
                affine(A, b[k]), start[k], schedule[k], None if delays is None else delays[k]
            )
            torch.testing.assert_close(together.states[k], alone.states)
            torch.testing.assert_close(together.errors[k], alone.errors, rtol=1e-7, atol=1e-13)
            assert torch.equal(together.epochs[k], alone.epochs)
    # One start under many schedules, and many starts under one.
    assert asynchronous.iterate_schedule(affine(A, b[0]), start[0], masks).states.shape == (6, 31, 4)
    assert asynchronous.iterate_schedule(affine(A, b), start, masks[0]).states.shape == (6, 31, 4)


def test_random_runs_follow_their_schedules_and_repeat():
    A, b = contraction(5, 0.9, seed=11)
    start = noise(3, 5, seed=12)
    rates = torch.tensor([0.1, 0.3, 0.5, 0.9, 1.0], dtype=D)
    trace = asynchronous.async_iterate(affine(A, b), start, rates, 40, seeded(6))
    masks = asynchronous.bernoulli_schedule(rates, 40, seeded(6), replicas=(3,))
    torch.testing.assert_close(trace.states, asynchronous.iterate_schedule(affine(A, b), start, masks).states)
    assert trace.ticks.tolist() == list(range(41))
    events = asynchronous.async_iterate(affine(A, b), start, 5 * rates, 40, seeded(7), clock="poisson")
    times, sites = asynchronous.poisson_schedule(5 * rates, 40, seeded(7), replicas=(3,))
    torch.testing.assert_close(events.states, asynchronous.iterate_schedule(affine(A, b), start, sites).states)
    torch.testing.assert_close(events.ticks[:, 1:], times)
    assert events.ticks[:, 0].tolist() == [0, 0, 0]


def test_delays_per_pair_and_delays_that_are_0():
    A, b = contraction(3, 0.9, seed=13)
    rates, start = [0.5, 0.5, 0.5], noise(3, seed=14)
    none = asynchronous.async_iterate(affine(A, b), start, rates, 30, seeded(0))
    for delays in (0, torch.zeros(3, 3, dtype=torch.int64)):
        zero = asynchronous.async_iterate(affine(A, b), start, rates, 30, seeded(0), delays=delays)
        assert torch.equal(none.states, zero.states)
    # Site 0 reads site 1 late, and nothing else is late: with A_01 = 0 that changes nothing.
    A[0, 1] = 0
    late = torch.zeros(3, 3, dtype=torch.int64)
    late[0, 1] = 5
    every = [1.0, 1.0, 1.0]
    fresh = asynchronous.async_iterate(affine(A, b), start, every, 30, seeded(0))
    stale = asynchronous.async_iterate(affine(A, b), start, every, 30, seeded(0), delays=late)
    torch.testing.assert_close(fresh.states, stale.states)
    late[1, 0] = 5
    changed = asynchronous.async_iterate(affine(A, b), start, every, 30, seeded(0), delays=late)
    assert float((changed.states - fresh.states).abs().max()) > 1e-3


def test_ages_are_uniform():
    """Site 1 counts the ticks, and site 0 reads it: each of the last four values equally often."""
    steps, longest = 4000, 3
    one_way = graphs.from_edges([(1, 0)], 2, directed=True)
    ramp = GraphMap(one_way, lambda total, own: torch.stack([total[..., 0], own[..., 1] + 1], dim=-1))
    bounds = torch.tensor([[0, longest], [0, 0]])
    trace = asynchronous.async_iterate(
        ramp, [0.0, 0.0], [1.0, 1.0], steps, seeded(15), delays=bounds, target=[0.0, 0.0]
    )
    age = torch.arange(longest, steps) - trace.states[longest + 1 :, 0]
    share = torch.bincount(age.to(torch.int64), minlength=longest + 1) / len(age)
    error = math.sqrt(0.25 * 0.75 / len(age))
    assert share.shape == (longest + 1,)
    assert bool(((share - 0.25).abs() < 4 * error).all())


def test_errors_without_a_target():
    A, b = contraction(4, 0.5, seed=16)
    trace = asynchronous.async_iterate(affine(A, b), noise(4), [0.5] * 4, 50, seeded(0), keep_states=False)
    expected = np.linalg.solve(np.eye(4) - A.numpy(), b.numpy())
    np.testing.assert_allclose(trace.fixed_point, expected, atol=1e-13)
    np.testing.assert_allclose(trace.errors[-1], np.abs(trace.final.numpy() - expected).max(), atol=1e-13)
    assert trace.states is None
    chaos = asynchronous.async_iterate(lambda x: 4 * x * (1 - x), [0.3, 0.4], [0.5, 0.5], 20, seeded(0))
    assert chaos.errors is None and chaos.fixed_point is None
    assert asynchronous.async_iterate(affine(A, b), noise(4), [0.5] * 4, 0, seeded(0)).epochs.tolist() == [0]


def mean_and_error(values):
    values = values.to(D)
    return float(values.mean()), float(values.std() / math.sqrt(len(values)))


def subsets(items):
    for size in range(1, len(items) + 1):
        yield from itertools.combinations(items, size)


def test_the_first_epoch_of_bernoulli_clocks_lasts_the_largest_of_geometric_times():
    rates = [0.1, 0.25, 0.6]
    expected = sum((-1) ** (len(some) + 1) / (1 - math.prod(1 - rate for rate in some)) for some in subsets(rates))
    masks = asynchronous.bernoulli_schedule(rates, 150, seeded(20), replicas=(4000,))
    first = (asynchronous.epochs(masks) >= 1).to(torch.int64).argmax(dim=-1) + 1
    mean, error = mean_and_error(first)
    assert abs(mean - expected) < 4 * error
    share, error = masks.to(D).mean(dim=(0, 1)), np.sqrt(np.array(rates) * (1 - np.array(rates)) / 600_000)
    assert bool((np.abs(share.numpy() - rates) < 4 * error).all())


def test_the_first_epoch_of_poisson_clocks_lasts_the_largest_of_exponential_times():
    rates = [0.4, 1.5, 6.0]
    expected = sum((-1) ** (len(some) + 1) / sum(some) for some in subsets(rates))
    times, sites = asynchronous.poisson_schedule(rates, 300, seeded(21), replicas=(4000,))
    counted = asynchronous.epochs(asynchronous.masks_of_sites(sites, 3))
    assert bool((counted[:, -1] >= 1).all())
    first = (counted >= 1).to(torch.int64).argmax(dim=-1, keepdim=True)
    mean, error = mean_and_error(times.gather(-1, first)[:, 0])
    assert abs(mean - expected) < 4 * error


def test_poisson_events_are_independent_clocks_of_their_rates():
    rates = torch.tensor([0.5, 2.0, 7.5], dtype=D)
    times, sites = asynchronous.poisson_schedule(rates, 60, seeded(22), replicas=(3000,))
    assert bool((times.diff(dim=-1) >= 0).all())
    total, error = mean_and_error(times[:, -1])
    assert abs(total - 60 / 10) < 4 * error
    # Counts of each site by a fixed time: mean and variance are both rate x time.
    horizon = 2.0
    assert float(times[:, -1].min()) > horizon
    before = times <= horizon
    for site, rate in enumerate(rates.tolist()):
        count = ((sites == site) & before).sum(dim=-1).to(D)
        mean, error = mean_and_error(count)
        assert abs(mean - rate * horizon) < 4 * error
        spread = (count - rate * horizon) ** 2
        variance, error = mean_and_error(spread)
        assert abs(variance - rate * horizon) < 4 * error
    # Time until the first event of each site is exponential, by Kolmogorov and Smirnov.
    fast = (sites == 2).to(torch.int64).argmax(dim=-1, keepdim=True)
    waiting = times.gather(-1, fast)[:, 0].numpy()
    assert scipy.stats.kstest(waiting, "expon", args=(0, 1 / 7.5)).pvalue > 1e-3


@given(st.integers(1, 5), st.integers(0, 30), st.floats(0, 1), st.integers(0, 2**31 - 1))
@settings(max_examples=50)
def test_epochs_by_definition(size, steps, probability, seed):
    masks = torch.rand(2, steps, size, generator=seeded(seed)) < probability
    counted = asynchronous.epochs(masks)
    assert counted.shape == (2, steps)
    for one, numbers in zip(masks.tolist(), counted.tolist(), strict=True):
        seen, done, expected = set(), 0, []
        for mask in one:
            seen |= {site for site in range(size) if mask[site]}
            if len(seen) == size:
                seen, done = set(), done + 1
            expected.append(done)
        assert numbers == expected


@given(st.integers(1, 6), st.integers(0, 2**31 - 1))
@settings(max_examples=40)
def test_contraction_constants(size, seed):
    A = noise(2, size, size, seed=seed)
    radius = asynchronous.contraction_constant(A, "abs_radius")
    np.testing.assert_allclose(asynchronous.contraction_constant(A), np.linalg.norm(A, ord=np.inf, axis=(-2, -1)))
    weights = 0.1 + torch.rand(2, size, generator=seeded(seed), dtype=D)
    similar = A * weights[:, None, :] / weights[:, :, None]
    expected = np.linalg.norm(similar, ord=np.inf, axis=(-2, -1))
    np.testing.assert_allclose(asynchronous.contraction_constant(A, weights=weights), expected)
    assert bool((radius <= asynchronous.contraction_constant(A, weights=weights) * (1 + 1e-9)).all())
    for matrix, value, weight in zip(A, radius, weights, strict=True):
        graph = graphs.from_adjacency(matrix)
        assert float(asynchronous.contraction_constant(graph, "abs_radius")) == pytest.approx(float(value), rel=1e-6)
        of_graph = asynchronous.contraction_constant(graph, weights=weight)
        torch.testing.assert_close(of_graph, asynchronous.contraction_constant(matrix, weights=weight))


def test_radius_of_a_large_graph():
    torus = -0.2 * graphs.torus(20, 20)
    assert float(asynchronous.contraction_constant(torus, "abs_radius")) == pytest.approx(0.8, abs=1e-9)
    random = np.random.default_rng(0)
    A = random.normal(size=(300, 300)) * (random.random((300, 300)) < 0.05)
    expected = np.abs(np.linalg.eigvals(np.abs(A))).max()
    radius = asynchronous.contraction_constant(graphs.from_adjacency(A), "abs_radius")
    assert float(radius) == pytest.approx(expected, rel=1e-9)


def test_radii_of_sparse_graphs_in_closed_form():
    """Where general eigenvalue solvers give up or see pseudospectra: long paths, one-way lines, unequal directions."""
    size = 2000
    here, next_ = np.arange(size - 1), np.arange(1, size)

    def radius(weights, rows, columns):
        A = scipy.sparse.coo_array((weights, (rows, columns)), shape=(size, size))
        return float(asynchronous.contraction_constant(graphs.from_adjacency(A), "abs_radius"))

    both = np.r_[here, next_], np.r_[next_, here]
    path = 2 * math.cos(math.pi / (size + 1))
    assert radius(np.ones(2 * size - 2), *both) == pytest.approx(path, rel=1e-13)
    assert radius(np.repeat([-100.0, 0.01], size - 1), *both) == pytest.approx(path, rel=1e-12)
    order = np.random.default_rng(0).permutation(size)
    assert radius(np.ones(size - 1), order[here], order[next_]) == 0
    weights = np.random.default_rng(1).uniform(0.1, 3, size)
    circle = np.arange(size)
    assert radius(weights, circle, np.roll(circle, 1)) == pytest.approx(np.exp(np.log(weights).mean()), rel=1e-12)
    # A loop, and a pair that a loop reads without being read: the largest component decides.
    assert radius(np.array([0.3, 2.0, 8.0, 9.0]), [0, 1, 2, 0], [0, 2, 1, 1]) == pytest.approx(4.0, rel=1e-13)
    assert float(asynchronous.contraction_constant(graphs.from_edges([], 300), "abs_radius")) == 0


def test_affine_fixed_points():
    A, b = contraction(6, 0.9, seed=17)
    b = noise(4, 6, seed=18)
    expected = np.linalg.solve(np.eye(6) - A.numpy(), b.numpy().T).T
    np.testing.assert_allclose(asynchronous.affine_fixed_point(A, b), expected, rtol=1e-10)
    np.testing.assert_allclose(asynchronous.affine_fixed_point(graphs.from_adjacency(A), b), expected, rtol=1e-10)
    assert asynchronous.affine_fixed_point(graphs.ring(3), torch.ones(3)).dtype == torch.float32
    # Averages keep constants; their rows add up to 1 to rounding only, so that the elimination meets no exact zero.
    average = torch.rand(2, 6, 6, generator=seeded(19), dtype=D).softmax(dim=-1)
    together = torch.stack([average[0], 0.5 * average[1]])
    for singular in (torch.eye(6, dtype=D), average, together, graphs.from_adjacency(average[0])):
        with pytest.raises(ValueError, match="A must not have the eigenvalue 1"):
            asynchronous.affine_fixed_point(singular, torch.ones(6, dtype=D))
    nearly = asynchronous.affine_fixed_point((1 - 1e-9) * graphs.row_stochastic(graphs.ring(9)), torch.ones(9).double())
    np.testing.assert_allclose(nearly, 1e9, rtol=1e-6)


def test_a_run_that_diverges_is_followed_to_its_end():
    """Beyond the largest number states are infinite, then NaN; clocks and epochs go on, other replicas unharmed."""
    start = torch.tensor([[1.5, 2.0], [0.5, 0.5]], dtype=D)
    masks = torch.ones(40, 2, dtype=torch.bool)
    trace = asynchronous.iterate_schedule(lambda x: x * x - x.flip(-1), start, masks, target=[0.0, 0.0])
    assert not bool(trace.final[0].isfinite().any())
    assert bool(trace.final[1].isfinite().all())
    assert trace.epochs.tolist() == [list(range(41))] * 2


def test_no_replica_and_inference_mode():
    with torch.inference_mode():
        trace = asynchronous.async_iterate(lambda x: 0.5 * x, torch.ones(3), torch.ones(3), 2, seeded(0))
    assert trace.final.tolist() == [0.25] * 3
    for clock in ("bernoulli", "poisson"):
        nobody = torch.empty(2, 0, 3, dtype=D)
        trace = asynchronous.async_iterate(lambda x: 0.5 * x, nobody, [0.5] * 3, 4, seeded(0), delays=2, clock=clock)
        assert trace.states.shape == (2, 0, 5, 3) and trace.epochs.shape == (2, 0, 5)


def test_slow_clocks_beside_a_fast_one_are_drawn_in_float32_too():
    """Their rates vanish in a float32 sum, 1 + 1e-8 = 1: each of them has to have its share of the events."""
    rates = torch.tensor([1.0] + [1e-8] * 1000)
    _, sites = asynchronous.poisson_schedule(rates, 100, seeded(23), replicas=(40_000,))
    slow = sites[sites > 0].to(D)
    assert abs(len(slow) - 40) < 4 * math.sqrt(40)
    assert abs(float(slow.mean()) - 500.5) < 4 * 1000 / math.sqrt(12 * len(slow))


def test_float32_and_integer_lists():
    def F(x):
        return 0.5 * x

    trace = asynchronous.async_iterate(F, torch.ones(3), [0.5, 0.5, 0.5], 20, seeded(0), delays=2)
    assert trace.states.dtype == torch.float32 and trace.errors.dtype == torch.float32
    trace = asynchronous.async_iterate(F, [1, 2, 3], [1, 1, 1], 3, seeded(0), target=[0, 0, 0])
    assert trace.final.tolist() == [0.125, 0.25, 0.375]


def test_what_a_figure_needs_can_be_recorded():
    """Error against epochs for live c, clock spread and seed; and the adversary for a live coupling."""
    ring = graphs.ring(8)

    def decay(c, ratio, seed):
        rates = asynchronous.log_uniform_rates(live_random.uniform(seed, 8), ratio)
        masks = live_random.uniform(seed, 12, 8, stream=1) < rates
        x = torch.ones(8, dtype=D)
        seen, done = torch.zeros(8, dtype=torch.bool), torch.tensor(0)
        for mask in masks.unbind(0):
            x = asynchronous.asynchronous_step(lambda y: 0.5 * c * graphs.neighbour_sum(ring, y), x, mask)
            seen, done = asynchronous.epoch_step(seen, done, mask)
        bound = asynchronous.contraction_bound(c, asynchronous.epochs(masks), 1.0)
        return torch.cat([x, bound, done[None].to(D)])

    def stale(a, angle, bound):
        A = a * torch.stack([torch.stack([angle.cos(), -angle.sin()]), torch.stack([angle.sin(), angle.cos()])])
        constants = torch.stack(
            [asynchronous.contraction_constant(A), asynchronous.contraction_constant(A, "abs_radius")]
        )
        return torch.cat([asynchronous.stale_read_adversary(A, bound, 20, longest=4).reshape(-1), constants])

    for function, at, others in (
        (decay, {"c": 0.8, "ratio": 10.0, "seed": 1.0}, {"c": 0.3, "ratio": 3.0, "seed": 7.0}),
        (stale, {"a": 0.85, "angle": 0.8, "bound": 3.0}, {"a": 1.1, "angle": 0.3, "bound": 0.0}),
    ):
        for found, expected in replays(recorded(function, at), function, (at, others)):
            torch.testing.assert_close(found.reshape(expected.shape), expected, rtol=1e-9, atol=1e-12)


def test_runs_that_cannot_be():
    def half(x):
        return 0.5 * x

    good = {"F": half, "x0": [1.0, 1.0], "rates": [0.5, 0.5], "steps": 3, "generator": seeded(0)}
    for change, word in (
        ({"rates": [0.5, 1.5]}, r"rates must be in \(0, 1\], got 1.5"),
        ({"rates": [0.0, 0.5]}, r"rates must be in \(0, 1\], got 0"),
        ({"rates": [0.0, 0.5], "clock": "poisson"}, "rates must be above 0, got 0"),
        ({"rates": [0.5]}, "rates must have shape"),
        ({"delays": torch.zeros(3, 3, dtype=torch.int64)}, "delays must be an integer or have shape"),
        ({"x0": torch.ones(3, 2), "rates": torch.ones(2, 2)}, "leading dimensions"),
        ({"F": lambda x: x[..., :1]}, "F must return"),
        ({"F": lambda x: x.sum()}, "F must return"),
        ({"F": lambda x: x.to(torch.float32)}, "F must return"),
        ({"F": GraphMap(graphs.ring(5), lambda total, own: total)}, "x0 must have shape"),
        ({"target": torch.zeros(2, 2), "x0": torch.ones(3, 2)}, "leading dimensions of x0 and target"),
        ({"weights": torch.ones(3, 2, dtype=D)}, "weights must have shape"),
    ):
        with pytest.raises(ValueError, match=word):
            asynchronous.async_iterate(**(good | change))
    with pytest.raises(ValueError, match="graph must be a Graph"):
        GraphMap(torch.eye(3), half)
    with pytest.raises(ValueError, match="update must be a function"):
        GraphMap(graphs.ring(3), "mean")
    with pytest.raises(ValueError, match="schedule must hold sites from 0 to 1"):
        asynchronous.iterate_schedule(half, [1.0, 1.0], torch.tensor([0, 2]))
    with pytest.raises(ValueError, match=r"delays must have shape \(\.\.\., 2, 2\)"):
        asynchronous.iterate_schedule(half, [1.0, 1.0], torch.tensor([0, 1]), torch.zeros(2, dtype=torch.int64))
