"""Discretization: scipy's rules, orders of accuracy, the repair; S4D against scipy; what a scan costs."""

import math

import numpy as np
import pytest
import scipy.integrate
import scipy.signal
import torch
from hypothesis import given
from hypothesis import strategies as st

from lib.ssm import costs, discretize, orders, s4d, scan
from tests.ssm.scan_inputs import random_inputs

# Names of scipy.signal.cont2discrete for one-sided rules.
SCIPY = {"forward_euler": "euler", "backward_euler": "backward_diff", "bilinear": "bilinear", "zero_order_hold": "zoh"}
STEPS = [50, 100, 200, 400, 800]


@pytest.mark.parametrize(
    ("method", "alpha", "gamma"),
    [
        ("forward_euler", 0.74, 0.2),
        ("backward_euler", 0.7936507936507936, 0.15873015873015875),
        ("bilinear", 0.7699115044247788, 0.1769911504424779),
        ("zero_order_hold", 0.7710515858033663, 0.17611416476648747),
        ("exponential_euler", math.exp(-0.26), 0.2),
        ("exponential_trapezoidal", math.exp(-0.26), 0.1),
    ],
)
def test_brief_6_worked_numbers(method, alpha, gamma):
    step = discretize.discretize(-1.3, 0.2, method)
    assert float(step.alpha) == pytest.approx(alpha, rel=1e-14)
    assert float(step.gamma) == pytest.approx(gamma, rel=1e-14)
    assert float(step.beta) == pytest.approx(0.1 * alpha if method == "exponential_trapezoidal" else 0, rel=1e-14)


@given(st.floats(-5, -0.01), st.floats(0.01, 3), st.sampled_from(sorted(SCIPY)))
def test_brief_6_rules_of_scipy(A, dt, method):
    step = discretize.discretize(A, dt, method)
    matrices = (np.array([[A]]), np.array([[1.0]]), np.array([[1.0]]), np.array([[0.0]]))
    alpha, gamma, *_ = scipy.signal.cont2discrete(matrices, dt, SCIPY[method])
    np.testing.assert_allclose(step.alpha, alpha[0, 0], rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(step.gamma, gamma[0, 0], rtol=1e-12)


def test_a_rate_of_zero_and_close_to_it():
    A = -torch.tensor([0.0, 1e-12, 1e-6, 9e-4, 1.1e-3, 1.0], dtype=torch.float64)
    held = discretize.discretize(A, 1.0, "zero_order_hold").gamma
    exact = [1.0, *(math.expm1(a) / a for a in A[1:].tolist())]
    np.testing.assert_allclose(held, exact, rtol=1e-15)
    turning = discretize.discretize(torch.complex(A, A + 1e-5), 1.0, "zero_order_hold").gamma
    cells = torch.complex(A, A + 1e-5).numpy()
    np.testing.assert_allclose(turning, np.expm1(cells) / cells, rtol=1e-14)


@pytest.mark.parametrize("method", discretize.METHODS)
def test_coefficients_have_gradients(method):
    A = torch.tensor([-2.0, -0.5, -1e-4], dtype=torch.float64, requires_grad=True)
    dt = torch.tensor([0.1, 0.7, 0.3], dtype=torch.float64, requires_grad=True)
    lam = torch.tensor([0.2, 0.5, 0.9], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda *given: tuple(discretize.discretize(*given[:2], method, given[2])), (A, dt, lam)
    )


def errors(rate, drive, exact, rule, lam=None):
    weights = [0.5 if lam is None else lam(2 / n) for n in STEPS]
    return [
        abs(float(orders.integrate(rate, drive, n, rule, lam=weight)) - exact)
        for n, weight in zip(STEPS, weights, strict=True)
    ]


CONSTANT = (lambda t: -torch.ones_like(t), lambda t: torch.cos(2 * t))
VARYING = (lambda t: -1 - 0.5 * torch.sin(3 * t), lambda t: torch.cos(2 * t) * torch.exp(-0.3 * t))


@pytest.mark.parametrize(
    ("rule", "lam", "order"),
    [
        ("forward_euler", None, 0.995),
        ("backward_euler", None, 1.004),
        ("tustin", None, 2.0),
        ("bilinear", None, 0.988),
        ("zero_order_hold", None, 0.986),
        ("exponential_euler", None, 0.998),
        ("exponential_trapezoidal", None, 2.0),
        ("exponential_trapezoidal", lambda dt: 0.7, 0.995),
        ("exponential_trapezoidal", lambda dt: 0.5 + dt, 2.0),
        ("averaged", None, 2.0),
    ],
)
def test_brief_7_orders_for_a_constant_rate(rule, lam, order):
    exact = (math.cos(4) + 2 * math.sin(4) - math.exp(-2)) / 5
    assert float(orders.order_of_accuracy(STEPS, errors(*CONSTANT, exact, rule, lam))) == pytest.approx(order, abs=0.05)


def test_brief_7_sizes_of_the_errors():
    exact = (math.cos(4) + 2 * math.sin(4) - math.exp(-2)) / 5
    assert errors(*CONSTANT, exact, "exponential_euler")[2] == pytest.approx(3.9e-3, rel=0.02)
    assert errors(*CONSTANT, exact, "exponential_trapezoidal")[2] == pytest.approx(6.0e-6, rel=0.02)


@pytest.fixture(scope="module")
def exact_when_varying():
    def slope(t, h):
        return (-1 - 0.5 * np.sin(3 * t)) * h + np.cos(2 * t) * np.exp(-0.3 * t)

    solution = scipy.integrate.solve_ivp(slope, (0, 2), [0.0], method="DOP853", rtol=1e-13, atol=1e-15)
    return solution.y[0, -1]


@pytest.mark.parametrize(
    ("rule", "order"),
    [("exponential_trapezoidal", 1.018), ("averaged", 2.0), ("tustin", 2.0), ("exponential_euler", 1.0)],
)
def test_brief_7_a_varying_rate_costs_an_order_and_averaging_repairs_it(rule, order, exact_when_varying):
    assert exact_when_varying == pytest.approx(-0.318008716836, abs=1e-11)
    found = orders.order_of_accuracy(STEPS, errors(*VARYING, exact_when_varying, rule))
    assert float(found) == pytest.approx(order, abs=0.05)


@pytest.mark.parametrize(("repaired", "order"), [(False, 1.018), (True, 2.0)])
def test_brief_7_the_scan_itself(repaired, order, exact_when_varying):
    """One head with one cell, run by the scan: A as given, and averaged by the one line."""
    found = []
    for n in STEPS:
        t = torch.linspace(0, 2, n + 1, dtype=torch.float64).reshape(1, -1, 1)
        A, u = (function(t) for function in VARYING)
        A = discretize.average_rate(A) if repaired else A
        dt, lam = torch.full_like(A, 2 / n), torch.full_like(A, 0.5)
        lam[:, 0] = 0  # the value at time 0 is an end of the first step, not a step of its own
        one = torch.ones_like(A)[..., None]
        y, _ = scan.scan(u[..., None], dt, A, one, one, lam)
        found.append(abs(float(y[0, -1]) - exact_when_varying))
    assert float(orders.order_of_accuracy(STEPS, found)) == pytest.approx(order, abs=0.05)


@pytest.mark.parametrize("rule", orders.RULES)
def test_integration_is_the_recurrence(rule):
    """The sum over all inputs against a loop over the steps."""
    rate, drive = VARYING
    dt, h = 2 / 30, 0.0
    for t in range(30):
        ends = torch.tensor([t * dt, (t + 1) * dt], dtype=torch.float64)
        (before, A), (u0, u1) = rate(ends).tolist(), drive(ends).tolist()
        if rule == "tustin":
            h = ((1 + dt * before / 2) * h + dt / 2 * (u0 + u1)) / (1 - dt * A / 2)
        else:
            A = (A + before) / 2 if rule == "averaged" else A
            name = "exponential_trapezoidal" if rule == "averaged" else rule
            step = discretize.discretize(A, dt, name)
            h = float(step.alpha) * h + float(step.beta) * u0 + float(step.gamma) * u1
    assert float(orders.integrate(rate, drive, 30, rule)) == pytest.approx(h, rel=1e-12)


def test_average_rate():
    A = random_inputs()["A"]
    averaged = discretize.average_rate(A)
    assert torch.equal(averaged[:, 0], A[:, 0])
    assert torch.equal(averaged[:, 1:], (A[:, :-1] + A[:, 1:]) / 2)
    first, second = A[:, :20], A[:, 20:]
    parts = [discretize.average_rate(first), discretize.average_rate(second, previous=first[:, -1])]
    assert torch.equal(torch.cat(parts, 1), averaged)


def test_brief_6_s4d_against_a_simulated_system():
    """A convolution by FFT against scipy's simulation of the real system with two cells for each complex one."""
    N, L, dt = 16, 200, 0.05
    generator = torch.Generator().manual_seed(0)
    A = s4d.s4d_lin(N)
    B, C = (torch.randn(N, 2, generator=generator, dtype=torch.float64) for _ in range(2))
    B, C = torch.view_as_complex(B), torch.view_as_complex(C)
    u = torch.randn(L, generator=generator, dtype=torch.float64)
    y = s4d.causal_fft_conv(u, s4d.s4d_kernel(A, B, C, dt, L))
    blocks = [np.array([[a.real, -a.imag], [a.imag, a.real]]) for a in A.numpy()]
    system = (
        scipy.linalg.block_diag(*blocks),
        torch.view_as_real(B).reshape(-1, 1).numpy(),
        2 * torch.view_as_real(C.conj().resolve_conj()).reshape(1, -1).numpy(),
        np.zeros((1, 1)),
    )
    discrete = scipy.signal.cont2discrete(system, dt, "zoh")
    held = np.append(u.numpy(), 0.0)[:, None]
    _, simulated, states = scipy.signal.dlsim(discrete, held)
    # The kernel reads a state that has taken in the current input, one step ahead of dlsim's.
    ahead = (states[1:] @ discrete[2].T)[:, 0]
    assert simulated.shape == (L + 1, 1)
    np.testing.assert_allclose(y, ahead, atol=1e-11)


def test_convolution_looks_back_only():
    generator = torch.Generator().manual_seed(0)
    u, K = torch.randn(3, 50, generator=generator), torch.randn(50, generator=generator)
    wanted = np.stack([np.convolve(row, K.numpy())[:50] for row in u.numpy()])
    np.testing.assert_allclose(s4d.causal_fft_conv(u, K), wanted, atol=1e-4)
    assert s4d.causal_fft_conv(u, K).dtype == torch.float32


def test_the_kernel_is_batched():
    generator = torch.Generator().manual_seed(0)
    B = torch.view_as_complex(torch.randn(3, 4, 2, generator=generator, dtype=torch.float64))
    A, dt = s4d.s4d_lin(4), torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64)
    together = s4d.s4d_kernel(A, B, B.conj(), dt, 20)
    alone = torch.stack([s4d.s4d_kernel(A, b, b.conj(), d, 20) for b, d in zip(B, dt, strict=True)])
    np.testing.assert_allclose(together, alone, atol=1e-14)


def test_brief_10_costs():
    R = torch.tensor([1, 2, 4, 8])
    np.testing.assert_allclose(costs.arithmetic_intensity(128, 64, R), [2.4020, 4.1662, 7.3371, 12.5465], atol=5e-5)
    assert float(costs.arithmetic_intensity(1e6, 1e6)) == pytest.approx(2.5, rel=1e-5)
    assert int(costs.scan_flops(2048, 64, 64, 64)) == 67_371_008
    assert int(costs.scan_flops(2048, 64, 64, 16, R=4)) == 4 * int(costs.scan_flops(2048, 64, 64, 64))


def test_the_ridge_of_a_machine():
    peak, bandwidth = 989e12, 3.35e12
    ridge = peak / bandwidth
    assert ridge == pytest.approx(295, abs=0.5)
    assert float(costs.roofline(2 * ridge, peak, bandwidth)) == peak
    assert float(costs.roofline(ridge / 2, peak, bandwidth)) == pytest.approx(peak / 2)
