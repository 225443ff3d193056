"""Compiled rollouts of CartPole against single steps, and the decisions they are made of."""

import contextlib
import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from lib.rl import _categorical
from lib.rl.envs import _cart_pole_numba
from lib.rl.envs._cart_pole_rollout import MOST, CompiledRollout
from lib.rl.envs.cart_pole import CartPole, CartPoleParams
from lib.rl.optimizer import FlatParameters
from lib.rl.policies import CategoricalPolicy, ValueFunction
from lib.rl.ppo import Learner, PPOConfig
from tests.absent import without_numba
from tests.rl.test_policies import shaken

ENDLESS = CartPoleParams(angle_limit=1e30, position_limit=1e30)


class Heavier(CartPole):
    """A CartPole that may be another one."""


class Bolder(CategoricalPolicy):
    """Own draws."""


def learner(n=7, seed=3, *, steps=30, max_steps=12, hidden=(9, 7), activation="tanh", **options):
    """A run whose policy prefers some actions; episodes fall and are cut."""
    cfg = PPOConfig(rollout_steps=steps, minibatch=steps * n, **options.pop("cfg", {}))
    kind, choice = options.pop("kind", CartPole), options.pop("policy", CategoricalPolicy)
    env = kind(n, seed=seed, max_steps=max_steps, **options)
    given = {"hidden": hidden, "seed": seed, "activation": activation, "dtype": env.dtype}
    nets = shaken(choice(4, 2, **given), size=0.3), shaken(ValueFunction(4, **given), size=0.3)
    return Learner(env, *nets, cfg, steps * n)


@contextlib.contextmanager
def single_steps(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(CompiledRollout, "serves", staticmethod(lambda env, policy: False))
        yield


def stands(run):
    """Where all streams stand."""
    states = [run.action_streams.state_dict(), run.env.streams.state_dict()]
    return torch.stack([state for rows in states for row in rows for state in row])


@torch.no_grad()
def next_values(run):
    """Values of what the steps led to, before any reset."""
    return run.buffer.next_values(run.value_fn, torch.empty_like(run.buffer.value))


def assert_alike(run, other):
    """The same rollout, but for the rounding of the networks, and the same place to go on from."""
    mine, theirs = run.buffer, other.buffer
    for name in ("observation", "action", "reward", "terminated", "truncated"):
        assert torch.equal(getattr(mine, name), getattr(theirs, name)), name
    for name in ("logp", "value", "last_value"):
        torch.testing.assert_close(getattr(mine, name), getattr(theirs, name), rtol=1e-5, atol=2e-6)
    torch.testing.assert_close(next_values(run), next_values(other), rtol=1e-5, atol=2e-6)
    assert torch.equal(run.observation, other.observation)
    assert torch.equal(run.env.state, other.env.state) and torch.equal(run.env.elapsed, other.env.elapsed)
    assert run.env.elapsed.dtype == other.env.elapsed.dtype
    assert torch.equal(stands(run), stands(other))


def go_on(run, other, monkeypatch, rollouts=3):
    """Rollouts of both, the second one step by step."""
    for _ in range(rollouts):
        run.rollout()
        with single_steps(monkeypatch):
            other.rollout()
        assert_alike(run, other)
    assert run.compiled_rollout is not None and other.compiled_rollout is None


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"n": 1},
        {"n": 33, "max_steps": 500},
        {"n": 1, "seed": (5,), "steps": 1, "max_steps": 1},
        {"n": 5, "seed": (3, 1, 8)},
        {"n": 12, "shards": 3},
        {"n": 6, "seed": (3, 1), "shards": 2},
        {"n": 4, "max_steps": 1},
        {"n": 4, "max_steps": 100, "steps": 7},
        {"n": 4, "hidden": (), "activation": "relu"},
        {"n": 4, "hidden": (64, 64), "activation": "relu"},
        {"n": MOST, "steps": 3, "max_steps": 2},
        {"n": MOST // 2, "seed": (0, 1), "steps": 3, "max_steps": 2},
    ],
    ids=str,
)
def test_a_compiled_rollout_is_that_of_single_steps(options, monkeypatch):
    run, other = learner(**options), learner(**options)
    go_on(run, other, monkeypatch)
    assert bool(run.buffer.truncated.any()) or options.get("max_steps", 12) >= 100


def test_what_a_time_limit_cuts_is_valued_as_it_was():
    """An episode that is cut at each step: what followed is what the dynamics make of every observation."""
    run = learner(n=6, max_steps=1)
    run.rollout()
    buffer = run.buffer
    arrived, _, fell = run.env.dynamics(buffer.observation, buffer.action)
    assert torch.equal(buffer.truncated, ~fell)
    found, expected = next_values(run), run.value_fn(arrived.flatten(0, 1)).detach()
    torch.testing.assert_close(found[~fell], expected.view_as(found)[~fell], rtol=1e-5, atol=2e-6)


def test_a_whole_iteration_is_alike(monkeypatch):
    """To a few units of rounding, which Adam makes larger where a gradient is small."""
    run, other = learner(n=8), learner(n=8)
    row = run.iterate()
    with single_steps(monkeypatch):
        expected = other.iterate()
    for name, numbers in expected.items():
        if name not in ("approx_kl", "data_to_divergence"):
            assert row[name] == pytest.approx(numbers, rel=1e-3, abs=1e-5, nan_ok=True), name
    torch.testing.assert_close(run.flat.data, other.flat.data, rtol=0, atol=1e-3)


@pytest.mark.parametrize("seed", [3, (3, 1)])
def test_a_checkpoint_of_one_goes_on_as_the_other(seed, monkeypatch):
    run, other = learner(seed=seed, shards=7), learner(seed=seed, shards=7)
    run.rollout()
    other.load_state_dict(run.state_dict())
    go_on(run, other, monkeypatch, 1)
    fresh = learner(seed=seed, shards=7)
    fresh.load_state_dict(other.state_dict())
    go_on(fresh, other, monkeypatch, 2)


def test_what_is_changed_between_rollouts_counts(monkeypatch):
    """Parameters of the networks and of the environment, states, and where streams stand."""
    run, other = learner(), learner()
    go_on(run, other, monkeypatch, 1)

    def learn(one):
        one.policy.load_state_dict({name: x + 0.3 for name, x in one.policy.state_dict().items()})

    def assign(one):
        one.env.params = replace(one.env.params, gravity=3.7)
        one.env.state, one.env.elapsed = torch.zeros(7, 4), torch.full((7,), 5, dtype=torch.int32)
        one.observation = one.env.state

    def write(one):
        one.env.state.fill_(0.01)
        one.env.elapsed.fill_(3)

    def rewind(one):
        one.action_streams.load_state_dict(learner().action_streams.state_dict())

    for change in (learn, assign, write, rewind):
        change(run), change(other)
        go_on(run, other, monkeypatch, 1)


@pytest.mark.parametrize(("angle", "done"), [(8191.0, range(1, 12)), (9000.0, [0]), (math.nan, [0])])
@pytest.mark.parametrize("seed", [3, (3, 1)])
def test_an_angle_too_far_hands_over_to_single_steps(angle, done, seed, monkeypatch):
    """In the middle of a rollout; the next one runs in compiled loops again."""
    options = {"n": 4, "seed": seed, "shards": 2, "params": ENDLESS, "max_steps": 25, "steps": 30}
    run, other = learner(**options), learner(**options)
    for one in (run, other):
        one.env.state[..., 1, 2:] = torch.tensor([angle, 40.0])
        one.observation = one.env.state
    taken, collect = [], CompiledRollout.collect
    monkeypatch.setattr(CompiledRollout, "collect", lambda *given: taken.append(collect(*given)) or taken[-1])
    run.rollout()
    with single_steps(monkeypatch):
        other.rollout()
    for one in (run, other):
        # Where there is no number there is no equality; tensors without them are compared below.
        for part in (one.buffer.observation, one.buffer.logp, one.buffer.value, one.buffer.cut):
            part.nan_to_num_(7.0)
    assert_alike(run, other)
    assert taken[0] in done
    run.rollout()
    with single_steps(monkeypatch):
        other.rollout()
    assert_alike(run, other)
    assert taken[1] == 30


def hooked(run):
    run.policy.network.register_forward_hook(lambda module, seen, output: None)


def differing(run):
    run.env.params = replace(CartPoleParams(), pole_mass=torch.linspace(0.1, 0.2, 7))


@pytest.mark.parametrize(
    ("options", "change"),
    [
        ({"dtype": torch.float64}, None),
        ({"cfg": {"normalize_observations": True}}, None),
        ({"cfg": {"bf16": True}}, None),
        ({"kind": Heavier}, None),
        ({"policy": Bolder}, None),
        ({"n": MOST + 1, "steps": 1}, None),
        ({"n": MOST // 2 + 1, "seed": (0, 1), "steps": 1}, None),
        ({}, hooked),
        ({}, differing),
    ],
    ids=lambda part: getattr(part, "__name__", str(part)),
)
def test_what_takes_single_steps(options, change):
    run = learner(**options)
    if change:
        change(run)
    before = stands(run)
    assert run.compiled_steps() == 0
    assert torch.equal(stands(run), before)
    run.rollout()
    assert bool((run.buffer.reward == 1).all())


def test_under_autocast_single_steps_are_taken():
    run = learner()
    with torch.autocast("cpu", torch.bfloat16):
        assert run.compiled_steps() == 0
    assert run.compiled_steps() == 30


def test_a_parameter_beside_the_network_does_not_shift_the_others(monkeypatch):
    """Those of a module itself come before those of its parts."""

    def warmer(*given, **options):
        policy = CategoricalPolicy(*given, **options)
        policy.temperature = torch.nn.Parameter(torch.ones(3))
        return policy

    run = learner(policy=warmer)
    run.rollout()
    expected = run.policy.evaluate(run.buffer.observation, run.buffer.action)[0]
    torch.testing.assert_close(run.buffer.logp, expected.detach(), rtol=1e-5, atol=2e-6)


def test_a_missing_numba_is_said_once_and_single_steps_are_taken(monkeypatch):
    run, other = learner(), learner()
    with without_numba(monkeypatch, "lib.rl.envs._cart_pole_numba"):
        with pytest.warns(RuntimeWarning, match=r"numba cannot be used.*CartPole steps run in plain torch"):
            other.rollout()
        other.rollout()
    run.rollout(), run.rollout()
    # Without numba the steps are plain ones, too, whose sine differs by its rounding.
    for name in ("action", "terminated", "truncated"):
        assert torch.equal(getattr(run.buffer, name), getattr(other.buffer, name)), name
    torch.testing.assert_close(run.buffer.observation, other.buffer.observation, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("default", [torch.float32, torch.float64])
def test_the_default_type_of_torch_does_not_matter(default):
    expected = learner()
    expected.rollout()
    run = learner()
    torch.set_default_dtype(default)
    try:
        run.rollout()
    finally:
        torch.set_default_dtype(torch.float32)
    assert_alike(run, expected)


# Decisions.


def decisions(policy, obs, uniform):
    """What the compiled loops decide."""
    network, n = policy.network, len(obs)
    parameters = FlatParameters([policy]).data[0].numpy()
    room = np.full((2, n * max(network.sizes)), np.nan, np.float32)
    action, logp = np.empty(n, np.int64), np.empty(n, np.float32)
    rows = obs.numpy(), room, uniform.numpy(), action, logp
    _cart_pole_numba.decide(parameters, np.array(network.sizes), network.activation == "tanh", *rows)
    return torch.from_numpy(action), torch.from_numpy(logp)


@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("hidden", [(), (5,), (_cart_pole_numba.NARROW,), (9, 17), (64, 64), (3, 40, 2)])
@pytest.mark.parametrize("actions", [1, 2, 3, 6])
def test_decisions_are_those_of_the_policy(actions, hidden, activation):
    generator = torch.Generator().manual_seed(actions)
    policy = shaken(CategoricalPolicy(4, actions, hidden, activation=activation), seed=actions)
    for n in (1, 7, 300):
        obs, uniform = torch.randn(n, 4, generator=generator), torch.rand(n, generator=generator)
        action, logp = decisions(policy, obs, uniform)
        with torch.no_grad():
            logits = policy.logits(obs)
            expected, scored = _categorical.draw(logits, uniform)
        assert torch.equal(action, expected)
        torch.testing.assert_close(logp, scored, rtol=1e-5, atol=5e-6)


@pytest.mark.parametrize("actions", [1, 2, 3])
def test_decisions_at_the_edges(actions):
    """Logits far apart, infinite and not a number; uniform numbers of 0 and of almost 1."""
    policy = CategoricalPolicy(4, actions, ())
    network = policy.network
    uniform = torch.tensor([0.0, 2**-24, 0.5, 1 - 2**-24])
    for logits in itertools.product([0.0, 80.0, -80.0, 1e30, -math.inf, math.inf, math.nan], repeat=actions):
        with torch.no_grad():
            network.weight0.zero_()
            network.bias0.copy_(torch.tensor(logits))
            expected, scored = _categorical.draw(policy.logits(torch.zeros(4, 4)), uniform)
        action, logp = decisions(policy, torch.zeros(4, 4), uniform)
        assert torch.equal(action, expected), logits
        torch.testing.assert_close(logp, scored, rtol=1e-5, atol=1e-6, equal_nan=True)


def test_tangents_everywhere():
    powers = 2.0 ** torch.arange(-149, 128)
    x = torch.cat([powers, -powers, torch.linspace(-12, 12, 400_001)]).numpy()
    found = x.copy()
    _cart_pole_numba.tangents(found)
    exact = np.tanh(x.astype(np.float64))
    assert np.abs(found - exact).max() < 4e-7
    assert np.abs(found).max() <= 1 + 1.2e-7
    small = (np.abs(x) < 0.5) & (np.abs(x) > 1e-30)
    assert np.abs(found[small] / exact[small] - 1).max() < 4e-7
    special = np.array([0.0, -0.0, np.inf, -np.inf, np.nan], np.float32)
    _cart_pole_numba.tangents(special)
    np.testing.assert_allclose(special, [0, 0, 1, -1, np.nan], atol=4e-7)
