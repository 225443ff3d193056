"""Environments side by side: pure functions and their owner, resets, time limits, members, shards, checkpoints."""

import copy
import doctest
import io

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import lib.rl.envs
from lib.rl import envs
from lib.rl.envs import (
    Acrobot,
    CartPole,
    FrozenLake,
    LotSizing,
    MiniBreakout,
    MountainCar,
    MountainCarContinuous,
    NoisyGrid,
    Pendulum,
    PendulumParams,
    RiverSwim,
    VecEnv,
    columns,
)
from lib.rl.spaces import Box, Discrete, MultiDiscrete

KINDS = (CartPole, Pendulum, MountainCar, MountainCarContinuous, Acrobot)
EVERY = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)


class Drift(VecEnv):
    """A place that moves by the action and a random number; it ends beyond 3. Two numbers are seen of each state."""

    observation_space = Box(-10.0, 10.0, shape=(2,))
    action_space = Discrete(2)
    max_steps = 6
    stochastic = True

    def initial(self, n, generator, params=None):
        return torch.rand(n, 1, generator=generator, dtype=self.dtype, device=self.device)

    def dynamics(self, state, action, params=None, generator=None):
        noise = torch.rand(state.shape, generator=generator, dtype=self.dtype, device=self.device)
        place = state + action[..., None].to(self.dtype) + noise - 0.5
        return place, place[..., 0], place[..., 0] > 3

    def observe(self, state, params=None):
        return columns(state[..., 0], -state[..., 0])


COUNTED = (FrozenLake, RiverSwim, NoisyGrid, MiniBreakout, LotSizing)
ALL = pytest.mark.parametrize("kind", [*KINDS, Drift, *COUNTED], ids=lambda kind: kind.__name__)


def actions_of(env, steps, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shape = (steps, *env.batch, *env.action_space.shape)
    if isinstance(env.action_space, Discrete):
        return torch.randint(env.n_actions, shape, generator=generator)
    if isinstance(env.action_space, MultiDiscrete):
        return torch.randint(min(env.action_space.sizes), shape, generator=generator)
    return 4 * torch.rand(shape, generator=generator) - 2


def run(env, actions, start=True):
    """All that an environment returns, one row a step."""
    rows = [[env.reset()]] if start else []
    rows += [list(env.step(action)) for action in actions]
    return [part.clone() for row in rows for part in row]


def equal(one, other):
    return len(one) == len(other) and all(torch.equal(left, right) for left, right in zip(one, other))


@ALL
def test_brief_9_12_the_same_seed_gives_the_same_history(kind):
    first, again, other = (kind(5, seed=seed, max_steps=4) for seed in (3, 3, 4))
    actions = actions_of(first, 12)
    assert equal(run(first, actions), run(again, actions))
    assert not equal(run(first, actions), run(other, actions))


@ALL
def test_the_pure_functions_are_what_the_owner_does(kind):
    env = kind(5, seed=3, max_steps=4)
    pure = kind(1, max_steps=4)
    (source,) = copy.deepcopy(env.streams).blocks[0]
    state, seen = envs.reset(pure, 5, source)
    assert torch.equal(seen, env.reset())
    for action in actions_of(env, 12):
        before = [part.clone() for part in state]
        later, transition = envs.step(pure, state, action, source)
        assert equal(state, before)
        for mine, theirs in zip(transition, env.step(action)):
            torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-6)
        state = envs.EnvState(env.state, env.elapsed)
        torch.testing.assert_close(later.state, env.state, rtol=1e-5, atol=1e-6)
        assert torch.equal(later.elapsed, env.elapsed)
    assert pure.state is None


@ALL
def test_only_dynamics_and_resets_change_a_state(kind):
    """Brief 9.12: where no episode ended the state is the dynamics'; elsewhere it is a first state."""
    env = kind(40, seed=1, max_steps=5, dtype=torch.float64)
    env.reset()
    ends = 0
    for action in actions_of(env, 12):
        before, elapsed = env.state.clone(), env.elapsed.clone()
        source = copy.deepcopy(env.streams).blocks[0][0]
        arrived, reward, terminated = env.dynamics(before, action, None, source)
        seen, gained, over, cut, final = env.step(action)
        ended = over | cut
        ends += int(ended.sum())
        assert torch.equal(env.state[~ended], arrived[~ended])
        assert torch.equal(final, env.observe(arrived))
        assert torch.equal(seen, env.observe(env.state))
        assert torch.equal(gained, reward) and torch.equal(over, terminated)
        assert torch.equal(cut, (elapsed + 1 >= 5) & ~terminated)
        assert torch.equal(env.elapsed, torch.where(ended, 0, elapsed + 1).int())
        if bool(ended.any()):
            assert torch.equal(env.state[ended], env.initial(int(ended.sum()), source))
    assert ends > 40


@ALL
def test_members_run_as_their_seeds_do_alone(kind):
    together = kind(6, seed=(7, 2, 11), max_steps=4)
    actions = actions_of(together, 10)
    joint = run(together, actions)
    for member, seed in enumerate((7, 2, 11)):
        alone = kind(6, seed=seed, max_steps=4)
        assert equal([part[member] for part in joint], run(alone, actions[:, member]))


@ALL
@pytest.mark.parametrize("seed", [5, (5, 6)])
def test_shards_run_as_in_processes_of_their_own(kind, seed):
    joint = kind(6, seed=seed, max_steps=4, shards=3)
    actions = actions_of(joint, 10)
    rows = run(joint, actions)
    along = len(joint.batch) - 1
    for shard in range(3):
        apart = kind(2, seed=seed, max_steps=4, shards=3, shard=shard)
        served = run(apart, actions.narrow(1 + along, 2 * shard, 2))
        assert equal([part.narrow(along, 2 * shard, 2) for part in rows], served)


@EVERY
@settings(max_examples=20, deadline=None)
@given(order=st.permutations(range(6)))
def test_permuted_environments_give_permuted_results(kind, order):
    env, permuted = kind(6, seed=2), kind(6, seed=2)
    env.reset(), permuted.reset()
    permuted.state, permuted.elapsed = env.state[order], env.elapsed[order]
    for action in actions_of(env, 5):
        moved, other = env.step(action), permuted.step(action[order])
        assert equal([part[order] for part in moved], list(other))
        if bool((moved.terminated | moved.truncated).any()):
            break


@ALL
@pytest.mark.parametrize("seed", [5, (5, 6)])
def test_a_checkpoint_goes_on_to_the_bit(kind, seed):
    env = kind(6, seed=seed, max_steps=4, shards=2)
    actions = actions_of(env, 16)
    run(env, actions[:7])
    kept = io.BytesIO()
    torch.save(env.state_dict(), kept)
    expected = run(env, actions[7:], start=False)
    other = kind(6, seed=99 if seed == 5 else (98, 99), max_steps=4, shards=2)
    other.load_state_dict(torch.load(io.BytesIO(kept.getvalue())))
    assert equal(run(other, actions[7:], start=False), expected)


def test_a_checkpoint_before_the_first_step():
    env, other = Pendulum(3, seed=1), Pendulum(3, seed=2)
    other.load_state_dict(env.state_dict())
    assert other.state is None
    assert torch.equal(env.reset(), other.reset())


@pytest.mark.parametrize("elsewhere", [Pendulum(4), Pendulum(3, seed=(0,)), Pendulum(4, seed=(0, 1))])
def test_a_checkpoint_of_another_batch_is_refused(elsewhere):
    elsewhere.reset()
    env = Pendulum(3)
    env.reset()
    with pytest.raises(ValueError, match=r"saved must hold a batch of shape \(3,\), got"):
        env.load_state_dict(elsewhere.state_dict())
    assert env.state.shape == (3, 2)


@pytest.mark.parametrize("elsewhere", [Pendulum(3), CartPole(3, dtype=torch.float64), FrozenLake(3)])
def test_a_checkpoint_of_another_kind_or_type_is_refused(elsewhere):
    elsewhere.reset()
    env = CartPole(3)
    with pytest.raises(ValueError, match=r"saved must hold states of torch.float32 and shape \(3, 4\), got"):
        env.load_state_dict(elsewhere.state_dict())
    assert env.state is None


@pytest.mark.parametrize("seed", [1, (1, 2)])
def test_a_checkpoint_shares_no_memory(seed):
    """States may be changed by hand, and the checkpoint still leads back."""
    env = Pendulum(3, seed=seed, params=PendulumParams(mass=torch.tensor([1.0, 2.0, 3.0])))
    env.reset()
    saved = env.state_dict()
    kept = copy.deepcopy(saved)
    for _ in range(2):
        env.state.zero_()
        env.elapsed.fill_(7)
        env.load_state_dict(saved)
        assert torch.equal(env.state, kept["state"]) and torch.equal(env.elapsed, kept["elapsed"])


@pytest.mark.parametrize("saved", [None, 3, {}, {"state": None, "elapsed": None}])
def test_what_is_no_checkpoint_is_refused(saved):
    with pytest.raises(ValueError, match="saved must be what state_dict returned, got"):
        Pendulum(3).load_state_dict(saved)


def test_half_a_checkpoint_is_refused():
    env = Pendulum(3)
    env.reset()
    with pytest.raises(ValueError, match="saved must hold both state and elapsed, or neither"):
        env.load_state_dict(env.state_dict() | {"elapsed": None})


def test_the_time_limit_and_a_fall_in_the_same_step_count_as_a_fall():
    env = CartPole(3, max_steps=1)
    for compiled in (True, False):
        env.reset()
        env.state = torch.tensor([[2.39, 5.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.209, 1.0]])
        env.state.requires_grad_(not compiled)
        moved = env.step(torch.ones(3, dtype=torch.int64))
        assert moved.terminated.tolist() == [True, False, True]
        assert moved.truncated.tolist() == [False, True, False]
        env.state = None


@EVERY
def test_the_final_observation_is_from_before_the_reset(kind):
    env = kind(4, max_steps=1, seed=3)
    env.reset()
    moved = env.step(actions_of(env, 1)[0])
    assert bool(moved.truncated.all())
    assert not bool((moved.observation == moved.final_observation).all(-1).any())
    assert torch.equal(moved.observation, env.observe(env.state))


def test_no_time_limit():
    class Endless(Pendulum):
        max_steps = None

    env = Endless(2)
    env.reset()
    for action in actions_of(env, 250):
        assert not bool(env.step(action).truncated.any())
    assert env.elapsed.tolist() == [250, 250]


@ALL
@pytest.mark.parametrize("seed", [5, (5, 6)])
def test_drawing_a_first_state_for_all(kind, seed, monkeypatch):
    """As on a GPU: what moves on is the same; who starts anew gets the draw of his own row."""
    monkeypatch.setattr("lib.rl.envs._restart.draws_for_all", lambda device: True)
    env = kind(6, seed=seed, max_steps=3, shards=2, dtype=torch.float64)
    env.reset()
    for action in actions_of(env, 7):
        before, streams = env.state, copy.deepcopy(env.streams)
        moved = env.step(action)
        ended = moved.terminated | moved.truncated
        if not env.stochastic:
            arrived, _, _ = env.dynamics(before, action)
            assert torch.equal(env.state[~ended], arrived[~ended])
            fresh = streams.each(lambda source: env.initial(3, source))
            assert torch.equal(env.state[ended], fresh[ended])
        assert torch.equal(moved.observation, env.observe(env.state))
        assert torch.equal(env.elapsed == 0, ended)
    again = kind(6, seed=seed, max_steps=3, shards=2, dtype=torch.float64)
    assert equal(
        run(again, actions_of(env, 7)),
        run(kind(6, seed=seed, max_steps=3, shards=2, dtype=torch.float64), actions_of(env, 7)),
    )


def test_a_gpu_draws_for_all_and_asks_for_nothing():
    from lib.rl.envs._restart import draws_for_all

    assert draws_for_all(torch.device("cuda", 0))
    assert not draws_for_all(torch.device("cpu"))


def test_a_step_without_questions_has_no_look_at_a_value(monkeypatch):
    """On the path of a GPU no tensor is turned into a number, so that a step can be captured in a graph."""
    monkeypatch.setattr("lib.rl.envs._restart.draws_for_all", lambda device: True)
    env = Pendulum(6, seed=(1, 2), shards=2, max_steps=2)
    env.reset()
    actions = actions_of(env, 4)

    def look(*_):
        raise AssertionError("a value was asked for")

    for name in ("__bool__", "__int__", "__float__", "__index__", "item", "tolist", "nonzero"):
        monkeypatch.setattr(torch.Tensor, name, look)
    for action in actions:
        env.step(action)


def test_reseeding_starts_the_streams_anew():
    env = CartPole(3, seed=1)
    first = env.reset()
    env.reset()
    env.reseed(1)
    assert torch.equal(env.reset(), first)


@pytest.mark.parametrize(("seed", "other"), [(1, (1,)), ((1, 2), 1), ((1, 2), (1, 2, 3))])
def test_reseeding_keeps_the_members(seed, other):
    env = CartPole(3, seed=seed)
    first = env.reset()
    with pytest.raises(ValueError, match=r"seed must be .*, as before, got"):
        env.reseed(other)
    env.reseed(seed)
    assert torch.equal(env.reset(), first)


@pytest.mark.parametrize("kind", [*KINDS, *COUNTED], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_default_type_of_torch_does_not_matter(kind, dtype):
    actions = actions_of(kind(3), 4)
    expected = run(kind(3, seed=2, dtype=dtype), actions)
    torch.set_default_dtype(torch.float64)
    try:
        assert equal(run(kind(3, seed=2, dtype=dtype), actions), expected)
    finally:
        torch.set_default_dtype(torch.float32)


def test_what_policies_ask_an_environment():
    assert (CartPole(1).obs_dim, CartPole(1).n_actions) == (4, 2)
    assert (Pendulum(1).obs_dim, Pendulum(1).act_dim) == (3, 1)
    with pytest.raises(AttributeError, match="Pendulum has no finite set of actions"):
        _ = Pendulum(1).n_actions
    with pytest.raises(AttributeError, match="CartPole takes one of 2 actions"):
        _ = CartPole(1).act_dim
    assert (CartPole(3).batch, CartPole(3, seed=(0, 1)).batch) == ((3,), (2, 3))


def test_actions_are_checked_when_asked():
    env = CartPole(2, check_actions=True)
    env.reset()
    with pytest.raises(ValueError, match=r"action must lie in Discrete\(n=2\), got 2"):
        env.step(torch.tensor([0, 2]))
    pendulum = Pendulum(2, check_actions=True)
    pendulum.reset()
    with pytest.raises(ValueError, match=r"action must lie in Box.*, got \[3.0\]"):
        pendulum.step(torch.tensor([[3.0], [0.0]]))


def test_steps_that_cannot_be_taken():
    env = CartPole(2)
    with pytest.raises(ValueError, match="reset the environment before the first step"):
        env.step(torch.tensor([0, 1]))
    env.reset()
    for action in ([0, 1], torch.tensor([0]), torch.tensor([[0], [1]]), None):
        with pytest.raises(ValueError, match=r"action must be a tensor of shape \(2,\), got"):
            env.step(action)
    for env, shape in ((CartPole(2), (2,)), (FrozenLake(2), (2,)), (LotSizing(2), (2, 2))):
        env.reset()
        with pytest.raises(ValueError, match=r"action must be integers, got a torch.float32 tensor"):
            env.step(torch.zeros(shape))


def test_a_bare_environment_says_what_it_lacks():
    with pytest.raises(NotImplementedError):
        VecEnv(1).reset()
    with pytest.raises(NotImplementedError):
        VecEnv(1).dynamics(torch.zeros(1), torch.zeros(1))


def test_columns_lie_side_by_side():
    joined = columns(torch.zeros(5), torch.ones(5))
    assert joined.shape == (5, 2)
    assert all(column.is_contiguous() for column in joined.unbind(-1))
    assert columns(torch.zeros(3, 5), torch.ones(3, 5)).shape == (3, 5, 2)


def own_environment():
    """Source of the environment in the package's docstring, and the class it defines."""
    test = doctest.DocTestParser().get_doctest(lib.rl.envs.__doc__, {}, "envs", None, 0)
    source = "".join(example.source for example in test.examples[:4])
    names = {}
    exec(source, names)
    return source, names["Walk"]


def test_an_environment_of_ones_own_is_a_file_of_at_most_30_lines():
    source, Walk = own_environment()
    assert len(source.splitlines()) <= 30
    env = Walk(3, seed=(0, 1), shards=3)
    assert (env.obs_dim, env.n_actions, env.max_steps, env.members, env.batch) == (1, 2, 100, 2, (2, 3))
    right = torch.ones(2, 3, dtype=torch.int64)
    env.reset()
    rewards = sum(env.step(right).reward for _ in range(200))
    # Five steps to the right in nine of ten tries each.
    assert bool((rewards >= 30).all()) and bool((rewards <= 40).all())
    saved = env.state_dict()
    expected = env.step(right)
    env.load_state_dict(saved)
    assert equal(env.step(right), expected)
