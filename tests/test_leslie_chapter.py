"""The chapter's live figures in plain Python: what their titles say is what their curves show."""

import numpy as np
import pytest

from lib import leslie
from lib.site.anatomy import faults
from lib.site.layout import ROOT
from tests.chapters import curves, figures_at_the_ends, run_cells, title_numbers

CHAPTER = ROOT / "book/dynamics/leslie.md"


@pytest.fixture(scope="module")
def figures():
    """The live figures, from the cells that define them."""
    return run_cells(CHAPTER)


def test_the_chapter_is_complete():
    assert faults(CHAPTER) == []


@pytest.mark.parametrize("name", ["predator_prey", "eigenvalues", "last_standing", "learning", "between_steps"])
def test_every_figure_answers_at_the_ends_of_its_controls(figures, name):
    live = figures[name]
    for figure in figures_at_the_ends(live):
        assert "nan" not in figure.layout.title.text
        assert len(figure.data) >= 2


@pytest.mark.parametrize("predation", [0.05, 0.1, 0.3])
@pytest.mark.parametrize("classes", [1, 3, 6])
def test_the_prey_ends_where_the_title_says(figures, predation, classes):
    figure = figures["predator_prey"](predation=predation, classes=classes, fecundity=1.5)
    growth, end = title_numbers(figure)
    prey = curves(figure)["prey"][1]
    assert np.isnan(prey).any()
    assert int(np.isnan(prey).argmax()) == pytest.approx(end, abs=2)
    slope = curves(figure)["slope from the eigenvalue"][1]
    np.testing.assert_allclose(np.diff(np.log10(slope)), np.log10(growth), atol=5e-4)


def test_a_species_that_is_gone_stays_gone(figures):
    prey = curves(figures["predator_prey"](predation=0.3))["prey"][1]
    assert np.isnan(prey[int(np.isnan(prey).argmax()) :]).all()


def test_the_eigenvalue_path_ends_at_an_eigenvalue(figures):
    for eaten in ("the young", "the old", "all ages"):
        figure = figures["eigenvalues"](eaten=eaten, size=0.5)
        drawn = curves(figure)
        end = complex(*(values[-1] for values in drawn["exact path"]))
        every = drawn["all eigenvalues"][0] + 1j * drawn["all eigenvalues"][1]
        assert np.abs(every - end).min() < 1e-9
        exact, first, second = title_numbers(figure)
        assert abs(second - exact) <= abs(first - exact) + 1e-4
    assert exact == first == second


def test_without_clipping_the_map_is_the_theorem(figures):
    for settings in ({}, {"harm_by_x": 0.3}, {"adults": 1.0}):
        assert title_numbers(figures["last_standing"](clip=False, **settings))[1] == 0
    assert title_numbers(figures["last_standing"](clip=True))[1] > 1


def test_training_in_the_page_learns_what_the_library_learns(figures):
    learned = title_numbers(figures["learning"](rate=0.2))
    assert learned[0] == pytest.approx(0.204, abs=0.02)
    assert title_numbers(figures["learning"](rate=0.2, steps=20))[0] > learned[0]
    assert title_numbers(figures["learning"](rate=0.2, model="linear"))[0] > 4 * learned[0]


def test_whole_steps_are_the_recursion_and_the_turn_is_pi(figures):
    figure = figures["between_steps"](young=0.7, old=1.3, survival=0.9)
    growth, turn = title_numbers(figure)
    assert turn == pytest.approx(np.pi, abs=1e-4)
    assert growth == pytest.approx(float(leslie.growth_factor(leslie.leslie_matrix([0.7, 1.3], [0.9]))), abs=5e-4)
    drawn = curves(figure)
    np.testing.assert_allclose(drawn["young, real part"][1][::10], drawn["young, whole steps"][1], rtol=1e-9)
    np.testing.assert_allclose(drawn["young, imaginary part"][1][::10], 0, atol=1e-9)
