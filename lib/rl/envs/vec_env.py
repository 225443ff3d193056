"""Environments stepped side by side: what they have in common.

An environment is three pure functions of explicit state, parameters and generator: :meth:`VecEnv.initial`,
:meth:`VecEnv.dynamics` and :meth:`VecEnv.observe`. Here they become :func:`reset` and :func:`step`, which add the time
limit and the automatic reset, and the class :class:`VecEnv`, which keeps n states and their random streams.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from lib import checks
from lib.rl.spaces import Discrete, Space
from lib.rl.streams import Streams

__all__ = ["EnvState", "Transition", "VecEnv", "columns", "reset", "step"]


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
    """

    observation: torch.Tensor
    reward: torch.Tensor
    terminated: torch.Tensor
    truncated: torch.Tensor
    final_observation: torch.Tensor


def columns(*parts: torch.Tensor) -> torch.Tensor:
    """Join components into states of shape (..., d) in which each component is contiguous, and so fast to read."""
    return torch.stack(parts).movedim(0, -1)


def reset(env: VecEnv, n: int, generator: torch.Generator, params: Any = None) -> tuple[EnvState, torch.Tensor]:
    """Start n episodes: a pure function of its arguments.

    Returns
    -------
    EnvState, Tensor
        The states and what they show.
    """
    state = env.initial(n, generator, params)
    elapsed = torch.zeros(n, dtype=torch.int32, device=state.device)
    return EnvState(state, elapsed), env.observe(state, params)


def step(
    env: VecEnv, env_state: EnvState, action: torch.Tensor, generator: torch.Generator, params: Any = None
) -> tuple[EnvState, Transition]:
    """Take one step in each environment: a pure function of its arguments.

    Episodes that end are started anew in the same call; the observation from before is ``final_observation``.

    Returns
    -------
    EnvState, Transition
    """
    state, elapsed = env_state
    arrived, reward, terminated = env.dynamics(state, action, params, generator)
    return _restart(env, arrived, reward, terminated, elapsed + 1, [generator], params)


def _restart(
    env: VecEnv,
    arrived: torch.Tensor,
    reward: torch.Tensor,
    terminated: torch.Tensor,
    elapsed: torch.Tensor,
    generators: Sequence[torch.Generator],
    params: Any,
) -> tuple[EnvState, Transition]:
    """Apply the time limit and start the episodes that ended anew; each generator serves an equal part of them."""
    if env.max_steps is None:
        truncated = torch.zeros_like(terminated)
        ended = terminated
    else:
        truncated = (elapsed >= env.max_steps) & ~terminated
        ended = terminated | truncated
    final = env.observe(arrived, params)
    if arrived.is_cuda:
        # Drawing for all costs less than asking the device how many ended.
        share = ended.numel() // len(generators)
        fresh = torch.cat([env.initial(share, source, params) for source in generators]).view_as(arrived)
        state = torch.where(_like(ended, arrived), fresh, arrived)
        observation = env.observe(state, params)
    else:
        rows = ended.nonzero(as_tuple=True)
        count = rows[0].numel()
        if not count:
            return EnvState(arrived, elapsed), Transition(final, reward, terminated, truncated, final)
        counts = [count] if len(generators) == 1 else ended.view(len(generators), -1).sum(1).tolist()
        fresh = [env.initial(needed, source, params) for needed, source in zip(counts, generators) if needed]
        fresh = fresh[0] if len(fresh) == 1 else torch.cat(fresh)
        state = arrived.clone()
        state[rows] = fresh
        if final is arrived:
            observation = state
        else:
            observation = final.clone()
            observation[rows] = env.observe(fresh, params)
    return EnvState(state, elapsed.masked_fill(ended, 0)), Transition(observation, reward, terminated, truncated, final)


def _like(mask: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """View a mask of environments so that it broadcasts over their states."""
    return mask.view(*mask.shape, *(1,) * (other.dim() - mask.dim()))


class VecEnv:
    """n environments of one kind, with their states and random streams: the base of all environments here.

    A new environment sets ``observation_space``, ``action_space``, ``max_steps`` and, where it has parameters,
    ``default_params``, and writes :meth:`initial`, :meth:`dynamics` and, if a state does not show itself,
    :meth:`observe`. These three read nothing but their arguments and the parameters.

    Parameters
    ----------
    n : int
        Number of environments (of each member), at least 1.
    device : str or torch.device
        Where states are kept.
    dtype : torch.dtype
        Floating type of states, observations and rewards.
    seed : int or sequence of int
        Seed, or one for each member: with a sequence every tensor has a leading members dimension.
    params : optional
        Parameters of the dynamics; ``default_params`` by default. Entries may be tensors with one value for each
        environment.
    max_steps : int, optional
        Time limit of an episode; that of the class by default.
    shards, shard : int
        Parts of the batch with random streams of their own, and the part that is held here; see
        :class:`lib.rl.streams.Streams`.
    check_actions : bool
        Refuse actions outside the action space. Off by default, because on a GPU each check waits for the device.

    Attributes
    ----------
    state, elapsed : Tensor
        States, and steps since the last reset, int32. None before the first reset.

    Raises
    ------
    ValueError
        If an argument is of the wrong kind.
    """

    observation_space: Space
    action_space: Space
    max_steps: int | None = None
    default_params: Any = None
    stochastic = False
    """Whether :meth:`dynamics` draws random numbers."""

    def __init__(
        self,
        n: int,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
        seed: int | Sequence[int] = 0,
        *,
        params: Any = None,
        max_steps: int | None = None,
        shards: int = 1,
        shard: int | None = None,
        check_actions: bool = False,
    ):
        self.n = checks.integer("n", n, lowest=1)
        self.device = checks.device("device", device)
        if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
            raise ValueError(f"dtype must be a floating type of torch, got {checks.describe(dtype)}")
        self.dtype = dtype
        wanted = type(self.default_params)
        if params is not None and not isinstance(params, wanted):
            raise ValueError(f"params must be {wanted.__name__} or None, got {checks.describe(params)}")
        self.params = self.default_params if params is None else params
        if max_steps is not None:
            self.max_steps = checks.integer("max_steps", max_steps, lowest=1)
        self.check_actions = checks.flag("check_actions", check_actions)
        self.streams = Streams(seed, "environment", self.device, shards=shards, shard=shard)
        self.streams.share(self.n)
        self.members = self.streams.members
        self.state: torch.Tensor | None = None
        self.elapsed: torch.Tensor | None = None

    @property
    def batch(self) -> tuple[int, ...]:
        """Leading dimensions of everything: (n,) or (members, n)."""
        return (self.n,) if self.members is None else (self.members, self.n)

    @property
    def obs_dim(self) -> int:
        """Number of entries of an observation; for a Discrete space the number of observations."""
        space = self.observation_space
        return space.n if isinstance(space, Discrete) else space.size

    @property
    def n_actions(self) -> int:
        """Number of actions, of an environment with a Discrete action space."""
        if not isinstance(self.action_space, Discrete):
            raise AttributeError(f"{type(self).__name__} has no finite set of actions: {self.action_space}")
        return self.action_space.n

    @property
    def act_dim(self) -> int:
        """Number of entries of an action, of an environment with a Box or MultiDiscrete action space."""
        if isinstance(self.action_space, Discrete):
            raise AttributeError(f"{type(self).__name__} takes one of {self.action_space.n} actions")
        return self.action_space.shape[-1]

    # What an environment says of itself.

    def initial(self, n: int, generator: torch.Generator, params: Any = None) -> torch.Tensor:
        """Draw n first states, of shape (n, ...)."""
        raise NotImplementedError

    def dynamics(
        self, state: torch.Tensor, action: torch.Tensor, params: Any = None, generator: torch.Generator | None = None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return (next_state, reward, terminated) of states and actions with any leading dimensions."""
        raise NotImplementedError

    def observe(self, state: torch.Tensor, params: Any = None) -> torch.Tensor:
        """What states show to the policy; the state itself by default."""
        return state

    # What keeps states and streams.

    def reset(self) -> torch.Tensor:
        """Start all episodes anew and return their first observations."""
        self.state = self.streams.each(lambda source: self.initial(self.streams.share(self.n), source, self.params))
        self.elapsed = torch.zeros(self.batch, dtype=torch.int32, device=self.device)
        return self.observe(self.state, self.params)

    def step(self, action: torch.Tensor) -> Transition:
        """Take one step in each environment; episodes that end are started anew in the same call.

        Parameters
        ----------
        action : Tensor
            (n,) integers for a Discrete action space, (n, d) otherwise; (members, n, ...) with members.

        Returns
        -------
        Transition
            (observation, reward, terminated, truncated, final_observation)

        Raises
        ------
        ValueError
            If the shape of the actions does not fit or, with ``check_actions``, if one lies outside the action space.
        """
        if self.state is None:
            raise ValueError("reset the environment before the first step")
        wanted = (*self.batch, *self.action_space.shape)
        if not isinstance(action, torch.Tensor) or tuple(action.shape) != wanted:
            raise ValueError(f"action must be a tensor of shape {wanted}, got {checks.describe(action)}")
        if self.check_actions and not bool(self.action_space.contains(action).all()):
            outside = action[~self.action_space.contains(action)][0].tolist()
            raise ValueError(f"action must lie in {self.action_space}, got {outside}")
        env_state, transition = self._advance(action)
        self.state, self.elapsed = env_state
        return transition

    def _generators(self) -> list[torch.Generator]:
        return [generator for row in self.streams.blocks for generator in row]

    def _advance(self, action: torch.Tensor) -> tuple[EnvState, Transition]:
        """Dynamics, time limit and resets of all blocks; an accelerated environment overrides this."""
        generators = self._generators()
        if self.stochastic and len(generators) > 1:
            blocks = [
                part.reshape(-1, self.n // len(self.streams.blocks[0]), *part.shape[len(self.batch) :])
                for part in (self.state, action)
            ]
            moved = [
                self.dynamics(state, chosen, self.params, source) for state, chosen, source in zip(*blocks, generators)
            ]
            joined = [torch.cat(parts) for parts in zip(*moved)]
            arrived, reward, terminated = (part.view(*self.batch, *part.shape[1:]) for part in joined)
        else:
            arrived, reward, terminated = self.dynamics(self.state, action, self.params, generators[0])
        return _restart(self, arrived, reward, terminated, self.elapsed + 1, generators, self.params)

    def state_dict(self) -> dict[str, Any]:
        """Everything that decides what comes next: states, elapsed steps and the positions of the streams."""
        return {"state": self.state, "elapsed": self.elapsed, "streams": self.streams.state_dict()}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Go on from where :meth:`state_dict` stood."""
        self.state, self.elapsed = saved["state"], saved["elapsed"]
        self.streams.load_state_dict(saved["streams"])
