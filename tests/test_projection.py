"""Leslie matrices and the linear recursion: acceptance numbers, invariants, bad input."""

import numpy as np
import pytest
import scipy.optimize
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lib import leslie

EXAMPLE = leslie.leslie_matrix([0, 4, 3], [0.5, 0.25])


def rates(lowest_fecundity=0.0):
    """Fecundity and survival of one to five age classes."""

    def of(classes):
        births = st.lists(st.floats(lowest_fecundity, 3), min_size=classes, max_size=classes)
        living = st.lists(st.floats(0.05, 1), min_size=classes - 1, max_size=classes - 1)
        return st.tuples(births, living)

    return st.integers(1, 5).flatmap(of)


def test_brief_1_first_example():
    values = np.sort(torch.linalg.eigvals(EXAMPLE).real.numpy())
    np.testing.assert_allclose(values, [-1.30902, -0.19098, 1.5], atol=5e-6)
    assert float(leslie.growth_factor(EXAMPLE)) == pytest.approx(1.5, abs=1e-12)
    assert float(leslie.net_reproduction(EXAMPLE)) == 2.375


def test_brief_1_second_example():
    L = leslie.leslie_matrix([0, 1.5, 1], [0.6, 0.4])
    assert float(leslie.growth_factor(L)) == pytest.approx(1.0612058, abs=5e-8)
    shares = leslie.stable_age_distribution(L)
    np.testing.assert_allclose(shares, [0.562269, 0.317904, 0.119827], atol=5e-7)


def test_entries():
    expected = [[0, 4, 3], [0.5, 0, 0], [0, 0.25, 0]]
    assert EXAMPLE.tolist() == expected
    assert EXAMPLE.dtype == torch.float64
    assert leslie.leslie_matrix([1.3], []).tolist() == [[1.3]]
    assert leslie.leslie_matrix(torch.rand(5, 1, 3), torch.rand(4, 2)).shape == (5, 4, 3, 3)


@given(rates(lowest_fecundity=0.01))
@settings(max_examples=60, deadline=None)
def test_growth_solves_the_euler_lotka_equation(given_rates):
    fecundity, survival = given_rates
    L = leslie.leslie_matrix(fecundity, survival)
    survivorship = np.cumprod([1.0, *survival])
    ages = np.arange(1, len(fecundity) + 1)

    def surplus(growth):
        return (np.array(fecundity) * survivorship * growth**-ages).sum() - 1

    root = scipy.optimize.brentq(surplus, 1e-4, 20, xtol=1e-14)
    assert float(leslie.growth_factor(L)) == pytest.approx(root, rel=1e-7)
    assert float(leslie.net_reproduction(L)) == pytest.approx(surplus(1.0) + 1, rel=1e-12)


@given(rates(lowest_fecundity=0.01))
@settings(max_examples=60, deadline=None)
def test_a_population_grows_exactly_when_net_reproduction_exceeds_one(given_rates):
    L = leslie.leslie_matrix(*given_rates)
    growth, births = float(leslie.growth_factor(L)), float(leslie.net_reproduction(L))
    if abs(births - 1) > 1e-6:
        assert (growth > 1) == (births > 1)
    else:
        assert growth == pytest.approx(1, abs=1e-5)


@given(rates(lowest_fecundity=0.01))
@settings(max_examples=60, deadline=None)
def test_stable_ages_are_the_leading_eigenvector(given_rates):
    L = leslie.leslie_matrix(*given_rates)
    shares = leslie.stable_age_distribution(L)
    assert float(shares.sum()) == pytest.approx(1, abs=1e-12)
    assert (shares >= 0).all()
    torch.testing.assert_close(L @ shares, leslie.growth_factor(L) * shares, rtol=1e-6, atol=1e-9)


@given(rates(lowest_fecundity=0.01), st.floats(0.1, 100), st.integers(0, 2**31 - 1))
@settings(max_examples=40, deadline=None)
def test_evolution_is_linear_and_knows_no_units(given_rates, scale, seed):
    L = leslie.leslie_matrix(*given_rates)
    generator = torch.Generator().manual_seed(seed)
    first, second = torch.rand(2, L.shape[-1], generator=generator, dtype=torch.float64)
    together = leslie.evolve(L, scale * first + second, 12)
    apart = scale * leslie.evolve(L, first, 12) + leslie.evolve(L, second, 12)
    torch.testing.assert_close(together, apart, rtol=1e-10, atol=1e-9)
    clipped = leslie.evolve(L, scale * first, 12, clip=True, species=1)
    torch.testing.assert_close(clipped, scale * leslie.evolve(L, first, 12), rtol=1e-10, atol=1e-9)


def test_batched_equals_looped():
    generator = torch.Generator().manual_seed(1)
    fecundity, survival = torch.rand(6, 4, generator=generator), torch.rand(6, 3, generator=generator)
    L = leslie.leslie_matrix(fecundity, survival)
    z = torch.rand(6, 4, generator=generator)
    for name in ("growth_factor", "net_reproduction", "stable_age_distribution"):
        together = getattr(leslie, name)(L)
        torch.testing.assert_close(together, torch.stack([getattr(leslie, name)(one) for one in L]))
    for clip in (False, True):
        M = leslie.block_matrix(L, 0.3 * L.abs(), L, 0.2 * L.abs(), kind="competition")
        state = torch.cat([z, z.flip(-1)], dim=-1)
        together = leslie.evolve(M, state, 9, clip=clip)
        looped = torch.stack([leslie.evolve(M[i], state[i], 9, clip=clip) for i in range(6)])
        torch.testing.assert_close(together, looped)
    # One matrix for many states, and many matrices for one state.
    assert leslie.evolve(L[0], z, 3).shape == (6, 4, 4)
    torch.testing.assert_close(leslie.evolve(L, z[0], 3)[2], leslie.evolve(L[2], z[0], 3))


def test_evolution_equals_the_matrix_power():
    path = leslie.evolve(EXAMPLE, [1.0, 2.0, 3.0], 20)
    expected = np.linalg.matrix_power(EXAMPLE.numpy(), 20) @ [1, 2, 3]
    np.testing.assert_allclose(path[20], expected, rtol=1e-12)
    assert path.shape == (21, 3)
    assert leslie.evolve(EXAMPLE, [1.0, 2.0, 3.0], 0).tolist() == [[1, 2, 3]]


def test_clipping_step_by_step():
    M = leslie.block_matrix([[1.0]], [[0.5]], [[0.9]], [[0.3]])
    x, y, expected = 1.0, 2.5, []
    for _ in range(6):
        x, y = max(x - 0.5 * y, 0) if x > 0 else 0, max(0.9 * y + 0.3 * x, 0) if y > 0 else 0
        expected.append([x, y])
    np.testing.assert_allclose(leslie.evolve(M, [1.0, 2.5], 6, clip=True)[1:], expected, atol=1e-15)
    # A predator that is absent at the start is not made out of prey; without clipping it is.
    assert leslie.evolve(M, [1.0, 0.0], 3, clip=True)[-1].tolist() == [1, 0]
    assert leslie.evolve(M, [1.0, 0.0], 3)[-1, 1] > 0


def test_normalised_evolution_survives_long_runs():
    direction, log_size = leslie.evolve_normalised(EXAMPLE, [1.0, 0.0, 0.0], 5000)
    short = leslie.evolve(EXAMPLE, [1.0, 0.0, 0.0], 400)[-1]
    assert float(direction.abs().max()) == 1
    assert float(log_size) == pytest.approx(4600 * np.log(1.5) + np.log(float(short.max())), rel=1e-9)
    again, log_short = leslie.evolve_normalised(EXAMPLE, [1.0, 0.0, 0.0], 400)
    torch.testing.assert_close(again * log_short.exp(), short)
    dead, minus_infinity = leslie.evolve_normalised([[0.0, 0.0], [1.0, 0.0]], [1.0, 1.0], 5)
    assert dead.tolist() == [0, 0]
    assert float(minus_infinity) == -np.inf


@given(st.integers(1, 6), st.integers(0, 2**31 - 1))
@settings(max_examples=40, deadline=None)
def test_leading_projector_against_numpy(size, seed):
    N = torch.rand(size, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 0.01
    values, right = np.linalg.eig(N.numpy())
    lead = np.argmax(values.real)
    left = np.linalg.inv(right)[lead]
    expected = np.outer(right[:, lead], left).real
    np.testing.assert_allclose(leslie.leading_projector(N), expected, rtol=1e-8, atol=1e-10)


def test_leading_projector_of_a_periodic_matrix():
    P = leslie.leading_projector(leslie.leslie_matrix([0, 0, 6.0], [0.5, 1 / 3]))
    torch.testing.assert_close(P @ P, P)
    assert float(P.trace()) == pytest.approx(1)
    torch.testing.assert_close(leslie.growth_factor(leslie.leslie_matrix([0, 0, 6.0], [0.5, 1 / 3])).item(), 1.0)


def test_gradients():
    fecundity = torch.tensor([0.2, 1.1, 0.9], dtype=torch.float64, requires_grad=True)
    survival = torch.tensor([0.7, 0.5], dtype=torch.float64, requires_grad=True)

    def everything(f, s):
        L = leslie.leslie_matrix(f, s)
        M = leslie.block_matrix(L, 0.1 * L, L, 0.05 * L, kind="competition")
        path = leslie.evolve(M, [3.0, 2.0, 1.0, 1.0, 1.0, 1.0], 4, clip=True)
        direction, log_size = leslie.evolve_normalised(M, [3.0, 2.0, 1.0, 1.0, 1.0, 1.0], 4)
        shares, projector = leslie.stable_age_distribution(L), leslie.leading_projector(L)
        return leslie.growth_factor(L), leslie.net_reproduction(L), shares, projector, path, direction, log_size

    assert torch.autograd.gradcheck(everything, (fecundity, survival), atol=1e-6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: leslie.leslie_matrix([1, 2], [0.5, 0.5]), r"survival must have one entry fewer.*\(2,\) and \(2,\)"),
        (lambda: leslie.leslie_matrix(1.0, []), "survival must have one entry fewer"),
        (lambda: leslie.leslie_matrix([1, -2], [0.5]), "fecundity must be at least 0, got -2.0"),
        (lambda: leslie.leslie_matrix([1, 2], [1.5]), r"survival must lie in \[0, 1\], got values from 1.5"),
        (lambda: leslie.leslie_matrix([1, 2], [-0.5]), r"survival must lie in \[0, 1\]"),
        (lambda: leslie.leslie_matrix([1, float("nan")], [0.5]), "fecundity must be finite"),
        (lambda: leslie.growth_factor([1.0, 2.0]), "L must be a square matrix"),
        (lambda: leslie.growth_factor([[1.0, float("inf")], [0, 0]]), "L must be finite"),
        (lambda: leslie.growth_factor(torch.full((1, 1), complex("nan"))), "L must be finite"),
        (lambda: leslie.net_reproduction([[1.0, 1.0], [0.5, 0.5]]), "L must be a Leslie matrix"),
        (lambda: leslie.net_reproduction([[1.0, -1.0], [0.5, 0.0]]), "L must be a Leslie matrix"),
        (lambda: leslie.stable_age_distribution([[0.0, 0.0], [0.5, 0.0]]), "nobody reproduces"),
        (lambda: leslie.stable_age_distribution([[0.0, 0.0]]), "L must be a square matrix"),
        (lambda: leslie.block_matrix([[1.0]], [[1.0]], [[1.0]], [[1.0]], kind="war"), "kind must be one of.*'war'"),
        (lambda: leslie.block_matrix([[1.0]], [[-1.0]], [[1.0]], [[1.0]]), "B must have entries of at least 0"),
        (lambda: leslie.block_matrix([[1.0]], np.eye(2), [[1.0]], [[1.0]]), r"B must have shape \(\.\.\., 1, 1\)"),
        (lambda: leslie.evolve(EXAMPLE, [1.0, 2.0], 3), r"z0 must have shape \(\.\.\., 3\), got \(2,\)"),
        (lambda: leslie.evolve(EXAMPLE, [1.0, 2.0, 3.0], -1), "steps must be an integer of at least 0, got -1"),
        (lambda: leslie.evolve(EXAMPLE, [1.0, 2.0, 3.0], 2.5), "steps must be an integer"),
        (lambda: leslie.evolve(EXAMPLE, [1.0, 2.0, 3.0], 2, clip=True), "species must divide the 3 classes"),
        (lambda: leslie.evolve(EXAMPLE, [1.0, 2.0, 3.0], 2, clip=True, species=0), "species must be an integer"),
        (
            lambda: leslie.evolve(np.eye(2), [1.0, -2.0], 2, clip=True),
            "z0 must be at least 0 when clip is on, got -2.0",
        ),
        (lambda: leslie.evolve_normalised(EXAMPLE, [1.0], 3), "z0 must have shape"),
        (lambda: leslie.leading_projector(np.eye(2)), "N must have a simple leading eigenvalue"),
        (lambda: leslie.leading_projector([[1.0, 1.0], [0.0, 1.0]]), "N must have a simple leading eigenvalue"),
        (lambda: leslie.leading_projector([[0.0]]), "N must have a simple leading eigenvalue, but it is zero"),
        (lambda: leslie.leading_projector([[-1.0]]), "N must have entries of at least 0"),
        (lambda: leslie.leading_projector([1.0]), "N must be a square matrix"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@given(st.integers(1, 6), st.integers(0, 10_000))
def test_eigenvalues_have_a_fixed_order(size, seed):
    """The order does not depend on the similarity transform that presents the matrix."""
    g = torch.Generator().manual_seed(seed)
    L = torch.randn(size, size, generator=g, dtype=torch.float64)
    values = leslie.eigenvalues(L)
    order = torch.randperm(size, generator=g)
    again = leslie.eigenvalues(L[order][:, order])
    torch.testing.assert_close(values, again, rtol=1e-7, atol=1e-7)
    reference = np.linalg.eigvals(L.numpy())
    assert np.abs(np.sort_complex(values.numpy()) - np.sort_complex(reference)).max() < 1e-7
    assert bool((values.real.diff() <= 1e-9).all())


def test_eigenvalues_bad_input():
    with pytest.raises(ValueError, match="L must be"):
        leslie.eigenvalues([[1.0, 2.0]])


@pytest.mark.parametrize(
    "call",
    [
        lambda a, b: leslie.leslie_matrix(torch.zeros(a, 2), torch.zeros(b, 1)),
        lambda a, b: leslie.evolve(torch.zeros(a, 2, 2), torch.zeros(b, 2), 1),
        lambda a, b: leslie.block_matrix(*(torch.zeros(size, 1, 1) for size in (a, b, a, b))),
        lambda a, b: leslie.perturbed_growth(torch.ones(a, 1, 1), torch.ones(b, 1, 1)),
        lambda a, b: leslie.evolve_complex(*torch.ones(2, a, 1, 1), *torch.ones(2, b, 1), 1),
        lambda a, b: leslie.standing_margin(*torch.ones(4, a, 1, 1), *torch.ones(2, b, 1)),
        lambda a, b: leslie.beverton_holt(torch.full((a,), 2.0), torch.ones(b), 1.0, 1.0),
        lambda a, b: leslie.two_class_hamiltonian(torch.ones(a, 2), torch.ones(b, 1)),
        lambda a, b: leslie.fractional_steps(torch.ones(a, 2), torch.ones(a, 1), torch.ones(b, 2), [1.0]),
    ],
)
def test_batches_that_do_not_fit_are_refused(call):
    call(3, 1)
    with pytest.raises(ValueError, match=r"the leading dimensions of .* must be equal or 1"):
        call(2, 3)
