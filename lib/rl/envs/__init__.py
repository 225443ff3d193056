"""Environments that run side by side in batches.

An environment of one's own says what it shows and takes, where episodes start, and how a state moves on; everything
else comes from :class:`VecEnv`. A walk that wins at the right end and loses at the left one, with steps that may slip:

>>> import torch
>>> from lib.rl.envs import VecEnv, columns
>>> from lib.rl.spaces import Box, Discrete
>>> class Walk(VecEnv):
...     observation_space = Box(-5.0, 5.0, shape=(1,))
...     action_space = Discrete(2)
...     max_steps = 100
...     stochastic = True  # dynamics draws random numbers
...
...     def initial(self, n, generator, params=None):
...         return torch.zeros(n, 1, dtype=self.dtype, device=self.device)
...
...     def dynamics(self, state, action, params=None, generator=None):
...         slips = torch.rand(action.shape, generator=generator, device=self.device) < 0.1
...         stride = torch.where(slips, 0, 2 * action - 1)
...         place = state + stride[..., None]
...         ended = place[..., 0].abs() >= 5
...         return place, (place[..., 0] >= 5).to(self.dtype), ended

It has members, shards, the time limit, resets, and checkpoints:

>>> env = Walk(4, seed=0)
>>> env.reset().shape, env.obs_dim, env.n_actions
(torch.Size([4, 1]), 1, 2)
>>> for _ in range(12):
...     seen, reward, terminated, truncated, final = env.step(torch.ones(4, dtype=torch.int64))
>>> env.elapsed.shape, Walk(4, seed=(0, 1)).reset().shape
(torch.Size([4]), torch.Size([2, 4, 1]))

and :func:`lib.rl.ppo.train_ppo` learns in it; the mean return is the share of walks that win:

>>> from lib.rl.policies import CategoricalPolicy, ValueFunction
>>> from lib.rl.ppo import PPOConfig, evaluate, train_ppo
>>> env = Walk(16, seed=0)
>>> policy, value_fn = CategoricalPolicy(env.obs_dim, env.n_actions, (16,)), ValueFunction(env.obs_dim, (16,))
>>> cfg = PPOConfig(rollout_steps=32, minibatch=128, learning_rate=1e-2)
>>> log = train_ppo(env, policy, value_fn, cfg, total_steps=4096)
>>> evaluate(Walk(100, seed=1), policy).mean()
tensor(1.)

With an action space that is a :class:`lib.rl.spaces.Box`, ``dynamics`` clips what it is given: a normal distribution
knows no bounds (:class:`lib.rl.policies.GaussianPolicy`).

Environments go to gymnasium and come from it in :mod:`lib.rl.envs.gymnasium_adapter`.
"""

from lib.rl.envs.acrobot import Acrobot, AcrobotParams
from lib.rl.envs.breakout import MiniBreakout
from lib.rl.envs.cart_pole import CartPole, CartPoleParams
from lib.rl.envs.grid_map import GridMap, read_map
from lib.rl.envs.grids import CliffWalking, CliffWalkingParams, FrozenLake, FrozenLakeParams, GridWorld, GridWorldParams
from lib.rl.envs.lot_sizing import LotSizing, LotSizingSpec
from lib.rl.envs.mountain_car import (
    MountainCar,
    MountainCarContinuous,
    MountainCarContinuousParams,
    MountainCarParams,
)
from lib.rl.envs.noisy_grid import NoisyGrid, NoisyGridParams
from lib.rl.envs.pendulum import Pendulum, PendulumParams
from lib.rl.envs.river_swim import RiverSwim, RiverSwimParams
from lib.rl.envs.table_env import Outcomes, TableEnv
from lib.rl.envs.vec_env import EnvState, Transition, VecEnv, columns, reset, step

__all__ = [
    "Acrobot",
    "AcrobotParams",
    "CartPole",
    "CartPoleParams",
    "CliffWalking",
    "CliffWalkingParams",
    "EnvState",
    "FrozenLake",
    "FrozenLakeParams",
    "GridMap",
    "GridWorld",
    "GridWorldParams",
    "LotSizing",
    "LotSizingSpec",
    "MiniBreakout",
    "MountainCar",
    "MountainCarContinuous",
    "MountainCarContinuousParams",
    "MountainCarParams",
    "NoisyGrid",
    "NoisyGridParams",
    "Outcomes",
    "Pendulum",
    "PendulumParams",
    "RiverSwim",
    "RiverSwimParams",
    "TableEnv",
    "Transition",
    "VecEnv",
    "columns",
    "read_map",
    "reset",
    "step",
]
