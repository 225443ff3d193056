"""How long learners take until CartPole is solved, all with 16 environments and the same settings.

Solved is a mean return of 475 in 100 episodes of the likeliest actions, asked for after every ten updates. The time
that asking takes is not counted. For ``benchmarks/rl.py``.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor, nn

from benchmarks import rl_cases as cases
from benchmarks import rl_peers as peers
from lib.rl.envs.cart_pole import CartPole
from lib.rl.evaluation import evaluate

SEEDS = (0, 1, 2, 3, 4)
# Of a single learner, ours or a peer.
ALONE = SEEDS[:3]
ENVIRONMENTS = 16
SETTINGS = peers.Settings(steps=32, epochs=4, minibatches=2, learning_rate=3e-3)
SIZE = SETTINGS.steps * ENVIRONMENTS
LIMIT = 500_000


def solved(update: Callable, returns: Callable[[], list[float]], limit: int) -> tuple[list[int], float]:
    """Steps of each seed until it is solved, or the limit, and processor seconds until all are."""
    reached: list[int] = []
    seconds, steps = 0.0, 0
    while steps < limit and (not reached or max(reached) >= limit):
        began = time.process_time()
        for _ in range(10):
            update()
        seconds += time.process_time() - began
        steps += 10 * SIZE
        now = returns()
        reached = reached or [limit] * len(now)
        reached = [min(before, steps) if mean >= 475 else before for before, mean in zip(reached, now)]
    return reached, seconds


def our_learner(seeds: int | tuple[int, ...]) -> tuple[Callable, Callable[[], list[float]]]:
    """One learner, or several side by side: what updates it, and what tells its returns."""
    learner = cases.our_learner(ENVIRONMENTS, SETTINGS, seeds)
    tested = CartPole(100, seed=seeds + 100 if isinstance(seeds, int) else [seed + 100 for seed in seeds])
    return learner.iterate, lambda: evaluate(tested, learner.policy).mean(-1).reshape(-1).tolist()


def clean_loop(seed: int) -> tuple[Callable, Callable[[], list[float]]]:
    """The loop in CleanRL's shape."""
    loop = peers.CleanLoop(ENVIRONMENTS, SETTINGS, seed)
    return loop.update, partial(returns_of, loop.mode, seed)


def sb3(seed: int) -> tuple[Callable, Callable[[], list[float]]]:
    """Stable-Baselines3."""
    model = peers.sb3_ppo(ENVIRONMENTS, SETTINGS, seed)

    def mode(obs: Tensor) -> Tensor:
        return torch.as_tensor(model.predict(obs.numpy(), deterministic=True)[0])

    return lambda: model.learn(SIZE, reset_num_timesteps=False), partial(returns_of, mode, seed)


class Likeliest(nn.Module):
    """A peer's policy, for the evaluation that ours has: only its most likely actions are asked for."""

    members = None

    def __init__(self, mode: Callable[[Tensor], Tensor]):
        super().__init__()
        self.mode = self.sample = self.evaluate = mode


def returns_of(mode: Callable[[Tensor], Tensor], seed: int) -> list[float]:
    """Mean return of likeliest actions, in the environments that ours are tested in."""
    return [float(evaluate(CartPole(100, seed=seed + 100), Likeliest(mode)).mean())]


def contenders() -> Iterator[tuple[str, Callable]]:
    """Learners of one seed that are installed."""
    yield "ours", our_learner
    if peers.INSTALLED["gymnasium"]:
        yield "clean_loop", clean_loop
    if peers.INSTALLED["stable_baselines3"]:
        yield "sb3", sb3


def time_to_learn(quick: bool) -> dict[str, float | list[float]]:
    """Steps and seconds of five seeds of ours side by side, and of three seeds of each learner, one after the other."""
    limit = 20 * SIZE if quick else LIMIT
    values: dict[str, float | list[float]] = {}
    steps, seconds = solved(*our_learner(SEEDS), limit)
    print(f"  {'ours, side by side':18s} {seconds:8.2f} s for all, after steps {steps}", flush=True)
    values["solved_side_by_side_steps"], values["solved_side_by_side_seconds"] = steps, seconds
    for name, make in contenders():
        found = [solved(*make(seed), limit) for seed in ALONE]
        values[f"solved_{name}_steps"] = [steps for (steps,), _ in found]
        values[f"solved_{name}_seconds"] = [seconds for _, seconds in found]
        middle = statistics.median(values[f"solved_{name}_seconds"])
        print(f"  {name:18s} {middle:8.2f} s (median), after steps {values[f'solved_{name}_steps']}", flush=True)
    return values
