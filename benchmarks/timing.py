"""What benchmarks share: contenders that take turns, and the peak memory of one call."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch


def race(
    contenders: dict[str, Callable], rounds: int, device: torch.device, shortest: float = 0.02
) -> dict[str, float]:
    """Median seconds of each contender; they take turns, and a quick one is repeated until a sample is long enough."""
    cuda = device.type == "cuda"
    clock = time.perf_counter if cuda else time.process_time

    def seconds(call: Callable, repeats: int) -> float:
        started = clock()
        for _ in range(repeats):
            call()
        if cuda:
            torch.cuda.synchronize()
        return (clock() - started) / repeats

    repeats = {}
    for name, call in contenders.items():
        seconds(call, 1)
        repeats[name] = max(1, math.ceil(shortest / max(seconds(call, 1), 1e-7)))
    samples = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, call in contenders.items():
            samples[name].append(seconds(call, repeats[name]))
    return {name: statistics.median(taken) for name, taken in samples.items()}


def best_of(ways: dict[str, dict[str, Callable]], rounds: int) -> dict[str, dict[str, float]]:
    """CPU seconds of the best round of every way of every workload; they take turns."""
    best = {workload: dict.fromkeys(calls, math.inf) for workload, calls in ways.items()}
    for _ in range(rounds):
        for workload, calls in ways.items():
            for name, call in calls.items():
                start = time.process_time()
                call()
                best[workload][name] = min(best[workload][name], time.process_time() - start)
    return best


def peak_bytes(call: Callable) -> int:
    """Resident bytes at the peak of a call above those before it (Linux); for a process that has done nothing else."""

    def resident(entry: str) -> int:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(entry)) * 1024

    rest = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    call()
    return resident("VmHWM") - rest
