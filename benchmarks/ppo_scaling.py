"""Learning curves of PPO with few and with many environments: where it stops, and what makes it go on.

    taskset -c 0 python -m benchmarks.ppo_scaling --write    # writes results/ppo-scaling/learning-curves-cpu.json
    python -m benchmarks.ppo_scaling --device cuda --write   # 2**10 to 2**20 environments, learning-curves-cuda.json

Pendulum with rewards times 0.1 and torques of twice the action, a 32-32 tanh policy with a standard deviation of its
own and a value function of the same size, 32 steps of every environment in an iteration, 8 epochs. The inner loop that
16 environments use (minibatches of 512, learning rate 0.003) is kept with more environments, or replaced by as many
minibatches as before. Environments that start together on Pendulum stay together, so that what an iteration sees is one
part of the episode; in the runs called staggered they do not. Such a run of 16 environments that has stopped is then
continued from where it stands: as it was, with a tenth of the step, with sixteen times the environments. CartPole and a
noisy grid are where few environments are enough, or not. Seeds are trained side by side.

Of every run the file holds numbers (``n16_environments``, ``n16_minibatch``, ``n16_learning_rate``,
``n16_gradient_steps`` in an iteration, ``n16_seconds`` for all seeds), a curve over ``n16_steps``, environment steps of
one seed: ``n16_return_seed0``, and ``n16_kl_seed0`` and ``n16_ddr_seed0``, means since the entry before; and, of each
seed, ``n16_plateau``, the mean of the last three returns, and ``n16_second_half``, that of the second half of them.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from benchmarks.report import Record
from lib.progress import ProgressBar
from lib.rl import checkpoints
from lib.rl.envs.cart_pole import CartPole
from lib.rl.envs.noisy_grid import NoisyGrid, NoisyGridParams
from lib.rl.envs.pendulum import Pendulum
from lib.rl.envs.vec_env import VecEnv
from lib.rl.evaluation import evaluate
from lib.rl.inner_loop import data_to_divergence
from lib.rl.policies import CategoricalPolicy, GaussianPolicy, TabularPolicy, TabularValue, ValueFunction
from lib.rl.policy_evaluation import policy_value
from lib.rl.ppo import Learner, PPOConfig, StepCut, train_ppo

STEPS = 32
EVALUATIONS = 30
# Of the noisy grid; the discount of its exact values.
DISCOUNT = 0.97
NOTE = (
    "rewards x 0.1 and torques of twice the action on Pendulum; returns of the likeliest actions in 256 new episodes "
    "(CartPole 100), of the noisy grid the exact discounted value of the policy; seeds side by side; float32"
)


class DoubleTorquePendulum(Pendulum):
    """Pendulum whose torque is twice the action."""

    def dynamics(self, state, action, params=None, generator=None):
        """One step: (next_state, reward, terminated)."""
        return super().dynamics(state, 2 * action, params, generator)


class StaggeredPendulum(DoubleTorquePendulum):
    """The same with first episodes of random lengths, so that later ones do not all start and end in the same step."""

    def reset(self):
        """Start all episodes anew, as if some of their steps had been taken already."""
        observation = super().reset()
        share = self.streams.beside("stagger").uniform(self.n)
        self.elapsed = (share * self.max_steps).to(self.elapsed.dtype)
        return observation


@dataclass(frozen=True)
class Run:
    """One line of the table: a task, its environments and its inner loop."""

    task: str
    environments: int
    minibatch: int
    learning_rate: float
    total_steps: int
    epochs: int = 8
    cut_at: int | None = None
    staggered: bool = False
    continues: str | None = None

    def config(self) -> PPOConfig:
        """Settings of the learner."""
        settings = {
            "pendulum": {"gamma": 0.95, "lam": 0.95, "reward_scale": 0.1},
            "cart_pole": {},
            "noisy_grid": {"gamma": DISCOUNT, "ent_coef": 0.01},
        }
        return PPOConfig(
            rollout_steps=STEPS,
            minibatch=self.minibatch,
            epochs=self.epochs,
            learning_rate=self.learning_rate,
            schedule="constant" if self.cut_at is None else StepCut(self.cut_at, 0.1),
            **settings[self.task],
        )


FEW = Run("pendulum", 16, 512, 3e-3, 200_000)
MANY = replace(FEW, environments=1024, total_steps=600_000)
FIXED = replace(MANY, minibatch=16384)
AFTER = replace(FEW, total_steps=400_000, staggered=True, continues="staggered_n16")
GRID = Run("noisy_grid", 16, 512, 0.3, 400_000)
RUNS = {
    "n16": FEW,
    "n16_cut": replace(FEW, cut_at=100_000),
    "n16_small": replace(FEW, learning_rate=3e-4),
    "n128": replace(FEW, environments=128, total_steps=400_000),
    "n1024": MANY,
    "n1024_fixed": FIXED,
    "n1024_fixed_sqrt": replace(FIXED, learning_rate=3e-3 * math.sqrt(32)),
    "n1024_fixed_linear": replace(FIXED, learning_rate=3e-3 * 32),
    "staggered_n16": replace(FEW, staggered=True),
    "staggered_n128": replace(FEW, environments=128, total_steps=400_000, staggered=True),
    "staggered_n1024": replace(MANY, staggered=True),
    "after_unchanged": AFTER,
    "after_smaller": replace(AFTER, learning_rate=3e-4),
    "after_more": replace(AFTER, environments=256),
    "cart_pole_n16": Run("cart_pole", 16, 256, 5e-3, 150_000, epochs=4),
    "noisy_grid_n16": GRID,
    "noisy_grid_n128": replace(GRID, environments=128),
    "noisy_grid_n1024": replace(GRID, environments=1024, total_steps=1_200_000),
}


def cuda_runs(total_steps: int) -> dict[str, Run]:
    """Runs of a GPU: the inner loop of 1 024 environments, one minibatch of all they collect, kept up to a million."""
    found = {}
    for task, rate in (("pendulum", 3e-3), ("noisy_grid", 0.3)):
        for power in (10, 13, 16, 20):
            count = 2**power
            total = max(total_steps, 4 * STEPS * count)
            found[f"{task}_n{count}"] = Run(task, count, STEPS * 1024, rate, total, staggered=task == "pendulum")
    return found


def made(run: Run, seeds: tuple[int, ...], device: str) -> tuple[VecEnv, nn.Module, nn.Module, Callable]:
    """Environments, policy, value function and what tells the return of each seed."""
    later = [seed + 1000 for seed in seeds]
    if run.task == "pendulum":
        kind = StaggeredPendulum if run.staggered else DoubleTorquePendulum
        env = kind(run.environments, device=device, seed=seeds)
        tested = DoubleTorquePendulum(256, device=device, seed=later)
        policy = GaussianPolicy(3, 1, (32, 32), seed=seeds, device=device)
        value_fn = ValueFunction(3, (32, 32), seed=seeds, device=device)
    elif run.task == "cart_pole":
        env, tested = (CartPole(n, device=device, seed=each) for n, each in ((run.environments, seeds), (100, later)))
        policy = CategoricalPolicy(4, 2, (64, 64), seed=seeds, device=device)
        value_fn = ValueFunction(4, (64, 64), seed=seeds, device=device)
    else:
        env = NoisyGrid(run.environments, device=device, seed=seeds, params=NoisyGridParams(sigma=5.0))
        policy = TabularPolicy(env.obs_dim, env.n_actions, seed=seeds, device=device)
        value_fn = TabularValue(env.obs_dim, seed=seeds, device=device)
        return env, policy, value_fn, lambda: exact_value(env, policy)
    return env, policy, value_fn, lambda: evaluate(tested, policy).mean(-1)


@torch.no_grad()
def exact_value(env: NoisyGrid, policy: TabularPolicy) -> Tensor:
    """Discounted value of each member's policy, on average over the first states."""
    P, R = env.tables()
    chances = policy.table.double().softmax(-1).cpu()
    return policy_value(P, R, DISCOUNT, chances) @ env.params.outcomes().start


def learn(run: Run, seeds: tuple[int, ...], device: str, resume: dict | None) -> tuple[dict, dict]:
    """Train all seeds of a run; what is written of it, and the checkpoint of its end."""
    env, policy, value_fn, returns = made(run, seeds, device)
    first, before = 0, 0
    if resume is not None:
        first, before = resume["steps"], resume["iteration"]
        if env.n != RUNS[run.continues].environments:
            resume = checkpoints.without_environments(resume)
    iterations = run.total_steps // (STEPS * env.n)
    every = math.ceil(iterations / EVALUATIONS)
    marks, curve = [], []
    seconds = 0.0

    def look(learner: Learner) -> None:
        nonlocal seconds, began
        seconds += time.process_time() - began
        if (learner.iteration - before) % every == 0:
            marks.append(learner.iteration)
            curve.append(returns().tolist())
        began = time.process_time()

    began = time.process_time()
    log = train_ppo(env, policy, value_fn, run.config(), first + run.total_steps, look, resume=resume)
    divergence = [part.mean(0) for part in log["approx_kl"][before : marks[-1]].split(every)]
    divergence = torch.stack(divergence).clamp(min=1e-9)
    ratio = data_to_divergence(env.n, STEPS, divergence)
    found = {
        "environments": env.n,
        "minibatch": run.minibatch,
        "learning_rate": rounded(run.learning_rate),
        "gradient_steps": int(log["gradient_steps"][-1, 0]),
        "seconds": round(seconds, 1),
        "steps": [int(log["steps"][mark - 1, 0]) for mark in marks],
        "plateau": [rounded(float(mean)) for mean in torch.tensor(curve[-3:]).mean(0)],
        "second_half": [rounded(float(mean)) for mean in torch.tensor(curve[len(curve) // 2 :]).mean(0)],
    }
    for member, seed in enumerate(seeds):
        found[f"return_seed{seed}"] = [rounded(entry[member], 4) for entry in curve]
        found[f"kl_seed{seed}"] = [rounded(entry) for entry in divergence[:, member].tolist()]
        found[f"ddr_seed{seed}"] = [rounded(entry) for entry in ratio[:, member].tolist()]
    return found, log.checkpoint


def rounded(number: float, digits: int = 3) -> float:
    """To so many significant digits: the file is read by a page."""
    return float(f"{number:.{digits}g}")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", nargs="+", metavar="RUN", help="some of the runs, and those they continue")
    parser.add_argument("--steps", type=int, default=2**28, help="environment steps of a run on a GPU")
    parser.add_argument("--write", action="store_true", help="write the curves to results/ppo-scaling")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    record = Record("ppo_scaling", arguments, options.device)
    runs = RUNS if record.device.type == "cpu" else cuda_runs(options.steps)
    chosen = runs if options.only is None else {name: runs[name] for name in options.only}
    seeds = tuple(range(options.seeds))
    values: dict[str, float | list[float]] = {}
    ends: dict[str, dict] = {}
    bar = ProgressBar("runs")
    for done, (name, run) in enumerate(chosen.items()):
        if run.continues is not None and run.continues not in ends:
            ends[run.continues] = learn(runs[run.continues], seeds, options.device, None)[1]
        found, ends[name] = learn(run, seeds, options.device, ends.get(run.continues))
        values |= {f"{name}_{key}": value for key, value in found.items()}
        print(f"{name:20s} {found['seconds']:8.1f} s   last three returns {found['plateau']}", flush=True)
        bar(done + 1, len(chosen))
    if options.write:
        record.write(
            "ppo-scaling",
            f"learning-curves-{record.device.type}",
            values,
            seeds=seeds,
            note=NOTE,
        )


if __name__ == "__main__":
    main()
