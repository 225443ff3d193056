"""Batched least squares against scipy, closed forms and each problem alone."""

import numpy as np
import pytest
import scipy.optimize
import torch
from hypothesis import given
from hypothesis import strategies as st

from lib.least_squares import huber_loss, least_squares


def decay(p, t, y):
    """Residuals of three parameters, the example of the benchmarks."""
    return p[:, :1] * torch.exp(-p[:, 1:2] * t) + p[:, 2:] - y


def decay_jacobian(p, t, y):
    falling = torch.exp(-p[:, 1:2] * t).expand(len(p), -1)
    return torch.stack([falling, -p[:, :1] * t * falling, torch.ones_like(falling)], dim=-1)


def decays(count, points=50, seed=0):
    generator = torch.Generator().manual_seed(seed)
    t = torch.linspace(0, 4, points, dtype=torch.float64)
    noise = torch.randn(count, points, dtype=torch.float64, generator=generator)
    return t, 2.5 * torch.exp(-1.3 * t) + 0.5 + 0.1 * noise


def test_the_optimum_is_scipys():
    t, y = decays(30)
    found = least_squares(decay, [1.0, 1.0, 0.0], (t, y), decay_jacobian)
    assert found.converged.all()
    for mine, data, cost in zip(found.parameters, y.numpy(), found.cost):
        theirs = scipy.optimize.least_squares(
            lambda p, data=data: p[0] * np.exp(-p[1] * t.numpy()) + p[2] - data, [1.0, 1.0, 0.0], xtol=1e-14, ftol=1e-14
        )
        np.testing.assert_allclose(mine, theirs.x, rtol=1e-6)
        np.testing.assert_allclose(cost, theirs.cost, rtol=1e-12)


def test_forward_differentiation_gives_the_same():
    t, y = decays(5)
    given_one = least_squares(decay, [1.0, 1.0, 0.0], (t, y), decay_jacobian)
    own = least_squares(decay, [1.0, 1.0, 0.0], (t, y))
    torch.testing.assert_close(own.parameters, given_one.parameters, rtol=1e-12, atol=1e-12)
    assert own.steps == given_one.steps


def test_both_from_one_call_and_less_damping_lead_to_the_same_optimum():
    t, y = decays(20)
    one = least_squares(decay, [2.0, 1.0, 0.4], (t, y), decay_jacobian)

    def both(*arguments):
        return decay(*arguments), decay_jacobian(*arguments)

    other = least_squares(both, [2.0, 1.0, 0.4], (t, y), True)
    assert torch.equal(one.parameters, other.parameters)
    bold = least_squares(both, [2.0, 1.0, 0.4], (t, y), True, damping=1e-6)
    torch.testing.assert_close(bold.parameters, one.parameters, rtol=1e-6, atol=1e-8)
    assert bold.converged.all() and bold.steps <= one.steps


def test_undamped_steps_that_go_wrong_are_shortened():
    t, y = decays(20)
    far = least_squares(decay, [0.1, 6.0, 3.0], (t, y), decay_jacobian, damping=1e-9)
    near = least_squares(decay, [2.0, 1.0, 0.4], (t, y), decay_jacobian)
    assert far.converged.all()
    torch.testing.assert_close(far.cost, near.cost, rtol=1e-9, atol=0)


def test_a_batch_is_its_problems_one_by_one():
    t, y = decays(20)
    together = least_squares(decay, [1.0, 1.0, 0.0], (t, y), decay_jacobian)
    for row, alone in zip(y, together.parameters):
        found = least_squares(decay, [1.0, 1.0, 0.0], (t, row), decay_jacobian)
        torch.testing.assert_close(found.parameters, alone, rtol=1e-10, atol=1e-12)


def test_many_starts_for_many_problems():
    t, y = decays(4)
    starts = torch.tensor([[[1.0, 1.0, 0.0]], [[3.0, 2.0, 1.0]], [[1.0, 0.3, 0.2]]], dtype=torch.float64)
    found = least_squares(decay, starts, (t, y), decay_jacobian)
    assert found.parameters.shape == (3, 4, 3)
    torch.testing.assert_close(found.parameters, found.parameters[:1].expand(3, 4, 3), rtol=1e-6, atol=1e-7)


def test_a_straight_line_is_the_normal_equations():
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(7, dtype=torch.float64, generator=generator)
    y = torch.randn(3, 7, dtype=torch.float64, generator=generator)
    found = least_squares(lambda p, x, y: p[:, :1] + p[:, 1:] * x - y, [0.0, 0.0], (x, y))
    slope, level = np.polyfit(x.numpy(), y.numpy().T, 1)
    np.testing.assert_allclose(found.parameters, np.stack([level, slope], axis=-1), rtol=1e-9)
    design = np.stack([np.ones(7), x.numpy()], axis=-1)
    np.testing.assert_allclose(found.information[0], design.T @ design, rtol=1e-12)


def test_bounds_agree_with_scipy_and_are_reached_exactly():
    t, y = decays(10)
    lower, upper = [0.0, 1.4, 0.52], [np.inf, 3.0, 0.6]
    found = least_squares(decay, [1.0, 2.0, 0.55], (t, y), decay_jacobian, lower, upper)
    assert found.converged.all()
    for mine, data in zip(found.parameters, y.numpy()):
        theirs = scipy.optimize.least_squares(
            lambda p, data=data: p[0] * np.exp(-p[1] * t.numpy()) + p[2] - data,
            [1.0, 2.0, 0.55],
            bounds=(lower, upper),
            xtol=1e-14,
            ftol=1e-14,
            gtol=1e-14,
        )
        np.testing.assert_allclose(mine, theirs.x, rtol=1e-5)
    assert bool((found.parameters[:, 1] == 1.4).any())


def test_equal_bounds_hold_a_parameter():
    t, y = decays(3)
    held = torch.tensor([[0.3], [0.5], [0.7]], dtype=torch.float64)
    inf = torch.full_like(held, torch.inf)
    found = least_squares(
        decay,
        [1.0, 1.0, 0.0],
        (t, y),
        decay_jacobian,
        lower=torch.cat([-inf, -inf, held], dim=-1),
        upper=torch.cat([inf, inf, held], dim=-1),
    )
    assert torch.equal(found.parameters[:, 2:], held)
    for mine, data, floor in zip(found.parameters, y.numpy(), held[:, 0].numpy()):
        theirs, _ = scipy.optimize.curve_fit(
            lambda t, a, b, floor=floor: a * np.exp(-b * t) + floor, t.numpy(), data, [1.0, 1.0]
        )
        np.testing.assert_allclose(mine[:2], theirs, rtol=1e-5)


@pytest.mark.parametrize("delta", [0.01, 0.1, 10.0])
def test_hubers_optimum_is_scipys(delta):
    t, y = decays(5)
    y = y.clone()
    y[:, ::9] += 1.0
    found = least_squares(decay, [1.0, 1.0, 0.0], (t, y), decay_jacobian, huber=delta, max_steps=500)
    assert found.converged.all()
    for mine, data, cost in zip(found.parameters, y, found.cost):

        def objective(p, data=data):
            return float(huber_loss(decay(torch.tensor(p)[None], t, data), delta).sum())

        theirs = scipy.optimize.minimize(
            objective, mine.numpy() + 0.02, method="Nelder-Mead", options=dict(xatol=1e-9, fatol=1e-13, maxiter=5000)
        )
        assert float(cost) == pytest.approx(objective(mine.numpy()), rel=1e-12)
        assert float(cost) <= theirs.fun * (1 + 1e-9)
        np.testing.assert_allclose(mine, theirs.x, atol=2e-5)


def test_one_outlier_moves_hubers_line_little():
    x = torch.linspace(-1, 1, 21, dtype=torch.float64)
    y = 2 * x
    y[3] = 50.0

    def line(p, x, y):
        return p[:, :1] + p[:, 1:] * x - y

    assert abs(float(least_squares(line, [0.0, 0.0], (x, y)).parameters[1]) - 2) > 1
    assert abs(float(least_squares(line, [0.0, 0.0], (x, y), huber=0.01).parameters[1]) - 2) < 0.01


def test_too_few_steps_are_not_called_converged():
    t, y = decays(3)
    found = least_squares(decay, [1.0, 1.0, 0.0], (t, y), decay_jacobian, max_steps=1)
    assert not found.converged.any()
    assert found.steps == 1


def test_a_parameter_without_influence_stays():
    x = torch.linspace(0, 1, 5, dtype=torch.float64)
    found = least_squares(lambda p, x, y: p[:, :1] * x - y + 0 * p[:, 1:], [0.0, 7.0], (x, 3 * x))
    torch.testing.assert_close(found.parameters, torch.tensor([3.0, 7.0], dtype=torch.float64))


@given(st.floats(0.01, 100), st.floats(-50, 50))
def test_hubers_function(delta, residual):
    ours = float(huber_loss(residual, delta))
    size = abs(residual)
    assert ours == pytest.approx(size**2 / 2 if size <= delta else delta * (size - delta / 2), rel=1e-12, abs=1e-300)


def test_shapes_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match="residuals must return shape"):
        least_squares(lambda p: p[:, 0], [1.0], ())
    with pytest.raises(ValueError, match="lower must not exceed upper"):
        least_squares(decay, [1.0, 1.0, 0.0], decays(1), lower=[2.0] * 3, upper=[1.0] * 3)
    with pytest.raises(ValueError, match="start must give finite residuals"):
        least_squares(lambda p, y: p.log() - y, [-1.0], ([1.0, 2.0],))
