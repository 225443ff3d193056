"""The chapter's live figures in plain Python: what their titles say is what their curves show, and it is so."""

import itertools
import re

import numpy as np
import pytest
import torch

from lib import observers
from lib.live.figure import Live
from lib.site.anatomy import code_cells, faults
from lib.site.layout import ROOT
from tests.chapters import curves, figures_at_the_ends, run_cells, title_numbers

CHAPTER = ROOT / "book/geometry/good-regulator.md"
FIGURES = ("renaming", "optimum", "directions", "histories", "surprised")


@pytest.fixture(scope="module")
def chapter():
    """Everything that the cells define, those apart that only draw and measure what the claims test anew."""
    return run_cells(CHAPTER, ("@live", "spectra =", "exercises import", "import glue", "running ="))


def test_the_chapter_is_complete():
    assert faults(CHAPTER) == []


def test_these_are_the_live_figures(chapter):
    assert {name for name, value in chapter.items() if isinstance(value, Live)} == set(FIGURES)


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_answers_at_the_ends_of_its_controls(chapter, name):
    live = chapter[name]
    for chosen in live.variants()[:4]:
        for figure in figures_at_the_ends(live, **chosen):
            assert "nan" not in figure.layout.title.text and "inf" not in figure.layout.title.text
            assert len(figure.data) >= 2


@pytest.mark.parametrize("graph", ["K4", "K3", "C4", "path"])
@pytest.mark.parametrize("mixing", [0.0, 0.3, 1.0])
def test_only_the_plain_gradient_notices_its_names(chapter, graph, mixing):
    figure = chapter["renaming"](graph=graph, mixing=mixing)
    apart = {}
    for word in ("plain gradient", "natural gradient"):
        losses = np.array([trace.y for trace in figure.data if trace.name == word], dtype=float)
        assert len(losses) == 8
        apart[word] = np.ptp(np.log(losses), axis=0).max()
    assert apart["natural gradient"] < 1e-4
    assert (apart["plain gradient"] > 0.5) == (mixing > 0)
    found = [float(text) for text in re.findall(r"×(\d+(?:\.\d+)?)", figure.layout.title.text)]
    assert found[1] == 1.0 and (found[0] > 1) == (mixing > 0)


def test_the_marked_optimum_is_the_lowest_point_of_the_formula(chapter):
    for graph, weight in itertools.product(("K4", "Petersen"), (0.5, 1.0, 2.0)):
        figure = chapter["optimum"](graph=graph, weight=weight)
        curve, marked = curves(figure)["formula T"], curves(figure)["optimum of T"]
        assert curve[1].min() == pytest.approx(1, abs=2e-3)
        assert curve[0][curve[1].argmin()] == pytest.approx(marked[0][0], rel=0.13)
        assert title_numbers(figure)[1] == pytest.approx(marked[0][0], abs=5e-4)
        steps, flow = curves(figure)["simulated steps"][1], curves(figure)["continuous flow"][1]
        assert (np.diff(steps) <= 0).all() and (np.diff(flow) > 0).all()


def test_the_optimum_can_be_moved_to_either_end(chapter):
    assert title_numbers(chapter["optimum"](weight=0.0))[1] == 0
    assert title_numbers(chapter["optimum"](weight=3.0))[1] > 2.9
    assert title_numbers(chapter["optimum"](graph="path"))[1] == 0


@pytest.mark.parametrize(("graph", "alike"), [("path", True), ("C4", False), ("K3", False)])
def test_bars_are_alike_on_trees(chapter, graph, alike):
    figure = chapter["directions"](graph=graph, beta=0.9)
    mass, fisher = (np.asarray(bar.y, float) for bar in figure.data)
    np.testing.assert_allclose(mass + fisher, 1)
    spread, deviation = title_numbers(figure)
    assert np.ptp(mass) == pytest.approx(spread, abs=5.1e-4)
    assert (spread == 0) == alike and (deviation == 0) == alike


def test_invariant_rules_have_one_picture(chapter):
    """Up to mirror images among events that are surrounded alike."""
    for system, many in (("sort letters", False), ("split edges", False), ("join edges", True)):
        figures = [chapter["histories"](system=system, order=order) for order in range(1, 7)]
        pictures = {tuple(np.sort(np.asarray(figure.data[-1].y, float))) for figure in figures}
        assert (len(pictures) > 1) == many
        assert (title_numbers(figures[0])[0] > 1) == many
    early = chapter["histories"](system="sort letters", time=2)
    assert np.isnan(np.asarray(early.data[-1].y, float)).sum() > 10


def test_the_plain_gradient_must_be_tuned(chapter):
    seen = {size: curves(chapter["surprised"](size=size)) for size in (-2.75, -2.0, -1.0)}
    last = {size: (found["natural gradient"][1][-1], found["plain gradient"][1][-1]) for size, found in seen.items()}
    assert last[-2.75][1] < last[-2.75][0] + 0.1  # tuned, it keeps up
    assert last[-2.0][1] > 2 * last[-2.0][0]  # six times that step, and it is lost
    assert all(natural < 3.5 for natural, _ in last.values())
    for found in seen.values():
        assert found["knows the storms"][1].mean() < found["no memory"][1].mean()


def test_exercises_accept_their_solutions_and_hint_at_likely_mistakes(chapter):
    asked = {}
    for cell in code_cells(CHAPTER.read_text(encoding="utf-8")):
        code, count = re.subn(r"^(Number|Pick|Bet)\(", r"question = \1(", "\n".join(cell.lines), flags=re.MULTILINE)
        if count:
            exec(code, chapter)
            asked[chapter["question"].id] = chapter["question"]
    assert set(asked) == {"fastest", "threshold", "root", "spread", "trace"}
    assert all(question.check(question.answer).correct for question in asked.values())
    for name, wrong, hint in (
        ("threshold", 2, "w = 1"),
        ("root", 2.7116, "Square D"),
        ("spread", "cycles", "C4"),
        ("trace", 0, "inverse of F"),
    ):
        answer = asked[name].check(wrong)
        assert not answer.correct and hint in answer.message


def test_the_trace_that_does_not_depend_on_names():
    F = observers.ising_fisher(*observers.observer_graph("K3"), torch.full((3,), 0.5, dtype=torch.float64))
    Delta, _ = observers.deviation_tensor(F @ F, F)
    assert float(torch.trace(torch.linalg.inv(F) @ Delta)) == pytest.approx(-0.541, abs=5e-4)
    J = torch.tensor([[2.0, 1.0, 0.0], [0.0, 1.0, 0.5], [0.3, 0.0, 1.0]], dtype=torch.float64)
    renamed = torch.trace(torch.linalg.inv(J.mT @ F @ J) @ (J.mT @ Delta @ J))
    assert float(renamed) == pytest.approx(-0.541, abs=5e-4)
    assert abs(float(torch.trace(J.mT @ Delta @ J))) > 0.1
