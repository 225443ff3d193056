"""Reinforcement learning beside its peers, in one run on one thread: environment steps, whole updates, time to learn.

    taskset -c 0 python -m benchmarks.rl --write     # writes results/ppo-scaling/rl-cpu.json
    python -m benchmarks.rl --device cuda --write    # writes results/ppo-scaling/rl-cuda.json
    python -m benchmarks.rl --quick                  # few environments, to see that it works

Before anything is timed one CartPole step is compared with gymnasium's and gymnax's from the same states. Then the
contenders take turns in one process and the median round counts: processor time on a CPU (what neighbours on the
machine take does not count), events of the device on a GPU. Actions of the environments on their own are drawn before.
An update is 128 steps of every environment and four epochs of four minibatches. Peak memory is that of all tensors of a
learner, its rollout included, as torch hands it out in a fresh process. Peers that are not installed (gymnax with jax,
flax and optax; gymnasium; stable_baselines3) are named and left out.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable

import torch

from benchmarks import rl_cases as cases
from benchmarks import rl_cuda, rl_learning
from benchmarks import rl_peers as peers
from benchmarks.report import Record
from benchmarks.timing import (
    CPU,
    Bars,
    keep_freed_memory,
    keep_to_one_core,
    peak_tensor_bytes,
    printed_by_fresh_process,
    race,
)
from lib.rl.envs.acrobot import Acrobot
from lib.rl.envs.breakout import MiniBreakout
from lib.rl.envs.cart_pole import CartPole
from lib.rl.envs.mountain_car import MountainCar
from lib.rl.envs.pendulum import Pendulum

SIZES = (1024, 16384, 65536, 2**20)
LISTED = (16384, 65536)
UPDATES = (64, 1024, 4096)
LARGE = 16384
# Environments on their own take about as many steps in one call as this.
STEPS = 2**20
# Steps of the larger number of environments in a call that shows whether a step costs more with it.
GROWTH_STEPS = 32
# Environments whose updates take as long as this many of one environment in a call.
IN_A_ROW = 2048
OTHERS = {
    "pendulum": (Pendulum, "Pendulum-v1"),
    "mountain_car": (MountainCar, "MountainCar-v0"),
    "acrobot": (Acrobot, "Acrobot-v1"),
    "breakout": (MiniBreakout, "Breakout-MinAtar"),
}
NOTE = (
    "float32; processor time of one core, median of {rounds} rounds; the process keeps freed memory "
    "(MALLOC_TRIM_THRESHOLD_); actions drawn before the environments are timed; an update is 128 steps of every "
    "environment and 4 epochs of 4 minibatches through two 64-64 tanh networks; peak memory of all tensors of a "
    "learner and its update in a fresh process"
)


def rates(label: str, calls: dict, steps: int, rounds: int, values: dict) -> dict[str, float]:
    """Steps a second of contenders that take turns; written to ``values`` under ``label``."""
    taken = race(calls, rounds, CPU)
    found = {name: steps / seconds for name, seconds in taken.items()}
    for name, rate in found.items():
        print(f"  {label:28s} {name:18s} {rate / 1e6:10.3f} million steps/s", flush=True)
        values[f"{label}_steps_per_second_{name}"] = rate
    return found


def environments(sizes: tuple[int, ...], rounds: int, values: dict) -> dict[int, dict[str, float]]:
    """CartPole on its own, in plain torch, with its accelerated step and in gymnax."""
    found = {}
    for count in sizes:
        steps = max(4, STEPS // count)
        plain, accelerated = cases.PlainCartPole(count), CartPole(count)
        actions = cases.actions_for(plain, steps)
        calls = {"plain": cases.our_steps(plain, actions), "accelerated": cases.our_steps(accelerated, actions)}
        if peers.COMPILED:
            calls["gymnax"] = peers.gymnax_steps("CartPole-v1", actions.numpy())
        found[count] = rates(f"cart_pole_{count}", calls, steps * count, rounds, values)
    if peers.INSTALLED["gymnasium"]:
        actions = cases.actions_for(CartPole(64), 64)
        rates("cart_pole_64", {"gymnasium": peers.gymnasium_steps(actions.numpy())}, 64 * 64, rounds, values)
    return found


def growth(sizes: tuple[int, int], rounds: int, values: dict) -> dict[str, float]:
    """Rate with many environments over that with few, in turns: what a step costs does not grow where this is 1.

    A call is long enough that what the contender before it left in the caches does not count.
    """
    few, many = sizes
    calls, work = {}, {}
    for name, make in (("plain", cases.PlainCartPole), ("accelerated", CartPole)):
        for count in sizes:
            steps = GROWTH_STEPS * many // count
            env = make(count)
            actions = cases.actions_for(env, min(steps, 8))
            calls[name, count] = cases.our_steps(env, actions, times=steps // len(actions))
            work[name, count] = steps * count
    taken = race(calls, rounds, CPU)
    rate = {key: work[key] / seconds for key, seconds in taken.items()}
    found = {name: rate[name, many] / rate[name, few] for name in ("plain", "accelerated")}
    for name, ratio in found.items():
        print(f"  rate with {many} over {few} environments, {name}: {ratio:.2f}", flush=True)
        values[f"cart_pole_rate_{many}_over_{few}_{name}"] = ratio
    return found


def other_environments(sizes: tuple[int, ...], rounds: int, values: dict) -> dict[str, dict[str, float]]:
    """The other environments, beside gymnax's; ours take the actions that gymnax takes."""
    found = {}
    for name, (make, theirs) in OTHERS.items():
        for count in sizes:
            steps = max(4, STEPS // 4 // count)
            env = make(count)
            actions = cases.actions_for(env, steps)
            calls = {"ours": cases.our_steps(env, actions)}
            if peers.COMPILED:
                calls["gymnax"] = peers.gymnax_steps(theirs, actions.numpy())
            found[f"{name}_{count}"] = rates(f"{name}_{count}", calls, steps * count, rounds, values)
    return found


def repeated(call: Callable, times: int) -> Callable:
    """A call, some times over."""

    def run():
        for _ in range(times):
            call()

    return run


def updates(sizes: tuple[int, ...], rounds: int, values: dict) -> dict[int, dict[str, float]]:
    """Whole updates of PPO on CartPole, ours and theirs."""
    found = {}
    settings = peers.Settings()
    for count in sizes:
        calls = {"ours": cases.our_update(count, settings)}
        if peers.COMPILED:
            calls["pure_jax"] = peers.pure_jax_ppo(count, settings)
        if count <= 64:
            if peers.INSTALLED["stable_baselines3"]:
                calls["sb3"] = cases.sb3_update(count, settings)
            if peers.INSTALLED["gymnasium"]:
                calls["clean_loop"] = peers.CleanLoop(count, settings).update
        here = rounds if count < LARGE else min(rounds, 2)
        # Training is one update after the other: short ones are timed in a row, not each after other contenders.
        row = max(1, IN_A_ROW // count)
        calls = {name: repeated(call, row) for name, call in calls.items()}
        found[count] = rates(f"update_{count}", calls, row * settings.steps * count, here, values)
    return found


def peak(count: int) -> dict[str, float]:
    """Bytes of all tensors of a learner at the peak of its first update, in a fresh process, and of its rollout."""
    settings = peers.Settings()
    cases.our_update(64, settings)()
    return {
        "peak_bytes": peak_tensor_bytes(lambda: cases.our_update(count, settings)()),
        "rollout_bytes": cases.rollout_bytes(count, settings),
    }


def measure(options: argparse.Namespace) -> dict:
    rounds, quick = options.rounds, options.quick
    values: dict[str, float] = {}
    print("one step beside others")
    values |= cases.check_step()
    print("environments")
    alone = environments((1024, 2048) if quick else SIZES, rounds, values)
    grown = growth((1024, 2048) if quick else (16384, 2**20), rounds, values)
    listed = other_environments((1024,) if quick else LISTED, rounds, values)
    print("updates")
    learned = updates((16, 64) if quick else (*UPDATES, LARGE), rounds, values)
    print("peak memory of an update")
    memory = {}
    for count in (256,) if quick else (1024, 4096, LARGE):
        found = printed_by_fresh_process("rl", "--peak", count)
        memory[count] = found["peak_bytes"] / found["rollout_bytes"]
        values |= {f"update_{name}_{count}": value for name, value in found.items()}
        print(f"  {count:6d} environments: {found['peak_bytes'] / 1e6:.1f} MB, {memory[count]:.2f} x the rollout")
    print("CartPole until the mean return is 475")
    learning = rl_learning.time_to_learn(quick)
    values |= learning
    if quick:  # nothing is asked of few environments
        return values
    print("bars")
    bars = Bars()
    if peers.COMPILED:
        base = alone[16384]
        bars.at_least("R1_plain_over_gymnax", base["plain"] / base["gymnax"], 1.2)
        bars.at_least("R1_accelerated_over_gymnax", base["accelerated"] / base["gymnax"], 6)
        for count in (1024, 4096):
            there = learned[count]
            bars.at_least(f"R2_update_over_pure_jax_{count}", there["ours"] / there["pure_jax"], 0.75)
    # No slowdown: the ratio of two equal rates differs from 1 by up to 5 per cent from run to run.
    bars.at_least("R1_rate_of_a_million_over_16384", grown["accelerated"], 0.95)
    bars.at_least("R1_rate_of_a_million_over_16384_plain", grown["plain"], 0.95)
    bars.at_least("breakout_million_steps_per_second_65536", listed["breakout_65536"]["ours"] / 1e6, 2)
    if "sb3" in learned[64]:
        bars.at_least("R2_update_over_sb3_64", learned[64]["ours"] / learned[64]["sb3"], 5)
    for count, ratio in memory.items():
        bars.at_most(f"R3_peak_over_rollout_{count}", ratio, 1.3)
    bars.at_most("R4_steps_of_slowest_seed", max(learning["solved_side_by_side_steps"]), 500_000)
    return values | bars.values


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="few environments, to see that it works")
    parser.add_argument("--write", action="store_true", help="write the run to results/ppo-scaling")
    parser.add_argument("--peak", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    device = torch.device(options.device)
    keep_to_one_core(device)
    if options.peak:
        print(json.dumps(peak(options.peak)))
        return
    for name, there in peers.INSTALLED.items():
        if not there:
            print(f"{name} is not installed: left out")
    record = Record("rl", arguments, device)
    cuda = device.type == "cuda"
    values = rl_cuda.measure(device, options.quick) if cuda else measure(options)
    print(json.dumps(values, indent=2))
    if options.write:
        record.write(
            "ppo-scaling",
            f"rl-{device.type}",
            values,
            seeds=[cases.SEED] if cuda else rl_learning.SEEDS,
            note=rl_cuda.NOTE if cuda else NOTE.format(rounds=options.rounds),
        )


if __name__ == "__main__":
    keep_freed_memory()
    main()
