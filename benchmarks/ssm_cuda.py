"""The scans on one GPU beside the Triton and CUDA kernels of others; for ``benchmarks/ssm.py --device cuda``.

Inputs in bfloat16 with steps, rates and states in float32. Each contender is first compared with float64 on a short
sequence; a peer that is not installed, or does not agree, is named and left out. Then they take turns: 10 calls to warm
up, 50 samples between events, inputs from four sets that do not fit the cache together. Times are medians with the 10th
and 90th percentile. Copy and matrix product of the device stand beside them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks import ssm_peers as peers
from benchmarks.ssm_cases import SEED, leaves, relative
from benchmarks.timing import Bars, Clock, ceilings
from lib.ssm import mimo, scan, selective

NOTE = (
    "bfloat16 inputs, float32 steps and states; medians of 50 samples between events after 10 calls, four sets of "
    "inputs in turn; peak is what forward and backward allocate"
)
SETS = 4
WIDTH, STATE, HEADS = 64, 128, 32


def selective_inputs(batch: int, time: int, seed: int, device: torch.device, wide: bool) -> tuple[Tensor, ...]:
    normal = _normal(seed, device)
    channels, size = (2048, 16) if wide else (64, 16)
    x, dt = normal(batch, time, channels), functional.softplus(normal(batch, time, channels) - 4)
    A = -torch.arange(1.0, size + 1, device=device).repeat(channels, 1)
    B, C = normal(batch, time, size), normal(batch, time, size)
    return leaves(x.bfloat16(), dt, A, B.bfloat16(), C.bfloat16())


def ssd_inputs(batch: int, time: int, seed: int, device: torch.device, wide: bool) -> tuple[Tensor, ...]:
    normal = _normal(seed, device)
    heads = HEADS if wide else 2
    x, dt = normal(batch, time, heads, WIDTH), functional.softplus(normal(batch, time, heads) - 4)
    B, C = normal(batch, time, 1, STATE), normal(batch, time, 1, STATE)
    return leaves(x.bfloat16(), dt, -torch.exp(normal(heads)), B.bfloat16(), C.bfloat16())


def mamba3_inputs(batch: int, time: int, seed: int, device: torch.device, wide: bool) -> tuple[Tensor, ...]:
    """x, dt, A, B, C and what lam and theta are made of; half of the state turns."""
    normal = _normal(seed, device)
    heads = HEADS if wide else 2
    steps = batch, time, heads
    return leaves(
        normal(*steps, WIDTH).bfloat16(),
        functional.softplus(normal(*steps) - 4),
        -torch.exp(normal(*steps)),
        (normal(batch, time, 1, STATE) / math.sqrt(STATE)).bfloat16(),
        (normal(batch, time, 1, STATE) / math.sqrt(STATE)).bfloat16(),
        normal(*steps),
        normal(*steps, STATE // 4),
    )


def _normal(seed: int, device: torch.device) -> Callable:
    return partial(_draw, torch.Generator(device).manual_seed(seed))


def _draw(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=generator, device=generator.device)


def selective_ways() -> dict[str, Callable]:
    ways = {"ours": lambda *values: selective.selective_scan(*values)[0]}
    if peers.INSTALLED["mambapy"]:
        ways["mambapy"] = peers.mambapy_scan()
    if peers.INSTALLED["accelerated_scan"]:
        ways["accelerated_scan"] = peers.accelerated_scan()
    if peers.INSTALLED["mamba_ssm"]:
        ways["mamba_ssm"] = peers.selective_scan_cuda()
    return {name: way for name, way in ways.items() if way is not None}


def ssd_ways() -> dict[str, Callable]:
    def ours(x, dt, A, B, C, backend):
        return scan.scan(x, dt, A.expand_as(dt), B, C, backend=backend, validate=False)[0]

    ways = {backend: partial(ours, backend=backend) for backend in ("torch", "triton")}
    ways["mamba_ssm"] = peers.mamba2_kernels() if peers.INSTALLED["mamba_ssm"] else None
    ways["fla"] = peers.simple_gla() if peers.INSTALLED["fla"] else None
    return {name: way for name, way in ways.items() if way is not None}


def mamba3_ways() -> dict[str, Callable]:
    def ours(x, dt, A, B, C, trap, angle, backend):
        lam, theta = torch.sigmoid(trap), math.pi * torch.tanh(angle)
        return scan.scan(x, dt, A, B, C, lam, theta, backend=backend, validate=False)[0]

    ways = {backend: partial(ours, backend=backend) for backend in ("torch", "triton")}
    ways["mamba_ssm"] = peers.mamba3_kernels() if peers.INSTALLED["mamba_ssm"] else None
    return {name: way for name, way in ways.items() if way is not None}


def in_double(group: str, arguments: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Output and gradients of the sequential forms in float64."""
    wide = leaves(*(value.detach().double() for value in arguments))
    if group == "selective":
        y, _ = selective.selective_scan(*wide, method="sequential")
    elif group == "ssd":
        y, _ = scan.scan_sequential(*wide[:2], wide[2].expand_as(wide[1]), *wide[3:])
    else:
        y, _ = scan.scan_sequential(*wide[:5], torch.sigmoid(wide[5]), math.pi * torch.tanh(wide[6]))
    return (y.detach(), *torch.autograd.grad(y, wide, torch.ones_like(y)))


def agreeing(group: str, ways: dict[str, Callable], make: Callable, device: torch.device) -> dict[str, Callable]:
    """The contenders that agree with float64 on a short sequence, outputs and gradients; ours have to."""
    arguments = make(1, 256, SEED, device, False)
    wanted = in_double(group, arguments)
    kept = {}
    for name, way in ways.items():
        # What is allocated next and not written to is not a number.
        poison = torch.full((2**22,), math.nan, device=device)
        del poison
        try:
            y = way(*arguments)
            found = (y, *torch.autograd.grad(y, arguments, torch.ones_like(y)))
            gap = max(relative(value, right) for value, right in zip(found, wanted))
        except Exception as problem:
            print(f"  {group:10s} {name:16s} left out: {type(problem).__name__}: {str(problem)[:120]}", flush=True)
            if name in ("ours", "torch"):
                raise
            continue
        print(f"  {group:10s} {name:16s} off from float64 by {gap:.1e}", flush=True)
        if gap < 2e-2:
            kept[name] = way
        elif name in ("ours", "torch", "triton"):
            raise SystemExit(f"{group}: {name} is wrong")
        else:
            print(f"  {group:10s} {name:16s} left out: it does not agree", flush=True)
    return kept


def group_times(
    group: str, ways: dict[str, Callable], make: Callable, shape: tuple[int, int], device: torch.device, quick: bool
) -> tuple[dict, dict[str, float]]:
    """Milliseconds by kind and contender, and what is written about them; each set of inputs serves all contenders."""
    clock = Clock(device)
    sets = [make(*shape, SEED + number, device, not quick) for number in range(1 if quick else SETS)]

    def forward(way: Callable, arguments: tuple[Tensor, ...]) -> Tensor:
        with torch.no_grad():
            return way(*arguments)

    def gradient(way: Callable, arguments: tuple[Tensor, ...]) -> tuple:
        y = way(*arguments)
        return torch.autograd.grad(y, arguments, torch.ones_like(y))

    taken, values = {}, {}
    label = f"{group}_{shape[1]}"
    for kind, run in (("forward", forward), ("gradient", gradient)):
        calls = {name: [partial(run, way, each) for each in sets] for name, way in ways.items()}
        # The first contender again: what differs between the two is noise.
        first = next(iter(calls))
        found = clock.race(calls | {f"{first}_again": calls[first]}, quick)
        taken[kind] = {name: median for name, (median, _, _) in found.items()}
        for name, (median, low, high) in found.items():
            print(f"  {label:16s} {kind:8s} {name:18s} {median:9.3f} ms ({low:.3f} to {high:.3f})", flush=True)
            values[f"{label}_{kind}_milliseconds_{name}"] = median
            values[f"{label}_{kind}_milliseconds_{name}_tenths"] = [low, high]
    taken["peak"] = {name: clock.peak_megabytes(partial(gradient, way, sets[0])) for name, way in ways.items()}
    values |= {f"{label}_peak_megabytes_{name}": peak for name, peak in taken["peak"].items() if peak == peak}
    return taken, values


def decode_ranks(device: torch.device, quick: bool) -> dict[str, float]:
    """One token of Mamba-3 with rank 1 and rank 4, replayed as graphs; milliseconds and bytes of states moved."""
    batch, heads = (2, 2) if quick else (128, HEADS)
    normal = _normal(SEED, device)
    dt, A = functional.softplus(normal(batch, heads)), -torch.exp(normal(batch, heads))
    lam, theta = torch.sigmoid(normal(batch, heads)), normal(batch, 1, STATE // 4)
    calls = {}
    for rank, step in ((1, scan.scan_step), (4, mimo.mimo_step)):
        ranks = () if rank == 1 else (rank,)
        x = normal(batch, heads, WIDTH, *ranks)
        B, C = normal(batch, 1, STATE, *ranks), normal(batch, 1, STATE, *ranks)
        _, state = step(x, dt, A, B, C, lam, theta, validate=False)
        calls[f"rank_{rank}"] = [_replayed(partial(step, x, dt, A, B, C, lam, theta, state, validate=False), device)]
    with torch.inference_mode():
        found = Clock(device).race(calls, quick)
    moved = 2 * batch * heads * WIDTH * STATE * 4
    values = {f"decode_milliseconds_{name}": median for name, (median, _, _) in found.items()}
    return values | {"decode_states_gigabytes_per_second": moved / values["decode_milliseconds_rank_4"] / 1e6}


def _replayed(call: Callable, device: torch.device) -> Callable:
    """A call as a captured graph, without what launching its kernels takes."""
    if device.type != "cuda":
        return call
    with torch.no_grad():
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(3):
                call()
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            call()
    return graph.replay


def measure(device: torch.device, quick: bool) -> dict:
    for name, there in peers.INSTALLED.items():
        if name != "jax" and not there:
            print(f"{name} is not installed: left out")
    values = ceilings(device, quick)
    print(json_line(values))
    groups = {
        "selective": (selective_ways(), selective_inputs, [(8, 4096)]),
        "ssd": (ssd_ways(), ssd_inputs, [(8, 4096)]),
        "mamba3": (mamba3_ways(), mamba3_inputs, [(8, 2048), (8, 4096), (2, 16384)]),
    }
    bars = Bars()
    for group, (ways, make, shapes) in groups.items():
        kept = agreeing(group, ways, make, device)
        for shape in [(1, 64)] if quick else shapes:
            taken, written = group_times(group, kept, make, shape, device, quick)
            values |= written
            compare(bars, group, shape, taken)
    decoded = decode_ranks(device, quick)
    values |= decoded
    bars.at_most(
        "G5_rank_4_over_rank_1", decoded["decode_milliseconds_rank_4"] / decoded["decode_milliseconds_rank_1"], 1.25
    )
    share = decoded["decode_states_gigabytes_per_second"] / values["copy_gigabytes_per_second"]
    bars.at_least("G5_share_of_copy", share, 0.6)
    return values | bars.values


def json_line(values: dict[str, float]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value:.0f}" for name, value in values.items())


def compare(bars: Bars, group: str, shape: tuple[int, int], taken: dict[str, dict[str, float]]) -> None:
    """Ratios to the fastest peer that is there, against the goals."""
    forward, gradient, peak = taken["forward"], taken["gradient"], taken["peak"]
    length = shape[1]
    if group == "selective":
        if "mambapy" in forward:
            bars.at_least("G1_forward_over_mambapy", forward["mambapy"] / forward["ours"], 5)
        bars.at_most("G1_forward_over_floor", forward["ours"] / 0.29, 4)
        return
    others = [name for name in ("mamba_ssm", "fla") if name in forward]
    if not others:
        return
    ours = "triton" if "triton" in forward else "torch"
    best = {kind: min(each[name] for name in others) for kind, each in taken.items()}
    goal = {"ssd": ("G2", "G3", 0.8), "mamba3": ("G4_forward", "G4", 0.7)}[group]
    bars.at_least(f"{goal[0]}_{ours}_forward_{length}", best["forward"] / forward[ours], 1.0)
    bars.at_least(f"{goal[1]}_{ours}_gradient_{length}", best["gradient"] / gradient[ours], goal[2])
    if peak[ours] == peak[ours]:
        bars.at_most(f"{goal[1]}_{ours}_peak_{length}", peak[ours] / best["peak"], 1.1)
    if group == "ssd":
        bars.at_least(f"G2_torch_forward_{length}", best["forward"] / forward["torch"], 0.4)
