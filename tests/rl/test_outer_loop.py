"""Plateaus of stochastic ascent: the formulas against scipy, exact recursions, finite differences and simulation."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import solve_discrete_lyapunov

from lib.live import normal
from lib.rl import inner_loop, outer_loop, softmax_bandit
from tests.replays import recorded, replays

CURVATURE, VARIANCE = [1.0, 0.5, 0.1], [1.0, 2.0, 0.5]
REWARDS, TAU, SIGMA = [1.0, 0.8, 0.3, 0.0], 0.3, 1.0
BANDIT = {"r": REWARDS, "tau": TAU, "sigma": SIGMA}
SIZES = st.floats(0.05, 3.0)
STEPS = st.floats(0.01, 0.6)


def draws(seed=0):
    return torch.Generator().manual_seed(seed)


def random_bowl(d, seed):
    """A curvature and a covariance that do not commute."""
    rng = np.random.default_rng(seed)
    one, other = rng.normal(size=(2, d, d))
    return one @ one.T / d + 0.1 * np.eye(d), other @ other.T / d


def standard_errors_off(samples, wanted):
    """How many standard errors the mean of independent samples lies from a number, and the relative error."""
    error = samples.std() / math.sqrt(samples.numel())
    return float((samples.mean() - wanted).abs() / error), float(error / wanted)


# The formula ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("eta", "envs", "level"), [(0.1, 4, 0.022540), (0.1, 16, 0.005635), (0.4, 16, 0.024890)])
def test_brief_7_levels(eta, envs, level):
    assert float(outer_loop.sgd_plateau(eta, CURVATURE, VARIANCE, envs)) == pytest.approx(level, abs=5e-7)


@pytest.mark.parametrize(("eta", "envs"), [(0.1, 4), (0.1, 16), (0.4, 16)])
def test_brief_7_simulation_within_one_percent(eta, envs):
    """20 000 repeats from a draw of the stationary law itself, so that nothing has to be waited for."""
    spread = outer_loop.stationary_covariance(eta, CURVATURE, VARIANCE, envs)
    wanted = outer_loop.sgd_plateau(eta, CURVATURE, VARIANCE, envs)
    noise = torch.randn(150, 4000, 3, generator=draws(), dtype=torch.float64)
    ends = []
    for run in noise.split(50):
        ends.append(outer_loop.simulate_quadratic(eta, CURVATURE, VARIANCE, envs, spread.diagonal().sqrt(), run)[:, -1])
    # The slowest axis starts one standard deviation out: its mean square is the stationary one at every step.
    losses = outer_loop.quadratic_loss(torch.cat(ends), CURVATURE)
    off, error = standard_errors_off(losses, wanted)
    assert error < 0.01
    assert off < 4


@pytest.mark.parametrize("d", [1, 2, 5])
@pytest.mark.parametrize("seed", [0, 1])
def test_matrices_solve_lyapunovs_equation(d, seed):
    H, Sigma = random_bowl(d, seed)
    eta, envs = 1.2 / np.linalg.eigvalsh(H)[-1], 7.0
    kept = np.eye(d) - eta * H
    V = solve_discrete_lyapunov(kept, eta**2 * Sigma / envs)
    np.testing.assert_allclose(outer_loop.stationary_covariance(eta, H, Sigma, envs), V, rtol=1e-11, atol=1e-14)
    level = float(outer_loop.sgd_plateau(eta, H, Sigma, envs))
    assert level == pytest.approx(np.trace(H @ V) / 2, rel=1e-11)


def test_vectors_are_diagonal_matrices():
    eta, envs = [0.1, 0.7], [3.0, 50.0]
    as_vectors = outer_loop.sgd_plateau(eta, CURVATURE, VARIANCE, envs)
    as_matrices = outer_loop.sgd_plateau(eta, np.diag(CURVATURE), np.diag(VARIANCE), envs)
    torch.testing.assert_close(as_vectors, as_matrices, rtol=1e-12, atol=0)
    V = outer_loop.stationary_covariance(eta, CURVATURE, VARIANCE, envs)
    levels = (V.diagonal(dim1=-2, dim2=-1) * torch.tensor(CURVATURE, dtype=torch.float64)).sum(dim=-1) / 2
    torch.testing.assert_close(levels, as_vectors, rtol=1e-12, atol=0)


def test_flat_axes_are_not_seen():
    with_flat = outer_loop.sgd_plateau(0.3, [0.0, 1.0], [5.0, 2.0], 4)
    assert float(with_flat) == float(outer_loop.sgd_plateau(0.3, [1.0], [2.0], 4))
    turn = torch.linalg.qr(torch.randn(3, 3, generator=draws(), dtype=torch.float64))[0]
    H = turn @ torch.diag(torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64)) @ turn.T
    Sigma = turn @ torch.diag(torch.tensor([9.0, 1.0, 2.0], dtype=torch.float64)) @ turn.T
    wanted = outer_loop.sgd_plateau(0.3, [0.5, 1.0], [1.0, 2.0], 4)
    torch.testing.assert_close(outer_loop.sgd_plateau(0.3, (H + H.T) / 2, (Sigma + Sigma.T) / 2, 4), wanted)
    assert math.isfinite(float(outer_loop.time_constant(0.3, [0.0, 1.0])))


@given(st.lists(SIZES, min_size=1, max_size=5), STEPS, st.floats(1, 1000), st.floats(1.5, 50))
@settings(max_examples=60, deadline=None)
def test_more_environments_and_smaller_steps_meet_to_first_order(curvature, eta, envs, factor):
    """The two levels differ only by (2 - eta h / c) / (2 - eta h), and the smaller step takes c times as long."""
    variance = [1.0] * len(curvature)
    averaged = float(outer_loop.sgd_plateau(eta, curvature, variance, factor * envs))
    smaller = float(outer_loop.sgd_plateau(eta / factor, curvature, variance, envs))
    low = eta * min(curvature)
    high = eta * max(curvature)
    assert smaller <= averaged * (1 + 1e-12)
    assert averaged / smaller <= (2 - high / factor) / (2 - high) * (1 + 1e-12)
    assert averaged == pytest.approx(float(outer_loop.sgd_plateau(eta, curvature, variance, envs)) / factor, rel=1e-12)
    if high < 1:
        fast, slow = (float(outer_loop.time_constant(size, curvature)) for size in (eta, eta / factor))
        assert slow / fast == pytest.approx(math.log1p(-low) / math.log1p(-low / factor), rel=1e-9)
        assert slow > factor * fast


def test_the_level_has_no_bound_as_the_step_nears_two_over_the_curvature():
    levels = outer_loop.sgd_plateau([1.9, 1.99, 1.999], [1.0], [1.0], 1e6)
    torch.testing.assert_close(levels[1:] / levels[:-1], torch.full_like(levels[1:], 10.0), rtol=0.06, atol=0)
    with pytest.raises(ValueError, match="eta times the largest curvature of H must be below 2, got 2"):
        outer_loop.sgd_plateau(2.0, [1.0], [1.0], 1e6)


def test_time_constant_is_that_of_the_noiseless_steps():
    eta, H = 0.3, [1.0, 0.4]
    path = outer_loop.simulate_quadratic(eta, H, [0.0, 0.0], 1, [0.0, 1.0], torch.zeros(40, 1, 2))
    constant = float(outer_loop.time_constant(eta, H))
    assert float(path[0, 40, 1]) == pytest.approx(math.exp(-40 / constant), rel=1e-12)
    assert float(outer_loop.time_constant(1e-4, H)) == pytest.approx(1 / (1e-4 * 0.4), rel=1e-3)


@pytest.mark.parametrize("within", [0.1, 0.01])
@pytest.mark.parametrize(("eta", "envs"), [(0.5, 160), (0.05, 16), (0.5, 16), (0.3, 50)])
def test_settling_time_is_read_off_the_expected_loss(eta, envs, within):
    """From a start whose squares are those of the old plateau: the first step that is near enough, and not before."""
    H, Sigma = [1.0, 0.25], [1.0, 2.0]
    old = outer_loop.stationary_covariance(0.5, H, Sigma, 16).diagonal().sqrt()
    curve = outer_loop.expected_loss(eta, H, Sigma, envs, old, 1500)
    near = curve <= (1 + within) * outer_loop.sgd_plateau(eta, H, Sigma, envs)
    steps = outer_loop.settling_time(eta, H, Sigma, envs, 0.5, 16, within)
    assert int(steps) == int(near.double().argmax())
    assert bool(near[int(steps) :].all())


# The way there -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("full", [False, True])
def test_expected_loss_is_the_recursion_of_mean_and_covariance(full):
    d, steps = 3, 25
    H, Sigma = random_bowl(d, 3) if full else (np.array(CURVATURE), np.array(VARIANCE))
    dense_H, dense_Sigma = (H, Sigma) if full else (np.diag(H), np.diag(Sigma))
    eta = np.linspace(0.5, 0.1, steps)
    envs = np.linspace(4, 60, steps)
    mean, spread = np.array([1.0, -2.0, 0.5]), np.zeros((d, d))
    wanted = [mean @ dense_H @ mean / 2]
    for size, count in zip(eta, envs, strict=True):
        kept = np.eye(d) - size * dense_H
        mean, spread = kept @ mean, kept @ spread @ kept.T + size**2 * dense_Sigma / count
        wanted.append((mean @ dense_H @ mean + np.trace(dense_H @ spread)) / 2)
    np.testing.assert_allclose(
        outer_loop.expected_loss(eta, H, Sigma, envs, [1.0, -2.0, 0.5], steps), wanted, rtol=1e-11
    )


def test_expected_loss_ends_on_the_plateau():
    eta, envs = [0.4, 0.04, 0.4], [16.0, 16.0, 160.0]
    eta, envs = torch.tensor(eta)[:, None].double(), torch.tensor(envs)[:, None].double()
    ends = outer_loop.expected_loss(eta, CURVATURE, VARIANCE, envs, [3.0, 3.0, 3.0], 6000)[:, -1]
    levels = outer_loop.sgd_plateau(eta[:, 0], CURVATURE, VARIANCE, envs[:, 0])
    torch.testing.assert_close(ends, levels, rtol=1e-9, atol=0)


@pytest.mark.parametrize("full", [False, True])
def test_simulation_agrees_with_expectation_at_every_step(full):
    H, Sigma = random_bowl(3, 5) if full else (CURVATURE, VARIANCE)
    eta = outer_loop.schedule(0.5, [0.05, 0.5], at=30, steps=60)
    envs = outer_loop.schedule(8, [8.0, 80.0], at=30, steps=60)
    noise = torch.randn(60, 4000, 3, generator=draws(1), dtype=torch.float64)
    path = outer_loop.simulate_quadratic(eta, H, Sigma, envs, [1.0, 0.0, -1.0], noise)
    assert path.shape == (2, 4000, 61, 3)
    losses = outer_loop.quadratic_loss(path, H)
    wanted = outer_loop.expected_loss(eta, H, Sigma, envs, [1.0, 0.0, -1.0], 60)
    errors = losses.std(dim=1) / math.sqrt(4000)
    assert bool(((losses.mean(dim=1) - wanted).abs() <= 5 * errors + 1e-12).all())


def test_schedules_side_by_side_are_runs_alone():
    eta = torch.tensor([[0.5] * 6, [0.5, 0.5, 0.5, 0.05, 0.05, 0.05]], dtype=torch.float64)
    noise = torch.randn(6, 2, 2, generator=draws(), dtype=torch.float64)
    setting = {"H": [1.0, 0.2], "Sigma": [1.0, 1.0], "N": 4, "start": [1.0, 1.0], "noise": noise}
    together = outer_loop.simulate_quadratic(eta, **setting)
    for row, alone in zip(eta, together, strict=True):
        assert torch.equal(outer_loop.simulate_quadratic(row, **setting), alone)
    assert torch.equal(together[0, :, :4], together[1, :, :4])
    halves = [outer_loop.simulate_quadratic(eta, **setting | {"noise": noise[:, [one]]}) for one in (0, 1)]
    torch.testing.assert_close(torch.cat(halves, dim=1), together, rtol=0, atol=0)


# The softmax bandit --------------------------------------------------------------------------------------------------


def objective(logits):
    policy = torch.softmax(logits, dim=-1)
    rewards = torch.tensor(REWARDS, dtype=torch.float64)
    return (policy * rewards).sum(dim=-1) - TAU * (policy * policy.log()).sum(dim=-1)


def test_brief_8_curvature_is_the_hessian_by_finite_differences():
    best = torch.tensor(REWARDS, dtype=torch.float64) / TAU
    h = 1e-3
    offsets, weights = (-2, -1, 1, 2), (1 / 12, -8 / 12, 8 / 12, -1 / 12)
    eye = torch.eye(4, dtype=torch.float64)

    def gradient(logits):
        logits = logits.clone().requires_grad_()
        return torch.autograd.grad(objective(logits), logits)[0]

    hessian = torch.stack(
        [sum(w * gradient(best + k * h * axis) for k, w in zip(offsets, weights, strict=True)) / h for axis in eye]
    )
    torch.testing.assert_close(-hessian, softmax_bandit.softmax_curvature(REWARDS, TAU), rtol=0, atol=1e-10)


def test_gap_is_the_distance_from_the_best_objective():
    logits = torch.randn(50, 4, generator=draws(), dtype=torch.float64)
    best = objective(torch.tensor(REWARDS, dtype=torch.float64) / TAU)
    torch.testing.assert_close(softmax_bandit.bandit_gap(logits, REWARDS, TAU), best - objective(logits))
    at_best = softmax_bandit.bandit_gap([5 + reward / TAU for reward in REWARDS], REWARDS, TAU)
    assert abs(float(at_best)) < 1e-15


def test_brief_8_levels_and_simulation():
    """The exact simulation stays within the brief's 4 % of the formula; 200 repeats, averaged over time."""
    eta, envs = torch.tensor([0.5, 0.5, 2], dtype=torch.float64), torch.tensor([8, 32, 8])
    formula = softmax_bandit.softmax_bandit_plateau(**BANDIT, eta=eta, N=envs)
    assert formula.tolist() == pytest.approx([0.008496, 0.00212, 0.0370], rel=3e-3)
    start = [reward / TAU for reward in REWARDS]
    steps = 6000
    path = softmax_bandit.simulate_bandit(
        **BANDIT, eta=eta[:, None], N=envs[:, None], steps=steps, repeats=200, generator=draws(), start=start
    )
    seen = softmax_bandit.bandit_gap(path[..., steps // 3 :, :], REWARDS, TAU).mean(dim=(1, 2))
    assert seen.tolist() == pytest.approx(formula.tolist(), rel=0.04)


def test_plateau_is_the_general_formula_at_the_optimum():
    policy = softmax_bandit.softmax_optimum(REWARDS, TAU)
    D = torch.diag(policy) - torch.outer(policy, policy)
    general = outer_loop.sgd_plateau(0.5, softmax_bandit.softmax_curvature(REWARDS, TAU), SIGMA**2 * D, 8)
    torch.testing.assert_close(
        softmax_bandit.softmax_bandit_plateau(**BANDIT, eta=0.5, N=8), general, rtol=1e-9, atol=0
    )


def moments_of_one_step(logits, envs):
    """Mean and covariance of the estimated gradient, from one action at a time."""
    policy = torch.softmax(logits, dim=-1)
    above = torch.tensor(REWARDS, dtype=torch.float64) - TAU * policy.log()
    above = above - (policy * above).sum()
    scores = torch.eye(4, dtype=torch.float64) - policy
    mean = (policy * above) @ scores
    second = torch.einsum("a,ai,aj->ij", policy * (above**2 + SIGMA**2), scores, scores)
    return mean, (second - torch.outer(mean, mean)) / envs


@pytest.mark.parametrize("normal_noise", [False, True])
def test_one_step_has_the_moments_of_single_actions(normal_noise):
    """Away from the optimum, where which action is drawn matters, too."""
    logits, envs, repeats = torch.tensor([0.5, -1.0, 0.3, 1.2], dtype=torch.float64), 5, 200_000
    setting = {**BANDIT, "eta": 1.0, "N": envs, "start": logits}
    if normal_noise:
        noise = torch.randn(1, repeats, 2, 4, generator=draws(2), dtype=torch.float64)
        path = softmax_bandit.simulate_bandit_gaussian(**setting, noise=noise)
    else:
        path = softmax_bandit.simulate_bandit(**setting, steps=1, repeats=repeats, generator=draws(2))
    gradients = path[:, 1] - logits
    mean, covariance = moments_of_one_step(logits, envs)
    errors = (covariance.diagonal() / repeats).sqrt()
    assert bool(((gradients.mean(dim=0) - mean).abs() < 5 * errors).all())
    scale = torch.outer(covariance.diagonal(), covariance.diagonal()).sqrt()
    assert float(((torch.cov(gradients.T) - covariance).abs() / scale).max()) < 5 * math.sqrt(4 / repeats)


def test_actions_are_drawn_as_often_as_there_are_environments():
    policy = torch.softmax(torch.randn(1000, 4, generator=draws(), dtype=torch.float64) * 5, dim=-1)
    policy = torch.cat([policy, torch.eye(4, dtype=torch.float64)])
    count = torch.full((1004,), 2.0**20, dtype=torch.float64)
    drawn = softmax_bandit._multinomial(count, policy, draws(1))
    assert torch.equal(drawn.sum(dim=-1), count)
    assert bool((drawn >= 0).all())
    assert torch.equal(drawn[-4:], 2**20 * torch.eye(4, dtype=torch.float64))
    errors = (count[:, None] * policy * (1 - policy)).sqrt()
    assert float((((drawn - count[:, None] * policy)[:1000]) / errors[:1000].clamp(min=1)).abs().max()) < 6


def test_without_noise_the_gradient_finds_the_best_policy():
    path = softmax_bandit.simulate_bandit(REWARDS, TAU, 0.0, 2.0, 2**40, steps=800, repeats=2, generator=draws())
    best = softmax_bandit.softmax_optimum(REWARDS, TAU)
    torch.testing.assert_close(torch.softmax(path[:, -1], dim=-1), best.expand(2, 4), rtol=0, atol=1e-4)


def test_seeds_decide_the_run():
    def run(seed):
        return softmax_bandit.simulate_bandit(**BANDIT, eta=0.5, N=8, steps=20, repeats=3, generator=draws(seed))

    assert torch.equal(run(4), run(4))
    assert not torch.equal(run(4), run(5))


# What figures ask for ------------------------------------------------------------------------------------------------


def test_figures_can_record_the_quadratic():
    def figure(eta, envs, seed):
        eta = outer_loop.schedule(eta, torch.stack([eta, eta / 10]), 10, 30)
        noise = normal(seed, 30, 4, 2)
        path = outer_loop.simulate_quadratic(eta, [1.0, 0.3], [1.0, 1.0], envs, [1.0, 1.0], noise)
        curve = outer_loop.expected_loss(eta, [1.0, 0.3], [1.0, 1.0], envs, [1.0, 1.0], 30)
        level = outer_loop.sgd_plateau(eta[:, -1], [1.0, 0.3], [1.0, 1.0], envs)
        return (
            path,
            outer_loop.quadratic_loss(path, [1.0, 0.3]),
            curve,
            level,
            outer_loop.time_constant(eta, [1.0, 0.3]),
        )

    program = recorded(figure, {"eta": 0.3, "envs": 8.0, "seed": 0.0})
    for page, wanted in replays(program, figure, [{"eta": 1.1, "envs": 100.0, "seed": 7.0}]):
        np.testing.assert_allclose(page, wanted, rtol=1e-9, atol=1e-12)


def test_figures_can_record_the_bandit():
    def figure(eta, envs, seed):
        path = softmax_bandit.simulate_bandit_gaussian(**BANDIT, eta=eta, N=envs, noise=normal(seed, 20, 3, 2, 4))
        return softmax_bandit.bandit_gap(path, REWARDS, TAU), softmax_bandit.softmax_bandit_plateau(
            **BANDIT, eta=eta, N=envs
        )

    program = recorded(figure, {"eta": 0.3, "envs": 8.0, "seed": 0.0})
    for page, wanted in replays(program, figure, [{"eta": 2.0, "envs": 100.0, "seed": 7.0}]):
        np.testing.assert_allclose(page, wanted, rtol=1e-8, atol=1e-12)


# Inside one round ----------------------------------------------------------------------------------------------------


def test_brief_9_data_to_divergence_doubles_with_the_environments():
    few, many = inner_loop.data_to_divergence([16, 32], 32, 0.02).tolist()
    assert few == pytest.approx(16 * 32 / 0.02)
    assert many == pytest.approx(2 * few)


def test_the_recipe_adds_minibatches_and_the_rival_does_not():
    envs = torch.tensor([16.0, 128.0, 1024.0])
    assert inner_loop.inner_steps(envs, 32, 512, 8).tolist() == [8, 64, 512]
    assert inner_loop.inner_steps(envs, 32, 512 * envs / 16, 8).tolist() == [8, 8, 8]
    with pytest.raises(ValueError, match="minibatch must be at most n_envs \\* steps, got 512"):
        inner_loop.inner_steps(8, 32, 512, 8)
