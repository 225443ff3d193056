"""State-space scans and decode steps beside their peers, in one run on one thread.

    taskset -c 0 python -m benchmarks.ssm --write     # writes results/mamba3/ssm-cpu.json
    python -m benchmarks.ssm --device cuda --write    # writes results/mamba3/ssm-cuda.json
    python -m benchmarks.ssm --quick                  # short sequences, to see that it works

Before anything is timed every contender is compared with a loop in float64, gradients included. Then they take turns in
one process and the median round counts: processor time on a CPU (what neighbours on the machine take does not count),
events of the device on a GPU. Peak memory is that of fresh processes, above what they hold before the work. Peers that
are not installed (mambapy, jax; on a GPU mamba_ssm, fla) are named and left out.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks import ssm_cuda, ssm_decode
from benchmarks import ssm_peers as peers
from benchmarks.report import Record
from benchmarks.ssm_cases import (
    MAMBA3_CONTENDERS,
    SEED,
    SSD_CONTENDERS,
    check,
    forward,
    gradient,
    mamba3_inputs,
    selective_contenders,
    selective_inputs,
    ssd_inputs,
)
from benchmarks.timing import CPU, Bars, keep_to_one_core, peak_bytes, printed_by_fresh_process, race
from lib.ssm import mimo

RANK = 4
# What the bars are about: batch, time, channels, state.
FIRST, SECOND = (4, 1024, 64, 64), (4, 1024, 256, 16)
SSD, MAMBA3 = (4, 1024, 256, 64), (4, 1024, 128, 64)
CONTEXTS = (256, 1024, 4096, 16384, 65536)
NOTE = (
    "float32; processor time of one core, median of {rounds} rounds; checks of the arguments included in ours; peak "
    "memory of forward and backward in fresh processes"
)
SLOW = ("loop", "parallel")


def times(
    group: str, ways: dict[str, Callable], arguments: tuple[Tensor, ...], rounds: int, without: tuple = ()
) -> dict[str, dict[str, float]]:
    """Median seconds of forward and of forward and backward together, by contender."""
    dy = torch.randn(arguments[0].shape, generator=torch.Generator().manual_seed(SEED + 1))
    calls = {
        "forward": {name: forward(way, arguments) for name, way in ways.items() if name not in without},
        "gradient": {name: gradient(way, arguments, dy) for name, way in ways.items() if name not in without},
    }
    if group.startswith("selective") and peers.INSTALLED["jax"]:
        calls["forward"]["jax"], calls["gradient"]["jax"] = peers.jax_scan(arguments, dy)
    taken = {}
    for kind, those in calls.items():
        # What takes seconds is timed once, by itself.
        slow = {name: those.pop(name) for name in SLOW if name in those}
        taken[kind] = race(slow, 1, CPU) | race(those, rounds, CPU)
    for name in taken["forward"]:
        each = "  ".join(f"{kind} {1e3 * taken[kind][name]:9.2f} ms" for kind in taken)
        print(f"  {group:22s} {name:12s} {each}", flush=True)
    return taken


def time_values(group: str, taken: dict[str, dict[str, float]]) -> dict[str, float]:
    return {
        f"{group}_{kind}_milliseconds_{name}": 1e3 * seconds
        for kind, each in taken.items()
        for name, seconds in each.items()
    }


def peak(case: str, shape: tuple[int, ...]) -> float:
    """Peak resident MiB of one gradient above rest, in this process, which has done nothing else (Linux)."""
    group, name = case.split(",")
    makers = {
        "selective": (selective_inputs, selective_contenders),
        "ssd": (ssd_inputs, lambda: SSD_CONTENDERS),
        "mamba3": (mamba3_inputs, lambda: MAMBA3_CONTENDERS),
    }
    make, contenders = makers[group]

    def prepared(*sizes: int) -> Callable:
        arguments = make(*sizes)
        dy = torch.ones(arguments[0].shape)
        if name == "jax":
            return peers.jax_scan(arguments, dy)[1]
        return gradient(contenders()[name], arguments, dy)

    prepared(1, 128, 64, 16)()
    return peak_bytes(prepared(*shape)) / 2**20


def peaks(cases: list[tuple[str, tuple[int, ...]]]) -> dict[str, float]:
    """Peak memory of fresh processes."""
    values = {}
    for case, shape in cases:
        label = f"{case.replace(',', '_peak_mebibytes_')}_{'x'.join(map(str, shape))}"
        values[label] = printed_by_fresh_process("ssm", "--peak", case, "--shape", *shape)
        print(f"  peak {case:24s} {values[label]:9.0f} MiB at {shape}", flush=True)
    return values


def measure(options: argparse.Namespace) -> dict:
    quick = options.quick
    rounds = 1 if quick else options.rounds
    selective_ways = selective_contenders()
    for name, there in peers.INSTALLED.items():
        if name in ("mambapy", "jax") and not there:
            print(f"{name} is not installed: left out")
    print("largest difference from float64, gradients included, by norm")
    values = {
        "selective_gap": check("selective", selective_ways, selective_inputs, (2, 128, 8, 16), "loop"),
        "ssd_gap": check("ssd", SSD_CONTENDERS, ssd_inputs, (2, 128, 128, 16), "loop"),
        "mamba3_gap": check("mamba3", MAMBA3_CONTENDERS, mamba3_inputs, (2, 128, 128, 16), "quadratic"),
    }
    bars = Bars()

    def shortened(shape: tuple[int, ...], time: int | None = None) -> tuple[int, ...]:
        return (1, 128, *shape[2:]) if quick else (shape[0], time or shape[1], *shape[2:])

    print("processor time")
    first = times("selective", selective_ways, selective_inputs(*shortened(FIRST)), rounds)
    second = times("selective_wide", selective_ways, selective_inputs(*shortened(SECOND)), rounds, without=("loop",))
    ssd = times("ssd", SSD_CONTENDERS, ssd_inputs(*shortened(SSD)), rounds, without=("loop",))
    three = times("mamba3", MAMBA3_CONTENDERS, mamba3_inputs(*shortened(MAMBA3)), rounds)
    # Lengths and ranks against the shorter and the simpler scan, in turns with it.
    lengths = {time: mamba3_inputs(*shortened(MAMBA3, time)) for time in (1024, 4096)}
    grown = race({time: forward(MAMBA3_CONTENDERS["ours"], each) for time, each in lengths.items()}, rounds, CPU)
    ranked = mimo_times(shortened(MAMBA3), rounds)
    for group, taken in (("selective", first), ("selective_wide", second), ("ssd", ssd), ("mamba3", three)):
        values |= time_values(group, taken)
    values |= time_values("mimo", ranked)

    print("peak memory of forward and backward")
    memory = {}
    if not quick:
        cases = [(f"selective,{name}", FIRST) for name in (*selective_ways, "jax") if name != "loop"]
        cases += [(f"selective,{name}", SECOND) for name in ("mambapy", "chunked", "numba")]
        cases += [("ssd,ssd_minimal", SSD), ("ssd,ours", SSD), ("mamba3,quadratic", MAMBA3), ("mamba3,ours", MAMBA3)]
        there = [case for case in cases if peers.INSTALLED.get(case[0].split(",")[1], True)]
        memory = peaks(there)
        values |= memory

    print("decoding")
    cores = {batch: ssm_decode.decode_cores(batch, 512, 16, rounds) for batch in (1, 64)}
    blocks = {batch: ssm_decode.decode_blocks(batch, 256, rounds) for batch in (1, 64)}
    for batch in (1, 64):
        for group, taken in (("core", cores[batch]), ("block", blocks[batch])):
            for name, seconds in taken.items():
                values[f"decode_{group}_microseconds_{name}_batch_{batch}"] = 1e6 * seconds
    values |= ssm_decode.decode_against_context(CONTEXTS[:2] if quick else CONTEXTS, 256, rounds)

    if quick:  # nothing is asked of short sequences
        return values
    print("bars")

    def beyond(name: str, taken: dict, kind: str, peer: str, ours: str, bar: float) -> None:
        if peer in taken[kind]:
            bars.at_least(name, taken[kind][peer] / taken[kind][ours], bar)

    def within(name: str, group: str, shape: tuple[int, ...], peer: str, ours: str, bar: float) -> None:
        size = "x".join(map(str, shape))
        against = memory.get(f"{group}_peak_mebibytes_{peer}_{size}")
        if against is not None:
            bars.at_most(name, memory[f"{group}_peak_mebibytes_{ours}_{size}"] / against, bar)

    beyond("S1_numba_over_mambapy", first, "gradient", "mambapy", "numba", 10)
    beyond("S1_numba_over_jax", first, "gradient", "jax", "numba", 2.5)
    within("S1_peak_of_mambapy", "selective", FIRST, "mambapy", "numba", 0.15)
    beyond("S2_torch_over_mambapy", second, "gradient", "mambapy", "chunked", 2.5)
    within("S2_peak_of_mambapy", "selective", SECOND, "mambapy", "chunked", 0.35)
    beyond("S3_gradient_over_ssd_minimal", ssd, "gradient", "ssd_minimal", "ours", 1.2)
    beyond("S3_forward_over_ssd_minimal", ssd, "forward", "ssd_minimal", "ours", 1.5)
    within("S3_peak_of_ssd_minimal", "ssd", SSD, "ssd_minimal", "ours", 0.85)
    beyond("S4_forward_over_quadratic", three, "forward", "quadratic", "ours", 5)
    bars.at_most("S4_time_of_4096_over_1024", grown[4096] / grown[1024], 4.6)
    for kind in ("forward", "gradient"):
        bars.at_most(f"S5_rank_4_over_rank_1_{kind}", ranked[kind]["rank_4"] / ranked[kind]["rank_1"], 4.5)
    if "reference" in cores[1]:
        bars.at_least("S6_core_over_reference", cores[1]["reference"] / cores[1]["core"], 8)
    if "mambapy" in blocks[1]:
        bars.at_least("S6_block_over_mambapy", blocks[1]["mambapy"] / blocks[1]["ours"], 2)
    return values | bars.values


def mimo_times(shape: tuple[int, ...], rounds: int) -> dict[str, dict[str, float]]:
    """Mamba-3 with four inputs and outputs a head, chunks a fourth as long, beside one."""
    taken: dict[str, dict[str, float]] = {}
    ways = {
        "rank_1": (MAMBA3_CONTENDERS["ours"], mamba3_inputs(*shape)),
        "rank_4": (lambda *values: mimo.mimo_scan_chunked(*values)[0], mamba3_inputs(*shape, rank=RANK)),
    }
    for kind in ("forward", "gradient"):
        calls = {}
        for name, (way, arguments) in ways.items():
            extra = () if kind == "forward" else (torch.ones(arguments[0].shape),)
            calls[name] = (forward if kind == "forward" else gradient)(way, arguments, *extra)
        taken[kind] = race(calls, rounds, CPU)
    for name in ways:
        each = "  ".join(f"{kind} {1e3 * taken[kind][name]:9.2f} ms" for kind in taken)
        print(f"  {'mamba3':22s} {name:12s} {each}", flush=True)
    return taken


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="short sequences, to see that it works")
    parser.add_argument("--write", action="store_true", help="write the run to results/mamba3")
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    parser.add_argument("--shape", type=int, nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    device = torch.device(options.device)
    keep_to_one_core(device)
    if options.peak:
        print(peak(options.peak, tuple(options.shape)))
        return
    record = Record("ssm", arguments, device)
    values = measure(options) if device.type == "cpu" else ssm_cuda.measure(device, options.quick)
    print(json.dumps(values, indent=2))
    if options.write:
        record.write(
            "mamba3",
            f"ssm-{device.type}",
            values,
            seeds=[SEED],
            note=NOTE.format(rounds=options.rounds) if device.type == "cpu" else ssm_cuda.NOTE,
        )


if __name__ == "__main__":
    main()
