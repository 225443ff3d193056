"""What all policies that choose among counted actions share."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lib import checks
from lib.rl import _categorical
from lib.rl.streams import Streams

__all__ = ["Choosing", "at_least_float32", "batch_to_draw", "check_choices"]


def batch_to_draw(policy: nn.Module, batch: Sequence[int], streams: Streams) -> int:
    """Number n of rows (n,) or (members, n) to draw actions for, from streams that serve as many members."""
    if not isinstance(streams, Streams):
        raise ValueError(f"streams must be lib.rl.streams.Streams, got {checks.describe(streams)}")
    if streams.members != policy.members:
        raise ValueError(f"streams must serve members={policy.members} as the policy does, got {streams.members}")
    wanted = "(n, ...)" if policy.members is None else f"({policy.members}, n, ...)"
    if len(batch) != (1 if policy.members is None else 2):
        raise ValueError(f"obs must have shape {wanted} to draw actions, but its batch is {tuple(batch)}")
    return batch[-1]


def check_choices(action: Tensor, wanted: Sequence[int]) -> None:
    """Check the type and the shape of actions that are counted."""
    if not isinstance(action, Tensor) or action.dtype != torch.int64 or action.shape != torch.Size(wanted):
        raise ValueError(f"action must be an int64 tensor of shape {tuple(wanted)}, got {checks.describe(action)}")


def at_least_float32(tensor: Tensor) -> torch.dtype:
    return torch.promote_types(tensor.dtype, torch.float32)


class Choosing(nn.Module):
    """One choice among actions whose logits a subclass computes."""

    members: int | None

    def logits(self, obs: Tensor) -> Tensor:
        """Logits of all actions: (..., n, n_actions)."""
        raise NotImplementedError

    @torch.no_grad()
    def sample(self, obs: Tensor, streams: Streams) -> tuple[Tensor, Tensor]:
        """Draw actions.

        Parameters
        ----------
        obs : Tensor, (n, ...) or (members, n, ...)
        streams : lib.rl.streams.Streams
            Where the random numbers come from, one for each action.

        Returns
        -------
        Tensor, Tensor
            Actions, int64, and their log-probabilities, of shape (n,) or (members, n).
        """
        logits = self.logits(obs)
        n = batch_to_draw(self, logits.shape[:-1], streams)
        return _categorical.draw(logits, streams.uniform(n, dtype=at_least_float32(logits)))

    def evaluate(self, obs: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probabilities of actions (..., n), and the entropies of the policy at the observations."""
        logits = self.logits(obs)
        check_choices(action, logits.shape[:-1])
        return _categorical.score(logits, action)

    @torch.no_grad()
    def mode(self, obs: Tensor) -> Tensor:
        """Most likely actions, (..., n), int64."""
        return self.logits(obs).argmax(-1)

    def log_probs(self, obs: Tensor) -> Tensor:
        """Log-probabilities of all actions: (..., n, n_actions)."""
        return _categorical.log_probabilities(self.logits(obs))
