"""Policies and values of states that are counted: a row of a table for each.

They have the methods of :mod:`lib.rl.policies`; observations are integers of shape (n,), or (members, n).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from lib import checks
from lib.rl._choosing import Choosing
from lib.rl.networks import FLOATING, member_seeds

__all__ = ["TabularPolicy", "TabularValue"]


class TabularPolicy(Choosing):
    """One of ``n_actions`` actions in each of ``n_states`` states: a table of logits that starts at zero.

    Parameters
    ----------
    n_states, n_actions : int
    members : int, optional
        Tables side by side.
    seed : int or sequence of int
        One for each member; only their number matters, because the table starts at zero.
    device : str or torch.device
    dtype : torch.dtype

    Raises
    ------
    ValueError
        If an argument is of the wrong kind, or later an observation is no state.

    Examples
    --------
    >>> TabularPolicy(n_states=16, n_actions=4).log_probs(torch.tensor([3])).exp()
    tensor([[0.2500, 0.2500, 0.2500, 0.2500]], grad_fn=<ExpBackward0>)
    """

    def __init__(
        self,
        n_states: int,
        n_actions: int,
        *,
        members: int | None = None,
        seed: int | Sequence[int] = 0,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
    ):
        super().__init__()
        self.n_states = checks.integer("n_states", n_states, lowest=1)
        self.n_actions = checks.integer("n_actions", n_actions, lowest=1)
        self.members = member_seeds(seed, members)[1]
        self.table = _zero_table(self.n_states, self.n_actions, self.members, device, dtype)

    def logits(self, obs: Tensor) -> Tensor:
        """Logits of all actions in the states (..., n): (..., n, n_actions)."""
        return _look_up(self.table, obs, self.members)


class TabularValue(nn.Module):
    """What is expected from each of ``n_states`` states on: a table that starts at zero.

    Parameters
    ----------
    n_states : int
    members, seed, device, dtype
        As for :class:`TabularPolicy`.

    Raises
    ------
    ValueError
        If an argument is of the wrong kind, or later an observation is no state.

    Examples
    --------
    >>> TabularValue(n_states=16)(torch.tensor([3, 4])).shape
    torch.Size([2])
    """

    def __init__(
        self,
        n_states: int,
        *,
        members: int | None = None,
        seed: int | Sequence[int] = 0,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
    ):
        super().__init__()
        self.n_states = checks.integer("n_states", n_states, lowest=1)
        self.members = member_seeds(seed, members)[1]
        self.table = _zero_table(self.n_states, 1, self.members, device, dtype)

    def forward(self, obs: Tensor) -> Tensor:
        """Values of states: (..., n), or (..., members, n)."""
        return _look_up(self.table, obs, self.members).squeeze(-1)


def _zero_table(
    n_states: int, width: int, members: int | None, device: str | torch.device, dtype: torch.dtype
) -> nn.Parameter:
    checks.choice("dtype", dtype, FLOATING)
    lead = () if members is None else (members,)
    return nn.Parameter(torch.zeros(*lead, n_states, width, dtype=dtype, device=checks.device("device", device)))


def _look_up(table: Tensor, obs: Tensor, members: int | None) -> Tensor:
    """Rows of a table for states (..., n), or (..., members, n) if each member has a table of its own."""
    if not isinstance(obs, Tensor) or obs.is_floating_point() or obs.is_complex() or obs.dtype == torch.bool:
        raise ValueError(f"obs must be a tensor of integers, got {checks.describe(obs)}")
    n_states = table.shape[-2]
    if not obs.is_cuda:  # there a check waits for the device
        checks.require((obs >= 0) & (obs < n_states), f"obs must be states from 0 to {n_states - 1}", obs)
    if members is None:
        return functional.embedding(obs.long(), table)
    if obs.dim() < 2 or obs.shape[-2] != members:
        raise ValueError(f"obs must have shape (..., {members}, n), got {checks.describe(obs)}")
    offsets = torch.arange(0, members * n_states, n_states, device=obs.device).unsqueeze(1)
    return functional.embedding(obs.long() + offsets, table.flatten(0, 1))
