"""Between gymnasium's environments and those of this package, in both directions.

Gymnasium is an extra (``pip install "living-models[gym]"``) and is imported by the first call that needs it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from lib import checks
from lib.rl.envs._restart import EnvState, Transition
from lib.rl.envs.vec_env import VecEnv
from lib.rl.spaces import Box
from lib.rl.streams import derived_seed

if TYPE_CHECKING:
    import gymnasium

__all__ = ["GymnasiumEnv", "as_gymnasium", "as_gymnasium_vector"]


def _interfaces():
    """The module that imports gymnasium."""
    try:
        from lib.rl.envs import _gymnasium
    except ImportError as problem:
        raise ImportError(f'gymnasium cannot be used ({problem}); pip install "living-models[gym]"') from problem
    return _gymnasium


def _check(env: VecEnv) -> None:
    if not isinstance(env, VecEnv) or isinstance(env, GymnasiumEnv):
        raise ValueError(f"env must be a VecEnv of this package, got {checks.describe(env)}")
    if env.members is not None:
        raise ValueError(f"env must have one seed and no members, got members={env.members}")


def as_gymnasium_vector(env: VecEnv) -> gymnasium.vector.VectorEnv:
    """A batch of environments as a vector environment of gymnasium.

    Episodes that end are started anew in the same step (``AutoresetMode.SAME_STEP``); what was seen last of them stands
    in ``infos["final_obs"]``. Arrays are copies.

    Parameters
    ----------
    env : VecEnv
        Without members. It is stepped by what is returned.

    Returns
    -------
    gymnasium.vector.VectorEnv

    Raises
    ------
    ValueError
        If ``env`` is no environment of this package, or has members.
    ImportError
        Without gymnasium.

    Examples
    --------
    >>> from lib.rl.envs.cart_pole import CartPole
    >>> vector = as_gymnasium_vector(CartPole(3))
    >>> observation, info = vector.reset(seed=0)
    >>> vector.action_space
    MultiDiscrete([2 2 2])
    """
    _check(env)
    return _interfaces().VectorEnvironment(env)


def as_gymnasium(env: VecEnv) -> gymnasium.Env:
    """A batch of one as a single environment of gymnasium.

    The step that ends an episode returns what was seen last of it, and the next call has to be ``reset``.

    Parameters
    ----------
    env : VecEnv
        With n = 1 and without members. It is stepped by what is returned.

    Returns
    -------
    gymnasium.Env

    Raises
    ------
    ValueError
        If ``env`` is no environment of this package, has members, or is more than one.
    ImportError
        Without gymnasium.

    Examples
    --------
    >>> from lib.rl.envs.pendulum import Pendulum
    >>> single = as_gymnasium(Pendulum(1))
    >>> observation, info = single.reset(seed=0)
    >>> single.action_space
    Box(-2.0, 2.0, (1,), float32)
    """
    _check(env)
    if env.n != 1:
        raise ValueError(f"env must be one environment, got n={env.n}")
    return _interfaces().OneEnvironment(env)


class GymnasiumEnv(VecEnv):
    """Environments of gymnasium with the interface of :class:`VecEnv`, so that PPO can learn in them.

    Parameters
    ----------
    source : str, callable or gymnasium.vector.VectorEnv
        Id of a registered environment, a function without arguments that makes one, or a vector of them that starts
        episodes anew in the step that ends them (``autoreset_mode=AutoresetMode.SAME_STEP``). Observations and actions
        have to be a Box, a Discrete or a flat MultiDiscrete.
    n : int, optional
        Number of environments; that of the vector if ``source`` is one.
    device, dtype
        Where observations are put, and the type of rewards and floating observations.
    seed : int
        Decides the first reset; later resets go on from there.
    max_steps : int, optional
        Time limit of an episode; what the registration of the environment says by default. An episode that is cut after
        fewer steps is an error, because PPO relies on the limit.
    check_actions : bool
        Refuse actions outside the action space. Actions of a Box are clipped to it if not.

    Attributes
    ----------
    source : gymnasium.vector.VectorEnv
    state : Tensor
        The last observations: the states themselves are gymnasium's.

    Raises
    ------
    ValueError
        If an argument is of the wrong kind.
    ImportError
        Without gymnasium.

    Notes
    -----
    Neither members nor shards: train several seeds one after the other. States cannot be saved; ``state_dict`` is no
    attribute, and a run that is resumed starts new episodes.

    Examples
    --------
    >>> env = GymnasiumEnv("CartPole-v1", 2)
    >>> env.reset().shape, env.n_actions, env.max_steps
    (torch.Size([2, 4]), 2, 500)
    """

    def __init__(
        self,
        source: str | Callable[[], gymnasium.Env] | gymnasium.vector.VectorEnv,
        n: int | None = None,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
        seed: int = 0,
        *,
        max_steps: int | None = None,
        check_actions: bool = False,
    ):
        checks.integer("seed", seed, lowest=0)
        interfaces = _interfaces()
        vector = _vector(source, n)
        super().__init__(vector.num_envs, device, dtype, seed, max_steps=max_steps, check_actions=check_actions)
        self.source = vector
        self.observation_space = interfaces.our_space("observation space", vector.single_observation_space)
        self.action_space = interfaces.our_space("action space", vector.single_action_space)
        if max_steps is None:
            self.max_steps = _time_limit(vector)
        self._first_seed: int | None = derived_seed(seed, "environment") % 2**31

    def reseed(self, seed: int) -> None:
        """Take another seed for the next reset."""
        super().reseed(checks.integer("seed", seed, lowest=0))
        self._first_seed = derived_seed(seed, "environment") % 2**31

    def reset(self) -> torch.Tensor:
        """Start all episodes anew and return their first observations."""
        observation, _ = self.source.reset(seed=self._first_seed)
        self._first_seed = None
        self.state = self._tensor(observation)
        self.elapsed = torch.zeros(self.n, dtype=torch.int32, device=self.device)
        return self.state

    def _advance(self, action: torch.Tensor) -> tuple[EnvState, Transition]:
        space = self.source.single_action_space
        chosen = action.detach().cpu().numpy()
        if isinstance(self.action_space, Box):
            chosen = np.clip(chosen, space.low, space.high)
        else:
            chosen = chosen + _first(space)
        observed, reward, terminated, truncated, infos = self.source.step(chosen.astype(space.dtype))
        final = observed
        ended = terminated | truncated
        if ended.any():
            final = np.array(observed)
            for i in np.flatnonzero(ended):
                final[i] = infos["final_obs"][i]
        observation = self._tensor(observed)
        flags = (torch.tensor(part, device=self.device) for part in (terminated, truncated & ~terminated, ended))
        terminated, truncated, ended = flags
        elapsed = self.elapsed + 1
        self._check_limit(elapsed[truncated])
        transition = Transition(
            observation,
            torch.tensor(reward, dtype=self.dtype, device=self.device),
            terminated,
            truncated,
            observation if final is observed else self._tensor(final),
        )
        return EnvState(observation, elapsed.masked_fill(ended, 0)), transition

    def _check_limit(self, cut: torch.Tensor) -> None:
        """An episode may be cut at the time limit and not before."""
        early = cut if self.max_steps is None else cut[cut < self.max_steps]
        if early.numel():
            raise ValueError(
                f"max_steps must be the smallest number of steps after which an episode is cut, got {self.max_steps} "
                f"and an episode that was cut after {int(early.min())}"
            )

    def _tensor(self, observed: np.ndarray) -> torch.Tensor:
        space = self.source.single_observation_space
        if not isinstance(self.observation_space, Box):
            return torch.tensor(np.asarray(observed) - _first(space), dtype=torch.int64, device=self.device)
        tensor = torch.tensor(np.asarray(observed), device=self.device)
        return tensor.to(self.dtype) if tensor.is_floating_point() else tensor

    def initial(self, n: int, generator: torch.Generator, params: Any = None) -> torch.Tensor:
        """Not to be had: first states are gymnasium's."""
        raise NotImplementedError("first states of a gymnasium environment are its own: use reset")

    def dynamics(self, state, action, params=None, generator=None):
        """Not to be had: states are gymnasium's."""
        raise NotImplementedError("states of a gymnasium environment are its own: use step")

    @property
    def state_dict(self):
        """No attribute: gymnasium keeps the states, and does not say what they are."""
        raise AttributeError("the states of a gymnasium environment cannot be saved")

    @property
    def load_state_dict(self):
        """No attribute: gymnasium keeps the states, and does not say what they are."""
        raise AttributeError("the states of a gymnasium environment cannot be loaded")

    def close(self) -> None:
        """Close the environments."""
        self.source.close()


def _first(space: gymnasium.Space) -> int | np.ndarray:
    """What a space of choices counts from; here they are counted from 0."""
    return getattr(space, "start", 0)


def _vector(source, n: int | None) -> gymnasium.vector.VectorEnv:
    """A vector that starts episodes anew in the step that ends them."""
    import gymnasium
    from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv

    if isinstance(source, VectorEnv):
        mode = source.metadata.get("autoreset_mode")
        if mode != AutoresetMode.SAME_STEP:
            raise ValueError(
                "source must start episodes anew in the step that ends them (autoreset_mode=AutoresetMode.SAME_STEP), "
                f"got {mode}"
            )
        if n is not None and n != source.num_envs:
            raise ValueError(
                f"n must be None or the {source.num_envs} environments of source, got {checks.describe(n)}"
            )
        return source
    if not isinstance(source, str) and not callable(source):
        allowed = "the id of an environment, a function that makes one, or a VectorEnv"
        raise ValueError(f"source must be {allowed}, got {checks.describe(source)}")
    checks.integer("n", n, lowest=1)

    def make():
        try:
            env = gymnasium.make(source) if isinstance(source, str) else source()
        except (gymnasium.error.Error, ModuleNotFoundError) as problem:
            raise ValueError(
                f"source must name an environment that can be made, got {source!r}: {problem}"
            ) from problem
        if not isinstance(env, gymnasium.Env):
            raise ValueError(f"source must make a gymnasium.Env, got {checks.describe(env)}")
        return env

    return SyncVectorEnv([make] * n, autoreset_mode=AutoresetMode.SAME_STEP)


def _time_limit(vector: gymnasium.vector.VectorEnv) -> int | None:
    """What the registration of the environments says, if they are registered."""
    specs = vector.get_attr("spec") if hasattr(vector, "get_attr") else (None,)
    spec = specs[0] or vector.spec
    return None if spec is None else spec.max_episode_steps
