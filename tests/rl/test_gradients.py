"""What a tile adds to the gradient: compiled, in torch operations and recorded, against autograd of the whole loss."""

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lib.rl import _gradients
from lib.rl._gradients import PolicyGradient, ValueGradient
from lib.rl.envs.cart_pole import CartPole
from lib.rl.networks import MLP
from lib.rl.optimizer import FlatParameters
from lib.rl.policies import CategoricalPolicy, ValueFunction
from lib.rl.ppo import Learner, PPOConfig, ppo_loss
from tests.rl.test_policies import shaken
from tests.rl.training import DOUBLE, SMALL, curve, networks, run

WAYS = ("compiled", "torch", "recorded")
NUMBERS = {"clip": 0.2, "vf_coef": 0.7, "ent_coef": 0.03}


@pytest.fixture
def patch(monkeypatch):
    """Choose how gradients are made."""

    def choose(way):
        return chosen(monkeypatch, way)

    return choose


def chosen(monkeypatch, way):
    if way == "torch":
        monkeypatch.setattr(_gradients, "_losses", lambda: None)
    if way == "recorded":
        monkeypatch.setattr(_gradients, "is_its_network", lambda module: False)


def pair(actions=3, members=None, dtype=DOUBLE, activation="tanh", strip=None):
    seed = 0 if members is None else range(members)
    options = {"hidden": (6, 5), "seed": seed, "dtype": dtype, "activation": activation, "strip": strip}
    return shaken(CategoricalPolicy(3, actions, **options)), shaken(ValueFunction(3, **options), 1)


def minibatch(policy, value_fn, rows, *, anchored=False, seed=0):
    """Columns of transitions whose ratios lie on both sides of the clip, in the type of the networks."""
    generator = torch.Generator().manual_seed(seed)
    lead = () if policy.members is None else (policy.members,)
    dtype = next(policy.parameters()).dtype

    def normal(*shape):
        return torch.randn(*lead, rows, *shape, generator=generator, dtype=DOUBLE).to(dtype)

    seen, action = normal(3), torch.randint(policy.n_actions, (*lead, rows), generator=generator)
    with torch.no_grad():
        logp_old = policy.evaluate(seen, action)[0] + 0.3 * normal()
        value_old = value_fn(seen) + 0.3 * normal()
    anchor = logp_old + 0.2 * normal() if anchored else None
    return SimpleNamespace(
        seen=seen,
        action=action,
        logp_old=logp_old,
        adv=normal(),
        anchor=anchor,
        returns=value_old + normal(),
        value_old=value_old,
    )


def makers(policy, value_fn, value_clip=None):
    """Both gradients, as a training run makes them."""
    flat = FlatParameters([policy, value_fn], policy.members)
    climb = PolicyGradient(policy, policy.evaluate, flat, True, clip=NUMBERS["clip"], ent_coef=NUMBERS["ent_coef"])
    options = {"clip": value_clip, "coefficient": NUMBERS["vf_coef"], "beside": climb}
    return flat, climb, ValueGradient(value_fn, value_fn, flat, True, **options)


def gradient(policy, value_fn, data, *, value_clip=None, tile=None, share=1.0):
    """Means (5, members or 1) and the flat gradient of a minibatch, tile by tile."""
    flat, climb, fit = makers(policy, value_fn, value_clip)
    found, rows = 0, data.adv.shape[-1]
    for start in range(0, rows, tile or rows):
        part = slice(start, start + (tile or rows))
        cut = SimpleNamespace(
            **{
                name: x if x is None else x[(..., part) if x.dim() == data.adv.dim() else (..., part, slice(None))]
                for name, x in vars(data).items()
            }
        )
        mine = share * cut.adv.shape[-1] / rows
        climbed = climb.add(cut.seen, cut.action, cut.logp_old, cut.adv, cut.anchor, mine)
        fitted = fit.add(cut.seen, cut.returns, cut.value_old if value_clip else None, mine)
        found = found + torch.cat((climbed, fitted)) * mine
    return found, flat.grad


def by_autograd(policy, value_fn, data, *, value_clip=None, share=1.0):
    """The same from the loss of the whole minibatch."""
    parameters = list(dict.fromkeys([*policy.parameters(), *value_fn.parameters()]))
    logp, entropy = policy.evaluate(data.seen, data.action)
    value = value_fn(data.seen)
    old = {"value_old": data.value_old, "value_clip": value_clip} if value_clip else {}
    columns = (logp, data.logp_old, data.adv, value, data.returns, entropy)
    loss = ppo_loss(*columns, **NUMBERS, logp_anchor=data.anchor, **old)
    slopes = torch.autograd.grad(share * loss.sum(), parameters)
    grad = torch.cat([slope.reshape(policy.members or 1, -1) for slope in slopes], dim=1)
    with torch.no_grad():
        log_ratio, beyond = logp - data.logp_old, logp - (data.logp_old if data.anchor is None else data.anchor)
        alone = {**NUMBERS, "ent_coef": 0.0, "vf_coef": 0.0}
        means = (
            ppo_loss(*columns, **alone, logp_anchor=data.anchor),
            entropy.mean(-1),
            (log_ratio.exp() - 1 - log_ratio).mean(-1),
            ((beyond.exp() - 1).abs() > NUMBERS["clip"]).to(logp.dtype).mean(-1),
            ppo_loss(*columns, **(alone | {"vf_coef": 1.0}), **old) - ppo_loss(*columns, **alone),
        )
        return share * torch.stack(means).view(5, -1), grad


SETTINGS = st.fixed_dictionaries(
    {
        "actions": st.integers(1, 6),
        "members": st.sampled_from([None, 1, 3]),
        "activation": st.sampled_from(["tanh", "relu"]),
        "rows": st.integers(1, 40),
        "tile": st.none() | st.integers(1, 40),
        "anchored": st.booleans(),
        "value_clip": st.sampled_from([None, 0.25]),
        "share": st.sampled_from([1.0, 0.25]),
        "seed": st.integers(0, 99),
    }
)


def both(drawn, dtype):
    nets = pair(drawn["actions"], drawn["members"], dtype, drawn["activation"])
    data = minibatch(*nets, drawn["rows"], anchored=drawn["anchored"], seed=drawn["seed"])
    options = {"value_clip": drawn["value_clip"], "share": drawn["share"]}
    return nets, data, options


@pytest.mark.parametrize("way", WAYS)
@settings(max_examples=60)
@given(drawn=SETTINGS)
def test_every_way_is_autograd_of_the_whole_loss(way, drawn):
    nets, data, options = both(drawn, DOUBLE)
    with pytest.MonkeyPatch.context() as monkeypatch:
        chosen(monkeypatch, way)
        found = gradient(*nets, data, tile=drawn["tile"], **options)
    for mine, theirs in zip(found, by_autograd(*nets, data, **options)):
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("way", WAYS)
@settings(max_examples=25)
@given(drawn=SETTINGS)
def test_every_way_in_single_precision(way, drawn):
    """Against float64: sums of forty terms of size one, each off by a few units of 6e-8 times what cancels in it."""
    nets, data, options = both(drawn, torch.float32)
    with pytest.MonkeyPatch.context() as monkeypatch:
        chosen(monkeypatch, way)
        found = gradient(*nets, data, tile=drawn["tile"], **options)
    exact = [net.double() for net in nets]
    columns = {name: x.double() if x is not None and x.is_floating_point() else x for name, x in vars(data).items()}
    for mine, theirs in zip(found, by_autograd(*exact, SimpleNamespace(**columns), **options)):
        assert mine.dtype == torch.float32
        torch.testing.assert_close(mine.double(), theirs, rtol=1e-4, atol=2e-5)


def test_the_loops_run_where_they_serve(monkeypatch):
    """So that the comparisons compare something."""
    called, loops = [], _gradients._losses()

    def counted(name):
        return lambda *arguments: (called.append(name), getattr(loops, name)(*arguments))

    monkeypatch.setattr(_gradients, "_losses", lambda: SimpleNamespace(climb=counted("climb"), fit=counted("fit")))
    nets = pair()
    gradient(*nets, minibatch(*nets, 10), tile=4)
    assert called == ["climb", "fit"] * 3


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("column", ["adv", "logp_old", "anchor", "returns"])
def test_what_is_not_finite_shows(bad, column, monkeypatch):
    """In a mean of its member, and of no other; every way alike."""
    nets = pair(members=2)
    data = minibatch(*nets, 9, anchored=True)
    getattr(data, column)[1, 5] = bad
    patterns = []
    for way in WAYS:
        with monkeypatch.context() as patched:
            chosen(patched, way)
            found, grad = gradient(*nets, data, value_clip=0.25)
        assert bool(found[:, 0].isfinite().all()) and bool(grad[0].isfinite().all())
        assert not bool(found[:, 1].isfinite().all())
        if bad != bad:
            assert bool(found[4 if column == "returns" else 0, 1].isnan())
        patterns.append(torch.cat([found.isfinite().flatten(), grad.isfinite().flatten()]))
    assert torch.equal(patterns[0], patterns[1]) and torch.equal(patterns[0], patterns[2])


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("actions", [2, 4])
def test_logits_and_values_that_are_not_finite_show(way, bad, actions, patch):
    nets = pair(actions)
    data = minibatch(*nets, 9)
    for net in nets:
        with torch.no_grad():
            net.network.biases[-1][-1] = bad
    patch(way)
    found, grad = gradient(*nets, data)
    policy_loss, entropy, _, _, value_loss = found[:, 0]
    assert not bool(value_loss.isfinite())
    # An action that is never taken has no logarithm, and the entropy none of it; with inf or NaN nothing is left.
    assert bool(entropy.isnan())
    assert bool(policy_loss.isnan()) or bad == -float("inf")
    assert not bool(grad.isfinite().all())


class Louder(CategoricalPolicy):
    """Own logits."""

    def logits(self, obs):
        return 2 * super().logits(obs)


class Deeper(MLP):
    """A network with something after it."""

    def forward(self, obs):
        return 3 * super().forward(obs)


def doubled(module, _, output):
    return 2 * output


def subclass(policy, value_fn):
    options = {"hidden": (6, 5), "dtype": DOUBLE}
    return shaken(Louder(3, 3, **options)), value_fn


def hook_on_the_network(policy, value_fn):
    policy.network.register_forward_hook(doubled)
    value_fn.network.register_forward_hook(doubled)
    return policy, value_fn


def hook_on_the_module(policy, value_fn):
    value_fn.register_forward_hook(doubled)
    return policy, value_fn


def hook_on_a_parameter(policy, value_fn):
    for net in (policy, value_fn):
        net.network.weight1.register_hook(lambda slope: torch.zeros_like(slope))
    return policy, value_fn


def hook_on_the_way_back(policy, value_fn):
    for net in (policy, value_fn):
        net.network.register_full_backward_pre_hook(lambda module, slopes: (2 * slopes[0],))
    return policy, value_fn


def another_network(policy, value_fn):
    policy.network = nn.Sequential(nn.Linear(3, 7), nn.Tanh(), nn.Linear(7, 3)).double()
    value_fn.network = shaken(Deeper((3, 8, 1), dtype=DOUBLE))
    return policy, value_fn


def a_layer_used_twice(policy, value_fn):
    policy.network = shaken(MLP((3, 6, 6, 6, 3), dtype=DOUBLE))
    policy.network.weight2 = policy.network.weight1
    return policy, value_fn


def a_method_put_in_by_hand(policy, value_fn):
    plain = policy.network.forward
    policy.network.forward = lambda obs: plain(obs).clamp(-0.1, 0.1)
    return policy, value_fn


def more_rows_than_a_tile(policy, value_fn):
    for net in (policy, value_fn):
        net.network.strip = 2
    return policy, value_fn


RECORDED = {
    "policy": (subclass, another_network, a_layer_used_twice, a_method_put_in_by_hand),
    "value_fn": (hook_on_the_module,),
    "both": (hook_on_the_network, hook_on_a_parameter, hook_on_the_way_back, more_rows_than_a_tile),
}


@pytest.mark.filterwarnings("ignore:Full backward hook is firing")
@pytest.mark.parametrize("change", [change for changes in RECORDED.values() for change in changes])
def test_what_autograd_alone_sees_is_recorded(change):
    nets = change(*pair())
    data = minibatch(*nets, 10) if change is not another_network else minibatch(*pair(), 10)
    _, climb, fit = makers(*nets)
    assert change in RECORDED["value_fn"] or climb.passes(data.seen, data.adv) is None
    assert change in RECORDED["policy"] or fit.passes(data.seen, data.adv) is None
    for mine, theirs in zip(gradient(*nets, data), by_autograd(*nets, data)):
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-12)


def test_a_frozen_parameter_stays_frozen():
    """Also one that is frozen, or let go, between two tiles."""
    nets = pair()
    data = minibatch(*nets, 10)
    _, expected = by_autograd(*nets, data)
    flat, climb, fit = makers(*nets)
    frozen = [nets[0].network.weight0, nets[1].network.bias1]
    held = torch.cat([torch.full((p.numel(),), any(p is other for other in frozen)) for p in flat.parameters])
    for free in (True, False, True):
        for parameter in frozen:
            parameter.requires_grad_(free)
        flat.zero_grad()
        climb.add(data.seen, data.action, data.logp_old, data.adv, None, 1.0)
        fit.add(data.seen, data.returns, None, 1.0)
        wanted = expected if free else expected.masked_fill(held, 0)
        torch.testing.assert_close(flat.grad, wanted, rtol=1e-10, atol=1e-12)


def test_under_autocast_autograd_records():
    """Products in bfloat16 have eight bits."""
    nets = pair(dtype=torch.float32)
    data = minibatch(*nets, 20)
    _, expected = gradient(*nets, data)
    _, climb, fit = makers(*nets)
    with torch.autocast("cpu", torch.bfloat16):
        assert climb.passes(data.seen, data.adv) is None and fit.passes(data.seen, data.adv) is None
        _, found = gradient(*nets, data)
    assert not torch.equal(found, expected)
    torch.testing.assert_close(found, expected, rtol=0.1, atol=0.05)


@pytest.mark.parametrize("way", WAYS)
def test_columns_of_another_type_than_the_networks(way, patch):
    """As where an environment in float64 shows pictures of true and false."""
    nets = pair(dtype=torch.float32)
    data = minibatch(*nets, 20)
    expected = gradient(*nets, data, value_clip=0.25)
    for name in ("logp_old", "adv", "returns", "value_old"):
        setattr(data, name, getattr(data, name).double())
    patch(way)
    for mine, theirs in zip(gradient(*nets, data, value_clip=0.25), expected):
        torch.testing.assert_close(mine.float(), theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("way", WAYS)
def test_without_gradients_there_is_an_error(way, patch):
    nets = pair()
    data = minibatch(*nets, 5)
    patch(way)
    for off in (torch.no_grad, torch.inference_mode):
        with off(), pytest.raises(ValueError, match=r"must both have parameters to train.*torch.no_grad"):
            gradient(*nets, data)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("members", [None, 3])
def test_log_probabilities_of_actions(way, members, patch):
    nets = pair(members=members)
    data = minibatch(*nets, 11)
    patch(way)
    _, climb, _ = makers(*nets)
    with torch.no_grad():
        expected = nets[0].evaluate(data.seen, data.action)[0]
        torch.testing.assert_close(climb.log_probabilities(data.seen, data.action), expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("change", [{"bf16": True}, {"compile": "eager"}])
def test_settings_that_need_a_record(change):
    learner = Learner(CartPole(8, seed=0), *networks(0, torch.float32), PPOConfig(**vars(SMALL) | change), 128)
    assert learner.policy_gradient.network is None and learner.value_gradient.network is None


TRAINING = (
    {},
    {"compile": "eager"},
    {"anchor_com": 3.0, "value_clip": 0.2, "tile": 12},
    {"max_kl": 0.01, "normalize_observations": True, "drop_last": True, "minibatch": 48},
)


@pytest.mark.parametrize("change", TRAINING)
def test_whole_runs_are_alike(change, monkeypatch):
    """Also where a callback writes other parameters into the networks between iterations."""
    cfg = PPOConfig(**vars(SMALL) | change)

    def moved(learner):
        if learner.iteration == 2:
            for net in (learner.policy, learner.value_fn):
                net.load_state_dict({name: 0.9 * x + 0.01 for name, x in net.state_dict().items()})

    found = []
    for way in WAYS:
        with monkeypatch.context() as patched:
            chosen(patched, way)
            log, policy, value_fn = run(1, cfg, iterations=3, callback=moved)
        found.append([curve(log), *policy.parameters(), *value_fn.parameters()])
    for other in found[1:]:
        for mine, theirs in zip(found[0], other):
            torch.testing.assert_close(mine, theirs, rtol=1e-8, atol=1e-9, equal_nan=True)
