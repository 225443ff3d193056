"""What the planners have in common: reading tables of transitions, rewards and policies, and taking expectations.

P is (..., S, A, S): state, action, next state. R is (..., S, A): expected reward of a state and action. S states, A
actions; the leading dimensions of all arguments broadcast.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from lib import checks
from lib.live import tracing

__all__ = [
    "actions_or_chances",
    "carried",
    "chain",
    "check_chances",
    "cumulative",
    "check_discount",
    "drawn",
    "expected",
    "flat",
    "ladder",
    "model",
    "of_policy",
    "pick",
    "slack",
    "spread_over_actions",
    "start_law",
    "state_values",
    "times",
    "transitions",
    "whole",
]

PIECE = 1 << 17  # entries of P checked at a time, 1 MiB of float64: they are read from memory once for both checks


def model(*, validate: bool = True, ends: bool = False, rows: bool = True, **named) -> tuple[Tensor, ...]:
    """Read P, perhaps R and gamma, and what stands beside them, in the order given; P comes first.

    With ``ends``, where episodes end after so many steps, gamma may be 1. Without ``rows`` the entries of P are left to
    be checked by the caller.
    """
    if not checks.flag("validate", validate):
        P = named["P"]
        like = {"dtype": P.dtype, "device": P.device} if isinstance(P, Tensor) else {"dtype": torch.float64}
        return tuple(torch.as_tensor(value, **like) for value in named.values())
    read = dict(zip(named, checks.tensors(**_without_entries(named)), strict=True))
    read["P"] = P = named["P"] if _is_floating(named["P"]) else read["P"]
    transitions("P", P, rows=rows)
    leading = {"P": P.shape[:-3]}
    if "R" in read:
        checks.shape("R", read["R"], *P.shape[-3:-1])
        leading["R"] = read["R"].shape[:-2]
    if "gamma" in read:
        check_discount(read["gamma"], ends=ends)
        leading["gamma"] = read["gamma"].shape
    checks.batch(**leading)
    return tuple(read.values())


def _is_floating(value) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point() and value.dim() > 0


def _without_entries(named: dict) -> dict:
    """The same arguments, of a large tensor P only its type and device: its rows show what is not finite."""
    P = named["P"]
    return {**named, "P": P[..., :0]} if _is_floating(P) else named


def check_discount(gamma: Tensor, *, ends: bool) -> None:
    """Check discount factors; where episodes end after so many steps there may be none."""
    inside = (gamma >= 0) & ((gamma <= 1) if ends else (gamma < 1))
    checks.require(inside, f"gamma must lie in {'[0, 1]' if ends else '[0, 1)'}", gamma)


def transitions(name: str, P: Tensor, *, rows: bool = True) -> None:
    """Check the shape and the rows of a table of transitions."""
    checks.shape(name, P, None, None, None)
    if P.shape[-3] != P.shape[-1]:
        raise ValueError(f"{name} must have shape (..., S, A, S), from and to the same S states, got {tuple(P.shape)}")
    if rows:
        check_chances(name, P)


def check_chances(name: str, p: Tensor) -> None:
    """Check distributions over the last dimension, a piece at a time."""
    if tracing.active() or not p.numel():
        return
    n = p.shape[-1]
    ones = p.new_ones(n)
    pieces = [(piece.amin(), piece @ ones) for piece in p.detach().reshape(-1, n).split(max(PIECE // n, 1))]
    lowest = torch.stack([low for low, _ in pieces]).amin()
    checks.require(~(lowest < 0), f"{name} must have entries of at least 0", lowest)
    for extreme in torch.cat([total for _, total in pieces]).aminmax():
        checks.require((extreme - 1).abs() <= slack(p), f"{name} must have rows that sum to 1", extreme)


def cumulative(chances: Tensor) -> Tensor:
    """Cumulated chances over the last dimension: exactly 1 from the last possible outcome on."""
    total = chances.cumsum(dim=-1)
    return total / total[..., -1:]


def ladder(chances: Tensor) -> Tensor:
    """Row number plus cumulated chances of the rows (..., rows, n), ascending over all of them: float64, flat."""
    rows = chances.reshape(-1, chances.shape[-1]).double()
    return (torch.arange(len(rows), dtype=torch.float64, device=rows.device)[:, None] + cumulative(rows)).flatten()


def drawn(steps: Tensor, row: Tensor, level: Tensor) -> Tensor:
    """Place on a :func:`ladder` that a uniform number in [0, 1) draws from each row: row * n + what is drawn."""
    # The sum may round up to the next row: it has to stay below it.
    aim = torch.minimum(level.double() + row, torch.nextafter((row + 1).double(), row.double()))
    return torch.searchsorted(steps, aim, right=True)


def slack(p: Tensor) -> float:
    """How far from 1 a sum of chances may be."""
    return math.sqrt(torch.finfo(p.dtype).eps)


def start_law(start, P: Tensor) -> Tensor:
    """Distribution of the first state, (..., S): uniform for None, a point mass for a Python integer."""
    states = P.shape[-1]
    if start is None:
        return P.new_full((states,), 1 / states)
    if isinstance(start, (int, np.integer)) and not isinstance(start, bool):
        first = checks.integer("start", start, 0, states - 1)
        return (torch.arange(states, device=P.device) == first).to(P.dtype)
    law = checks.tensors(start=start, P=P[..., :0])[0]
    checks.shape("start", law, states)
    check_chances("start", law)
    return law


def state_values(name: str, V, P: Tensor) -> Tensor:
    """Read a function of the state, (..., S)."""
    value = checks.tensors(**{name: V}, P=P[..., :0])[0]
    checks.shape(name, value, P.shape[-1])
    return value


def actions_or_chances(name: str, policy, P: Tensor, *, steps: int | None = None, any_steps: bool = False) -> Tensor:
    """Read a policy: integers are actions (..., S), real numbers are chances (..., S, A).

    With ``steps``, or with ``any_steps``, a dimension for the step stands before the states.
    """
    states, actions = P.shape[-3:-1]
    times = (steps,) if any_steps or steps is not None else ()
    chosen = whole(policy)
    if chosen is not None:
        chosen = chosen.to(P.device)
        checks.shape(name, chosen, *times, states)
        inside = (chosen >= 0) & (chosen < actions)
        checks.require(inside, f"{name} must be actions from 0 to {actions - 1}", chosen)
        return chosen
    chances = checks.tensors(**{name: policy}, P=P[..., :0])[0]
    checks.shape(name, chances, *times, states, actions)
    check_chances(name, chances)
    return chances


def whole(policy) -> Tensor | None:
    """The policy as int64 if it is an array or nested list of integers."""
    if not isinstance(policy, Tensor):
        try:
            policy = torch.as_tensor(checks.for_torch(policy))
        except (TypeError, ValueError, RuntimeError):
            return None  # nested lists of tensors, or no numbers at all
    plain = not (policy.is_floating_point() or policy.is_complex() or policy.dtype == torch.bool)
    return policy.long() if plain and policy.numel() else None


def flat(P: Tensor) -> Tensor:
    """The same table with one row for each state and action, (..., S A, S)."""
    return P.flatten(-3, -2)


def expected(P: Tensor, V: Tensor) -> Tensor:
    """Expectation of V at the next state, (..., S, A)."""
    rows, table = flat(P), tuple(P.shape[-3:-1])
    if V.dim() == 1:
        return (rows @ V).unflatten(-1, table)
    if P.dim() == 3:
        return (V @ rows.mT).unflatten(-1, table)
    return (rows @ V[..., None])[..., 0].unflatten(-1, table)


def times(M: Tensor, v: Tensor) -> Tensor:
    """Matrices times vectors; one matrix and one vector take the fast way."""
    return M @ v if v.dim() == 1 else (M @ v[..., None])[..., 0]


def pick(table: Tensor, actions: Tensor) -> Tensor:
    """Entries (..., S) of a table (..., S, A) at one action for each state."""
    batch = torch.broadcast_shapes(table.shape[:-2], actions.shape[:-1])
    table = table.expand(*batch, *table.shape[-2:])
    actions = actions.expand(*batch, actions.shape[-1])
    return table.gather(-1, actions[..., None])[..., 0]


def of_policy(table: Tensor, policy: Tensor) -> Tensor:
    """Average of a table (..., S, A) over the actions of a policy, (..., S)."""
    if policy.is_floating_point():
        return (policy * table).sum(dim=-1)
    return pick(table, policy)


def spread_over_actions(visits: Tensor, policy: Tensor, actions: int) -> Tensor:
    """Visits of states (..., S) as visits of states and actions, (..., S, A)."""
    if policy.is_floating_point():
        return visits[..., None] * policy
    chosen = policy[..., None] == torch.arange(actions, device=policy.device)
    return visits[..., None] * chosen.to(visits.dtype)


def carried(P: Tensor, visits: Tensor) -> Tensor:
    """Where visits of states and actions (..., S, A) lead to, (..., S)."""
    return (visits.flatten(-2)[..., None, :] @ flat(P))[..., 0, :]


def chain(P: Tensor, policy: Tensor) -> Tensor:
    """Transition matrix under a policy, (..., S, S)."""
    if policy.is_floating_point():
        return (policy[..., None, :] @ P)[..., 0, :]
    batch = torch.broadcast_shapes(P.shape[:-3], policy.shape[:-1])
    states = P.shape[-1]
    index = policy[..., None, None].expand(*batch, states, 1, states)
    return P.expand(*batch, *P.shape[-3:]).gather(-2, index)[..., 0, :]
