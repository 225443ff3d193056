"""RiverSwim: a small reward close by, a large one far up the river."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from lib import checks
from lib.rl.envs.table_env import Outcomes, TableEnv

__all__ = ["RiverSwim", "RiverSwimParams"]


@dataclass(frozen=True)
class RiverSwimParams:
    """A river: its length, its current and what waits at its ends.

    Attributes
    ----------
    length : int
        Number of places, at least 2.
    advance, drift_back : float
        Chances that a stroke against the current leads one place on, or one back, away from the ends.
    first_advance, last_drift_back : float
        The same at the first place, where nobody drifts back, and at the last, where nobody gets on.
    left_reward, right_reward : float
        Rewards for swimming left at the first place, and right at the last.

    Examples
    --------
    >>> RiverSwimParams(length=4).outcomes().tables()[0][1, 1]
    tensor([0.0500, 0.6000, 0.3500, 0.0000], dtype=torch.float64)
    """

    length: int = 6
    advance: float = 0.35
    drift_back: float = 0.05
    first_advance: float = 0.6
    last_drift_back: float = 0.4
    left_reward: float = 0.005
    right_reward: float = 1.0

    def __post_init__(self):
        checks.integer("length", self.length, lowest=2)
        for name in ("advance", "drift_back", "first_advance", "last_drift_back"):
            checks.real_number(name, getattr(self, name), lowest=0, highest=1)
        for name in ("left_reward", "right_reward"):
            checks.real_number(name, getattr(self, name), lowest=-math.inf)
        if self.advance + self.drift_back > 1:
            raise ValueError(f"advance + drift_back must be at most 1, got {self.advance + self.drift_back}")

    def outcomes(self) -> Outcomes:
        """Chances, next states and rewards."""
        places = torch.arange(self.length)
        ahead = torch.full((self.length,), self.advance, dtype=torch.float64)
        back = torch.full((self.length,), self.drift_back, dtype=torch.float64)
        ahead[0], back[0] = self.first_advance, 0.0
        ahead[-1], back[-1] = 0.0, self.last_drift_back
        left = torch.eye(1, 3, dtype=torch.float64).expand(self.length, 3)
        right = torch.stack([back, 1 - back - ahead, ahead], dim=-1)
        reached = torch.stack([places - 1, places, places + 1], dim=-1).clamp(0, self.length - 1)
        reward = torch.zeros(self.length, 2, 3, dtype=torch.float64)
        reward[0, 0], reward[-1, 1] = self.left_reward, self.right_reward
        return Outcomes(
            torch.stack([left, right], dim=1),
            reached[:, None].expand(self.length, 2, 3).contiguous(),
            reward,
            torch.eye(self.length, dtype=torch.float64)[0],
            torch.zeros(self.length, dtype=torch.bool),
        )


class RiverSwim(TableEnv):
    """Swim up a river for a large reward, or drift down for a small one: exploration made hard.

    Actions: 0 left, with the current; 1 right, against it. Episodes start at the first place, never terminate, and are
    cut after 20 steps.

    The problem is from A. L. Strehl and M. L. Littman, Journal of Computer and System Sciences 74 (2008) 1309; the
    numbers are those of I. Osband, D. Russo and B. Van Roy, "(More) efficient reinforcement learning via posterior
    sampling", NeurIPS 2013, in common use since.

    Examples
    --------
    >>> env = RiverSwim(2)
    >>> env.reset()
    tensor([0, 0])
    >>> env.step(torch.tensor([0, 0])).reward
    tensor([0.0050, 0.0050])
    """

    max_steps = 20
    default_params = RiverSwimParams()
