"""What follows the dynamics in a step: the time limit, and new episodes where some ended."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

if TYPE_CHECKING:
    from lib.rl.envs.vec_env import VecEnv

__all__ = ["EnvState", "Restarted", "Transition", "blocks", "chosen", "draws_for_all", "replaced", "restart"]


class EnvState(NamedTuple):
    """States of environments and the steps since their last resets."""

    state: torch.Tensor
    elapsed: torch.Tensor


class Transition(NamedTuple):
    """What one step of n environments returns.

    Attributes
    ----------
    observation : Tensor, (n, ...)
        What the policy sees next; where an episode ended, the first observation of the next one.
    reward : Tensor, (n,)
    terminated : Tensor of bool, (n,)
        The episode reached a terminal state: nothing is worth anything after it.
    truncated : Tensor of bool, (n,)
        The time limit cut an episode that would have gone on: its last state still has a value.
    final_observation : Tensor, (n, ...)
        What this step led to, before any reset.

    Notes
    -----
    Both observations may share memory with each other and with the states, and rewards that are all alike may be one
    number seen from all places: do not change them in place. The last observation may be put together from the first
    when it is read.
    """

    observation: torch.Tensor
    reward: torch.Tensor
    terminated: torch.Tensor
    truncated: torch.Tensor
    final_observation: torch.Tensor


class Restarted(Transition):
    """A transition that keeps what the ended episodes led to, and writes ``final_observation`` when it is read.

    It differs from ``observation`` in the few rows where an episode ended. To write both in full at every step takes
    half of the time of a step of a million environments. Made from all five parts, as :class:`Transition` is, or by
    :meth:`of`.
    """

    _kept = _whole = None

    @classmethod
    def of(cls, observation, reward, terminated, truncated, rows, left) -> Restarted:
        """A transition in which ``final_observation`` is ``observation`` but for some rows.

        Parameters
        ----------
        observation, reward, terminated, truncated : Tensor
            See :class:`Transition`.
        rows : tuple of arrays or Tensors of int64, (ended,)
            Where episodes ended: an index of the batch.
        left : array or Tensor, (ended, ...)
            The rows of ``final_observation`` there.
        """
        made = tuple.__new__(cls, (observation, reward, terminated, truncated, None))
        made._kept = rows, left
        return made

    def whole(self) -> Transition:
        """The same with all five parts in place."""
        if self._whole is None:
            observation, reward, terminated, truncated, final = tuple.__iter__(self)
            if self._kept is not None:
                rows, left = self._kept
                final = observation.detach().clone()
                final[tuple(torch.as_tensor(each) for each in rows)] = torch.as_tensor(left)
            self._whole = Transition(observation, reward, terminated, truncated, final)
            self._kept = None
        return self._whole

    final_observation = property(lambda self: self.whole()[-1])

    def __iter__(self):
        return iter(self.whole())

    def __getitem__(self, key):
        return self.whole()[key]

    def __repr__(self):
        return repr(self.whole())

    def __reduce__(self):
        return Transition, tuple(self)


def replaced(params: Any, values: dict[str, torch.Tensor]) -> Any:
    """Parameters with some values replaced, which need no check."""
    if not values:
        return params
    changed = copy.copy(params)
    vars(changed).update(values)
    return changed


def chosen(env: VecEnv, params: Any, batch: tuple[int, ...], index: tuple) -> Any:
    """Parameters of some environments of a batch; numbers serve all of them."""
    values = {name: getattr(params, name) for name in env.varying}
    differing = {name: value.expand(batch)[index] for name, value in values.items() if isinstance(value, torch.Tensor)}
    return replaced(params, differing)


def draws_for_all(device: torch.device) -> bool:
    """Whether to draw a first state for every environment, and use it where an episode ended.

    On a GPU that costs less than asking the device how many ended, and leaves nothing to wait for: a step can be
    captured in a CUDA graph once its generators are registered with the graph.
    """
    return device.type == "cuda"


def restart(
    env: VecEnv,
    arrived: torch.Tensor,
    reward: torch.Tensor,
    terminated: torch.Tensor,
    elapsed: torch.Tensor,
    generators: Sequence[torch.Generator],
    params: Any,
    new: bool = False,
) -> tuple[EnvState, Transition]:
    """Apply the time limit and start the episodes that ended anew; each generator serves an equal part of them.

    ``elapsed``, and ``arrived`` where it is ``new``, belong to nobody else: they are written to.
    """
    if env.max_steps is None:
        truncated = torch.zeros_like(terminated)
        ended = terminated
    else:
        ended = terminated | (elapsed >= env.max_steps)
        truncated = ended ^ terminated
    final = env.observe(arrived, params)
    batch = tuple(ended.shape)
    if draws_for_all(arrived.device):
        parts = [chosen(env, params, batch, block) for block in blocks(batch, len(generators))]
        share = ended.numel() // len(generators)
        fresh = torch.cat([env.initial(share, source, part) for source, part in zip(generators, parts)])
        state = torch.where(_like(ended, arrived), fresh.reshape(arrived.shape), arrived)
        observation = state if final is arrived else env.observe(state, params)
        elapsed.masked_fill_(ended, 0)
    else:
        index = ended.numpy().nonzero()  # by numpy in a fraction of the time
        rows = tuple(map(torch.from_numpy, index))
        count = rows[0].numel()
        if not count:
            return EnvState(arrived, elapsed), Transition(final, reward, terminated, truncated, final)
        counts = [count] if len(generators) == 1 else ended.reshape(len(generators), -1).sum(1).tolist()
        fresh, first = [], 0
        for needed, source in zip(counts, generators):
            if needed:
                served = tuple(index[first : first + needed] for index in rows)
                fresh.append(env.initial(needed, source, chosen(env, params, batch, served)))
            first += needed
        fresh = fresh[0] if len(fresh) == 1 else torch.cat(fresh)
        elapsed.numpy()[index] = 0
        if new and final is arrived and not arrived.requires_grad:
            left = arrived[rows]
            arrived[rows] = fresh
            moved = Restarted.of(arrived, reward, terminated, truncated, rows, left)
            return EnvState(arrived, elapsed), moved
        state = arrived.clone()
        state[rows] = fresh
        if final is arrived:
            observation = state
        else:
            observation = final.clone()
            observation[rows] = env.observe(fresh, chosen(env, params, batch, rows))
    return EnvState(state, elapsed), Transition(observation, reward, terminated, truncated, final)


def blocks(batch: tuple[int, ...], count: int) -> list[tuple]:
    """Indices of the equal parts of a batch (n,) or (members, n) that each generator serves."""
    if len(batch) == 1:
        share = batch[0] // count
        return [(slice(start, start + share),) for start in range(0, batch[0], share)]
    members, n = batch
    share = n // (count // members)
    return [(member, slice(start, start + share)) for member in range(members) for start in range(0, n, share)]


def _like(mask: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """View a mask of environments so that it broadcasts over their states."""
    return mask.view(*mask.shape, *(1,) * (other.dim() - mask.dim()))
