"""MiniBreakout: break bricks with a ball, on ten by ten cells."""

from __future__ import annotations

from functools import lru_cache

import torch

from lib import checks
from lib.rl.envs.vec_env import VecEnv, columns
from lib.rl.spaces import Box, Discrete

__all__ = ["FIELDS", "MiniBreakout"]

FIELDS = ("paddle", "x", "y", "last_x", "last_y", "direction", "strike", "bricks")
"""Meaning of the last dimension of a state.

Columns of the paddle, the ball and its trail, rows of the ball and its trail (counted downwards), the ball's direction
(0 up left, 1 up right, 2 down right, 3 down left), whether the ball is passing through bricks, and the bricks: bit i
says whether the brick at row 1 + i // 10, column i % 10 is there.
"""

SIZE = 10
FULL = (1 << 30) - 1


@lru_cache(maxsize=16)
def _rows_of_bricks(device: torch.device) -> torch.Tensor:
    """All 1 024 rows of ten bricks: (1024, 10) int32, with the bricks in the highest byte."""
    numbers = torch.arange(1 << SIZE, dtype=torch.int32, device=device)
    return ((numbers[:, None] >> torch.arange(SIZE, dtype=torch.int32, device=device)) & 1) << 24


class MiniBreakout(VecEnv):
    """Breakout of MinAtar (K. Young and T. Tian, arXiv:1903.03176), without sticky actions.

    Actions: 0 keeps the paddle, 1 moves it left, 2 right. Each brick earns 1; when none is left, three new rows stand
    there as soon as the ball is down. The episode ends when the ball gets past the paddle. State: (n, 8) int32, see
    :data:`FIELDS`. Observation: (n, 10, 10, 4) bool: row, column, and the channels paddle, ball, trail and bricks.
    Episodes are cut after 1 000 steps, as in gymnax; MinAtar itself has no limit (``max_steps`` sets another one).

    Examples
    --------
    >>> env = MiniBreakout(2, seed=1)
    >>> env.reset().sum((1, 2)).tolist()
    [[1, 1, 1, 30], [1, 1, 1, 30]]
    >>> env.step(torch.tensor([1, 2])).observation[:, 9].nonzero()[:, 1].tolist()
    [3, 5]
    """

    observation_space = Box(0, 1, shape=(SIZE, SIZE, 4))
    action_space = Discrete(3)
    max_steps = 1000

    def initial(self, n, generator, params=None):
        """Draw n first states: the ball starts at the left or at the right, on its way down."""
        source = checks.generator("generator", generator)
        side = torch.randint(2, (n,), generator=source, dtype=torch.int32, device=self.device)
        x, y = side * (SIZE - 1), torch.full_like(side, 3)
        return columns(torch.full_like(side, 4), x, y, x, y, side + 2, torch.zeros_like(side), torch.full_like(y, FULL))

    def dynamics(self, state, action, params=None, generator=None):
        """Move the paddle, then the ball: (next_state, reward, terminated)."""
        paddle, x, y, _, _, direction, strike, bricks = state.unbind(-1)
        paddle = (paddle + (action == 2).int() - (action == 1).int()).clamp_(0, SIZE - 1)
        to_x = x + ((direction == 1) | (direction == 2)).int() * 2 - 1
        to_y = y + (direction >= 2).int() * 2 - 1
        # A direction turns left-right with the bits 1, up-down with the bits 3, and right about with the bits 2.
        side = (to_x < 0) | (to_x >= SIZE)
        direction = direction ^ side.int()
        to_x = to_x.clamp_(0, SIZE - 1)
        ceiling = to_y < 0
        place = ((to_y - 1) * SIZE + to_x).clamp_(0, 31)
        # Bits 30 and 31 are never set, so that a place below the rows of bricks holds none.
        struck = (to_y >= 1) & ((bricks >> place) & 1).bool()
        broken = struck & (strike == 0)
        bricks = bricks ^ (broken.int() << place)
        bottom = to_y == SIZE - 1
        bricks = bricks.masked_fill(bottom & (bricks == 0), FULL)
        under = bottom & (x == paddle)
        corner = bottom & ~under & (to_x == paddle)
        turned = ceiling | broken | under
        direction = direction ^ (turned.int() * 3) ^ (corner.int() * 2)
        arrived = torch.where(broken | under | corner, y, to_y.clamp(min=0))
        next_state = columns(paddle, to_x, arrived, x, y, direction, struck.int(), bricks)
        return next_state, broken.to(self.dtype), bottom & ~under & ~corner

    def observe(self, state, params=None):
        """Show the four channels of the cells: (..., 10, 10, 4) bool."""
        batch = state.shape[:-1]
        paddle, x, y, last_x, last_y, _, _, bricks = state.reshape(-1, len(FIELDS)).unbind(-1)
        count = len(paddle)
        # The four channels of a cell are the bytes of one int32.
        cells = torch.zeros(count, SIZE * SIZE, dtype=torch.int32, device=state.device)
        rows = torch.stack([bricks & 1023, (bricks >> SIZE) & 1023, bricks >> 2 * SIZE], dim=-1)
        shown = _rows_of_bricks(state.device).index_select(0, rows.flatten())
        cells[:, SIZE : 4 * SIZE] = shown.view(count, 3 * SIZE)
        seen = cells.view(torch.bool)
        places = torch.stack([(SIZE - 1) * SIZE + paddle, y * SIZE + x, last_y * SIZE + last_x], dim=-1)
        channels = 4 * places + torch.arange(3, device=state.device)
        first = torch.arange(0, seen.numel(), 4 * SIZE * SIZE, device=state.device)
        seen.view(-1).index_fill_(0, (first[:, None] + channels).flatten(), True)
        return seen.view(*batch, SIZE, SIZE, 4)
