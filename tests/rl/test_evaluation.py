"""Evaluation: one episode for each environment, and all of them."""

import pytest
import torch

from lib.rl.envs.cart_pole import CartPole
from lib.rl.envs.vec_env import VecEnv
from lib.rl.evaluation import evaluate
from lib.rl.policies import CategoricalPolicy, TabularPolicy, ValueFunction
from lib.rl.ppo import Learner, PPOConfig
from lib.rl.spaces import Discrete
from tests.rl.training import DOUBLE, networks


class Lengths(VecEnv):
    """Episode of environment i takes i + 1 steps, each with reward 1, whatever is done."""

    observation_space = Discrete(50)
    action_space = Discrete(2)
    max_steps = 40

    def initial(self, n, generator, params=None):
        return torch.zeros(n, dtype=torch.int64)

    def dynamics(self, state, action, params=None, generator=None):
        state = state + 1
        return state, torch.ones(state.shape, dtype=self.dtype), state > torch.arange(self.n)


def test_long_episodes_count_as_much_as_short_ones():
    # Environment 0 ends in every step, so episodes counted as they end would nearly all have length 1.
    returns = evaluate(Lengths(20), TabularPolicy(50, 2))
    assert returns.tolist() == list(range(1, 21))


def test_episodes_are_cut_where_asked():
    assert evaluate(Lengths(20), TabularPolicy(50, 2), max_steps=5).tolist() == [1, 2, 3, 4, *[5] * 16]


def test_an_endless_environment_needs_a_limit():
    env = Lengths(3)
    env.max_steps = None
    with pytest.raises(ValueError, match="max_steps must limit the episodes"):
        evaluate(env, TabularPolicy(50, 2))
    assert evaluate(env, TabularPolicy(50, 2), max_steps=10).tolist() == [1, 2, 3]


@pytest.mark.parametrize("deterministic", [True, False])
def test_a_loop_over_single_episodes(deterministic):
    policy, _ = networks(0)
    policy.network.weights[-1].data.mul_(100)
    returns = evaluate(CartPole(12, dtype=DOUBLE, seed=3), policy, deterministic)
    assert torch.equal(returns, evaluate(CartPole(12, dtype=DOUBLE, seed=3), policy, deterministic))
    if not deterministic:
        assert returns.std() > 0
        return
    starts = CartPole(12, dtype=DOUBLE, seed=3).reset()
    for start, expected in zip(starts, returns.tolist()):
        env = CartPole(1, dtype=DOUBLE)
        env.reset()
        env.state = start[None].clone()
        observation, steps, ended = env.state, 0, False
        while not ended:
            observation, _, terminated, truncated, _ = env.step(policy.mode(observation))
            steps += 1
            ended = bool(terminated | truncated)
        assert steps == expected


def test_members_are_evaluated_side_by_side():
    policy, _ = networks((0, 1))
    together = evaluate(CartPole(10, dtype=DOUBLE, seed=(5, 6)), policy, False)
    for member, seed in enumerate((0, 1)):
        alone, _ = networks(seed)
        expected = evaluate(CartPole(10, dtype=DOUBLE, seed=5 + member), alone, False)
        assert torch.equal(together[member], expected)


def test_numbers_of_states_are_looked_up():
    message = r"policy must take .* env shows \(Discrete\(n=50\)\), as .*TabularPolicy does, got CategoricalPolicy"
    with pytest.raises(ValueError, match=message):
        evaluate(Lengths(20), CategoricalPolicy(50, 2, seed=0))
    message = r"value_fn must take .* as .*TabularValue does, got ValueFunction"
    with pytest.raises(ValueError, match=message):
        Learner(Lengths(20), TabularPolicy(50, 2), ValueFunction(50), PPOConfig(rollout_steps=4, minibatch=20), 80)

    class OneHot(CategoricalPolicy):
        """What prepares the numbers itself is welcome."""

        def logits(self, obs):
            return super().logits(torch.nn.functional.one_hot(obs, 50).float())

    assert evaluate(Lengths(20), OneHot(50, 2, seed=0)).tolist() == list(range(1, 21))
