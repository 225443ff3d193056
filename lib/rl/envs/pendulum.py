"""Pendulum-v1: swing a pendulum up and hold it there with a motor too weak to lift it at once."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from lib.rl.envs._params import check_params, largest
from lib.rl.envs.vec_env import VecEnv, columns
from lib.rl.spaces import Box

__all__ = ["Pendulum", "PendulumParams"]


@dataclass(frozen=True, eq=False)
class PendulumParams:
    """Physics of the pendulum; the defaults are gymnasium's. Each may be a tensor with a value per environment.

    Attributes
    ----------
    gravity : float or Tensor
        m/s².
    mass : float or Tensor
        kg.
    length : float or Tensor
        Of a uniform rod hung at one end, m.
    time_step : float or Tensor
        s.
    max_speed : float or Tensor
        Angular velocity is clipped to this size, rad/s.
    max_torque : float or Tensor
        Torque is clipped to this size, N m.

    Raises
    ------
    ValueError
        If one is not finite, or not positive (gravity may be anything finite).

    Examples
    --------
    >>> PendulumParams(length=torch.tensor([0.5, 1.0])).gravity
    10.0
    """

    gravity: float | torch.Tensor = 10.0
    mass: float | torch.Tensor = 1.0
    length: float | torch.Tensor = 1.0
    time_step: float | torch.Tensor = 0.05
    max_speed: float | torch.Tensor = 8.0
    max_torque: float | torch.Tensor = 2.0

    def __post_init__(self):
        check_params(self, gravity=None, mass=0, length=0, time_step=0, max_speed=0, max_torque=0)


class Pendulum(VecEnv):
    """Pendulum with a torque at its hinge, as gymnasium's Pendulum-v1.

    State: angle from upright (rad, not wrapped) and angular velocity (rad/s). Observation: cosine and sine of the angle
    and the angular velocity. Action: a torque (N m), clipped. The reward is minus a cost of the state before the step
    and of the torque, 0 at rest upright; no state ends an episode, which is cut after 200 steps.

    Parameters
    ----------
    n, device, dtype, seed, params, max_steps, shards, shard, check_actions
        See :class:`lib.rl.envs.vec_env.VecEnv`; ``params`` is a :class:`PendulumParams`.

    Examples
    --------
    >>> env = Pendulum(3, seed=1)
    >>> env.reset().shape
    torch.Size([3, 3])
    >>> env.step(torch.zeros(3, 1)).terminated
    tensor([False, False, False])
    """

    observation_space = Box((-1.0, -1.0, -8.0), (1.0, 1.0, 8.0), shape=(3,))
    action_space = Box(-2.0, 2.0, shape=(1,))
    max_steps = 200
    default_params = PendulumParams()
    varying = ("gravity", "mass", "length", "time_step", "max_speed", "max_torque")

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        speed, torque = largest(self.params.max_speed), largest(self.params.max_torque)
        self.observation_space = Box((-1.0, -1.0, -speed), (1.0, 1.0, speed), shape=(3,))
        self.action_space = Box(-torque, torque, shape=(1,))

    def initial(self, n, generator, params=None):
        """Draw n first states: any angle, angular velocity uniform in [-1, 1]."""
        drawn = torch.rand(2, n, generator=generator, dtype=self.dtype, device=self.device).mul_(2).sub_(1)
        drawn[0] *= math.pi
        return drawn.movedim(0, -1)

    def dynamics(self, state, action, params=None, generator=None):
        """One step of semi-implicit Euler: (next_state, reward, terminated)."""
        p = self.params if params is None else params
        angle, speed = state.unbind(-1)
        torque = action[..., 0].to(state.dtype).clamp(-p.max_torque, p.max_torque)
        from_upright = torch.remainder(angle + math.pi, 2 * math.pi) - math.pi
        cost = from_upright.square() + 0.1 * speed.square() + 0.001 * torque.square()
        pull = 3 * p.gravity / (2 * p.length)
        lever = 3.0 / (p.mass * p.length**2)
        next_speed = speed + (pull * torch.sin(angle) + lever * torque) * p.time_step
        next_speed = next_speed.clamp(-p.max_speed, p.max_speed)
        next_state = columns(angle + next_speed * p.time_step, next_speed)
        return next_state, -cost, torch.zeros_like(cost, dtype=torch.bool)

    def observe(self, state, params=None):
        """Cosine and sine of the angle, and the angular velocity."""
        angle, speed = state.unbind(-1)
        return columns(torch.cos(angle), torch.sin(angle), speed)
