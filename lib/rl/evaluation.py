"""How well a policy does: the return of one episode from each of n environments."""

from __future__ import annotations

import torch
from torch import Tensor

from lib import checks
from lib.rl.envs.vec_env import VecEnv
from lib.rl.normalization import RunningStatistics
from lib.rl.policies import CategoricalPolicy, GaussianPolicy, MultiCategoricalPolicy, ValueFunction
from lib.rl.spaces import Discrete

__all__ = ["evaluate"]

OF_REAL_NUMBERS = (CategoricalPolicy, GaussianPolicy, MultiCategoricalPolicy, ValueFunction)
"""Modules that hand observations to their networks as they come; what derives from them may do otherwise."""


@torch.no_grad()
def evaluate(
    env: VecEnv,
    policy: torch.nn.Module,
    deterministic: bool = True,
    *,
    max_steps: int | None = None,
    statistics: RunningStatistics | None = None,
) -> Tensor:
    """Play one episode in each environment.

    The first episode of every environment counts and no other: the first episodes to end, of all that were started,
    would be the short ones.

    Parameters
    ----------
    env : VecEnv
        Environments to play in: as many as episodes are wanted. They are reset here.
    policy : torch.nn.Module
        From :mod:`lib.rl.policies`.
    deterministic : bool
        Take the most likely action. Otherwise actions are drawn, from streams that derive from those of ``env``.
    max_steps : int, optional
        Stop here at the latest, and count what was collected; the time limit of the environment by default.
    statistics : RunningStatistics, optional
        What observations were normalized with in training.

    Returns
    -------
    Tensor, (n,) or (members, n)
        Return of each episode, not discounted, in the type of the rewards.

    Raises
    ------
    ValueError
        If an argument is of the wrong kind, or neither the environment nor ``max_steps`` limits an episode.

    Examples
    --------
    >>> from lib.rl.envs.cart_pole import CartPole
    >>> from lib.rl.policies import CategoricalPolicy
    >>> returns = evaluate(CartPole(50, seed=1), CategoricalPolicy(4, 2, seed=0))
    >>> returns.shape, bool(returns.min() >= 8)
    (torch.Size([50]), True)
    """
    check_pair(env, policy)
    checks.flag("deterministic", deterministic)
    limit = env.max_steps if max_steps is None else checks.integer("max_steps", max_steps, lowest=1)
    if limit is None:
        raise ValueError("max_steps must limit the episodes, because the environment does not")
    if statistics is not None and not isinstance(statistics, RunningStatistics):
        raise ValueError(f"statistics must be RunningStatistics or None, got {checks.describe(statistics)}")
    streams = env.streams.beside("evaluation")
    observation = env.reset()
    total: Tensor | None = None
    for step in range(limit):
        seen = observation if statistics is None else statistics.normalize(observation)
        action = policy.mode(seen) if deterministic else policy.sample(seen, streams)[0]
        moved = env.step(action)
        if total is None:
            total = torch.zeros_like(moved.reward)
            running = torch.ones_like(moved.terminated)
        total += torch.where(running, moved.reward, 0)
        running &= ~(moved.terminated | moved.truncated)
        observation = moved.observation
        # On a GPU each look waits for the device.
        if (env.device.type == "cpu" or step % 32 == 31) and not bool(running.any()):
            break
    return total


def check_pair(env: VecEnv, policy: torch.nn.Module) -> None:
    """Check that an environment and a policy belong together."""
    if isinstance(env, type) or not all(hasattr(env, name) for name in ("reset", "step", "streams")):
        raise ValueError(f"env must be a VecEnv, got {checks.describe(env)}")
    methods = all(callable(getattr(policy, name, None)) for name in ("sample", "evaluate", "mode"))
    if not isinstance(policy, torch.nn.Module) or not methods:
        raise ValueError(f"policy must be a module with the methods of lib.rl.policies, got {checks.describe(policy)}")
    members = getattr(policy, "members", None)
    if members != env.members:
        raise ValueError(f"policy must have members={env.members} as env has, got members={members}")
    check_observations(env, "policy", policy, "TabularPolicy")
    # A policy with more actions would take some that the environment does not check.
    for name, counted in (("n_actions", "n"), ("sizes", "sizes")):
        allowed = getattr(env.action_space, counted, None)
        chosen = getattr(policy, name, allowed)
        if allowed is not None and chosen != allowed:
            raise ValueError(f"policy must have {name}={allowed} as env has, got {name}={chosen}")


def check_observations(env: VecEnv, name: str, module: torch.nn.Module, tabular: str) -> None:
    """Check that a policy or value function takes the observations of an environment as numbers of states."""
    shown = getattr(env, "observation_space", None)
    if isinstance(shown, Discrete) and type(module) in OF_REAL_NUMBERS:
        raise ValueError(
            f"{name} must take the numbers of states that env shows ({shown}), as lib.rl.policies.{tabular} does, "
            f"got {type(module).__name__}, whose network takes real numbers"
        )
