"""Running mean and variance of what the environments show, to give the networks inputs of order one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lib.rl.distributed import Processes

__all__ = ["RunningStatistics"]


class RunningStatistics:
    """Mean and variance over all that was seen, for each member and entry (Chan, Golub and LeVeque 1983).

    Parameters
    ----------
    batch : tuple of int
        Leading dimensions of what is normalized: (n,) or (members, n). Statistics are shared along n.
    shape : sequence of int
        Entries of one observation; () for rewards.
    dtype, device
        Of the statistics.

    Attributes
    ----------
    count : int
    mean, variance : Tensor, (1, shape) or (members, 1, shape)

    Examples
    --------
    >>> statistics = RunningStatistics((3,), (1,), torch.float64)
    >>> statistics.update(torch.tensor([[[1.0], [2.0], [6.0]]], dtype=torch.float64))
    >>> statistics.mean.tolist()
    [[3.0]]
    """

    def __init__(
        self,
        batch: tuple[int, ...],
        shape: Sequence[int],
        dtype: torch.dtype = torch.float32,
        device: str | torch.device = "cpu",
    ):
        size = (*batch[:-1], 1, *shape)
        self.along = len(batch) - 1
        self.count = 0
        self.mean = torch.zeros(size, dtype=dtype, device=device)
        self.variance = torch.ones(size, dtype=dtype, device=device)

    @torch.no_grad()
    def update(self, seen: Tensor, processes: Processes | None = None) -> None:
        """Take in a batch of shape (T, batch, shape), and that of every other process.

        Parameters
        ----------
        seen : Tensor
        processes : Processes, optional
            Processes that each hold an equal part of the batch.
        """
        processes = processes or Processes()
        seen = seen.to(self.mean.dtype)
        variance, mean = processes.moments(seen, (0, 1 + self.along))
        variance, mean = (x.unsqueeze(self.along) for x in (variance, mean))
        count = seen.shape[0] * seen.shape[1 + self.along] * processes.size
        total = self.count + count
        gap = mean - self.mean
        if self.count:
            kept, new = self.count / total, count / total
            self.variance = kept * self.variance + new * variance + kept * new * gap.square()
            self.mean = self.mean + new * gap
        else:
            self.mean, self.variance = mean, variance
        self.count = total

    def largest(self) -> Tensor:
        """Largest mean or variance of each member, (members or 1,): finite if all are."""
        largest = torch.maximum(self.mean.abs(), self.variance)
        return largest.reshape(len(largest) if self.along else 1, -1).amax(1)

    def normalize(self, seen: Tensor, limit: float = 10.0) -> Tensor:
        """Centre and scale observations of shape (batch, shape); nothing goes beyond ``limit`` deviations."""
        return ((seen.to(self.mean.dtype) - self.mean) * (self.variance + 1e-8).rsqrt()).clamp_(-limit, limit)

    def scale(self, seen: Tensor, limit: float = 10.0) -> Tensor:
        """Scale without centring, as is done with rewards."""
        return (seen * (self.variance + 1e-8).rsqrt()).clamp_(-limit, limit)

    def state_dict(self) -> dict[str, Tensor | int]:
        """Count, mean and variance."""
        return {"count": self.count, "mean": self.mean, "variance": self.variance}

    def load_state_dict(self, saved: dict[str, Tensor | int]) -> None:
        """Go on from where :meth:`state_dict` stood."""
        self.count, self.mean, self.variance = saved["count"], saved["mean"], saved["variance"]
