"""CartPole, Pendulum, the mountain cars and Acrobot: gymnasium step for step, numbers of the brief, and invariants."""

import math
from dataclasses import fields, replace

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.wrappers import TimeLimit
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.rl.envs import (
    Acrobot,
    CartPole,
    MountainCar,
    MountainCarContinuous,
    Pendulum,
    PendulumParams,
)
from lib.rl.spaces import Discrete

IDS = {
    CartPole: "CartPole-v1",
    Pendulum: "Pendulum-v1",
    MountainCar: "MountainCar-v0",
    MountainCarContinuous: "MountainCarContinuous-v0",
    Acrobot: "Acrobot-v1",
}
# Transitions, and the largest errors of a state and a reward. Where a sine of numpy and of torch round differently, the
# result may differ in its last digit.
PARITY = {
    CartPole: (2000, 2.3e-16, 0.0),
    Pendulum: (2000, 2e-15, 2e-15),
    MountainCar: (4000, 2e-17, 0.0),
    MountainCarContinuous: (4000, 0.0, 3e-17),
    Acrobot: (20_000, 1e-15, 0.0),
}
EVERY = pytest.mark.parametrize("kind", IDS, ids=lambda kind: kind.__name__)


def place(theirs, state):
    """Put gymnasium's environment into a state, in float64."""
    inner = theirs.unwrapped
    inner.state = np.array(state, dtype=np.float64)


def random_action(ours, rng):
    """An action for gymnasium, in float64; torques and throttles beyond their limits, too."""
    if isinstance(ours.action_space, Discrete):
        return int(rng.integers(ours.n_actions))
    return rng.uniform(1.5 * ours.action_space.low, 1.5 * ours.action_space.high, 1)


def their_transitions(kind, count):
    """Transitions of gymnasium along random episodes: states, actions, next states, rewards, terminated, observed."""
    theirs = gymnasium.make(IDS[kind]).unwrapped
    ours = kind(1)
    rng = np.random.default_rng(0)
    theirs.reset(seed=0)
    rows = []
    for _ in range(count):
        before = np.array(theirs.state, dtype=np.float64)
        place(theirs, before)
        action = random_action(ours, rng)
        seen, reward, terminated, truncated, _ = theirs.step(action)
        assert not truncated
        rows.append((before, action, np.array(theirs.state, dtype=np.float64), float(reward), terminated, seen))
        if terminated or rng.random() < 0.003:
            theirs.reset()
    return [np.array(column) for column in zip(*rows)]


@EVERY
def test_brief_9_1_one_step_from_states_of_gymnasium(kind):
    count, of_state, of_reward = PARITY[kind]
    before, action, after, reward, terminated, seen = their_transitions(kind, count)
    ours = kind(1, dtype=torch.float64)
    found, gained, ended = ours.dynamics(torch.tensor(before), torch.tensor(action))
    # The car with a throttle keeps its state in float32.
    found = found.float().double() if kind is MountainCarContinuous else found
    assert np.abs(found.numpy() - after).max() <= of_state
    assert np.abs(gained.numpy() - reward).max() <= of_reward
    assert (ended.numpy() == terminated).all()
    assert np.abs(ours.observe(found).float().numpy() - seen).max() <= 6e-8
    assert kind is not CartPole or terminated.sum() > 50


def pumping(ours):
    """An action along a velocity: it carries both cars to the goal, and the acrobot up."""
    state = ours.state[0]
    if isinstance(ours, Acrobot):
        return 2 * int(state[3] >= 0)
    along = float(state[1].sign())
    return 1 + int(along) if isinstance(ours, MountainCar) else np.array([along])


@EVERY
def test_whole_episodes_end_when_they_end_in_gymnasium(kind):
    """Both are driven with the same actions and go their own ways, time limits included."""
    theirs = gymnasium.make(IDS[kind])
    ours = kind(1, dtype=torch.float64, seed=1)
    ours.reset()
    rng = np.random.default_rng(1)
    endings = []
    for episode in range(3):
        theirs.reset(seed=2)
        place(theirs, ours.state[0].numpy())
        over, steps = False, 0
        while not over:
            pumped = episode > 0 and kind in (MountainCar, MountainCarContinuous, Acrobot)
            action = pumping(ours) if pumped else random_action(ours, rng)
            _, reward, *ended, _ = theirs.step(action)
            place(theirs, theirs.unwrapped.state)
            moved = ours.step(torch.tensor(np.array([action])))
            assert [bool(moved.terminated), bool(moved.truncated)] == ended
            assert float(moved.reward) == pytest.approx(float(reward), abs=1e-5)
            over = any(ended)
            steps += 1
        endings.append((ended[0], steps if ended[1] else None))
        assert ours.elapsed.tolist() == [0]
    cut, fell = (False, ours.max_steps), (True, None)
    expected = {CartPole: [fell] * 3, Pendulum: [cut] * 3}
    assert endings == expected.get(kind, [cut, fell, fell])


def test_an_acrobot_that_swings_up_is_gymnasiums_too():
    """Its velocities are larger than under random torques; errors are counted in units of their last digit."""
    theirs = gymnasium.make(IDS[Acrobot]).unwrapped
    ours = Acrobot(1, dtype=torch.float64)
    theirs.reset(seed=0)
    ends = 0
    for _ in range(1500):
        before = torch.tensor(np.array(theirs.state, dtype=np.float64))[None]
        place(theirs, before[0].numpy())
        ours.state = before
        action = pumping(ours)
        _, reward, terminated, _, _ = theirs.step(action)
        found, gained, ended = ours.dynamics(before, torch.tensor([action]))
        np.testing.assert_allclose(found[0].numpy(), theirs.state, rtol=1e-14, atol=1e-14)
        assert (float(gained), bool(ended)) == (reward, terminated)
        ends += terminated
        if terminated:
            theirs.reset()
    assert ends > 10


@EVERY
def test_limits_spaces_and_first_states_are_gymnasiums(kind):
    theirs = gymnasium.make(IDS[kind])
    ours = kind(4000, seed=3)
    assert isinstance(theirs, TimeLimit)
    assert ours.max_steps == theirs.spec.max_episode_steps
    for mine, space in ((ours.observation_space, theirs.observation_space), (ours.action_space, theirs.action_space)):
        if isinstance(mine, Discrete):
            assert mine.n == space.n
            continue
        assert mine.shape == space.shape
        np.testing.assert_array_equal(np.broadcast_to(np.float32(mine.low), mine.shape), space.low)
        np.testing.assert_array_equal(np.broadcast_to(np.float32(mine.high), mine.shape), space.high)
    assert bool(ours.observation_space.contains(ours.reset()).all())
    first = []
    for seed in range(500):
        theirs.reset(seed=seed)
        first.append(np.array(theirs.unwrapped.state))
    first, state = np.array(first), ours.state.numpy()
    np.testing.assert_allclose(state.mean(0), first.mean(0), atol=4 * first.std(0).max() / math.sqrt(500))
    np.testing.assert_allclose(state.std(0), first.std(0), rtol=0.1)
    np.testing.assert_allclose(state.min(0), first.min(0), atol=0.02 * np.ptp(first, 0).max())
    np.testing.assert_allclose(state.max(0), first.max(0), atol=0.02 * np.ptp(first, 0).max())


def test_brief_9_2_cart_pole_pushed_right_from_rest():
    env = CartPole(1, dtype=torch.float64)
    state, ended = torch.zeros(1, 4, dtype=torch.float64), False
    steps = 0
    while not ended:
        state, reward, ended = env.dynamics(state, torch.ones(1, dtype=torch.int64))
        steps += 1
        if steps == 1:
            np.testing.assert_allclose(state[0], [0, 0.195122, 0, -0.292683], atol=5e-7)
        assert reward.tolist() == [1.0]
    assert steps == 9


def test_brief_9_2_pendulum_hanging_under_full_torque():
    env = Pendulum(1, dtype=torch.float64)
    state = torch.tensor([[math.pi, 0.0]], dtype=torch.float64)
    total = 0.0
    for _ in range(200):
        state, reward, _ = env.dynamics(state, torch.full((1, 1), 2.0))
        total += float(reward)
    assert total == pytest.approx(-1499.9803, abs=5e-5)


def test_brief_9_2_acrobot_pumped_by_the_sign_of_its_velocity():
    env = Acrobot(1, dtype=torch.float64)
    state, ended = torch.zeros(1, 4, dtype=torch.float64), False
    steps = 0
    while not ended:
        state, reward, ended = env.dynamics(state, torch.where(state[:, 3] < 0, 0, 2))
        steps += 1
        assert reward.tolist() == [float(ended) - 1]
    assert steps == 73


@EVERY
def test_each_environment_of_a_batch_moves_as_it_would_alone(kind):
    env = kind(64, seed=5, dtype=torch.float64)
    env.reset()
    action = env_actions(env, 1)[0]
    together = env.dynamics(env.state, action)
    for i in range(64):
        alone = env.dynamics(env.state[i], action[i])
        for part, one in zip(together, alone):
            np.testing.assert_allclose(part[i], one, rtol=0, atol=1e-15)


def env_actions(env, steps, seed=9):
    generator = torch.Generator().manual_seed(seed)
    shape = (steps, *env.batch, *env.action_space.shape)
    if isinstance(env.action_space, Discrete):
        return torch.randint(env.n_actions, shape, generator=generator)
    low, high = env.action_space.low, env.action_space.high
    return low + (high - low) * torch.rand(shape, generator=generator, dtype=env.dtype)


@EVERY
def test_parameters_may_differ_from_environment_to_environment(kind):
    """Each environment of a batch moves like a batch of one with its numbers, resets included."""
    n, rng = 5, np.random.default_rng(4)
    defaults = kind.default_params
    drawn = {
        field.name: torch.tensor(getattr(defaults, field.name) * rng.uniform(0.9, 1.1, n) + 0.0)
        for field in fields(defaults)
    }
    mixed = kind(n, seed=6, dtype=torch.float64, params=replace(defaults, **drawn), max_steps=3)
    mixed.reset()
    actions = env_actions(mixed, 8)
    alone = []
    for i in range(n):
        numbers = {name: float(value[i]) for name, value in drawn.items()}
        one = kind(1, dtype=torch.float64, params=replace(defaults, **numbers), max_steps=3)
        one.reset()
        alone.append(one)
    for action in actions:
        for i, one in enumerate(alone):
            one.state = mixed.state[i : i + 1].clone()
        moved = mixed.step(action)
        for i, one in enumerate(alone):
            apart = one.step(action[i : i + 1])
            assert torch.equal(moved.truncated[i : i + 1], apart.truncated)
            assert torch.equal(moved.terminated[i : i + 1], apart.terminated)
            np.testing.assert_allclose(moved.final_observation[i], apart.final_observation[0], atol=1e-14)
            np.testing.assert_allclose(moved.reward[i], apart.reward[0], atol=1e-14)


def test_members_may_have_parameters_of_their_own_and_shards_share_them_out():
    length = torch.tensor([[0.5, 1.0], [1.5, 2.0]])
    env = Pendulum(2, seed=(1, 2), params=PendulumParams(length=length), shards=2)
    env.reset()
    before = env.state
    action = torch.ones(2, 2, 1)
    env.step(action)
    for member in range(2):
        for i in range(2):
            params = PendulumParams(length=float(length[member, i]))
            moved, _, _ = env.dynamics(before[member, i], action[member, i], params)
            torch.testing.assert_close(env.state[member, i], moved)
    assert env.params.length.dtype == env.dtype


@EVERY
@pytest.mark.parametrize("shape", [(3,), (2, 4), (4, 1)])
def test_parameters_of_a_wrong_shape_are_refused(kind, shape):
    name = fields(kind.default_params)[0].name
    params = replace(kind.default_params, **{name: torch.ones(shape)})
    with pytest.raises(ValueError, match=rf"params\.{name} must be a number or of shape \(4,\), got a .*{shape[0]}"):
        kind(4, params=params)


@EVERY
def test_spaces_follow_the_parameters(kind):
    names = {field.name for field in fields(kind.default_params)}
    wide = {
        name: torch.tensor([1.0, 3.0])
        for name in ("max_speed", "max_torque", "max_speed_2", "position_limit", "angle_limit")
        if name in names
    }
    env = kind(2, params=replace(kind.default_params, **wide))
    edges = {
        CartPole: (6.0, math.inf, 6.0, math.inf),
        Pendulum: (1.0, 1.0, 3.0),
        MountainCar: (0.6, 3.0),
        MountainCarContinuous: (0.6, 3.0),
        Acrobot: (1.0, 1.0, 1.0, 1.0, pytest.approx(4 * math.pi), 3.0),
    }
    assert env.observation_space.high == edges[kind]
    if kind is Pendulum:
        assert (env.action_space.low, env.action_space.high) == (-3.0, 3.0)


def energy(angle, speed, p):
    """Of a rod of unit length turning about its end, per mass; angles count from upright."""
    return speed**2 / 6 + p.gravity / 2 * (torch.cos(angle) - 1)


@settings(max_examples=20, deadline=None)
@given(
    angle=st.floats(-3.1, 3.1),
    speed=st.floats(-0.5, 0.5),
    gravity=st.floats(5, 15),
)
def test_a_pendulum_without_torque_keeps_its_energy(angle, speed, gravity):
    """The semi-implicit step is symplectic: its energy swings about a level, by an amount of the order of the step."""
    spread = []
    for step in (0.02, 0.01):
        p = PendulumParams(gravity=gravity, time_step=step, max_speed=100.0)
        env = Pendulum(1, dtype=torch.float64, params=p)
        state, still = torch.tensor([[angle, speed]], dtype=torch.float64), torch.zeros(1, 1)
        states = [state]
        for _ in range(round(4 / step)):
            states.append(env.dynamics(states[-1], still)[0])
        seen = energy(*torch.cat(states).unbind(-1), p)
        spread.append(float(seen.max() - seen.min()))
    # Largest change of the leading term, step / 4 * gravity * |speed * sin(angle)|, with speed below sqrt(6 gravity).
    assert spread[0] <= 0.02 * gravity * math.sqrt(6 * gravity + 1)
    assert spread[1] <= 0.75 * spread[0] + 1e-9


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-30, 30), min_size=1, max_size=20))
def test_the_acrobot_wraps_angles_as_gymnasium_does(angles):
    from gymnasium.envs.classic_control.acrobot import wrap

    from lib.rl.envs.acrobot import _wrap

    edges = [math.pi, -math.pi, np.nextafter(math.pi, 4), np.nextafter(-math.pi, -4), 3 * math.pi, -3 * math.pi]
    angles = [*angles, *edges]
    expected = [wrap(angle, -math.pi, math.pi) for angle in angles]
    found = _wrap(torch.tensor(angles, dtype=torch.float64)).numpy()
    np.testing.assert_allclose(np.cos(found), np.cos(expected), atol=2e-14)
    np.testing.assert_allclose(np.sin(found), np.sin(expected), atol=2e-14)
    assert np.abs(found).max() <= math.pi + 4e-15
    inside = [abs(angle) <= math.pi for angle in angles]
    assert found[inside].tolist() == [angle for angle, kept in zip(angles, inside) if kept]


def test_cart_pole_mirrored_moves_mirrored():
    env = CartPole(50, seed=8, dtype=torch.float64)
    env.reset()
    state = 3 * env.state
    action = env_actions(env, 1)[0]
    moved, _, ended = env.dynamics(state, action)
    mirrored, _, also = env.dynamics(-state, 1 - action)
    torch.testing.assert_close(mirrored, -moved, rtol=0, atol=1e-16)
    assert torch.equal(ended, also)


@EVERY
def test_gradients_of_the_dynamics_are_those_of_finite_differences(kind):
    env = kind(3, seed=2, dtype=torch.float64)
    env.reset()
    action = env_actions(env, 1)[0] * (0.9 if kind in (Pendulum, MountainCarContinuous) else 1)
    state = (env.state + 0.05).requires_grad_()
    assert torch.autograd.gradcheck(lambda state: env.dynamics(state, action)[:2], (state,), atol=1e-6)
