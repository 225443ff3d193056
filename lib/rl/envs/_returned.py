"""Checks of what an environment's own functions return, by type and shape alone: they wait for no device."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from lib import checks
from lib.rl.envs._restart import chosen

if TYPE_CHECKING:
    from lib.rl.envs.vec_env import VecEnv

__all__ = ["first_states", "outcome", "outcome_in_parts"]

PART, MANY = 2**16, 2**19
"""Environments that move at once on a CPU, so that what their dynamics make on the way stays in the cache of a core;
and how many there have to be: with fewer, what is saved does not pay for putting the parts together."""


def first_states(env: VecEnv, n: int, generator: torch.Generator, params: Any) -> torch.Tensor:
    """n states from :meth:`VecEnv.initial`."""
    state = env.initial(n, generator, params)
    fits = isinstance(state, torch.Tensor) and state.dim() > 0 and len(state) == n
    if not fits or (state.is_floating_point() and state.dtype != env.dtype):
        raise ValueError(
            f"{type(env).__name__}.initial must return states of shape ({n}, ...), integers or {env.dtype}, "
            f"got {checks.describe(state)}"
        )
    return state


def outcome(
    env: VecEnv, state: torch.Tensor, action: torch.Tensor, params: Any, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(next_state, reward, terminated) from :meth:`VecEnv.dynamics`.

    A reward of shape (n, 1) would otherwise become (n, n) far from here, and a state or action that is changed in place
    would change what was stored of it.
    """
    versions = _versions(state, action)
    returned = env.dynamics(state, action, params, generator)
    for name, before, after in zip(("state", "action"), versions, _versions(state, action)):
        if before != after:
            raise ValueError(f"{type(env).__name__}.dynamics must leave {name} as it is, but changed it in place")
    batch = action.shape[: action.dim() - len(env.action_space.shape)]
    wanted = (("next_state", state.shape, state.dtype), ("reward", batch, None), ("terminated", batch, torch.bool))
    for (name, shape, dtype), part in zip(wanted, returned, strict=True):
        tensor = isinstance(part, torch.Tensor) and part.shape == shape
        if not tensor or not (part.is_floating_point() if dtype is None else part.dtype == dtype):
            kind = "floating" if dtype is None else dtype
            raise ValueError(
                f"{type(env).__name__}.dynamics must return {name} as a {kind} tensor of shape {tuple(shape)}, "
                f"got {checks.describe(part)}"
            )
    return returned


def outcome_in_parts(
    env: VecEnv, state: torch.Tensor, action: torch.Tensor, params: Any, generator: torch.Generator
) -> tuple[tuple[torch.Tensor, torch.Tensor, torch.Tensor], bool]:
    """What :func:`outcome` returns, and whether its memory is new: on a CPU many environments move part by part.

    Each moves as it would among all, because dynamics serve any leading dimensions. Parts are of two members at least,
    or of environments where there are none; those that draw random numbers move together, in the order of their draws.
    """
    if action.numel() < MANY or env.stochastic or not action.is_cpu:
        return outcome(env, state, action, params, generator), False
    batch = action.shape[: action.dim() - len(env.action_space.shape)]
    rows = max(2, PART * batch[0] // batch.numel())
    if batch.numel() < MANY or batch[0] <= rows:
        return outcome(env, state, action, params, generator), False
    whole = None
    for start in range(0, batch[0], rows):
        part = (slice(start, start + rows),)
        moved = outcome(env, state[part], action[part], chosen(env, params, tuple(batch), part), generator)
        if any(each.requires_grad for each in moved):
            return outcome(env, state, action, params, generator), False
        whole = whole or tuple(_like(each, batch[0]) for each in moved)
        for room, each in zip(whole, moved):
            room[part] = each
    return whole, True


def _like(part: torch.Tensor, rows: int) -> torch.Tensor:
    """Room for as many rows, which lie in memory as those of a part do."""
    order = sorted(range(part.dim()), key=lambda axis: -part.stride(axis))
    return torch.empty_permuted((rows, *part.shape[1:]), order, dtype=part.dtype)


def _versions(*given: torch.Tensor) -> list[int]:
    """How often each tensor was changed in place, where torch counts it."""
    return [0 if tensor.is_inference() else tensor._version for tensor in given]
