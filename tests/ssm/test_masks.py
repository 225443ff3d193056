"""Masks: closed forms, the two factors and the folded form, stability; what a chapter's figures record."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lib.ssm import costs, masks, orders, rotation, scan
from tests.replays import recorded, replays
from tests.ssm.scan_inputs import random_inputs


def random_steps(T, seed=0):
    inputs = random_inputs(b=2, T=T, H=1, M=0, seed=seed)
    return tuple(inputs[name][..., 0] for name in ("dt", "A", "lam"))


@given(st.integers(1, 12), st.integers(0, 1000))
def test_the_mask_is_the_product_of_its_factors(T, seed):
    dt, A, lam = random_steps(T, seed)
    product = masks.decay_mask(dt, A) @ masks.input_mask(dt, A, lam)
    np.testing.assert_allclose(masks.scan_mask(dt, A, lam), product, atol=1e-13)


def test_entries_by_their_definition():
    dt, A, lam = random_steps(6)
    alpha = torch.exp(dt * A)
    decay, inputs = masks.decay_mask(dt, A), masks.input_mask(dt, A, lam)
    for t in range(6):
        for s in range(6):
            left = alpha[:, s + 1 : t + 1].prod(-1) if s <= t else torch.zeros(2)
            np.testing.assert_allclose(decay[:, t, s], left, atol=1e-15)
            if s == t:
                wanted = lam[:, t] * dt[:, t]
            elif s == t - 1:
                wanted = (1 - lam[:, t]) * dt[:, t] * alpha[:, t]
            else:
                wanted = torch.zeros(2)
            np.testing.assert_allclose(inputs[:, t, s], wanted, atol=1e-15)


@given(st.integers(1, 30), st.integers(0, 1000))
def test_segments_are_sums(T, seed):
    log_decay = random_steps(T, seed)[1]
    found = masks.segment_sum(log_decay)
    for row, numbers in zip(found, log_decay.tolist(), strict=True):
        for t in range(T):
            wanted = [math.fsum(numbers[s + 1 : t + 1]) if s <= t else -math.inf for s in range(T)]
            np.testing.assert_allclose(row[t], wanted, rtol=1e-13, atol=1e-13)


def test_brief_8_ratios_of_decays_overflow_and_segments_do_not():
    log_decay = torch.full((4096,), -1.0)
    total = log_decay.cumsum(0)
    ratio = total.exp()[:, None] / total.exp()[None]
    lower = torch.ones(4096, 4096, dtype=torch.bool).tril()
    broken = ~ratio.isfinite() & lower
    assert float(broken.float().mean()) == pytest.approx(0.475, abs=5e-4)  # of all entries: 95 % of the lower triangle
    assert bool(masks.segment_sum(log_decay).exp().isfinite().all())


def test_brief_8_differences_of_sums_lose_digits():
    generator = torch.Generator().manual_seed(0)
    log_decay = -50 * torch.rand(256, generator=generator)
    exact = masks.segment_sum(log_decay.double()).exp()
    seen = exact > 1e-30
    total = log_decay.cumsum(0)
    differences = (total[:, None] - total[None]).exp()

    def worst(found):
        return float(((found.double() - exact).abs() / exact)[seen].max())

    assert worst(masks.segment_sum(log_decay).exp()) < 1e-5
    assert worst(differences) > 1e-4


def test_gradients_of_the_mask_are_finite_above_the_diagonal():
    log_decay = torch.full((50,), -100.0, dtype=torch.float64, requires_grad=True)
    [gradient] = torch.autograd.grad(masks.segment_sum(log_decay).exp().sum(), log_decay)
    assert bool(gradient.isfinite().all())
    few = torch.tensor([-1.0, -0.5, -2.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda a: masks.segment_sum(a).exp(), few)


@given(st.integers(1, 4), st.integers(0, 4), st.integers(0, 1000))
def test_rotations_turn_pairs(pairs, turned, seed):
    generator = torch.Generator().manual_seed(seed)
    v = torch.randn(3, 2 * pairs, generator=generator, dtype=torch.float64)
    angle = 7 * torch.randn(3, min(pairs, turned), generator=generator, dtype=torch.float64)
    w = rotation.rotate_pairs(v, angle)
    cells = torch.view_as_complex(v.reshape(3, pairs, 2)).numpy().copy()
    cells[:, : angle.shape[1]] *= np.exp(1j * angle.numpy())
    np.testing.assert_allclose(torch.view_as_complex(w.reshape(3, pairs, 2)), cells, atol=1e-14)
    np.testing.assert_allclose(rotation.rotate_pairs(w, -angle), v, atol=1e-14)
    np.testing.assert_allclose(w.norm(dim=-1), v.norm(dim=-1), atol=1e-13)


def test_rotation_takes_shared_angles():
    generator = torch.Generator().manual_seed(0)
    v = torch.randn(2, 5, 3, 4, generator=generator, dtype=torch.float64)
    angle = torch.randn(2, 5, 1, 1, generator=generator, dtype=torch.float64)
    written = rotation.rotate_pairs(v, angle.expand(2, 5, 3, 1))
    np.testing.assert_allclose(rotation.rotate_pairs(v, angle), written, atol=1e-15)


def test_phases_start_anew():
    dt, theta = torch.ones(1, 5, 2), torch.arange(1.0, 6).reshape(1, 5, 1, 1)
    reset = torch.tensor([[False, False, True, False, True]])
    start = torch.full((1, 2, 1), 10.0)
    found = rotation.phases(dt, theta, start, reset)
    assert found[0, :, 0, 0].tolist() == [11, 13, 3, 7, 5]
    assert torch.equal(found[:, :, 0], found[:, :, 1])


# Functions of a chapter's figures: recorded at one setting, replayed at others as the page does.


def test_the_masks_can_be_recorded():
    def figure(decay, dt, lam):
        steps = dt * torch.ones(12, dtype=torch.float64)
        return [
            masks.decay_mask(steps, -decay),
            masks.input_mask(steps, -decay, lam),
            masks.scan_mask(steps, -decay, lam),
        ]

    program = recorded(figure, {"decay": 0.5, "dt": 0.2, "lam": 0.5})
    settings = [{"decay": 0.0, "dt": 2.0, "lam": 1.0}, {"decay": 2.0, "dt": 0.01, "lam": 0.0}]
    for replayed, wanted in replays(program, figure, settings):
        np.testing.assert_allclose(replayed, wanted, atol=1e-12)


@pytest.mark.parametrize("form", [scan.scan, scan.scan_chunked, scan.scan_sequential])
def test_the_path_of_a_turning_pair_can_be_recorded(form):
    def figure(angle, decay, lam):
        one = torch.ones(1, 12, 1, dtype=torch.float64)
        first = torch.zeros(1, 12, 1, 1, dtype=torch.float64)
        first[:, 0] = 1
        axes = torch.eye(2, dtype=torch.float64)
        write = axes[0].expand(1, 12, 1, 2)
        path = []
        for axis in axes:
            read = axis.expand(1, 12, 1, 2)
            y, _ = form(first, one, -decay * one, write, read, lam * one, (angle * one)[..., None])
            path.append(y.flatten())
        return path

    program = recorded(figure, {"angle": math.pi, "decay": 0.1, "lam": 0.5})
    settings = [{"angle": 0.0, "decay": 0.0, "lam": 1.0}, {"angle": 2.0, "decay": 2.0, "lam": 0.3}]
    for replayed, wanted in replays(program, figure, settings):
        np.testing.assert_allclose(replayed, wanted, atol=1e-12)


def test_the_error_against_the_step_can_be_recorded():
    steps = [10, 20, 40, 80]

    def figure(decay, swing, lam):
        def rate(t):
            return -decay * (1 + swing * torch.sin(3 * t))

        def drive(t):
            return torch.cos(2 * t)

        best = orders.integrate(rate, drive, 2000, "tustin")
        rules = ("forward_euler", "exponential_trapezoidal", "averaged", "zero_order_hold")
        found = [[(orders.integrate(rate, drive, n, rule, lam=lam) - best).abs() for n in steps] for rule in rules]
        curves = torch.stack([torch.stack(row) for row in found])
        return [curves, orders.order_of_accuracy(steps, curves)]

    program = recorded(figure, {"decay": 1.0, "swing": 0.5, "lam": 0.5})
    settings = [{"decay": 0.3, "swing": 0.0, "lam": 1.0}, {"decay": 2.0, "swing": 0.9, "lam": 0.5}]
    for replayed, wanted in replays(program, figure, settings):
        np.testing.assert_allclose(replayed, wanted, rtol=1e-6)


def test_the_roofline_can_be_recorded():
    def figure(ranks):
        intensity = costs.arithmetic_intensity(128, 64, ranks)
        return [
            intensity,
            costs.roofline(intensity, 989e12, 3.35e12),
            costs.scan_flops(2048, 128, 64, 64 / ranks, ranks),
        ]

    program = recorded(figure, {"ranks": 1.0})
    for replayed, wanted in replays(program, figure, [{"ranks": 4.0}, {"ranks": 8.0}]):
        np.testing.assert_allclose(replayed, wanted, rtol=1e-12)
