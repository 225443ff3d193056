"""Kuramoto oscillators: acceptance numbers, theory against scipy and Bessel functions, a loop, symmetry, bad input."""

import math

import networkx as nx
import numpy as np
import plotly.graph_objects as go
import pytest
import scipy.integrate
import scipy.special
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lib import graphs
from lib.kuramoto import (
    critical_coupling,
    frequency_quantiles,
    kuramoto,
    kuramoto_step,
    kuramoto_theory,
    order_parameter,
    stationary_order,
)
from lib.live import Seed, Slider, live, uniform
from lib.symmetry import automorphisms


def numbers(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def phases(*shape, seed=0):
    return 2 * math.pi * numbers(*shape, seed=seed)


def velocity_loop(K, omega, W, theta):
    """The definition, oscillator by oscillator."""
    n = len(theta)
    pull = [sum(W[i][j] * math.sin(theta[j] - theta[i]) for j in range(n)) for i in range(n)]
    return np.array([omega[i] + K * pull[i] for i in range(n)])


def test_brief_7_lorentz_frequencies():
    """N = 2000, T = 60, from random phases; one batch of couplings."""
    K = torch.tensor([1.5, 2.0, 3.0, 1.2, 0.5], dtype=torch.float64)
    omega = frequency_quantiles(2000, "lorentz", 0.5)
    r = stationary_order(kuramoto(K, omega, 1200, 0.05, phases(2000), keep="order"))
    theory = kuramoto_theory(K, "lorentz", 0.5)
    np.testing.assert_allclose(theory[:3], [0.5774, 0.7071, 0.8165], atol=5e-5)
    assert (r[:3] - theory[:3]).abs().max() < 0.01
    assert abs(float(r[3] - theory[3])) < 0.03
    assert float(r[4]) < 0.06
    assert float(critical_coupling("lorentz", 0.5)) == 1


def test_normal_frequencies_follow_the_theory_too():
    K = torch.tensor([1.0, 1.6], dtype=torch.float64)
    omega = frequency_quantiles(1000, "normal", 0.5)
    r = stationary_order(kuramoto(K, omega, 1000, 0.05, phases(1000), keep="order"))
    np.testing.assert_allclose(r, kuramoto_theory(K, "normal", 0.5), atol=0.02)


@pytest.mark.parametrize("width", [0.2, 0.5, 3.0])
def test_self_consistency_of_the_normal_density_in_bessel_functions(width):
    """1 = K sqrt(pi / 8) / sigma * e^-z (I0(z) + I1(z)), z = (K r / 2 sigma)^2."""
    K = float(critical_coupling("normal", width)) * np.array([1.001, 1.1, 1.5, 3.0, 20.0])
    r = kuramoto_theory(K, "normal", width).numpy()
    z = (K * r / (2 * width)) ** 2
    right = K * math.sqrt(math.pi / 8) / width * (scipy.special.ive(0, z) + scipy.special.ive(1, z))
    np.testing.assert_allclose(right, 1, atol=1e-7)
    assert (np.diff(r) > 0).all()


@pytest.mark.parametrize("name", ["lorentz", "normal", "uniform"])
def test_theory_against_scipy_quadrature_of_the_equation(name):
    width = 0.7
    density = {
        "lorentz": scipy.stats.cauchy(scale=width).pdf,
        "normal": scipy.stats.norm(scale=width).pdf,
        "uniform": scipy.stats.uniform(-width, 2 * width).pdf,
    }[name]
    critical = float(critical_coupling(name, width))
    assert critical == pytest.approx(2 / (math.pi * density(0)), rel=1e-12)
    u = np.linspace(-math.pi / 2, math.pi / 2, 400_001)
    for K in (1.05 * critical, 2 * critical, 5 * critical):
        r = float(kuramoto_theory(K, name, width))
        share = scipy.integrate.simpson(np.cos(u) ** 2 * density(K * r * np.sin(u)), x=u)
        assert K * share == pytest.approx(1, abs=2e-4)
        as_function = float(kuramoto_theory(K, lambda omega: float(density(omega)), width))
        assert as_function == pytest.approx(r, abs=1e-6)
    assert float(kuramoto_theory(0.999 * critical, name, width)) == 0
    assert float(kuramoto_theory(0.0, name, width)) == 0


def test_uniform_frequencies_jump():
    critical = float(critical_coupling("uniform", 1.0))
    assert critical == pytest.approx(4 / math.pi)
    assert float(kuramoto_theory(critical * (1 + 1e-9), "uniform", 1.0)) == pytest.approx(math.pi / 4, abs=1e-3)


def test_the_closed_form_has_gradients_everywhere():
    K = torch.tensor([0.0, 0.5, 1.0, 2.0], dtype=torch.float64, requires_grad=True)
    width = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    slopes = torch.autograd.grad(kuramoto_theory(K, "lorentz", width).sum(), (K, width))
    r = math.sqrt(0.5)
    np.testing.assert_allclose(slopes[0], [0, 0, 0, 1 / (8 * r)], atol=1e-14)  # dr/dK = K_c / (2 r K^2)
    assert float(slopes[1]) == pytest.approx(-1 / (2 * r))


@pytest.mark.parametrize("K", [1e2, 1e6, 1e9])
def test_densities_much_narrower_than_the_coupling(K):
    def lorentz(omega):
        return 0.5 / math.pi / (omega**2 + 0.25)

    assert float(kuramoto_theory(K, lorentz, 0.5)) == pytest.approx(float(kuramoto_theory(K)), abs=1e-9)
    assert float(kuramoto_theory(K, "normal", 0.5)) == pytest.approx(math.sqrt(1 - 0.25 / K**2), abs=1e-6)


def test_theory_is_broadcast():
    both = kuramoto_theory([[1.0], [3.0]], "normal", [0.1, 0.2, 5.0])
    assert both.shape == (2, 3)
    assert float(both[1, 1]) == float(kuramoto_theory(3.0, "normal", 0.2))
    assert bool((both[:, 2] == 0).all())


@pytest.mark.parametrize("form", ["dense", "graph", "name"])
@pytest.mark.parametrize("lattice", ["mean", "ring", "torus"])
def test_velocity_against_the_definition(lattice, form):
    """One step of Heun's method from the double sum, for every form of the coupling."""
    theta, omega = phases(12, seed=2), numbers(12, seed=3)
    graph = {"ring": graphs.ring(12), "torus": graphs.torus(3, 4), "mean": None}[lattice]
    W = torch.full((12, 12), 1 / 12, dtype=torch.float64)
    if graph is not None:
        W = graphs.dense(graphs.row_stochastic(graph))
    given_as = {"dense": W, "graph": graphs.from_adjacency(W), "name": lattice}[form]
    sites = (3, 4) if given_as == "torus" else (12,)
    ours = kuramoto_step(1.3, omega.reshape(sites), 0.1, theta.reshape(sites), given_as).reshape(-1)
    slope = velocity_loop(1.3, omega.tolist(), W.tolist(), theta.tolist())
    guess = theta.numpy() + 0.1 * slope
    expected = theta.numpy() + 0.05 * (slope + velocity_loop(1.3, omega.tolist(), W.tolist(), guess))
    np.testing.assert_allclose(ours, expected, atol=1e-12)


def test_a_graph_without_weights_counts_neighbours():
    star = graphs.from_networkx(nx.star_graph(4))
    theta = phases(5)
    slope = (kuramoto_step(2.0, torch.zeros(5).double(), 1e-7, theta, star) - theta) / 1e-7
    hub = 2.0 * (theta[1:] - theta[0]).sin().mean()
    assert float(slope[0]) == pytest.approx(float(hub), abs=1e-5)
    assert float(slope[1]) == pytest.approx(2.0 * math.sin(theta[0] - theta[1]), abs=1e-5)


def test_against_an_accurate_solver():
    theta, omega = phases(8), numbers(8, seed=1) - 0.5
    W = np.full((8, 8), 1 / 8)
    exact = scipy.integrate.solve_ivp(
        lambda _, x: velocity_loop(1.5, omega.tolist(), W, x.tolist()), (0, 5), theta.numpy(), rtol=1e-10, atol=1e-12
    ).y[:, -1]
    errors = []
    for steps in (50, 100, 200):
        last = kuramoto(1.5, omega, steps, 5 / steps, theta, keep="last")
        errors.append(float(np.abs(last.numpy() - exact).max()))
    assert errors[-1] < 1e-3
    np.testing.assert_allclose([errors[0] / errors[1], errors[1] / errors[2]], 4, rtol=0.25)  # second order


def test_two_oscillators_in_closed_form():
    """Their difference obeys d' = D - K sin d: locked at asin(D / K), or slipping once in 2 pi / sqrt(D^2 - K^2)."""
    locked = kuramoto(1.0, [0.0, 0.6], 4000, 0.02, [0.0, 0.0], keep="last").diff()
    assert float(locked) == pytest.approx(math.asin(0.6), abs=1e-6)
    period = 2 * math.pi / math.sqrt(1.25**2 - 1)
    path = kuramoto(1.0, [0.0, 1.25], 4000, period / 4000, [0.0, 0.0])
    difference = path[:, 1] - path[:, 0]
    assert float(difference[-1] - difference[0]) == pytest.approx(2 * math.pi, abs=1e-4)


GALLERY = [nx.petersen_graph(), nx.cycle_graph(6), nx.star_graph(4), nx.complete_graph(4), nx.path_graph(5)]


@given(st.sampled_from(range(len(GALLERY))), st.integers(0, 10_000), st.floats(-3, 3))
@settings(max_examples=40)
def test_equivariance_under_automorphisms_and_rotation(which, seed, turn):
    G = GALLERY[which]
    group = automorphisms(G)
    image = group[seed % len(group)]
    theta, omega = phases(len(G), seed=seed), numbers(len(G), seed=seed + 1)
    graph = graphs.from_networkx(G)
    last = kuramoto(1.7, omega, 20, 0.05, theta, graph, keep="last")
    renamed = kuramoto(1.7, omega[image], 20, 0.05, theta[image], graph, keep="last")
    torch.testing.assert_close(renamed, last[image], rtol=0, atol=1e-10)
    turned = kuramoto(1.7, omega, 20, 0.05, theta + turn, graph, keep="last")
    torch.testing.assert_close(turned, last + turn, rtol=0, atol=1e-10)


@given(st.integers(1, 40), st.integers(0, 10_000), st.floats(-3, 3))
@settings(max_examples=50)
def test_order_parameter(n, seed, turn):
    theta = phases(n, seed=seed)
    r, psi = order_parameter(theta)
    expected = np.exp(1j * theta.numpy()).mean()
    assert complex(r * torch.exp(1j * psi)) == pytest.approx(expected, abs=1e-12)
    turned, _ = order_parameter(theta + turn)
    assert float(turned) == pytest.approx(float(r), abs=1e-12)
    assert 0 <= float(r) <= 1 + 1e-12
    assert float(order_parameter(torch.full((n,), turn).double())[0]) == pytest.approx(1, abs=1e-12)


@given(st.integers(2, 12), st.integers(0, 10_000), st.floats(0, 3))
@settings(max_examples=30)
def test_the_mean_frequency_is_kept(n, seed, K):
    """Pulls are mutual: the mean phase turns with the mean frequency."""
    theta, omega = phases(n, seed=seed), numbers(n, seed=seed + 1)
    last = kuramoto(K, omega, 40, 0.05, theta, keep="last")
    assert float((last - theta).mean()) == pytest.approx(2.0 * float(omega.mean()), abs=1e-10)


def test_shapes_and_what_is_kept():
    K = torch.tensor([[0.5], [1.5]], dtype=torch.float64)
    omega, theta = numbers(3, 10), phases(3, 10)
    path = kuramoto(K, omega, 6, 0.1, theta)
    assert path.shape == (2, 3, 7, 10)
    assert torch.equal(kuramoto(K, omega, 6, 0.1, theta, keep="last"), path[..., -1, :])
    assert torch.equal(kuramoto(K, omega, 6, 0.1, theta, keep="order"), order_parameter(path)[0])
    assert torch.equal(kuramoto(1.5, omega[2], 6, 0.1, theta[2]), path[1, 2])  # the same bits alone and in a batch
    torus = kuramoto(K[:, 0], numbers(4, 5), 6, 0.1, phases(4, 5), "torus")
    assert torus.shape == (2, 7, 4, 5)
    order = kuramoto(K[:, 0], numbers(4, 5), 6, 0.1, phases(4, 5), "torus", keep="order")
    torch.testing.assert_close(order, order_parameter(torus, sites=2)[0])
    assert kuramoto(1.0, omega.float(), 2, 0.1, theta.float()).dtype == torch.float32


@pytest.mark.parametrize(
    ("name", "reference"),
    [("lorentz", scipy.stats.cauchy), ("normal", scipy.stats.norm), ("uniform", scipy.stats.uniform(-1, 2))],
)
def test_frequencies_are_the_quantiles(name, reference):
    share = (np.arange(101) + 0.5) / 101
    np.testing.assert_allclose(frequency_quantiles(101, name, 0.4), 0.4 * reference.ppf(share), rtol=1e-9, atol=1e-12)
    assert frequency_quantiles(5, name, [0.1, 0.2]).shape == (2, 5)


def test_stationary_order():
    assert float(stationary_order([9.0, 1.0, 2.0, 3.0])) == 2.5
    assert float(stationary_order([7.0])) == 7


def test_figures_can_be_recorded():
    """Every part that a figure needs is recorded and proven against torch."""

    @live(K=Slider(0, 3, 2.0, label="Coupling"), width=Slider(0.1, 1, 0.5, label="Width"), seed=Seed(1))
    def figure(K, width, seed):
        """Order."""
        theta = 2 * math.pi * uniform(seed, 30)
        r = kuramoto(K, frequency_quantiles(30, "lorentz", width), 60, 0.05, theta, keep="order")
        last = kuramoto_step(K, frequency_quantiles(30), 0.05, theta)
        grid = kuramoto(
            K, frequency_quantiles(12).reshape(3, 4), 5, 0.05, theta[:12].reshape(3, 4), "torus", keep="last"
        )
        title = f"{stationary_order(r):.2f}, theory {kuramoto_theory(K, 'lorentz', width):.2f}"
        made = go.Figure(layout={"title": f"{title}, psi {order_parameter(theta)[1]:.2f}"})
        return made.add_scatter(y=r).add_scatter(y=last).add_heatmap(z=grid)

    assert figure.spec()["variants"]


PAIR = ([0.0, 0.1], 2, 0.1, [0.0, 1.0])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: kuramoto(1.0, [0.0], 2, 0.1, [0.0, 1.0]), r"omega must have shape \(\.\.\., 2\), got \(1,\)"),
        (lambda: kuramoto(1.0, [0.0, 0.1], 2, 0.0, [0.0, 1.0]), "dt must be above 0, got 0"),
        (lambda: kuramoto(1.0, [0.0, 0.1], -1, 0.1, [0.0, 1.0]), "steps must be an integer of at least 0"),
        (lambda: kuramoto(1.0, *PAIR, "star"), "coupling must be one of 'mean', 'ring', 'torus'"),
        (lambda: kuramoto(1.0, *PAIR, "torus"), r"theta0 must have shape \(\.\.\., n, n\)"),
        (lambda: kuramoto(1.0, *PAIR, graphs.ring(3)), r"theta0 must have shape \(\.\.\., 3\)"),
        (lambda: kuramoto(1.0, *PAIR, [[0.5, 0.2], [0.5, 0.5]]), "coupling must have rows that sum to 1, got 0.7"),
        (lambda: kuramoto(1.0, *PAIR, keep="all"), "keep must be one of 'path', 'last', 'order'"),
        (lambda: kuramoto([1.0, 2.0], [[0.0, 0.1]] * 3, 2, 0.1, [0.0, 1.0]), "the leading dimensions of K"),
        (lambda: kuramoto_step(1.0, [0.0, 0.1], -0.1, [0.0, 1.0]), "dt must be above 0"),
        (lambda: order_parameter([]), "theta must have shape"),
        (lambda: order_parameter([0.0], sites=2), "theta must have shape"),
        (lambda: frequency_quantiles(3, "cauchy"), "density must be one of 'lorentz', 'normal', 'uniform'"),
        (lambda: frequency_quantiles(3, "normal", 0.0), "width must be above 0"),
        (lambda: kuramoto_theory(-1.0), "K must be at least 0, got -1"),
        (lambda: kuramoto_theory(1.0, "cauchy"), "density must be one of"),
        (lambda: kuramoto_theory(9.0, lambda omega: math.exp(-abs(omega))), "density must integrate to 1.*got 2"),
        (lambda: kuramoto_theory(9.0, lambda omega: 0.0), r"density\(0\) must be a finite number above 0"),
        (lambda: critical_coupling("normal", -1.0), "width must be above 0"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
