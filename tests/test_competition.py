"""Last Species Standing: the theorem against simulation, clipping, maps, the ensemble, bad input."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lib import leslie

SCALAR = [[1.0]], [[0.05]], [[1.0]], [[0.1]]


def systems(count, classes, seed):
    """Random systems, the theorem's margin, the competition matrix and its starting state."""
    A, B, C, D, x0, y0 = leslie.random_competition(count, classes, torch.Generator().manual_seed(seed))
    margin = leslie.standing_margin(A, B, C, D, x0, y0)
    return margin, leslie.block_matrix(A, B, C, D, kind="competition"), torch.cat([x0, y0], dim=-1)


def left_alive(z):
    """+1 where only x is above 0, -1 where only y is, 0 where both are."""
    x, y = (part.sum(dim=-1) > 0 for part in z.chunk(2, dim=-1))
    return x.double() - y.double()


def test_brief_4_the_theorem_holds_in_all_systems_and_clipping_overturns_a_few():
    linear = clipped = 0
    for classes in (1, 2, 3):
        margin, M, z0 = systems(1000, classes, seed=classes)
        linear += int((left_alive(leslie.evolve_normalised(M, z0, 400)[0]) == margin.sign()).sum())
        clipped += int((left_alive(leslie.evolve_normalised(M, z0, 400, clip=True)[0]) == margin.sign()).sum())
    assert linear == 3000
    assert 2850 <= clipped < 3000


def test_brief_5_lanchesters_square_law():
    assert leslie.last_species_standing(*SCALAR, [10.0], [14.0]).winner == 0
    assert leslie.last_species_standing(*SCALAR, [10.0], [14.2]).winner == 1
    assert float(leslie.tie_ratio(*SCALAR, [1.0], [1.0])) == pytest.approx(np.sqrt(2), rel=1e-12)
    assert leslie.last_species_standing(*SCALAR, [10.0], [14.0]).rho == pytest.approx(1 + np.sqrt(0.005), rel=1e-12)


@given(*[st.floats(0.01, 2)] * 5)
def test_scalar_systems_follow_the_square_law(growth, b, d, x0, y0):
    margin = float(leslie.standing_margin([[growth]], [[b]], [[growth]], [[d]], [x0], [y0]))
    expected = (np.sqrt(d) * x0 - np.sqrt(b) * y0) / (np.sqrt(d) * x0 + np.sqrt(b) * y0)
    assert margin == pytest.approx(expected, abs=1e-9)


@given(st.integers(1, 3), st.integers(0, 2**31 - 1), st.floats(1e-3, 1e3))
def test_the_margin_knows_no_units_and_changes_sign_with_the_species(classes, seed, scale):
    A, B, C, D, x0, y0 = leslie.random_competition(4, classes, torch.Generator().manual_seed(seed))
    margin = leslie.standing_margin(A, B, C, D, x0, y0)
    torch.testing.assert_close(leslie.standing_margin(A, B, C, D, scale * x0, scale * y0), margin)
    torch.testing.assert_close(leslie.standing_margin(C, D, A, B, y0, x0), -margin)
    torch.testing.assert_close(leslie.standing_margin(A, B, C, D, x0, 0 * y0), torch.ones_like(margin))
    one = leslie.last_species_standing(A[0], B[0], C[0], D[0], x0[0], y0[0])
    assert one.margin == pytest.approx(float(margin[0]), abs=1e-12)
    assert (one.winner, one.rho) == (
        int(one.margin < 0),
        float(leslie.growth_factor(leslie.mirror_matrix(A, B, C, D)[0])),
    )


def test_the_margin_is_conserved_by_the_linear_recursion():
    """g grows by exactly rho a step: the left vector belongs to rho. Nothing is ever decided later."""
    A, B, C, D, x0, y0 = leslie.random_competition(50, 3, torch.Generator().manual_seed(9))
    value = leslie.leading_projector(leslie.mirror_matrix(A, B, C, D)).sum(dim=-2)
    value = torch.cat([value[:, :3], -value[:, 3:]], dim=-1)
    path = leslie.evolve(leslie.block_matrix(A, B, C, D, kind="competition"), torch.cat([x0, y0], dim=-1), 5)
    g = (path * value[:, None]).sum(dim=-1)
    rho = leslie.growth_factor(leslie.mirror_matrix(A, B, C, D))
    torch.testing.assert_close(g[:, 5], g[:, 0] * rho**5)


def test_scalar_systems_in_exact_arithmetic():
    """The theorem for unequal growth, against the recursion followed in rational numbers until one species is gone."""
    drawn = np.random.default_rng(11).integers(1, 60, size=(150, 6, 2))
    decided = 0
    for pairs in drawn:
        a, b, c, d, x0, y0 = (Fraction(int(over), int(under)) for over, under in pairs)
        named = leslie.last_species_standing(*([[float(rate)]] for rate in (a, b, c, d)), [float(x0)], [float(y0)])
        x, y = x0, y0
        for _ in range(200):
            x, y = a * x - b * y, c * y - d * x
            if (x <= 0) != (y <= 0):
                assert named.winner == (0 if x > 0 else 1)
                decided += 1
                break
    assert decided > 140


def test_the_tie_ratio_is_the_knife_edge():
    A, B, C, D, x0, y0 = leslie.random_competition(20, 3, torch.Generator().manual_seed(4))
    ratio = leslie.tie_ratio(A, B, C, D, x0, y0)
    tied = leslie.standing_margin(A, B, C, D, x0, ratio[:, None] * y0)
    torch.testing.assert_close(tied, torch.zeros_like(tied), atol=1e-12, rtol=0)


def test_exact_tie():
    same = [[1.0]], [[0.5]], [[1.0]], [[0.5]]
    assert leslie.last_species_standing(*same, [3.0], [3.0]).winner == -1


@pytest.mark.parametrize("clip", [False, True])
def test_winner_map_against_one_by_one_evolution(clip):
    A, B, C, D, _, _ = (part[0] for part in leslie.random_competition(1, 3, torch.Generator().manual_seed(2)))
    ages_x, ages_y = torch.tensor([[0.5, 0.3, 0.2], [0.2, 0.2, 0.6]], dtype=torch.float64)
    totals = torch.linspace(0.5, 10, 5, dtype=torch.float64)
    seen = leslie.winner_map(A, B, C, D, totals, 2 * totals[:4], ages_x, ages_y, steps=60, clip=clip)
    assert seen.shape == (4, 5)
    M = leslie.block_matrix(A, B, C, D, kind="competition")
    for row, y in enumerate(2 * totals[:4]):
        for column, x in enumerate(totals):
            z = leslie.evolve(M, torch.cat([x * ages_x, y * ages_y]), 60, clip=clip)[-1]
            balance = (z[:3].sum() - z[3:].sum()) / (z[:3].sum().abs() + z[3:].sum().abs())
            assert float(seen[row, column]) == pytest.approx(float(balance), abs=1e-9)
    if not clip:
        ratio = leslie.tie_ratio(A, B, C, D, ages_x, ages_y)
        theorem = torch.sign(ratio * totals[None] - 2 * totals[:4, None])
        torch.testing.assert_close(seen.sign(), theorem)


@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("steps", [0, 3, 16, 61])
def test_march_is_the_normalised_evolution(clip, steps):
    _, M, z0 = systems(333, 3, seed=5)
    reference, _ = leslie.evolve_normalised(M, z0, steps, clip=clip)
    torch.testing.assert_close(leslie.march(M, z0, steps, clip=clip), reference, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(leslie.march(M, z0, steps, clip=clip, chunk=100), reference, rtol=1e-9, atol=1e-12)


def test_march_in_float32_and_its_progress():
    _, M, z0 = systems(500, 3, seed=6)
    seen = []
    single = leslie.march(M.float(), z0.float(), 100, chunk=200, progress=lambda done, all_: seen.append((done, all_)))
    assert seen == [(200, 500), (400, 500), (500, 500)]
    assert single.dtype == torch.float32
    reference = leslie.march(M, z0, 100)
    close = (single - reference).abs().amax(dim=-1) < 1e-3
    assert close.double().mean() > 0.99


def test_the_ensemble_counts_what_plain_simulation_counts():
    """Same systems, drawn again column by column, simulated to the last step without dropping any."""
    from lib import competition_ensemble

    result = leslie.standing_ensemble(systems=700, steps=300, seed=11, dtype=torch.float64, chunk=700)
    generator = torch.Generator().manual_seed(11)
    columns, z = competition_ensemble._draw_columns(700, 3, generator, torch.float64)
    M, z0 = columns.permute(2, 1, 0), z.T.contiguous()
    sign = torch.ones(6, 6, dtype=torch.float64)
    sign[:3, 3:] = sign[3:, :3] = -1
    assert torch.equal((M * sign).abs(), M * sign)
    projector = leslie.leading_projector(M * sign)
    worth = projector.sum(dim=-2) * z0
    margin = (worth[:, :3].sum(-1) - worth[:, 3:].sum(-1)) / worth.sum(-1)
    linear = left_alive(leslie.evolve_normalised(M, z0, 300)[0])
    clipped = left_alive(leslie.evolve_normalised(M, z0, 300, clip=True)[0])
    assert result.linear_agrees == int((linear == margin.sign()).sum()) == 700
    assert result.clipped_agrees == int((clipped == margin.sign()).sum())
    assert result.undecided == int((clipped == 0).sum())
    overturned = margin.abs()[clipped == -margin.sign()]
    assert result.overturned.tolist() == torch.histogram(overturned, result.edges)[0].long().tolist()
    assert result.drawn.tolist() == torch.histogram(margin.abs(), result.edges)[0].long().tolist()


def test_the_ensemble_is_repeatable_and_overturns_near_the_tie():
    seen = []
    result = leslie.standing_ensemble(20_000, seed=3, progress=lambda done, all_: seen.append(done))
    again = leslie.standing_ensemble(20_000, seed=3)
    assert seen == [8192, 16384, 20000]
    assert result.clipped_agrees == again.clipped_agrees
    assert torch.equal(result.overturned, again.overturned)
    assert int(result.drawn.sum()) == 20_000
    # In float32 a margin below rounding may fall on either side.
    assert result.linear_agrees >= 19_990
    assert 0.94 < result.clipped_agrees / 20_000 < 0.96
    share = result.overturned / result.drawn.clamp(min=1)
    assert share[0] > 0.25
    assert share[10:].max() < 0.01


def test_one_class_is_never_overturned():
    result = leslie.standing_ensemble(5000, classes=1, seed=1, dtype=torch.float64)
    assert int(result.overturned.sum()) == 0
    assert result.linear_agrees >= 4995
    assert result.clipped_agrees + result.undecided == 5000


def test_random_systems_follow_their_law():
    A, B, C, D, x0, y0 = leslie.random_competition(4000, 2, torch.Generator().manual_seed(0))
    for values, low, high in (
        (A[:, 0], 0.05, 1.55),
        (C[:, 1, 0], 0.05, 0.95),
        (B, 0, 0.2),
        (D, 0, 0.2),
        (x0, 0.1, 10.1),
        (y0, 0.1, 10.1),
    ):
        assert low <= values.min() < low + 0.01 * (high - low)
        assert high >= values.max() > high - 0.01 * (high - low)
        assert float(values.mean()) == pytest.approx((low + high) / 2, rel=0.03)


def test_gradients():
    strength = torch.tensor(0.1, dtype=torch.float64, requires_grad=True)
    L = leslie.leslie_matrix([0.3, 1.1], [0.6])

    def margin(b):
        return leslie.standing_margin(L, b * L, L, 0.1 * L, [1.0, 2.0], [2.0, 1.0]), leslie.tie_ratio(
            L, b * L, L, 0.1 * L, [0.5, 0.5], [0.4, 0.6]
        )

    assert torch.autograd.gradcheck(margin, (strength,))


GENERATOR = torch.Generator()
ONE = [[1.0]]
ZERO = [[0.0]]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: leslie.last_species_standing(ONE, ZERO, ONE, ZERO, [1.0], [1.0]), "must be irreducible"),
        (lambda: leslie.last_species_standing(ONE, ONE, ONE, ZERO, [1.0], [1.0]), "must be irreducible"),
        (lambda: leslie.last_species_standing(ZERO, ONE, ZERO, ONE, [1.0], [1.0]), "must be primitive"),
        (lambda: leslie.last_species_standing(ONE, [[-1.0]], ONE, ONE, [1.0], [1.0]), "B must have entries"),
        (
            lambda: leslie.last_species_standing(*[ONE] * 4, [1.0, 2.0], [1.0]),
            r"x0 must have shape \(\.\.\., 1\), got \(2,\)",
        ),
        (lambda: leslie.last_species_standing(*[ONE] * 4, [1.0], [-1.0]), "y0 must be at least 0, got -1"),
        (lambda: leslie.last_species_standing(*[ONE] * 4, [0.0], [0.0]), "x0 and y0 must not all be 0"),
        (lambda: leslie.last_species_standing(*[[ONE]] * 4, [1.0], [1.0]), "A must have 2 dimension"),
        (lambda: leslie.last_species_standing(ONE, np.eye(2), ONE, ONE, [1.0], [1.0]), "B must have shape"),
        (lambda: leslie.mirror_matrix(ONE, ONE, ONE, [[-0.1]]), "D must have entries of at least 0"),
        (lambda: leslie.standing_margin(ONE, ZERO, ONE, ZERO, [1.0], [1.0]), "must be irreducible"),
        (lambda: leslie.tie_ratio(ONE, ZERO, ONE, ZERO, [1.0], [1.0]), "must be irreducible"),
        (lambda: leslie.tie_ratio(ONE, ONE, ONE, ONE, [1.0], [-1.0]), "ages_y must be at least 0, got -1"),
        (lambda: leslie.winner_map(*[[ONE]] * 4, [1.0], [1.0], [1.0], [1.0]), "must be single matrices"),
        (lambda: leslie.winner_map(*[ONE] * 4, 1.0, [1.0], [1.0], [1.0]), r"x_totals must have shape \(n,\), got \(\)"),
        (lambda: leslie.winner_map(*[ONE] * 4, [1.0], [-1.0], [1.0], [1.0]), "y_totals must be at least 0"),
        (lambda: leslie.winner_map(*[ONE] * 4, [1.0], [1.0], [1.0], [1.0], steps=0), "steps must be an integer"),
        (lambda: leslie.random_competition(0, 1, GENERATOR), "systems must be an integer of at least 1"),
        (lambda: leslie.random_competition(1, 0, GENERATOR), "classes must be an integer"),
        (lambda: leslie.random_competition(1, 1, 0), "generator must be a torch.Generator, got 0"),
        (lambda: leslie.march(np.eye(2), [1.0, 1.0], 3), r"M and z0 must have shapes \(systems, n, n\)"),
        (lambda: leslie.march([np.eye(2).tolist()], [[1.0]], 3), "M and z0 must have shapes"),
        (lambda: leslie.march([[[1.0]]], [[1.0]], -1), "steps must be an integer"),
        (lambda: leslie.march([[[1.0]]], [[1.0]], 1, chunk=0), "chunk must be an integer of at least 1"),
        (lambda: leslie.standing_ensemble(0), "systems must be an integer"),
        (lambda: leslie.standing_ensemble(1, classes=0), "classes must be an integer"),
        (lambda: leslie.standing_ensemble(1, steps=0), "steps must be an integer"),
        (lambda: leslie.standing_ensemble(1, seed=-1), "seed must be an integer"),
        (lambda: leslie.standing_ensemble(1, bins=0), "bins must be an integer"),
        (lambda: leslie.standing_ensemble(1, chunk=0), "chunk must be an integer"),
        (lambda: leslie.standing_ensemble(1, dtype=torch.float16), "dtype must be one of torch.float32, torch.float64"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(("systems", "n"), [(1, 2), (3, 1), (1, 1), (3, 2)])
def test_march_does_not_write_into_its_arguments(systems, n):
    generator = torch.Generator().manual_seed(1)
    M, z0 = torch.rand(systems, n, n, generator=generator), torch.rand(systems, n, generator=generator)
    before = M.clone(), z0.clone()
    leslie.march(M, z0, steps=5)
    assert torch.equal(M, before[0]) and torch.equal(z0, before[1])


@pytest.mark.parametrize("size", [1e-30, 1e-9, 1e6, 1e30])
def test_march_is_that_of_the_ordinary_recursion_for_any_units(size):
    """Entries and counts of any size: eight steps without rescaling would leave float32."""
    generator = torch.Generator().manual_seed(1)
    M = torch.rand(5, 4, 4, generator=generator)
    z0 = torch.rand(5, 4, generator=generator)
    expected, _ = leslie.evolve_normalised(M.double(), z0.double(), steps=20)
    found = leslie.march(size * M, size * z0, steps=20)
    assert torch.allclose(found.double(), expected, rtol=1e-4, atol=1e-6)
