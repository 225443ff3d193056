"""Populations as quantum mechanics: the golden-ratio example, scipy as the reference, the Fock lift, bad input."""

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given
from hypothesis import strategies as st

from lib import leslie

GOLDEN = torch.tensor([[1.0, 2.0], [0.5, 0.0]], dtype=torch.float64)
RATIO = (1 + np.sqrt(5)) / 2
BIRTHS = st.floats(0.05, 3)


def ordered(values):
    return np.array(sorted(values.numpy(), key=lambda value: (value.real, value.imag)))


def test_brief_12_energies_of_the_golden_ratio_system():
    H = leslie.hamiltonian(GOLDEN)
    np.testing.assert_allclose(ordered(torch.linalg.eigvals(GOLDEN).to(H.dtype)), [1 - RATIO, RATIO], atol=1e-12)
    expected = [-np.pi - 0.481212j, 0.481212j]
    np.testing.assert_allclose(ordered(torch.linalg.eigvals(H)), expected, atol=5e-7)
    assert complex(H.trace()) == pytest.approx(-np.pi, abs=1e-12)
    assert (torch.matrix_exp(-1j * H) - GOLDEN).abs().max() < 1e-13
    oscillation, growth = leslie.hermitian_parts(H)
    np.testing.assert_allclose(torch.linalg.eigvalsh(oscillation), [-3.489633, 0.348041], atol=5e-7)
    torch.testing.assert_close(oscillation + 1j * growth, H)
    for part in (oscillation, growth):
        torch.testing.assert_close(part, part.mH)


def test_brief_12_fock_lift():
    H = leslie.hamiltonian(GOLDEN)
    lifted = leslie.fock_lift(H, cutoff=4)
    number = leslie.occupations(4).sum(dim=-1)
    total = torch.diag(number).to(lifted.dtype)
    assert (lifted @ total - total @ lifted).abs().max() < 1e-12
    step = torch.matrix_exp(-1j * lifted)
    one = [4, 1]
    assert leslie.occupations(4)[one].tolist() == [[1, 0], [0, 1]]
    assert (lifted[one][:, one] - H).abs().max() < 1e-14
    assert (step[one][:, one] - GOLDEN).abs().max() < 1e-12
    two = (number == 2).nonzero()[:, 0]
    values = ordered(torch.linalg.eigvals(step[two][:, two]))
    np.testing.assert_allclose(values, [-1, 0.381966, 2.618034], atol=5e-7)


@given(st.integers(2, 5))
def test_sectors_are_symmetric_powers(cutoff):
    step = torch.matrix_exp(-1j * leslie.fock_lift(leslie.hamiltonian(GOLDEN), cutoff))
    number = leslie.occupations(cutoff).sum(dim=-1)
    for individuals in range(cutoff):
        sector = (number == individuals).nonzero()[:, 0]
        powers = [RATIO ** (individuals - j) * (1 - RATIO) ** j for j in range(individuals + 1)]
        np.testing.assert_allclose(
            ordered(torch.linalg.eigvals(step[sector][:, sector])).real, sorted(powers), atol=1e-8
        )


@given(BIRTHS, BIRTHS, st.floats(0.05, 1))
def test_closed_form_against_scipy(first, second, survival):
    L = leslie.leslie_matrix([first, second], [survival])
    H = leslie.two_class_hamiltonian([first, second], [survival])
    np.testing.assert_allclose(H, 1j * scipy.linalg.logm(L.numpy()), atol=1e-9)
    np.testing.assert_allclose(leslie.hamiltonian(L), H, atol=1e-9)
    assert complex(H.trace()).real == pytest.approx(-np.pi, abs=1e-9)


@given(BIRTHS, BIRTHS, st.floats(0.05, 1), st.floats(0, 6))
def test_fractional_time_against_expm(first, second, survival, time):
    x0 = np.array([2.0, 1.0])
    L = leslie.leslie_matrix([first, second], [survival])
    expected = scipy.linalg.expm(-1j * leslie.hamiltonian(L).numpy() * time) @ x0
    found = leslie.fractional_steps([first, second], [survival], x0, [time])[0]
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-8)


def test_whole_times_are_the_recursion():
    times = torch.arange(9, dtype=torch.float64)
    found = leslie.fractional_steps([1.0, 2.0], [0.5], [3.0, 1.0], times)
    torch.testing.assert_close(found.real, leslie.evolve(GOLDEN, [3.0, 1.0], 8), rtol=1e-12, atol=1e-12)
    assert found.imag.abs().max() < 1e-12
    between = leslie.fractional_steps([1.0, 2.0], [0.5], [3.0, 1.0], times + 0.5)
    assert (between.imag.abs() > 1e-4).all()


@given(st.integers(1, 4), st.integers(0, 2**31 - 1))
def test_any_regular_map_is_recovered(size, seed):
    draw = torch.rand(3, size, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    L = draw + torch.eye(size, dtype=torch.float64)
    H = leslie.hamiltonian(L)
    assert H.shape == L.shape
    torch.testing.assert_close(torch.matrix_exp(-1j * H), L.to(H.dtype), rtol=1e-9, atol=1e-9)


def test_a_map_with_a_repeated_eigenvalue_has_a_hamiltonian():
    L = torch.tensor([[1.0, 1.0], [0.0, 1.0]], dtype=torch.float64)
    torch.testing.assert_close(leslie.hamiltonian(L), torch.tensor([[0, 1j], [0, 0]], dtype=torch.complex128))
    assert leslie.hamiltonian(L.float()).dtype == torch.complex64


def test_batched_equals_looped_and_gradients():
    fecundity = torch.tensor([[1.0, 2.0], [0.3, 0.8]], dtype=torch.float64, requires_grad=True)
    survival = torch.tensor([[0.5], [0.9]], dtype=torch.float64, requires_grad=True)
    together = leslie.two_class_hamiltonian(fecundity, survival)
    torch.testing.assert_close(together[1], leslie.two_class_hamiltonian(fecundity[1], survival[1]))
    lifted = leslie.fock_lift(together, 3)
    torch.testing.assert_close(lifted[1], leslie.fock_lift(together[1], 3))
    path = leslie.fractional_steps(fecundity, survival, [1.0, 2.0], [0.5, 1.0, 2.5])
    assert path.shape == (2, 3, 2)

    def everything(f, s):
        parts = leslie.two_class_hamiltonian(f, s), leslie.fractional_steps(f, s, [1.0, 2.0], [0.5, 2.0])
        return tuple(torch.view_as_real(part) for part in parts)

    assert torch.autograd.gradcheck(everything, (fecundity, survival))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: leslie.hamiltonian([[1.0, 2.0], [0.0, 0.0]]), "L must not have an eigenvalue 0"),
        (lambda: leslie.hamiltonian([1.0, 2.0]), "L must be a square matrix"),
        (lambda: leslie.hamiltonian([[float("nan")]]), "L must be finite"),
        (lambda: leslie.two_class_hamiltonian([1.0, 0.0], [0.5]), "must be above 0: the matrix has no logarithm"),
        (lambda: leslie.two_class_hamiltonian([1.0, -1.0], [0.5]), "fecundity must be at least 0"),
        (lambda: leslie.two_class_hamiltonian([1.0, 1.0], [1.5]), r"survival must lie in \[0, 1\]"),
        (lambda: leslie.two_class_hamiltonian([1.0], [0.5]), "fecundity must have shape"),
        (lambda: leslie.two_class_hamiltonian([1.0, 1.0], [0.5, 0.5]), "survival must have shape"),
        (lambda: leslie.fractional_steps([1.0, 2.0], [0.5], [1.0], [1.0]), "x0 must have shape"),
        (
            lambda: leslie.fractional_steps([1.0, 2.0], [0.5], [1.0, 1.0], 1.0),
            r"times must have shape \(t,\), got \(\)",
        ),
        (lambda: leslie.hermitian_parts([[1.0]]), "H must be a tensor"),
        (lambda: leslie.hermitian_parts(torch.ones(2)), "H must be a square matrix"),
        (lambda: leslie.occupations(1), "cutoff must be an integer of at least 2, got 1"),
        (lambda: leslie.fock_lift(np.eye(3), 4), r"H must have shape \(\.\.\., 2, 2\)"),
        (lambda: leslie.fock_lift(torch.full((2, 2), complex("nan")), 4), "H must be finite"),
        (lambda: leslie.fock_lift(np.eye(2), 1), "cutoff must be an integer of at least 2"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
