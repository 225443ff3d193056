"""Environments and learners that ``benchmarks/rl.py`` times, ours and theirs, and whether they agree."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor

from benchmarks import rl_peers as peers
from lib.rl.envs.cart_pole import CartPole
from lib.rl.envs.vec_env import VecEnv
from lib.rl.evaluation import evaluate
from lib.rl.policies import CategoricalPolicy, ValueFunction
from lib.rl.ppo import Learner, PPOConfig
from lib.rl.spaces import Box, Discrete

SEED = 0
SEEDS = (0, 1, 2, 3, 4)
# Learning until 475: environments, settings of all learners, and steps after which to give up.
LEARNERS = 16
LEARNING = peers.Settings(steps=32, epochs=4, minibatches=2, learning_rate=3e-3)
LIMIT = 500_000
# Rounding of a float32 step from a state of order one.
ROUNDING = 1e-6


class PlainCartPole(CartPole):
    """CartPole in plain torch, also where its accelerated step is installed."""

    _advance = VecEnv._advance


def actions_for(env: VecEnv, steps: int, seed: int = SEED) -> Tensor:
    """Uniform actions (steps, n, ...) of an environment, drawn before anything is timed."""
    generator = torch.Generator(env.device).manual_seed(seed)
    space = env.action_space
    shape = (steps, *env.batch, *space.shape)
    if isinstance(space, Discrete):
        return torch.randint(space.n, shape, generator=generator, device=env.device)
    if not isinstance(space, Box):
        raise SystemExit(f"no actions are drawn from {space}")
    low, high = (torch.as_tensor(bound, dtype=env.dtype, device=env.device) for bound in (space.low, space.high))
    return low + (high - low) * torch.rand(shape, generator=generator, dtype=env.dtype, device=env.device)


def our_steps(env: VecEnv, actions: Tensor) -> Callable:
    """One step a row of actions."""
    env.reset()
    each = list(actions)

    def call():
        for action in each:
            env.step(action)

    return call


def check_step(count: int = 10_000) -> dict[str, float]:
    """Largest difference of one CartPole step from gymnasium's and gymnax's, from the same random states."""
    rng = np.random.default_rng(SEED)
    states = rng.uniform([-2.5, -3, -0.22, -3], [2.5, 3, 0.22, 3], (count, 4))
    actions = rng.integers(0, 2, count)
    gaps = {}

    def compare(name: str, found: tuple[np.ndarray, np.ndarray], env: VecEnv, allowed: float):
        env.reset()
        env.state.copy_(torch.as_tensor(states))
        ours = env.step(torch.as_tensor(actions))
        gap = float((ours.final_observation.double() - torch.tensor(found[0]).double()).abs().max())
        # In single precision a state may lie on the other side of the limit by its rounding.
        differ = ours.terminated != torch.tensor(found[1])
        near = (ours.final_observation[:, 2].abs() - env.params.angle_limit).abs() < ROUNDING
        near |= (ours.final_observation[:, 0].abs() - env.params.position_limit).abs() < ROUNDING
        print(f"  {name:28s} off from ours by {gap:.1e}", flush=True)
        if gap > allowed or bool((differ & ~near).any()):
            raise SystemExit(f"one step of {name} differs from ours")
        gaps[f"step_gap_{name}"] = gap

    if peers.INSTALLED["gymnasium"]:
        theirs = peers.gymnasium_cart_pole(states, actions)
        compare("gymnasium", theirs, PlainCartPole(count, dtype=torch.float64), 1e-12)
        compare("gymnasium_float32", theirs, CartPole(count), ROUNDING)
    if peers.COMPILED:
        theirs = peers.gymnax_cart_pole(states, actions)
        compare("gymnax", theirs, PlainCartPole(count), ROUNDING)
        compare("gymnax_accelerated", theirs, CartPole(count), ROUNDING)
    return gaps


def our_learner(
    count: int, settings: peers.Settings, seed: int | tuple[int, ...] = SEED, device: str = "cpu"
) -> Learner:
    """PPO on CartPole with the peers' settings; several seeds are trained side by side."""
    env = CartPole(count, device=device, seed=seed)
    width = (settings.width, settings.width)
    policy = CategoricalPolicy(env.obs_dim, env.n_actions, width, seed=seed, device=device)
    value_fn = ValueFunction(env.obs_dim, width, seed=seed, device=device)
    cfg = PPOConfig(
        rollout_steps=settings.steps,
        minibatch=settings.steps * count // settings.minibatches,
        epochs=settings.epochs,
        learning_rate=settings.learning_rate,
        gamma=settings.gamma,
        lam=settings.lam,
        clip=settings.clip,
        vf_coef=settings.value,
        ent_coef=settings.entropy,
        value_clip=settings.clip,
        max_grad_norm=settings.norm,
    )
    return Learner(env, policy, value_fn, cfg, total_steps=max(LIMIT, settings.steps * count))


def our_update(count: int, settings: peers.Settings, device: str = "cpu") -> Callable:
    """One iteration of a learner that is made now."""
    return our_learner(count, settings, device=device).iterate


def rollout_bytes(count: int, settings: peers.Settings) -> int:
    """What an iteration has to keep of every step: the rollout, next values, advantages and targets."""
    buffer = our_learner(count, settings).buffer
    return buffer.nbytes + 3 * buffer.value.nbytes


def sb3_update(count: int, settings: peers.Settings) -> Callable:
    """One rollout and all epochs of Stable-Baselines3."""
    model = peers.sb3_ppo(count, settings)
    return lambda: model.learn(settings.steps * count, reset_num_timesteps=False)


def learned(
    update: Callable, returns: Callable[[], list[float]], settings: peers.Settings, limit: int
) -> tuple[list[int], float]:
    """Steps of each seed until the mean return of 100 episodes is 475, and seconds until the last one is there.

    Seeds that do not get there are at the limit. The likeliest actions are taken every ten updates, and the time that
    takes is not counted.
    """
    reached: list[int] = []
    seconds, steps = 0.0, 0
    while steps < limit and (not reached or max(reached) >= limit):
        began = time.process_time()
        for _ in range(10):
            update()
        seconds += time.process_time() - began
        steps += 10 * settings.steps * LEARNERS
        now = returns()
        reached = reached or [limit] * len(now)
        reached = [min(before, steps) if mean >= 475 else before for before, mean in zip(reached, now)]
    return reached, seconds


def time_to_learn(quick: bool) -> dict[str, float | list[float]]:
    """Steps and seconds to 475 on CartPole with 16 environments and the same settings: ours, and the peers'."""
    limit = 10_240 if quick else LIMIT
    values: dict[str, float | list[float]] = {}

    def keep(name: str, update: Callable, returns: Callable[[], list[float]]) -> None:
        steps, seconds = learned(update, returns, LEARNING, limit)
        print(f"  {name:18s} {seconds:8.2f} s, after steps {steps}", flush=True)
        values[f"learn_{name}_steps"] = steps
        values[f"learn_{name}_seconds"] = seconds

    for name, seeds in (("ours", SEEDS), ("ours_alone", SEED)):
        learner = our_learner(LEARNERS, LEARNING, seeds)
        tested = CartPole(100, seed=[seed + 100 for seed in seeds] if name == "ours" else seeds + 100)
        played = partial(evaluate, tested, learner.policy)
        keep(name, learner.iterate, lambda played=played: played().mean(-1).reshape(-1).tolist())

    def peer_returns(mode: Callable[[Tensor], Tensor]) -> list[float]:
        # Only the likeliest action is asked for.
        policy = SimpleNamespace(members=None, mode=mode, sample=mode, evaluate=mode)
        return [float(evaluate(CartPole(100, seed=SEED + 100), policy).mean())]

    if peers.INSTALLED["gymnasium"]:
        loop = peers.CleanLoop(LEARNERS, LEARNING, SEED)
        keep("clean_loop", loop.update, partial(peer_returns, loop.mode))
    if peers.INSTALLED["stable_baselines3"]:
        model = peers.sb3_ppo(LEARNERS, LEARNING, SEED)
        size = LEARNING.steps * LEARNERS

        def mode(obs: Tensor) -> Tensor:
            return torch.as_tensor(model.predict(obs.numpy(), deterministic=True)[0])

        keep("sb3", lambda: model.learn(size, reset_num_timesteps=False), partial(peer_returns, mode))
    return values
