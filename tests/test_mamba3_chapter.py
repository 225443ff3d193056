"""The chapter's figures and cells in plain Python: what they say is what closed forms and loops say."""

import itertools
import math

import numpy as np
import pytest
import torch
from numpy.linalg import matrix_power

from lib import claims
from lib.live import uniform
from lib.site.anatomy import faults
from lib.site.layout import ROOT
from tests.chapters import curves, figures_at_the_ends, run_cells, title_numbers

CHAPTER = ROOT / "book/sequences/mamba3.md"
FIGURES = ("parity", "accuracy", "three_masks", "trained", "roof")


@pytest.fixture(scope="module")
def names():
    """Everything the chapter defines."""
    return run_cells(CHAPTER, wanted=("",))


def test_the_chapter_is_complete():
    assert faults(CHAPTER) == []


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_answers_at_the_ends_of_its_controls(names, name):
    for figure in figures_at_the_ends(names[name]):
        assert "nan" not in figure.layout.title.text
        assert "inf" not in figure.layout.title.text
        assert len(figure.data) >= 3


def turned_pairs(bits, degrees, decay):
    """The memory after each bit, multiplied out as 2 x 2 matrices."""
    angle = math.radians(degrees)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    ones = np.cumsum(bits)
    return np.stack(
        [math.exp(-decay * (t + 1)) * (matrix_power(turn, int(count)) @ [1.0, 0.0]) for t, count in enumerate(ones)]
    )


@pytest.mark.parametrize(
    ("angle", "decay", "seed", "time"),
    itertools.product((177.5, 180, 0, 91.5), (0, 0.03), (1, 4), (120, 37)),
)
def test_the_memory_turns_and_is_read_as_drawn(names, angle, decay, seed, time):
    figure = names["parity"](angle=angle, decay=decay, noise=0, seed=seed, time=time)
    bits = (uniform(seed, 120) < 0.5).numpy().astype(int)
    pairs = turned_pairs(bits, angle, decay)[:time]
    even = np.cumsum(bits)[:time] % 2 == 0
    found = curves(figure)
    shown = np.where(np.isfinite(found["right"][1]), found["right"][1], found["wrong"][1])
    np.testing.assert_allclose(shown[:time], pairs[:, 0], atol=1e-9)
    assert np.isnan(shown[time:]).all()
    clear = np.abs(pairs[:, 0]) > 1e-9
    good = np.isfinite(found["right"][1][:time])
    np.testing.assert_array_equal(good[clear], ((pairs[:, 0] > 0) == even)[clear])
    read, right, streak = title_numbers(figure)
    assert (read, right) == (time, good.sum())
    assert streak == (time if good.all() else int(np.argmin(good)))
    np.testing.assert_allclose([found["now"][0][1], found["now"][1][1]], pairs[-1], atol=1e-9)


def test_half_turns_count_for_ever_and_nearly_half_turns_do_not(names):
    for seed in range(6):
        exact = names["parity"](angle=180, noise=0, seed=seed)
        assert title_numbers(exact) == [120, 120, 120]
        faded = names["parity"](angle=180, noise=0, decay=0.1, seed=seed)
        assert title_numbers(faded) == [120, 120, 120]
        near = names["parity"](angle=177.5, noise=0, seed=seed)
        ones = np.cumsum((uniform(seed, 120) < 0.5).numpy())
        # 36 errors of 2.5 degrees make a right angle, where either answer may be given.
        assert (ones < 36).sum() <= title_numbers(near)[2] <= (ones < 37).sum()


def test_a_faded_memory_drowns_in_the_noise_of_reading(names):
    streaks = {
        decay: np.mean([title_numbers(names["parity"](angle=180, decay=decay, seed=seed))[2] for seed in range(20)])
        for decay in (0, 0.02, 0.05, 0.1)
    }
    assert streaks[0] == 120
    assert streaks[0] >= streaks[0.02] > streaks[0.05] > streaks[0.1]
    # The memory is as small as the noise of 0.05 after ln(20) / decay bits.
    assert 0.5 < streaks[0.1] / (math.log(20) / 0.1) < 1.5


def orders_in_the_title(figure):
    """Those of Mamba-2 and Mamba-3, whose names have numbers as well, and of the repair."""
    _, euler, _, published, repaired = title_numbers(figure)
    return [euler, published, repaired]


def test_orders_in_the_title_are_slopes_of_the_curves(names):
    for vary, lam in ((0, 0.5), (0.5, 0.5), (1, 0.5), (0.3, 0.9)):
        figure = names["accuracy"](vary=vary, lam=lam)
        drawn = curves(figure)
        slopes = [
            np.polyfit(*np.log(drawn[name]), 1)[0]
            for name in ("exponential Euler", "trapezoid as published", "trapezoid, A averaged")
        ]
        np.testing.assert_allclose(orders_in_the_title(figure), slopes, atol=0.0051)


def test_a_varying_rate_costs_the_published_rule_an_order(names):
    def orders(**setting):
        return orders_in_the_title(names["accuracy"](**setting))

    assert orders() == pytest.approx([1, 2, 2], abs=0.03)
    for vary in (0.1, 0.5, 1):
        assert orders(vary=vary)[1] < 1.5
        assert orders(vary=vary)[2] == pytest.approx(2, abs=0.05)
    assert orders(lam=0.8)[1:] == pytest.approx([1, 1], abs=0.1)


def test_masks_multiply_and_the_last_row_is_what_a_loop_remembers(names):
    figure = names["three_masks"](lam=0.3, rate=-0.7, scale=0.4)
    L1, L2, L = (np.asarray(trace.z, float) for trace in figure.data)
    product = L1 @ L2
    np.testing.assert_allclose(product / product.max(), L, atol=1e-12)
    assert (np.triu(L1, 1) == 0).all()
    assert (np.tril(L2, -2) == 0).all()
    # An impulse at each token, run through the recurrence.
    dt = (0.4 * torch.exp(names["normal"](3, 16) / 2)).numpy()
    last = []
    for s in range(16):
        h = before = 0.0
        for t in range(16):
            now = float(t == s)
            alpha = math.exp(-0.7 * dt[t])
            h = alpha * h + 0.7 * dt[t] * alpha * before + 0.3 * dt[t] * now
            before = now
        last.append(h)
    share = 100 * np.array(last) / sum(last)
    wanted = [share[15], share[14], share[:14].sum()]
    np.testing.assert_allclose(title_numbers(figure), wanted, atol=0.51)
    euler = np.asarray(names["three_masks"](lam=1).data[1].z, float)
    assert (euler == np.diag(np.diag(euler))).all()


def test_the_trained_networks_are_the_stored_ones(names):
    for length, network in itertools.product((8, 64), (0, 2)):
        figure = names["trained"](length=length, network=network)
        stored = claims.measured_elsewhere("mamba3", "parity-cpu", f"rotation_{length}_seed{network}").value
        np.testing.assert_array_equal(curves(figure)["rotation"][1], stored)
        said = title_numbers(figure)
        assert said[0] == length
        assert said[-1] == pytest.approx(stored[-1], abs=0.5)


def test_the_point_stands_on_the_roof(names):
    for rank, cells, width in ((1, 128, 64), (4, 128, 64), (8, 16, 256)):
        figure = names["roof"](rank=rank, cells=cells, width=width)
        (x, y) = curves(figure)["this R"]
        moved = 2 * (1 + 2 * cells * rank + width * rank + cells * width)
        work = 4 * cells * width * rank + cells * width - width * rank
        assert float(x[0]) == pytest.approx(work / moved, rel=1e-12)
        assert float(y[0]) == pytest.approx(min(989, 3.35 * work / moved), rel=1e-12)


def test_the_claim_on_small_models_is_judged_by_the_stored_bits(names):
    means = [
        np.mean(claims.measured_elsewhere("mamba3", "char-lm-cpu", f"{name}_bits_per_character").value)
        for name in ("mamba2", "mamba3", "mamba3_mimo")
    ]
    assert names["lower"] == (means[1] < means[0], means[2] < means[1])


def test_a_memory_of_fixed_size_does_not_slow_down():
    def stored(name):
        return claims.measured_elsewhere("mamba3", "ssm-cpu", name).value

    carried = stored("decode_carried_bytes_mamba3")
    assert len(set(carried)) == 1
    contexts, cache = stored("decode_contexts"), stored("decode_carried_bytes_attention")
    assert cache[-1] / cache[0] == contexts[-1] / contexts[0]
    ours, attention = stored("decode_microseconds_mamba3"), stored("decode_microseconds_attention")
    assert max(ours) < 2 * min(ours)
    assert attention[-1] > ours[-1]


def test_answers_of_the_exercises():
    """From the loop, not from the formula."""
    t, memory = 0, 1.0
    while memory > 0.05:
        t, memory = t + 1, memory * math.exp(-0.01)
    assert t == pytest.approx(math.log(20) / 0.01, abs=1)
    directions = 2 * np.pi / 5 * np.arange(5)
    for total in itertools.count(1):
        angle = total * (2 * np.pi / 5 + 0.01)
        if int(np.cos(directions - angle).argmax()) != total % 5:
            break
    assert total == 63
