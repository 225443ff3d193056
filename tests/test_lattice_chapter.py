"""The chapter's live figures in plain Python: what their titles say is what their curves show."""

import itertools
import math

import networkx
import numpy as np
import pytest
import torch

from lib import lattice
from lib.site.anatomy import faults
from lib.site.layout import ROOT
from tests.chapters import curves, figures_at_the_ends, run_cells, title_numbers

CHAPTER = ROOT / "book/dynamics/lattice.md"
FIGURES = ["late_lattice", "epochs_count", "stale_reads", "rings", "oscillators", "balance"]


@pytest.fixture(scope="module")
def figures():
    """The live figures, from the cells that define them."""
    return run_cells(CHAPTER, math=math)


def test_the_chapter_is_complete():
    assert faults(CHAPTER) == []


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_answers_at_the_ends_of_its_controls(figures, name):
    live = figures[name]
    for figure in figures_at_the_ends(live):
        assert "nan" not in figure.layout.title.text
        assert len(figure.data) >= 1


def test_in_step_the_lattice_boils_and_late_it_comes_to_rest(figures):
    boiling, resting = (figures["late_lattice"](update=q) for q in (1, 0.5))
    assert title_numbers(boiling)[1] > 0.15
    tick, spread, mean = title_numbers(resting)
    assert tick == 120
    assert spread < 0.01
    assert mean == pytest.approx(0.75, abs=0.005)
    z = np.asarray(boiling.data[0].z, float)
    assert title_numbers(boiling)[1:] == pytest.approx([z.std(ddof=1), z.mean()], abs=5e-4)


def test_the_strip_ends_at_the_tick_that_is_shown(figures):
    figure = figures["late_lattice"](time=40)
    strip, ticks = np.asarray(figure.data[1].z, float), np.asarray(figure.data[1].x, float)
    assert np.isfinite(strip[:, ticks <= 40]).all()
    assert np.isnan(strip[:, ticks > 40]).all()
    picture = np.asarray(figure.data[0].z, float)
    np.testing.assert_array_equal(strip[:, ticks == 40][:, 0], picture[:, picture.shape[1] // 2])


def test_an_uncoupled_lattice_is_the_map_itself(figures):
    start = np.asarray(figures["late_lattice"](time=0).data[0].z, float)
    for _ in range(2):
        start = 4 * start * (1 - start)
    np.testing.assert_array_equal(np.asarray(figures["late_lattice"](time=2, coupling=0).data[0].z, float), start)


@pytest.mark.parametrize(("contraction", "clocks"), [(0.8, 10), (0.3, 100), (0.99, 3)])
def test_the_error_stays_below_the_bound_by_epochs(figures, contraction, clocks):
    figure = figures["epochs_count"](contraction=contraction, clocks=clocks)
    drawn = curves(figure)
    bound, error = drawn["bound: c per epoch"][1], drawn["own clocks"][1]
    assert (error <= bound + 1e-13).all()
    ticks, epochs, last, limit = title_numbers(figure)
    assert ticks == 300
    assert [last, limit] == pytest.approx([error[-1], bound[-1]], rel=0.06)
    assert bound[-1] == pytest.approx(contraction**epochs, rel=1e-9)


def test_with_one_clock_for_all_the_bound_is_reached(figures):
    drawn = curves(figures["epochs_count"](clocks=1))
    np.testing.assert_allclose(drawn["own clocks"][1][:60], drawn["all in step"][1][:60], rtol=1e-9)


@pytest.mark.parametrize("delay", [0, 2, 4, 8, 16])
@pytest.mark.parametrize("size", [0.45, 0.6])
def test_the_adversary_of_the_figure_is_the_librarys(figures, delay, size):
    path = lattice.stale_read_adversary([[size, -size], [size, size]], delay, 400)
    error = curves(figures["stale_reads"](delay=delay, size=size))["stale reads"][1]
    np.testing.assert_allclose(error, path.abs().amax(dim=-1).numpy(), rtol=1e-9)


def test_below_a_half_no_stale_read_does_harm(figures):
    """Every 16 + 2 updates both sites have updated from values of the stretch before: one factor of the norm of |A|."""
    for size in (0.4, 0.48):
        error = curves(figures["stale_reads"](delay=16, size=size))["stale reads"][1]
        assert error[-1] <= (2 * size) ** (400 // 18)
    assert title_numbers(figures["stale_reads"](delay=16, size=0.52))[-1] > 1


@pytest.mark.parametrize("sites", [3, 4, 5, 6])
def test_rings_agree_where_the_title_says(figures, sites):
    figure = figures["rings"](sites=sites)
    eps, spread = curves(figure)["simulated"]
    alike = spread < 1e-9
    assert title_numbers(figure)[1] == alike.sum()
    if sites == 6:
        assert not alike.any()
        assert "nowhere" in figure.layout.title.text
        return
    low, high = title_numbers(figure)[-2:]
    assert not alike[(eps < low - 0.02) | (eps > high + 0.02)].any()
    assert alike[(eps > low + 0.04) & (eps < high - 0.02)].all()


def test_one_missed_tick_in_a_hundred_ends_agreement(figures):
    for sites, seed in itertools.product((3, 4, 5), (1, 2, 3)):
        assert title_numbers(figures["rings"](sites=sites, update=0.99, seed=seed))[1] == 0


@pytest.mark.parametrize("shape", ["Lorentz", "Gauss"])
def test_oscillators_order_as_theory_says(figures, shape):
    for coupling in (1.5, 2.0, 3.0):
        figure = figures["oscillators"](coupling=coupling, shape=shape)
        reached, expected = title_numbers(figure)[1:]
        assert reached == pytest.approx(expected, abs=0.04)
        density = {"Lorentz": "lorentz", "Gauss": "normal"}[shape]
        assert expected == pytest.approx(float(lattice.kuramoto_theory(coupling, density, 0.5)), abs=0.006)
        assert curves(figure)["128"][1][0] == pytest.approx(reached, abs=0.005)
    assert title_numbers(figures["oscillators"](coupling=0, shape=shape))[1] < 0.2


def test_the_hand_is_the_mean_of_the_phases(figures):
    figure = figures["oscillators"](time=12)
    points, hand = figure.data[-2], figure.data[-1]
    assert hand.x[-1] == pytest.approx(np.mean(points.x), abs=1e-12)
    assert hand.y[-1] == pytest.approx(np.mean(points.y), abs=1e-12)


def test_cells_stay_equal_exactly_when_balanced_and_together(figures):
    for graph in ("path of 5", "4 × 4 grid", "5 × 5 grid", "Petersen", "Frucht"):
        assert title_numbers(figures["balance"](graph=graph, own=0))[-1] == 0
        assert title_numbers(figures["balance"](graph=graph, own=0.2))[-1] > 1e-3
        assert title_numbers(figures["balance"](graph=graph, own=0, clock=2))[-1] > 1e-3


def test_cells_and_orbits_are_those_of_the_graphs(figures):
    counted = {
        graph: title_numbers(figures["balance"](graph=graph))[:2] for graph in ("path of 5", "Petersen", "Frucht")
    }
    assert counted == {"path of 5": [3, 3], "Petersen": [1, 1], "Frucht": [1, 12]}
    matcher = networkx.algorithms.isomorphism.GraphMatcher(networkx.frucht_graph(), networkx.frucht_graph())
    assert len(list(matcher.isomorphisms_iter())) == 1


def test_solutions_of_the_exercises():
    late = torch.tensor([0.74, 0.80], dtype=torch.float64)[:, None, None]
    draws = torch.rand(2, 4000, 400, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    start = torch.rand(400, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    ends = lattice.coupled_map_lattice(
        lambda x: 3.6 * x * (1 - x), "mean", 0.6, start.expand(2, 400), 4000, masks=draws < late, keep="last"
    )
    away = (ends - (1 - 1 / 3.6)).abs().amax(dim=-1)
    assert away[0] < 1e-9
    assert away[1] > 0.01
    assert 0.74 < 1 / 1.3 < 0.80

    modes = [
        1 - (math.cos(2 * math.pi * a / 3) + math.cos(2 * math.pi * b / 3)) / 2 for a in range(3) for b in range(3)
    ]
    slow, fast = min(modes[1:]), max(modes)
    assert 1 / (2 * slow) == pytest.approx(2 / 3)
    assert 3 / (2 * fast) == pytest.approx(1)
    eps = torch.tensor([0.62, 0.72, 0.95], dtype=torch.float64)
    begin = 0.3 + 1e-3 * torch.rand(3, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    last = lattice.coupled_map_lattice(lattice.logistic_map, "torus", eps, begin, 3000, keep="last")
    assert (lattice.spread(last, sites=2) < 1e-9).tolist() == [False, True, True]
