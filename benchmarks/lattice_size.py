"""Does a lattice of locally coupled oscillators keep its order as it grows? Order parameter against side and time.

    python -m benchmarks.lattice_size --write                # writes results/lattice/finite-size-cpu.json
    python -m benchmarks.lattice_size --device cuda --write  # up to 2048 x 2048: results/lattice/finite-size-cuda.json

Normal frequencies of standard deviation 0.2, K / 4 through each neighbour, phases that start within 0.2 pi; synchronous
Euler steps of 0.05; mean and standard deviation over the seeds 0, 1, ... of each size.
"""

from __future__ import annotations

import argparse
import json
import math

import torch

from benchmarks.report import Record
from lib import lattice_field

DT = 0.05
COUPLINGS = (0.5, 2.0)
REPLICAS = {16: 64, 64: 16, 256: 8, 1024: 2, 2048: 2}


def order_against_size(sides: list[int], times: list[int], device: torch.device) -> dict[str, list[float]]:
    """Order parameter and vortices at some times, one entry a side."""
    values = {"sides": sides, "replicas": [REPLICAS[side] for side in sides]}
    for K in COUPLINGS:
        for side in sides:
            run = lattice_field.simulate(
                side,
                round(times[-1] / DT),
                coupling=K,
                dt=DT,
                frequency_spread=0.2,
                start_width=0.2 * math.pi,
                seed=range(REPLICAS[side]),
                observe_every=round(math.gcd(*times) / DT),
                device=device,
            )
            for until in times:
                seen = run.observed.tolist().index(round(until / DT))
                order, defects = run.order[:, seen], run.vortices[:, seen].double()
                label = f"K{K:g}_T{until}"
                values.setdefault(f"order_{label}", []).append(float(order.mean()))
                values.setdefault(f"order_spread_{label}", []).append(float(order.std()))
                values.setdefault(f"vortices_per_1000_sites_{label}", []).append(1000 * float(defects.mean()) / side**2)
                print(
                    f"K = {K:g}, T = {until}, {side} x {side}: r = {order.mean():.3f} +- {order.std():.3f}", flush=True
                )
    return values


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--quick", action="store_true", help="small lattices, to see that it works")
    parser.add_argument("--write", action="store_true", help="write results/lattice/finite-size-<device>.json")
    options = parser.parse_args(arguments)
    device = torch.device(options.device)
    torch.set_num_threads(1)
    record = Record("lattice_size", arguments, device)
    largest = 64 if options.quick else 1024 if device.type == "cpu" else 2048
    sides = [side for side in REPLICAS if side <= largest]
    values = order_against_size(sides, [10, 20] if options.quick else [100, 500], device)
    print(json.dumps(values, indent=2))
    if options.write:
        record.write(
            "lattice",
            f"finite-size-{device.type}",
            values,
            seeds=list(range(max(values["replicas"]))),
            note=f"float32, Euler steps of {DT}; spread: standard deviation over the seeds of a size",
        )


if __name__ == "__main__":
    main()
