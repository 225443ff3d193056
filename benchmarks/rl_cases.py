"""Environments and learners that ``benchmarks/rl.py`` times, ours and theirs, and whether they agree."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from benchmarks import rl_peers as peers
from lib.rl.envs.cart_pole import CartPole
from lib.rl.envs.vec_env import VecEnv
from lib.rl.policies import CategoricalPolicy, ValueFunction
from lib.rl.ppo import Learner, PPOConfig
from lib.rl.spaces import Box, Discrete

SEED = 0
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
        # 32 bits, as gymnax takes them.
        return torch.randint(space.n, shape, generator=generator, device=env.device, dtype=torch.int32)
    if not isinstance(space, Box):
        raise SystemExit(f"no actions are drawn from {space}")
    low, high = (torch.as_tensor(bound, dtype=env.dtype, device=env.device) for bound in (space.low, space.high))
    return low + (high - low) * torch.rand(shape, generator=generator, dtype=env.dtype, device=env.device)


def our_steps(env: VecEnv, actions: Tensor, times: int = 1) -> Callable:
    """One step a row of actions, and all of them some times over."""
    env.reset()
    each = list(actions) * times

    def call():
        for action in each:
            env.step(action)

    return call


def check_step(count: int = 10_000, device: str = "cpu") -> dict[str, float]:
    """Largest difference of one CartPole step from gymnasium's and gymnax's, from the same random states."""
    rng = np.random.default_rng(SEED)
    states = rng.uniform([-2.5, -3, -0.22, -3], [2.5, 3, 0.22, 3], (count, 4))
    actions = rng.integers(0, 2, count)
    gaps = {}

    def compare(name: str, found: tuple[np.ndarray, np.ndarray], env: VecEnv, allowed: float):
        env.reset()
        env.state.copy_(torch.as_tensor(states))
        moved = env.step(torch.as_tensor(actions, device=device))
        arrived, terminated = moved.final_observation.double().cpu(), moved.terminated.cpu()
        gap = float((arrived - torch.tensor(found[0]).double()).abs().max())
        # In single precision a state may lie on the other side of the limit by its rounding.
        differ = terminated != torch.tensor(found[1])
        near = (arrived[:, 2].abs() - env.params.angle_limit).abs() < ROUNDING
        near |= (arrived[:, 0].abs() - env.params.position_limit).abs() < ROUNDING
        print(f"  {name:28s} off from ours by {gap:.1e}", flush=True)
        if gap > allowed or bool((differ & ~near).any()):
            raise SystemExit(f"one step of {name} differs from ours")
        gaps[f"step_gap_{name}"] = gap

    if peers.INSTALLED["gymnasium"]:
        theirs = peers.gymnasium_cart_pole(states, actions)
        compare("gymnasium", theirs, PlainCartPole(count, device, torch.float64), 1e-12)
        compare("gymnasium_float32", theirs, CartPole(count, device), ROUNDING)
    if peers.COMPILED:
        theirs = peers.gymnax_cart_pole(states, actions)
        compare("gymnax", theirs, PlainCartPole(count, device), ROUNDING)
        compare("gymnax_accelerated", theirs, CartPole(count, device), ROUNDING)
    return gaps


def our_learner(
    count: int, settings: peers.Settings, seed: int | tuple[int, ...] = SEED, device: str = "cpu", **changed
) -> Learner:
    """PPO on CartPole with the peers' settings and some changed; several seeds are trained side by side."""
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
        **changed,
    )
    return Learner(env, policy, value_fn, cfg, total_steps=settings.steps * count)


def our_update(count: int, settings: peers.Settings, device: str = "cpu") -> Callable:
    """One iteration of a learner that is made now."""
    return our_learner(count, settings, device=device).iterate


def rollout_bytes(count: int, settings: peers.Settings) -> int:
    """What an iteration keeps of all steps, advantages and targets included."""
    return our_learner(count, settings).buffer.nbytes


def sb3_update(count: int, settings: peers.Settings) -> Callable:
    """One rollout and all epochs of Stable-Baselines3."""
    model = peers.sb3_ppo(count, settings)
    return lambda: model.learn(settings.steps * count, reset_num_timesteps=False)
