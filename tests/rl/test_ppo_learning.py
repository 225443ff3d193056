"""PPO learns: CartPole and Pendulum on several seeds side by side, a table, and an environment of gymnasium."""

import pytest
import torch

from lib.rl.envs.cart_pole import CartPole
from lib.rl.envs.gymnasium_adapter import GymnasiumEnv
from lib.rl.envs.noisy_grid import NoisyGrid
from lib.rl.envs.pendulum import Pendulum
from lib.rl.evaluation import evaluate
from lib.rl.planning import policy_iteration
from lib.rl.policies import CategoricalPolicy, GaussianPolicy, TabularPolicy, TabularValue, ValueFunction
from lib.rl.policy_evaluation import policy_value
from lib.rl.ppo import PPOConfig, train_ppo

CART_POLE = {"rollout_steps": 32, "minibatch": 256, "epochs": 4, "learning_rate": 5e-3}
"""Sixteen environments, two minibatches."""


@pytest.mark.slow
def test_cart_pole_is_solved_on_every_seed():
    """Mean return of 100 episodes at least 475 within 500 000 steps of 16 environments, for each of five seeds."""
    seeds = (0, 1, 2, 3, 4)
    reached = {}

    def look(state):
        if state.iteration % 40 == 0:
            env = CartPole(100, seed=tuple(1000 + seed for seed in seeds))
            for seed, mean in zip(seeds, evaluate(env, state.policy).mean(1).tolist()):
                if mean >= 475:
                    reached.setdefault(seed, state.steps)
        return len(reached) == len(seeds)

    policy, value_fn = CategoricalPolicy(4, 2, seed=seeds), ValueFunction(4, seed=seeds)
    cfg = PPOConfig(**CART_POLE, schedule="linear")
    train_ppo(CartPole(16, seed=seeds), policy, value_fn, cfg, 250_000, look)
    assert sorted(reached) == list(seeds), reached


def test_cart_pole_passes_450_before_150_000_steps():
    best = []

    def look(state):
        if state.iteration % 20 == 0:
            best.append(float(evaluate(CartPole(50, seed=100), state.policy).mean()))
        return bool(best) and best[-1] >= 450

    policy, value_fn = CategoricalPolicy(4, 2, seed=0), ValueFunction(4, seed=0)
    log = train_ppo(CartPole(16, seed=0), policy, value_fn, PPOConfig(**CART_POLE), 150_000, look)
    assert best[-1] >= 450
    assert log["steps"][-1] < 150_000


class DoubleTorque(Pendulum):
    """Actions of a policy of order one reach the whole range of torques."""

    def dynamics(self, state, action, params=None, generator=None):
        return super().dynamics(state, 2 * action, params, generator)


@pytest.mark.slow
def test_pendulum_with_many_environments_and_small_minibatches():
    """Mean return of 256 episodes at least -260 within 600 000 steps of 1024 environments, for each of three seeds."""
    seeds = (0, 1, 2)
    returns = []

    def look(state):
        if state.iteration >= 6:
            env = DoubleTorque(256, seed=tuple(100 + seed for seed in seeds))
            returns.append(evaluate(env, state.policy).mean(1))
        return bool(returns) and bool((returns[-1] >= -260).all())

    policy, value_fn = GaussianPolicy(3, 1, (32, 32), seed=seeds), ValueFunction(3, (32, 32), seed=seeds)
    cfg = PPOConfig(
        rollout_steps=32, minibatch=512, epochs=8, learning_rate=3e-3, gamma=0.95, lam=0.95, reward_scale=0.1
    )
    log = train_ppo(DoubleTorque(1024, seed=seeds), policy, value_fn, cfg, 600_000, look)
    assert bool((returns[-1] >= -260).all()), returns
    # Many data for little change: what the stuck runs of few environments lack.
    assert float(log["data_to_divergence"].median()) > 1e6


def test_a_table_comes_near_the_exact_optimum():
    env, gamma = NoisyGrid(64, seed=0), 0.97
    policy = TabularPolicy(25, 4)
    cfg = PPOConfig(rollout_steps=32, minibatch=512, learning_rate=0.1, schedule="linear", gamma=gamma, ent_coef=0.01)
    train_ppo(env, policy, TabularValue(25), cfg, 65_536)
    P, R = env.tables()
    start = torch.ones(25, dtype=torch.float64) / 24
    start[24] = 0  # the goal
    best = float(start @ policy_iteration(P, R, gamma).V)
    learned = float(start @ policy_value(P, R, gamma, policy.table.detach().double().softmax(-1)))
    assert best == pytest.approx(-5.473652, abs=1e-6)
    assert best - 0.3 < learned <= best


def test_an_environment_of_gymnasium_is_learned_in(tmp_path):
    policy, value_fn = CategoricalPolicy(4, 2, seed=0), ValueFunction(4, seed=0)
    env = GymnasiumEnv("CartPole-v1", 8, seed=0)
    path = tmp_path / "run.pt"
    cfg = PPOConfig(rollout_steps=32, minibatch=64, learning_rate=5e-3)
    log = train_ppo(env, policy, value_fn, cfg, 12_000, checkpoint=path)
    assert float(log["episode_return"][-10:].nanmean()) > 2 * float(log["episode_return"][:3].nanmean())
    assert float(evaluate(CartPole(50, seed=1), policy).mean()) > 100
    # Its states are gymnasium's: a resumed run goes on learning, with new episodes.
    more = train_ppo(env, policy, value_fn, cfg, 13_000, resume=path)
    assert len(more) > len(log)
    assert torch.equal(more["approx_kl"][: len(log)], log["approx_kl"])
    env.close()
