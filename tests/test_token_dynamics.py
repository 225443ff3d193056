"""Token dynamics on numbers: acceptance checks of the layer, its regimes and its limits, and invariants."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad, solve_ivp

from lib import token_dynamics

START = [1.0, -0.7, 0.4, -1.3, 0.9]
SIZES = st.floats(0.05, 2.0)
SIGNED = st.one_of(SIZES, SIZES.map(lambda size: -size))
TOKENS = st.lists(SIGNED, min_size=1, max_size=6)
PUSH = st.floats(-2, 2)
FORGET = st.floats(0.1, 3)


def velocity_by_loops(x, mu, s, a):
    """Equation (1) of the brief, term by term."""
    steps = [math.log1p(math.exp(s * value)) for value in x]
    return [
        mu * x[i] * sum(x[j] ** 2 * steps[j] * math.exp(-a * sum(steps[j + 1 : i + 1])) for j in range(i + 1))
        for i in range(len(x))
    ]


def test_brief_1_the_recurrent_layer_is_the_sum():
    setting = {"mu": -0.7, "step_weight": 0.6, "decay": 1.3}
    summed = token_dynamics.token_velocity(START, **setting)
    recurrent = token_dynamics.selective_layer_1d(START, **setting)
    torch.testing.assert_close(recurrent, summed, rtol=0, atol=5e-16)
    np.testing.assert_allclose(summed, velocity_by_loops(START, -0.7, 0.6, 1.3), rtol=1e-14)


@given(TOKENS, PUSH, PUSH, FORGET)
@settings(max_examples=60, deadline=None)
def test_both_forms_equal_the_loops(x, mu, s, a):
    wanted = velocity_by_loops(x, mu, s, a)
    np.testing.assert_allclose(token_dynamics.token_velocity(x, mu, s, a), wanted, rtol=1e-12)
    np.testing.assert_allclose(token_dynamics.selective_layer_1d(x, mu, s, a), wanted, rtol=1e-12)


def test_velocity_does_not_overflow_beside_a_huge_step():
    """A token of 10^12 makes a step of 10^12: what it forgets is 0, what follows keeps its own small steps."""
    x = [1.0, 1e12, 0.5, -0.5]
    velocity = token_dynamics.token_velocity(x, 1.0, 1.0, 1.0)
    np.testing.assert_allclose(velocity, token_dynamics.selective_layer_1d(x, 1.0, 1.0, 1.0), rtol=1e-12)
    assert torch.isfinite(velocity).all()


def test_layer_gradients():
    x = torch.tensor(START, dtype=torch.float64, requires_grad=True)
    setting = [torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in (-0.7, 0.6, 1.3)]
    for form in (token_dynamics.token_velocity, token_dynamics.selective_layer_1d):
        assert torch.autograd.gradcheck(form, (x, *setting))


def test_batched_equals_looped():
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(4, 3, 5, generator=generator, dtype=torch.float64)
    mu = torch.randn(3, generator=generator, dtype=torch.float64)
    for form in (token_dynamics.token_velocity, token_dynamics.selective_layer_1d):
        together = form(x, mu, 0.7, 1.2)
        apart = torch.stack([torch.stack([form(x[i, j], mu[j], 0.7, 1.2) for j in range(3)]) for i in range(4)])
        torch.testing.assert_close(together, apart, rtol=1e-13, atol=0)


@given(TOKENS, PUSH, PUSH, FORGET)
@settings(max_examples=60, deadline=None)
def test_velocity_keeps_signs_moves_monotonely_and_sees_no_future(x, mu, s, a):
    velocity = token_dynamics.token_velocity(x, mu, s, a)
    assert (torch.sign(velocity) == np.sign(mu) * torch.sign(torch.tensor(x, dtype=torch.float64))).all()
    changed = [*x[:-1], -0.3 * x[-1]]
    other = token_dynamics.token_velocity(changed, mu, s, a)
    assert torch.equal(other[:-1], velocity[:-1])


@pytest.mark.parametrize(("decay", "tolerance"), [(0.5, 1e-2), (1.0, 1e-3), (2.0, 1e-3)])
def test_brief_2_limit_of_shrinking_tokens(decay, tolerance):
    published = {
        0.5: [0.99995, 0.54256, 0.5366, 0.54809, 0.53271],
        1.0: [0.99995, 0.70726, 0.70681, 0.70754, 0.70649],
        2.0: [0.99995, 0.86607, 0.86597, 0.86608, 0.86597],
    }
    times = torch.logspace(4, 8, 5, dtype=torch.float64)
    x = token_dynamics.integrate_tokens(START, -1.0, 0.8, decay, times)
    assert torch.sign(x).tolist() == [np.sign(START).tolist()] * 5
    assert (x.abs().diff(dim=0) < 0).all()
    assert (x[0].abs() < torch.tensor(START, dtype=torch.float64).abs()).all()
    scaled = x[-1].abs() / token_dynamics.shrinking_size(times[-1], -1.0)
    np.testing.assert_allclose(scaled, published[decay], atol=6e-6)
    np.testing.assert_allclose(scaled, token_dynamics.limit_ratios(5, decay), atol=tolerance)
    slopes = torch.log(x[-1] / x[-3]).abs() / math.log(times[-1] / times[-3])
    assert float(slopes[0]) == pytest.approx(0.4999, abs=1e-4)
    np.testing.assert_allclose(slopes, 0.5, atol=5e-3)


def test_brief_3_ratios_of_slowly_growing_tokens_freeze():
    times = torch.tensor([1e4, 1e6, 1e8], dtype=torch.float64)
    x = token_dynamics.integrate_tokens([-1, -0.7, -0.4, -1.3, -0.9], 1.0, 1.0, 1.0, times)
    np.testing.assert_allclose(x[-1].abs(), [28.336, 48.392, 45.112, 261.83, 276.78], rtol=2e-5)
    ratios = x / x[:, :1]
    np.testing.assert_allclose(ratios[-1], [1, 1.7078, 1.5920, 9.2401, 9.7679], atol=5e-5)
    np.testing.assert_allclose(ratios, ratios[-1].expand(3, 5), rtol=1e-3)
    pace = x[:, 0].abs() / torch.log(times)
    # The brief gives depths near these powers of ten; the quadrature below holds at exactly these.
    np.testing.assert_allclose(pace, [1.909, 1.670, 1.538], rtol=2e-3)
    arrived = token_dynamics.arrival_time(x[:, 0], -1.0, 1.0, 1.0)
    np.testing.assert_allclose(arrived, times, rtol=1e-8)


@pytest.mark.parametrize(("mu", "s", "x0", "published"), [(1, 1, 1, 0.28296328750768), (2, 0.5, 0.9, 0.27084819587513)])
def test_brief_4_blow_up_time(mu, s, x0, published):
    assert float(token_dynamics.blow_up_time(x0, mu, s)) == pytest.approx(published, rel=1e-12)
    end = token_dynamics.first_blow_up([x0], mu, s, 1.0)
    assert end.time == pytest.approx(published, rel=1e-8)
    assert float(end.tokens[0]) == pytest.approx(1000, rel=1e-6)
    integral = quad(lambda y: 1 / (mu * y**3 * np.logaddexp(0, s * y)), x0, np.inf, epsrel=1e-11)[0]
    assert integral == pytest.approx(published, rel=1e-10)


def test_brief_4_exponent_of_the_blow_up():
    end = float(token_dynamics.blow_up_time(1.0, 1.0, 1.0))
    x = torch.logspace(1.02, 2.47, 30, dtype=torch.float64)
    left = end - token_dynamics.arrival_time(x, 1.0, 1.0, 1.0)
    slope, intercept = np.polyfit(np.log(left.numpy()), np.log(x.numpy()), 1)
    assert slope == pytest.approx(-1 / 3, abs=1e-4)
    assert intercept == pytest.approx(-math.log(3) / 3, abs=1e-3)


def test_brief_5_who_explodes_and_who_is_dragged():
    first = token_dynamics.first_blow_up([0.5, 1.0, 0.8, -0.6], 1.0, 1.0, 1.0)
    assert first.token == 1
    assert first.time == pytest.approx(0.27668, abs=6e-6)
    assert float(first.tokens[0]) == pytest.approx(0.538, abs=6e-4)
    second = token_dynamics.first_blow_up([-0.5, -1.0, 0.8, -0.6], 1.0, 1.0, 1.0)
    assert second.token == 2
    assert second.time == pytest.approx(0.47455, abs=6e-6)
    np.testing.assert_allclose(second.tokens, [-0.53035, -1.23416, 1000, -561.5], rtol=1e-4)
    never = token_dynamics.first_blow_up([-0.5, -1.0], 1.0, 1.0, 1.0)
    assert never.time == math.inf
    assert never.token is None


def test_brief_6_depth_of_a_residual_network():
    exact = [0.45272843, -0.34782173, 0.25246784, -0.55687614, 0.36818097]
    at_two = token_dynamics.integrate_tokens(START, -1.0, 0.8, 1.0, [2.0])[0]
    np.testing.assert_allclose(at_two, exact, atol=1e-8)
    errors = []
    for layers in (20, 40, 80, 160):
        path = token_dynamics.residual_tokens(START, -1.0, 0.8, 1.0, torch.full((layers,), 2 / layers))
        assert path.shape == (layers + 1, 5)
        errors.append(float((path[-1] - at_two).abs().max()))
    np.testing.assert_allclose(errors, [1.412e-2, 6.97e-3, 3.46e-3, 1.73e-3], atol=5.1e-6)
    order = -np.polyfit(np.log([20, 40, 80, 160]), np.log(errors), 1)[0]
    assert order == pytest.approx(1.011, abs=1e-3)


def test_brief_8_equal_steps_explode_too():
    assert float(token_dynamics.blow_up_time(1.5, 1.0, 0.0)) == pytest.approx(1 / (2 * math.log(2) * 2.25), rel=1e-14)
    assert token_dynamics.first_blow_up([1.5], 1.0, 0.0, 1.0).time == pytest.approx(0.32059890, abs=1e-8)
    assert token_dynamics.dynamics_regime(1.0, 0.0, [1.5]) == "fast"


@pytest.mark.parametrize(
    ("mu", "s", "x0", "regime"),
    [
        (-1, 1, [1, -1], "convergent"),
        (-1, 0, [1], "convergent"),
        (0, 1, [1], "stationary"),
        (1, 1, [0, 0], "stationary"),
        (1, 1, [-1, -0.5], "slow"),
        (1, -1, [1, 0], "slow"),
        (1, 1, [-1, 0.1], "fast"),
        (1, 0, [0, -1], "fast"),
    ],
)
def test_regimes(mu, s, x0, regime):
    assert token_dynamics.dynamics_regime(mu, s, x0) == regime


def test_regimes_of_many_systems():
    mu = torch.linspace(-2, 2, 5, dtype=torch.float64)[:, None]
    s = torch.linspace(-2, 2, 5, dtype=torch.float64)
    codes = token_dynamics.regime_codes(mu, s, [-1.0, -0.5])
    for i in range(5):
        for j in range(5):
            name = token_dynamics.dynamics_regime(mu[i, 0], s[j], [-1.0, -0.5])
            assert token_dynamics.REGIMES[int(codes[i, j])] == name


@given(st.lists(SIGNED, min_size=2, max_size=5), st.floats(0.2, 2), st.floats(0.2, 2), FORGET)
@settings(max_examples=25, deadline=None)
def test_a_token_explodes_no_later_than_alone(x0, mu, s, a):
    alone = token_dynamics.blow_up_time(x0, mu, s)
    together = token_dynamics.first_blow_up(x0, mu, s, a)
    assert together.time <= float(alone.min()) * (1 + 1e-7)
    assert (together.token is None) == (token_dynamics.dynamics_regime(mu, s, x0) == "slow")
    if together.token == 0:
        assert together.time == pytest.approx(float(alone[0]), rel=1e-7)


@given(st.lists(SIGNED, min_size=1, max_size=4), st.floats(-2, -0.1), PUSH, FORGET)
@settings(max_examples=25, deadline=None)
def test_shrinking_tokens_match_plain_integration(x0, mu, s, a):
    """Against LSODA in ordinary time and sizes, on velocities from the loops."""
    times = np.array([0.3, 1.0, 3.0])
    plain = solve_ivp(
        lambda _, x: velocity_by_loops(x, mu, s, a), (0, 3), x0, "DOP853", times, rtol=1e-10, atol=1e-12
    ).y.T
    x = token_dynamics.integrate_tokens(x0, mu, s, a, times).numpy()
    np.testing.assert_allclose(x, plain, rtol=1e-7)
    assert (np.sign(x) == np.sign(x0)).all()
    assert (np.diff(np.abs(x), axis=0) < 0).all()


def test_tokens_that_are_zero_stay_and_count():
    """A zero token never moves, but its step is log 2 and forgets."""
    x = token_dynamics.integrate_tokens([1.0, 0.0, 0.5], -1.0, 0.8, 1.0, [2.0])[0]
    assert float(x[1]) == 0
    plain = solve_ivp(
        lambda _, x: velocity_by_loops(x, -1.0, 0.8, 1.0), (0, 2), [1.0, 0.0, 0.5], rtol=1e-10, atol=1e-13
    ).y[:, -1]
    np.testing.assert_allclose(x, plain, rtol=1e-7)


def test_symmetry_of_signs():
    """Turning all tokens and the step weight round changes nothing but the signs."""
    setting = {"mu": -0.8, "decay": 1.4}
    there = token_dynamics.integrate_tokens(START, step_weight=0.6, times=[5.0], **setting)
    back = token_dynamics.integrate_tokens([-x for x in START], step_weight=-0.6, times=[5.0], **setting)
    torch.testing.assert_close(back, -there, rtol=1e-9, atol=0)


def test_limit_ratios_solve_their_equations():
    """With Delta = log 2 and x_l^2 = c_l / (2 log(2) t), every weighted sum of c is 1."""
    decay = torch.tensor([0.1, 1.0, 2.5], dtype=torch.float64)
    squares = token_dynamics.limit_ratios(6, decay) ** 2
    for place in range(6):
        weights = 2.0 ** (-decay[:, None] * torch.arange(place, -1, -1))
        torch.testing.assert_close((weights * squares[:, : place + 1]).sum(dim=-1), torch.ones_like(decay))


def test_times_beyond_the_end_are_refused():
    with pytest.raises(ValueError, match=r"times must end before a token is infinite at 0.282963.*got 0.3"):
        token_dynamics.integrate_tokens([1.0], 1.0, 1.0, 1.0, [0.1, 0.3])
    with pytest.raises(ValueError, match="x must lie where mu leads"):
        token_dynamics.arrival_time(0.5, 1.0, 1.0, 1.0)
    with pytest.raises(ValueError, match="x and x0 must have one sign"):
        token_dynamics.arrival_time(-0.5, 1.0, -1.0, 1.0)
    with pytest.raises(ValueError, match="size must be a finite number above 2"):
        token_dynamics.first_blow_up([2.0], 1.0, 1.0, 1.0, size=1.5)
