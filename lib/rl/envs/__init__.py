"""Environments that run side by side in batches."""

from lib.rl.envs.cart_pole import CartPole, CartPoleParams
from lib.rl.envs.vec_env import EnvState, Transition, VecEnv, columns, reset, step

__all__ = ["CartPole", "CartPoleParams", "EnvState", "Transition", "VecEnv", "columns", "reset", "step"]
