"""Many environments on a CPU move part by part: the same as all at once, with gradients, whatever their parameters."""

import copy
from dataclasses import replace

import pytest
import torch

from lib.rl import envs
from lib.rl.envs import CartPole, Pendulum, VecEnv, _returned
from lib.rl.spaces import Box, Discrete
from tests.rl.test_vec_env import COUNTED, KINDS, Drift, actions_of


class PlainCartPole(CartPole):
    """CartPole in plain torch."""

    _advance = VecEnv._advance


class Table(VecEnv):
    """Its dynamics return a part of the environment's own memory, not a tensor of this step."""

    observation_space = Box(0.0, 9.0, shape=(1,))
    action_space = Discrete(2)
    max_steps = 3

    def initial(self, n, generator, params=None):
        return torch.rand(n, 1, generator=generator, dtype=self.dtype)

    def dynamics(self, state, action, params=None, generator=None):
        if not hasattr(self, "kept"):
            self.kept = torch.arange(40.0).view(40, 1)
        place = self.kept[: len(state)]
        return place, place[:, 0], place[:, 0] > 2


EVERY = pytest.mark.parametrize("kind", [PlainCartPole, *KINDS[1:], Drift, *COUNTED], ids=lambda kind: kind.__name__)


@pytest.fixture
def parts(monkeypatch):
    """Parts of four environments, and how many there were in each call of the dynamics."""
    monkeypatch.setattr(_returned, "PART", 4)
    monkeypatch.setattr(_returned, "MANY", 8)
    seen, outcome = [], _returned.outcome

    def counted(env, state, action, params, generator):
        seen.append(len(action))
        return outcome(env, state, action, params, generator)

    monkeypatch.setattr(_returned, "outcome", counted)
    return seen


def history(env, actions):
    """All that an environment returns and keeps, read after the last step."""
    rows = [[env.reset()]]
    for action in actions:
        rows.append([env.step(action), env.state, env.elapsed])
    rows = [[first, *rest] if isinstance(first, torch.Tensor) else [*first, *rest] for first, *rest in rows]
    return [part for row in rows for part in row]


def alike(one, other):
    assert len(one) == len(other)
    for mine, theirs in zip(one, other):
        assert torch.equal(mine, theirs) and mine.dtype == theirs.dtype and mine.stride() == theirs.stride()


@EVERY
@pytest.mark.parametrize(("n", "seed", "sizes"), [(11, 1, {4, 3}), (16, 1, {4}), (3, (1, 2, 3, 4, 5), {2, 1})])
def test_part_by_part_is_as_all_at_once(kind, n, seed, sizes, parts, monkeypatch):
    env = kind(n, seed=seed, max_steps=5)
    actions = actions_of(env, 12)
    found = history(env, actions)
    assert set(parts) == sizes or env.stochastic
    monkeypatch.setattr(_returned, "MANY", 2**19)
    alike(found, history(kind(n, seed=seed, max_steps=5), actions))


def test_part_by_part_when_parameters_differ(parts, monkeypatch):
    mass = torch.linspace(0.1, 2.0, 11)
    params = replace(CartPole.default_params, pole_mass=mass)
    env = CartPole(11, params=params, max_steps=5)
    actions = actions_of(env, 12)
    found = history(env, actions)
    monkeypatch.setattr(_returned, "MANY", 2**19)
    alike(found, history(CartPole(11, params=params, max_steps=5), actions))


def test_the_pure_step_moves_part_by_part_too(parts):
    env = Pendulum(1, max_steps=4)
    source = torch.Generator().manual_seed(1)
    state, _ = envs.reset(env, 11, source)
    start = copy.deepcopy(state)
    later, moved = envs.step(env, state, torch.ones(11, 1), source)
    assert parts == [4, 4, 3]
    arrived, reward, _ = env.dynamics(start.state, torch.ones(11, 1))
    assert torch.equal(later.state, arrived) and torch.equal(moved.reward, reward)
    assert torch.equal(state.state, start.state) and torch.equal(state.elapsed, start.elapsed)


def test_gradients_go_through_parts(parts):
    env = PlainCartPole(11, max_steps=1)
    env.reset()
    start = env.state = env.state.requires_grad_()
    moved = env.step(torch.ones(11, dtype=torch.int64))
    (gradient,) = torch.autograd.grad(moved.final_observation[:, 0].sum(), start)
    torch.testing.assert_close(gradient, torch.tensor([[1.0, 0.02, 0.0, 0.0]] * 11))
    torque = torch.ones(11, 1, requires_grad=True)
    pendulum = Pendulum(11)
    pendulum.reset()
    (gradient,) = torch.autograd.grad(pendulum.step(torque).reward.sum(), torque)
    torch.testing.assert_close(gradient, torch.full((11, 1), -0.002))


def test_tangents_go_through_parts(parts):
    env = PlainCartPole(11)
    env.reset()
    with torch.autograd.forward_ad.dual_level():
        tangent = torch.zeros(11, 4)
        tangent[:, 1] = 1
        env.state = torch.autograd.forward_ad.make_dual(env.state, tangent)
        moved = env.step(torch.ones(11, dtype=torch.int64))
        found = torch.autograd.forward_ad.unpack_dual(moved.final_observation).tangent
    torch.testing.assert_close(found, torch.tensor([0.02, 1.0, 0.0, 0.0]).expand(11, 4))


def test_memory_of_the_dynamics_is_left_alone(parts):
    """First states are written where episodes end: into memory that is new, never into what dynamics returned."""
    env = Table(40)
    env.reset()
    for action in actions_of(env, 7):
        moved = env.step(action)
        assert torch.equal(env.kept[:, 0], torch.arange(40.0))
        assert bool((moved.terminated | moved.truncated).any())


def test_a_large_batch_moves_as_a_small_one():
    """At the real sizes: an environment of many does as it does among few."""
    count, few = _returned.MANY + 5, 9
    for kind in (CartPole, PlainCartPole):
        env, other = kind(count, seed=1), kind(few, seed=1)
        env.reset(), other.reset()
        picked = torch.linspace(0, count - 1, few).long()
        for action in actions_of(env, 3):
            other.state, other.elapsed = env.state[picked], env.elapsed[picked]
            moved, alone = env.step(action), other.step(action[picked])
            for mine, theirs in zip(moved, alone):
                assert torch.equal(mine[picked], theirs)
