"""Environments of one's own: written from the documentation, and what is said of one that breaks a promise."""

import math
from dataclasses import dataclass

import pytest
import torch

from lib.rl.envs import Pendulum, PendulumParams, VecEnv, columns, reset, step
from lib.rl.spaces import Box


@dataclass(frozen=True, eq=False)
class Wind:
    """Mean and size of the gusts; the mean may differ from environment to environment."""

    mean: float | torch.Tensor = 0.0
    gusts: float = 0.1


class Navigation(VecEnv):
    """Walk to the middle of a square in the wind: the reward is minus the distance, and there the episode ends."""

    observation_space = Box(-3.0, 3.0, shape=(3,))
    action_space = Box(-0.5, 0.5, shape=(2,))
    max_steps = 20
    default_params = Wind()
    varying = ("mean",)
    stochastic = True

    def initial(self, n, generator, params=None):
        return torch.rand(n, 2, generator=generator, dtype=self.dtype, device=self.device) * 2 - 1

    def dynamics(self, state, action, params=None, generator=None):
        wind = self.params if params is None else params
        blown = torch.randn(state.shape, generator=generator, dtype=self.dtype, device=self.device) * wind.gusts
        place = (state + action.clamp(-0.5, 0.5) + blown).clamp(-3, 3)
        place = columns((place[..., 0] + wind.mean).clamp(-3, 3), place[..., 1])
        distance = place.norm(dim=-1)
        return place, -distance, distance < 0.2

    def observe(self, state, params=None):
        return columns(state[..., 0], state[..., 1], state.norm(dim=-1))


def walk(env, steps=30):
    """Homewards; all that is returned."""
    seen, moved = env.reset(), []
    for _ in range(steps):
        moved.append(env.step(-seen[..., :2]))
        seen = moved[-1].observation
    return moved


def test_walkers_with_members_and_shards_walk_as_they_do_alone():
    together = walk(Navigation(6, seed=(3, 8), shards=2))
    assert torch.stack([moved.terminated for moved in together]).any()
    for member, seed in enumerate((3, 8)):
        for shard in range(2):
            alone = walk(Navigation(3, seed=seed, shards=2, shard=shard))
            part = slice(3 * shard, 3 * shard + 3)
            for ours, theirs in zip(together, alone):
                for mine, its in zip(ours, theirs):
                    torch.testing.assert_close(mine[member, part], its, atol=1e-6, rtol=0)


def test_wind_that_differs_blows_each_walker_its_own_way():
    env = Navigation(3, params=Wind(mean=torch.tensor([-0.5, 0.0, 0.5])), max_steps=100)
    env.reset()
    for _ in range(20):
        moved = env.step(torch.zeros(3, 2))
    assert moved.observation[0, 0] < -2 and moved.observation[2, 0] > 2


def broken(**replaced):
    """An environment with some part replaced, after a reset."""
    env = type("Broken", (Navigation,), replaced)(3)
    env.reset()
    return env


def returned(*, state=None, reward=None, terminated=None):
    def dynamics(self, before, action, params=None, generator=None):
        good = Navigation.dynamics(self, before, action, params, generator)
        return tuple(old if new is None else new(old) for old, new in zip(good, (state, reward, terminated)))

    return dynamics


@pytest.mark.parametrize(
    ("dynamics", "message"),
    [
        (returned(reward=lambda r: r[:, None]), r"reward as a floating tensor of shape \(3,\), got .* \(3, 1\)"),
        (returned(reward=lambda r: r.long()), r"reward as a floating tensor of shape \(3,\), got .*int64"),
        (returned(reward=lambda r: -1.0), "reward as a floating tensor of .*, got -1.0"),
        (returned(terminated=lambda t: t.float()), r"terminated as a torch.bool tensor of shape \(3,\), got .*float32"),
        (returned(terminated=lambda t: False), "terminated as a torch.bool tensor .*, got False"),
        (
            returned(state=lambda s: s.double()),
            r"next_state as a torch.float32 tensor of .* \(3, 2\), got .*float64",
        ),
        (
            returned(state=lambda s: s[:, :1]),
            r"next_state as a torch.float32 tensor of .* \(3, 2\), got .* \(3, 1\)",
        ),
    ],
)
def test_dynamics_that_return_something_else(dynamics, message):
    env = broken(dynamics=dynamics)
    with pytest.raises(ValueError, match=f"Broken.dynamics must return {message}"):
        env.step(torch.zeros(3, 2))
    generator = torch.Generator().manual_seed(0)
    env_state, _ = reset(env, 3, generator)
    with pytest.raises(ValueError, match=f"Broken.dynamics must return {message}"):
        step(env, env_state, torch.zeros(3, 2), generator)


def test_steps_without_records_for_gradients():
    env = Navigation(3, seed=1)
    expected = walk(Navigation(3, seed=1), 8)
    with torch.inference_mode():
        for ours, theirs in zip(walk(env, 8), expected):
            assert all(torch.equal(mine, its) for mine, its in zip(ours, theirs))


@pytest.mark.parametrize("name", ["state", "action"])
def test_dynamics_that_change_their_arguments(name):
    def dynamics(self, state, action, params=None, generator=None):
        (state if name == "state" else action).clamp_(-0.5, 0.5)
        return Navigation.dynamics(self, state, action, params, generator)

    with pytest.raises(ValueError, match=f"Broken.dynamics must leave {name} as it is, but changed it in place"):
        broken(dynamics=dynamics).step(torch.zeros(3, 2))


def test_dynamics_that_draw_in_secret():
    """One generator would serve all members and shards, which then would not be what they are alone."""
    with pytest.raises(ValueError, match=r"Broken.stochastic must be True where dynamics draws random numbers"):
        broken(stochastic=False).step(torch.zeros(3, 2))


@pytest.mark.parametrize(
    ("initial", "got"),
    [
        (lambda self, n, generator, params=None: torch.zeros(2), r"\(2,\)"),
        (lambda self, n, generator, params=None: torch.zeros(n, 2, dtype=torch.float64), "float64"),
        (lambda self, n, generator, params=None: [0.0] * n, r"\[0.0, 0.0, 0.0\]"),
    ],
)
def test_first_states_that_do_not_fit(initial, got):
    message = rf"Broken.initial must return states of shape \(3, ...\), integers or torch.float32, got .*{got}"
    with pytest.raises(ValueError, match=message):
        broken(initial=initial)
    with pytest.raises(ValueError, match=message):
        reset(type("Broken", (Navigation,), {"initial": initial})(3), 3, torch.Generator())


def test_parameters_of_a_pure_step_have_the_type_and_shape_of_its_states():
    env, generator = Pendulum(5, params=PendulumParams(mass=torch.ones(5))), torch.Generator().manual_seed(0)
    with pytest.raises(ValueError, match=r"params.mass must be a number or of shape \(1,\), got .* \(5,\)"):
        reset(env, 1, generator)
    params = PendulumParams(mass=torch.tensor([1.0, 2.0], dtype=torch.float64))
    env_state, _ = reset(env, 2, generator, params)
    env_state, moved = step(env, env_state, torch.zeros(2, 1), generator, params)
    assert env_state.state.dtype == moved.reward.dtype == torch.float32
    assert math.isclose(float(params.mass[1]), 2.0) and params.mass.dtype == torch.float64
    with pytest.raises(ValueError, match=r"params.mass must be a number or of shape \(2,\), got .* \(3,\)"):
        step(env, env_state, torch.zeros(2, 1), generator, PendulumParams(mass=torch.ones(3)))
