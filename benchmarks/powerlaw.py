"""Bootstrap fits of power laws against scipy and the powerlaw package, in one run on one thread.

    taskset -c 0 python -m benchmarks.powerlaw --write    # writes results/scaling-laws/fits-cpu.json

First every result is compared: each of the refits with scipy's optimum of the same resampled curve, the exponent of the
tail with that of the powerlaw package. Then the contenders take turns; the best round counts, in CPU seconds of the one
thread. The loops of scipy and of powerlaw are timed on some of the samples and scaled up, ours on all of them. The
powerlaw package is in requirements-bench.txt; without it that part is left out and said so.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import time
import warnings

import numpy as np
import scipy
import torch
from scipy.optimize import curve_fit

from benchmarks.report import Record
from benchmarks.timing import best_of, peak_process_megabytes
from lib import law_intervals
from lib.heavy_tail import bootstrap_heavy_tail, fit_heavy_tail
from lib.joint_fit import bootstrap_joint_law
from lib.joint_laws import BESIROGLU
from lib.least_squares import least_squares
from lib.powerlaw import bootstrap_power_law, fit_power_law, power_law, resample_curves

SEED = 0


def log_law(m: np.ndarray, log_alpha: float, beta: float, gamma: float) -> np.ndarray:
    return np.log(np.exp(log_alpha) * m**beta + gamma)


def log_law_slopes(m: np.ndarray, log_alpha: float, beta: float, gamma: float) -> np.ndarray:
    reducible = np.exp(log_alpha) * m**beta
    return np.stack([reducible, reducible * np.log(m), np.ones_like(m)], axis=-1) / (reducible + gamma)[:, None]


def decay(p, t, y):
    """Residuals and their derivatives; the columns are written where their product reads them."""
    columns = p.new_empty(len(p), 3, len(t[0]))
    falling, slope, level = columns.unbind(dim=1)
    torch.exp(-p[:, 1:2] * t, out=falling)
    part = p[:, :1] * falling
    torch.mul(part, -t, out=slope)
    level.fill_(1.0)
    return part.add_(p[:, 2:]).sub_(y), columns.mT


def curve_problem(refits: int, points: int) -> dict[str, object]:
    """One measured curve with a floor, its fit and its bootstrap samples; the same for everyone."""
    m = torch.logspace(2, 6, points, dtype=torch.float64)
    generator = torch.Generator().manual_seed(SEED)
    noise = torch.randn(points, dtype=torch.float64, generator=generator)
    err = power_law(m, 3.0, -0.3, 0.05) * torch.exp(0.05 * noise)
    law = fit_power_law(m, err, floor=True)
    samples = resample_curves(m, err, refits, SEED, law=law, fewer=True)
    t = torch.linspace(0, 4, points, dtype=torch.float64)
    noise = torch.randn(refits, points, dtype=torch.float64, generator=generator)
    return {
        "m": m,
        "err": err,
        "law": law,
        "samples": samples,
        "t": t,
        "decays": 2.5 * (-1.3 * t).exp() + 0.5 + 0.1 * noise,
    }


def contenders(problem: dict, refits: int, loop: int) -> dict[str, dict[str, object]]:
    """Every workload's ways; those called scipy fit the first ``loop`` samples only."""
    m, law = problem["m"].numpy(), problem["law"]
    logs = problem["samples"].log().numpy()
    start = [float(law.alpha.log()), float(law.beta), float(law.gamma)]
    t, decays = problem["t"].numpy(), problem["decays"].numpy()

    def scipy_curves(**options):
        return np.array([curve_fit(log_law, m, y, start, **options)[0] for y in logs[:loop]])

    def whole_bootstrap():
        found = bootstrap_power_law(
            problem["m"], problem["err"], refits, floor=True, method="corrected", seed=SEED
        ).samples
        return torch.stack([found["alpha"].log(), found["beta"], found["gamma"]], dim=-1)

    def ours_refits():
        """The refits alone, of samples that are given, as scipy's loop has them."""
        return law_intervals._refitted(law, problem["samples"].log())[1].theta

    def decay_numpy(t, a, b, c):
        return a * np.exp(-b * t) + c

    def decay_slopes(t, a, b, c):
        falling = np.exp(-b * t)
        return np.stack([falling, -a * t * falling, np.ones_like(t)], axis=-1)

    def scipy_decays(**options):
        return np.array([curve_fit(decay_numpy, t, y, [1.0, 1.0, 0.0], **options)[0] for y in decays[:loop]])

    return {
        "floor": {
            "scipy": scipy_curves,
            "scipy_with_derivatives": lambda: scipy_curves(jac=log_law_slopes),
            "ours_whole_bootstrap": whole_bootstrap,
            "ours": ours_refits,
        },
        "decay": {
            "scipy": scipy_decays,
            "scipy_with_derivatives": lambda: scipy_decays(jac=decay_slopes),
            "ours": lambda: least_squares(decay, [1.0, 1.0, 0.0], (problem["t"], problem["decays"]), True).parameters,
        },
    }


def check(ways: dict[str, dict[str, object]], loop: int) -> dict[str, float]:
    """Largest relative difference of any parameter of any refit from scipy's optimum."""
    gaps = {}
    for workload, calls in ways.items():
        ours = np.asarray(calls.get("ours_whole_bootstrap", calls["ours"])())[:loop]
        theirs = calls["scipy"]()
        gap = np.abs(ours / theirs - 1)
        print(f"  {workload:8s} largest relative gap {gap.max():.1e}, median {np.median(gap):.1e}")
        if gap.max() > 1e-4:
            raise SystemExit(f"{workload}: a parameter is off by {gap.max():.1e}")
        gaps[f"{workload}_largest_gap"] = float(gap.max())
        gaps[f"{workload}_median_gap"] = float(np.median(gap))
    return gaps


def tails(points: int, samples: int, rounds: int) -> dict[str, float]:
    """Bootstrap of a tail beside refits with the powerlaw package, each choosing its own start."""
    try:
        import powerlaw
    except ImportError:
        print("the powerlaw package is not installed: its part is left out (requirements-bench.txt)")
        return {}
    logging.disable(logging.CRITICAL)
    warnings.filterwarnings("ignore")
    rng = np.random.default_rng(SEED)
    x = (1 - rng.random(points)) ** (-1 / 1.5)

    def package(values):
        return powerlaw.Fit(values, verbose=False)

    theirs, ours = package(x), fit_heavy_tail(x)
    gap = abs(float(ours.alpha) - theirs.power_law.alpha)
    print(f"  tail: alpha {float(ours.alpha):.4f}, powerlaw {theirs.power_law.alpha:.4f}")
    if gap > 0.01:
        raise SystemExit(f"the exponent of the tail is off by {gap:.3f}")
    seconds = {"powerlaw": math.inf, "ours": math.inf}
    for _ in range(rounds):
        drawn = x[rng.integers(points, size=points)]
        start = time.process_time()
        package(drawn)
        seconds["powerlaw"] = min(seconds["powerlaw"], time.process_time() - start)
        start = time.process_time()
        bootstrap_heavy_tail(x, samples, seed=SEED)
        seconds["ours"] = min(seconds["ours"], (time.process_time() - start) / samples)
    return {
        "tail_points": points,
        "tail_samples": samples,
        "tail_alpha_ours": float(ours.alpha),
        "tail_alpha_powerlaw": float(theirs.power_law.alpha),
        "tail_alpha_gap": gap,
        "tail_seconds_a_sample_powerlaw": seconds["powerlaw"],
        "tail_seconds_a_sample_ours": seconds["ours"],
        "tail_ratio_to_powerlaw": seconds["powerlaw"] / seconds["ours"],
    }


def recovery(trials: int, refits: int, count: int = 120) -> dict[str, float]:
    """Share of simulated sets of runs whose 95 % intervals hold the constants they were made with (approach 3)."""
    generator = torch.Generator().manual_seed(SEED)
    N = 10 ** (7 + 3 * torch.rand(count, dtype=torch.float64, generator=generator))
    D = 10 ** (8.5 + 3 * torch.rand(count, dtype=torch.float64, generator=generator))
    noise = torch.randn(trials, count, dtype=torch.float64, generator=generator)
    found = bootstrap_joint_law(N, D, BESIROGLU.predict(N, D) * torch.exp(0.01 * noise), refits, seed=SEED)
    values: dict[str, float] = {"joint_trials": trials, "joint_runs": count, "joint_refits": refits}
    for name, ends in found.intervals.items():
        true = getattr(BESIROGLU, name)
        values[f"joint_coverage_{name}"] = float(((ends[:, 0] <= true) & (ends[:, 1] >= true)).double().mean())
    return values


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--refits", type=int, default=2000)
    parser.add_argument("--points", type=int, default=50)
    parser.add_argument("--loop", type=int, default=2000, help="refits of them that scipy's loop does")
    parser.add_argument("--tail-points", type=int, default=5000)
    parser.add_argument("--tail-samples", type=int, default=200)
    parser.add_argument("--trials", type=int, default=200, help="simulated sets of runs for the joint law")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--write", action="store_true", help="write results/scaling-laws/fits-cpu.json")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    record = Record("powerlaw", arguments)
    problem = curve_problem(options.refits, options.points)
    loop = min(options.loop, options.refits)
    ways = contenders(problem, options.refits, loop)
    values: dict[str, float] = {"refits": options.refits, "points": options.points, **check(ways, loop)}
    for workload, seconds in best_of(ways, options.rounds).items():
        for name, taken in seconds.items():
            whole = taken if name.startswith("ours") else taken * options.refits / loop
            values[f"{workload}_seconds_{name}"] = whole
            if name != "ours":
                values[f"{workload}_ratio_to_{name}"] = whole / seconds["ours"]
    values |= tails(options.tail_points, options.tail_samples, options.rounds)
    values |= recovery(options.trials, 200)
    values["peak_process_megabytes"] = peak_process_megabytes()
    print(json.dumps(values, indent=2))
    if options.write:
        record.write(
            "scaling-laws",
            "fits-cpu",
            values,
            seeds=[SEED],
            note=f"float64; CPU seconds, best of {options.rounds} rounds; scipy {scipy.__version__} curve_fit of {loop}"
            " samples; floors start at the optimum of the original curve, decays at (1, 1, 0), for both; ours "
            "as a whole also fits, resamples and takes intervals; a tail sample chooses its start anew, ours of 100 "
            "candidates, powerlaw's of all values; coverage of percentile intervals at nominal 95 %",
        )


if __name__ == "__main__":
    main()
