"""Acrobot-v1: swing the free end of two hanging links above a line by a torque at the joint between them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from lib.rl.envs._params import check_params, largest
from lib.rl.envs.vec_env import VecEnv, columns
from lib.rl.spaces import Box, Discrete

__all__ = ["Acrobot", "AcrobotParams"]

COS_SIN = (1.0, 1.0, 1.0, 1.0)


@dataclass(frozen=True, eq=False)
class AcrobotParams:
    """Physics of the two links; the defaults are gymnasium's. Each may be a tensor with a value per environment.

    Attributes
    ----------
    gravity : float or Tensor
        m/s².
    mass_1, mass_2 : float or Tensor
        Of the upper and the lower link, kg.
    length_1 : float or Tensor
        Of the upper link, m.
    centre_1, centre_2 : float or Tensor
        From the joint above a link to its centre of mass, m.
    inertia : float or Tensor
        Moment of inertia of each link about its centre of mass, kg m².
    torque : float or Tensor
        Size of the torque at the joint between the links, N m.
    time_step : float or Tensor
        s.
    max_speed_1, max_speed_2 : float or Tensor
        Angular velocities are clipped to these sizes, rad/s.

    Raises
    ------
    ValueError
        If one is not finite, or not positive (gravity may be anything finite).

    Examples
    --------
    >>> AcrobotParams(torque=2.0).gravity
    9.8
    """

    gravity: float | torch.Tensor = 9.8
    mass_1: float | torch.Tensor = 1.0
    mass_2: float | torch.Tensor = 1.0
    length_1: float | torch.Tensor = 1.0
    centre_1: float | torch.Tensor = 0.5
    centre_2: float | torch.Tensor = 0.5
    inertia: float | torch.Tensor = 1.0
    torque: float | torch.Tensor = 1.0
    time_step: float | torch.Tensor = 0.2
    max_speed_1: float | torch.Tensor = 4 * math.pi
    max_speed_2: float | torch.Tensor = 9 * math.pi

    def __post_init__(self):
        positive = ("mass_1", "mass_2", "length_1", "centre_1", "centre_2", "inertia", "torque", "time_step")
        check_params(self, gravity=None, **dict.fromkeys((*positive, "max_speed_1", "max_speed_2"), 0))


class Acrobot(VecEnv):
    """Two-link pendulum after Sutton and Barto's book, as gymnasium's Acrobot-v1.

    State: angle of the upper link from hanging, angle of the lower link from the direction of the upper one (rad, in
    [-pi, pi]), and their velocities (rad/s). Observation: cosine and sine of each angle, and the velocities. Actions: a
    torque to the one side, none, to the other. An episode ends when the free end is more than a link's length above the
    upper joint; the reward is -1 for every step but that last one, 0; episodes are cut after 500 steps.

    Parameters
    ----------
    n, device, dtype, seed, params, max_steps, shards, shard, check_actions
        See :class:`lib.rl.envs.vec_env.VecEnv`; ``params`` is an :class:`AcrobotParams`.

    Examples
    --------
    >>> env = Acrobot(2, seed=1)
    >>> env.reset().shape
    torch.Size([2, 6])
    >>> env.step(torch.tensor([0, 2])).reward
    tensor([-1., -1.])
    """

    observation_space = Box(
        (-1.0, -1.0, -1.0, -1.0, -4 * math.pi, -9 * math.pi), (*COS_SIN, 4 * math.pi, 9 * math.pi), (6,)
    )
    action_space = Discrete(3)
    max_steps = 500
    default_params = AcrobotParams()
    varying = tuple(AcrobotParams.__dataclass_fields__)

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        bounds = (*COS_SIN, largest(self.params.max_speed_1), largest(self.params.max_speed_2))
        self.observation_space = Box(tuple(-bound for bound in bounds), bounds, shape=(6,))

    def initial(self, n, generator, params=None):
        """Draw n first states, every component uniform in [-0.1, 0.1]."""
        drawn = torch.rand(4, n, generator=generator, dtype=self.dtype, device=self.device)
        return drawn.mul_(0.2).sub_(0.1).movedim(0, -1)

    def dynamics(self, state, action, params=None, generator=None):
        """One step of the classical Runge-Kutta method: (next_state, reward, terminated)."""
        p = self.params if params is None else params
        torque = (action.to(state.dtype) - 1) * p.torque
        start = state.unbind(-1)
        half = p.time_step / 2

        def slope(size, slopes):
            return _slope([here + size * change for here, change in zip(start, slopes)], torque, p)

        first = _slope(start, torque, p)
        second = slope(half, first)
        third = slope(half, second)
        fourth = slope(p.time_step, third)
        angle_1, angle_2, speed_1, speed_2 = (
            here + p.time_step / 6 * (a + 2 * b + 2 * c + d)
            for here, a, b, c, d in zip(start, first, second, third, fourth)
        )
        angle_1, angle_2 = _wrap(angle_1), _wrap(angle_2)
        speed_1 = speed_1.clamp(-p.max_speed_1, p.max_speed_1)
        speed_2 = speed_2.clamp(-p.max_speed_2, p.max_speed_2)
        terminated = -torch.cos(angle_1) - torch.cos(angle_2 + angle_1) > 1.0
        return columns(angle_1, angle_2, speed_1, speed_2), terminated.to(state.dtype) - 1, terminated

    def observe(self, state, params=None):
        """Cosine and sine of each angle, and the velocities."""
        angle_1, angle_2, speed_1, speed_2 = state.unbind(-1)
        return columns(angle_1.cos(), angle_1.sin(), angle_2.cos(), angle_2.sin(), speed_1, speed_2)


def _slope(parts, torque, p: AcrobotParams):
    """Derivatives of the four components in time, in gymnasium's order of operations."""
    angle_1, angle_2, speed_1, speed_2 = parts
    cosine, sine = torch.cos(angle_2), torch.sin(angle_2)
    coupling = p.mass_2 * p.length_1 * p.centre_2
    d1 = (
        p.mass_1 * p.centre_1**2
        + p.mass_2 * (p.length_1**2 + p.centre_2**2 + 2 * p.length_1 * p.centre_2 * cosine)
        + p.inertia
        + p.inertia
    )
    d2 = p.mass_2 * (p.centre_2**2 + p.length_1 * p.centre_2 * cosine) + p.inertia
    weight_1 = (p.mass_1 * p.centre_1 + p.mass_2 * p.length_1) * p.gravity
    phi2 = p.mass_2 * p.centre_2 * p.gravity * torch.cos(angle_1 + angle_2 - math.pi / 2)
    phi1 = (
        -coupling * speed_2.square() * sine
        - 2 * coupling * speed_2 * speed_1 * sine
        + weight_1 * torch.cos(angle_1 - math.pi / 2)
        + phi2
    )
    acceleration_2 = (torque + d2 / d1 * phi1 - coupling * speed_1.square() * sine - phi2) / (
        p.mass_2 * p.centre_2**2 + p.inertia - d2.square() / d1
    )
    acceleration_1 = -(d2 * acceleration_2 + phi1) / d1
    return speed_1, speed_2, acceleration_1, acceleration_2


def _wrap(angle):
    """The same angle in [-pi, pi], which is left as it is where it lies there already."""
    turn = 2 * math.pi
    turns = ((angle - math.pi) / turn).ceil().clamp(min=0) + ((angle + math.pi) / turn).floor().clamp(max=0)
    return angle - turns * turn
