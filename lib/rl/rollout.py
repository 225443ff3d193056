"""What one iteration collects: preallocated tensors with time first, and the returns of the episodes that ended."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lib.rl.envs.vec_env import Transition, VecEnv
from lib.rl.spaces import Box

__all__ = ["EpisodeSums", "Rollout"]

PART = 2**18
"""Transitions whose episodes are added up at once: what that needs beside the buffer stays small."""

TOGETHER = 2**13
"""Observations that are valued at once: with more, calls would weigh no less, and what is between takes memory."""


class Rollout:
    """T steps of every environment.

    Parameters
    ----------
    env : VecEnv
        Its batch is (n,) or (members, n).
    steps : int
        T.
    observation : Tensor, (batch, ...)
        One observation, for shape and type.

    Attributes
    ----------
    observation : Tensor, (T, batch, ...)
    action : Tensor, (T, batch, ...)
    logp, reward, value : Tensor, (T, batch)
        Log-probabilities of the actions, rewards, values of the observations.
    terminated, truncated : Tensor of bool, (T, batch)
    adv, returns : Tensor, (T, batch)
        Advantages, and targets of the value function.
    last_value : Tensor, batch
        Values of the observations after the last step.
    """

    def __init__(self, env: VecEnv, steps: int, observation: Tensor):
        self.steps = steps
        self.batch = env.batch

        def room(*shape: int, dtype: torch.dtype = env.dtype) -> Tensor:
            return torch.zeros(steps, *env.batch, *shape, dtype=dtype, device=env.device)

        space = env.action_space
        self.observation = room(*observation.shape[len(env.batch) :], dtype=observation.dtype)
        self.action = room(*space.shape, dtype=env.dtype if isinstance(space, Box) else torch.int64)
        self.logp, self.reward, self.value, self.adv, self.returns = (room() for _ in range(5))
        self.terminated, self.truncated = room(dtype=torch.bool), room(dtype=torch.bool)
        self.last_value = torch.zeros(env.batch, dtype=env.dtype, device=env.device)
        # A time limit of L steps cuts an environment at most once in any L steps: one place for the last observation of
        # a truncated episode, for each L steps of the rollout, is enough.
        self.window = steps if env.max_steps is None else min(env.max_steps, steps)
        self.cut = torch.zeros(-(-steps // self.window), *observation.shape, dtype=observation.dtype, device=env.device)

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors."""
        return sum(x.nbytes for x in vars(self).values() if isinstance(x, Tensor))

    def record(self, t: int, action: Tensor, logp: Tensor, moved: Transition) -> None:
        """Store what happened at step t."""
        self.action[t] = action
        self.logp[t] = logp
        self.reward[t] = moved.reward
        self.terminated[t] = moved.terminated
        self.truncated[t] = moved.truncated
        # On a GPU, asking whether any episode was truncated costs more than writing what may not be needed.
        if moved.truncated.is_cuda or bool(moved.truncated.any()):
            place = self.cut[t // self.window]
            truncated = moved.truncated.view(*self.batch, *(1,) * (place.dim() - len(self.batch)))
            torch.where(truncated, moved.final_observation, place, out=place)

    def fill_values(self, last: Tensor, value_of: Callable[[Tensor], Tensor]) -> None:
        """Values of all observations and of the last one, from a function of ([members,] k, ...).

        The steps of few environments are valued together, of many one by one.
        """
        together = max(1, TOGETHER // self.last_value.numel())
        for observation, value in zip(self.observation.split(together), self.value.split(together)):
            if len(self.batch) == 1:
                value.copy_(value_of(observation.flatten(0, 1)).view(value.shape))
            else:
                found = value_of(observation.transpose(0, 1).flatten(1, 2))
                value.copy_(found.unflatten(1, (len(value), -1)).transpose(0, 1))
        self.last_value.copy_(value_of(last))

    def next_values(self, value_of: Callable[[Tensor], Tensor], out: Tensor) -> Tensor:
        """Values of what the steps led to, (T, batch): before any reset, where an episode was truncated."""
        values = out
        values[:-1] = self.value[1:]
        values[-1] = self.last_value
        windows = zip(self.cut, values.split(self.window), self.truncated.split(self.window))
        for place, window, truncated in windows:
            if truncated.is_cuda or bool(truncated.any()):
                window.copy_(torch.where(truncated, value_of(place), window))
        return values


class EpisodeSums:
    """Rewards and steps of episodes that go on from one rollout into the next.

    Within an environment the returns of the episodes that ended add up to all rewards until the last end.
    """

    def __init__(self, env: VecEnv):
        self.reward = torch.zeros(env.batch, dtype=env.dtype, device=env.device)
        self.steps = torch.zeros(env.batch, dtype=torch.int32, device=env.device)

    def close(self, rollout: Rollout) -> tuple[Tensor, Tensor, Tensor]:
        """Sum of returns, sum of lengths and number of the episodes that ended in a rollout: () or (members,)."""
        rows = max(1, PART // self.reward.numel())
        columns = (rollout.reward, rollout.terminated, rollout.truncated)
        parts = [self._close_part(*part) for part in zip(*(column.split(rows) for column in columns))]
        return tuple(sum(numbers) for numbers in zip(*parts))

    def _close_part(self, reward: Tensor, terminated: Tensor, truncated: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        ended = terminated | truncated
        step = torch.arange(1, len(reward) + 1, dtype=torch.int32, device=reward.device)
        step = step.view(-1, *(1,) * self.reward.dim())
        last = (ended * step).amax(0)
        later = step > last
        some = last > 0
        closed_reward = self.reward + reward.masked_fill(later, 0).sum(0)
        closed_steps = self.steps + last
        totals = (some * closed_reward).sum(-1), (some * closed_steps).sum(-1), ended.sum((0, -1))
        self.reward = torch.where(some, 0, self.reward) + reward.masked_fill(~later, 0).sum(0)
        self.steps = torch.where(some, 0, self.steps) + len(reward) - last
        return totals
