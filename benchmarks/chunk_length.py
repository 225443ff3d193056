"""How fast the chunked scan is by the length of its chunks, as a multiple of the loop over tokens.

    taskset -c 0 python -m benchmarks.chunk_length --write    # writes results/mamba3/chunk-length-cpu.json

Every length is first compared with the loop in float64. Then all take turns in one process and the median round counts,
in processor time.
"""

from __future__ import annotations

import argparse
import json
import math
from functools import partial

import torch
from torch.nn.functional import softplus

from benchmarks.report import Record
from benchmarks.timing import race
from lib.ssm import costs, scan

BATCH, TIME, HEADS, WIDTH, CELLS = 1, 1024, 4, 16, 16
LENGTHS = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024]


def inputs() -> tuple[torch.Tensor, ...]:
    """x, dt, A, B, C, lam, theta in float64."""
    normal = partial(torch.randn, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    steps = BATCH, TIME, HEADS
    return (
        normal(*steps, WIDTH),
        softplus(normal(*steps)),
        -normal(*steps).exp(),
        normal(*steps, CELLS),
        normal(*steps, CELLS),
        normal(*steps).sigmoid(),
        math.pi * normal(*steps, CELLS // 2).tanh(),
    )


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--write", action="store_true", help="write results/mamba3/chunk-length-cpu.json")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    record = Record("chunk_length", arguments)
    exact = inputs()
    wanted, _ = scan.scan_sequential(*exact)
    given = [part.float() for part in exact]
    for length in LENGTHS:
        found, _ = scan.scan_chunked(*exact, chunk_length=length)
        error = float((found - wanted).abs().max() / wanted.abs().max())
        if error > 1e-12:
            raise RuntimeError(f"chunks of {length} differ from the loop by {error:.1e}")
    contenders = {str(length): partial(scan.scan_chunked, *given, chunk_length=length) for length in LENGTHS}
    with torch.no_grad():
        seconds = race(
            contenders | {"loop": partial(scan.scan_sequential, *given)}, options.rounds, torch.device("cpu")
        )
    values = {
        "chunk_lengths": LENGTHS,
        "speed_over_loop": [seconds["loop"] / seconds[str(length)] for length in LENGTHS],
        "milliseconds": [1e3 * seconds[str(length)] for length in LENGTHS],
        "milliseconds_loop": 1e3 * seconds["loop"],
        "operations": [float(costs.scan_flops(TIME, CELLS, WIDTH, length) * HEADS) for length in LENGTHS],
    }
    print(json.dumps(values, indent=2))
    if options.write:
        record.write(
            "mamba3",
            "chunk-length-cpu",
            values,
            seeds=[0],
            note=f"forward, float32, {TIME} tokens, {HEADS} heads of width {WIDTH} with {CELLS} cells; processor time, "
            f"median of {options.rounds} rounds",
        )


if __name__ == "__main__":
    main()
