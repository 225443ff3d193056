"""Size times data of a small character language model on the CPU, and how far its own scaling law can be trusted.

    taskset -c 0 python -m benchmarks.scaling_sweep --write    # writes results/scaling-laws/char-lm-cpu.json

Every compute budget C is spent on several sizes N, each with the D = C / 6N characters that are left for it, read once:
an IsoFLOP curve has its minimum at the size that the budget suits best. The largest budget is held out: it is trained
once, to compare with what the others forecast. The sweep streams into a table and goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import platform
from pathlib import Path

import numpy as np

from benchmarks.report import Record
from lib.char_scaling import char_model, source_split
from lib.sweep import Sweep, run

# Widths around the best size of each budget (FLOP), found with a few runs of the smaller budgets.
GRID = {
    2.5e10: (8, 12, 16, 24, 32),
    5e10: (8, 12, 16, 24, 32, 48),
    1e11: (12, 16, 24, 32, 48, 64),
    2e11: (16, 24, 32, 48, 64, 96),
    4e11: (16, 24, 32, 48, 64, 96),
    8e11: (24, 32, 40, 48, 64, 96),
}
HELD_OUT = {1.6e12: (40, 48, 64)}
SEEDS = 2


def sweep(grid: dict[float, tuple[int, ...]], seeds: int) -> Sweep:
    """Description of the runs of several budgets."""
    points = [{"width": width, "budget": budget} for budget, widths in grid.items() for width in widths]
    return Sweep(char_model, points, seeds=seeds, seeding="shared")


def values(fitted: dict[str, np.ndarray], held_out: dict[str, np.ndarray]) -> dict[str, float | list[float]]:
    """Columns of both tables as lists, the held-out runs under names of their own."""
    kept = ("width", "budget", "parameters", "all_parameters", "tokens", "flops", "seed", "loss")
    columns = {name: fitted[name].tolist() for name in kept}
    return columns | {f"held_out_{name}": held_out[name].tolist() for name in kept}


def report(columns: dict[str, np.ndarray]) -> None:
    """Print the loss of every size of every budget, mean and range over the seeds."""
    for budget in np.unique(columns["budget"]):
        print(f"C = {budget:.3g}")
        for width in np.unique(columns["width"][columns["budget"] == budget]):
            here = (columns["budget"] == budget) & (columns["width"] == width)
            losses = columns["loss"][here]
            sizes = f"N = {columns['parameters'][here][0]:7.0f}, D = {columns['tokens'][here][0]:9.0f}"
            print(f"  width {width:3.0f}, {sizes}: {losses.mean():.4f} nats, seeds differ by {np.ptp(losses):.4f}")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=Path, default=Path("_build/sweeps"), help="folder of the tables")
    parser.add_argument("--backend", default="joblib", help="serial, joblib, dask or the address of a dask scheduler")
    parser.add_argument("--workers", type=int, default=1, help="points computed at once")
    parser.add_argument("--write", action="store_true", help="write results/scaling-laws/char-lm-cpu.json")
    options = parser.parse_args(arguments)
    record = Record("scaling_sweep", arguments)
    options.tables.mkdir(parents=True, exist_ok=True)
    found = {}
    for name, description in {"char-lm": sweep(GRID, SEEDS), "char-lm-held-out": sweep(HELD_OUT, 1)}.items():
        table = options.tables / f"{name}.jsonl"
        held = run(description, table, backend=options.backend, workers=options.workers)
        if not held.complete:
            raise SystemExit(f"{name}: {len(held.failed)} points failed, {len(held.finished)} of {held.total} done")
        found[name] = held.columns()
        report(found[name])
    if options.write:
        split = source_split()
        record.write(
            "scaling-laws",
            "char-lm-cpu",
            values(found["char-lm"], found["char-lm-held-out"]),
            seconds=sum(float(columns["seconds"].sum()) for columns in found.values()),
            seeds=list(range(SEEDS)),
            note=f"transformer of depth 2, context 64, batches of 8 windows, float32; loss in nats "
            f"per character; N without embeddings, C = 6 N D in FLOP; text of the standard library of Python "
            f"{platform.python_version()}: {split.train.numel()} characters for training, "
            f"{split.validation.numel()} for validation",
        )


if __name__ == "__main__":
    main()
