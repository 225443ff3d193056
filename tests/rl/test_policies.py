"""Policies and values: against torch.distributions, frequencies of what they draw, and members one by one."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import distributions

from lib.rl import _categorical
from lib.rl.policies import (
    CategoricalPolicy,
    GaussianPolicy,
    MultiCategoricalPolicy,
    TabularPolicy,
    TabularValue,
    ValueFunction,
)
from lib.rl.streams import Streams

SIZES = (2, 5, 1)


def shaken(module: torch.nn.Module, seed: int = 0, size: float = 0.4) -> torch.nn.Module:
    """Move all parameters, so that no two actions are alike."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += size * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
    return module


def normal(*shape: int, seed: int = 1, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def states(*shape: int, highest: int = 6) -> torch.Tensor:
    return torch.randint(highest, shape, generator=torch.Generator().manual_seed(2))


def make(kind: str, seed=0, dtype: torch.dtype = torch.float64):
    """A policy that prefers some actions, and a maker of observations for it."""
    if kind == "table":
        return shaken(TabularPolicy(6, 4, seed=seed, dtype=dtype), size=1.0), states
    options = {"hidden": (8, 8), "seed": seed, "dtype": dtype}
    policy = {
        "two actions": lambda: CategoricalPolicy(3, 2, **options),
        "five actions": lambda: CategoricalPolicy(3, 5, **options),
        "one action": lambda: CategoricalPolicy(3, 1, **options),
        "several choices": lambda: MultiCategoricalPolicy(3, SIZES, **options),
        "normal": lambda: GaussianPolicy(3, 2, **options),
    }[kind]()
    return shaken(policy), lambda *shape: normal(*shape, 3, dtype=dtype)


KINDS = ["table", "one action", "two actions", "five actions", "several choices", "normal"]
EVERY = pytest.mark.parametrize("kind", KINDS)
COUNTED = pytest.mark.parametrize("kind", KINDS[:-1])


def reference(policy, obs):
    """Log-probability and entropy as torch.distributions has them: functions of the action, and of nothing."""
    if isinstance(policy, MultiCategoricalPolicy):
        parts = [distributions.Categorical(logits=logits) for logits in policy.logits(obs)]
        return (
            lambda action: sum(part.log_prob(chosen) for part, chosen in zip(parts, action.unbind(-1))),
            lambda: sum(part.entropy() for part in parts),
        )
    if isinstance(policy, GaussianPolicy):
        std = policy.log_std.exp() if policy.members is None else policy.log_std.exp().unsqueeze(1)
        joint = distributions.Independent(distributions.Normal(policy.network(obs), std), 1)
    else:
        joint = distributions.Categorical(logits=policy.logits(obs))
    return joint.log_prob, joint.entropy


@EVERY
@pytest.mark.parametrize("seed", [3, (3, 8)])
def test_log_probabilities_and_entropies_are_those_of_torch(kind, seed):
    policy, observe = make(kind, seed)
    lead = (40,) if policy.members is None else (2, 40)
    obs = observe(*lead)
    action, drawn_logp = policy.sample(obs, Streams(seed, "action"))
    logp, entropy = policy.evaluate(obs, action)
    log_prob, entropies = reference(policy, obs)
    for found, expected in ((logp, log_prob(action)), (entropy, entropies()), (drawn_logp, logp)):
        assert found.shape == lead
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    assert not drawn_logp.requires_grad


@EVERY
@pytest.mark.parametrize("seed", [3, (3, 8)])
def test_gradients_are_those_of_torch(kind, seed):
    policy, observe = make(kind, seed)
    lead = (30,) if policy.members is None else (2, 30)
    obs = observe(*lead)
    action = policy.sample(obs, Streams(seed, "action"))[0]
    weights = normal(2, *lead, seed=5)
    parameters = list(policy.parameters())

    def loss(logp, entropy):
        return (weights[0] * logp).sum() + (weights[1] * entropy).sum()

    found = torch.autograd.grad(loss(*policy.evaluate(obs, action)), parameters)
    log_prob, entropies = reference(policy, obs)
    expected = torch.autograd.grad(loss(log_prob(action), entropies()), parameters)
    for mine, wanted in zip(found, expected):
        torch.testing.assert_close(mine, wanted, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("actions", [1, 2, 4])
def test_scores_have_the_gradients_of_finite_differences(actions):
    logits = normal(6, actions).requires_grad_()
    action = states(6, highest=actions)
    assert torch.autograd.gradcheck(lambda z: _categorical.score(z, action), logits)


def test_density_has_the_gradient_of_finite_differences():
    policy = shaken(GaussianPolicy(2, 3, hidden=(), seed=1, dtype=torch.float64))
    obs, action = normal(5, 2), normal(5, 3, seed=2)
    names = [name for name, _ in policy.named_parameters()]

    def evaluate(*values):
        return torch.func.functional_call(
            _Evaluated(policy), {f"policy.{n}": v for n, v in zip(names, values)}, (obs, action)
        )

    assert torch.autograd.gradcheck(evaluate, [p.detach().clone().requires_grad_() for p in policy.parameters()])


class _Evaluated(torch.nn.Module):
    """``evaluate`` as the forward pass of a module."""

    def __init__(self, policy):
        super().__init__()
        self.policy = policy

    def forward(self, obs, action):
        return self.policy.evaluate(obs, action)


@pytest.mark.parametrize("kind", ["table", "two actions", "five actions"])
def test_actions_are_as_frequent_as_they_are_probable(kind):
    policy, observe = make(kind, dtype=torch.float32)
    obs = observe(1).expand(50_000, *observe(1).shape[1:])
    action = policy.sample(obs, Streams(7, "action"))[0]
    counts = torch.bincount(action, minlength=policy.n_actions)
    probability = policy.log_probs(obs[:1])[0].detach().double().softmax(-1)
    assert stats.chisquare(counts, len(obs) * probability).pvalue > 0.01


def test_choices_are_as_frequent_as_they_are_probable_and_independent():
    policy, observe = make("several choices")
    obs = observe(1).expand(50_000, 3)
    action = policy.sample(obs, Streams(7, "action"))[0]
    assert action.shape == (50_000, 3) and action.dtype == torch.int64
    first, second, third = (logp[0].exp() for logp in policy.log_probs(obs[:1]))
    joint = torch.bincount(action[:, 0] * 5 + action[:, 1], minlength=10)
    expected = torch.outer(first, second).flatten() * third * len(obs)
    assert stats.chisquare(joint, expected.detach()).pvalue > 0.01
    assert not action[:, 2].any()


def test_normal_actions_are_normal():
    policy, observe = make("normal")
    obs = observe(1).expand(20_000, 3)
    action = policy.sample(obs, Streams(7, "action"))[0]
    mean, std = policy.mode(obs[:1])[0], policy.log_std.exp()
    for entry in range(2):
        scaled = (action[:, entry] - mean[entry]) / std[entry].detach()
        assert stats.kstest(scaled, "norm").pvalue > 0.01
    assert abs(torch.corrcoef(action.T)[0, 1]) < 0.03


@COUNTED
def test_probabilities_sum_to_one_and_the_mode_is_the_largest(kind):
    policy, observe = make(kind)
    obs = observe(30)
    several = isinstance(policy, MultiCategoricalPolicy)
    logps = policy.log_probs(obs) if several else (policy.log_probs(obs),)
    modes = policy.mode(obs).unbind(-1) if several else (policy.mode(obs),)
    for logp, mode in zip(logps, modes):
        torch.testing.assert_close(logp.exp().sum(-1), torch.ones(30, dtype=torch.float64))
        assert torch.equal(mode, logp.argmax(-1))
    # What evaluate gives for the most likely action is the largest of all.
    largest = sum(logp.amax(-1) for logp in logps)
    torch.testing.assert_close(policy.evaluate(obs, policy.mode(obs))[0], largest)


@EVERY
def test_a_member_draws_what_it_would_draw_alone(kind):
    together, observe = make(kind, (4, 9, 2))
    obs = observe(3, 25)
    actions, logps = together.sample(obs, Streams((4, 9, 2), "action"))
    values = together.state_dict()
    for member, seed in enumerate((4, 9, 2)):
        alone = make(kind, seed)[0]
        alone.load_state_dict({name: value[member] for name, value in values.items()})
        action, logp = alone.sample(obs[member], Streams(seed, "action"))
        torch.testing.assert_close(actions[member], action, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(logps[member], logp, rtol=1e-12, atol=1e-12)


def test_a_member_starts_as_its_seed_alone():
    options = {"hidden": (8,), "seed": (4, 9)}
    for build in (
        lambda **o: CategoricalPolicy(3, 2, **o),
        lambda **o: MultiCategoricalPolicy(3, (2, 3), **o),
        lambda **o: GaussianPolicy(3, 1, **o),
        lambda **o: ValueFunction(3, **o),
    ):
        together = build(**options).state_dict()
        for member, seed in enumerate((4, 9)):
            for name, value in build(hidden=(8,), seed=seed).state_dict().items():
                assert torch.equal(together[name][member], value)


def test_shards_draw_as_they_would_in_processes_of_their_own():
    policy, observe = make("five actions")
    obs = observe(20)
    whole = policy.sample(obs, Streams(0, "action", shards=2))[0]
    parts = [policy.sample(obs[10 * k : 10 * k + 10], Streams(0, "action", shards=2, shard=k))[0] for k in range(2)]
    assert torch.equal(whole, torch.cat(parts))


@EVERY
def test_time_may_come_first(kind):
    policy, observe = make(kind, (4, 9))
    obs = observe(3, 2, 7)
    action = torch.stack([policy.sample(row, Streams((4, 9), "action"))[0] for row in obs])
    logp, entropy = policy.evaluate(obs, action)
    assert logp.shape == entropy.shape == (3, 2, 7)
    for step in range(3):
        expected = policy.evaluate(obs[step], action[step])
        torch.testing.assert_close(logp[step], expected[0], rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(entropy[step], expected[1], rtol=1e-12, atol=1e-12)


@settings(max_examples=50)
@given(
    logits=st.lists(st.floats(-1e4, 1e4, width=32), min_size=1, max_size=6),
    uniform=st.sampled_from([0.0, 1 - 2**-24]) | st.floats(0, 1, exclude_max=True, width=32),
)
def test_draws_and_scores_stay_finite_and_never_take_the_impossible(logits, uniform):
    z = torch.tensor([logits], dtype=torch.float32)
    action, logp = _categorical.draw(z, torch.tensor([uniform], dtype=torch.float32))
    scored, entropy = _categorical.score(z, action)
    probability = z.double().softmax(-1)[0, action]
    assert 0 <= action.item() < len(logits) and probability > 1e-38
    assert logp.isfinite() and logp <= 0 and entropy.isfinite()
    torch.testing.assert_close(logp.double().exp(), probability, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(scored.double().exp(), probability, rtol=1e-4, atol=1e-6)
    assert -1e-6 <= entropy.item() <= math.log(len(logits)) + 1e-5


@settings(max_examples=30)
@given(shift=st.floats(-50, 50), actions=st.integers(1, 5), order=st.randoms(use_true_random=False))
def test_only_differences_of_logits_matter_and_rows_do_not_mix(shift, actions, order):
    z, action = normal(8, actions), states(8, highest=actions)
    uniform = torch.rand(8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    rows = list(range(8))
    order.shuffle(rows)
    for part, whole in zip(_categorical.score(z[rows] + shift, action[rows]), _categorical.score(z, action)):
        torch.testing.assert_close(part, whole[rows], rtol=1e-10, atol=1e-10)
    assert torch.equal(_categorical.draw(z[rows], uniform[rows])[0], _categorical.draw(z, uniform)[0][rows])


def test_the_inverse_of_the_distribution_function_is_exact():
    # P = (1/4, 0, 1/2, 1/4): the intervals [0, 1/4), [1/4, 3/4), [3/4, 1), and nothing for the second action.
    logits = torch.tensor([0.25, 1e-300, 0.5, 0.25], dtype=torch.float64).log()
    uniform = torch.tensor([0.0, 0.2499, 0.2501, 0.7499, 0.7501, 0.9999], dtype=torch.float64)
    action, logp = _categorical.draw(logits.expand(6, 4), uniform)
    assert action.tolist() == [0, 0, 2, 2, 3, 3]
    torch.testing.assert_close(logp.exp(), torch.tensor([0.25, 0.25, 0.5, 0.5, 0.25, 0.25], dtype=torch.float64))


def test_policies_start_almost_uniform_and_values_do_not():
    obs = normal(200, 4, dtype=torch.float32)
    for actions in (2, 6):
        entropy = CategoricalPolicy(4, actions, seed=1).evaluate(obs, torch.zeros(200, dtype=torch.int64))[1]
        assert (math.log(actions) - entropy).abs().max() < 1e-3
    assert GaussianPolicy(4, 2, seed=1).mode(obs).abs().max() < 0.1
    assert ValueFunction(4, seed=1)(obs).std() > 0.1
    policy, value = CategoricalPolicy(4, 1, seed=1), ValueFunction(4, seed=1)
    assert not torch.allclose(policy.network.weights[0], value.network.weights[0])


def test_pictures_are_seen_as_flat_rows():
    grid = torch.rand(6, 10, 10, 4, generator=torch.Generator().manual_seed(0)) < 0.2
    policy, value = CategoricalPolicy(400, 3, seed=0), ValueFunction(400, seed=0)
    flat = grid.flatten(1).float()
    assert torch.equal(policy.mode(grid), policy.mode(flat))
    torch.testing.assert_close(value(grid), value(flat))
    torch.testing.assert_close(policy.log_probs(grid.byte()), policy.log_probs(flat))


def test_single_precision_draws_single_numbers_and_double_draws_doubles():
    for dtype in (torch.float32, torch.float64):
        policy = CategoricalPolicy(3, 4, seed=0, dtype=dtype)
        obs = normal(5, 3, dtype=dtype)
        action, logp = policy.sample(obs, Streams(0, "action"))
        assert action.dtype == torch.int64 and logp.dtype == dtype
        uniform = Streams(0, "action").uniform(5, dtype=dtype)
        assert torch.equal(action, _categorical.draw(policy.logits(obs), uniform)[0])


@EVERY
def test_log_probabilities_are_at_least_in_single_precision(kind):
    policy, observe = make(kind, dtype=torch.float32)
    obs = observe(12)
    with torch.autocast("cpu", torch.bfloat16):
        action, drawn = policy.sample(obs, Streams(0, "action"))
        logp, entropy = policy.evaluate(obs, action)
    assert drawn.dtype == logp.dtype == entropy.dtype == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        assert ValueFunction(3)(normal(4, 3, dtype=torch.float32)).dtype == torch.float32


def test_the_spread_is_held_in_its_range():
    policy = GaussianPolicy(3, 2, log_std=-0.5, log_std_range=(-1.0, 0.5), seed=0, dtype=torch.float64)
    obs, action = normal(5, 3), normal(5, 2, seed=2)
    assert torch.equal(policy.log_std.detach(), torch.full((2,), -0.5, dtype=torch.float64))
    with torch.no_grad():
        policy.log_std.copy_(torch.tensor([-4.0, 2.0]))
    logp, entropy = policy.evaluate(obs, action)
    held = distributions.Normal(policy.mode(obs), torch.tensor([-1.0, 0.5], dtype=torch.float64).exp())
    torch.testing.assert_close(logp, held.log_prob(action).sum(-1))
    torch.testing.assert_close(entropy, held.entropy().sum(-1))
    assert torch.autograd.grad((logp + entropy).sum(), policy.log_std)[0].tolist() == [0.0, 0.0]


def test_a_table_starts_uniform_and_learns_where_it_was():
    policy, value = TabularPolicy(6, 4), TabularValue(6)
    obs, action = torch.tensor([2, 5, 2]), torch.tensor([0, 3, 1])
    logp, entropy = policy.evaluate(obs, action)
    torch.testing.assert_close(logp, torch.full((3,), -math.log(4)))
    torch.testing.assert_close(entropy, torch.full((3,), math.log(4)))
    logp.sum().backward()
    # The gradient of log pi(a|s) is e_a - pi, in the row of the state and nowhere else.
    expected = torch.zeros(6, 4)
    expected[2] = torch.tensor([1.0, 1.0, 0.0, 0.0]) - 2 * 0.25
    expected[5] = torch.tensor([0.0, 0.0, 0.0, 1.0]) - 0.25
    torch.testing.assert_close(policy.table.grad, expected)
    value(obs.int()).sum().backward()
    assert value.table.grad.flatten().tolist() == [0, 0, 2, 0, 0, 1]


def test_members_look_up_tables_of_their_own():
    value = TabularValue(3, members=2)
    with torch.no_grad():
        value.table.copy_(torch.arange(6.0).view(2, 3, 1))
    assert value(torch.tensor([[0, 2], [0, 2]])).tolist() == [[0, 2], [3, 5]]


@pytest.mark.parametrize("seed", [3, (3, 8)])
def test_values_are_those_of_their_network(seed):
    value = ValueFunction(3, (8,), seed=seed, dtype=torch.float64)
    obs = normal(5, 3) if value.members is None else normal(2, 5, 3)
    torch.testing.assert_close(value(obs), value.network(obs)[..., 0])


@pytest.mark.parametrize(
    ("kind", "action"),
    [
        ("two actions", [0] * 5),
        ("two actions", torch.zeros(5)),
        ("two actions", torch.zeros(5, dtype=torch.int32)),
        ("two actions", torch.zeros(4, dtype=torch.int64)),
        ("table", torch.zeros(5, 1, dtype=torch.int64)),
        ("several choices", torch.zeros(5, dtype=torch.int64)),
        ("several choices", torch.zeros(5, 2, dtype=torch.int64)),
        ("normal", torch.zeros(5, dtype=torch.float64)),
        ("normal", torch.zeros(5, 2, dtype=torch.int64)),
        ("normal", None),
    ],
)
def test_actions_that_do_not_fit_are_refused(kind, action):
    policy, observe = make(kind)
    with pytest.raises(ValueError, match="action must be"):
        policy.evaluate(observe(5), action)


@EVERY
def test_streams_and_observations_that_do_not_fit_are_refused(kind):
    policy, observe = make(kind)
    with pytest.raises(ValueError, match="streams must be"):
        policy.sample(observe(5), torch.Generator())
    with pytest.raises(ValueError, match="streams must serve members=None"):
        policy.sample(observe(5), Streams((0, 1), "action"))
    with pytest.raises(ValueError, match=r"obs must have shape \(n, ...\) to draw actions"):
        policy.sample(observe(2, 5), Streams(0, "action"))
    with pytest.raises(ValueError, match="obs must be"):
        policy.mode([0, 1])


@pytest.mark.parametrize(
    ("members", "obs", "message"),
    [
        (None, torch.zeros(3), "obs must be a tensor of integers"),
        (None, torch.tensor([True]), "obs must be a tensor of integers"),
        (None, torch.tensor([0, 6]), "obs must be states from 0 to 5, got 6"),
        (2, torch.tensor([[0], [-1]]), "obs must be states from 0 to 5, got -1"),
        (2, torch.tensor([0, 1]), r"obs must have shape \(..., 2, n\)"),
    ],
)
def test_states_that_are_none_are_refused(members, obs, message):
    for table in (TabularPolicy(6, 4, members=members).log_probs, TabularValue(6, members=members)):
        with pytest.raises(ValueError, match=message):
            table(obs)
