"""The chapter's figures and cells in plain Python: what they say is what scipy, closed forms and the tables say."""

import contextlib
import io
import itertools
import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from lib import landcover
from lib.site.anatomy import faults
from lib.site.layout import ROOT
from tests.chapters import figures_at_the_ends, run_cells, title_numbers

CHAPTER = ROOT / "book/geometry/fisher-rao.md"
FIGURES = ("walk", "label_noise", "pieces", "boxes")


@pytest.fixture(scope="module")
def names():
    """Everything the chapter defines, and what it prints."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        names = run_cells(CHAPTER, wanted=("",))
    return names | {"printed": printed.getvalue()}


def trace(figure, name):
    (found,) = (trace for trace in figure.data if trace.name == name)
    return found


def picture(figure):
    (found,) = (trace for trace in figure.data if trace.type == "heatmap")
    return np.asarray(found.z, float)


def test_the_chapter_is_complete():
    assert faults(CHAPTER) == []


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_answers_at_the_ends_of_its_controls(names, name):
    live = names[name]
    for figure in figures_at_the_ends(live):
        assert "nan" not in figure.layout.title.text
        assert "inf" not in figure.layout.title.text
        assert len(figure.data) >= 3


@pytest.mark.parametrize("name", FIGURES)
def test_every_picture_of_a_made_up_map_says_so(names, name):
    live = names[name]
    for chosen in live.variants():
        texts = [note.text for note in live(**chosen).layout.annotations]
        mathematical = chosen.get("shape", "") in ("Sierpinski carpet", "rim of a square")
        assert mathematical or "SYNTHETIC" in texts


@pytest.mark.parametrize("rangeland", ["Commons", "Agrarian"])
@pytest.mark.parametrize("bare", ["Capital", "Commons", "Agrarian"])
def test_the_walk_moves_at_the_speeds_of_its_bars(names, rangeland, bare):
    walk = names["walk"]
    whole = walk(rangeland=rangeland, bare=bare)
    speeds = np.asarray(trace(whole, "this grouping").y, float)
    fastest = int(speeds.argmax())
    year, fastest_speed, ratio = title_numbers(whole)
    assert (year, fastest_speed) == (2018 + fastest, pytest.approx(speeds.max(), abs=5e-4))
    assert ratio == pytest.approx(speeds.max() / speeds.mean(), abs=0.05)
    # The points of the drawing, read back as shares, are as far apart as the bars say.
    stops = trace(whole, "years")
    top = np.asarray(stops.y, float) / math.sqrt(0.75)
    right = np.asarray(stops.x, float) - top / 2
    shares = np.stack([1 - top - right, right, top], axis=-1)
    overlap = np.sqrt(shares[1:] * shares[:-1]).sum(axis=-1)
    np.testing.assert_allclose(2 * np.arccos(overlap), speeds, atol=1e-7)
    # Half a year is half the way: the path is drawn at constant Fisher-Rao speed.
    now = trace(walk(rangeland=rangeland, bare=bare, year=2019.5), "now")
    middle = landcover.fisher_rao_geodesic(*torch.from_numpy(shares[2:4]), 0.5)
    assert float(now.x[0]) == pytest.approx(float(middle[1] + middle[2] / 2), abs=1e-9)


def test_the_walk_reveals_year_by_year(names):
    for year in range(2017, 2025):
        figure = names["walk"](year=year)
        bars = np.asarray(trace(figure, "this grouping").y, float)
        assert (bars > 0).sum() == min(year - 2016, 7)
        drawn = np.isfinite(np.asarray(trace(figure, "way").x, float)).sum()
        assert drawn == 8 * (year - 2017) + 1


def test_rangeland_makes_half_of_the_burst(names):
    own, other = (max(names["walk"](rangeland=corner).data[1].y) for corner in ("Commons", "Agrarian"))
    assert float(own) == pytest.approx(0.405, abs=5e-4)
    assert float(other) < 0.55 * float(own)


def test_label_noise_is_the_closed_form(names):
    for error, share in ((0.02, 0.13), (0.1, 0.05), (0.0001, 0.3)):
        figure = names["label_noise"](error=error, share=share)
        retention = picture(figure)[4, 4] / 100
        assert retention == pytest.approx(float(landcover.label_noise_retention(error, share, 7)), rel=1e-12)
        np.testing.assert_allclose(picture(figure).sum(axis=1), 100)
    times = np.asarray(trace(names["label_noise"](), "mean time").x, float)
    assert 165 < times.min() < times.max() < 205


def test_the_calibrated_chain_without_noise_has_the_published_times(names):
    figure = names["label_noise"](world="the calibrated chain", error=0.0001)
    published = trace(figure, "published")
    bars = trace(figure, "mean time")
    times = dict(zip(bars.y, np.asarray(bars.x, float), strict=True))
    for place, years in zip(published.y, published.x, strict=True):
        assert times[place] == pytest.approx(years, abs=0.35)
    assert picture(figure)[4, 4] == pytest.approx(96.4, abs=0.05)


@pytest.mark.parametrize("sea", [False, True])
@pytest.mark.parametrize("scatter", [0, 0.3, 0.6, 1])
def test_pieces_are_the_clusters_of_scipy(names, sea, scatter):
    for density, plan, seed in itertools.product((0.2, 0.48, 0.6, 0.64), (0, 1), (3, 4)):
        figure = names["pieces"](density=density, plan=plan, scatter=scatter, sea=sea, seed=seed)
        seen = picture(figure)
        labels, _ = ndimage.label(seen >= 2)
        sizes = np.bincount(labels.ravel())[1:]
        share = sizes.max() / sizes.sum()
        assert float(trace(figure, "this map").y[0]) == pytest.approx(share, rel=1e-12)
        assert (seen == 3).sum() == sizes.max()
        places = seen.size if sea else int(names["small"].land.sum())
        assert sizes.sum() == pytest.approx(density * places, rel=0.03)  # equal heights are built together


def test_without_a_plan_one_piece_remains_and_chance_breaks_it(names):
    def joined(**settings):
        shares = [float(trace(names["pieces"](seed=seed, **settings), "this map").y[0]) for seed in range(10)]
        return float(np.mean(shares))

    assert joined() > 0.95
    assert joined(plan=0) > 0.6
    assert joined(scatter=1) < 0.2


def test_boxes_are_counted_as_the_library_counts_them(names):
    for shape, mask in names["SHAPES"].items():
        for name, sizes in names["SIZES"].items():
            figure = names["boxes"](shape=shape, sizes=name)
            dimension, _ = landcover.box_dimension(mask, sizes)
            assert title_numbers(figure)[-1 if shape.startswith("SYN") else 0] == pytest.approx(
                float(dimension), abs=5e-5
            )
    carpet = names["boxes"](sizes="powers of 3")
    assert title_numbers(carpet) == [1.8928, 1.8928]


def test_shaded_boxes_cover_the_shape(names):
    for side, shift in ((3, 0), (5, 2), (27, 26), (1, 0)):
        figure = names["boxes"](side=side, shift=shift)
        seen = picture(figure)
        dark = names["SHAPES"]["Sierpinski carpet"].numpy()
        np.testing.assert_array_equal(seen == 2, dark)
        lines = (np.arange(names["SIDE"]) + shift % side) // side
        boxes = lines[:, None] * 1000 + lines
        np.testing.assert_array_equal(seen >= 1, np.isin(boxes, boxes[dark]))
        assert float(trace(figure, "shown").y[0]) == len(np.unique(boxes[dark]))


def test_measured_maps_are_optional(names, monkeypatch):
    assert names["MEASURED"] is False
    assert names["printed"] == "Set MEASURED = True to run it on measured maps.\n"

    def offline(source):
        raise ConnectionError(f"{source} cannot be reached")

    monkeypatch.setattr(landcover, "load_land_cover", offline)
    assert names["measured"]("https://example.invalid").endswith("https://example.invalid cannot be reached")
    assert names["measured"]().startswith("No measured maps here")


def test_measured_maps_get_the_same_analysis(names, monkeypatch):
    maps = names["maps"]
    real = landcover.LandCover(maps[:7], landcover.YEARS[:7], "EPSG:4326", (1.0, 0, 0, 0, 1.0, 0), landcover.CREDIT)
    monkeypatch.setattr(landcover, "load_land_cover", lambda source: real)
    report = names["measured"]()
    assert report.startswith(f"MEASURED, 2017 to 2023. {landcover.CREDIT}")
    assert "0.405" in report
    assert "SYNTHETIC" not in report
    assert "nan" not in report
