"""NoisyGrid: a grid whose rewards are so noisy that learning with few environments stops early."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from lib import checks
from lib.rl.envs.grid_map import GridMap
from lib.rl.envs.grids import grid_outcomes, slips_anywhere
from lib.rl.envs.table_env import Outcomes, TableEnv

__all__ = ["NoisyGrid", "NoisyGridParams"]


@dataclass(frozen=True)
class NoisyGridParams:
    """Size and noise of the grid.

    Attributes
    ----------
    size : int
        Cells on a side, at least 2; the goal is the last one.
    slip : float
        Chance that a uniformly random move replaces the one intended.
    sigma : float
        Standard deviation of the reward.

    Examples
    --------
    >>> NoisyGridParams(size=3).map
    ('...', '...', '..G')
    """

    size: int = 5
    slip: float = 0.3
    sigma: float = 1.0

    def __post_init__(self):
        checks.integer("size", self.size, lowest=2)
        checks.real_number("slip", self.slip, lowest=0, highest=1)
        checks.real_number("sigma", self.sigma, lowest=0)

    @property
    def map(self) -> tuple[str, ...]:
        """The rows of the map."""
        return ("." * self.size,) * (self.size - 1) + ("." * (self.size - 1) + "G",)

    def outcomes(self) -> Outcomes:
        """Chances, next states and mean rewards."""
        return grid_outcomes(GridMap(self.map), slips_anywhere(self.slip), {".": -1.0})


class NoisyGrid(TableEnv):
    """Find the goal on a square grid where every step earns -1 plus normal noise.

    Actions: 0 left, 1 down, 2 right, 3 up; with probability ``slip`` a uniformly random one is made instead. Episodes
    start on any cell but the goal, with equal chances, and are cut after 64 steps. The exact tables, ``env.tables()``,
    hold the mean rewards.

    Examples
    --------
    >>> env = NoisyGrid(4, seed=2)
    >>> env.reset().shape
    torch.Size([4])
    >>> env.step(torch.tensor([0, 1, 2, 3])).reward.shape
    torch.Size([4])
    """

    max_steps = 64
    default_params = NoisyGridParams()

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.stochastic = self.stochastic or self.params.sigma > 0

    def dynamics(self, state, action, params=None, generator=None):
        """Draw a move and the noise of the reward: (next_state, reward, terminated)."""
        p = self.params if params is None else params
        next_state, reward, terminated = super().dynamics(state, action, p, generator)
        if p.sigma > 0:
            source = checks.generator("generator", generator)
            noise = torch.randn(reward.shape, generator=source, dtype=reward.dtype, device=reward.device)
            reward = noise.mul_(p.sigma).add_(reward)
        return next_state, reward, terminated
