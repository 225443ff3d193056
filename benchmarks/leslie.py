"""A million competing age-structured populations: numpy one by one, numpy batched, and ours, in one run.

    python -m benchmarks.leslie --write               # CPU, one thread, writes results/leslie/ensemble-cpu.json
    python -m benchmarks.leslie --device cuda --write # GPU against the batched numpy of the same machine

Every contender takes the same float32 matrices and states and returns the direction of the state after the last step.
Before anything is timed, the results are compared with float64. The contenders then take turns; the best round counts.
The loop over systems is timed on a sample and reported per system, extrapolated to the whole.
"""

from __future__ import annotations

import argparse
import json
import time

import numpy as np
import torch

from benchmarks.report import Record
from benchmarks.timing import peak_process_megabytes
from lib import leslie

CLASSES = 3
SEED = 0


def numpy_loop(M: np.ndarray, z0: np.ndarray, steps: int) -> np.ndarray:
    """One system after the other, one small matrix product a step."""
    found = np.empty_like(z0)
    for system in range(len(M)):
        one, z = M[system], z0[system]
        for _ in range(steps):
            z = np.maximum(one @ z, 0)
            z = z / max(np.abs(z).max(), 1e-38)
        found[system] = z
    return found


def numpy_batched(M: np.ndarray, z0: np.ndarray, steps: int) -> np.ndarray:
    """All systems at once: einsum, with every array made once."""
    z, after = z0.copy(), np.empty_like(z0)
    for count in range(1, steps + 1):
        np.einsum("bij,bj->bi", M, z, out=after)
        np.maximum(after, 0, out=after)
        if count % 8 == 0 or count == steps:
            after /= np.maximum(np.abs(after).max(axis=1, keepdims=True), 1e-38)
        z, after = after, z
    return z


def numpy_chunked(M: np.ndarray, z0: np.ndarray, steps: int, chunk: int = 8192) -> np.ndarray:
    """The same einsum on pieces that stay in the cache: what a careful numpy user would do."""
    pieces = [numpy_batched(M[at : at + chunk], z0[at : at + chunk], steps) for at in range(0, len(M), chunk)]
    return np.concatenate(pieces)


def ours(M: torch.Tensor, z0: torch.Tensor, steps: int) -> torch.Tensor:
    """The book's march; waits for the GPU."""
    found = leslie.march(M, z0, steps, clip=True)
    if found.is_cuda:
        torch.cuda.synchronize()
    return found


def seconds_of(call) -> tuple[float, object]:
    start = time.perf_counter()
    value = call()
    return time.perf_counter() - start, value


def check(M: torch.Tensor, z0: torch.Tensor, steps: int, device: torch.device) -> dict[str, float]:
    """Largest error of each contender against float64, over systems that are not near a tie."""
    reference = leslie.march(M.double(), z0.double(), steps, clip=True).numpy()
    found = {
        "numpy_loop": numpy_loop(M.numpy(), z0.numpy(), steps),
        "numpy_batched": numpy_batched(M.numpy(), z0.numpy(), steps),
        "ours": ours(M.to(device), z0.to(device), steps).cpu().numpy(),
    }
    errors = {name: np.abs(value - reference).max(axis=1) for name, value in found.items()}
    # A system within rounding of the tie may fall on either side in float32; there are at most a few in ten thousand.
    for name, error in errors.items():
        astray = float((error > 1e-3).mean())
        print(f"  {name:14s} median error {np.median(error):.1e}, off by more than 1e-3: {astray:.2%}")
        if astray > 0.005:
            raise SystemExit(f"{name} is wrong")
    return {name: float(np.median(error)) for name, error in errors.items()}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--systems", type=int, default=1_000_000)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sample", type=int, default=300, help="systems that the numpy loop is timed on")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--write", action="store_true", help="write results/leslie/ensemble-<device>.json")
    options = parser.parse_args(arguments)
    device = torch.device(options.device)
    torch.set_num_threads(1)
    record = Record("leslie", arguments, device)

    A, B, C, D, x0, y0 = leslie.random_competition(
        options.systems, CLASSES, torch.Generator().manual_seed(SEED), torch.float32
    )
    M = leslie.block_matrix(A, B, C, D, kind="competition")
    z0 = torch.cat([x0, y0], dim=-1)
    del A, B, C, D, x0, y0
    print(f"{options.systems} systems of 2 x {CLASSES} classes, {options.steps} steps, clipped, float32")
    print("errors against float64, first 2000 systems")
    errors = check(M[:2000], z0[:2000], options.steps, device)

    there = M.to(device), z0.to(device)
    few = M[: options.sample].numpy(), z0[: options.sample].numpy()
    contenders = {
        "numpy_loop": lambda: numpy_loop(*few, options.steps),
        "numpy_batched": lambda: numpy_batched(M.numpy(), z0.numpy(), options.steps),
        "numpy_chunked": lambda: numpy_chunked(M.numpy(), z0.numpy(), options.steps),
        "ours": lambda: ours(*there, options.steps),
        "ours_whole_experiment": lambda: leslie.standing_ensemble(
            options.systems, CLASSES, options.steps, seed=SEED, device=device
        ),
    }
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for round_ in range(options.rounds):
        for name, call in contenders.items():
            seconds, value = seconds_of(call)
            if name == "numpy_loop":
                seconds *= options.systems / options.sample
            times[name].append(seconds)
            print(f"round {round_ + 1} of {options.rounds}: {name:22s} {seconds:10.2f} s", flush=True)
            if name == "ours_whole_experiment":
                ensemble = value
    best = {name: min(taken) for name, taken in times.items()}
    chunk = 8192 if device.type == "cpu" else options.systems
    size = 2 * CLASSES
    values = {
        "systems": options.systems,
        "steps": options.steps,
        "seconds_numpy_loop_extrapolated": best["numpy_loop"],
        "seconds_numpy_batched": best["numpy_batched"],
        "seconds_numpy_chunked": best["numpy_chunked"],
        "seconds_ours": best["ours"],
        "seconds_whole_experiment": best["ours_whole_experiment"],
        "ratio_to_numpy_loop": best["numpy_loop"] / best["ours"],
        "ratio_to_numpy_batched": best["numpy_batched"] / best["ours"],
        "ratio_to_numpy_chunked": best["numpy_chunked"] / best["ours"],
        "median_error_ours": errors["ours"],
        "input_megabytes": (M.numel() + z0.numel()) * 4 / 1e6,
        "work_megabytes": (size + 3) * size * chunk * 4 / 1e6,
        "peak_process_megabytes": peak_process_megabytes(),
        "linear_agrees": ensemble.linear_agrees / ensemble.systems,
        "clipped_agrees": ensemble.clipped_agrees / ensemble.systems,
        "undecided": ensemble.undecided / ensemble.systems,
        "overturned_by_margin": (ensemble.overturned / ensemble.drawn.clamp(min=1)).tolist(),
    }
    if device.type == "cuda":
        values["peak_gpu_megabytes"] = torch.cuda.max_memory_allocated() / 1e6
    print(json.dumps(values, indent=2))
    print(
        f"ours: {values['ratio_to_numpy_batched']:.1f} x numpy batched, {values['ratio_to_numpy_chunked']:.1f} x the "
        f"same in chunks, {values['ratio_to_numpy_loop']:.0f} x the numpy loop (loop: {options.sample} systems, "
        f"{1e6 * best['numpy_loop'] / options.systems:.0f} us a system, extrapolated)"
    )
    if options.write:
        record.write(
            "leslie",
            f"ensemble-{device.type}",
            values,
            seeds=[SEED],
            note=f"float32; numpy loop extrapolated from {options.sample} systems; best of {options.rounds} rounds",
        )


if __name__ == "__main__":
    main()
