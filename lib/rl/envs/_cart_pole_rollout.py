"""Rollouts of CartPole by a small network: many steps a call, where one step at a time is mostly calls."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from lib.rl._tile_pass import hooked, is_its_network
from lib.rl.envs.cart_pole import NEVER, CartPole, _kernels
from lib.rl.policies import CategoricalPolicy

if TYPE_CHECKING:
    from lib.rl.optimizer import FlatParameters
    from lib.rl.rollout import Rollout
    from lib.rl.streams import Streams

__all__ = ["CompiledRollout"]

MOST = 2048
"""With more environments calls weigh little, and torch's products of matrices are faster."""


class CompiledRollout:
    """Fills in observations, actions, log-probabilities, rewards and ends of a rollout, as single steps would.

    Parameters
    ----------
    env : CartPole
    policy : CategoricalPolicy
    flat : FlatParameters
        Starts with the parameters of the policy.
    streams : Streams
        Where actions are drawn from.
    """

    def __init__(self, env: CartPole, policy: CategoricalPolicy, flat: FlatParameters, streams: Streams):
        self.env, self.streams = env, streams
        network = policy.network
        self.count = env.n * (env.members or 1)
        room = np.empty((2, env.n * max(network.sizes)), np.float32)
        self.policy = flat.data.numpy(), np.array(network.sizes), network.activation == "tanh", room

    @staticmethod
    def serves(env, policy: nn.Module) -> bool:
        """Whether compiled loops can take the place of single steps of these."""
        return (
            type(env) is CartPole
            and env.dtype == torch.float32
            and env.device.type == "cpu"
            and env.n * (env.members or 1) <= MOST
            and type(policy) is CategoricalPolicy
            and is_its_network(policy)
            and not hooked(policy.network)
            and _kernels() is not None
        )

    def collect(self, buffer: Rollout) -> int:
        """Fill in steps from the first on, and leave the environment after them: how many steps were taken.

        There are fewer than the rollout has where an angle is too far for the compiled sine, and none where parameters
        of the environment differ from one to the next.
        """
        env = self.env
        numbers = env._compiled_numbers(buffer.action)
        if numbers is None:
            return 0
        kernels, count = _kernels(), self.count
        before, elapsed = env._arrays()
        states, steps = np.empty((2, 4, count), np.float32), np.empty((2, count), np.int32)
        states[0], steps[0] = before, elapsed
        names = ("action", "logp", "reward", "terminated", "truncated")
        flat = [getattr(buffer, name).numpy().reshape(buffer.steps, count) for name in names]
        columns = (buffer.observation.numpy().reshape(buffer.steps, count, 4), *flat)
        cut = buffer.cut.numpy().reshape(-1, count, 4)
        position = self.streams.state_dict()
        uniform = self.streams.uniform_steps(buffer.steps, env.n).numpy().reshape(buffer.steps, count)
        ended = np.empty(count, np.int64)
        last = min(env.max_steps or NEVER, NEVER)
        t, finished = 0, 0
        while t < buffer.steps and finished >= 0:
            t, finished = kernels.collect(t, self.policy, columns, uniform, states, steps, ended, numbers, last)
            if finished > 0:
                rows, left = ended[:finished], np.empty((4, finished), np.float32)
                for generator, start, stop in env._shares(rows):
                    fresh = env._drawn(stop - start, generator).numpy()
                    kernels.exchange(states[t % 2], rows[start:stop], fresh, left[:, start:stop])
                late = columns[-1][t - 1, rows]
                if late.any():
                    cut[(t - 1) // buffer.window, rows[late]] = left[:, late].T
        if t < buffer.steps:  # single steps will draw what was drawn for them here
            self.streams.load_state_dict(position)
            self.streams.uniform_steps(t, env.n)
        env.state = torch.from_numpy(states[t % 2].copy()).view(4, *env.batch).movedim(0, -1)
        env.elapsed = torch.from_numpy(steps[t % 2].copy()).view(env.batch)
        return t
