"""Fisher-Rao distances, absorbing chains and transition counts against numpy, in one run on one thread.

    taskset -c 0 python -m benchmarks.fisher --write    # writes results/fisher-rao/metrics-cpu.json

geomstats 2.8 does not import with NumPy 2, so its own route for normal distributions (half-plane to disk, distance in
the disk) is written out in numpy, without its dispatch between backends. Before anything is timed the results are
compared, and the loops for many chains compiled, for which numba has to be installed. The contenders then take turns;
the best round counts, in CPU seconds of the one thread, so that what else the machine does matters less.
"""

from __future__ import annotations

import argparse
import json
import math

import numpy as np
import torch

from benchmarks.report import Record
from benchmarks.timing import best_of, peak_process_megabytes
from lib import fisher, markov

SEED = 0
CODES = [1, 2, 4, 5, 7, 8, 11]


def geomstats_route(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """What geomstats computes for two normal distributions, formula by formula."""

    def to_disk(point):
        point = np.stack([point[..., 0] / np.sqrt(2.0), point[..., 1]], axis=-1)
        squared = np.sum(point**2, axis=-1)
        below = 1 + squared + 2 * point[..., -1]
        first = np.einsum("...i,...->...i", point[..., :-1], 2.0 / below)
        second = (squared - 1) / below
        return np.concatenate([first, second[..., None]], axis=-1)

    a, b = to_disk(p), to_disk(q)
    norm_a = np.clip(np.sum(a**2, axis=-1), 0.0, 1 - 1e-6)
    norm_b = np.clip(np.sum(b**2, axis=-1), 0.0, 1 - 1e-6)
    apart = np.sum((a - b) ** 2, axis=-1)
    cosh = 1 + 2 * apart / ((1 - norm_a) * (1 - norm_b))
    return math.sqrt(2) * np.log(cosh + np.sqrt(cosh**2 - 1))


def normal_in_numpy(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """The closed form with an inverse hyperbolic tangent: the short way in numpy."""
    mean = (p[:, 0] - q[:, 0]) ** 2
    below = mean + 2 * (p[:, 1] - q[:, 1]) ** 2
    above = mean + 2 * (p[:, 1] + q[:, 1]) ** 2
    return 2 * math.sqrt(2) * np.arctanh(np.sqrt(below / above))


def simplex_in_numpy(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """The arc cosine of the textbooks, as geomstats takes it."""
    return 2 * np.arccos(np.clip(np.sum(np.sqrt(p) * np.sqrt(q), axis=-1), 0, 1))


def chains_in_numpy(P: np.ndarray, transient: int) -> np.ndarray:
    """Mean time and absorption probabilities by one batched solve."""
    Q, R = P[..., :transient, :transient], P[..., :transient, transient:]
    right = np.concatenate([R, np.ones((*R.shape[:-1], 1))], axis=-1)
    return np.linalg.solve(np.eye(transient) - Q, right)


def times_in_numpy(P: np.ndarray, transient: int) -> tuple[np.ndarray, ...]:
    """Mean, standard deviation and fundamental matrix by a batched inverse."""
    N = np.linalg.inv(np.eye(transient) - P[..., :transient, :transient])
    mean = N.sum(axis=-1)
    variance = 2 * (N @ mean[..., None])[..., 0] - mean - mean**2
    return mean, np.sqrt(variance), N


def counts_in_numpy(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """One bincount of a table look-up of both maps."""
    table = np.full(256, len(CODES), dtype=np.int64)
    table[CODES] = np.arange(len(CODES))
    width = len(CODES) + 1
    found = np.bincount((table[a] * width + table[b]).ravel(), minlength=width**2)
    return found.reshape(width, width)[:-1, :-1]


def raw_counts_in_numpy(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The same without a table: all pairs of bytes, of which the codes are picked."""
    found = np.bincount((a.astype(np.int64) * 256 + b).ravel(), minlength=65536).reshape(256, 256)
    return found[np.ix_(CODES, CODES)]


def problems(pairs: int, chains: int, side: int) -> dict[str, tuple]:
    """Arrays of each workload, for numpy and torch."""
    rng = np.random.default_rng(SEED)
    p, q = (np.stack((rng.normal(size=pairs), rng.uniform(0.2, 3, pairs)), 1) for _ in range(2))
    shares = rng.dirichlet(np.ones(3), (2, pairs))
    P = rng.random((chains, 18, 18))
    P /= P.sum(-1, keepdims=True)
    codes = np.array(CODES, dtype=np.uint8)
    before = codes[rng.integers(7, size=(side, side))]
    after = np.where(rng.random((side, side)) < 0.9, before, codes[rng.integers(7, size=(side, side))])
    return {"normals": (p, q), "simplex": (shares[0], shares[1]), "chains": (P,), "maps": (before, after)}


def contenders(work: dict[str, tuple]) -> dict[str, dict[str, object]]:
    """Every workload's ways, ours and theirs, as functions without arguments."""
    there = {name: tuple(torch.from_numpy(array) for array in arrays) for name, arrays in work.items()}
    single = tuple(tensor.float() for tensor in there["normals"])
    P, chains = work["chains"][0], there["chains"][0]
    last = [16, 17]
    return {
        "normal": {
            "geomstats_route": lambda: geomstats_route(*work["normals"]),
            "numpy": lambda: normal_in_numpy(*work["normals"]),
            "ours": lambda: fisher.normal_distance(*there["normals"]),
            "ours_float32": lambda: fisher.normal_distance(*single),
        },
        "simplex": {
            "numpy": lambda: simplex_in_numpy(*work["simplex"]),
            "ours": lambda: fisher.fisher_rao_distance(*there["simplex"]),
        },
        "absorption": {
            "numpy_solve": lambda: chains_in_numpy(P, 16)[..., :-1],
            "ours": lambda: markov.absorption_probabilities(chains, last),
        },
        "absorbing_times": {
            "numpy_inv": lambda: times_in_numpy(P, 16)[0],
            "ours": lambda: markov.absorbing_times(chains, last).mean,
        },
        "counts": {
            "numpy": lambda: counts_in_numpy(*work["maps"]),
            "numpy_bytes": lambda: raw_counts_in_numpy(*work["maps"]),
            "ours": lambda: markov.transition_counts(*there["maps"], CODES),
        },
    }


def check(ways: dict[str, dict[str, object]]) -> dict[str, float]:
    """Largest difference of each way from ours, relative to the largest value."""
    gaps = {}
    for workload, calls in ways.items():
        ours = np.asarray(calls["ours"](), dtype=float)
        for name, call in calls.items():
            gap = float(np.abs(np.asarray(call(), dtype=float) - ours).max() / np.abs(ours).max())
            allowed = 1e-5 if name == "ours_float32" else 1e-7 if workload == "simplex" else 1e-9
            print(f"  {workload:16s} {name:16s} differs by {gap:.1e}")
            if gap > allowed:
                raise SystemExit(f"{workload}: {name} is off by {gap:.1e}")
            gaps[f"{workload}_{name}"] = gap
    return gaps


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=1_000_000)
    parser.add_argument("--chains", type=int, default=20_000)
    parser.add_argument("--side", type=int, default=4096, help="pixels along a side of the maps")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--write", action="store_true", help="write results/fisher-rao/metrics-cpu.json")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    record = Record("fisher", arguments)
    ways = contenders(problems(options.pairs, options.chains, options.side))
    print("largest differences from ours")
    gaps = check(ways)
    best = best_of(ways, options.rounds)
    values: dict[str, float] = {"pairs": options.pairs, "chains": options.chains, "pixels": options.side**2}
    for workload, seconds in best.items():
        for name, taken in seconds.items():
            values[f"{workload}_seconds_{name}"] = taken
            if name != "ours":
                values[f"{workload}_ratio_to_{name}"] = taken / seconds["ours"]
    values["normal_ratio_float32"] = best["normal"]["geomstats_route"] / best["normal"]["ours_float32"]
    values["normal_gap_to_geomstats_route"] = gaps["normal_geomstats_route"]
    values["normal_gap_to_numpy"] = gaps["normal_numpy"]
    values["peak_process_megabytes"] = peak_process_megabytes()
    print(json.dumps(values, indent=2))
    if options.write:
        record.write(
            "fisher-rao",
            "metrics-cpu",
            values,
            seeds=[SEED],
            note=f"float64 where not said; CPU seconds, best of {options.rounds} rounds; geomstats' "
            "formulas in numpy, without its dispatch; chains in loops compiled before; checks of the arguments "
            "included in ours",
        )


if __name__ == "__main__":
    main()
