"""Training as a whole: members, shards, bootstrapping, schedules, options, and what stops it."""

import dataclasses
import io
import math
import pickle

import pytest
import torch

from lib.progress import ProgressBar
from lib.rl.envs.breakout import MiniBreakout
from lib.rl.envs.cart_pole import CartPole
from lib.rl.envs.vec_env import VecEnv
from lib.rl.policies import CategoricalPolicy, GaussianPolicy, TabularPolicy, TabularValue, ValueFunction
from lib.rl.ppo import Learner, PPOConfig, StepCut, TrainingDiverged, approx_kl, gae, ppo_loss, train_ppo
from lib.rl.spaces import Box, Discrete
from tests.rl.training import DOUBLE, SMALL, curve, networks, run


def learner(cfg=SMALL, seed=0, n=8, **options):
    env = CartPole(n, dtype=DOUBLE, seed=seed, max_steps=20, **options)
    return Learner(env, *networks(seed), cfg, 10**6)


def same(a, b, **tolerance):
    torch.testing.assert_close(curve(a), curve(b), equal_nan=True, **(tolerance or {"rtol": 0, "atol": 0}))


def test_the_same_seed_gives_the_same_history():
    first, policy, _ = run(seed=3)
    second, again, _ = run(seed=3)
    same(first, second)
    assert all(torch.equal(p, q) for p, q in zip(policy.parameters(), again.parameters()))
    other, *_ = run(seed=4)
    assert not torch.equal(curve(first), curve(other))


def test_a_member_learns_what_its_seed_learns_alone():
    seeds = (3, 11, 5)
    together, policy, value_fn = run(seed=seeds, iterations=5)
    for member, seed in enumerate(seeds):
        alone, single, single_value = run(seed=seed, iterations=5)
        torch.testing.assert_close(curve(together)[..., member], curve(alone), equal_nan=True, rtol=1e-9, atol=1e-10)
        for p, q in zip(
            (*policy.parameters(), *value_fn.parameters()), (*single.parameters(), *single_value.parameters())
        ):
            torch.testing.assert_close(p[member], q, rtol=1e-9, atol=1e-10)


def test_members_may_have_learning_rates_of_their_own():
    rates = (1e-2, 1e-3)
    together, *_ = run(seed=(1, 1), cfg=dataclasses.replace(SMALL, learning_rate=rates))
    for member, rate in enumerate(rates):
        alone, *_ = run(seed=1, cfg=dataclasses.replace(SMALL, learning_rate=rate))
        torch.testing.assert_close(curve(together)[..., member], curve(alone), equal_nan=True, rtol=1e-9, atol=1e-10)


def test_tiles_change_nothing_but_the_order_of_sums():
    whole, *_ = run(cfg=dataclasses.replace(SMALL, tile=32))
    small, *_ = run(cfg=dataclasses.replace(SMALL, tile=5))
    same(whole, small, rtol=1e-9, atol=1e-11)


def test_the_order_of_environments_does_not_matter_to_a_gradient():
    one, two = learner(), learner()
    for state in (one, two):
        state.rollout()
        state.advantages()
        state.policy.network.weights[-1].data.mul_(30)  # away from the behaviour, so that ratios differ from one
    order = torch.randperm(8, generator=torch.Generator().manual_seed(1))
    buffer = two.buffer
    for name in ("observation", "action", "logp", "adv", "returns"):
        setattr(buffer, name, getattr(buffer, name)[:, order])
    everything = torch.arange(128, dtype=torch.int32).view(1, 1, -1)
    found = [state.gradient(state.flat_batch(), everything) for state in (one, two)]
    torch.testing.assert_close(*found, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(one.flat.grad, two.flat.grad, rtol=1e-11, atol=1e-13)


def test_the_gradient_is_that_of_the_loss():
    cfg = dataclasses.replace(SMALL, tile=7, value_clip=0.05, vf_coef=0.3)
    state = learner(cfg)
    state.rollout()
    state.advantages()
    state.flat.data.add_(0.05 * torch.randn(state.flat.data.shape, generator=torch.Generator().manual_seed(2)))
    order = torch.randperm(128, generator=torch.Generator().manual_seed(3))[:32]
    found = state.gradient(state.flat_batch(), order.view(1, 1, -1))
    b = state.buffer
    obs, action, old, adv, returns, before = (
        x.flatten(0, 1)[order] for x in (b.observation, b.action, b.logp, b.adv, b.returns, b.value)
    )
    logp, entropy = state.policy.evaluate(obs, action)
    value = state.value_fn(obs)
    loss = ppo_loss(logp, old, adv, value, returns, entropy, 0.2, 0.3, 0.01, value_old=before, value_clip=0.05)
    parameters = (*state.policy.parameters(), *state.value_fn.parameters())
    expected = torch.cat([g.flatten() for g in torch.autograd.grad(loss, parameters)])
    torch.testing.assert_close(state.flat.grad[0], expected, rtol=1e-10, atol=1e-13)
    assert found[2].item() == pytest.approx(approx_kl(logp.detach(), old).mean().item(), rel=1e-12)


class Countdown(VecEnv):
    """Observations count the steps of an episode; every second environment ends by itself after three steps."""

    observation_space = Box(0.0, math.inf, shape=(1,))
    action_space = Discrete(2)
    max_steps = 4

    def initial(self, n, generator, params=None):
        return torch.zeros(n, 1, dtype=self.dtype)

    def dynamics(self, state, action, params=None, generator=None):
        state = state + 1
        even = torch.arange(self.n) % 2 == 0
        return state, state[..., 0].clone(), even.expand(state.shape[:-1]) & (state[..., 0] >= 3)


class Looks(torch.nn.Module):
    """A value function that anybody can compute: ten times the observation, and a bit."""

    def __init__(self, members=None):
        super().__init__()
        self.members = members
        self.bit = torch.nn.Parameter(torch.zeros(1 if members is None else (members, 1), dtype=DOUBLE))

    def forward(self, obs):
        return 10 * obs[..., 0] + self.bit


@pytest.mark.parametrize("steps", [3, 4, 7, 12])
@pytest.mark.parametrize("members", [None, 2])
def test_truncated_episodes_are_worth_their_last_state_and_terminated_ones_nothing(steps, members):
    seed = 0 if members is None else (0, 1)
    env = Countdown(4, dtype=DOUBLE, seed=seed)
    policy = CategoricalPolicy(1, 2, (4,), seed=seed, dtype=DOUBLE)
    cfg = PPOConfig(rollout_steps=steps, minibatch=4 * steps, gamma=0.9, lam=0.7, normalize_advantages=False)
    state = Learner(env, policy, Looks(members), cfg, 10**6)
    for _ in range(3):
        start = env.state[..., 0].clone()
        state.rollout()
        state.advantages()
        # Played again by hand: what is seen counts up from where the rollout began.
        counts, rows = start, {"r": [], "v": [], "next": [], "terminated": [], "truncated": []}
        even = (torch.arange(4) % 2 == 0).expand(env.batch)
        for _ in range(steps):
            after = counts + 1
            ended = even & (after >= 3)
            cut = (after >= 4) & ~ended
            for name, x in zip(rows, (after, 10 * counts, 10 * after, ended, cut)):
                rows[name].append(x)
            counts = torch.where(ended | cut, 0, after)
        adv, returns = gae(*(torch.stack(x) for x in rows.values()), 0.9, 0.7)
        torch.testing.assert_close(state.buffer.adv, adv)
        torch.testing.assert_close(state.buffer.returns, returns)
        state.value_fn.bit.data.zero_()


def test_returns_and_lengths_of_episodes_are_those_that_ended():
    env = Countdown(4, dtype=DOUBLE)
    cfg = PPOConfig(rollout_steps=5, minibatch=20)
    state = Learner(env, CategoricalPolicy(1, 2, (4,), dtype=DOUBLE), Looks(), cfg, 10**6)
    running, length = torch.zeros(4, dtype=DOUBLE), torch.zeros(4)
    for _ in range(6):
        state.rollout()
        expected = [0.0, 0.0, 0.0]
        for reward, done in zip(state.buffer.reward, state.buffer.terminated | state.buffer.truncated):
            running += reward
            length += 1
            for n in done.nonzero()[:, 0]:
                expected = [expected[0] + running[n].item(), expected[1] + length[n].item(), expected[2] + 1]
                running[n] = length[n] = 0
        assert state.ended_episodes()[:, 0].tolist() == expected


def test_advantages_are_standardized_over_the_batch_of_each_member():
    state = learner(seed=(1, 2))
    state.rollout()
    state.advantages()
    adv = state.buffer.adv
    torch.testing.assert_close(adv.mean((0, 2)), torch.zeros(2, dtype=DOUBLE), atol=1e-12, rtol=0)
    torch.testing.assert_close(adv.std((0, 2), correction=0), torch.ones(2, dtype=DOUBLE), atol=1e-6, rtol=0)


def test_every_transition_is_used_once_in_an_epoch():
    for seed, shards in ((0, 1), ((4, 5), 2)):
        state = learner(seed=seed, shards=shards)
        batch = [torch.arange(state.buffer.reward.numel())]
        order = state.order_streams.permutations(128 // shards)
        places = state.gathered(batch, order)[0]
        assert sorted(places.flatten().tolist()) == list(range(128 * state.rows))
        for member, row in enumerate(places.view(state.rows, -1)):
            # Transitions of a member stay with it: time, member, environment.
            assert bool((row // 8 % state.rows == member).all())


def test_data_to_divergence_is_data_over_divergence():
    log, *_ = run()
    torch.testing.assert_close(log["data_to_divergence"], 128 / log["approx_kl"], rtol=1e-12, atol=0)
    wide, *_ = run(n=16)
    torch.testing.assert_close(wide["data_to_divergence"], 2 * 128 / wide["approx_kl"], rtol=1e-12, atol=0)


def test_the_divergence_is_that_of_the_new_policy():
    state = learner(dataclasses.replace(SMALL, epochs=1, minibatch=128))
    row = state.iterate()
    b = state.buffer
    logp = state.policy.evaluate(b.observation.flatten(0, 1), b.action.flatten())[0].detach()
    assert row["approx_kl"][0] == pytest.approx(approx_kl(logp, b.logp.flatten()).mean().item(), rel=1e-9)
    assert row["clip_fraction"] == [0.0]
    assert row["approx_kl"][0] > 0


def test_schedules():
    linear, *_ = run(cfg=dataclasses.replace(SMALL, schedule="linear"))
    assert linear["learning_rate"].tolist() == pytest.approx([3e-3, 2.25e-3, 1.5e-3, 0.75e-3])
    cut, *_ = run(cfg=dataclasses.replace(SMALL, schedule=StepCut(at=256, factor=0.1)))
    assert cut["learning_rate"].tolist() == pytest.approx([3e-3, 3e-3, 3e-4, 3e-4])
    plain, *_ = run()
    assert torch.equal(curve(plain)[:, :2], curve(cut)[:, :2])
    free, *_ = run(cfg=dataclasses.replace(SMALL, schedule=lambda steps, total: steps / total))
    assert free["learning_rate"].tolist() == pytest.approx([0, 0.75e-3, 1.5e-3, 2.25e-3])
    assert free["approx_kl"][0].item() == pytest.approx(0, abs=1e-25)


def test_each_member_stops_at_its_own_divergence():
    cfg = dataclasses.replace(SMALL, learning_rate=(2e-2, 1e-5), epochs=4, max_kl=0.004)
    together, policy, _ = run(seed=(0, 1), cfg=cfg)
    taken = together["gradient_steps"]
    assert bool((taken[:, 0] < 16).all()) and bool((taken[:, 0] >= 1).all())
    assert taken[:, 1].tolist() == [16, 16, 16, 16]
    alone, single, _ = run(seed=0, cfg=dataclasses.replace(cfg, learning_rate=2e-2))
    torch.testing.assert_close(curve(together)[..., 0], curve(alone), equal_nan=True, rtol=1e-8, atol=1e-10)
    torch.testing.assert_close(policy.network.weights[1][0], single.network.weights[1], rtol=1e-8, atol=1e-10)


def test_an_older_anchor_takes_smaller_steps():
    moved = []
    for com in (8, 2000):
        cfg = dataclasses.replace(SMALL, learning_rate=2e-2, anchor_com=com, clip=0.05, epochs=4)
        log, *_ = run(cfg=cfg, iterations=8)
        moved.append(log["approx_kl"][4:].mean())
    assert moved[1] < moved[0]


def test_an_anchor_without_memory_is_the_policy_itself_and_never_clips():
    log, *_ = run(cfg=dataclasses.replace(SMALL, anchor_com=0.0, learning_rate=2e-2))
    assert log["clip_fraction"].tolist() == [0, 0, 0, 0]


def test_what_does_not_divide_is_left_out_when_asked():
    log, *_ = run(cfg=dataclasses.replace(SMALL, minibatch=50, drop_last=True))
    assert log["gradient_steps"].tolist() == [4, 4, 4, 4]


@pytest.mark.parametrize("seed", [0, (0, 1)])
def test_normalized_observations_and_rewards(seed):
    cfg = dataclasses.replace(SMALL, normalize_observations=True, normalize_rewards=True)
    seen = []

    def look(state):
        kept = state.observation_statistics
        seen.append(state.buffer.observation.clone())
        over = torch.cat(seen)
        dims = (0, over.dim() - 2)
        torch.testing.assert_close(kept.mean.squeeze(-2), over.mean(dims), rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(kept.variance.squeeze(-2), over.var(dims, correction=0), rtol=1e-10, atol=1e-12)

    log, *_ = run(seed=seed, cfg=cfg, callback=look)
    assert len(seen) == len(log) == 4
    plain, *_ = run(seed=seed)
    # The first rollout is seen as it is; what is learned from it is known by returns that are not scaled.
    assert torch.equal(log["episode_return"][0], plain["episode_return"][0])
    assert not torch.equal(log["value_loss"][2], plain["value_loss"][2])


def test_rewards_are_divided_by_the_deviation_of_their_discounted_sums():
    state = learner(dataclasses.replace(SMALL, normalize_rewards=True, gamma=0.9))
    sums, running = [], torch.zeros(8, dtype=DOUBLE)
    for _ in range(3):
        state.rollout()
        raw = state.buffer.reward.clone()
        state.scale_rewards()
        for t in range(16):
            running = 0.9 * running + raw[t]
            sums.append(running)
            running = running * ~(state.buffer.terminated[t] | state.buffer.truncated[t])
        deviation = torch.cat(sums).std(correction=0)
        torch.testing.assert_close(state.buffer.reward, raw / deviation, rtol=1e-6, atol=0)


def test_scaled_rewards_are_reported_unscaled():
    log, *_ = run(cfg=dataclasses.replace(SMALL, reward_scale=0.01))
    plain, *_ = run()
    assert log["episode_return"][0] == plain["episode_return"][0]
    assert log["value_loss"][0] < 0.01 * plain["value_loss"][0]


def test_continuous_actions_and_tables():
    class Reach(VecEnv):
        observation_space = Box(-math.inf, math.inf, shape=(1,))
        action_space = Box(-1.0, 1.0, shape=(2,))
        max_steps = 5

        def initial(self, n, generator, params=None):
            return torch.randn(n, 1, generator=generator, dtype=self.dtype)

        def dynamics(self, state, action, params=None, generator=None):
            state = state + action.sum(-1, keepdim=True)
            return state, -state[..., 0].abs(), torch.zeros(state.shape[:-1], dtype=torch.bool)

    cfg = PPOConfig(rollout_steps=10, minibatch=80, epochs=8, learning_rate=1e-2, gamma=0.9)
    policy = GaussianPolicy(1, 2, (8,), seed=0, dtype=DOUBLE)
    log = train_ppo(Reach(32, dtype=DOUBLE), policy, ValueFunction(1, (8,), dtype=DOUBLE), cfg, 320 * 30)
    assert log["episode_return"][-1] > log["episode_return"][0] + 2

    class Line(VecEnv):
        observation_space = Discrete(5)
        action_space = Discrete(2)
        max_steps = 10

        def initial(self, n, generator, params=None):
            return torch.randint(1, 4, (n,), generator=generator)

        def dynamics(self, state, action, params=None, generator=None):
            state = (state + 2 * action - 1).clamp(0, 4)
            return state, (state == 4).to(self.dtype), (state == 0) | (state == 4)

    cfg = PPOConfig(rollout_steps=8, minibatch=64, epochs=4, learning_rate=5e-2)
    log = train_ppo(Line(32), TabularPolicy(5, 2), TabularValue(5), cfg, 256 * 30)
    assert log["episode_return"][-1] > 0.95


def test_half_precision_networks_learn_in_full_precision():
    nets = networks(0, torch.float32)
    log, policy, _ = run(cfg=dataclasses.replace(SMALL, bf16=True), dtype=torch.float32, nets=nets)
    full, *_ = run(dtype=torch.float32)
    assert all(p.dtype == torch.float32 for p in policy.parameters())
    assert bool(log["approx_kl"].isfinite().all())
    assert log["entropy"][0].item() == pytest.approx(full["entropy"][0].item(), rel=1e-2)
    assert not torch.equal(curve(log), curve(full))


def test_compiled_networks_learn_the_same():
    compiled, *_ = run(cfg=dataclasses.replace(SMALL, compile="aot_eager"), iterations=2)
    plain, *_ = run(iterations=2)
    same(compiled, plain, rtol=1e-8, atol=1e-10)


class Breaks(CartPole):
    """Rewards that are not numbers once a number of steps is reached, for one member if there are several."""

    after = 40

    def step(self, action):
        moved = super().step(action)
        self.taken = getattr(self, "taken", 0) + 1
        if self.taken > self.after:
            moved.reward.view(self.members or 1, -1)[-1] = math.nan
        return moved


@pytest.mark.parametrize("seed", [0, (0, 7)])
def test_a_loss_that_is_not_finite_stops_training_and_loses_nothing(seed):
    # 40 steps: the third of the iterations of 16 steps.
    env = Breaks(8, dtype=DOUBLE, seed=seed, max_steps=20)
    nets = networks(seed)
    with pytest.raises(TrainingDiverged, match="policy_loss is not finite in iteration 3, member") as caught:
        run(seed=seed, env=env, nets=nets, iterations=6)
    problem = caught.value
    last = 0 if seed == 0 else 1
    assert f"member {last} (learning rate 0.003)" in str(problem)
    assert (problem.iteration, problem.members, problem.learning_rate) == (3, [last], [pytest.approx(3e-3)])
    good, policy, value_fn = run(seed=seed, iterations=2)
    same(problem.log, good)
    for p, q in zip((*nets[0].parameters(), *nets[1].parameters()), (*policy.parameters(), *value_fn.parameters())):
        assert torch.equal(p, q)
    # The checkpoint goes on as if nothing had happened.
    whole, *_ = run(seed=seed, iterations=6)
    same(run(seed=seed, iterations=6, resume=problem.checkpoint)[0], whole)


class Overflows(CartPole):
    """One infinite observation, and reward, after 40 steps."""

    def step(self, action):
        moved = super().step(action)
        self.taken = getattr(self, "taken", 0) + 1
        if self.taken == 40:
            moved.reward[0] = moved.observation[0, 1] = math.inf
        return moved


@pytest.mark.parametrize("name", ["normalize_observations", "normalize_rewards"])
def test_what_normalizes_is_not_spoiled_by_an_infinite_number(name):
    cfg = dataclasses.replace(SMALL, **{name: True})
    with pytest.raises(TrainingDiverged, match="not finite in iteration 3") as caught:
        run(env=Overflows(8, dtype=DOUBLE, max_steps=20), cfg=cfg, iterations=6)
    kept = caught.value.checkpoint[name.removeprefix("normalize_")[:-1] + "_statistics"]
    assert bool(kept["mean"].isfinite().all() and kept["variance"].isfinite().all())
    same(run(cfg=cfg, iterations=6, resume=caught.value.checkpoint)[0], run(cfg=cfg, iterations=6)[0])


def test_an_error_passes_between_processes():
    problem = TrainingDiverged("value_loss", 3, [1], [1e-3])
    problem.checkpoint = {"steps": 2}
    again = pickle.loads(pickle.dumps(problem))
    assert str(again) == str(problem)
    assert (again.iteration, again.members, again.checkpoint) == (3, [1], {"steps": 2})


def test_an_infinite_step_is_noticed():
    with pytest.raises(TrainingDiverged, match="not finite in iteration"):
        run(cfg=dataclasses.replace(SMALL, schedule=lambda steps, total: 1e300), iterations=3)


def test_a_callback_sees_the_run_and_may_stop_it():
    steps = []

    def look(state):
        steps.append((state.iteration, state.steps, len(state.log)))
        return state.iteration == 2

    log, *_ = run(callback=look, iterations=5)
    assert steps == [(1, 128, 1), (2, 256, 2)]
    assert log.checkpoint["iteration"] == 2


def test_progress_says_how_far_how_well_and_how_fast():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    stream = Terminal()
    run(progress=ProgressBar("steps", stream, patience=0))
    lines = stream.getvalue().split("\r")
    assert "128 of 512 steps" in lines[1]
    assert "return" in lines[1] and "steps/s" in lines[1]
    assert lines[-1].endswith("\n") and "512 of 512 steps" in lines[-1]


@pytest.mark.parametrize(
    ("cfg", "message"),
    [
        ({"minibatch": 256}, "minibatch must divide the 128 transitions of an iteration"),
        ({"minibatch": 48}, "minibatch must divide the 128 transitions"),
        ({"learning_rate": (1e-3, 1e-3)}, "learning_rate must be 1 numbers"),
    ],
)
def test_settings_that_do_not_fit(cfg, message):
    with pytest.raises(ValueError, match=message):
        run(cfg=dataclasses.replace(SMALL, **cfg))


def test_shards_share_a_minibatch_equally():
    with pytest.raises(ValueError, match="minibatch must be a multiple of the 4 shards, got 2"):
        run(cfg=dataclasses.replace(SMALL, minibatch=2), shards=4)


class Own(torch.nn.Module):
    """A policy of one's own: a module without members, whose last output may come as a column."""

    def __init__(self, column=None):
        super().__init__()
        self.layer, self.column = torch.nn.Linear(4, 2, dtype=DOUBLE), column

    def shaped(self, name, numbers):
        return numbers[:, None] if name == self.column else numbers

    def sample(self, obs, streams):
        logp = self.layer(obs).log_softmax(-1)
        action = (streams.uniform(len(obs), dtype=DOUBLE) < logp[:, 1].exp()).long()
        return action, self.shaped("policy.sample", logp.gather(1, action[:, None])[:, 0])

    def evaluate(self, obs, action):
        logp = self.layer(obs).log_softmax(-1)
        entropy = self.shaped("the entropy of policy", -(logp.exp() * logp).sum(-1))
        return self.shaped("policy.evaluate", logp.gather(1, action[:, None])[:, 0]), entropy

    def mode(self, obs):
        return self.layer(obs).argmax(-1)


class Worth(torch.nn.Module):
    """A value function that looks at its observation through a policy's layer."""

    def __init__(self, policy):
        super().__init__()
        self.layer, self.last = policy.layer, torch.nn.Linear(2, 1, dtype=DOUBLE)

    def forward(self, obs):
        return self.last(self.layer(obs).tanh())[..., 0]


def test_modules_of_ones_own_may_share_layers():
    torch.manual_seed(0)
    policy = Own()
    value_fn = Worth(policy)
    state = Learner(CartPole(8, dtype=DOUBLE, max_steps=20), policy, value_fn, SMALL, 10**4)
    assert state.flat.data.shape == (1, 4 * 2 + 2 + 2 + 1)
    state.rollout()
    state.advantages()
    state.gradient(state.flat_batch(), torch.arange(128, dtype=torch.int32).view(1, 1, -1))
    b = state.buffer
    logp, entropy = policy.evaluate(b.observation.flatten(0, 1), b.action.flatten())
    value = value_fn(b.observation.flatten(0, 1))
    old, adv, returns = (x.flatten() for x in (b.logp, b.adv, b.returns))
    ppo_loss(logp, old, adv, value, returns, entropy, 0.2, 0.5, 0.01).backward()
    expected = torch.cat([p.grad.flatten() for p in (*policy.parameters(), *value_fn.last.parameters())])
    torch.testing.assert_close(state.flat.grad[0], expected, rtol=1e-10, atol=1e-13)
    log, *_ = run(nets=(policy, value_fn), cfg=dataclasses.replace(SMALL, anchor_com=8.0))
    assert bool(log["approx_kl"].isfinite().all())


def test_frozen_parameters_stay_as_they_are():
    policy, value_fn = networks(0)
    frozen = policy.network.weights[0].requires_grad_(False)
    before = [p.detach().clone() for p in policy.parameters()]
    run(nets=(policy, value_fn))
    assert [torch.equal(p, q) for p, q in zip(policy.parameters(), before)] == [
        p is frozen for p in policy.parameters()
    ]


REPLACED = {
    "assigned": lambda net: net.load_state_dict({k: x.clone() for k, x in net.state_dict().items()}, assign=True),
    "other memory": lambda net: setattr(net.network.weight0, "data", net.network.weight0.data.clone()),
    "there and back": lambda net: net.float().double(),
    "one more": lambda net: net.register_parameter("scale", torch.nn.Parameter(torch.ones(1, dtype=DOUBLE))),
}


@pytest.mark.parametrize("change", REPLACED.values(), ids=REPLACED)
@pytest.mark.parametrize("which", ["policy", "value_fn"])
def test_parameters_that_are_replaced_while_they_are_trained_are_refused(which, change):
    """They would stay as they are, while training went on with those from before."""
    with pytest.raises(ValueError, match="modules must keep their parameters while they are trained"):
        run(callback=lambda learner: change(getattr(learner, which)) and None)


def test_training_without_gradients_is_refused():
    with torch.no_grad(), pytest.raises(ValueError, match="gradients must not be switched off"):
        run()
    nets = networks(0)
    nets[1].requires_grad_(False)
    with pytest.raises(ValueError, match="policy and value_fn must both have parameters to train"):
        run(nets=nets)


@pytest.mark.parametrize("column", ["policy.sample", "policy.evaluate", "the entropy of policy", "value_fn"])
@pytest.mark.parametrize("n", [8, 1])
def test_columns_in_place_of_numbers_are_refused(column, n):
    value_fn = torch.nn.Linear(4, 1, dtype=DOUBLE) if column == "value_fn" else networks(0)[1]
    message = rf"{column} must return a number for each observation, of shape \({n},\), got .* \({n}, 1\)"
    with pytest.raises(ValueError, match=message):
        run(n=n, nets=(Own(column), value_fn), cfg=dataclasses.replace(SMALL, minibatch=16))


def test_a_policy_takes_the_actions_that_there_are():
    with pytest.raises(ValueError, match="policy must have n_actions=2 as env has, got n_actions=3"):
        run(nets=(CategoricalPolicy(4, 3, dtype=DOUBLE), networks(0)[1]))


def test_pictures_of_true_and_false_are_normalized():
    env = MiniBreakout(4, seed=0)
    cfg = PPOConfig(rollout_steps=8, minibatch=32, normalize_observations=True)
    log = train_ppo(env, CategoricalPolicy(400, 3, (4,)), ValueFunction(400, (4,)), cfg, 64)
    assert bool(log["value_loss"].isfinite().all())


def test_members_have_to_agree():
    with pytest.raises(ValueError, match="policy must have members=2 as env has, got members=None"):
        run(seed=(0, 1), nets=networks(0))
