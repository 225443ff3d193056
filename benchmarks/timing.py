"""What benchmarks share: contenders that take turns, peak memory of calls and processes, and ratios against bars."""

from __future__ import annotations

import itertools
import json
import math
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

CPU = torch.device("cpu")
WARM, SAMPLES = 10, 50
KEPT = {"MALLOC_MMAP_THRESHOLD_": str(2**32), "MALLOC_TRIM_THRESHOLD_": str(2**32)}


def keep_freed_memory() -> None:
    """Start this program again with glibc told to keep what is freed: new pages at each step cost more than arithmetic.

    Both variables are only read when a process starts. Elsewhere than with glibc they change nothing.
    """
    if any(name not in os.environ for name in KEPT):
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], KEPT | os.environ)


def keep_to_one_core(device: torch.device) -> None:
    """One thread of torch's, and on a CPU one core: the last of those that this process may use."""
    torch.set_num_threads(1)
    if hasattr(os, "sched_setaffinity") and device.type == "cpu":
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def seconds_of(call: Callable, device: torch.device = CPU, repeats: int = 1) -> float:
    """CPU seconds of one thread, which neighbours on the machine hardly change; on a GPU by the wall."""
    cuda = device.type == "cuda"
    clock = time.perf_counter if cuda else time.process_time
    started = clock()
    for _ in range(repeats):
        call()
    if cuda:
        torch.cuda.synchronize()
    return (clock() - started) / repeats


def race(
    contenders: dict[str, Callable], rounds: int, device: torch.device, shortest: float = 0.02
) -> dict[str, float]:
    """Median seconds of each contender; they take turns, and a quick one is repeated until a sample is long enough."""
    repeats = {}
    for name, call in contenders.items():
        seconds_of(call, device)
        repeats[name] = max(1, math.ceil(shortest / max(seconds_of(call, device), 1e-7)))
    samples = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, call in contenders.items():
            samples[name].append(seconds_of(call, device, repeats[name]))
    return {name: statistics.median(taken) for name, taken in samples.items()}


def best_of(
    ways: dict[str, dict[str, Callable]], rounds: int, device: torch.device = CPU
) -> dict[str, dict[str, float]]:
    """Seconds of the best round of every way of every workload; they take turns."""
    best = {workload: dict.fromkeys(calls, math.inf) for workload, calls in ways.items()}
    for _ in range(rounds):
        for workload, calls in ways.items():
            for name, call in calls.items():
                best[workload][name] = min(best[workload][name], seconds_of(call, device))
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


def peak_process_megabytes() -> float:
    """Resident at the peak of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def printed_by_fresh_process(benchmark: str, *arguments: object) -> Any:
    """The last line that a benchmark prints in a process of its own: a number, or values by name."""
    command = [sys.executable, "-m", f"benchmarks.{benchmark}", *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def peak_tensor_bytes(call: Callable) -> int:
    """Bytes of all tensors on the CPU at the peak of a call, beyond those before it: exact, as torch hands them out.

    Resident memory of a few megabytes says less: it is off by what the process keeps of memory that it gave back.
    """
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as seen:
        call()
    changes = (event.nbytes() for event in seen.profiler.kineto_results.events() if event.name() == "[memory]")
    return max(itertools.accumulate(changes), default=0)


class Clock:
    """Milliseconds between events of a GPU; on a CPU, where this is only tried out, by the wall."""

    def __init__(self, device: torch.device):
        self.cuda = device.type == "cuda"

    def milliseconds(self, call: Callable) -> float:
        if not self.cuda:
            began = time.perf_counter()
            call()
            return 1e3 * (time.perf_counter() - began)
        first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        first.record()
        call()
        last.record()
        torch.cuda.synchronize()
        return first.elapsed_time(last)

    def race(
        self, calls: dict[str, list[Callable]], quick: bool, warm: int = WARM, samples: int = SAMPLES
    ) -> dict[str, tuple[float, float, float]]:
        """Median, 10th and 90th percentile of contenders that take turns, each through its sets of inputs."""
        warm, samples = (1, 3) if quick else (warm, samples)
        taken = {name: [] for name in calls}
        for each in calls.values():
            for number in range(warm):
                each[number % len(each)]()
        for number in range(samples):
            for name, each in calls.items():
                taken[name].append(self.milliseconds(each[number % len(each)]))
        return {name: (statistics.median(each), *_tenths(each)) for name, each in taken.items()}

    def peak_bytes(self, call: Callable) -> float:
        """Allocated at the peak of a call, what was there before included; 0 on a CPU."""
        if not self.cuda:
            return 0.0
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        call()
        torch.cuda.synchronize()
        return float(torch.cuda.max_memory_allocated())

    def peak_megabytes(self, call: Callable) -> float:
        """Allocated at the peak of a call above what was there before; not a number on a CPU."""
        if not self.cuda:
            return math.nan
        rest = torch.cuda.memory_allocated()
        return (self.peak_bytes(call) - rest) / 1e6


def _tenths(samples: list[float]) -> tuple[float, float]:
    ordered = sorted(samples)
    return ordered[len(ordered) // 10], ordered[-1 - len(ordered) // 10]


def ceilings(device: torch.device, quick: bool) -> dict[str, float]:
    """Gigabytes a second of a copy (read and written) and TFLOP/s of a product of matrices in bfloat16."""
    clock = Clock(device)
    size, side = (2**20, 256) if quick else (2**30, 8192)
    source, target = (torch.zeros(size, dtype=torch.uint8, device=device) for _ in range(2))
    a, b = (torch.randn(side, side, device=device).bfloat16() for _ in range(2))
    found = clock.race({"copy": [lambda: target.copy_(source)], "product": [lambda: a @ b]}, quick)
    return {
        "copy_gigabytes_per_second": 2 * size / found["copy"][0] / 1e6,
        "product_teraflops": 2 * side**3 / found["product"][0] / 1e9,
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
