"""Maps of grids as text: one reader for every maze, lake and cliff."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch

from lib import checks

__all__ = ["LETTERS", "MOVES", "GridMap", "read_map"]

LETTERS = {
    ".": "free",
    "F": "free (frozen)",
    "S": "start",
    "G": "goal",
    "H": "hole",
    "C": "cliff",
    "#": "wall",
}
"""What the letters of a map stand for."""

MOVES = {"left": (0, -1), "down": (1, 0), "right": (0, 1), "up": (-1, 0)}
"""Steps in rows and columns; rows count downwards."""


@dataclass(frozen=True)
class GridMap:
    """A grid of cells whose states are the cells that are no walls, numbered in reading order.

    Make one with :func:`read_map`, which checks the rows.

    Attributes
    ----------
    rows : tuple of str
        The map, from top to bottom.

    Examples
    --------
    >>> grid = read_map("S.#\\n..G")
    >>> grid.states, grid.height, grid.width
    (5, 2, 3)
    >>> grid.cells.tolist()
    [[0, 0], [0, 1], [1, 0], [1, 1], [1, 2]]
    """

    rows: tuple[str, ...]

    @property
    def height(self) -> int:
        """Number of rows."""
        return len(self.rows)

    @property
    def width(self) -> int:
        """Number of columns."""
        return len(self.rows[0])

    @property
    def states(self) -> int:
        """Number of cells that are no walls."""
        return len(self.cells)

    @cached_property
    def cells(self) -> torch.Tensor:
        """Row and column of each state: (states, 2), int64."""
        return torch.tensor(
            [[i, j] for i, row in enumerate(self.rows) for j, letter in enumerate(row) if letter != "#"]
        )

    @cached_property
    def state_at(self) -> torch.Tensor:
        """State at each row and column, -1 in walls: (height, width), int64."""
        numbers = torch.full((self.height, self.width), -1)
        numbers[self.cells[:, 0], self.cells[:, 1]] = torch.arange(self.states)
        return numbers

    def holds(self, letters: str) -> torch.Tensor:
        """Which states carry one of the letters: (states,), bool."""
        return torch.tensor([letter in letters for row in self.rows for letter in row if letter != "#"])

    def next_state(self, moves: Sequence[str] = tuple(MOVES)) -> torch.Tensor:
        """State that each move leads to; walls and the edge of the map hold one back.

        Parameters
        ----------
        moves : sequence of str
            Names of :data:`MOVES`, in the order of the actions.

        Returns
        -------
        Tensor of int64, (states, len(moves))

        Raises
        ------
        ValueError
            If a move is unknown.

        Examples
        --------
        >>> read_map("S.#\\n..G").next_state(("right", "up")).tolist()
        [[1, 0], [1, 1], [3, 0], [4, 1], [4, 4]]
        """
        if not isinstance(moves, Sequence) or isinstance(moves, str) or not moves:
            raise ValueError(f"moves must be names of moves, got {checks.describe(moves)}")
        for move in moves:
            checks.choice("moves", move, tuple(MOVES))
        steps = torch.tensor([MOVES[move] for move in moves])
        reached = self.cells[:, None] + steps
        reached[..., 0].clamp_(0, self.height - 1)
        reached[..., 1].clamp_(0, self.width - 1)
        state = self.state_at[reached[..., 0], reached[..., 1]]
        return torch.where(state < 0, torch.arange(self.states)[:, None], state)


def read_map(text: str | Sequence[str]) -> GridMap:
    """Read a map from text.

    Parameters
    ----------
    text : str or sequence of str
        Rows of equal length, from top to bottom: one text with line breaks or one text for each row. The letters are
        those of :data:`LETTERS`.

    Returns
    -------
    GridMap

    Raises
    ------
    ValueError
        If the rows differ in length, hold other letters, or consist of walls only.

    Examples
    --------
    >>> read_map(["SFFF", "FHFH", "FFFH", "HFFG"]).holds("GH").nonzero().flatten().tolist()
    [5, 7, 11, 12, 15]
    """
    rows = text.split() if isinstance(text, str) else text
    if not isinstance(rows, Sequence) or not rows or not all(isinstance(row, str) and row for row in rows):
        raise ValueError(f"text must be the rows of a map, got {checks.describe(text)}")
    if len({len(row) for row in rows}) > 1:
        raise ValueError(f"the rows of text must be equally long, got lengths {[len(row) for row in rows]}")
    unknown = sorted(set("".join(rows)) - set(LETTERS))
    if unknown:
        raise ValueError(f"text must hold the letters {' '.join(LETTERS)}, got {' '.join(unknown)}")
    if set("".join(rows)) == {"#"}:
        raise ValueError("text must have a cell that is no wall")
    return GridMap(tuple(rows))
