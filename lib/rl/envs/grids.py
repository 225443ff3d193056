"""Walks on grids: gymnasium's lake and cliff, and any map of your own.

Each has exact tables for planners, ``env.tables()``. A state is the number of a cell that is no wall, in reading order;
on a map without walls that is ``row * width + column``, as in gymnasium.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from lib import checks
from lib.rl import _tables
from lib.rl.envs.grid_map import LETTERS, MOVES, GridMap, read_map
from lib.rl.envs.table_env import Outcomes, TableEnv

__all__ = [
    "LAKES",
    "CliffWalking",
    "CliffWalkingParams",
    "FrozenLake",
    "FrozenLakeParams",
    "GridWorld",
    "GridWorldParams",
    "grid_outcomes",
    "slips_anywhere",
    "slips_sideways",
]

FOUR_ROOMS = (
    "#############",
    "#S....#.....#",
    "#.....#.....#",
    "#...........#",
    "#.....#.....#",
    "#.....#.....#",
    "##.####.....#",
    "#.....###.###",
    "#.....#.....#",
    "#.....#.....#",
    "#...........#",
    "#.....#....G#",
    "#############",
)

LAKES = {
    "4x4": ("SFFF", "FHFH", "FFFH", "HFFG"),
    "8x8": (
        "SFFFFFFF",
        "FFFFFFFF",
        "FFFHFFFF",
        "FFFFFHFF",
        "FFFHFFFF",
        "FHHFFFHF",
        "FHFFHFHF",
        "FFFHFFFG",
    ),
}
"""The two maps of gymnasium's FrozenLake."""

CLIFF = ("............", "............", "............", "SCCCCCCCCCCG")


def _rows(text: str | Sequence[str]) -> tuple[str, ...]:
    """Check a map and return its rows, under the name that parameters give it."""
    try:
        return read_map(text).rows
    except ValueError as problem:
        raise ValueError(f"map: {problem}") from problem


def slips_anywhere(slip: float) -> torch.Tensor:
    """Chance of each move that is made, given the one intended: with probability slip a uniformly random one.

    Parameters
    ----------
    slip : float
        From 0 to 1.

    Returns
    -------
    Tensor, (4, 4)
        Rows are the moves intended.

    Examples
    --------
    >>> slips_anywhere(0.25)[0]
    tensor([0.8125, 0.0625, 0.0625, 0.0625], dtype=torch.float64)
    """
    slip = checks.real_number("slip", slip, lowest=0, highest=1)
    return (1 - slip) * torch.eye(4, dtype=torch.float64) + slip / 4


def slips_sideways(success_rate: float) -> torch.Tensor:
    """Chance of each move that is made, given the one intended: else one to its left or right, with equal chances.

    The moves have to be listed in the order in which one turns, as all here are.

    Parameters
    ----------
    success_rate : float
        Chance of the move intended, from 0 to 1.

    Returns
    -------
    Tensor, (4, 4)
        Rows are the moves intended.

    Examples
    --------
    >>> slips_sideways(0.5)[0]
    tensor([0.5000, 0.2500, 0.0000, 0.2500], dtype=torch.float64)
    """
    success_rate = checks.real_number("success_rate", success_rate, lowest=0, highest=1)
    straight = torch.eye(4, dtype=torch.float64)
    return success_rate * straight + (1 - success_rate) / 2 * (straight.roll(1, 1) + straight.roll(-1, 1))


def grid_outcomes(
    grid: GridMap, made: torch.Tensor, rewards: Mapping[str, float], moves: Sequence[str] = tuple(MOVES)
) -> Outcomes:
    """What can follow on a map: goals and holes end an episode, a cliff throws back to the start.

    Parameters
    ----------
    grid : GridMap
        Episodes start on its ``S`` with equal chances; without any, on every cell that ends no episode.
    made : Tensor, (A, A)
        Chance of each move that is made, given the one intended.
    rewards : mapping
        Reward for entering a cell (or bumping back to it) by its letter; the letter "." stands for all others.
    moves : sequence of str
        The A moves in the order of the actions, names of :data:`lib.rl.envs.grid_map.MOVES`.

    Returns
    -------
    Outcomes

    Raises
    ------
    ValueError
        If an argument is of the wrong kind, an episode has no cell to start from, or there is a cliff and not exactly
        one start.

    Examples
    --------
    >>> row = grid_outcomes(read_map("S.G"), slips_anywhere(0.0), {".": -1.0, "G": 0.0})
    >>> row.tables()[1][:, 2]
    tensor([-1., 0., 0.], dtype=torch.float64)
    """
    if not isinstance(grid, GridMap):
        raise ValueError(f"grid must be a GridMap, got {checks.describe(grid)}")
    entered = grid.next_state(moves)
    (made,) = checks.tensors(made=made)
    if made.shape != (len(moves), len(moves)):
        raise ValueError(
            f"made must have shape {(len(moves), len(moves))}, as there are moves, got {tuple(made.shape)}"
        )
    _tables.check_chances("made", made)
    if not isinstance(rewards, Mapping) or "." not in rewards or not set(rewards) <= set(LETTERS):
        raise ValueError(f"rewards must be a mapping from '.' and other letters, got {checks.describe(rewards)}")
    earned = torch.zeros(grid.states, dtype=torch.float64)
    for letter in sorted(rewards, key=".".__ne__):  # the letter that stands for all others comes first
        reward = checks.real_number("rewards", rewards[letter], lowest=-math.inf)
        earned[grid.holds(letter if letter != "." else "".join(LETTERS))] = reward
    terminal, cliff, marked = grid.holds("GH"), grid.holds("C"), grid.holds("S")
    if bool(cliff.any()) and int(marked.sum()) != 1:
        raise ValueError(f"map must have one S where a cliff throws back to, got {int(marked.sum())}")
    start = marked if bool(marked.any()) else ~terminal
    if not bool(start.any()):
        raise ValueError(f"map must have a cell to start from, got {grid.rows}")
    reward = earned[entered]
    entered = torch.where(cliff[entered], start.long().argmax(), entered)  # thrown back
    shape = (grid.states, len(moves), len(moves))
    return Outcomes(
        made.expand(shape),
        entered[:, None].expand(shape).contiguous(),
        reward[:, None].expand(shape),
        start.double() / start.sum(),
        terminal,
    )


@dataclass(frozen=True)
class GridWorldParams:
    """A map and what entering its cells earns.

    Attributes
    ----------
    map : str or sequence of str
        See :func:`lib.rl.envs.grid_map.read_map`; kept as a tuple of rows. The four rooms of Sutton, Precup and Singh
        (1999) by default.
    slip : float
        Chance that a uniformly random move replaces the one intended.
    step_reward, goal_reward, hole_reward, cliff_reward : float
        Reward for entering a cell, or for bumping back to it.

    Examples
    --------
    >>> GridWorldParams("S.#\\n..G").map
    ('S.#', '..G')
    """

    map: str | Sequence[str] = FOUR_ROOMS
    slip: float = 0.0
    step_reward: float = -1.0
    goal_reward: float = 0.0
    hole_reward: float = -100.0
    cliff_reward: float = -100.0

    def __post_init__(self):
        object.__setattr__(self, "map", _rows(self.map))
        checks.real_number("slip", self.slip, lowest=0, highest=1)
        for name in ("step_reward", "goal_reward", "hole_reward", "cliff_reward"):
            checks.real_number(name, getattr(self, name), lowest=-math.inf)
        self.outcomes()

    def outcomes(self) -> Outcomes:
        """Chances, next states and rewards."""
        rewards = {".": self.step_reward, "G": self.goal_reward, "H": self.hole_reward, "C": self.cliff_reward}
        return grid_outcomes(GridMap(self.map), slips_anywhere(self.slip), rewards)


class GridWorld(TableEnv):
    """A walk on a map of your own, with walls, goals, holes, cliffs and slippery floor.

    Actions: 0 left, 1 down, 2 right, 3 up. Observation: number of the cell among those that are no walls. Episodes are
    cut after 200 steps.

    Examples
    --------
    >>> env = GridWorld(2, params=GridWorldParams("S#G\\n...", slip=0.1), seed=3)
    >>> env.reset(), env.observation_space.n
    (tensor([0, 0]), 5)
    """

    max_steps = 200
    default_params = GridWorldParams()

    @property
    def grid(self) -> GridMap:
        """The map, for pictures and for turning states into rows and columns."""
        return GridMap(self.params.map)


@dataclass(frozen=True)
class FrozenLakeParams:
    """A lake with holes.

    Attributes
    ----------
    map : str or sequence of str
        "4x4", "8x8", or a map of S (start), F (frozen), H (hole) and G (goal); kept as a tuple of rows.
    slippery : bool
        Whether a move may turn into one of the two perpendicular to it.
    success_rate : float
        Chance of the move intended, where the lake is slippery.

    Examples
    --------
    >>> FrozenLakeParams("4x4", slippery=False).map
    ('SFFF', 'FHFH', 'FFFH', 'HFFG')
    """

    map: str | Sequence[str] = "4x4"
    slippery: bool = True
    success_rate: float = 1 / 3

    def __post_init__(self):
        named = isinstance(self.map, str) and self.map in LAKES
        object.__setattr__(self, "map", LAKES[self.map] if named else _rows(self.map))
        checks.flag("slippery", self.slippery)
        checks.real_number("success_rate", self.success_rate, lowest=0, highest=1)
        self.outcomes()

    def outcomes(self) -> Outcomes:
        """Chances, next states and rewards."""
        made = slips_sideways(self.success_rate if self.slippery else 1.0)
        return grid_outcomes(GridMap(self.map), made, {".": 0.0, "G": 1.0})


class FrozenLake(GridWorld):
    """Cross a frozen lake without falling into a hole, as gymnasium's FrozenLake-v1.

    Actions: 0 left, 1 down, 2 right, 3 up. The goal earns 1, all else 0; holes end the episode. Episodes are cut after
    100 steps, on the 8x8 map after 200.

    Examples
    --------
    >>> env = FrozenLake(3, params=FrozenLakeParams("4x4", slippery=False))
    >>> env.reset()
    tensor([0, 0, 0])
    >>> env.step(torch.tensor([0, 1, 2])).observation
    tensor([0, 4, 1])
    """

    max_steps = 100
    default_params = FrozenLakeParams()

    def __init__(
        self, *arguments: Any, params: FrozenLakeParams | None = None, max_steps: int | None = None, **options
    ):
        large = isinstance(params, FrozenLakeParams) and params.map == LAKES["8x8"]
        super().__init__(
            *arguments, params=params, max_steps=200 if max_steps is None and large else max_steps, **options
        )


@dataclass(frozen=True)
class CliffWalkingParams:
    """A walk along a cliff.

    Attributes
    ----------
    slippery : bool
        Whether a move turns into one of the two perpendicular to it, with chances of 1/3 each.

    Examples
    --------
    >>> CliffWalkingParams(slippery=True).outcomes().chance.shape
    torch.Size([48, 4, 3])
    """

    slippery: bool = False

    def __post_init__(self):
        checks.flag("slippery", self.slippery)

    @property
    def map(self) -> tuple[str, ...]:
        """The rows of the map."""
        return CLIFF

    def outcomes(self) -> Outcomes:
        """Chances, next states and rewards."""
        made = slips_sideways(1 / 3 if self.slippery else 1.0)
        return grid_outcomes(GridMap(CLIFF), made, {".": -1.0, "C": -100.0}, ("up", "right", "down", "left"))


class CliffWalking(GridWorld):
    """Walk along a cliff, as gymnasium's CliffWalking-v1: Sutton and Barto, *Reinforcement learning*, example 6.6.

    Actions: 0 up, 1 right, 2 down, 3 left. A step earns -1; a step over the edge earns -100 and leads back to the
    start. There is no time limit unless ``max_steps`` sets one.

    Examples
    --------
    >>> env = CliffWalking(2)
    >>> env.reset()
    tensor([36, 36])
    >>> env.step(torch.tensor([0, 1])).reward
    tensor([ -1., -100.])
    """

    max_steps = None
    default_params = CliffWalkingParams()
