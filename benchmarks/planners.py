"""Planners for tables of decision processes against quantecon, in one run on one thread.

    taskset -c 0 python -m benchmarks.planners --write    # writes results/ppo-scaling/planners-cpu.json

One large problem is solved by modified policy iteration, to the same proven error, and by policy iteration; a thousand
small ones by a loop over quantecon's fastest planner and by one call of ours, for which numba has to be installed.
quantecon checks little: ours is timed with its checks of the tables and, as a problem that was checked before would be
solved, without. Before anything is timed the values are compared. The contenders then take turns; the best round
counts, in CPU seconds of the one thread, so that what else the machine does matters less. A call of ours then comes
after a second of other work and finds the tables outside the caches; what a call takes right after another one stands
beside it ("in a row").
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable

import numpy as np
import torch

from benchmarks.report import Record
from benchmarks.timing import best_of, peak_process_megabytes
from lib.rl import tabular

SEED = 0
DISCOUNT = 0.95
IN_A_ROW = 20  # calls right after each other
EPSILON = 1e-6  # quantecon's: its values are within half of it


def large(states: int, actions: int) -> tuple[np.ndarray, np.ndarray]:
    """A dense table whose rows have a few large entries."""
    rng = np.random.default_rng(SEED)
    P = rng.random((states, actions, states)) ** 8
    P /= P.sum(-1, keepdims=True)
    return P, rng.random((states, actions))


def ours(P: torch.Tensor, R: torch.Tensor) -> dict[str, Callable]:
    """Our planners with and without the checks of the tables; each returns values."""
    iterate, modified = tabular.policy_iteration, tabular.modified_policy_iteration
    return {
        "ours_policy": lambda: iterate(P, R, DISCOUNT).V,
        "ours_policy_unchecked": lambda: iterate(P, R, DISCOUNT, validate=False).V,
        "ours_modified": lambda: modified(P, R, DISCOUNT, EPSILON / 2).V,
        "ours_modified_unchecked": lambda: modified(P, R, DISCOUNT, EPSILON / 2, validate=False).V,
    }


def theirs(DiscreteDP, P: np.ndarray, R: np.ndarray) -> dict[str, Callable]:
    """quantecon for one problem, built before."""
    problem = DiscreteDP(R, P, DISCOUNT)
    return {
        "quantecon_policy": lambda: problem.solve("policy_iteration").v,
        "quantecon_modified": lambda: problem.solve("modified_policy_iteration", epsilon=EPSILON).v,
    }


def looped(DiscreteDP, P: np.ndarray, R: np.ndarray) -> dict[str, Callable]:
    """quantecon for many problems, one after the other: built on the way, or before."""
    built = [DiscreteDP(rewards, table, DISCOUNT) for table, rewards in zip(P, R, strict=True)]

    def policy():
        return [DiscreteDP(rewards, table, DISCOUNT).solve("pi").v for table, rewards in zip(P, R, strict=True)]

    def modified():
        pairs = zip(P, R, strict=True)
        return [DiscreteDP(rewards, table, DISCOUNT).solve("mpi", epsilon=EPSILON).v for table, rewards in pairs]

    return {
        "quantecon_policy": policy,
        "quantecon_policy_built": lambda: [problem.solve("pi").v for problem in built],
        "quantecon_modified": modified,
    }


def contenders(states: int, actions: int, problems: int, sizes: list[int]) -> dict[str, dict[str, Callable]]:
    """Every workload's ways, as functions without arguments that return values."""
    try:
        from quantecon.markov import DiscreteDP
    except ImportError as problem:
        print(f"quantecon cannot be used ({problem}): only ours is measured; pip install quantecon")
        DiscreteDP = None
    P, R = large(states, actions)
    ways = {"large": {} if DiscreteDP is None else theirs(DiscreteDP, P, R)}
    ways["large"] |= ours(torch.from_numpy(P), torch.from_numpy(R))
    for size in sizes:
        generator = torch.Generator().manual_seed(SEED)
        small, rewards = tabular.garnet(size, 4, size, generator, (problems,))
        calls = {} if DiscreteDP is None else looped(DiscreteDP, small.numpy(), rewards.numpy())
        ways[f"batch_{size}_states"] = calls | ours(small, rewards)
    return ways


def check(ways: dict[str, dict[str, Callable]]) -> dict[str, float]:
    """Largest difference of each way's values from those of our policy iteration."""
    gaps = {}
    for workload, calls in ways.items():
        exact = np.asarray(calls["ours_policy"]())
        for name, call in calls.items():
            gap = float(np.abs(np.asarray(call()) - exact).max())
            allowed = EPSILON / 2 if "modified" in name else 1e-10
            print(f"  {workload:16s} {name:24s} differs by {gap:.1e}")
            if gap > allowed:
                raise SystemExit(f"{workload}: {name} is off by {gap:.1e}")
            gaps[f"{workload}_gap_{name}"] = gap
    return gaps


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--states", type=int, default=2000, help="of the large problem")
    parser.add_argument("--actions", type=int, default=8, help="of the large problem")
    parser.add_argument("--problems", type=int, default=1000, help="small problems side by side")
    parser.add_argument("--sizes", type=int, nargs="*", default=[10, 15, 20], help="states of the small problems")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--write", action="store_true", help="write results/ppo-scaling/planners-cpu.json")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    record = Record("planners", arguments)
    ways = contenders(options.states, options.actions, options.problems, options.sizes)
    print("largest differences from our policy iteration")
    gaps = check(ways)
    best = best_of(ways, options.rounds)
    values: dict[str, float] = {"states": options.states, "actions": options.actions, "problems": options.problems}
    for workload, seconds in best.items():
        for name, taken in seconds.items():
            values[f"{workload}_seconds_{name}"] = taken
        for kind in ("policy", "modified"):
            if f"quantecon_{kind}" in seconds:
                peer = seconds[f"quantecon_{kind}"]
                values[f"{workload}_ratio_{kind}"] = peer / seconds[f"ours_{kind}"]
                values[f"{workload}_ratio_{kind}_unchecked"] = peer / seconds[f"ours_{kind}_unchecked"]
        if "quantecon_policy_built" in seconds:
            built = seconds["quantecon_policy_built"]
            values[f"{workload}_ratio_policy_built"] = built / seconds["ours_policy"]
            values[f"{workload}_ratio_policy_built_unchecked"] = built / seconds["ours_policy_unchecked"]
        if workload != "large":
            for name in ("ours_policy", "ours_modified"):
                alone = best_of({workload: {name: ways[workload][name]}}, IN_A_ROW)
                values[f"{workload}_seconds_{name}_in_a_row"] = alone[workload][name]
    values["largest_gap"] = max(gaps.values())
    values["peak_process_megabytes"] = peak_process_megabytes()
    print(json.dumps(values, indent=2))
    if options.write:
        record.write(
            "ppo-scaling",
            "planners-cpu",
            values,
            seeds=[SEED],
            note=f"float64, discount {DISCOUNT}; CPU seconds, best of {options.rounds} rounds; small problems have 4 "
            "actions; quantecon's loop builds each problem on the way, as its users do, where not said; ours checks "
            "its tables where not said; loops compiled before",
        )


if __name__ == "__main__":
    main()
