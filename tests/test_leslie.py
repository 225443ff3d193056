"""Predator and prey in complex form: acceptance numbers, perturbation theory, extinction, bad input."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lib import leslie

A = leslie.leslie_matrix([0.2, 1.1, 0.9], [0.7, 0.5])
B = 0.05 * A @ A + 0.02 * torch.eye(3, dtype=torch.float64)
X0, Y0 = [10.0, 5.0, 2.0], [3.0, 1.0, 1.0]
M = leslie.block_matrix(A, B, A, B)


def test_the_names_of_the_brief_are_public():
    wanted = """leslie_matrix growth_factor net_reproduction stable_age_distribution block_matrix evolve
    perturbed_growth extinction_step last_species_standing LeslieGower fit_leslie_gower hamiltonian fock_lift
    gause_paramecium"""
    assert set(wanted.split()) <= set(leslie.__all__)
    assert all(hasattr(leslie, name) and getattr(leslie, name).__doc__ for name in leslie.__all__)


def test_brief_2_block_complex_and_binomial_forms_agree():
    prey, predator = [11.058924, 6.856466, 3.036159], [58.671955, 36.375190, 16.108527]
    block = leslie.evolve(M, X0 + Y0, 15)[15]
    w = leslie.evolve_complex(A, B, X0, Y0, 15)[15]
    binomial = leslie.binomial_form(A, B, X0, Y0, 15)
    torch.testing.assert_close(torch.cat([w.real, w.imag]), block, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(binomial, w, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(w.real, prey, atol=1e-6)
    np.testing.assert_allclose(w.imag, predator, atol=1e-6)


def test_brief_2_growth_rotation_and_extinction():
    assert float(leslie.growth_factor(A)) == pytest.approx(1.1290724, abs=5e-8)
    radius = float(leslie.growth_factor(torch.complex(A, B)))
    assert radius == pytest.approx(1.1321736, abs=5e-8)
    assert float(leslie.growth_factor(M)) == pytest.approx(radius, abs=1e-12)
    w = leslie.evolve_complex(A, B, X0, Y0, 61)
    assert float(w[61].norm() / w[60].norm()) == pytest.approx(radius, abs=1e-9)
    assert float(leslie.rotation_angle(A, B)) == pytest.approx(0.0740317, abs=5e-8)
    assert float(leslie.extinction_step(A, B, X0, Y0)) == pytest.approx(17.52, abs=5e-3)
    negative = (leslie.evolve(M, X0 + Y0, 40)[:, :3] < 0).any(dim=-1)
    assert int(negative.nonzero()[0]) == 18


@given(st.integers(1, 5), st.integers(0, 2**31 - 1))
def test_complex_form_is_the_block_form(classes, seed):
    generator = torch.Generator().manual_seed(seed)
    a, b = torch.rand(2, classes, classes, generator=generator, dtype=torch.float64)
    x, y = torch.rand(2, classes, generator=generator, dtype=torch.float64)
    w = leslie.evolve_complex(a, b, x, y, 12)
    z = leslie.evolve(leslie.block_matrix(a, b, a, b), torch.cat([x, y]), 12)
    torch.testing.assert_close(torch.cat([w.real, w.imag], dim=-1), z, rtol=1e-10, atol=1e-10)
    values = torch.linalg.eigvals(torch.complex(a, b)).numpy()
    both = np.concatenate([values, values.conj()])
    block = torch.linalg.eigvals(leslie.block_matrix(a, b, a, b)).numpy()
    assert np.abs(block[:, None] - both[None]).min(axis=0).max() < 1e-7


def test_brief_3_errors_of_perturbation_theory_fall_by_four_and_sixteen():
    small = 0.1 * torch.rand(3, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    scales = torch.tensor([0.25, 0.125, 0.0625], dtype=torch.float64)[:, None, None]
    exact = leslie.growth_factor(torch.complex(A.expand(3, 3, 3), scales * small))
    first = (leslie.perturbed_growth(A, scales * small, order=1).abs() - exact).abs()
    second = (leslie.perturbed_growth(A, scales * small, order=2).abs() - exact).abs()
    np.testing.assert_allclose(first[:-1] / first[1:], 4, rtol=0.02)
    np.testing.assert_allclose(second[:-1] / second[1:], 16, rtol=0.1)
    assert (second < first / 100).all()


def test_second_order_against_the_sum_over_modes():
    values, right = np.linalg.eig(A.numpy())
    order = np.argsort(-values.real)
    values, right = values[order], right[:, order]
    t = np.linalg.inv(right) @ B.numpy() @ right
    expected = values[0] + 1j * t[0, 0] - sum(t[0, k] * t[k, 0] / (values[0] - values[k]) for k in (1, 2))
    assert complex(leslie.perturbed_growth(A, B)) == pytest.approx(expected, abs=1e-12)


@given(st.integers(0, 2**31 - 1))
def test_the_extinction_step_finds_the_first_negative_prey_of_a_pure_mode(seed):
    draw = torch.rand(3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    strength, ratio = 0.02 + 0.2 * draw[0], 2 * draw[1]
    ages = leslie.stable_age_distribution(A)
    predicted = float(leslie.extinction_step(A, strength * A, ages, ratio * ages))
    prey = leslie.evolve_complex(A, strength * A, ages, ratio * ages, 120).real.sum(dim=-1)
    assert int((prey < 0).nonzero()[0]) == int(np.floor(predicted)) + 1


def test_without_predation_the_prey_never_dies():
    assert float(leslie.extinction_step(A, torch.zeros_like(A), X0, Y0)) == np.inf


def test_batched_equals_looped():
    strength = torch.tensor([0.05, 0.1, 0.2], dtype=torch.float64)[:, None, None]
    for name, extra in (("perturbed_growth", ()), ("rotation_angle", ()), ("extinction_step", (X0, Y0))):
        together = getattr(leslie, name)(A, strength * A, *extra)
        looped = torch.stack([getattr(leslie, name)(A, one * A, *extra) for one in strength])
        torch.testing.assert_close(together, looped)
    together = leslie.binomial_form(A, strength * A, X0, Y0, 7)
    torch.testing.assert_close(together, leslie.evolve_complex(A, strength * A, X0, Y0, 7)[:, 7])


def test_gradients():
    fecundity = torch.tensor([0.2, 1.1, 0.9], dtype=torch.float64, requires_grad=True)
    strength = torch.tensor(0.08, dtype=torch.float64, requires_grad=True)

    def everything(f, b):
        a = leslie.leslie_matrix(f, [0.7, 0.5])
        forms = leslie.evolve_complex(a, b * a, X0, Y0, 5), leslie.binomial_form(a, b * a, X0, Y0, 5)
        growth = leslie.perturbed_growth(a, b * a, 1).abs(), leslie.perturbed_growth(a, b * a, 2).abs()
        turning = leslie.rotation_angle(a, b * a), leslie.extinction_step(a, b * a, X0, Y0)
        return (*growth, *turning, *(torch.view_as_real(form) for form in forms))

    assert torch.autograd.gradcheck(everything, (fecundity, strength), atol=1e-6)


BIG = torch.eye(4, dtype=torch.float64)
UNLIKE = leslie.leslie_matrix([1.0, 0.3, 0.1], [0.2, 0.9])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: leslie.evolve_complex(A, BIG, X0, Y0, 3), r"B must have shape \(\.\.\., 3, 3\), got \(4, 4\)"),
        (lambda: leslie.evolve_complex(A, B, X0[:2], Y0, 3), r"x0 must have shape \(\.\.\., 3\), got \(2,\)"),
        (lambda: leslie.evolve_complex(A, B, X0, Y0[:2], 3), r"y0 must have shape \(\.\.\., 3\)"),
        (lambda: leslie.evolve_complex(-A, B, X0, Y0, 3), "A must have entries of at least 0"),
        (lambda: leslie.evolve_complex(A, B, X0, Y0, -3), "steps must be an integer of at least 0, got -3"),
        (lambda: leslie.evolve_complex(A, B, X0, torch.ones(3), 3), "must share one dtype and device"),
        (lambda: leslie.binomial_form(A, UNLIKE, X0, Y0, 3), r"A and B must commute"),
        (lambda: leslie.binomial_form(A, B, X0, Y0, 1.0), "steps must be an integer"),
        (lambda: leslie.perturbed_growth(A, B, order=3), "order must be one of 1, 2, got 3"),
        (lambda: leslie.perturbed_growth(A, -B), "B must have entries of at least 0"),
        (lambda: leslie.perturbed_growth(X0, B), "A must be a square matrix"),
        (lambda: leslie.perturbed_growth(BIG, BIG), "simple leading eigenvalue"),
        (lambda: leslie.rotation_angle(A, UNLIKE), "A and B must commute"),
        (lambda: leslie.extinction_step(A, UNLIKE, X0, Y0), "A and B must commute"),
        (lambda: leslie.extinction_step(A, B, [-1.0, 0, 0], Y0), "x0 must be at least 0"),
        (lambda: leslie.extinction_step(A, B, X0, [-1.0, 0, 0]), "y0 must be at least 0"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
