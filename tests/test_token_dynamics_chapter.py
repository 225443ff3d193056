"""The chapter's live figures in plain Python: what their titles say is what their curves show."""

import math

import numpy as np
import pytest

from lib import token_dynamics
from lib.site.anatomy import faults
from lib.site.layout import ROOT
from tests.chapters import curves, figures_at_the_ends, run_cells, title_numbers

CHAPTER = ROOT / "book/sequences/token-dynamics.md"
FIGURES = ["five_tokens", "regimes", "ranks", "countdown", "thin_layers", "vectors"]


@pytest.fixture(scope="module")
def figures():
    """The live figures, from the cells that define them."""
    return run_cells(CHAPTER)


def notes(figure):
    """The sentences inside the figure that can be read."""
    return [note.text for note in figure.layout.annotations if note.opacity == 1]


def test_the_chapter_is_complete():
    assert faults(CHAPTER) == []


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_answers_at_the_ends_of_its_controls(figures, name):
    for figure in figures_at_the_ends(figures[name]):
        assert "nan" not in figure.layout.title.text
        assert len(figure.data) >= 1


@pytest.mark.parametrize("third", [-2, -0.05, 0.5, 2])
def test_shrinking_tokens_end_at_one_share_wherever_token_3_starts(figures, third):
    figure = figures["five_tokens"](third=third)
    assert notes(figure) == ["all shrink, 2 to 5 alike"]
    assert "depth inf" in figure.layout.title.text
    np.testing.assert_allclose(title_numbers(figure)[2:6], math.sqrt(0.5), atol=0.012)
    drawn = curves(figure)
    late = drawn["1"][0] > 1e5
    assert (drawn["3"][1] > 0).all()
    np.testing.assert_allclose(drawn["1"][1][late], drawn["predicted"][1][late], rtol=2e-3)


def test_growing_tokens_blow_up_when_one_is_on_the_wrong_side(figures):
    slow = figures["five_tokens"](mu=1)
    assert notes(slow) == ["all grow, ever more slowly"]
    fast = figures["five_tokens"](mu=1, third=0.5)
    (note,) = notes(fast)
    end = token_dynamics.first_blow_up([-1, -0.3, 0.5, -1.9, -0.1], 1.0, 0.8, 1.0).time
    assert float(note.removeprefix("infinite at depth ")) == pytest.approx(end, rel=1e-3)
    assert title_numbers(fast)[0] == pytest.approx(end, rel=1e-3)
    drawn = curves(fast)
    assert drawn["2"][1].max() < 10
    assert drawn["3"][1].max() > 1e5


def test_the_map_counts_its_squares(figures):
    below = title_numbers(figures["regimes"]())[0]
    crossing = title_numbers(figures["regimes"](highest=0.5))[0]
    assert below == pytest.approx(100 * 20 * 21 / 41**2, abs=0.6)
    assert crossing == pytest.approx(100 * 20 / 41, abs=0.6)
    fastest = float(token_dynamics.blow_up_time(-1.3, 2.0, -2.0))
    assert title_numbers(figures["regimes"]())[1] == pytest.approx(fastest, rel=0.06)


def test_slowly_growing_tokens_keep_their_ranks(figures):
    figure = figures["ranks"]()
    numbers = title_numbers(figure)
    assert numbers[2] == numbers[-1] or "9.77" in figure.layout.title.text
    for s in (0.4, 2):
        drawn = curves(figures["ranks"](s=s, a=0.5))
        for name in "2345":
            times, ratio = drawn[name]
            assert ratio[(times > 1e6) & (times < 1e8)] == pytest.approx(ratio[times < 1e8][-1], rel=1e-3)


@pytest.mark.parametrize(("start", "s", "mu"), [(1, 1, 1), (0.5, 2, 1.5)])
def test_the_countdown_ends_on_the_line(figures, start, s, mu):
    figure = figures["countdown"](start=start, s=s, mu=mu)
    end, slope = title_numbers(figure)[:2]
    assert end == pytest.approx(float(token_dynamics.blow_up_time(start, mu, s)), rel=1e-4)
    assert slope == pytest.approx(-1 / 3, abs=2e-3)
    drawn = curves(figure)
    assert drawn["token"][1][-1] == pytest.approx(drawn["slope −1/3"][1][-1], rel=1e-3)


def test_the_error_of_thin_layers_is_that_against_the_equation(figures):
    start = [1.0, -0.7, 0.4, -1.3, 0.9]
    for mu, depth in ((-1, 2), (-2, 1)):
        drawn = curves(figures["thin_layers"](mu=mu, depth=depth))["network"]
        exact = token_dynamics.integrate_tokens(start, mu, 0.8, 1.0, [depth])[0]
        for layers, error in zip(*drawn, strict=True):
            steps = [depth / layers] * int(layers)
            last = token_dynamics.residual_tokens(start, mu, 0.8, 1.0, steps)[-1]
            assert error == pytest.approx(float((last - exact).abs().max()), rel=0.05)


def test_vectors_shrink_only_if_both_halves_are_negative(figures):
    both = curves(figures["vectors"]())
    for name in "12345":
        assert (np.diff(both[name][1]) < 1e-9).all()
    for kept, turned in ((1, 1), (1, -1), (-1, 1)):
        drawn = curves(figures["vectors"](kept=kept, turned=turned))
        assert max(lengths[-1] for _, lengths in drawn.values()) > 100
