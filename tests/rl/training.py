"""Small training runs that the tests of PPO share."""

import torch

from lib.rl.envs.cart_pole import CartPole
from lib.rl.policies import CategoricalPolicy, ValueFunction
from lib.rl.ppo import PPOConfig, train_ppo

__all__ = ["DOUBLE", "SMALL", "curve", "networks", "run"]

DOUBLE = torch.float64
SMALL = PPOConfig(rollout_steps=16, minibatch=32, epochs=2, learning_rate=3e-3, ent_coef=0.01)
"""Eight environments, four minibatches; 128 steps an iteration."""


def networks(seed, dtype=DOUBLE, hidden=(8, 8)):
    """Policy and value function for CartPole."""
    options = {"hidden": hidden, "seed": seed, "dtype": dtype}
    return CategoricalPolicy(4, 2, **options), ValueFunction(4, **options)


def run(seed=0, cfg=SMALL, iterations=4, *, n=8, env=None, dtype=DOUBLE, nets=None, max_steps=20, shards=1, **options):
    """Train on CartPole with a short time limit, so that episodes are cut as well; return log, policy and values."""
    env = env or CartPole(n, dtype=dtype, seed=seed, max_steps=max_steps, shards=shards)
    policy, value_fn = nets or networks(seed, dtype)
    log = train_ppo(env, policy, value_fn, cfg, iterations * cfg.rollout_steps * n, **options)
    return log, policy, value_fn


def curve(log):
    """All columns that a seed repeats, as one tensor."""
    return torch.stack([log[name] for name in log.rows])
