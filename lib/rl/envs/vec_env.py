"""Environments stepped side by side: what they have in common.

An environment is three pure functions of explicit state, parameters and generator: :meth:`VecEnv.initial`,
:meth:`VecEnv.dynamics` and :meth:`VecEnv.observe`. Here they become :func:`reset` and :func:`step`, which add the time
limit and the automatic reset, and the class :class:`VecEnv`, which keeps n states and their random streams.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from lib import checks
from lib.rl.envs._restart import EnvState, Transition, blocks, chosen, replaced, restart
from lib.rl.envs._returned import first_states, outcome, outcome_in_parts
from lib.rl.spaces import Box, Discrete, Space
from lib.rl.streams import Streams

__all__ = ["EnvState", "Transition", "VecEnv", "columns", "reset", "step"]


def columns(*parts: torch.Tensor) -> torch.Tensor:
    """Join components into states of shape (..., d) in which each component is contiguous, and so fast to read.

    Examples
    --------
    >>> columns(torch.zeros(5), torch.ones(5)).shape
    torch.Size([5, 2])
    """
    return torch.stack(parts).movedim(0, -1)


def reset(env: VecEnv, n: int, generator: torch.Generator, params: Any = None) -> tuple[EnvState, torch.Tensor]:
    """Start n episodes: a pure function of its arguments.

    Parameters
    ----------
    env : VecEnv
        Says what the environment is; its own states and streams are neither read nor changed.
    n : int
        Number of episodes, at least 1.
    generator : torch.Generator
        Source of the first states, on the device of the environment.
    params : optional
        Parameters of the dynamics; those of ``env`` by default.

    Returns
    -------
    EnvState, Tensor
        The states and what they show.

    Raises
    ------
    ValueError
        If an argument is of the wrong kind.

    Examples
    --------
    >>> from lib.rl.envs.cart_pole import CartPole
    >>> env_state, observation = reset(CartPole(1), 3, torch.Generator().manual_seed(0))
    >>> env_state.elapsed
    tensor([0, 0, 0], dtype=torch.int32)
    """
    checks.integer("n", n, lowest=1)
    params = _read(env, generator, params, (n,))
    state = first_states(env, n, generator, params)
    elapsed = torch.zeros(n, dtype=torch.int32, device=state.device)
    return EnvState(state, elapsed), env.observe(state, params)


def step(
    env: VecEnv, env_state: EnvState, action: torch.Tensor, generator: torch.Generator, params: Any = None
) -> tuple[EnvState, Transition]:
    """Take one step in each environment: a pure function of its arguments.

    Episodes that end are started anew in the same call; the observation from before is ``final_observation``.

    Parameters
    ----------
    env : VecEnv
        Says what the environment is; its own states and streams are neither read nor changed.
    env_state : EnvState
        From :func:`reset` or the step before.
    action : Tensor, (n, ...)
        One action for each environment.
    generator : torch.Generator
        Source of all random numbers, on the device of the environment.
    params : optional
        Parameters of the dynamics; those of ``env`` by default.

    Returns
    -------
    EnvState, Transition

    Raises
    ------
    ValueError
        If an argument is of the wrong kind.

    Examples
    --------
    >>> from lib.rl.envs.cart_pole import CartPole
    >>> env, source = CartPole(1), torch.Generator().manual_seed(0)
    >>> env_state, observation = reset(env, 3, source)
    >>> env_state, transition = step(env, env_state, torch.tensor([0, 1, 1]), source)
    >>> env_state.elapsed
    tensor([1, 1, 1], dtype=torch.int32)
    """
    if not isinstance(env_state, EnvState):
        raise ValueError(f"env_state must be an EnvState, as reset returns it, got {checks.describe(env_state)}")
    state, elapsed = env_state
    params = _read(env, generator, params, tuple(elapsed.shape))
    _fitting(action, env.action_space, tuple(elapsed.shape))
    moved, new = outcome_in_parts(env, state, action, params, generator)
    return restart(env, *moved, elapsed + 1, [generator], params, new)


def _read(env: VecEnv, generator: torch.Generator, params: Any, batch: tuple[int, ...]) -> Any:
    """Check what both pure functions take, and return the parameters of a batch."""
    if not isinstance(env, VecEnv):
        raise ValueError(f"env must be a VecEnv, got {checks.describe(env)}")
    checks.generator("generator", generator)
    return _placed(env, env.params if params is None else _of_kind(env, params), batch)


def _of_kind(env: VecEnv, params: Any) -> Any:
    wanted = type(env.default_params)
    if not isinstance(params, wanted):
        allowed = "None" if env.default_params is None else f"{wanted.__name__} or None"
        raise ValueError(f"params must be {allowed}, got {checks.describe(params)}")
    return params


def _placed(env: VecEnv, params: Any, batch: tuple[int, ...]) -> Any:
    """Put parameters that differ from environment to environment beside the states of a batch."""
    differing = {}
    for name in env.varying:
        value = getattr(params, name)
        if not isinstance(value, torch.Tensor):
            continue
        if tuple(value.shape) not in {(), batch[-1:], batch}:
            shapes = " or ".join(str(shape) for shape in dict.fromkeys([batch[-1:], batch]))
            raise ValueError(f"params.{name} must be a number or of shape {shapes}, got {checks.describe(value)}")
        differing[name] = value.to(env.device, env.dtype)
    return replaced(params, differing)


def _fitting(action: torch.Tensor, space: Space, batch: tuple[int, ...]) -> None:
    wanted = (*batch, *space.shape)
    if not isinstance(action, torch.Tensor) or tuple(action.shape) != wanted:
        raise ValueError(f"action must be a tensor of shape {wanted}, got {checks.describe(action)}")
    if not isinstance(space, Box) and (action.is_floating_point() or action.is_complex()):
        raise ValueError(f"action must be integers, got {checks.describe(action)}")


class VecEnv:
    """n environments of one kind, with their states and random streams: the base of all environments here.

    A new environment sets ``observation_space``, ``action_space``, ``max_steps`` and, where it has parameters,
    ``default_params``, and writes :meth:`initial`, :meth:`dynamics` and, if a state does not show itself,
    :meth:`observe`. These three read nothing but their arguments and the parameters, and change none of them in place;
    each may be asked about some of the environments alone.

    Parameters of the dynamics are an object of any class, with defaults in ``default_params``. The three methods get it
    as ``params``; called by hand they may get None, which stands for ``self.params``. Where environments differ in some
    of its attributes, ``varying`` names those: each method then gets the values of the environments it serves.

    Parameters
    ----------
    n : int
        Number of environments (of each member), at least 1.
    device : str or torch.device
        Where states are kept.
    dtype : torch.dtype
        Of floating states, of observations and rewards: torch.float32 or torch.float64.
    seed : int or sequence of int
        Seed, or one for each member: with a sequence every tensor has a leading members dimension.
    params : optional
        Parameters of the dynamics; ``default_params`` by default. Those named in ``varying`` may be tensors of shape
        (n,) or (members, n), with a value for each environment.
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
    varying: tuple[str, ...] = ()
    """Names of the parameters that may differ from environment to environment."""
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
        checks.choice("dtype", dtype, (torch.float32, torch.float64))
        self.dtype = dtype
        self.params = self.default_params if params is None else _of_kind(self, params)
        if max_steps is not None:
            self.max_steps = checks.integer("max_steps", max_steps, lowest=1)
        self.check_actions = checks.flag("check_actions", check_actions)
        self.shards, self.shard = shards, shard
        self.streams: Streams | None = None
        self.reseed(seed)
        self.streams.share(self.n)
        self.params = _placed(self, self.params, self.batch)
        self.state: torch.Tensor | None = None
        self.elapsed: torch.Tensor | None = None
        self._proven = False  # whether a step has shown that an environment that is not stochastic draws nothing

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

    def reseed(self, seed: int | Sequence[int]) -> None:
        """Start the random streams anew from a seed, or from one for each member.

        Raises
        ------
        ValueError
            If there are not as many members as before, or an argument is of the wrong kind.
        """
        streams = Streams(seed, "environment", self.device, shards=self.shards, shard=self.shard)
        if self.streams is not None and streams.members != self.members:
            allowed = "one integer" if self.members is None else f"a sequence of {self.members} integers"
            raise ValueError(f"seed must be {allowed}, as before, got {checks.describe(seed)}")
        self.streams, self.members = streams, streams.members

    def reset(self) -> torch.Tensor:
        """Start all episodes anew and return their first observations, which may share memory with the states."""
        generators = self._generators()
        share = self.streams.share(self.n)
        parts = iter([chosen(self, self.params, self.batch, block) for block in blocks(self.batch, len(generators))])
        self.state = self.streams.each(lambda source: first_states(self, share, source, next(parts)))
        self.elapsed = torch.zeros(self.batch, dtype=torch.int32, device=self.device)
        return self.observe(self.state, self.params)

    def step(self, action: torch.Tensor) -> Transition:
        """Take one step in each environment; episodes that end are started anew in the same call.

        Parameters
        ----------
        action : Tensor
            (n,) integers for a Discrete action space, (n, d) integers for a MultiDiscrete one, (n, ...) numbers for a
            Box; with a dimension for the members before n where there are any.

        Returns
        -------
        Transition
            (observation, reward, terminated, truncated, final_observation)

        Raises
        ------
        ValueError
            If the shape or the type of the actions does not fit, if one lies outside the action space and
            ``check_actions`` is set, or if an environment of one's own does not keep what it promises.
        """
        if self.state is None:
            raise ValueError("reset the environment before the first step")
        _fitting(action, self.action_space, self.batch)
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
            moved = []
            for block, source in zip(blocks(self.batch, len(generators)), generators):
                params = chosen(self, self.params, self.batch, block)
                moved.append(outcome(self, self.state[block], action[block], params, source))
            joined = [torch.cat(parts) for parts in zip(*moved)]
            moved, new = [part.view(*self.batch, *part.shape[1:]) for part in joined], True
        else:
            source = generators[0]
            before = None if self.stochastic or self._proven or self.device.type != "cpu" else source.get_state()
            moved, new = outcome_in_parts(self, self.state, action, self.params, source)
            if before is not None and not torch.equal(before, source.get_state()):
                # With members or shards one generator would serve all of them.
                kind = type(self).__name__
                raise ValueError(f"{kind}.stochastic must be True where dynamics draws random numbers, got False")
            self._proven = True
        return restart(self, *moved, self.elapsed + 1, generators, self.params, new)

    def state_dict(self) -> dict[str, Any]:
        """Copies of all that decides what comes next: states, elapsed steps and the positions of the streams."""
        parts = {"state": self.state, "elapsed": self.elapsed}
        copies = {name: None if part is None else part.detach().clone() for name, part in parts.items()}
        return {**copies, "streams": self.streams.state_dict()}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Go on from where :meth:`state_dict` stood.

        Raises
        ------
        ValueError
            If it was saved by an environment of another kind, type or number of environments, members or shards.
        """
        if not isinstance(saved, dict) or not {"state", "elapsed", "streams"} <= saved.keys():
            raise ValueError(f"saved must be what state_dict returned, got {checks.describe(saved)}")
        state, elapsed = saved["state"], saved["elapsed"]
        if (state is None) != (elapsed is None):
            raise ValueError("saved must hold both state and elapsed, or neither, got one of them")
        if elapsed is not None and not self.batch == tuple(elapsed.shape) == tuple(state.shape[: elapsed.dim()]):
            raise ValueError(f"saved must hold a batch of shape {self.batch}, got {tuple(elapsed.shape)}")
        if state is not None:
            first = (0, slice(1))[-len(self.batch) :]
            like = self.initial(1, torch.Generator(self.device), chosen(self, self.params, self.batch, first))
            shape = (*self.batch, *like.shape[1:])
            if state.dtype != like.dtype or tuple(state.shape) != shape:
                wanted = f"states of {like.dtype} and shape {shape}"
                raise ValueError(f"saved must hold {wanted}, got {checks.describe(state)}")
        self.streams.load_state_dict(saved["streams"])
        self.state = None if state is None else state.to(self.device, copy=True)
        self.elapsed = None if elapsed is None else elapsed.to(self.device, copy=True)
