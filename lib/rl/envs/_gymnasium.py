"""Environments of this package under gymnasium's interfaces. Needs gymnasium; imported when it is asked for."""

from __future__ import annotations

import gymnasium
import numpy as np
import torch
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space

from lib import checks
from lib.rl.envs.vec_env import VecEnv
from lib.rl.spaces import Box, Discrete, MultiDiscrete, Space

__all__ = ["OneEnvironment", "VectorEnvironment", "our_space", "their_space"]


def their_space(space: Space, dtype: np.dtype) -> gymnasium.Space:
    """A space as gymnasium describes it, boxes with entries of a type."""
    if isinstance(space, Discrete):
        return gymnasium.spaces.Discrete(space.n)
    if isinstance(space, MultiDiscrete):
        return gymnasium.spaces.MultiDiscrete(space.sizes)
    low, high = (np.broadcast_to(np.asarray(bound, dtype), space.shape) for bound in (space.low, space.high))
    return gymnasium.spaces.Box(low, high, space.shape, dtype)


def our_space(name: str, space: gymnasium.Space) -> Space:
    """A space of gymnasium as this package describes it; bounds that differ within a column are widened to one."""
    if isinstance(space, gymnasium.spaces.Discrete):
        return Discrete(int(space.n))
    if isinstance(space, gymnasium.spaces.MultiDiscrete) and space.nvec.ndim == 1:
        return MultiDiscrete(tuple(int(size) for size in space.nvec))
    if not isinstance(space, gymnasium.spaces.Box):
        raise ValueError(f"source must have a Box, Discrete or flat MultiDiscrete {name}, got {checks.describe(space)}")
    width = space.shape[-1] if space.shape else 1
    low, high = space.low.reshape(-1, width).min(0).tolist(), space.high.reshape(-1, width).max(0).tolist()
    one = len(set(low)) == len(set(high)) == 1
    return Box(low[0] if one else tuple(low), high[0] if one else tuple(high), tuple(space.shape))


def _array(tensor: torch.Tensor) -> np.ndarray:
    """A copy for gymnasium; yes and no as 1 and 0."""
    array = tensor.detach().cpu().numpy()
    return array.astype(np.uint8) if array.dtype == bool else array.copy()


def _spaces(env: VecEnv) -> tuple[gymnasium.Space, gymnasium.Space]:
    """Spaces of one environment: what it shows, and what it takes."""
    saved = env.state_dict()
    kind = _array(env.reset()).dtype
    env.load_state_dict(saved)
    floating = torch.empty(0, dtype=env.dtype).numpy().dtype
    return their_space(env.observation_space, kind), their_space(env.action_space, floating)


def _start(env: VecEnv, seed: int | None, options: dict | None) -> np.ndarray:
    if options:
        raise ValueError(f"options must be None or empty: this environment has none, got {checks.describe(options)}")
    if seed is not None:
        env.reseed(seed)
    return _array(env.reset())


class VectorEnvironment(gymnasium.vector.VectorEnv):
    """A batch under gymnasium's interface of vectors; episodes that end are started anew in the same step."""

    def __init__(self, env: VecEnv):
        self.env = env
        self.num_envs = env.n
        self.metadata = {"render_modes": [], "autoreset_mode": AutoresetMode.SAME_STEP}
        self.single_observation_space, self.single_action_space = _spaces(env)
        self.observation_space = batch_space(self.single_observation_space, env.n)
        self.action_space = batch_space(self.single_action_space, env.n)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return _start(self.env, seed, options), {}

    def step(self, actions):
        moved = self.env.step(torch.tensor(np.asarray(actions), device=self.env.device))
        observation, reward, terminated, truncated, final = (_array(part) for part in moved)
        terminated, truncated = terminated.astype(bool), truncated.astype(bool)
        infos = {}
        for i in np.flatnonzero(terminated | truncated):
            infos = self._add_info(infos, {"final_obs": final[i], "final_info": {}}, i)
        return observation, reward.astype(np.float64), terminated, truncated, infos


class OneEnvironment(gymnasium.Env):
    """A batch of one under gymnasium's interface of single environments."""

    def __init__(self, env: VecEnv):
        self.env = env
        self.metadata = {"render_modes": []}
        self.observation_space, self.action_space = _spaces(env)
        self._over = True

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        observation = _start(self.env, seed, options)
        self._over = False
        return observation[0], {}

    def step(self, action):
        if self._over:
            raise gymnasium.error.ResetNeeded("Call reset before step: the episode is over, or none was started.")
        moved = self.env.step(torch.tensor(np.asarray(action)[None], device=self.env.device))
        terminated, truncated = bool(moved.terminated), bool(moved.truncated)
        self._over = terminated or truncated
        return _array(moved.final_observation)[0], float(moved.reward), terminated, truncated, {}
