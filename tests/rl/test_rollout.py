"""Values of a rollout, found for many steps together, against those of each step alone."""

import pytest
import torch

from lib.rl import rollout
from lib.rl.envs import MiniBreakout
from lib.rl.envs.cart_pole import CartPole
from lib.rl.policies import CategoricalPolicy, ValueFunction
from lib.rl.ppo import Learner, PPOConfig
from tests.rl.test_policies import shaken
from tests.rl.training import DOUBLE

STEPS = 13


def learner(kind, seed, **settings):
    env = kind(6, seed=seed, max_steps=5, dtype=DOUBLE)
    sizes = env.obs_dim, env.n_actions
    options = {"hidden": (9, 7), "seed": seed, "dtype": DOUBLE}
    nets = shaken(CategoricalPolicy(*sizes, **options)), shaken(ValueFunction(sizes[0], **options))
    return Learner(env, *nets, PPOConfig(rollout_steps=STEPS, minibatch=6 * STEPS, **settings), 6 * STEPS)


@pytest.mark.parametrize("together", [1, 40, 2**13])
@pytest.mark.parametrize("seed", [3, (3, 1, 8)])
@pytest.mark.parametrize("settings", [{}, {"normalize_observations": True}], ids=["as they are", "normalized"])
@pytest.mark.parametrize("kind", [CartPole, MiniBreakout])
def test_values_of_many_steps_are_those_of_each(kind, settings, seed, together, monkeypatch):
    """Also of pictures; with normalized observations, in each member by its own statistics."""
    monkeypatch.setattr(rollout, "TOGETHER", together)
    run = learner(kind, seed, **settings)
    run.iterate()
    run.rollout()
    with torch.no_grad():
        alone = [run.value_fn(run.seen(observation)) for observation in (*run.buffer.observation, run.observation)]
    torch.testing.assert_close(run.buffer.value, torch.stack(alone[:-1]), rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(run.buffer.last_value, alone[-1], rtol=1e-12, atol=1e-13)


def test_few_values_are_asked_for_at_once():
    """What the function is given: so many rows that calls weigh little, and never a part of a step."""
    env = CartPole(6, seed=(0, 1))
    buffer = rollout.Rollout(env, 2000, env.reset())
    asked = []
    buffer.fill_values(env.state, lambda seen: asked.append(tuple(seen.shape)) or seen.sum(-1))
    assert asked == [(2, 682 * 6, 4), (2, 682 * 6, 4), (2, 636 * 6, 4), (2, 6, 4)]
