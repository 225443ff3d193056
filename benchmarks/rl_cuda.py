"""Environments and PPO on one GPU beside gymnax and PureJaxRL's shape; for ``benchmarks/rl.py --device cuda``.

From 2**16 to 2**20 CartPoles, 128 steps each in an update, with minibatches of 2**19 transitions however many there
are. Contenders take turns between events: 10 calls to warm up and 50 samples of an environment's step, fewer of an
update. Times are medians with the 10th and 90th percentile; the first contender stands there twice, and what differs
between the two is noise. Memory is what is allocated at the peak of an update. A peer that is not installed, or whose
jax has no GPU, is named and left out.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace

import torch

from benchmarks import rl_cases as cases
from benchmarks import rl_peers as peers
from benchmarks.timing import Bars, Clock, ceilings
from lib.rl.envs.cart_pole import CartPole

NOTE = (
    "float32; medians of 50 samples between events after 10 calls, of updates 5 after 2; 16 steps of the environments "
    "in a call; minibatches of 2**19 transitions; peak is what is allocated in an update, rollout included"
)
SIZES = (2**16, 2**18, 2**20)
STEPS = 16
MINIBATCH = 2**19
# Read and written for a step: state, action, elapsed steps, reward, flags and both observations.
BYTES = 64


def peers_on_gpu() -> bool:
    """Whether gymnax can run on the same card; its memory is taken as it is needed, not all at once."""
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    if not peers.COMPILED:
        return False
    import jax

    if jax.default_backend() == "gpu":
        return True
    print("jax has no GPU: gymnax is left out")
    return False


def compiled_steps(actions: torch.Tensor) -> Callable:
    """One step of CartPole, whose physics is one kernel, for a row of actions."""
    env = CartPole(actions.shape[1], device=actions.device)
    env.dynamics = torch.compile(env.dynamics)
    return cases.our_steps(env, actions)


def half_precision_update(count: int, settings: peers.Settings, device: str) -> Callable:
    """An update whose networks run in bfloat16."""
    return cases.our_learner(count, settings, device=device, bf16=True).iterate


def written(label: str, found: dict[str, tuple[float, float, float]], values: dict) -> dict[str, float]:
    """Print and keep medians and percentiles; return the medians."""
    for name, (median, low, high) in found.items():
        print(f"  {label:22s} {name:14s} {median:10.3f} ms ({low:.3f} to {high:.3f})", flush=True)
        values[f"{label}_milliseconds_{name}"] = median
        values[f"{label}_milliseconds_{name}_tenths"] = [low, high]
    return {name: median for name, (median, _, _) in found.items()}


def tried(name: str, make: Callable, *arguments) -> dict[str, list[Callable]]:
    """A contender that ran once, or nothing: one that fails is named and left out."""
    try:
        call = make(*arguments)
        call()
    except Exception as problem:
        print(f"  {name} is left out: {type(problem).__name__}: {str(problem)[:120]}", flush=True)
        return {}
    return {name: [call]}


def environments(sizes: tuple[int, ...], device: torch.device, jax: bool, quick: bool, values: dict) -> dict:
    """Milliseconds of some steps of every environment."""
    medians = {}
    for count in sizes:
        env = CartPole(count, device=device)
        actions = cases.actions_for(env, STEPS)
        ours = cases.our_steps(env, actions)
        calls = {"ours": [ours], "ours_again": [ours]}
        calls |= tried("compiled", compiled_steps, actions)
        if jax:
            calls |= tried("gymnax", peers.gymnax_steps, "CartPole-v1", actions.int().cpu().numpy())
        medians[count] = written(f"cart_pole_{count}", Clock(device).race(calls, quick), values)
    return medians


def updates(sizes: tuple[int, ...], device: torch.device, jax: bool, quick: bool, values: dict) -> dict:
    """Milliseconds of whole updates, and bytes at their peak."""
    clock, medians = Clock(device), {}
    for count in sizes:
        rows = peers.Settings().steps * count
        settings = replace(peers.Settings(), minibatches=max(4, rows // MINIBATCH))
        calls = tried("ours", cases.our_update, count, settings, str(device))
        if calls:
            calls["ours_again"] = calls["ours"]
            values[f"update_{count}_peak_bytes_ours"] = clock.peak_bytes(calls["ours"][0])
        calls |= tried("bfloat16", half_precision_update, count, settings, str(device))
        if jax:
            calls |= tried("pure_jax", peers.pure_jax_ppo, count, settings)
        found = clock.race(calls, quick, warm=2, samples=5)
        medians[count] = written(f"update_{count}", found, values)
        values |= {
            f"update_{count}_steps_per_second_{name}": 1e3 * rows / each for name, each in medians[count].items()
        }
        if "pure_jax" in calls:
            import jax as library

            # The peak of the process so far: sizes only grow.
            values[f"update_{count}_peak_bytes_pure_jax"] = library.devices()[0].memory_stats()["peak_bytes_in_use"]
    return medians


def measure(device: torch.device, quick: bool) -> dict:
    """All measurements; ``quick`` is for trying it out, on any device."""
    jax = peers_on_gpu()
    values = ceilings(device, quick)
    print("one step beside others")
    values |= cases.check_step(device=str(device))
    sizes = (2**8, 2**9) if quick else SIZES
    print("environments")
    alone = environments(sizes, device, jax, quick, values)
    print("updates")
    learned = updates(sizes, device, jax, quick, values)
    if quick:  # nothing is asked of few environments
        return values
    print("bars")
    bars = Bars()
    most = sizes[-1]
    best = min(alone[most][name] for name in ("ours", "compiled") if name in alone[most])
    floor = 1e3 * STEPS * most * BYTES / (1e9 * values["copy_gigabytes_per_second"])
    bars.at_most("G6_steps_over_floor", best / floor, 4)
    if "gymnax" in alone[most]:
        bars.at_least("G6_steps_over_gymnax", alone[most]["gymnax"] / best, 1.0)
    for count in sizes[1:]:
        if {"ours", "pure_jax"} <= learned[count].keys():
            bars.at_least(f"G7_update_over_pure_jax_{count}", learned[count]["pure_jax"] / learned[count]["ours"], 0.8)
    peak = values.get(f"update_{most}_peak_bytes_ours")
    if peak:
        bars.at_most("G7_gibibytes_of_a_million", peak / 2**30, 40)
    return values | bars.values
