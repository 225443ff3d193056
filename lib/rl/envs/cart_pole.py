"""CartPole-v1: keep a pole upright by pushing the cart below it left or right."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from lib.rl.envs.vec_env import VecEnv, columns
from lib.rl.spaces import Box, Discrete

__all__ = ["CartPole", "CartPoleParams"]


@dataclass(frozen=True)
class CartPoleParams:
    """Physics of the cart and the pole; the defaults are gymnasium's.

    Attributes
    ----------
    gravity : float
        m/s².
    cart_mass, pole_mass : float
        kg.
    half_length : float
        Half the length of the pole, m.
    force : float
        Size of a push, N.
    time_step : float
        s.
    position_limit : float
        The episode ends beyond this distance from the middle, m.
    angle_limit : float
        The episode ends beyond this angle from upright, rad.
    """

    gravity: float = 9.8
    cart_mass: float = 1.0
    pole_mass: float = 0.1
    half_length: float = 0.5
    force: float = 10.0
    time_step: float = 0.02
    position_limit: float = 2.4
    angle_limit: float = 12 * 2 * math.pi / 360


class CartPole(VecEnv):
    """Cart and pole after Barto, Sutton and Anderson (1983), as gymnasium's CartPole-v1.

    State and observation: position (m), velocity (m/s), angle (rad), angular velocity (rad/s). Actions: 0 pushes left,
    1 right. The reward is 1 for every step, the last one included; episodes are cut after 500 steps.

    Examples
    --------
    >>> env = CartPole(3, seed=1)
    >>> env.reset().shape
    torch.Size([3, 4])
    >>> env.step(torch.tensor([0, 1, 1])).reward
    tensor([1., 1., 1.])
    """

    observation_space = Box(
        (-4.8, -math.inf, -24 * 2 * math.pi / 360, -math.inf),
        (4.8, math.inf, 24 * 2 * math.pi / 360, math.inf),
        shape=(4,),
    )
    action_space = Discrete(2)
    max_steps = 500
    default_params = CartPoleParams()

    def initial(self, n, generator, params=None):
        """Draw n first states, every component uniform in [-0.05, 0.05]."""
        drawn = torch.rand(4, n, generator=generator, dtype=self.dtype, device=self.device)
        return drawn.mul_(0.1).sub_(0.05).movedim(0, -1)

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
