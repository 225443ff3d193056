"""Strata and the asynchronous evolution metric: Bell numbers, axioms, closed forms, brute force, bad input."""

import math
from itertools import combinations

import numpy as np
import plotly.graph_objects as go
import pytest
import sympy.utilities.iterables
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.live import Seed, Slider, live, uniform
from lib.strata import (
    all_partitions,
    cell_masks,
    evolution_distance,
    number_of_cells,
    number_of_strata,
    phase_offset_distance,
    phase_offset_matrix,
    refines,
    stratum,
    synchrony_projection,
)

PHASE = st.floats(-10, 10)
SPEED = st.floats(0, 5)
LABELS = st.integers(1, 8).flatmap(lambda n: st.lists(st.integers(0, 5), min_size=n, max_size=n))


def gap(a, b):
    """Distance around the circle, written with complex numbers."""
    return (torch.exp(1j * a) / torch.exp(1j * b)).angle().abs()


def cells(labels):
    """A partition as a set of sets."""
    return {frozenset(np.flatnonzero(np.array(labels) == label)) for label in set(labels)}


@pytest.mark.parametrize("omega", [0.3, 1.0, 2.5])
@pytest.mark.parametrize("delta", [0.2, 1.5, 3.0])
def test_brief_10_rotations(omega, delta):
    closed = float(phase_offset_distance(0.4, 0.4 + delta, omega))
    assert closed == pytest.approx(delta / max(1, omega), abs=1e-12)
    shifts = np.linspace(-4, 4, 800_001)
    moved = np.abs(np.angle(np.exp(1j * (omega * shifts - delta))))
    assert closed == pytest.approx((np.abs(shifts) + moved).min(), abs=2e-5)
    rotation = evolution_distance(lambda s, x: x + omega * s, [0.4], [0.4 + delta], gap)
    assert float(rotation) == pytest.approx(closed, abs=1e-9)


def test_brief_10_fifteen_strata():
    assert number_of_strata(4) == 15
    for n in range(1, 8):
        partitions = all_partitions(n)
        assert len(partitions) == number_of_strata(n)
        ours = {frozenset(cells(labels)) for labels in partitions.tolist()}
        theirs = {
            frozenset(frozenset(cell) for cell in found)
            for found in sympy.utilities.iterables.multiset_partitions(list(range(n)))
        }
        assert ours == theirs
    assert len(all_partitions(10)) == number_of_strata(10) == 115975


@given(PHASE, PHASE, PHASE, SPEED)
def test_phase_offset_distance_is_a_metric_on_the_circle(a, b, c, omega):
    def D(x, y):
        return float(phase_offset_distance(x, y, omega))

    assert D(a, a) == 0
    assert D(a, b) == D(b, a) >= 0
    assert D(a, c) <= D(a, b) + D(b, c) + 1e-12
    assert D(a, b) == pytest.approx(D(a + 2 * math.pi, b), abs=1e-12)
    assert D(a, b) <= math.pi / max(1, omega) + 1e-12
    # Zero only for equal phases: no less than the gap over the speed.
    assert D(a, b) == pytest.approx(float(gap(torch.tensor(a).double(), torch.tensor(b).double())) / max(1, omega))


@given(st.lists(st.tuples(PHASE, PHASE, st.floats(0.1, 4)), min_size=1, max_size=5))
@settings(max_examples=30)
def test_the_search_finds_the_closed_form_of_rotations(sites):
    x, y, omega = torch.tensor(sites, dtype=torch.float64).unbind(dim=-1)
    found = evolution_distance(lambda s, x: x + omega * s, x, y, gap)
    closed = phase_offset_distance(x, y, omega).max()
    assert float(found) == pytest.approx(float(closed), abs=1e-7)


def growth(s, x):
    return x * torch.exp(s)


@pytest.mark.parametrize(
    ("x", "y", "expected"),
    [
        (0.7, 1.2, 0.5),  # moving is cheaper than waiting
        (1.2, 0.7, math.log(1.2) + 0.3),  # run back to slope 1, then move
        (10.0, 11.0, math.log(1.1)),  # waiting alone
    ],
)
def test_exponential_growth_by_hand(x, y, expected):
    assert float(evolution_distance(growth, [x], [y])) == pytest.approx(expected, abs=1e-9)


def test_shifts_that_leave_the_numbers_are_not_chosen():
    """0 * exp(s) is NaN for a large s, which must not hide the shift that pays."""
    assert float(evolution_distance(growth, [0.0], [2000.0])) == 2000
    assert float(evolution_distance(growth, [0.0, 1.0], [0.5, 2000.0])) == pytest.approx(math.log(2000), abs=1e-6)


def test_axioms_that_growth_loses():
    """Not symmetric, and no triangle inequality: its flow does not keep distances."""

    def D(x, y):
        return float(evolution_distance(growth, [x], [y]))

    assert D(0.7, 1.2) - D(1.2, 0.7) > 0.01
    points = torch.linspace(0.1, 6, 30, dtype=torch.float64)
    x, y = torch.cartesian_prod(points, points).unbind(dim=-1)
    matrix = evolution_distance(growth, x[:, None], y[:, None]).reshape(30, 30)
    excess = matrix[:, None, :] - (matrix[:, :, None] + matrix[None, :, :])
    assert float(excess.max()) > 0.01
    assert bool((matrix.diagonal() == 0).all()) and bool((matrix + 2 * torch.eye(30) > 1e-9).all())


def test_flows_without_a_way_back_wait_only():
    forward = evolution_distance(lambda s, x: x + 2 * s, [1.0], [0.0], invertible=False)
    assert float(forward) == 1
    assert float(evolution_distance(lambda s, x: x + 2 * s, [1.0], [0.0])) == pytest.approx(0.5)
    assert float(evolution_distance(lambda s, x: x + 2 * s, [0.0], [1.0], invertible=False)) == pytest.approx(0.5)


def test_the_largest_site_counts_and_batches_broadcast():
    rate = torch.tensor([0.3, 3.0], dtype=torch.float64)
    x = torch.zeros(4, 1, 2, dtype=torch.float64)
    y = torch.tensor([[0.2, 1.5], [0.0, 0.0], [1.0, 0.3]], dtype=torch.float64)
    found = evolution_distance(lambda s, x: x + rate * s, x, y)
    assert found.shape == (4, 3)
    np.testing.assert_allclose(found[0], [0.5, 0.0, 1.0], atol=1e-9)


def test_phase_offset_matrix():
    theta, omega = [0.0, 1.0, 6.0], [1.0, 2.0, 4.0]
    matrix = phase_offset_matrix(theta, omega)
    for i, j in combinations(range(3), 2):
        assert float(matrix[i, j]) == float(phase_offset_distance(theta[i], theta[j], omega[i]))
        assert float(matrix[j, i]) == float(phase_offset_distance(theta[j], theta[i], omega[j]))
    assert bool((matrix.diagonal() == 0).all())
    assert phase_offset_matrix(torch.zeros(2, 3).double(), torch.ones(3).double()).shape == (2, 3, 3)


@given(st.lists(st.sampled_from([0.0, 0.3, 0.31, 1.0, 1.02, 1.04, 2.0]), min_size=1, max_size=8), st.floats(0, 0.5))
def test_stratum_against_chains_of_neighbours(x, tol):
    """Connected components of the graph of pairs within the tolerance."""
    components = [{site} for site in range(len(x))]
    for i, j in combinations(range(len(x)), 2):
        if abs(x[i] - x[j]) <= tol:
            one, other = (next(cell for cell in components if site in cell) for site in (i, j))
            if one is not other:
                components.remove(other)
                one |= other
    labels = stratum(x, tol)
    assert cells(labels.tolist()) == {frozenset(cell) for cell in components}
    assert int(number_of_cells(labels)) == len(components)
    firsts = [labels.tolist().index(label) for label in range(len(components))]
    assert firsts == sorted(firsts)  # numbered in the order of their first site


def test_stratum_around_the_circle():
    turn = 2 * math.pi
    assert stratum([0.05, 3.0, turn - 0.05, 3.01], tol=0.11, period=turn).tolist() == [0, 1, 0, 1]
    assert stratum([0.05, 3.0, turn - 0.05], tol=0.11).tolist() == [0, 1, 2]
    assert stratum([0.0, turn, -3 * turn], tol=1e-9, period=turn).tolist() == [0, 0, 0]
    batch = torch.tensor([[1.0, 1.0, 2.0], [1.0, 2.0, 1.0]])
    assert stratum(batch).tolist() == [[0, 0, 1], [0, 1, 0]]


@given(LABELS, st.integers(0, 10_000))
def test_projection(labels, seed):
    """Idempotent, constant on cells, keeps what is constant already, and leaves a residual orthogonal to it."""
    x, z = torch.randn(2, len(labels), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    projected = synchrony_projection(x, labels)
    for cell in cells(labels):
        values = projected[list(cell)]
        assert bool((values == values[0]).all())
        assert float(values[0]) == pytest.approx(float(x[list(cell)].mean()), abs=1e-12)
    torch.testing.assert_close(synchrony_projection(projected, labels), projected, rtol=0, atol=1e-14)
    constant = synchrony_projection(z, labels)
    assert float((x - projected) @ constant) == pytest.approx(0, abs=1e-12)
    assert bool(refines(labels, stratum(projected, 0.0)))


def test_projection_batches_over_states_and_labels():
    x = torch.arange(6.0, dtype=torch.float64).reshape(2, 1, 3)
    labels = torch.tensor([[0, 0, 1], [5, 9, 5], [2, 2, 2], [1, 2, 3]])
    projected = synchrony_projection(x, labels)
    assert projected.shape == (2, 4, 3)
    assert projected[1].tolist() == [[3.5, 3.5, 5.0], [4.0, 4.0, 4.0], [4.0, 4.0, 4.0], [3.0, 4.0, 5.0]]


@given(LABELS, st.integers(0, 10_000))
def test_refinement_of_partitions(fine, seed):
    merge = np.random.default_rng(seed).integers(0, 3, 6)
    coarse = [int(merge[label]) for label in fine]
    assert bool(refines(fine, coarse))
    finer_both_ways = bool(refines(coarse, fine))
    assert finer_both_ways == (cells(fine) == cells(coarse))
    for one, other in ((fine, coarse), (coarse, fine)):
        expected = all(any(cell <= large for large in cells(other)) for cell in cells(one))
        assert bool(refines(one, other)) == expected


def test_cell_masks():
    masks = cell_masks([0, 1, 0, 2], 0.3, 5000, torch.Generator().manual_seed(0))
    assert masks.shape == (5000, 4) and masks.dtype == torch.bool
    assert torch.equal(masks[:, 0], masks[:, 2])
    np.testing.assert_allclose(masks.double().mean(dim=0), 0.3, atol=0.03)
    both = (masks[:, 0] & masks[:, 1]).double().mean()
    assert float(both) == pytest.approx(0.09, abs=0.02)  # cells are independent
    assert torch.equal(masks, cell_masks([7, 1, 7, 2], 0.3, 5000, torch.Generator().manual_seed(0)))
    assert bool(cell_masks([0, 1], 1.0, 3, torch.Generator()).all())


def test_figures_can_be_recorded():
    @live(omega=Slider(0.1, 3, 1.0, label="Speed"), seed=Seed(1))
    def figure(omega, seed):
        """Offsets."""
        theta = 6 * uniform(seed, 8)
        labels = stratum(torch.round(theta), 0.1)
        made = go.Figure(layout={"title": f"{number_of_cells(labels):.0f} cells"})
        made.add_scatter(y=phase_offset_distance(theta, 0.0, omega))
        made.add_scatter(y=synchrony_projection(theta, [0, 0, 1, 1, 2, 2, 2, 3]))
        return made.add_heatmap(z=phase_offset_matrix(theta, torch.ones(8, dtype=torch.float64)))

    assert figure.spec()["variants"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: phase_offset_distance(0.0, 1.0, -1.0), "omega must be at least 0, got -1"),
        (lambda: phase_offset_distance([0.0, 1.0], [1.0] * 3, 1.0), "the leading dimensions of theta1"),
        (lambda: phase_offset_matrix([0.0, 1.0], [1.0]), r"omega must have shape \(\.\.\., 2\)"),
        (lambda: evolution_distance(3, [0.0], [1.0]), "flow must be a function of time and states, got 3"),
        (lambda: evolution_distance(growth, [0.0], [1.0], 3), "distance must be a function of two states or None"),
        (lambda: evolution_distance(lambda s, x: x.sum(), [0.0], [1.0]), r"flow must keep the shape \(1,\)"),
        (lambda: evolution_distance(growth, [0.0], [1.0], lambda a, b: 0.0), "distance must keep the shape"),
        (lambda: evolution_distance(growth, [0.0], [1.0, 2.0]), "y must have shape"),
        (lambda: evolution_distance(growth, [0.0], [1.0], points=2), "points must be an integer of at least 3"),
        (lambda: stratum(1.0, 0.1), "x must have shape"),
        (lambda: stratum([1.0], -0.1), "tol must be a finite number of at least 0"),
        (lambda: stratum([1.0], 0.1, period=0), "period must be a finite number above 0"),
        (lambda: synchrony_projection([1.0, 2.0], [0]), r"labels must have one entry for each of the 2 sites.*\(1,\)"),
        (lambda: synchrony_projection([1.0, 2.0], [0.0, 1.0]), "labels must be integers"),
        (lambda: synchrony_projection([1.0, 2.0], [0, -1]), "labels must be at least 0, got -1"),
        (lambda: number_of_cells([]), "labels must be integers"),
        (lambda: refines([0, 1], [0, 1, 2]), "coarse must have one entry for each of the 2 sites"),
        (lambda: number_of_strata(0), "n must be an integer of at least 1"),
        (lambda: all_partitions(11), "n must be an integer from 1 to 10"),
        (lambda: cell_masks([[0, 1]], 0.5, 3, torch.Generator()), "labels must be one partition"),
        (lambda: cell_masks([0, 1], 1.5, 3, torch.Generator()), "update_prob must be a finite number above 0 and at"),
        (lambda: cell_masks([0, 1], 0.5, 3, None), "generator must be a torch.Generator"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
