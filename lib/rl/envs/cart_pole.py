"""CartPole-v1: keep a pole upright by pushing the cart below it left or right."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch.autograd import forward_ad

from lib._compiled import loops
from lib.live import tracing
from lib.rl.envs._params import check_params, largest
from lib.rl.envs._restart import EnvState, Restarted, Transition
from lib.rl.envs.vec_env import VecEnv, columns
from lib.rl.spaces import Box, Discrete

__all__ = ["CartPole", "CartPoleParams"]

NEVER = 2**31 - 1
LARGE, APART = 2**16, 64
"""From so many environments on, that many numbers lie between the components of their states: components a power of
two apart compete for the same places of the cache."""
NOTHING = None, None, (0, 0), None, None
"""Arrays of no state."""


@dataclass(frozen=True, eq=False)
class CartPoleParams:
    """Physics of the cart and the pole; gymnasium's by default. Each may be a tensor with a value per environment.

    Attributes
    ----------
    gravity : float or Tensor
        m/s².
    cart_mass, pole_mass : float or Tensor
        kg.
    half_length : float or Tensor
        Half the length of the pole, m.
    force : float or Tensor
        Size of a push, N.
    time_step : float or Tensor
        s.
    position_limit : float or Tensor
        The episode ends beyond this distance from the middle, m.
    angle_limit : float or Tensor
        The episode ends beyond this angle from upright, rad.

    Raises
    ------
    ValueError
        If one is not finite, or not positive (gravity may be anything finite).

    Examples
    --------
    >>> CartPoleParams(half_length=torch.tensor([0.5, 1.0])).gravity
    9.8
    """

    gravity: float | torch.Tensor = 9.8
    cart_mass: float | torch.Tensor = 1.0
    pole_mass: float | torch.Tensor = 0.1
    half_length: float | torch.Tensor = 0.5
    force: float | torch.Tensor = 10.0
    time_step: float | torch.Tensor = 0.02
    position_limit: float | torch.Tensor = 2.4
    angle_limit: float | torch.Tensor = 12 * 2 * math.pi / 360

    def __post_init__(self):
        positive = ("cart_mass", "pole_mass", "half_length", "force", "time_step", "position_limit", "angle_limit")
        check_params(self, gravity=None, **dict.fromkeys(positive, 0))


def _box(params: CartPoleParams) -> Box:
    """Observations: up to twice what an episode may reach, so that its last one lies within."""
    bounds = (2 * largest(params.position_limit), math.inf, 2 * largest(params.angle_limit), math.inf)
    return Box(tuple(-bound for bound in bounds), bounds, shape=(4,))


def _kernels():
    return loops("lib.rl.envs._cart_pole_numba", "CartPole steps")


class CartPole(VecEnv):
    """Cart and pole after Barto, Sutton and Anderson (1983), as gymnasium's CartPole-v1.

    State and observation: position (m), velocity (m/s), angle (rad), angular velocity (rad/s). Actions: 0 pushes left,
    1 right. The reward is 1 for every step, the last one included; episodes are cut after 500 steps.

    Parameters
    ----------
    n, device, dtype, seed, params, max_steps, shards, shard, check_actions
        See :class:`lib.rl.envs.vec_env.VecEnv`; ``params`` is a :class:`CartPoleParams`.

    Notes
    -----
    In float32 on the CPU, with parameters that are numbers, ``step`` runs in compiled loops where numba is installed:
    the same operations as :meth:`dynamics`, several times faster.

    Examples
    --------
    >>> env = CartPole(3, seed=1)
    >>> env.reset().shape
    torch.Size([3, 4])
    >>> env.step(torch.tensor([0, 1, 1])).reward
    tensor([1., 1., 1.])
    """

    observation_space = _box(CartPoleParams())
    action_space = Discrete(2)
    max_steps = 500
    default_params = CartPoleParams()
    varying = tuple(CartPoleParams.__dataclass_fields__)

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.observation_space = _box(self.params)
        self._numbers = None, None
        self._ended = np.empty(0, dtype=np.int64)
        self._views = NOTHING

    def __getstate__(self):
        # A copy of a state is no longer the memory of the arrays beside it.
        return self.__dict__ | {"_views": NOTHING, "_ended": np.empty(0, dtype=np.int64)}

    def initial(self, n, generator, params=None):
        """Draw n first states, every component uniform in [-0.05, 0.05]."""
        return self._drawn(n, generator).movedim(0, -1)

    def _drawn(self, n: int, generator: torch.Generator) -> torch.Tensor:
        """Components (4, n) of first states."""
        drawn = torch.empty(4, n, dtype=self.dtype, device=self.device)
        return drawn.uniform_(-0.05, 0.05, generator=generator)

    def dynamics(self, state, action, params=None, generator=None):
        """One step of explicit Euler: (next_state, reward, terminated)."""
        p = self.params if params is None else params
        position, velocity, angle, spin = state.unbind(-1)
        mass = p.cart_mass + p.pole_mass
        moment = p.pole_mass * p.half_length
        force = action.to(state.dtype).mul(2 * p.force).sub(p.force)
        cosine, sine = torch.cos(angle), torch.sin(angle)
        push = (force + moment * spin.square() * sine) / mass
        turning = (p.gravity * sine - cosine * push) / (
            p.half_length * (4.0 / 3.0 - p.pole_mass * cosine.square() / mass)
        )
        pulling = push - moment * turning * cosine / mass
        next_state = columns(
            position + p.time_step * velocity,
            velocity + p.time_step * pulling,
            angle + p.time_step * spin,
            spin + p.time_step * turning,
        )
        terminated = (next_state[..., 0].abs() > p.position_limit) | (next_state[..., 2].abs() > p.angle_limit)
        return next_state, torch.ones_like(position), terminated

    def _advance(self, action: torch.Tensor) -> tuple[EnvState, Transition]:
        """Take the compiled step where it applies, and otherwise the plain one."""
        numbers = self._compiled_numbers(action)
        advanced = None if numbers is None or _kernels() is None else self._compiled_step(_kernels(), action, numbers)
        return super()._advance(action) if advanced is None else advanced

    def _compiled_numbers(self, action: torch.Tensor) -> np.ndarray | None:
        """Parameters for the compiled step, or None where it does not apply."""
        state, p = self.state, self.params
        own = type(self).dynamics is CartPole.dynamics and type(self).observe is VecEnv.observe
        fits = state.dtype == torch.float32 and state.is_cpu and action.is_cpu
        if not own or not fits or tracing.active():
            return None
        if (torch.is_grad_enabled() and state.requires_grad) or forward_ad.unpack_dual(state).tangent is not None:
            return None
        if self._numbers[0] is not p:
            mass, moment = p.cart_mass + p.pole_mass, p.pole_mass * p.half_length
            values = (p.gravity, mass, p.pole_mass, p.half_length, moment, p.force)
            values = (*values, p.time_step, p.position_limit, p.angle_limit)
            plain = not any(isinstance(value, torch.Tensor) for value in values)
            self._numbers = p, np.array(values, dtype=np.float32) if plain else None
        return self._numbers[1]

    def _compiled_step(self, kernels, action: torch.Tensor, numbers: np.ndarray):
        """What :meth:`VecEnv._advance` returns, or None if an angle is too far for the compiled sine."""
        batch = self.batch
        before, elapsed = self._arrays()
        count = elapsed.size
        if self._ended.size != count:
            self._ended = np.empty(count, dtype=np.int64)
        ended = self._ended
        # With few environments calls cost more than arithmetic, and an array is made sooner by numpy than by torch.
        row = count + (APART if count >= LARGE else 0)
        # The reward of many is one number, seen from all places: to write it out would take a tenth longer.
        arrived, reward = np.empty((4, row), np.float32), np.empty(count if row == count else 0, np.float32)
        later, terminated, truncated = np.empty(count, np.int32), np.empty(count, np.bool_), np.empty(count, np.bool_)
        action = action if action.dtype in (torch.int32, torch.int64) else action.to(torch.int64)
        action = np.ascontiguousarray(action.numpy()).reshape(count)
        last = min(self.max_steps or NEVER, NEVER)
        made = (arrived, reward, terminated, truncated, later)
        finished = kernels.advance(before, action, elapsed, *made, ended, numbers, last)
        if finished < 0:
            return None
        if finished:
            rows, left = ended[:finished].copy(), np.empty((4, finished), np.float32)
            for generator, first, last in self._shares(rows):
                fresh = _rows(self.initial(last - first, generator, self.params))
                kernels.exchange(arrived, rows[first:last], fresh, left[:, first:last])
        state, *returned, elapsed = map(torch.from_numpy, made)
        if row > count:
            state, returned[0] = state[:, :count], torch.ones(()).expand(count)
        if len(batch) == 1:
            state = state.mT
        else:
            state = state.view(4, *batch).movedim(0, -1)
            *returned, elapsed = (part.view(batch) for part in (*returned, elapsed))
        self._views = state, elapsed, (state.data_ptr(), elapsed.data_ptr()), arrived, later
        if not finished:
            return EnvState(state, elapsed), Transition(state, *returned, state)
        index = (rows,) if len(batch) == 1 else np.unravel_index(rows, batch)
        return EnvState(state, elapsed), Restarted.of(state, *returned, index, left.T)

    def _arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """States (4, count) and elapsed steps (count,): those of the step before, or of what was assigned since."""
        state, elapsed, addresses, *arrays = self._views
        if state is self.state and elapsed is self.elapsed and addresses == (state.data_ptr(), elapsed.data_ptr()):
            return arrays
        elapsed = np.ascontiguousarray(self.elapsed.numpy())
        return _rows(self.state.detach()).reshape(4, elapsed.size), elapsed.reshape(elapsed.size)

    def _shares(self, ended: np.ndarray):
        """Generators with the range of the ended episodes, in order, that each serves; none that serves no episode."""
        generators = self._generators()
        if len(generators) == 1:
            return [(generators[0], 0, len(ended))] if len(ended) else []
        edges = np.arange(len(generators) + 1) * (self.elapsed.numel() // len(generators))
        edges = np.searchsorted(ended, edges).tolist()
        return [share for share in zip(generators, edges[:-1], edges[1:]) if share[2] > share[1]]


def _rows(state: torch.Tensor) -> np.ndarray:
    """Components of states (..., 4) as contiguous rows of an array (4, ...)."""
    array = state.numpy()
    return np.ascontiguousarray(array.transpose(-1, *range(array.ndim - 1)))
