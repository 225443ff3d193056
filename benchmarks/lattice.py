"""Large lattices on one core or one GPU, beside numpy, eager torch and the copy of as many bytes, in one run.

    python -m benchmarks.lattice --write                # CPU, one pinned core, writes results/lattice/field-cpu.json
    python -m benchmarks.lattice --device cuda --write  # GPU, also 4096 x 4096 sites for 10 000 steps: field-cuda.json
    python -m benchmarks.lattice --quick                # small lattices, to see that it works

Contenders take the same float32 fields. Before anything is timed each is compared with float64; then they take turns,
and the median round counts: processor time on a CPU (what neighbours on the machine take does not count), wall time
after a synchronisation on a GPU. Peers that nobody would run to the end are timed on a part and extrapolated.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from functools import partial

import numpy as np
import torch
from torch import Tensor

from benchmarks import lattice_peers as peers
from benchmarks import timing
from benchmarks.lattice_peers import COUPLING, DT, MIXING, UPDATED
from benchmarks.report import Record
from lib import kuramoto, lattice_field, site_clocks
from lib.progress import ProgressBar

SEED = 0
# Mean field: oscillators, steps of Heun's method (T = 60).
OSCILLATORS, HEUN_STEPS = 2000, 1200


def apart(found, wanted: Tensor) -> float:
    """Largest distance of phases on the circle, or of numbers when they are small."""
    found = torch.as_tensor(found).cpu().double()
    return float(torch.remainder(found - wanted.cpu() + math.pi, 2 * math.pi).sub(math.pi).abs().amax())


def check(name: str, found, wanted: Tensor, allowed: float = 1e-5) -> float:
    error = apart(found, wanted)
    print(f"  {name:28s} off from float64 by {error:.1e}", flush=True)
    if not error <= allowed:
        raise SystemExit(f"{name} is wrong")
    return error


def steps_at(side: int, device: torch.device, rounds: int) -> dict[str, float]:
    """Times of one step of every contender on a lattice of a side, in milliseconds, after a comparison with float64."""
    # The arrays are numpy's on a CPU, which asks the system for large pages: all contenders gain from that.
    theta, omega, out, counts = (
        torch.from_numpy(np.zeros((side, side), dtype)).to(device) for dtype in (*3 * [np.float32], np.int32)
    )
    theta.copy_(lattice_field.initial_phases(side, SEED, dtype=torch.float32))
    omega.copy_(lattice_field.natural_frequencies(side, SEED, dtype=torch.float32))
    clocks = site_clocks.site_clocks(UPDATED, SEED, side, device=device)
    engines = ["torch"] if device.type == "cuda" else ["torch", "numba"]
    ticks = iter(range(2**31))

    diffusion = {"eager torch": partial(peers.eager_diffusion, theta)}
    phases = {"eager torch": partial(peers.eager_kuramoto, theta, omega)}
    some = {"eager torch": partial(peers.eager_asynchronous, theta, omega)}
    copy = {"copy": lambda: out.copy_(theta)}
    if device.type == "cpu":
        arrays = theta.numpy(), omega.numpy()
        generator = np.random.default_rng(SEED)
        copy = {"copy": lambda: np.copyto(out.numpy(), arrays[0])}
        diffusion["numpy"] = lambda: peers.numpy_diffusion(arrays[0])
        phases["numpy"] = lambda: peers.numpy_kuramoto(*arrays)
        some["numpy"] = lambda: peers.numpy_asynchronous(*arrays, generator)
    for engine in engines:
        diffusion[engine] = partial(lattice_field.diffusion_step, theta, MIXING, out, engine=engine)
        phases[engine] = partial(lattice_field.kuramoto_field_step, theta, omega, COUPLING, DT, out=out, engine=engine)
        some[engine] = lambda engine=engine: lattice_field.kuramoto_field_step(
            theta, omega, COUPLING, DT, clocks, next(ticks), out, counts, engine=engine
        )

    print(f"{side} x {side}, float32")
    wide = theta.double()
    mixed = peers.eager_diffusion(wide)
    stepped = peers.eager_kuramoto(wide, omega.double())
    for name, call in diffusion.items():
        check(f"diffusion, {name}", call(), mixed)
    for name, call in phases.items():
        check(f"Kuramoto, {name}", call(), stepped)
    chosen = torch.where(clocks.mask(0)[0], stepped, wide)
    for engine in engines:
        found = lattice_field.kuramoto_field_step(theta, omega, COUPLING, DT, clocks, engine=engine)
        check(f"asynchronous, {engine}", found, chosen)
    del wide, mixed, stepped, chosen, found

    named = dict(copy)
    for kind, contenders in (("diffusion", diffusion), ("Kuramoto", phases), ("asynchronous", some)):
        named |= {f"{kind}, {name}": call for name, call in contenders.items()}
    times = timing.race(named, rounds, device)
    for name, taken in times.items():
        print(f"  {name:28s} {1e3 * taken:9.2f} ms {side * side / taken / 1e6:8.0f} M sites/s", flush=True)
    return times


def step_values(side: int, times: dict[str, float]) -> dict[str, float]:
    """What is written about the steps at one side."""
    copy = times["copy"]
    values = {f"copy_gigabytes_per_second_{side}": 8 * side * side / copy / 1e9}
    for name, taken in times.items():
        if name != "copy":
            label = name.replace(", ", "_").replace(" ", "_").lower()
            values[f"{label}_million_sites_per_second_{side}"] = side * side / taken / 1e6
            values[f"{label}_times_copy_{side}"] = taken / copy
    ours = "numba" if "Kuramoto, numba" in times else "torch"
    for kind in ("diffusion", "Kuramoto", "asynchronous"):
        for peer in ("numpy", "eager torch"):
            if f"{kind}, {peer}" in times:
                label = f"{kind.lower()}_{ours}_speedup_over_{peer.replace(' ', '_')}_{side}"
                values[label] = times[f"{kind}, {peer}"] / times[f"{kind}, {ours}"]
    return values


def bars(side: int, times: dict[str, float]) -> dict[str, bool]:
    """The bars of the lattices on one core, at the largest lattice."""
    copy = times["copy"]
    found = {
        "diffusion_numba_at_most_1.5_copy": times["diffusion, numba"] <= 1.5 * copy,
        "diffusion_torch_at_most_5_copy": times["diffusion, torch"] <= 5 * copy,
        "kuramoto_numba_at_most_6_copy": times["Kuramoto, numba"] <= 6 * copy,
        "kuramoto_numba_at_least_10_numpy": times["Kuramoto, numpy"] >= 10 * times["Kuramoto, numba"],
        "asynchronous_numba_at_least_10_eager_torch": (
            times["asynchronous, eager torch"] >= 10 * times["asynchronous, numba"]
        ),
    }
    for name, holds in found.items():
        print(f"  {'holds' if holds else 'FAILS'}: {name.replace('_', ' ')}, at {side} x {side}")
    return found


def mean_field(rounds: int, oscillators: int, steps: int) -> dict[str, float]:
    """Kuramoto's mean field: seconds for a whole run; pairs and loops are timed on one evaluation of the velocities."""
    device = torch.device("cpu")
    K = 2.0
    omega = kuramoto.frequency_quantiles(oscillators, "lorentz", 0.5)
    theta = lattice_field.initial_phases((1, oscillators), SEED)[0]
    arrays = theta.numpy(), omega.numpy()
    lists = theta.tolist(), omega.tolist()
    some = min(oscillators, 20)
    wanted = torch.tensor(peers.python_pairs(*lists, K, some), dtype=torch.float64)
    print(f"mean field, {oscillators} oscillators, {steps} steps of Heun's method, float64")
    for name, call in (
        ("numpy loop", peers.numpy_loop),
        ("numpy pairs", peers.numpy_pairs),
        ("numpy mean field", peers.numpy_mean_field),
    ):
        check(name, call(*arrays, K)[:some], wanted, 1e-9)
    dt = 1e-6
    moved = kuramoto.kuramoto_step(K, omega, dt, theta)
    check("ours", ((moved - theta) / dt)[:some], wanted, 1e-3)

    def numpy_run() -> None:
        phase = arrays[0]
        for _ in range(steps):
            first = peers.numpy_mean_field(phase, arrays[1], K)
            second = peers.numpy_mean_field(phase + DT * first, arrays[1], K)
            phase = phase + DT / 2 * (first + second)

    times = timing.race(
        {
            "python pairs": lambda: peers.python_pairs(*lists, K, some),
            "numpy loop": lambda: peers.numpy_loop(*arrays, K),
            "numpy pairs": lambda: peers.numpy_pairs(*arrays, K),
            "numpy mean field": numpy_run,
            "ours": lambda: kuramoto.kuramoto(K, omega, steps, DT, theta, keep="last"),
        },
        min(rounds, 3),
        device,
    )
    times["python pairs"] *= oscillators / some
    for name in ("python pairs", "numpy loop", "numpy pairs"):
        times[name] *= 2 * steps
    for name, taken in times.items():
        print(f"  {name:28s} {taken:9.2f} s{' (extrapolated)' if 'pairs' in name or 'loop' in name else ''}")
    values = {f"mean_field_seconds_{name.replace(' ', '_')}": taken for name, taken in times.items()}
    return values | {
        f"mean_field_speedup_over_{name.replace(' ', '_')}": taken / times["ours"]
        for name, taken in times.items()
        if name != "ours"
    }


def whole_run(side: int, steps: int, device: torch.device, looks: int) -> dict[str, float]:
    """A run with per-site clocks, watched on the way; its rate by processor time on a CPU, by the wall on a GPU."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    bar, marks = ProgressBar("steps"), []

    def progress(done: int, total: int) -> None:
        marks.append(time.process_time())
        bar(done, total)

    lattice_field.simulate(32, 1, clock_ratio=10, device=device, progress=None)  # compiles, checks the device
    run = lattice_field.simulate(
        side,
        steps,
        coupling=COUPLING,
        dt=DT,
        clock_ratio=10,
        start_width=0.2 * math.pi,
        seed=SEED,
        observe_every=max(1, steps // looks),
        device=device,
        progress=progress,
    )
    busy = marks[-1] - marks[0]
    rate = side * side * steps / (busy if device.type == "cpu" else run.seconds) / 1e6
    print(
        f"{side} x {side} sites with clocks, {steps} steps, {run.engine}: {run.seconds:.1f} s by the wall, "
        f"{busy:.1f} s of the processor, {rate:.0f} M sites/s, "
        f"r = {run.order[-1]:.4f}, {run.vortices[-1]} vortices"
    )
    label = f"{side}_{steps}_steps"
    values = {
        f"run_{label}_seconds": run.seconds,
        f"run_{label}_processor_seconds": busy,
        f"run_{label}_million_sites_per_second": rate,
        f"run_{label}_order": run.order.tolist(),
        f"run_{label}_vortices": run.vortices.tolist(),
        f"run_{label}_mean_local_time": int(run.ticks.sum()) / run.ticks.numel(),
    }
    if device.type == "cuda":
        values[f"run_{label}_megabytes_measured"] = torch.cuda.max_memory_allocated() / 1e6
        stated = lattice_field.memory(side, own_rates=True, device=device)
        values[f"run_{label}_megabytes_stated"] = stated / 1e6
    return values


def peak(case: str, side: int) -> float:
    """Peak resident megabytes above rest of one case, in this process, which has done nothing else (Linux)."""
    cases = {
        "run, numba": partial(lattice_field.simulate, clock_ratio=10, steps=3, progress=None, observe_every=3),
        "run, torch": partial(
            lattice_field.simulate, clock_ratio=10, steps=3, progress=None, observe_every=3, engine="torch"
        ),
    }
    steps = {"step, numpy": peers.numpy_kuramoto, "step, eager torch": peers.eager_kuramoto}

    if case in steps:
        fields = [torch.full((side, side), value) for value in (0.5, 0.1)]
        arguments = [field.numpy() for field in fields] if "numpy" in case else fields
        call = partial(steps[case], *arguments)
    else:
        cases[case](32)
        call = partial(cases[case], side)
    return timing.peak_bytes(call) / 1e6


def peaks(side: int) -> dict[str, float]:
    """Peak memory of fresh processes, beside what :func:`lib.lattice_field.memory` states."""
    values = {}
    for case in ("run, numba", "run, torch", "step, numpy", "step, eager torch"):
        label = case.replace(", ", "_").replace(" ", "_")
        values[f"peak_megabytes_{label}_{side}"] = timing.printed_by_fresh_process(
            "lattice", "--peak", case, "--sides", side
        )
        stated = ""
        if case.startswith("run"):
            engine = case.split()[-1]
            expected = lattice_field.memory(side, own_rates=True, engine=engine) / 1e6
            values[f"stated_megabytes_{label}_{side}"] = expected
            stated = f", stated {expected:.0f} MB"
        print(f"  {case:28s} {values[f'peak_megabytes_{label}_{side}']:9.0f} MB at {side} x {side}{stated}", flush=True)
    return values


def measure(options: argparse.Namespace, device: torch.device) -> dict:
    cpu = device.type == "cpu"
    sides = options.sides or ([64, 128] if options.quick else [1024, 4096])
    values = {}
    for side in sides:
        times = steps_at(side, device, options.rounds)
        values |= step_values(side, times)
    if cpu:
        values |= {} if options.quick else bars(sides[-1], times)
        values |= mean_field(options.rounds, *((200, 50) if options.quick else (OSCILLATORS, HEUN_STEPS)))
        runs = [(64, 50, 5)] if options.quick else [(1024, 1000, 10), (4096, 40, 2)]
    else:
        runs = [(64, 50, 5)] if options.quick else [(1024, 1000, 10), (4096, 10_000, 100)]
    for side, steps, looks in runs:
        values |= whole_run(side, steps, device, looks)
    if cpu:
        values |= peaks(sides[-1])
    return values


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sides", type=int, nargs="*", help="1024 and 4096 by default")
    parser.add_argument("--quick", action="store_true", help="small lattices, to see that it works")
    parser.add_argument("--write", action="store_true", help="write the run to results/lattice")
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    device = torch.device(options.device)
    timing.keep_to_one_core(device)
    if options.peak:
        print(peak(options.peak, options.sides[0]))
        return
    record = Record("lattice", arguments, device)
    values = measure(options, device)
    print(json.dumps(values, indent=2))
    if options.write:
        record.write(
            "lattice",
            f"field-{device.type}",
            values,
            seeds=[SEED],
            note=f"float32; one core, median of {options.rounds} rounds; loops over pairs extrapolated",
        )


if __name__ == "__main__":
    main()
