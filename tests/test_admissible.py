"""Admissible fields and invariance: acceptance numbers, scipy's solver, random maps on random graphs, bad input."""

import networkx as nx
import numpy as np
import plotly.graph_objects as go
import pytest
import scipy.integrate
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lib import graphs
from lib.admissible import admissible_field, integrate, invariance_defect, is_invariant
from lib.live import Slider, live
from lib.strata import cell_masks, refines, stratum, synchrony_projection
from lib.symmetry import equitable_partition, is_equitable, orbits

PATH = graphs.from_networkx(nx.path_graph(5))
START = [0.3, -0.2, 0.9, -0.2, 0.3]
RATES = [1.0, 2.0, 1.5, 2.0, 1.0]
BROKEN = [1.0, 2.0, 1.5, 2.0, 1.2]
LABELS = [0, 1, 2, 1, 0]


def cubic(x):
    return x - x**3


def field_of_five(rates=RATES):
    return admissible_field(PATH, rates, cubic, torch.tanh, strength=0.5)


def mirror_difference(path):
    return float((path - path.flip(-1)).abs().max())


def test_brief_9_equal_clocks_keep_mirror_sites_equal():
    for method in ("euler", "runge-kutta"):
        assert mirror_difference(integrate(field_of_five(), START, 500, 0.01, method=method)) == 0


def test_brief_9_one_unequal_clock():
    """The brief's 1.5e-4 is that of Euler's method with steps of 0.01; the exact value is 1.592e-4."""
    euler = integrate(field_of_five(BROKEN), START, 500, 0.01, method="euler", keep="last")
    assert mirror_difference(euler) == pytest.approx(1.5e-4, abs=0.05e-4)
    accurate = integrate(field_of_five(BROKEN), START, 500, 0.01, keep="last")
    A = nx.to_numpy_array(nx.path_graph(5))
    solved = scipy.integrate.solve_ivp(
        lambda _, x: np.array(BROKEN) * (x - x**3) + 0.5 * (A * np.tanh(x[None] - x[:, None])).sum(axis=1),
        (0, 5),
        START,
        rtol=1e-11,
        atol=1e-13,
    ).y[:, -1]
    np.testing.assert_allclose(accurate, solved, atol=1e-9)
    assert mirror_difference(accurate) == pytest.approx(1.592e-4, abs=1e-7)


@pytest.mark.parametrize("seed", range(5))
def test_brief_9_masks(seed):
    """Random updates break the symmetry (the brief saw 6e-3); updates of whole cells keep it exactly."""
    generator = torch.Generator().manual_seed(seed)
    masks = torch.rand(500, 5, generator=generator) < 0.5
    broken = integrate(field_of_five(), START, 500, 0.01, masks=masks, keep="last", method="euler")
    assert 1e-4 < mirror_difference(broken) < 0.1
    whole = cell_masks(LABELS, 0.5, 500, generator)
    assert mirror_difference(integrate(field_of_five(), START, 500, 0.01, masks=whole, method="euler")) == 0


def random_function(seed):
    """A smooth function of one number with random coefficients."""
    a, b, c = torch.randn(3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return lambda x: a * torch.sin(b * x + c)


@given(st.integers(2, 10), st.floats(0.1, 0.9), st.integers(0, 10_000))
@settings(max_examples=40)
def test_equitable_strata_are_invariant_under_random_admissible_maps(n, density, seed):
    """For random graphs, internal dynamics, couplings, rates by cell, and updates of whole cells."""
    G = nx.gnp_random_graph(n, density, seed)
    classes = np.random.default_rng(seed).integers(0, 2, n)
    labels = equitable_partition(G, classes)
    field = admissible_field(
        graphs.from_networkx(G), 1 + classes * 0.7, random_function(seed), random_function(seed + 1), 0.4
    )
    assert is_invariant(field, labels, tol=1e-12)
    start = synchrony_projection(torch.randn(n, generator=torch.Generator().manual_seed(seed)).double(), labels)
    masks = cell_masks(labels, 0.6, 25, torch.Generator().manual_seed(seed))
    path = integrate(field, start, 25, 0.1, masks=masks)
    assert float((path - synchrony_projection(path, labels)).abs().max()) < 1e-9
    assert bool(refines(labels, stratum(path[-1], tol=1e-9)))


@given(st.integers(2, 7), st.floats(0.1, 0.9), st.integers(0, 10_000))
@settings(max_examples=30)
def test_what_is_not_equitable_is_left(n, density, seed):
    """A coupling that is not odd tells two sites of a cell apart that read different sums."""
    G = nx.gnp_random_graph(n, density, seed)
    labels = np.random.default_rng(seed).integers(0, 3, n)
    field = admissible_field(graphs.from_networkx(G), np.ones(n), cubic, lambda x: torch.exp(0.3 * x) + x**2)
    assert is_invariant(field, labels) == is_equitable(G, labels)


def test_equitable_is_enough_and_symmetry_is_not_needed():
    """Full synchrony of the Frucht graph is invariant although nothing but the identity maps it to itself."""
    G = nx.frucht_graph()
    field = admissible_field(graphs.from_networkx(G), np.ones(12), cubic, torch.tanh, 0.5)
    assert int(orbits(G).max()) == 11
    assert is_invariant(field, torch.zeros(12, dtype=torch.int64))
    assert invariance_defect(field, [0] * 6 + [1] * 6) > 0.01


def test_field_against_a_loop_and_over_a_batch():
    x = torch.randn(3, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    weighted = graphs.from_adjacency([[0, 1, 0, 0, 2], [0.5, 0, 0, 0, 0], [0] * 5, [1] * 5, [0, 0, 3, 0, 0]])
    A = graphs.dense(weighted)
    slope = admissible_field(weighted, RATES, cubic, torch.sin, 0.3)(x)
    for row, found in zip(x.tolist(), slope.tolist()):
        for i in range(5):
            pull = sum(float(A[i, j]) * np.sin(row[j] - row[i]) for j in range(5))
            assert found[i] == pytest.approx(RATES[i] * (row[i] - row[i] ** 3) + 0.3 * pull, abs=1e-12)
    rates = torch.tensor([RATES, BROKEN], dtype=torch.float64)
    both = integrate(field_of_five(rates), START, 20, 0.05)
    assert both.shape == (2, 21, 5)
    for number, one in enumerate((RATES, BROKEN)):
        assert torch.equal(both[number], integrate(field_of_five(one), START, 20, 0.05))


def test_order_of_the_methods():
    exact = np.exp(-1.0)
    for method, order in (("euler", 1), ("runge-kutta", 4)):
        errors = [
            abs(float(integrate(lambda x: -x, [1.0], steps, 1 / steps, method=method, keep="last")) - exact)
            for steps in (20, 40)
        ]
        assert np.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.1)


def test_figures_can_be_recorded():
    @live(rate=Slider(0.5, 2, 1.2, label="Rate of the last clock"))
    def figure(rate):
        """Break the symmetry."""
        rates = torch.cat([torch.tensor(RATES[:4], dtype=torch.float64), rate[None]])
        path = integrate(field_of_five(rates), START, 40, 0.05)
        return go.Figure().add_scatter(y=path[:, 0] - path[:, 4])

    assert figure.spec()["variants"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: admissible_field("path", RATES, cubic, torch.tanh), "graph must be a Graph of lib.graphs"),
        (lambda: admissible_field(PATH, [1.0], cubic, torch.tanh), r"rates must have shape \(\.\.\., 5\)"),
        (lambda: admissible_field(PATH, RATES, 3, torch.tanh), "internal must be a function"),
        (lambda: admissible_field(PATH, RATES, cubic, None), "coupling must be a function"),
        (lambda: integrate(field_of_five(), torch.ones(5), 2, 0.1), "states of this field must be a torch.float64"),
        (lambda: field_of_five()(torch.ones(4).double()), r"states of this field must be .* of shape \(\.\.\., 5\)"),
        (lambda: integrate(3, [1.0], 2, 0.1), "field must be a function"),
        (lambda: integrate(torch.sum, [1.0, 2.0], 2, 0.1), r"field must keep the shape \(2,\)"),
        (lambda: integrate(cubic, [1.0], 2, 0.0), "dt must be above 0"),
        (lambda: integrate(cubic, [1.0], 2, 0.1, method="heun"), "method must be one of 'runge-kutta', 'euler'"),
        (lambda: integrate(cubic, [1.0], 2, 0.1, masks=[True]), "masks must be a tensor of true and false"),
        (
            lambda: integrate(cubic, [1.0, 2.0], 2, 0.1, masks=torch.ones(3, 2, dtype=torch.bool)),
            r"masks must have a shape that broadcasts to \(2, 2\), got \(3, 2\)",
        ),
        (lambda: invariance_defect(cubic, [0.5]), "labels must be integers"),
        (lambda: invariance_defect(lambda x: x[:, :1], [0, 1]), r"F must keep the shape \(32, 2\)"),
        (lambda: invariance_defect(field_of_five(), [0, 1]), r"F must accept states of shape \(32, 2\)"),
        (lambda: is_invariant(cubic, [0, 1], tol=-1), "tol must be a finite number of at least 0"),
        (lambda: is_invariant(cubic, [0, 1], samples=0), "samples must be an integer of at least 1"),
        (lambda: is_invariant(cubic, [0, 1], seed=-1), "seed must be an integer"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
