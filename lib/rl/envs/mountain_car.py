"""MountainCar-v0 and MountainCarContinuous-v0: rock a weak car out of a valley."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from lib.rl.envs._params import check_params, largest
from lib.rl.envs.vec_env import VecEnv, columns
from lib.rl.spaces import Box, Discrete

__all__ = ["MountainCar", "MountainCarContinuous", "MountainCarContinuousParams", "MountainCarParams"]


@dataclass(frozen=True, eq=False)
class MountainCarParams:
    """Physics of the car; the defaults are gymnasium's. Each may be a tensor with a value per environment.

    Attributes
    ----------
    force : float or Tensor
        Change of velocity in a step by full throttle.
    gravity : float or Tensor
        Change of velocity in a step on the steepest slope.
    max_speed : float or Tensor
        Velocity is clipped to this size, per step.
    goal_position, goal_velocity : float or Tensor
        An episode ends at or right of this position with at least this velocity.

    Raises
    ------
    ValueError
        If one is not finite, or if ``force``, ``gravity`` or ``max_speed`` is not positive.

    Examples
    --------
    >>> MountainCarParams(force=0.002).gravity
    0.0025
    """

    force: float | torch.Tensor = 0.001
    gravity: float | torch.Tensor = 0.0025
    max_speed: float | torch.Tensor = 0.07
    goal_position: float | torch.Tensor = 0.5
    goal_velocity: float | torch.Tensor = 0.0

    def __post_init__(self):
        check_params(self, force=0, gravity=0, max_speed=0, goal_position=None, goal_velocity=None)


@dataclass(frozen=True, eq=False)
class MountainCarContinuousParams(MountainCarParams):
    """As :class:`MountainCarParams`, with gymnasium's defaults of the car with a throttle.

    Examples
    --------
    >>> MountainCarContinuousParams().goal_position
    0.45
    """

    force: float | torch.Tensor = 0.0015
    goal_position: float | torch.Tensor = 0.45


LEFT, RIGHT = -1.2, 0.6


class _Valley(VecEnv):
    """What both cars have in common: the valley, and where episodes start and end."""

    varying = ("force", "gravity", "max_speed", "goal_position", "goal_velocity")

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        speed = largest(self.params.max_speed)
        self.observation_space = Box((LEFT, -speed), (RIGHT, speed), shape=(2,))

    def initial(self, n, generator, params=None):
        """Draw n first states: at rest, position uniform in [-0.6, -0.4]."""
        position = torch.rand(n, generator=generator, dtype=self.dtype, device=self.device).mul_(0.2).sub_(0.6)
        return columns(position, torch.zeros_like(position))

    def _roll(self, position, velocity, params):
        """Move with a velocity, no faster than allowed, and stop at the left wall: (next_state, terminated)."""
        velocity = velocity.clamp(-params.max_speed, params.max_speed)
        position = (position + velocity).clamp(LEFT, RIGHT)
        blocked = (position <= LEFT) & (velocity < 0)
        velocity = torch.where(blocked, torch.zeros_like(velocity), velocity)
        terminated = (position >= params.goal_position) & (velocity >= params.goal_velocity)
        return columns(position, velocity), terminated


class MountainCar(_Valley):
    """Car in a valley after Moore (1990), as gymnasium's MountainCar-v0.

    State and observation: position and velocity (per step). Actions: 0 pushes left, 1 does nothing, 2 pushes right. The
    reward is -1 for every step, the last one included; episodes are cut after 200 steps.

    Parameters
    ----------
    n, device, dtype, seed, params, max_steps, shards, shard, check_actions
        See :class:`lib.rl.envs.vec_env.VecEnv`; ``params`` is a :class:`MountainCarParams`.

    Examples
    --------
    >>> env = MountainCar(2, seed=1)
    >>> env.reset()[:, 1]
    tensor([0., 0.])
    >>> env.step(torch.tensor([0, 2])).reward
    tensor([-1., -1.])
    """

    observation_space = Box((LEFT, -0.07), (RIGHT, 0.07), shape=(2,))
    action_space = Discrete(3)
    max_steps = 200
    default_params = MountainCarParams()

    def dynamics(self, state, action, params=None, generator=None):
        """One step: (next_state, reward, terminated)."""
        p = self.params if params is None else params
        position, velocity = state.unbind(-1)
        push = (action.to(state.dtype) - 1) * p.force
        next_state, terminated = self._roll(position, velocity + (push + torch.cos(3 * position) * -p.gravity), p)
        return next_state, torch.full_like(position, -1.0), terminated


class MountainCarContinuous(_Valley):
    """Car in a valley with a throttle, as gymnasium's MountainCarContinuous-v0.

    State and observation: position and velocity (per step). Action: throttle in [-1, 1], clipped. The reward is minus a
    tenth of the square of the action, before clipping, and 100 more at the goal; episodes are cut after 999 steps.

    Parameters
    ----------
    n, device, dtype, seed, params, max_steps, shards, shard, check_actions
        See :class:`lib.rl.envs.vec_env.VecEnv`; ``params`` is a :class:`MountainCarContinuousParams`.

    Examples
    --------
    >>> env = MountainCarContinuous(2, seed=1)
    >>> env.reset()[:, 1]
    tensor([0., 0.])
    >>> env.step(torch.tensor([[1.0], [-2.0]])).reward
    tensor([-0.1000, -0.4000])
    """

    observation_space = Box((LEFT, -0.07), (RIGHT, 0.07), shape=(2,))
    action_space = Box(-1.0, 1.0, shape=(1,))
    max_steps = 999
    default_params = MountainCarContinuousParams()

    def dynamics(self, state, action, params=None, generator=None):
        """One step: (next_state, reward, terminated)."""
        p = self.params if params is None else params
        position, velocity = state.unbind(-1)
        throttle = action[..., 0].to(state.dtype)
        push = throttle.clamp(-1, 1) * p.force - p.gravity * torch.cos(3 * position)
        next_state, terminated = self._roll(position, velocity + push, p)
        return next_state, 100 * terminated.to(throttle.dtype) - throttle.square() * 0.1, terminated
