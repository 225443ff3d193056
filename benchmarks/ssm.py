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
import math
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks import ssm_peers as peers
from lib import results
from lib.ssm import mimo, scan, selective
from lib.ssm.mamba1 import Mamba1Block
from lib.ssm.mamba3 import Mamba3Block

SEED = 0
RANK = 4
# What the bars are about: batch, time, channels, state.
FIRST, SECOND = (4, 1024, 64, 64), (4, 1024, 256, 16)
SSD, MAMBA3 = (4, 1024, 256, 64), (4, 1024, 128, 64)
WIDTH = 64
CONTEXTS = (256, 1024, 4096, 16384, 65536)


def race(contenders: dict[str, Callable], rounds: int, shortest: float = 0.02) -> dict[str, float]:
    """Median processor seconds; contenders take turns, quick ones are repeated, slow ones come in fewer rounds."""

    def seconds(call: Callable, repeats: int) -> float:
        started = time.process_time()
        for _ in range(repeats):
            call()
        return (time.process_time() - started) / repeats

    repeats, turns = {}, {}
    for name, call in contenders.items():
        seconds(call, 1)
        once = seconds(call, 1)
        repeats[name] = max(1, math.ceil(shortest / max(once, 1e-7)))
        turns[name] = min(rounds, 3) if once > 0.5 else rounds
    samples = {name: [] for name in contenders}
    for turn in range(rounds):
        for name, call in contenders.items():
            if turn < turns[name]:
                samples[name].append(seconds(call, repeats[name]))
    return {name: statistics.median(taken) for name, taken in samples.items()}


def random_tokens(*shape: int, generator: torch.Generator) -> Tensor:
    return torch.randn(*shape, generator=generator)


def selective_inputs(batch: int, time: int, channels: int, size: int) -> tuple[Tensor, ...]:
    """x, dt, A, B, C of Mamba-1, with the rates of its initial values."""
    normal = partial(random_tokens, generator=torch.Generator().manual_seed(SEED))
    x, dt = normal(batch, time, channels), functional.softplus(normal(batch, time, channels) - 2)
    A = -torch.arange(1.0, size + 1).repeat(channels, 1)
    return _leaves(x, dt, A, normal(batch, time, size), normal(batch, time, size))


def ssd_inputs(batch: int, time: int, channels: int, size: int) -> tuple[Tensor, ...]:
    """x, dt, A, B, C of Mamba-2 with heads of width 64 and one group."""
    normal = partial(random_tokens, generator=torch.Generator().manual_seed(SEED))
    heads = channels // WIDTH
    x, dt = normal(batch, time, heads, WIDTH), functional.softplus(normal(batch, time, heads) - 2)
    A = -torch.exp(normal(heads)).expand(batch, time, heads).contiguous()
    return _leaves(x, dt, A, normal(batch, time, 1, size), normal(batch, time, 1, size))


def mamba3_inputs(batch: int, time: int, channels: int, size: int, rank: int = 1) -> tuple[Tensor, ...]:
    """x, dt, A, B, C, lam, theta of Mamba-3 with vectors and angles of each head's own."""
    normal = partial(random_tokens, generator=torch.Generator().manual_seed(SEED))
    heads = channels // WIDTH
    ranks = () if rank == 1 else (rank,)
    steps = batch, time, heads
    return _leaves(
        normal(*steps, WIDTH, *ranks),
        functional.softplus(normal(*steps) - 2),
        -torch.exp(normal(*steps)),
        normal(*steps, size, *ranks) / math.sqrt(size),
        normal(*steps, size, *ranks) / math.sqrt(size),
        torch.sigmoid(normal(*steps)),
        math.pi * torch.tanh(normal(*steps, size // 2)),
    )


def _leaves(*values: Tensor) -> tuple[Tensor, ...]:
    return tuple(value.requires_grad_() for value in values)


def selective_contenders() -> dict[str, Callable]:
    """Ways to run Mamba-1's scan, as functions of (x, dt, A, B, C)."""
    ways = {"loop": peers.loop}
    if peers.INSTALLED["mambapy"]:
        ways["mambapy"] = peers.mambapy_scan()
    for method in ("parallel", "chunked", "numba"):
        ways[method] = lambda *values, method=method: selective.selective_scan(*values, method=method)[0]
    return ways


SSD_CONTENDERS = {
    "loop": peers.ssd_loop,
    "ssd_minimal": peers.ssd_minimal,
    "ours": lambda *values: scan.scan(*values)[0],
}
MAMBA3_CONTENDERS = {
    "quadratic": peers.mamba3_quadratic,
    "ours": lambda *values: scan.scan(*values)[0],
}


def forward(way: Callable, arguments: tuple[Tensor, ...]) -> Callable:
    def call():
        with torch.no_grad():
            return way(*arguments)

    return call


def gradient(way: Callable, arguments: tuple[Tensor, ...], dy: Tensor) -> Callable:
    return lambda: torch.autograd.grad(way(*arguments), arguments, dy)


def check(group: str, ways: dict[str, Callable], make: Callable, shape: tuple[int, ...], reference: str) -> float:
    """Norm of the difference from the reference in float64, of outputs and gradients, relative; the largest."""
    arguments = make(*shape)
    wide = _leaves(*(value.detach().double() for value in arguments))
    y = ways[reference](*wide)
    dy = torch.randn(y.shape, generator=torch.Generator().manual_seed(SEED + 1))
    wanted = (y.detach(), *gradient(ways[reference], wide, dy.double())())
    largest = 0.0

    def compare(name: str, found) -> None:
        nonlocal largest
        gaps = [_relative(torch.as_tensor(value), right) for value, right in zip(found, wanted)]
        print(f"  {group:10s} {name:16s} off from float64 by {max(gaps):.1e}", flush=True)
        if not max(gaps) < 1e-5:
            raise SystemExit(f"{group}: {name} is wrong")
        largest = max(largest, *gaps)

    for name, way in ways.items():
        compare(name, (forward(way, arguments)(), *gradient(way, arguments, dy)()))
    if group == "selective" and peers.INSTALLED["jax"]:
        compare("jax", [torch.tensor(_numpy(value)) for value in _flat(*peers.jax_scan(arguments, dy))])
    return largest


def _flat(run: Callable, run_gradient: Callable) -> list:
    return [run(), *run_gradient()]


def _numpy(value):
    import numpy

    return numpy.array(value)


def _relative(found: Tensor, wanted: Tensor) -> float:
    return float((found.detach().double() - wanted).norm() / wanted.norm())


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
    taken = {kind: race(those, rounds) for kind, those in calls.items()}
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


class Bars:
    """Ratios against what is asked of them."""

    def __init__(self):
        self.values: dict[str, float | bool] = {}

    def at_least(self, name: str, ratio: float, bar: float) -> None:
        self._keep(name, ratio, ratio >= bar, f">= {bar:g}")

    def at_most(self, name: str, ratio: float, bar: float) -> None:
        self._keep(name, ratio, ratio <= bar, f"<= {bar:g}")

    def _keep(self, name: str, ratio: float, holds: bool, bar: str) -> None:
        print(f"  {'holds' if holds else 'FAILS'}: {name.replace('_', ' ')} = {ratio:.2f}, bar {bar}", flush=True)
        self.values |= {f"{name}": ratio, f"{name}_holds": holds}


def decode_cores(batch: int, channels: int, size: int, rounds: int) -> dict[str, float]:
    """Seconds of one token of Mamba-1's recurrence."""
    from lib.ssm import _selective_numba as kernels

    normal = partial(random_tokens, generator=torch.Generator().manual_seed(SEED))
    state, x, dt = normal(batch, channels, size), normal(batch, channels), functional.softplus(normal(batch, channels))
    A, D = -torch.exp(normal(channels, size)), normal(channels)
    B, C = normal(batch, size), normal(batch, size)
    wide = [value.double() for value in (x, dt, A, B, C, D)]
    wanted, _ = selective.selective_step(*wide, state=state.double())
    after, y = torch.empty_like(state), torch.empty_like(x)
    arrays = [value.numpy() for value in (x, dt, A, B, C, D, state, after, y)]
    calls = {
        "core": lambda: kernels.step(*arrays),
        "selective_step": lambda: selective.selective_step(x, dt, A, B, C, D, state=state),
    }
    calls["core"]()
    found = {"core": y, "selective_step": calls["selective_step"]()[0]}
    if _has("einops"):
        forgetful = state.clone()
        found["reference"] = peers.state_update(forgetful, x, dt, A, B, C, D)
        calls["reference"] = lambda: peers.state_update(forgetful, x, dt, A, B, C, D)
    for name, value in found.items():
        if _relative(value, wanted) > 1e-5:
            raise SystemExit(f"decode: {name} is wrong")
    with torch.inference_mode():
        taken = race(calls, rounds)
    for name, seconds in taken.items():
        print(f"  decode, batch {batch:3d}       {name:16s} {1e6 * seconds:9.1f} us", flush=True)
    return taken


def _has(module: str) -> bool:
    from importlib.util import find_spec

    return find_spec(module) is not None


def decode_blocks(batch: int, width: int, rounds: int) -> dict[str, float]:
    """Seconds of one token of a whole block of Mamba-1, ours and mambapy's, with the same sizes."""
    block = Mamba1Block(width)
    u = torch.randn(batch, width, generator=torch.Generator().manual_seed(SEED))
    with torch.inference_mode():
        _, state = block.step(u)
        calls = {"ours": lambda: block.step(u, state)}
        if peers.INSTALLED["mambapy"]:
            from mambapy.mamba import MambaBlock, MambaConfig

            other = MambaBlock(MambaConfig(d_model=width, n_layers=1)).eval()
            cache = (torch.zeros(batch, 2 * width, 16), torch.zeros(batch, 2 * width, 3))
            calls["mambapy"] = lambda: other.step(u, cache)
        taken = race(calls, rounds)
    for name, seconds in taken.items():
        print(f"  block, batch {batch:3d}        {name:16s} {1e6 * seconds:9.1f} us", flush=True)
    return taken


def decode_against_context(contexts: tuple[int, ...], width: int, rounds: int) -> dict[str, list[float]]:
    """Microseconds of a token after contexts of growing length, and bytes that are carried along."""
    device = torch.device("cpu")
    generator = torch.Generator().manual_seed(SEED)
    blocks = {"mamba1": Mamba1Block(width), "mamba3": Mamba3Block(width, d_state=64, head_dim=64)}
    attention = peers.CachedAttention(width, width // 64, 1, contexts[-1] + 1, device, torch.float32)
    states: dict[str, tuple] = dict.fromkeys(blocks)
    values: dict[str, list[float]] = {"decode_contexts": list(contexts)}
    read = 0
    for context in contexts:
        with torch.inference_mode():
            for cache in (attention.keys, attention.values):
                cache[:, :, read:context] = torch.randn(cache[:, :, read:context].shape, generator=generator)
            while read < context:
                span = min(4096, context - read)
                tokens = torch.randn(1, span, width, generator=generator)
                for name, block in blocks.items():
                    _, states[name] = block.prefill(tokens, initial_state=states[name])
                read += span
            u = torch.randn(1, width, generator=generator)
            calls = {name: partial(block.step, u, states[name]) for name, block in blocks.items()}
            calls["attention"] = partial(attention.step, u, context)
            taken = race(calls, rounds)
        carried = {name: sum(part.numel() * part.element_size() for part in _tensors(states[name])) for name in blocks}
        carried["attention"] = 2 * context * width * 4
        for name, seconds in taken.items():
            values.setdefault(f"decode_microseconds_{name}", []).append(1e6 * seconds)
            values.setdefault(f"decode_carried_bytes_{name}", []).append(carried[name])
        each = ", ".join(f"{name} {1e6 * seconds:.0f} us" for name, seconds in taken.items())
        print(f"  a token after {context:6d}: {each}", flush=True)
    return values


def _tensors(state):
    for part in state:
        if isinstance(part, Tensor):
            yield part
        elif part is not None:
            yield from _tensors(part)


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

    def resident(entry: str) -> float:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(entry)) / 1024

    prepared(1, 128, 64, 16)()
    call = prepared(*shape)
    rest = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    call()
    return resident("VmHWM") - rest


def peaks(cases: list[tuple[str, tuple[int, ...]]]) -> dict[str, float]:
    """Peak memory of fresh processes."""
    values = {}
    for case, shape in cases:
        command = [sys.executable, "-m", "benchmarks.ssm", "--peak", case, "--shape", *map(str, shape)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        label = f"{case.replace(',', '_peak_mebibytes_')}_{'x'.join(map(str, shape))}"
        values[label] = float(done.stdout.split()[-1])
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
    grown = race({time: forward(MAMBA3_CONTENDERS["ours"], each) for time, each in lengths.items()}, rounds)
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
    cores = {batch: decode_cores(batch, 512, 16, rounds) for batch in (1, 64)}
    blocks = {batch: decode_blocks(batch, 256, rounds) for batch in (1, 64)}
    for batch in (1, 64):
        for group, taken in (("core", cores[batch]), ("block", blocks[batch])):
            for name, seconds in taken.items():
                values[f"decode_{group}_microseconds_{name}_batch_{batch}"] = 1e6 * seconds
    values |= decode_against_context(CONTEXTS[:2] if quick else CONTEXTS, 256, rounds)

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
        taken[kind] = race(calls, rounds)
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
    torch.set_num_threads(1)
    if hasattr(os, "sched_setaffinity") and device.type == "cpu":
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    if options.peak:
        print(peak(options.peak, tuple(options.shape)))
        return
    began = time.perf_counter()
    values = measure(options)
    print(json.dumps(values, indent=2))
    if options.write:
        path = results.write(
            "mamba3",
            "ssm-cpu",
            values,
            device=f"{platform.machine()} CPU, one thread",
            command="python -m benchmarks.ssm " + " ".join(sys.argv[1:] if arguments is None else arguments),
            seconds=time.perf_counter() - began,
            seeds=[SEED],
            note=f"float32; processor time of one core, median of {options.rounds} rounds; checks of the arguments "
            "included in ours; peak memory of forward and backward in fresh processes",
        )
        print(f"wrote {path.name}")


if __name__ == "__main__":
    main()
