"""Adapters: our environments under gymnasium's interfaces, and gymnasium's under ours."""

import subprocess
import sys
import warnings

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import TimeLimit
from gymnasium.wrappers.vector import ClipReward

from lib.rl.envs import (
    Acrobot,
    CartPole,
    FrozenLake,
    LotSizing,
    MiniBreakout,
    MountainCar,
    MountainCarContinuous,
    Pendulum,
    VecEnv,
)
from lib.rl.envs.gymnasium_adapter import GymnasiumEnv, as_gymnasium, as_gymnasium_vector
from lib.rl.policies import CategoricalPolicy, ValueFunction
from lib.rl.ppo import PPOConfig, train_ppo
from lib.rl.spaces import Box, Discrete, MultiDiscrete
from lib.site.layout import ROOT

KINDS = (CartPole, Pendulum, MountainCar, MountainCarContinuous, Acrobot, FrozenLake, LotSizing, MiniBreakout)
EVERY = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
IDS = {CartPole: "CartPole-v1", Pendulum: "Pendulum-v1", MountainCar: "MountainCar-v0", Acrobot: "Acrobot-v1"}


@EVERY
def test_gymnasium_finds_nothing_wrong_with_one_environment(kind):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        check_env(as_gymnasium(kind(1)), skip_render_check=True)
    # What gymnasium advises against in its own environments, too: boxes that are unbounded or not within [-1, 1], and
    # that no spec lets it make another one.
    advice = ("normal", "infinity", "spec", "bound", "symmetric")
    assert [str(one.message) for one in said if not any(word in str(one.message) for word in advice)] == []


@pytest.mark.parametrize("kind", IDS, ids=lambda kind: kind.__name__)
def test_spaces_are_gymnasiums(kind):
    theirs = gymnasium.make(IDS[kind])
    single, vector = as_gymnasium(kind(1)), as_gymnasium_vector(kind(3))
    assert single.observation_space == vector.single_observation_space == theirs.observation_space
    assert single.action_space == vector.single_action_space == theirs.action_space
    other = SyncVectorEnv([lambda: gymnasium.make(IDS[kind])] * 3)
    assert vector.observation_space == other.observation_space
    assert vector.action_space == other.action_space


@EVERY
def test_what_is_returned_lies_in_the_spaces(kind):
    vector = as_gymnasium_vector(kind(4, max_steps=3))
    vector.action_space.seed(0)
    observation, info = vector.reset(seed=5)
    assert observation in vector.observation_space and info == {}
    for index in range(1, 7):
        observation, reward, terminated, truncated, info = vector.step(vector.action_space.sample())
        assert observation in vector.observation_space
        assert (reward.dtype, terminated.dtype, truncated.dtype) == (np.float64, bool, bool)
        assert reward.shape == terminated.shape == truncated.shape == (4,)
        ended = terminated | truncated
        assert ended.all() or index % 3
        assert ("final_obs" in info) == ended.any()
        for i in np.flatnonzero(ended):
            assert info["final_obs"][i] in vector.single_observation_space


def test_a_vector_of_cart_poles_is_gymnasiums():
    """Observations, rewards, flags and infos of the same states under the same actions, resets in the same step."""
    ours = CartPole(5, seed=1, dtype=torch.float64, max_steps=20)
    vector = as_gymnasium_vector(ours)

    def make():
        return TimeLimit(gymnasium.make("CartPole-v1").unwrapped, 20)

    theirs = SyncVectorEnv([make] * 5, autoreset_mode=AutoresetMode.SAME_STEP)
    assert vector.metadata["autoreset_mode"] == theirs.metadata["autoreset_mode"]
    vector.reset(seed=3)
    theirs.reset(seed=3)
    rng = np.random.default_rng(0)
    endings = np.zeros(2, dtype=int)
    fresh = np.ones(5, dtype=bool)
    for _ in range(60):
        for i in np.flatnonzero(fresh):
            theirs.envs[i].unwrapped.state = ours.state[i].numpy().copy()
        actions = rng.integers(0, 2, 5)
        observation, reward, terminated, truncated, info = vector.step(actions)
        wanted, rewards, ended, cut, infos = theirs.step(actions)
        fresh = terminated | truncated
        np.testing.assert_array_equal(terminated, ended)
        # An episode that falls at the time limit has fallen; gymnasium says both.
        np.testing.assert_array_equal(truncated, cut & ~ended)
        np.testing.assert_array_equal(reward, rewards)
        np.testing.assert_allclose(observation[~fresh], wanted[~fresh], rtol=1e-6, atol=1e-6)
        assert info.keys() == infos.keys()
        if fresh.any():
            np.testing.assert_array_equal(info["_final_obs"], infos["_final_obs"])
            np.testing.assert_array_equal(info["_final_info"], infos["_final_info"])
            assert info["final_obs"].dtype == infos["final_obs"].dtype == object
            for mine, other in zip(info["final_obs"], infos["final_obs"]):
                assert (mine is None) == (other is None)
                assert mine is None or np.allclose(mine, other, rtol=1e-6, atol=1e-6)
        endings += [terminated.sum(), truncated.sum()]
    assert (endings > 3).all()


def test_seeds_and_resets_of_a_vector():
    vector = as_gymnasium_vector(CartPole(3))
    first, _ = vector.reset(seed=7)
    second, _ = vector.reset()
    again, _ = vector.reset(seed=7)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(first, CartPole(3, seed=7).reset().numpy())
    with pytest.raises(ValueError, match="options must be None or empty"):
        vector.reset(options={"low": 0.0})


def test_arrays_of_a_vector_are_copies():
    env = CartPole(3)
    vector = as_gymnasium_vector(env)
    observation, _ = vector.reset(seed=1)
    observation[:] = 9
    moved, *_ = vector.step(np.zeros(3, dtype=np.int64))
    moved[:] = 9
    assert float(env.state.abs().max()) < 1


def test_wrappers_of_gymnasium_take_a_vector():
    vector = ClipReward(as_gymnasium_vector(CartPole(4)), max_reward=0.25)
    vector.reset(seed=2)
    _, reward, *_ = vector.step(np.ones(4, dtype=np.int64))
    assert reward.tolist() == [0.25] * 4


def test_one_environment_shows_the_end_of_its_episode():
    single = as_gymnasium(CartPole(1, seed=3))
    with pytest.raises(gymnasium.error.ResetNeeded):
        single.step(0)
    single.reset(seed=3)
    steps, over = 0, False
    while not over:
        observation, reward, terminated, truncated, _ = single.step(1)
        over = terminated or truncated
        steps += 1
        assert type(reward) is float and type(terminated) is bool
    assert terminated and abs(observation[2]) > 12 * np.pi / 180
    with pytest.raises(gymnasium.error.ResetNeeded):
        single.step(1)
    observation, _ = single.reset()
    assert np.abs(observation).max() <= 0.05


class Tuner(VecEnv):
    """Takes two choices at once."""

    observation_space = Box(0.0, 9.0, shape=(1,))
    action_space = MultiDiscrete((2, 4))
    max_steps = 5

    def initial(self, n, generator, params=None):
        return torch.zeros(n, 1, dtype=self.dtype)

    def dynamics(self, state, action, params=None, generator=None):
        return state + action.sum(-1, keepdim=True) / 4, state[..., 0], torch.zeros(state.shape[:-1], dtype=torch.bool)


def test_several_choices_there_and_back():
    single = as_gymnasium(Tuner(1))
    assert single.action_space == gymnasium.spaces.MultiDiscrete([2, 4])
    env = GymnasiumEnv(lambda: as_gymnasium(Tuner(1)), 3, max_steps=5)
    assert env.action_space == MultiDiscrete((2, 4))
    assert env.reset().tolist() == [[0.0]] * 3
    moved = env.step(torch.tensor([[1, 3], [0, 0], [0, 1]]))
    assert moved.observation.tolist() == [[1.0], [0.0], [0.25]]


class Counting(gymnasium.Env):
    """Choices that are counted from other numbers than 0, there and back."""

    observation_space = gymnasium.spaces.MultiDiscrete([3, 2], start=[5, 1])
    action_space = gymnasium.spaces.MultiDiscrete([3, 2], start=[5, 1])

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        return self.observation_space.start, {}

    def step(self, action):
        assert self.action_space.contains(action)
        return action, 0.0, False, False, {}


def test_choices_of_gymnasium_are_counted_from_0():
    env = GymnasiumEnv(Counting, 2, max_steps=9)
    assert env.reset().tolist() == [[0, 0], [0, 0]]
    assert env.step(torch.tensor([[0, 0], [2, 1]])).observation.tolist() == [[0, 0], [2, 1]]


def test_cart_poles_of_gymnasium_are_ours():
    """The same states under the same actions: observations, rewards, flags, and what was seen last."""
    env = GymnasiumEnv("CartPole-v1", 6, seed=4, dtype=torch.float64)
    ours = CartPole(6, dtype=torch.float64)
    assert isinstance(env, VecEnv) and env.members is None
    assert (env.n, env.batch, env.obs_dim, env.n_actions, env.max_steps) == (6, (6,), 4, 2, 500)
    assert env.action_space == Discrete(2)
    np.testing.assert_allclose(env.observation_space.high, ours.observation_space.high, rtol=1e-6)
    env.reset(), ours.reset()
    generator = torch.Generator().manual_seed(0)
    ends = 0
    for _ in range(80):
        ours.state = torch.tensor(np.array([one.unwrapped.state for one in env.source.envs]))
        ours.elapsed = env.elapsed
        action = torch.randint(2, (6,), generator=generator)
        moved, other = env.step(action), ours.step(action)
        torch.testing.assert_close(moved.final_observation, other.final_observation, rtol=0, atol=1e-6)
        assert torch.equal(moved.reward, other.reward)
        assert torch.equal(moved.terminated, other.terminated)
        assert torch.equal(moved.truncated, other.truncated)
        assert torch.equal(env.elapsed, ours.elapsed)
        ended = moved.terminated
        assert bool((moved.observation[ended].abs() <= 0.05).all())
        assert torch.equal(moved.observation[~ended], moved.final_observation[~ended])
        ends += int(ended.sum())
    assert ends > 10
    env.close()


def test_processes_of_gymnasium_say_their_time_limit():
    makers = [lambda: gymnasium.make("Pendulum-v1", max_episode_steps=4)] * 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a process that is forked while threads run
        env = GymnasiumEnv(AsyncVectorEnv(makers, autoreset_mode=AutoresetMode.SAME_STEP), seed=2)
        assert (env.n, env.max_steps) == (2, 4)
        one = GymnasiumEnv("Pendulum-v1", 2, seed=2, max_steps=200)
        assert torch.equal(env.reset(), one.reset())
        flags = [bool(env.step(torch.zeros(2, 1)).truncated.all()) for _ in range(8)]
        env.close()
    assert flags == [False, False, False, True] * 2


def test_the_time_limit_of_gymnasium_is_a_truncation():
    env = GymnasiumEnv("Pendulum-v1", 2, seed=1)
    env.reset()
    for _ in range(200):
        moved = env.step(torch.zeros(2, 1))
    assert moved.truncated.tolist() == [True, True] and not bool(moved.terminated.any())
    assert not bool((moved.observation == moved.final_observation).all())
    assert env.elapsed.tolist() == [0, 0]
    assert (env.act_dim, env.observation_space.high) == (1, (1.0, 1.0, 8.0))
    assert env.reset().dtype == moved.reward.dtype == torch.float32


class Both(gymnasium.Env):
    """Ends and is cut in the same step, the second one; shows and takes choices that are not counted from 0."""

    observation_space = gymnasium.spaces.Discrete(4, start=3)
    action_space = gymnasium.spaces.Discrete(3, start=-1)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return 3, {}

    def step(self, action):
        assert action in self.action_space
        self.steps += 1
        return 4 + int(action), float(action), self.steps == 2, self.steps == 2, {}


def test_an_end_and_a_cut_in_the_same_step_count_as_an_end():
    env = GymnasiumEnv(Both, 2, max_steps=2)
    assert (env.obs_dim, env.n_actions) == (4, 3)
    assert env.reset().tolist() == [0, 0]
    first = env.step(torch.tensor([0, 2]))
    assert first.observation.tolist() == [0, 2] and first.reward.tolist() == [-1.0, 1.0]
    second = env.step(torch.tensor([1, 1]))
    assert second.terminated.tolist() == [True, True] and second.truncated.tolist() == [False, False]
    assert second.observation.tolist() == [0, 0] and second.final_observation.tolist() == [1, 1]


class Loud(gymnasium.Env):
    """Refuses actions outside its box."""

    observation_space = gymnasium.spaces.Box(np.array([[0, -1], [-2, 0]], np.float32), np.full((2, 2), 3, np.float32))
    action_space = gymnasium.spaces.Box(-1, 2, (2,))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros((2, 2), np.float32), {}

    def step(self, action):
        assert action in self.action_space
        return np.zeros((2, 2), np.float32), 0.0, False, False, {}


def test_actions_are_clipped_to_a_box():
    env = GymnasiumEnv(Loud, 1)
    assert env.observation_space == Box((-2.0, -1.0), (3.0, 3.0), shape=(2, 2))
    assert env.action_space == Box(-1.0, 2.0, shape=(2,))
    assert env.max_steps is None
    env.reset()
    env.step(torch.tensor([[-5.0, 5.0]]))
    careful = GymnasiumEnv(Loud, 1, check_actions=True)
    careful.reset()
    with pytest.raises(ValueError, match="action must lie in Box"):
        careful.step(torch.tensor([[-5.0, 5.0]]))


def test_the_seed_decides_all():
    def history(seed):
        env = GymnasiumEnv("Acrobot-v1", 3, seed=seed)
        rows = [env.reset()] + [env.step(torch.tensor([0, 1, 2])).observation for _ in range(5)]
        return torch.stack([*rows, env.reset()])

    first = history(3)
    assert torch.equal(first, history(3))
    assert not torch.equal(first, history(4))
    assert not torch.equal(first[0], first[-1])
    env = GymnasiumEnv("Acrobot-v1", 3, seed=9)
    env.reset()
    env.reseed(3)
    assert torch.equal(env.reset(), first[0])


def test_states_of_gymnasium_cannot_be_saved():
    env = GymnasiumEnv("CartPole-v1", 1)
    assert not hasattr(env, "state_dict")
    with pytest.raises(AttributeError, match="the states of a gymnasium environment cannot be saved"):
        env.state_dict()
    with pytest.raises(AttributeError, match="the states of a gymnasium environment cannot be loaded"):
        env.load_state_dict({})
    with pytest.raises(NotImplementedError, match="use reset"):
        env.initial(1, None)
    with pytest.raises(NotImplementedError, match="use step"):
        env.dynamics(None, None)


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.DISABLED])
def test_vectors_that_reset_at_another_time_are_refused(mode):
    """One step of such a vector is a reset and no step: a learner would take it for one."""
    vector = SyncVectorEnv([lambda: gymnasium.make("CartPole-v1")] * 2, autoreset_mode=mode)
    with pytest.raises(
        ValueError, match=rf"source must start episodes anew in the step.*got AutoresetMode\.{mode.name}"
    ):
        GymnasiumEnv(vector)


def test_a_vector_of_gymnasium_is_taken_as_it_is():
    vector = SyncVectorEnv([lambda: gymnasium.make("CartPole-v1")] * 2, autoreset_mode=AutoresetMode.SAME_STEP)
    env = GymnasiumEnv(vector)
    assert env.source is vector and (env.n, env.max_steps) == (2, 500)
    with pytest.raises(ValueError, match="n must be None or the 2 environments of source, got 3"):
        GymnasiumEnv(vector, 3)
    there_and_back = GymnasiumEnv(as_gymnasium_vector(CartPole(2, max_steps=3)), max_steps=3)
    there_and_back.reset()
    cut = [there_and_back.step(torch.tensor([0, 1])).truncated.tolist() for _ in range(3)]
    assert cut == [[False] * 2, [False] * 2, [True] * 2]


def test_an_episode_cut_before_the_time_limit_is_an_error():
    def make():
        return TimeLimit(gymnasium.make("Pendulum-v1"), 3)

    for limit, told in ((None, "None"), (5, "5")):
        env = GymnasiumEnv(make, 2, max_steps=limit)
        env.max_steps = limit
        env.reset()
        env.step(torch.zeros(2, 1))
        env.step(torch.zeros(2, 1))
        with pytest.raises(ValueError, match=f"max_steps must be the smallest number.*got {told} and .* cut after 3"):
            env.step(torch.zeros(2, 1))
    assert GymnasiumEnv(make, 2).max_steps == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("CartPole-v1", None), "n must be an integer of at least 1, got None"),
        (("CartPole-v1", 0), "n must be an integer of at least 1, got 0"),
        ((3, 1), "source must be the id of an environment, a function that makes one, or a VectorEnv, got 3"),
        (("NoSuchWorld-v9", 1), "source must name an environment that can be made, got 'NoSuchWorld-v9'"),
        ((dict, 1), "source must make a gymnasium.Env, got"),
        (("CartPole-v1", 1, "cpu", torch.float32, (1, 2)), "seed must be an integer of at least 0"),
        (("CartPole-v1", 1, "cpu", torch.int64), "dtype must be one of torch.float32, torch.float64, got torch.int64"),
    ],
)
def test_sources_that_cannot_be_used(arguments, message):
    with pytest.raises(ValueError, match=message):
        GymnasiumEnv(*arguments)


def test_spaces_without_a_counterpart_are_refused():
    class Strange(Both):
        observation_space = gymnasium.spaces.MultiBinary(3)

    with pytest.raises(ValueError, match="source must have a Box, Discrete or flat MultiDiscrete observation space"):
        GymnasiumEnv(Strange, 1)


@pytest.mark.parametrize("wrap", [as_gymnasium, as_gymnasium_vector])
def test_only_our_environments_of_one_seed_are_wrapped(wrap):
    with pytest.raises(ValueError, match="env must be a VecEnv of this package, got 3"):
        wrap(3)
    with pytest.raises(ValueError, match="env must be a VecEnv of this package"):
        wrap(GymnasiumEnv("CartPole-v1", 1))
    with pytest.raises(ValueError, match="env must have one seed and no members, got members=2"):
        wrap(CartPole(1, seed=(0, 1)))
    with pytest.raises(ValueError, match="env must be one environment, got n=2"):
        as_gymnasium(CartPole(2))


def test_without_gymnasium_the_extra_is_named():
    code = (
        "import sys; sys.modules['gymnasium'] = None\n"
        "from lib.rl.envs import CartPole\n"
        "from lib.rl.envs.gymnasium_adapter import GymnasiumEnv, as_gymnasium, as_gymnasium_vector\n"
        "tries = (lambda: GymnasiumEnv('CartPole-v1', 1), lambda: as_gymnasium(CartPole(1)),\n"
        "         lambda: as_gymnasium_vector(CartPole(1)))\n"
        "for one in tries:\n"
        "    try:\n"
        "        one()\n"
        "    except ImportError as problem:\n"
        "        print(problem)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.count('pip install "living-models[gym]"') == 3


def test_ppo_learns_in_environments_of_gymnasium():
    """And in ours under gymnasium's interface. A run goes on with new episodes, since states cannot be saved."""
    settings = PPOConfig(rollout_steps=32, minibatch=128, learning_rate=3e-3)
    for source in ("CartPole-v1", as_gymnasium_vector(CartPole(8))):
        env = GymnasiumEnv(source, 8, seed=1, max_steps=500)
        policy, value = CategoricalPolicy(4, 2, seed=1), ValueFunction(4, seed=1)
        log = train_ppo(env, policy, value, settings, 256 * 20)
        # Some iterations see no episode end.
        assert float(log["episode_return"][-5:].nanmean()) > 2 * float(log["episode_return"][0]) > 30
        resumed = train_ppo(env, policy, value, settings, 256 * 21, resume=log.checkpoint)
        assert resumed["steps"].tolist()[-1] == 256 * 21
