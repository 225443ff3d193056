"""Random numbers for training runs side by side: one generator for each member and shard."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import numpy as np
import torch

from lib import checks

__all__ = ["Streams", "derived_seed"]


def derived_seed(seed: int, role: str, shard: int = 0) -> int:
    """Seed of the stream that plays one role in the run with this seed.

    Streams of different roles or shards are independent, however close their seeds lie (numpy's SeedSequence mixes
    them).

    Parameters
    ----------
    seed : int
        Seed of the whole run, at least 0.
    role : str
        What the stream is for, such as "environment", "action" or "policy".
    shard : int
        Part of the batch that the stream serves.

    Returns
    -------
    int
        From 0 to 2**64 - 1.

    Examples
    --------
    >>> derived_seed(0, "action") != derived_seed(0, "environment") != derived_seed(1, "environment")
    True
    """
    checks.integer("seed", seed, lowest=0)
    checks.integer("shard", shard, lowest=0)
    if not isinstance(role, str) or not role:
        raise ValueError(f"role must be a non-empty text, got {checks.describe(role)}")
    sequence = np.random.SeedSequence([int(seed), int(shard), *role.encode()])
    return int(sequence.generate_state(1, np.uint64)[0])


class Streams:
    """Generators for members (seeds run side by side) and shards (equal parts of a batch).

    A member draws what the same seed would draw alone, and a shard what it would draw in a process of its own. That is
    what makes runs side by side, and runs on several devices, comparable with single ones.

    Parameters
    ----------
    seed : int or sequence of int
        Seed of the run, or one for each member. With a sequence, whatever is drawn has a leading members dimension.
    role : str
        See :func:`derived_seed`.
    device : str or torch.device
        Where numbers are drawn.
    shards : int
        Number of equal parts of the batch.
    shard : int, optional
        Draw for this part alone, as one of several processes does; all parts by default.

    Attributes
    ----------
    members : int or None
    blocks : list of list of torch.Generator
        ``blocks[member][k]`` draws for the k-th part that is held here.

    Raises
    ------
    ValueError
        If an argument is of the wrong kind.

    Examples
    --------
    >>> Streams(3, "action").uniform(4).shape
    torch.Size([4])
    >>> several = Streams((3, 5), "action").uniform(4)
    >>> bool((several[0] == Streams(3, "action").uniform(4)).all())
    True
    """

    def __init__(
        self,
        seed: int | Sequence[int],
        role: str,
        device: str | torch.device = "cpu",
        *,
        shards: int = 1,
        shard: int | None = None,
    ):
        alone = isinstance(seed, (int, np.integer)) and not isinstance(seed, bool)
        if not alone and (isinstance(seed, (str, bytes)) or not isinstance(seed, Sequence) or not len(seed)):
            raise ValueError(f"seed must be an integer or a sequence of integers, got {checks.describe(seed)}")
        self.device = checks.device("device", device)
        self.shards = checks.integer("shards", shards, lowest=1)
        if shard is not None:
            checks.integer("shard", shard, lowest=0, highest=shards - 1)
        held = range(shards) if shard is None else (shard,)
        self.members = None if alone else len(seed)
        self.blocks = [
            [torch.Generator(self.device).manual_seed(derived_seed(number, role, part)) for part in held]
            for number in ([seed] if alone else seed)
        ]

    def beside(self, role: str) -> Streams:
        """Streams of another role with the same members and shards: their seeds are derived from these.

        Examples
        --------
        >>> environment = Streams((3, 5), "environment", shards=2)
        >>> environment.beside("action").uniform(4).shape
        torch.Size([2, 4])
        """
        other = copy.copy(self)
        other.blocks = [
            [torch.Generator(self.device).manual_seed(derived_seed(source.initial_seed(), role)) for source in row]
            for row in self.blocks
        ]
        return other

    def each(self, draw: Callable[[torch.Generator], torch.Tensor]) -> torch.Tensor:
        """Join what each generator draws: parts along the first dimension, members along a new one before it."""
        if len(self.blocks) == 1 and len(self.blocks[0]) == 1:
            drawn = draw(self.blocks[0][0])
            return drawn if self.members is None else drawn[None]
        rows = [torch.cat([draw(generator) for generator in row]) for row in self.blocks]
        return rows[0] if self.members is None else torch.stack(rows)

    def share(self, n: int) -> int:
        """Entries of a batch of n that each generator serves."""
        parts = len(self.blocks[0])
        if n % parts:
            raise ValueError(f"n must be a multiple of the {parts} shards held here, got {n}")
        return n // parts

    def uniform(self, n: int, *rest: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        """Uniform numbers in [0, 1), of shape (n, ...) or (members, n, ...).

        Raises
        ------
        ValueError
            If n is no multiple of the number of shards held here.
        """
        size = (self.share(n), *rest)
        return self.each(lambda source: torch.rand(size, generator=source, dtype=dtype, device=self.device))

    def uniform_steps(self, steps: int, n: int) -> torch.Tensor:
        """What as many calls of :meth:`uniform` would give, one after the other: (steps, n) or (steps, members, n).

        Raises
        ------
        ValueError
            If n is no multiple of the number of shards held here.
        """
        if self.device.type != "cpu":  # other devices draw what a call asks for in an order of their own
            return torch.stack([self.uniform(n) for _ in range(steps)])
        size = (steps, self.share(n))
        parts = [[torch.rand(size, generator=source, dtype=torch.float32) for source in row] for row in self.blocks]
        rows = [torch.cat(row, dim=1) for row in parts]
        return rows[0] if self.members is None else torch.stack(rows, dim=1)

    def normal(self, n: int, *rest: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        """Standard normal numbers, of shape (n, ...) or (members, n, ...).

        Raises
        ------
        ValueError
            If n is no multiple of the number of shards held here.
        """
        size = (self.share(n), *rest)
        return self.each(lambda source: torch.randn(size, generator=source, dtype=dtype, device=self.device))

    def permutations(self, count: int, dtype: torch.dtype = torch.int64) -> torch.Tensor:
        """One permutation of 0 .. count - 1 for each generator: (members or 1, parts, count), of an integer type."""
        order = torch.empty(len(self.blocks), len(self.blocks[0]), count, dtype=dtype, device=self.device)
        for row, part in zip(self.blocks, order):
            for source, place in zip(row, part):
                torch.randperm(count, generator=source, dtype=dtype, out=place)
        return order

    def state_dict(self) -> list[list[torch.Tensor]]:
        """Where every generator stands."""
        return [[generator.get_state() for generator in row] for row in self.blocks]

    def load_state_dict(self, state: list[list[torch.Tensor]]) -> None:
        """Go on from where :meth:`state_dict` stood.

        Raises
        ------
        ValueError
            If the positions are not those of as many generators on such a device.
        """
        rows, parts = len(self.blocks), len(self.blocks[0])
        fits = isinstance(state, (list, tuple)) and len(state) == rows
        fits = fits and all(isinstance(row, (list, tuple)) and len(row) == parts for row in state)
        if not fits or not all(isinstance(position, torch.Tensor) for row in state for position in row):
            raise ValueError(f"state must hold {rows} x {parts} positions of generators, got {checks.describe(state)}")
        wanted = self.blocks[0][0].get_state()
        for position in (position for row in state for position in row):
            if position.dtype != wanted.dtype or position.shape != wanted.shape:
                kind = f"positions of generators on {self.device.type}, {checks.describe(wanted)}"
                raise ValueError(f"state must hold {kind}, got {checks.describe(position)}")
        for row, saved in zip(self.blocks, state):
            for generator, position in zip(row, saved):
                # Positions are bytes on the CPU, also those of a GPU's generator.
                generator.set_state(position.cpu())
