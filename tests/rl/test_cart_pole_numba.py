"""The compiled step of CartPole: its sine, agreement with plain torch, when it is taken, and life without numba."""

import copy
import math
import pickle
import warnings
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.live import tracing
from lib.rl.envs import CartPole, CartPoleParams, Transition, VecEnv, _cart_pole_numba, cart_pole
from tests.absent import without_numba


class Plain(CartPole):
    """CartPole in plain torch."""

    _advance = VecEnv._advance


def actions_of(env, steps, seed=0):
    return torch.randint(2, (steps, *env.batch), generator=torch.Generator().manual_seed(seed))


def both(n, **options):
    """The compiled environment and the plain one."""
    pair = CartPole(n, **options), Plain(n, **options)
    for env in pair:
        env.reset()
    return pair


def sine_and_cosine(angles):
    angles = np.asarray(angles, dtype=np.float32)
    found = np.empty((2, angles.size), dtype=np.float32)
    _cart_pole_numba.sines_and_cosines(angles, *found)
    exact = angles.astype(np.float64)
    return np.abs(found - np.stack([np.sin(exact), np.cos(exact)])).max()


def test_sine_and_cosine_at_every_angle():
    rng = np.random.default_rng(0)
    for widest in (0.21, math.pi, 100.0, _cart_pole_numba.FARTHEST):
        assert sine_and_cosine(rng.uniform(-widest, widest, 200_000)) < 1.2e-7
    quarters = np.arange(-5215, 5216) * (math.pi / 2)
    assert sine_and_cosine(quarters) < 1.2e-7
    assert sine_and_cosine(quarters + math.pi / 4) < 1.2e-7
    assert sine_and_cosine([0.0, -0.0, _cart_pole_numba.FARTHEST, -_cart_pole_numba.FARTHEST, 1e-30]) < 1.2e-7


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(-8192, 8192, width=32), min_size=1, max_size=40))
def test_sine_and_cosine_at_chosen_angles(angles):
    assert sine_and_cosine(angles) < 1.2e-7


def assert_alike(compiled, plain, env):
    """The same states to rounding, and the same flags except within rounding of a limit."""
    scale = plain.final_observation.abs().clamp(min=1)
    assert float(((compiled.final_observation - plain.final_observation).abs() / scale).max()) < 1e-6
    params = env.params
    reached = plain.final_observation[..., [0, 2]].abs() - torch.tensor([params.position_limit, params.angle_limit])
    clear = (reached.abs() > 1e-5).all(-1)
    for mine, theirs in ((compiled.terminated, plain.terminated), (compiled.truncated, plain.truncated)):
        assert torch.equal(mine[clear], theirs[clear])
    assert torch.equal(compiled.reward, plain.reward)
    assert int((~clear).sum()) < 0.01 * clear.numel() + 1


@pytest.mark.parametrize(
    "params",
    [
        CartPoleParams(),
        CartPoleParams(gravity=3.7, cart_mass=2.0, pole_mass=0.5, half_length=1.5, force=4.0, time_step=0.05),
        CartPoleParams(angle_limit=1e4, position_limit=1e3, gravity=-9.8),
    ],
)
def test_one_step_from_any_state(params):
    compiled, plain = both(20_000, params=params, max_steps=7)
    generator = torch.Generator().manual_seed(1)
    wide = torch.tensor([3.0, 4.0, 0.25 if params.angle_limit < 1 else 50.0, 4.0])
    state = (2 * torch.rand(20_000, 4, generator=generator) - 1) * wide
    for env in (compiled, plain):
        env.state = state.clone()
        env.elapsed = (torch.arange(20_000) % 8).int()
    action = actions_of(compiled, 1)[0]
    moved, other = compiled.step(action), plain.step(action)
    assert_alike(moved, other, compiled)
    ended = moved.terminated | moved.truncated
    assert torch.equal(compiled.elapsed == 0, ended)
    assert torch.equal(compiled.state[~ended], moved.final_observation[~ended])
    assert torch.equal(moved.observation, compiled.state)
    if params.angle_limit < 1:
        assert bool((moved.observation[ended].abs() <= 0.05).all()) and int(ended.sum()) > 1000


def test_episodes_under_random_actions_are_the_same():
    """Each reset draws the same state on both paths, so that differences do not outlive an episode."""
    compiled, plain = both(64, seed=3)
    ends = 0
    for action in actions_of(plain, 200):
        moved, other = compiled.step(action), plain.step(action)
        assert torch.equal(moved.terminated, other.terminated)
        assert torch.equal(moved.truncated, other.truncated)
        assert torch.equal(compiled.elapsed, plain.elapsed)
        torch.testing.assert_close(compiled.state, plain.state, rtol=1e-4, atol=1e-4)
        assert torch.equal(compiled.state[plain.elapsed == 0], plain.state[plain.elapsed == 0])
        ends += int(moved.terminated.sum())
    assert ends > 400


def test_a_pole_that_hangs_does_the_same_for_hundreds_of_steps():
    """With gravity turned round and weak pushes the motion is stable; only the time limit ends it."""
    params = CartPoleParams(gravity=-9.8, force=0.5, angle_limit=50.0, position_limit=1e4)
    compiled, plain = both(32, seed=3, params=params)
    for index, action in enumerate(actions_of(plain, 700), start=1):
        moved, other = compiled.step(action), plain.step(action)
        assert torch.equal(moved.truncated, other.truncated)
        assert bool(moved.truncated.all()) == (index == 500)
        assert not bool(moved.terminated.any())
        torch.testing.assert_close(compiled.state, plain.state, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("n", [1, 2, 7, 8, 15, 16, 17, 33])
def test_an_environment_moves_alike_wherever_it_stands(n):
    """Vectors and what is left of them round alike: results are equal to the bit."""
    large = CartPole(64, seed=1)
    large.reset()
    small = CartPole(n, seed=2)
    small.reset()
    for action in actions_of(large, 5):
        small.state = large.state[64 - n :].clone()
        moved, other = large.step(action), small.step(action[64 - n :])
        assert torch.equal(moved.final_observation[64 - n :], other.final_observation)


@pytest.mark.parametrize("seed", [4, (4, 8)])
def test_shards_and_members_draw_from_their_own_generators(seed):
    compiled, plain = both(12, seed=seed, shards=3, max_steps=3)
    for action in actions_of(plain, 9):
        compiled.step(action), plain.step(action)
        torch.testing.assert_close(compiled.state, plain.state, rtol=1e-5, atol=1e-5)
        fresh = plain.elapsed == 0
        assert torch.equal(compiled.state[fresh], plain.state[fresh])
    for mine, theirs in zip(compiled._generators(), plain._generators()):
        assert torch.equal(mine.get_state(), theirs.get_state())


@pytest.mark.parametrize("limit", [None, 2**40])
def test_no_time_limit_or_a_far_one(limit):
    class Endless(CartPole):
        max_steps = limit

    env = Endless(4)
    env.reset()
    env.elapsed += 100_000
    assert not bool(env.step(torch.ones(4, dtype=torch.int64)).truncated.any())


@pytest.mark.parametrize("dtype", [torch.int32, torch.uint8, torch.bool])
def test_actions_of_any_whole_type(dtype):
    compiled, plain = both(8)
    action = actions_of(compiled, 1)[0].to(dtype)
    assert_alike(compiled.step(action), plain.step(action), compiled)


def test_results_do_not_change_later():
    """What a step returned stays as it was while the environment goes on."""
    env = CartPole(32, seed=1)
    env.reset()
    kept = []
    for action in actions_of(env, 30):
        moved = env.step(action)
        kept.append((moved, copy.deepcopy(moved)))
    for moved, copied in kept:
        assert all(torch.equal(one, other) for one, other in zip(moved, copied))


def same(one, other):
    return all(torch.equal(mine, theirs) for mine, theirs in zip(one, other, strict=True))


@pytest.mark.parametrize("seed", [5, (5, 6)])
def test_the_final_observation_is_the_plain_one_however_it_is_read(seed):
    """It is written when it is read: by name, by place, unpacked, copied, or after later steps."""
    compiled, plain = both(12, seed=seed, shards=3, max_steps=4)
    for env in (compiled, plain):
        env.elapsed = (torch.arange(12) % 4).int().expand(env.batch)  # so that some episodes end at every step
    kept = [(compiled.step(action), plain.step(action)) for action in actions_of(plain, 12)]
    ways = (
        lambda moved: moved.final_observation,
        lambda moved: moved[4],
        lambda moved: moved[-1],
        lambda moved: moved[3:][1],
        lambda moved: list(moved)[4],
        lambda moved: (lambda *parts: parts[4])(*moved),
        lambda moved: moved._asdict()["final_observation"],
        lambda moved: moved._replace(reward=None).final_observation,
        lambda moved: copy.copy(moved).final_observation,
        lambda moved: copy.deepcopy(moved).final_observation,
        lambda moved: pickle.loads(pickle.dumps(moved)).final_observation,
        lambda moved: torch.utils._pytree.tree_map(torch.clone, moved).final_observation,
    )
    for (moved, other), way in zip(kept, ways, strict=True):
        found = way(moved)
        assert found.shape == moved.observation.shape and found.dtype == torch.float32
        torch.testing.assert_close(found, other.final_observation, rtol=1e-5, atol=1e-5)
        ended = moved.terminated | moved.truncated
        assert torch.equal(found[~ended], moved.observation[~ended])
        assert moved.final_observation is moved.final_observation and len(moved) == 5
        assert isinstance(moved, Transition) and "final_observation=tensor" in repr(moved)


def test_states_that_are_changed_or_assigned_are_what_the_next_step_starts_from():
    """Arrays beside the states of the step before serve those alone."""
    env, other = CartPole(8, seed=1), CartPole(8, seed=2)
    actions = actions_of(env, 4)

    def assign(target):
        target.state, target.elapsed = torch.zeros(8, 4), torch.full((8,), 7, dtype=torch.int32)

    def change(target):
        target.state.zero_()
        target.elapsed.fill_(7)

    def move(target):
        target.state.data, target.elapsed.data = torch.zeros(8, 4), torch.full((8,), 7, dtype=torch.int32)

    for way in (assign, change, move):
        for target in (env, other):
            target.reset()
            target.step(actions[0]), target.step(actions[1])
            way(target)
        one, two = env.step(actions[2]), other.step(actions[2])
        assert same(one, two) and env.elapsed.tolist() == [8] * 8
        assert not bool(one.observation[:, 1].eq(0).any())
    assert same(env.step(actions[3]), other.step(actions[3]))


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
def test_a_copy_goes_on_as_the_original_would(copied):
    env, expected = CartPole(16, seed=3, max_steps=5), CartPole(16, seed=3, max_steps=5)
    env.reset(), expected.reset()
    actions = actions_of(env, 12)
    for action in actions[:6]:
        env.step(action), expected.step(action)
    other = copied(env)
    for action in actions[6:]:
        assert same(other.step(action), expected.step(action))


def test_actions_and_states_with_gaps_in_memory():
    compiled, plain = both(8, seed=(1, 2))
    wide = torch.zeros(2, 16, 5)
    for env in (compiled, plain):
        env.state = wide[:, ::2, :4]
        env.elapsed = torch.zeros(2, 16, dtype=torch.int32)[:, ::2]
    for action in actions_of(plain, 3).repeat_interleave(3, dim=-1)[..., ::3]:
        assert_alike(compiled.step(action), plain.step(action), compiled)


class Taken:
    """Stands in for the compiled loops and says so."""

    def advance(self, *_):
        raise ZeroDivisionError


class Heavier(CartPole):
    """Own dynamics."""

    def dynamics(self, state, action, params=None, generator=None):
        return super().dynamics(state, action, params, generator)


class Blind(CartPole):
    """Own observations."""

    def observe(self, state, params=None):
        return state[..., :2]


def takes_compiled(env, action, monkeypatch):
    monkeypatch.setattr(cart_pole, "_kernels", Taken)
    try:
        env.step(action)
    except ZeroDivisionError:
        return True
    return False


def test_when_the_compiled_step_is_taken(monkeypatch):
    action = torch.tensor([0, 1])

    def taken(env, action=action, **changes):
        env.reset()
        for name, value in changes.items():
            setattr(env, name, value)
        return takes_compiled(env, action, monkeypatch)

    state = torch.zeros(2, 4)
    assert taken(CartPole(2))
    assert taken(CartPole(2), action.bool())
    assert not taken(CartPole(2, dtype=torch.float64))
    assert not taken(Heavier(2)) and not taken(Blind(2)) and not taken(Plain(2))
    assert not taken(CartPole(2), state=state.clone().requires_grad_())
    with torch.no_grad():
        assert taken(CartPole(2), state=state.clone().requires_grad_())
    with torch.autograd.forward_ad.dual_level():
        assert not taken(CartPole(2), state=torch.autograd.forward_ad.make_dual(state, state))
    for field in fields(CartPoleParams):
        mixed = replace(CartPoleParams(), **{field.name: torch.tensor([1.0, 2.0])})
        assert not taken(CartPole(2, params=mixed))
    changed = CartPole(2)
    assert not taken(changed, params=mixed)
    assert taken(changed, params=CartPoleParams())
    monkeypatch.setattr(tracing, "active", lambda: True)
    assert not taken(CartPole(2))


@pytest.mark.parametrize("angle", [8193.0, -1e30, math.inf, math.nan])
def test_angles_too_far_for_the_polynomial_go_to_torch(angle):
    params = CartPoleParams(angle_limit=1e30)
    compiled, plain = both(3, params=params)
    for env in (compiled, plain):
        env.state = torch.tensor([[0.0, 0.0, 0.1, 0.0], [0.0, 0.0, angle, 0.0], [0.0, 0.0, 0.0, 0.1]])
    moved, other = (env.step(torch.tensor([0, 1, 1])) for env in (compiled, plain))
    for mine, theirs in zip(moved, other):
        assert torch.equal(mine.nan_to_num(), theirs.nan_to_num())


def test_gradients_go_through_a_step():
    env = CartPole(2)
    env.reset()
    env.state = env.state.requires_grad_()
    start = env.state
    moved = env.step(torch.tensor([0, 1]))
    (gradient,) = torch.autograd.grad(moved.final_observation[:, 0].sum(), start)
    torch.testing.assert_close(gradient, torch.tensor([[1.0, 0.02, 0.0, 0.0]] * 2))


def test_a_missing_numba_is_said_once_and_torch_runs(monkeypatch):
    env, plain = both(5, seed=2)
    actions = actions_of(env, 20)
    with without_numba(monkeypatch, "lib.rl.envs._cart_pole_numba"):
        with pytest.warns(RuntimeWarning, match=r"numba cannot be used.*pip install numba"):
            env.step(actions[0])
        plain.step(actions[0])
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for action in actions[1:]:
                for mine, theirs in zip(env.step(action), plain.step(action)):
                    assert torch.equal(mine, theirs)


def test_the_reward_of_many_environments_is_one_number(monkeypatch):
    monkeypatch.setattr(cart_pole, "LARGE", 8)
    monkeypatch.setattr(cart_pole, "APART", 3)
    env, plain = both(8, seed=4, max_steps=5)
    for action in actions_of(env, 30):
        moved, expected = env.step(action), plain.step(action)
        assert moved.reward.untyped_storage().nbytes() == 4
        for mine, theirs in zip(moved, expected):
            torch.testing.assert_close(mine, theirs)
        with pytest.raises(RuntimeError, match="single memory location"):
            moved.reward.mul_(2)
    assert bool(env.step(action).reward.eq(1).all())


@pytest.mark.parametrize("dtype", [torch.int32, torch.int16, torch.uint8])
def test_actions_of_any_integer_type_are_alike(dtype):
    env, other = CartPole(7, seed=1), CartPole(7, seed=1)
    env.reset()
    other.reset()
    for action in actions_of(env, 40):
        assert torch.equal(env.step(action).observation, other.step(action.to(dtype)).observation)
