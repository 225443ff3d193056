"""The claims of the chapter, from closed forms and the stored runs, without the chapter."""

import itertools
import statistics

import pytest

from lib import claims
from lib.rl import outer_loop
from lib.rl.envs import NoisyGrid
from lib.rl.tabular import value_iteration

CLAIMS = claims.load("ppo-scaling")
RUN = "learning-curves-cpu"


def stored(name):
    return claims.measured_elsewhere("ppo-scaling", RUN, name).value


SEEDS = claims.measured_elsewhere("ppo-scaling", RUN, "n16_plateau").seeds


def second_half(run):
    """From the curves themselves, not from what was stored beside them."""
    halves = [stored(f"{run}_return_seed{seed}") for seed in SEEDS]
    return [statistics.fmean(half[len(half) // 2 :]) for half in halves]


def better(one, other):
    return [a > b for a, b in zip(second_half(one), second_half(other), strict=True)]


def late(run, what):
    halves = [stored(f"{run}_{what}_seed{seed}") for seed in SEEDS]
    return statistics.median(value for half in halves for value in half[len(half) // 2 :])


def test_one_level_and_two_speeds():
    settings = ((0.5, 160), (0.05, 16))
    levels = [sum(eta / (2 * N * (2 - eta * h)) for h in (1.0, 0.25)) for eta, N in settings]
    assert claims.agreement(CLAIMS["one-level"], levels[0] / levels[1]) == 1
    waits = []
    for (eta, N), level in zip(settings, levels, strict=True):
        squares = [0.5 / (16 * h * (2 - 0.5 * h)) for h in (1.0, 0.25)]
        for rounds in itertools.count():
            if sum(h * v / 2 for h, v in zip((1.0, 0.25), squares, strict=True)) <= 1.1 * level:
                waits.append(rounds)
                break
            squares = [(1 - eta * h) ** 2 * v + eta**2 / N for h, v in zip((1.0, 0.25), squares, strict=True)]
    assert claims.agreement(CLAIMS["one-is-faster"], waits[1] / waits[0]) == 1


def test_levels_are_the_formulas():
    bowl = [sum(eta * s / (2 * N * (2 - eta * h)) for h, s in ((1, 1), (0.5, 2), (0.1, 0.5)))
            for eta, N in ((0.1, 4), (0.1, 16), (0.4, 16))]  # fmt: skip
    assert bowl == pytest.approx(CLAIMS["levels-of-a-bowl"].value, rel=5e-5)
    bandit = [
        float(outer_loop.softmax_bandit_plateau([1.0, 0.8, 0.3, 0.0], 0.3, 1.0, eta, N))
        for eta, N in ((0.5, 8), (0.5, 80), (2.0, 8))
    ]
    assert bandit == pytest.approx(CLAIMS["bandit-levels"].value, rel=5e-4)


def test_a_smaller_step_or_more_environments_free_a_stuck_run():
    assert claims.agreement(CLAIMS["stuck-resumes"], better("after_smaller", "after_unchanged")) == 1
    assert claims.agreement(CLAIMS["more-resumes"], better("after_more", "after_unchanged")) == 1


def test_many_environments_reach_what_few_do_not():
    assert claims.agreement(CLAIMS["many-are-better"], better("n1024", "n16")) == 1
    assert claims.agreement(CLAIMS["learns"], [value >= -260 for value in stored("n1024_plateau")]) == 1
    for seed in SEEDS:
        ends = stored(f"n1024_return_seed{seed}")[-3:]
        assert statistics.fmean(ends) == pytest.approx(stored("n1024_plateau")[SEEDS.index(seed)], abs=1)


def test_other_rules_lose_most_with_the_linear_and_the_unchanged_rate():
    runs = ("n1024_fixed", "n1024_fixed_sqrt", "n1024_fixed_linear")
    lost = [all(better("n1024", run)) for run in runs]
    assert claims.agreement(CLAIMS["rescaling-loses"], lost) >= 2 / 3
    behind = [statistics.fmean(second_half("n1024")) - statistics.fmean(second_half(run)) for run in runs]
    assert behind[1] < 50
    assert min(behind[0], behind[2]) > 150


def test_data_grow_faster_than_the_policy_moves():
    assert claims.agreement(CLAIMS["data-to-divergence"], late("n1024", "ddr") >= 64 * late("n16", "ddr")) == 1
    assert late("n1024", "kl") < late("n16", "kl")


def test_environments_in_step_see_one_part_of_the_episode():
    for count in (128, 1024):
        assert all(better(f"staggered_n{count}", f"n{count}"))
        assert min(second_half(f"staggered_n{count}")) > -170
    assert max(second_half("staggered_n16")) < min(second_half("staggered_n1024"))


def test_the_noisy_grid_has_a_floor():
    grid = NoisyGrid(1)
    best = float(value_iteration(*grid.tables(), 0.97).V @ grid.params.outcomes().start)
    assert best == pytest.approx(-5.473652, abs=1e-6)
    below = [best - statistics.fmean(second_half(f"noisy_grid_n{count}")) for count in (16, 128, 1024)]
    assert below[0] > below[1] > 0
    falls = [one / other for one, other in itertools.pairwise(below)]
    assert claims.agreement(CLAIMS["floor-of-adam"], falls) == 0


def test_cartpole_never_stalls():
    assert statistics.fmean(second_half("cart_pole_n16")) > 475


def test_what_is_out_of_reach_says_why():
    far = [claim for claim in CLAIMS.values() if claim.scale == "out of reach"]
    assert {claim.id for claim in far} == {"baseline-stalls", "trillion", "solve-rates-few", "solve-rates-many"}
    assert all(claim.note for claim in far)
    assert {claim.kind for claim in far} == {"paper", "cited"}
