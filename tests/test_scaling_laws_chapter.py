"""The chapter's live figures in plain Python: what their titles say is what their curves show."""

import numpy as np
import pytest

from lib import powerlaw
from lib.site.anatomy import faults
from lib.site.layout import ROOT
from tests.chapters import curves, figures_at_the_ends, run_cells, title_numbers

CHAPTER = ROOT / "book/scaling/scaling-laws.md"
FIGURES = ["forecast", "envelope", "text_forecast", "isoflop", "plan"]


@pytest.fixture(scope="module")
def figures():
    """The live figures, from the cells that define them and the cell that reads the text."""
    return run_cells(CHAPTER, wanted=("@live", "ngrams.encode", "from lib.glue import"))


def test_the_chapter_is_complete():
    assert faults(CHAPTER) == []


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_answers_at_the_ends_of_its_controls(figures, name):
    for figure in figures_at_the_ends(figures[name]):
        assert "nan" not in figure.layout.title.text
        assert len(figure.data) >= 2


@pytest.mark.parametrize(("floor", "exponent"), [(0.05, -0.5), (0.2, -0.7), (0.0, -0.3)])
def test_the_forecasts_are_those_of_the_fits(figures, floor, exponent):
    figure = figures["forecast"](floor=floor, exponent=exponent, noise=0, further=64)
    straight, floored, truth = title_numbers(figure)
    m = 2.0 ** np.arange(8, 15)
    err = 0.6 * (m / 256) ** exponent + floor
    np.testing.assert_allclose(curves(figure)["runs"][1], err, rtol=1e-12)
    slope, intercept = np.polyfit(np.log(m), np.log(err), 1)
    assert straight == pytest.approx(np.exp(intercept) * 2.0 ** (20 * slope), abs=6e-4)
    assert truth == pytest.approx(0.6 * 2.0 ** (12 * exponent) + floor, abs=6e-4)
    assert floored == pytest.approx(truth, rel=0.03)


def test_without_a_floor_the_straight_line_is_right_and_with_one_it_is_not(figures):
    straight, _, truth = title_numbers(figures["forecast"](floor=0, noise=0))
    assert straight == pytest.approx(truth, abs=1e-3)
    straight, _, truth = title_numbers(figures["forecast"](floor=0.2, noise=0))
    assert truth > 2 * straight


@pytest.mark.parametrize("smoothness", [0.25, 0.5, 1, 2])
def test_the_envelope_lies_below_every_size_and_has_the_slope_of_theory(figures, smoothness):
    for size in (1, 8, 64):
        figure = figures["envelope"](smoothness=smoothness, size=size)
        drawn = curves(figure)
        assert (drawn["best sizes"][1] <= drawn["one size"][1] * (1 + 1e-9)).all()
    measured, expected, best = title_numbers(figure)
    assert expected == pytest.approx(-2 * smoothness / (2 * smoothness + 1), abs=6e-4)
    assert measured == pytest.approx(expected, abs=0.02)
    assert best == pytest.approx(2 ** (18 / (2 * smoothness + 1)), rel=0.1, abs=1)


def test_hidden_shards_do_not_move_the_forecast(figures):
    figure = figures["text_forecast"](curve="best order", hidden=2, dropped=0)
    drawn = curves(figure)
    assert np.isfinite(drawn["seen"][1]).sum() == 6
    assert np.isfinite(drawn["hidden"][1]).sum() == 2
    m, bits = (values[np.isfinite(drawn["seen"][1])] for values in drawn["seen"])
    law = powerlaw.fit_power_law(m, bits)
    assert title_numbers(figure)[2] == pytest.approx(float(law.beta), abs=6e-4)
    last = drawn["hidden"][1][-1]
    off = 100 * (float(law.predict(drawn["hidden"][0][-1])) / last - 1)
    assert title_numbers(figure)[0] == pytest.approx(off, abs=0.06)


def test_one_order_flattens_where_the_best_order_goes_on(figures):
    one, best = (
        curves(figures["text_forecast"](curve=name, hidden=1))["hidden"][1][-1] for name in ("order 1", "best order")
    )
    assert one > best + 1


@pytest.mark.parametrize("budget", [2.5e10, 4e11, 1.6e12])
def test_the_best_size_is_where_the_curve_is_lowest(figures, budget):
    figure = figures["isoflop"](budget=budget)
    size, ratio, loss = title_numbers(figure)
    x, y = curves(figure)["law at C"]
    assert abs(np.log(x[y.argmin()] / size)) < np.log(x[1] / x[0])
    assert loss == pytest.approx(y.min(), abs=0.006)
    assert 6 * size**2 * ratio == pytest.approx(budget, rel=0.02)


def test_two_fits_of_one_law_plan_differently(figures):
    figure = figures["plan"](compute=5.76e23)
    assert title_numbers(figure) == pytest.approx([93, 18], abs=0.6)
    for x, y in curves(figure).values():
        assert y.min() >= 0
        assert 1e9 < x[y.argmin()] < 1e12
