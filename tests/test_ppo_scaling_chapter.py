"""The chapter's figures and cells in plain Python: what they say is what formulas, loops and stored runs say."""

import math

import numpy as np
import pytest
import torch

from lib import claims
from lib.live import normal
from lib.rl import outer_loop
from lib.site.anatomy import code_cells, faults
from lib.site.layout import ROOT
from tests.chapters import curves, figures_at_the_ends, run_cells, title_numbers

CHAPTER = ROOT / "book/agents/ppo-scaling.md"
RUN = "learning-curves-cpu"


def stored(name):
    return claims.measured_elsewhere("ppo-scaling", RUN, name).value


SEEDS = claims.measured_elsewhere("ppo-scaling", RUN, "n16_plateau").seeds


@pytest.fixture(scope="module")
def names():
    """What the cells with figures define, and those they build on."""
    return run_cells(CHAPTER, wanted=("@live", "def stored"))


@pytest.fixture(scope="module")
def short():
    """The cell that trains, with a few rounds instead of many."""
    cell = next(
        cell for cell in code_cells(CHAPTER.read_text(encoding="utf-8")) if "def learn(" in "\n".join(cell.lines)
    )
    names = {}
    exec("\n".join(cell.lines).replace("100_000", "40 * 512").replace("330_000", "2 * 32768"), names)
    return names


def test_the_chapter_is_complete():
    assert faults(CHAPTER) == []


@pytest.mark.parametrize("name", ["hover", "levels", "bandit"])
def test_every_figure_answers_at_the_ends_of_its_controls(names, name):
    for figure in figures_at_the_ends(names[name]):
        assert "nan" not in figure.layout.title.text
        assert "inf" not in figure.layout.title.text
        for x, y in curves(figure).values():
            assert np.isfinite(x).all()
            assert not np.isinf(y).any()


def followed(eta, envs, seed, rounds=300, cut=100, copies=24):
    """The first figure as loops: every round of every copy, one number at a time."""
    noise = normal(seed, rounds, copies, 2).numpy()
    mean_losses, ends = [], []
    for eta_after, envs_after in ((eta, envs), (eta, 10 * envs), (eta / 10, envs)):
        losses = np.zeros((copies, rounds + 1))
        for copy in range(copies):
            theta = [-0.75, 1.1]
            losses[copy, 0] = (theta[0] ** 2 + 0.25 * theta[1] ** 2) / 2
            for k in range(rounds):
                size, count = (eta, envs) if k < cut else (eta_after, envs_after)
                theta = [
                    theta[axis] - size * (h * theta[axis] + noise[k, copy, axis] / math.sqrt(count))
                    for axis, h in enumerate((1.0, 0.25))
                ]
                losses[copy, k + 1] = (theta[0] ** 2 + 0.25 * theta[1] ** 2) / 2
            ends.append(theta)
        mean_losses.append(losses.mean(axis=0))
    return mean_losses, np.array(ends).reshape(3, copies, 2)


def test_copies_move_as_loops_say(names):
    figure = names["hover"](envs=16, step=0.5, seed=3)
    losses, ends = followed(0.5, 16, seed=3)
    drawn = curves(figure)
    for name, loss, end in zip(("as before", "environments × 10", "step / 10"), losses, ends, strict=True):
        np.testing.assert_allclose(drawn[name][1], loss, rtol=1e-9)
        x, y = drawn[f"now: {name}"]
        np.testing.assert_allclose(np.stack([x, y], axis=-1), end, rtol=1e-9, atol=1e-12)


def test_before_the_change_all_copies_agree_and_later_rounds_are_hidden(names):
    drawn = curves(names["hover"](time=99))
    plain = drawn["as before"][1]
    assert np.isfinite(plain[:100]).all()
    assert np.isnan(plain[100:]).all()
    for name in ("environments × 10", "step / 10"):
        np.testing.assert_array_equal(drawn[name][1], plain)
        np.testing.assert_array_equal(drawn[f"now: {name}"], drawn["now: as before"])


@pytest.mark.parametrize(("envs", "step"), [(16, 0.5), (128, 1.5), (4, 0.2)])
def test_the_title_says_how_long_each_cure_takes(names, envs, step):
    """Counted with the variances of both axes, round by round, from the old plateau."""
    bowl = np.array([1.0, 0.25])

    def variance(eta, count):
        return eta / (count * bowl * (2 - eta * bowl))

    waits = []
    for eta, count in ((step, 10 * envs), (step / 10, envs)):
        now, wait = variance(step, envs), 0
        while bowl @ now > 1.1 * (bowl @ variance(eta, count)):
            now, wait = (1 - eta * bowl) ** 2 * now + eta**2 / count, wait + 1
        waits.append(wait)
    said = title_numbers(names["hover"](envs=envs, step=step))
    assert [said[0], said[2]] == waits
    assert waits[1] > 5 * waits[0]


def test_measured_levels_lie_on_the_formula(names):
    for step, flat, seed in ((0.5, 0.25, 1), (1.5, 0.5, 2), (1.0, 1.0, 3)):
        figure = names["levels"](step=step, flat=flat, seed=seed)
        _, formula = curves(figure)["formula"]
        wanted = [sum(step / (2 * N * (2 - step * h)) for h in (1.0, flat)) for N in (4, 16, 64, 256, 1024, 4096)]
        np.testing.assert_allclose(formula, wanted, rtol=1e-12)
        # All numbers of environments see the same noise, so that one ratio holds for all of them.
        ratios = curves(figure)["measured"][1] / formula
        np.testing.assert_allclose(ratios, ratios[0], rtol=1e-9)
        assert title_numbers(figure)[0] == pytest.approx(ratios[0], abs=0.0051)
        assert ratios[0] == pytest.approx(1, abs=0.15)


def test_the_level_blows_up_as_the_step_nears_two(names):
    growth = [title_numbers(names["levels"](step=step))[1] for step in (0.2, 1.0, 1.8, 1.95)]
    assert growth == sorted(growth)
    assert growth[0] == pytest.approx(1.1, abs=0.11)
    assert growth[-1] > 15


@pytest.mark.parametrize("change", ["nothing", "environments × 10", "step / 10"])
def test_the_bandit_is_followed_and_its_levels_predicted(names, change):
    figure = names["bandit"](envs=16, step=1, change=change, seed=5)
    gap = curves(figure)["learners"][1]
    level = curves(figure)["predicted"][1]
    before = float(outer_loop.softmax_bandit_plateau([1, 0.8, 0.3, 0], 0.3, 1.0, 1.0, 16))
    assert gap[0] == pytest.approx(0.3 * math.log(sum(math.exp(r / 0.3) for r in (1, 0.8, 0.3, 0)) / 4) - 0.525)
    assert level[0] == pytest.approx(before, rel=1e-9)
    assert level[0] / level[-1] == pytest.approx(
        {"nothing": 1, "environments × 10": 10, "step / 10": 10}[change], rel=0.1
    )
    seen, predicted = title_numbers(figure)[1:]
    assert predicted == pytest.approx(level[-1], abs=6e-5)
    if change != "step / 10":  # which has not arrived yet
        assert seen == pytest.approx(predicted, rel=0.35)


def test_the_real_runs_are_the_stored_ones(names):
    for seed in SEEDS:
        figure = names["stuck"](seed=seed)
        drawn = curves(figure)
        for label, way in (
            ("as before", "unchanged"),
            ("learning rate / 10", "smaller"),
            ("environments × 16", "more"),
        ):
            np.testing.assert_array_equal(drawn[label][1], stored(f"after_{way}_return_seed{seed}"))
        means = [np.mean(stored(f"after_{way}_return_seed{seed}")) for way in ("unchanged", "smaller", "more")]
        np.testing.assert_allclose(title_numbers(figure), means, atol=0.51)
    for rule, run in names["RULES"].items():
        figure = names["recipe"](rule=rule)
        assert title_numbers(figure)[0] == pytest.approx(np.mean(stored(f"{run}_second_half")), abs=0.51)
        for seed in SEEDS:
            np.testing.assert_array_equal(curves(figure)[f"seed {seed}"][1], stored(f"{run}_return_seed{seed}"))


def test_the_cell_that_trains_looks_as_often_as_it_says(short):
    """With a few rounds of each run; that the long ones learn is tested with PPO itself."""
    assert len(short["few"]) == 2
    assert len(short["many"]) == 2
    assert short["few_log"]["gradient_steps"].unique().tolist() == [8]
    assert short["many_log"]["gradient_steps"].unique().tolist() == [512]
    again = short["learn"](16, 40 * 512, every=20)[0]
    assert again == short["few"]


def test_answers_of_the_exercises():
    bandit = {"r": [1.0, 0.8, 0.3, 0.0], "tau": 0.3, "sigma": 1.0}
    draws = min(N for N in range(1, 200) if outer_loop.softmax_bandit_plateau(**bandit, eta=0.5, N=N) <= 0.001)
    assert draws == 68
    same = torch.linspace(0.01, 0.5, 4901, dtype=torch.float64)
    levels = outer_loop.softmax_bandit_plateau(**bandit, eta=same, N=8)
    assert float(same[levels <= 0.001].max()) == pytest.approx(0.059, abs=0.002)
    assert [int(outer_loop.inner_steps(N, 32, 512, 8)) for N in (16, 1024)] == [8, 512]
    path = outer_loop.simulate_quadratic(2.0, [1.0], [0.0], 1, [1.0], torch.zeros(5, 1, 1))
    assert path.flatten().tolist() == [1, -1, 1, -1, 1, -1]
