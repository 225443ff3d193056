"""Ten thousand observers that learn, exact Fisher information, and growing hypergraphs against numpy and tuples.

    taskset -c 0 python -m benchmarks.observers --write    # writes results/good-regulator/observers-cpu.json
    python -m benchmarks.observers --device cuda --write   # GPU against numpy on the same machine

Everything is float64. Before anything is timed, the results are compared. The contenders then take turns; the best
round counts. Loops over observers and the engine of tuples are timed on a sample and extrapolated to the whole.
"""

from __future__ import annotations

import argparse
import json

import numpy as np
import torch

from benchmarks import timing
from benchmarks.report import Record
from lib import observers

SEED = 0
LEARNING_RATE = 0.3
RULE = "{x,y} -> {x,z},{z,y}"
COMPLETE = tuple((i, j) for i in range(6) for j in range(i + 1, 6))


def ring_with_chords(n: int, reaches=(1, 3, 5)) -> tuple[tuple[int, int], ...]:
    """A graph of n spins and 3 n edges."""
    return tuple((node, (node + reach) % n) for reach in reaches for node in range(n))


def edge_products(edges, first: int, last: int, n: int) -> np.ndarray:
    """Statistics of the states from first to last, the last spin always up."""
    states = np.arange(first, last)
    spins = (1 - 2 * ((states[:, None] >> np.arange(n)) & 1)).astype(np.float64)
    ends = np.array(edges)
    return spins[:, ends[:, 0]] * spins[:, ends[:, 1]]


def numpy_loop(T: np.ndarray, targets: np.ndarray, steps: int) -> np.ndarray:
    """One observer after the other, learning by natural gradient."""
    found = np.empty_like(targets)
    for which, target in enumerate(targets):
        weight = np.exp(T @ target)
        goal = (weight / weight.sum()) @ T
        theta = np.zeros_like(target)
        for _ in range(steps):
            weight = np.exp(T @ theta)
            p = weight / weight.sum()
            mean = p @ T
            centred = T - mean
            F = centred.T @ (centred * p[:, None])
            theta = theta - LEARNING_RATE * np.linalg.solve(F, mean - goal)
        found[which] = theta
    return found


def numpy_batched(T: np.ndarray, targets: np.ndarray, steps: int) -> np.ndarray:
    """All observers at once, what a careful numpy user would write: matrix products and a batched solve."""
    size = T.shape[1]
    products = (T[:, :, None] * T[:, None, :]).reshape(len(T), -1)

    def probabilities(theta):
        weight = np.exp(theta @ T.T)
        return weight / weight.sum(axis=1, keepdims=True)

    goal = probabilities(targets) @ T
    theta = np.zeros_like(targets)
    for _ in range(steps):
        p = probabilities(theta)
        mean = p @ T
        F = (p @ products).reshape(-1, size, size) - mean[:, :, None] * mean[:, None, :]
        theta = theta - LEARNING_RATE * np.linalg.solve(F, (mean - goal)[..., None])[..., 0]
    return theta


def numpy_fisher(edges, n: int, couplings: np.ndarray, block: int = 2**14) -> np.ndarray:
    """Blocked enumeration: two passes over blocks of states, one for the normalisation, one for the moments."""
    states = 2 ** (n - 1)
    blocks = [(first, min(first + block, states)) for first in range(0, states, block)]
    highest = max((edge_products(edges, *at, n) @ couplings).max() for at in blocks)
    total, mean, second = 0.0, 0.0, 0.0
    for at in blocks:
        T = edge_products(edges, *at, n)
        weight = np.exp(T @ couplings - highest)
        total += weight.sum()
        mean = mean + weight @ T
        second = second + (T * weight[:, None]).T @ T
    mean = mean / total
    return second / total - np.outer(mean, mean)


def best_seconds(contenders: dict, rounds: int, device: torch.device) -> dict[str, float]:
    """Best time of each contender; they take turns."""
    best = timing.best_of({"": contenders}, rounds, device)[""]
    for name, seconds in best.items():
        print(f"  {name:28s} {1e3 * seconds:12.2f} ms", flush=True)
    return best


def agree(what: str, ours: torch.Tensor, theirs: np.ndarray) -> float:
    error = float(np.abs(ours.cpu().numpy() - theirs).max())
    print(f"  {what}: largest difference {error:.1e}")
    if not error <= 1e-9:  # nor NaN
        raise SystemExit(f"{what} is wrong")
    return error


def learning(count: int, steps: int, sample: int, rounds: int, device: torch.device) -> dict[str, float]:
    """Observers on K4 (6 couplings) and K6 (15) that learn random targets by natural gradient."""
    values = {}
    for name, (edges, n) in {"K4": observers.observer_graph("K4"), "K6": (COMPLETE, 6)}.items():
        print(f"{count} observers on {name} learn for {steps} steps")
        T = edge_products(edges, 0, 2 ** (n - 1), n)
        targets = 0.1 + 0.15 * torch.randn(
            count, len(edges), generator=torch.Generator().manual_seed(SEED), dtype=torch.float64
        )
        there, few = targets.to(device), targets[:sample].numpy()

        def ours(there=there, edges=edges, n=n):
            return observers.learn(edges, n, there, steps=steps, lr=LEARNING_RATE).couplings[..., -1, :]

        batched = numpy_batched(T, targets.numpy(), steps)
        values[f"largest_difference_{name}"] = agree("ours and batched numpy", ours(), batched)
        agree("batched numpy and the loop", torch.tensor(batched[:sample]), numpy_loop(T, few, steps))
        contenders = {
            "numpy loop, sample": lambda T=T, few=few: numpy_loop(T, few, steps),
            "numpy batched": lambda T=T, targets=targets: numpy_batched(T, targets.numpy(), steps),
            "ours": ours,
        }
        best = best_seconds(contenders, rounds, device)
        loop = best["numpy loop, sample"] * count / sample
        values |= {
            f"seconds_learning_loop_extrapolated_{name}": loop,
            f"seconds_learning_numpy_batched_{name}": best["numpy batched"],
            f"seconds_learning_ours_{name}": best["ours"],
            f"ratio_learning_to_loop_{name}": loop / best["ours"],
            f"ratio_learning_to_numpy_batched_{name}": best["numpy batched"] / best["ours"],
        }
    return values


def fisher(sizes, rounds: int, device: torch.device) -> dict[str, float]:
    """Exact Fisher information of one observer of n spins and 3 n couplings."""
    values = {}
    for n in sizes:
        edges = ring_with_chords(n)
        couplings = 0.2 + 0.1 * torch.randn(
            len(edges), generator=torch.Generator().manual_seed(SEED), dtype=torch.float64
        )
        there = couplings.to(device)
        print(f"Fisher information of {n} spins, {len(edges)} couplings")
        contenders = {"ours": lambda edges=edges, n=n, there=there: observers.ising_fisher(edges, n, there)}
        if n <= 20:
            agree("ours and blocked enumeration", contenders["ours"](), numpy_fisher(edges, n, couplings.numpy()))
            contenders["numpy, blocked enumeration"] = lambda edges=edges, n=n, couplings=couplings: numpy_fisher(
                edges, n, couplings.numpy()
            )
        best = best_seconds(contenders, rounds, device)
        values[f"seconds_fisher_ours_{n}"] = best["ours"]
        values[f"megabytes_fisher_ours_{n}"] = 3 * 2 ** (n - 1) * 8 / 1e6
        if n <= 20:
            values[f"seconds_fisher_numpy_{n}"] = best["numpy, blocked enumeration"]
            values[f"ratio_fisher_{n}"] = best["numpy, blocked enumeration"] / best["ours"]
    return values


def growth(generations: int, small: int, rounds: int, device: torch.device) -> dict[str, float]:
    """Growth of one edge by the rule, by arrays to 2^generations edges, by tuples to 2^small."""
    print(f"{RULE}: {2**generations} edges by arrays, {2**small} by tuples")
    arrays = observers.grow([(0, 1)], RULE, small, device=device)
    tuples = observers.HypergraphRewriter([(0, 1)], RULE, seed=SEED).run(small)
    if (arrays.size, len(arrays.parent)) != (len(tuples.edges), len(tuples.events)):
        raise SystemExit("the engines disagree")
    contenders = {
        "tuples, small": lambda: observers.HypergraphRewriter([(0, 1)], RULE, seed=SEED).run(small),
        "arrays": lambda: observers.grow([(0, 1)], RULE, generations, device=device),
    }
    best = best_seconds(contenders, rounds, device)
    extrapolated = best["tuples, small"] * 2 ** (generations - small)
    return {
        "edges": 2**generations,
        "seconds_growth_arrays": best["arrays"],
        "seconds_growth_tuples_extrapolated": extrapolated,
        "ratio_growth": extrapolated / best["arrays"],
        "million_edges_per_second": 2**generations / best["arrays"] / 1e6,
        "megabytes_growth": (2**generations * 2 * 8 + 2**generations * 2 * 8) / 1e6,
    }


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--observers", type=int, default=10_000)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--sample", type=int, default=200, help="observers that the numpy loop is timed on")
    parser.add_argument("--spins", type=int, nargs="+", default=[16, 20, 22])
    parser.add_argument("--generations", type=int, default=20)
    parser.add_argument("--small", type=int, default=13, help="generations that the engine of tuples is timed on")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--write", action="store_true", help="write results/good-regulator/observers-<device>.json")
    options = parser.parse_args(arguments)
    device = torch.device(options.device)
    torch.set_num_threads(1)
    record = Record("observers", arguments, device)
    values = {"observers": options.observers, "steps": options.steps}
    values |= learning(options.observers, options.steps, options.sample, options.rounds, device)
    values |= fisher(options.spins, options.rounds, device)
    values |= growth(options.generations, options.small, options.rounds, device)
    values["peak_process_megabytes"] = timing.peak_process_megabytes()
    if device.type == "cuda":
        values["peak_gpu_megabytes"] = torch.cuda.max_memory_allocated() / 1e6
    print(json.dumps(values, indent=2))
    if options.write:
        record.write(
            "good-regulator",
            f"observers-{device.type}",
            values,
            seeds=[SEED],
            note=(
                f"float64; numpy loop extrapolated from {options.sample} observers, tuples from {2**options.small} "
                f"edges; best of {options.rounds} rounds, {'CPU time' if device.type == 'cpu' else 'wall time'}"
            ),
        )


if __name__ == "__main__":
    main()
