"""Small decision processes given by tables, sampled for many environments at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import torch

from lib import checks
from lib.rl import _tables
from lib.rl.envs.vec_env import VecEnv
from lib.rl.spaces import Discrete

__all__ = ["Outcomes", "TableEnv"]


@dataclass(frozen=True, eq=False)
class Outcomes:
    """What can follow each state and action: at most K outcomes, each with a chance, a next state and a reward.

    Two outcomes may lead to one next state with different rewards, which a table R (S, A, S) could not say. Terminal
    states are absorbing and earn nothing: whatever is given for them is replaced by that. Outcomes that cannot happen
    are dropped. Tensors are kept on the CPU; an environment moves what it draws from to its device.

    Parameters
    ----------
    chance : Tensor, (S, A, K)
        Probabilities; each row sums to 1.
    next_state : Tensor of int64, (S, A, K)
    reward : Tensor, (S, A, K)
    start : Tensor, (S,)
        Probabilities of the first state.
    terminal : Tensor of bool, (S,)

    Raises
    ------
    ValueError
        If shapes do not fit, probabilities are negative or do not sum to 1, a next state does not exist, or an episode
        could start in a terminal state.

    Examples
    --------
    A coin that is thrown until it shows heads:

    >>> coin = Outcomes(
    ...     chance=torch.tensor([[[0.5, 0.5]], [[1.0, 0.0]]]),
    ...     next_state=torch.tensor([[[0, 1]], [[1, 1]]]),
    ...     reward=torch.full((2, 1, 2), -1.0),
    ...     start=torch.tensor([1.0, 0.0]),
    ...     terminal=torch.tensor([False, True]),
    ... )
    >>> P, R = coin.tables()
    >>> P[:, 0].tolist(), R[:, 0].tolist()
    ([[0.5, 0.5], [0.0, 1.0]], [-1.0, 0.0])
    """

    chance: torch.Tensor
    next_state: torch.Tensor
    reward: torch.Tensor
    start: torch.Tensor
    terminal: torch.Tensor

    def __post_init__(self):
        read = checks.tensors(chance=self.chance, reward=self.reward, start=self.start)
        chance, reward, start = (part.detach().cpu() for part in read)
        if chance.dim() != 3 or not chance.numel():
            raise ValueError(f"chance must have shape (S, A, K), got {tuple(chance.shape)}")
        _tables.check_chances("chance", chance)
        states = len(chance)
        if reward.shape != chance.shape:
            raise ValueError(f"reward must have shape {tuple(chance.shape)}, got {tuple(reward.shape)}")
        whole = isinstance(self.next_state, torch.Tensor) and self.next_state.dtype == torch.int64
        if not whole or self.next_state.shape != chance.shape:
            raise ValueError(
                f"next_state must be a torch.int64 tensor of shape {tuple(chance.shape)}, "
                f"got {checks.describe(self.next_state)}"
            )
        next_state = self.next_state.cpu()
        exists = (next_state >= 0) & (next_state < states)
        checks.require(exists, f"next_state must be from 0 to {states - 1}", next_state)
        terminal = _terminal_states(self.terminal, states)
        if start.shape != terminal.shape:
            raise ValueError(f"start must have shape {tuple(terminal.shape)}, got {tuple(start.shape)}")
        _tables.check_chances("start", start)
        checks.require(start[terminal] == 0, "start must give terminal states no probability")
        ends = terminal[:, None, None]
        parts = _without_impossible(
            torch.where(ends, torch.eye(1, chance.shape[-1], dtype=torch.float64), chance.double()),
            torch.where(ends, torch.arange(states)[:, None, None], next_state),
            reward.double().masked_fill(ends, 0.0),
        )
        fields = (*parts, start.double().clone(), terminal.clone())
        for name, value in zip(("chance", "next_state", "reward", "start", "terminal"), fields):
            object.__setattr__(self, name, value)

    @classmethod
    def from_tables(
        cls,
        P: torch.Tensor,
        R: torch.Tensor,
        start: int | Sequence[float] | torch.Tensor | None = 0,
        terminal: Sequence[int] | torch.Tensor = (),
    ) -> Outcomes:
        """Read transition probabilities and rewards.

        Parameters
        ----------
        P : Tensor, (S, A, S)
            Probability of each next state.
        R : Tensor, (S, A) or (S, A, S)
            Reward of each action, or of each action and next state.
        start : int or Tensor (S,) or None
            First state, or the probability of each; None for all with equal chances.
        terminal : sequence of int or Tensor of bool (S,)
            States that end an episode.

        Returns
        -------
        Outcomes

        Raises
        ------
        ValueError
            See the class.

        Examples
        --------
        >>> walk = Outcomes.from_tables([[[0.5, 0.5]], [[0.0, 1.0]]], [[-1.0], [0.0]], terminal=[1])
        >>> walk.chance.shape
        torch.Size([2, 1, 2])
        """
        P, R = checks.tensors(P=P, R=R)
        _tables.transitions("P", P)
        if P.dim() != 3:
            raise ValueError(f"P must have shape (S, A, S), got {tuple(P.shape)}")
        states = len(P)
        if R.shape not in (P.shape, P.shape[:2]):
            raise ValueError(f"R must have shape {tuple(P.shape[:2])} or {tuple(P.shape)}, got {tuple(R.shape)}")
        return cls(
            P,
            torch.arange(states, device=P.device).expand(P.shape),
            R if R.dim() == 3 else R[..., None].expand(P.shape),
            _tables.start_law(start, P),
            _terminal_states(terminal, states),
        )

    def outcomes(self) -> Outcomes:
        """The outcomes themselves: parameters of environments that are tables have this method."""
        return self

    def tables(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Exact tables for planners: P (S, A, S) and R (S, A), float64."""
        states, actions, _ = self.chance.shape
        P = torch.zeros(states, actions, states, dtype=torch.float64)
        P.scatter_add_(2, self.next_state, self.chance)
        return P, (self.chance * self.reward).sum(-1)


def _terminal_states(terminal: Any, states: int) -> torch.Tensor:
    """Read a mask of states, or a list of their numbers, as a mask."""
    if isinstance(terminal, torch.Tensor) and terminal.dtype == torch.bool and terminal.shape == (states,):
        return terminal.cpu()
    listed = isinstance(terminal, Sequence) and not isinstance(terminal, str)
    if not listed or not all(isinstance(state, int) and not isinstance(state, bool) for state in terminal):
        raise ValueError(
            f"terminal must be a list of states or a torch.bool tensor of shape ({states},), "
            f"got {checks.describe(terminal)}"
        )
    mask = torch.zeros(states, dtype=torch.bool)
    for state in terminal:
        mask[checks.integer("terminal", state, lowest=0, highest=states - 1)] = True
    return mask


def _without_impossible(*parts: torch.Tensor) -> list[torch.Tensor]:
    """Keep as many outcomes as some action has; rows with fewer repeat their last one with probability 0."""
    possible = parts[0] > 0
    count = possible.sum(-1, keepdim=True)
    order = possible.long().argsort(dim=-1, descending=True, stable=True)
    place = torch.arange(int(count.max()))
    chosen = order.gather(-1, place.minimum(count - 1))
    chance, *others = (part.gather(-1, chosen) for part in parts)
    return [chance.masked_fill(place >= count, 0.0), *others]


class _Sampler(NamedTuple):
    """Outcomes laid out for drawing, on one device."""

    steps: torch.Tensor
    """Cumulated probabilities of the outcomes of all rows, as a ladder."""
    next_state: torch.Tensor
    reward: torch.Tensor
    start: torch.Tensor
    """Cumulated probabilities of the first states, float64."""
    terminal: torch.Tensor
    actions: int
    outcomes: int


@lru_cache(maxsize=64)
def _sampler(params: Any, device: torch.device, dtype: torch.dtype) -> _Sampler:
    """Lay outcomes out for drawing, once for each set of parameters and device."""
    tables = params.outcomes()
    _, actions, outcomes = tables.chance.shape
    steps, start = _tables.ladder(tables.chance), _tables.cumulative(tables.start)
    parts = (steps, tables.next_state.flatten(), tables.reward.flatten().to(dtype), start, tables.terminal)
    return _Sampler(*(part.to(device) for part in parts), actions, outcomes)


def _uniform(state: torch.Tensor, dtype: torch.dtype, generator: torch.Generator | None) -> torch.Tensor:
    """Draw a uniform number for each state, as float64."""
    source = checks.generator("generator", generator)
    return torch.rand(state.shape, generator=source, dtype=dtype, device=state.device).double()


class TableEnv(VecEnv):
    """A decision process with finitely many states and actions, given by its tables.

    State and observation: the number of the state, (n,) int64. Chances are resolved to 2**-24 with ``dtype`` float32
    and to 2**-53 times the number of states and actions with float64.

    Parameters
    ----------
    n, device, dtype, seed, max_steps, shards, shard, check_actions
        See :class:`lib.rl.envs.vec_env.VecEnv`.
    params : Outcomes
        Chances, next states and rewards; see :meth:`Outcomes.from_tables`.

    Raises
    ------
    ValueError
        If an argument is of the wrong kind.

    Examples
    --------
    >>> P = torch.tensor([[[0.0, 1.0], [1.0, 0.0]], [[0.0, 1.0], [0.0, 1.0]]])
    >>> env = TableEnv(3, params=Outcomes.from_tables(P, [[1.0, -1.0], [0.0, 0.0]], terminal=[1]))
    >>> env.reset()
    tensor([0, 0, 0])
    >>> env.step(torch.tensor([0, 1, 0])).terminated
    tensor([ True, False,  True])
    """

    def __init__(
        self,
        n: int,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
        seed: int | Sequence[int] = 0,
        *,
        params: Any = None,
        **options: Any,
    ):
        given = self.default_params is None
        if given and not isinstance(params, Outcomes):
            raise ValueError(f"params must be Outcomes, got {checks.describe(params)}")
        super().__init__(n, device, dtype, seed, params=None if given else params, **options)
        if given:
            self.params = params
        tables = self.params.outcomes()
        self.observation_space = Discrete(tables.chance.shape[0])
        self.action_space = Discrete(tables.chance.shape[1])
        self.stochastic = tables.chance.shape[2] > 1

    def tables(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Exact tables for planners: P (S, A, S) and R (S, A), float64; terminal states are absorbing and earn 0."""
        return self.params.outcomes().tables()

    def initial(self, n, generator, params=None):
        """Draw n first states."""
        start = _sampler(self.params if params is None else params, self.device, self.dtype).start
        drawn = _uniform(start.new_empty(n), self.dtype, generator)
        return torch.searchsorted(start, drawn, right=True)

    def dynamics(self, state, action, params=None, generator=None):
        """Draw an outcome: (next_state, reward, terminated)."""
        sampler = _sampler(self.params if params is None else params, self.device, self.dtype)
        pick = state * sampler.actions + action
        if sampler.outcomes > 1:
            pick = _tables.drawn(sampler.steps, pick, _uniform(state, self.dtype, generator))
        next_state = sampler.next_state[pick]
        return next_state, sampler.reward[pick], sampler.terminal[next_state]
