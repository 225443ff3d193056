"""Markov decision processes as tables: a container, random problems, sampled episodes, and models from counts.

P is (..., S, A, S), the chances of the next state given state and action; R is (..., S, A), the expected reward.
Leading dimensions are problems side by side.

Source of the random problems: T. W. Archibald, K. I. M. McKinnon and L. C. Thomas, Journal of the Operational Research
Society 46 (1995) 354, as simplified by S. Bhatnagar et al., Automatica 45 (2009) 2471 ("Garnet").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from lib import checks
from lib.rl import _tables

__all__ = [
    "Episodes",
    "TabularMDP",
    "empirical_model",
    "garnet",
    "sample_counts",
    "sample_episodes",
    "visit_counts",
]


@dataclass(frozen=True, eq=False)
class TabularMDP:
    """A checked decision process, with a discount, with episodes of a fixed length, or with both.

    Parameters
    ----------
    P : array_like, (..., S, A, S)
        Chances of the next state; rows sum to 1.
    R : array_like, (..., S, A)
        Expected rewards.
    gamma : array_like, (...), optional
        Discount factors in [0, 1); 1 is allowed, and the default, with a horizon.
    horizon : int, optional
        Steps of an episode, at least 1.
    start : int or array_like, (..., S), optional
        First state or its distribution; uniform by default.

    Attributes
    ----------
    P, R, gamma, start : Tensor
        As given, in one type on one device.
    horizon : int or None

    Raises
    ------
    ValueError
        If shapes do not fit, rows do not sum to 1, or there is neither a discount nor a horizon.

    Examples
    --------
    >>> walk = TabularMDP([[[0.5, 0.5]], [[0.0, 1.0]]], [[1.0], [0.0]], gamma=0.9, start=0)
    >>> walk.states, walk.actions, walk.start.tolist()
    (2, 1, [1.0, 0.0])
    """

    P: Tensor
    R: Tensor
    gamma: Tensor | None = field(default=None, kw_only=True)
    horizon: int | None = field(default=None, kw_only=True)
    start: Tensor | None = field(default=None, kw_only=True)

    def __post_init__(self):
        if self.horizon is not None:
            checks.integer("horizon", self.horizon, lowest=1)
        if self.gamma is None and self.horizon is None:
            raise ValueError("gamma must be given where there is no horizon, got None")
        discount = 1.0 if self.gamma is None else self.gamma
        P, R, gamma = _tables.model(P=self.P, R=self.R, gamma=discount, ends=self.horizon is not None)
        start = _tables.start_law(self.start, P)
        checks.batch(P=P.shape[:-3], R=R.shape[:-2], gamma=gamma.shape, start=start.shape[:-1])
        for name, value in (("P", P), ("R", R), ("gamma", gamma), ("start", start)):
            object.__setattr__(self, name, value)

    @property
    def states(self) -> int:
        """Number of states."""
        return self.P.shape[-1]

    @property
    def actions(self) -> int:
        """Number of actions."""
        return self.P.shape[-2]

    @property
    def batch(self) -> torch.Size:
        """Leading dimensions of all tables together."""
        leading = (self.P.shape[:-3], self.R.shape[:-2], self.gamma.shape, self.start.shape[:-1])
        return torch.broadcast_shapes(*leading)


def garnet(
    states: int, actions: int, branching: int, generator: torch.Generator, batch: Sequence[int] = ()
) -> tuple[Tensor, Tensor]:
    """Random problems: each action leads to a few states, with chances cut uniformly; rewards are uniform in [0, 1).

    Parameters
    ----------
    states, actions : int
        At least 1.
    branching : int
        States that an action can lead to, from 1 to ``states``.
    generator : torch.Generator
        Source of randomness; its device is that of the tables.
    batch : sequence of int
        Leading dimensions.

    Returns
    -------
    P : Tensor, (*batch, S, A, S), float64
    R : Tensor, (*batch, S, A), float64

    Raises
    ------
    ValueError
        If a size is no positive integer or more states are to be reached than there are.

    Examples
    --------
    >>> P, R = garnet(5, 2, 3, torch.Generator().manual_seed(0))
    >>> (P > 0).sum(dim=-1).tolist()
    [[3, 3], [3, 3], [3, 3], [3, 3], [3, 3]]
    """
    states = checks.integer("states", states, lowest=1)
    actions = checks.integer("actions", actions, lowest=1)
    branching = checks.integer("branching", branching, 1, states)
    checks.generator("generator", generator)
    if not isinstance(batch, Sequence) or isinstance(batch, str):
        raise ValueError(f"batch must be a sequence of integers, got {checks.describe(batch)}")
    table = (*(checks.integer("batch", size, lowest=0) for size in batch), states, actions)
    options = {"generator": generator, "dtype": torch.float64, "device": generator.device}
    reached = torch.rand(*table, states, **options).argsort(dim=-1)[..., :branching]
    cuts = torch.rand(*table, branching - 1, **options).sort(dim=-1).values
    ends = torch.cat([torch.zeros_like(cuts[..., :1]), cuts], dim=-1) if branching > 1 else cuts.new_zeros(*table, 1)
    chances = torch.diff(ends, dim=-1, append=ends.new_ones(*table, 1))
    P = chances.new_zeros(*table, states).scatter(-1, reached, chances)
    return P, torch.rand(*table, **options)


class Episodes(NamedTuple):
    """Sampled episodes.

    Attributes
    ----------
    states : Tensor, (..., episodes, steps + 1), int64
    actions : Tensor, (..., episodes, steps), int64
    rewards : Tensor, (..., episodes, steps)
        Expected rewards of the states and actions met.
    """

    states: Tensor
    actions: Tensor
    rewards: Tensor


def sample_episodes(
    P, R, policy, steps: int, episodes: int, generator: torch.Generator, *, start=None, by_step: bool = False
) -> Episodes:
    """Play a policy.

    Parameters
    ----------
    P : array_like, (..., S, A, S)
        Chances of the next state; rows sum to 1.
    R : array_like, (..., S, A)
        Expected rewards.
    policy : array_like
        Integers (..., S) or chances of the actions (..., S, A); with ``by_step`` with a dimension for the step before
        the states.
    steps, episodes : int
        Length and number of the episodes, at least 1.
    generator : torch.Generator
        Source of randomness, on the device of P.
    start : int or array_like, (..., S), optional
        First state or its distribution; uniform by default.
    by_step : bool
        Whether the policy differs from step to step.

    Returns
    -------
    Episodes

    Raises
    ------
    ValueError
        If shapes do not fit, a row of P does not sum to 1, or policy is no policy.

    Examples
    --------
    >>> P = [[[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [1.0, 0.0]]]  # stay or switch
    >>> generator = torch.Generator().manual_seed(0)
    >>> played = sample_episodes(P, [[0.0, 0.0], [1.0, 1.0]], [1, 0], 3, 1, generator, start=0)
    >>> played.states.tolist(), played.rewards.tolist()
    ([[0, 1, 1, 1]], [[0.0, 1.0, 1.0]])
    """
    steps = checks.integer("steps", steps, lowest=1)
    episodes = checks.integer("episodes", episodes, lowest=1)
    checks.generator("generator", generator)
    P, R = _tables.model(P=P, R=R)
    policy = _tables.actions_or_chances("policy", policy, P, steps=steps if checks.flag("by_step", by_step) else None)
    tail = (2 if policy.is_floating_point() else 1) + by_step
    law = _tables.start_law(start, P)
    leading = {"P": P.shape[:-3], "R": R.shape[:-2], "policy": policy.shape[:-tail], "start": law.shape[:-1]}
    batch = checks.batch(**leading)
    if generator.device != P.device:
        raise ValueError(f"generator must be on {P.device} like P, got one on {generator.device}")
    first = torch.zeros((*batch, episodes), dtype=torch.int64, device=P.device)
    state = _drawn(law[..., None, :], first, generator)
    rows = _tables.flat(P)
    onward, earned = _tables.ladder(rows), R.flatten(-2).expand(*batch, P.shape[-2] * P.shape[-1])
    path, taken, rewards = [state], [], []
    for step in range(steps):
        now = policy.select(-tail, step) if by_step else policy
        if now.is_floating_point():
            action = _drawn(now, state, generator)
        else:
            action = now.expand(*batch, now.shape[-1]).gather(-1, state)
        row = state * P.shape[-2] + action
        rewards.append(earned.gather(-1, row))
        state = _drawn(rows, row, generator, onward)
        path.append(state)
        taken.append(action)
    return Episodes(torch.stack(path, dim=-1), torch.stack(taken, dim=-1), torch.stack(rewards, dim=-1))


def _drawn(chances: Tensor, row: Tensor, generator: torch.Generator, steps: Tensor | None = None) -> Tensor:
    """One draw from the distributions (..., rows, n) in each of the rows (*batch, draws)."""
    rows, n = chances.shape[-2:]
    problem = torch.arange(chances.shape[:-2].numel(), device=row.device).reshape(*chances.shape[:-2], 1)
    row = problem * rows + row
    level = torch.rand(row.shape, generator=generator, dtype=chances.dtype, device=row.device)
    return _tables.drawn(_tables.ladder(chances) if steps is None else steps, row, level) - row * n


def visit_counts(states, actions, n_states: int, n_actions: int) -> Tensor:
    """How often each action led from each state to each other one.

    Parameters
    ----------
    states : array_like, (..., episodes, steps + 1)
        Integers from 0 to n_states - 1.
    actions : array_like, (..., episodes, steps)
        Integers from 0 to n_actions - 1.
    n_states, n_actions : int
        At least 1.

    Returns
    -------
    Tensor, (..., n_states, n_actions, n_states), int64
        Sums over episodes and steps.

    Raises
    ------
    ValueError
        If an entry is out of range or the shapes do not fit each other.

    Examples
    --------
    >>> visit_counts([[0, 1, 1]], [[1, 0]], 2, 2).tolist()
    [[[0, 0], [0, 1]], [[0, 1], [0, 0]]]
    """
    n_states = checks.integer("n_states", n_states, lowest=1)
    n_actions = checks.integer("n_actions", n_actions, lowest=1)
    states = _labels("states", states, n_states)
    actions = _labels("actions", actions, n_actions)
    if actions.shape != (*states.shape[:-1], states.shape[-1] - 1):
        shapes = f"{tuple(states.shape)} and {tuple(actions.shape)}"
        raise ValueError(f"actions must have one entry fewer than states in the last dimension, got states {shapes}")
    led = ((states[..., :-1] * n_actions + actions) * n_states + states[..., 1:]).flatten(-2)
    counts = led.new_zeros(*led.shape[:-1], n_states * n_actions * n_states)
    counts = counts.scatter_add(-1, led, torch.ones_like(led))
    return counts.unflatten(-1, (n_states, n_actions, n_states))


def sample_counts(P, draws: int, generator: torch.Generator) -> Tensor:
    """Next states drawn equally often from every state and action, counted: a generative model.

    Parameters
    ----------
    P : array_like, (..., S, A, S)
        Chances of the next state; rows sum to 1.
    draws : int
        From each state and action, at least 1.
    generator : torch.Generator
        Source of randomness, on the device of P.

    Returns
    -------
    Tensor, (..., S, A, S), int64

    Raises
    ------
    ValueError
        If P is no table of transitions or draws no positive integer.

    Examples
    --------
    >>> sample_counts([[[0.0, 1.0]], [[1.0, 0.0]]], 5, torch.Generator().manual_seed(0)).tolist()
    [[[0, 5]], [[5, 0]]]
    """
    draws = checks.integer("draws", draws, lowest=1)
    checks.generator("generator", generator)
    (P,) = _tables.model(P=P)
    if generator.device != P.device:
        raise ValueError(f"generator must be on {P.device} like P, got one on {generator.device}")
    rows = P.reshape(-1, P.shape[-1])
    drawn = torch.multinomial(rows, draws, replacement=True, generator=generator)
    counts = torch.zeros(rows.shape, dtype=torch.int64, device=P.device)
    return counts.scatter_add(-1, drawn, torch.ones_like(drawn)).reshape(P.shape)


def empirical_model(counts, untried="stay") -> Tensor:
    """Frequencies of the next state.

    Parameters
    ----------
    counts : array_like, (..., S, A, S)
        Visits, at least 0.
    untried : {"stay", "uniform"} or array_like, (..., S, A, S)
        What to assume of a state and action without any visit: that the state stays, that every state follows with the
        same chance, or a table of transitions.

    Returns
    -------
    Tensor, (..., S, A, S)

    Raises
    ------
    ValueError
        If a count is negative or untried is none of these.

    Examples
    --------
    >>> empirical_model([[[3, 1]], [[0, 0]]]).tolist()
    [[[0.75, 0.25]], [[0.0, 1.0]]]
    """
    (counts,) = checks.tensors(counts=counts)
    checks.shape("counts", counts, None, None, None)
    states = counts.shape[-1]
    checks.shape("counts", counts, states, counts.shape[-2], states)
    checks.require(counts >= 0, "counts must be at least 0", counts)
    if isinstance(untried, str):
        checks.choice("untried", untried, ("stay", "uniform"))
        identity = torch.eye(states, dtype=counts.dtype, device=counts.device)[:, None, :]
        assumed = identity if untried == "stay" else torch.full_like(counts, 1 / states)
    else:
        assumed = checks.tensors(untried=untried, counts=counts[..., :0])[0]
        checks.shape("untried", assumed, *counts.shape[-3:])
        _tables.transitions("untried", assumed)
        checks.batch(counts=counts.shape[:-3], untried=assumed.shape[:-3])
    total = counts.sum(dim=-1, keepdim=True)
    seen = total > 0
    return torch.where(seen, counts / torch.where(seen, total, torch.ones_like(total)), assumed)


def _labels(name: str, value, count: int) -> Tensor:
    labels = _tables.whole(value)
    if labels is None:
        raise ValueError(f"{name} must be integers from 0 to {count - 1}, got {checks.describe(value)}")
    checks.shape(name, labels, None, None)
    checks.require((labels >= 0) & (labels < count), f"{name} must be integers from 0 to {count - 1}", labels)
    return labels
