"""Whole iterations of PPO against a plain one: torch's distributions, autograd and Adam, and loops over transitions."""

import dataclasses
import math

import pytest
import torch
from torch.distributions import Categorical, Normal

from lib.rl.envs.vec_env import VecEnv
from lib.rl.policies import CategoricalPolicy, GaussianPolicy, MultiCategoricalPolicy, ValueFunction
from lib.rl.ppo import Learner, PPOConfig, StepCut
from lib.rl.spaces import Box, Discrete, MultiDiscrete
from tests.rl.training import DOUBLE

ENVIRONMENTS, STEPS, TOTAL = 6, 8, 300
CFG = PPOConfig(rollout_steps=STEPS, minibatch=16, epochs=3, learning_rate=1e-2, ent_coef=0.01)


class Drift(VecEnv):
    """States are pushed by actions and noise; an episode ends where they are far, or after some steps."""

    observation_space = Box(-math.inf, math.inf, shape=(3,))
    stochastic = True

    def __init__(self, action_space, max_steps):
        self.action_space = action_space
        super().__init__(ENVIRONMENTS, dtype=DOUBLE, max_steps=max_steps)
        self.moves = []

    def initial(self, n, generator, params=None):
        return torch.randn(n, 3, generator=generator, dtype=self.dtype)

    def dynamics(self, state, action, params=None, generator=None):
        force = action.to(self.dtype).reshape(len(state), -1).sum(1)
        noise = torch.randn(state.shape, generator=generator, dtype=self.dtype)
        state = 0.8 * state + 0.3 * torch.tanh(force)[:, None] + 0.5 * noise
        return state, state[:, 0] - state[:, 1] ** 2 - 0.1 * force, state.norm(dim=-1) > 2.2

    def step(self, action):
        moved = super().step(action)
        self.moves.append((action, moved))
        return moved


def output(weights, x):
    for layer in range(3):
        x = torch.tanh(x) if layer else x
        x = x @ weights[f"network.weight{layer}"].T + weights[f"network.bias{layer}"]
    return x


def scores(weights, sizes, obs, action):
    """Log-probabilities and entropies."""
    found = output(weights, obs)
    if sizes is None:
        normal = Normal(found, weights["log_std"].clamp(-3, 1).exp().expand_as(found))
        return normal.log_prob(action).sum(-1), normal.entropy().sum(-1)
    choices = [Categorical(logits=logits) for logits in found.split(sizes, -1)]
    parts = action.reshape(len(action), -1).unbind(1)
    return sum(c.log_prob(a) for c, a in zip(choices, parts)), sum(c.entropy() for c in choices)


class Plain:
    """The same from the transitions that an environment saw, and the orders in which they were used."""

    def __init__(self, policy, value_fn, sizes, cfg):
        self.cfg, self.sizes = cfg, sizes
        self.policy, self.value = (
            {name: p.detach().clone().requires_grad_() for name, p in module.named_parameters()}
            for module in (policy, value_fn)
        )
        self.parameters = [*self.policy.values(), *self.value.values()]
        self.adam = torch.optim.Adam(self.parameters, eps=cfg.adam_eps)
        self.history = [self.copied()]
        self.observations, self.sums, self.discounted = [], [], torch.zeros(ENVIRONMENTS, dtype=DOUBLE)

    def copied(self):
        return {name: p.detach().clone() for name, p in self.policy.items()}

    def seen(self, obs):
        if not self.cfg.normalize_observations:
            return obs
        if not self.observations:
            return obs / math.sqrt(1 + 1e-8)
        known = torch.cat(self.observations).flatten(0, 1)
        return (obs - known.mean(0)) / (known.var(0, correction=0) + 1e-8).sqrt()

    def scaled(self, reward, ended):
        if self.cfg.normalize_rewards:
            for t in range(STEPS):
                self.sums.append(self.cfg.gamma * self.discounted + reward[t])
                self.discounted = torch.where(ended[t], 0.0, self.sums[-1])
            reward = reward / (torch.cat(self.sums).var(correction=0) + 1e-8).sqrt()
        return self.cfg.reward_scale * reward

    def advantages(self, reward, value, value_next, terminated, truncated):
        columns = [column.tolist() for column in (reward, value, value_next, terminated, truncated)]
        adv = [[0.0] * ENVIRONMENTS for _ in range(STEPS)]
        for n in range(ENVIRONMENTS):
            for t in range(STEPS):
                for k in range(t, STEPS):
                    r, v, v_next, over, cut = (column[k][n] for column in columns)
                    surprise = r + self.cfg.gamma * (0.0 if over else v_next) - v
                    adv[t][n] += (self.cfg.gamma * self.cfg.lam) ** (k - t) * surprise
                    if over or cut:
                        break
        return torch.tensor(adv, dtype=DOUBLE)

    def anchored(self, obs, action):
        beta, t = self.cfg.anchor_com / (1 + self.cfg.anchor_com), len(self.history) - 1
        share = [(1 - beta) * beta ** (t - i) / (1 - beta ** (t + 1)) for i in range(t + 1)]
        mean = {name: sum(s * past[name] for s, past in zip(share, self.history)) for name in self.policy}
        return scores(mean, self.sizes, obs, action)[0]

    def loss(self, obs, action, old, adv, returns, value_old):
        """Loss, and divergence from the behaviour policy."""
        cfg = self.cfg
        logp, entropy = scores(self.policy, self.sizes, obs, action)
        anchor = old if cfg.anchor_com is None else self.anchored(obs, action)
        ratio, behind = (logp - anchor).exp(), (anchor - old).exp()
        gain = behind * torch.min(ratio * adv, ratio.clamp(1 - cfg.clip, 1 + cfg.clip) * adv)
        value = output(self.value, obs)[:, 0]
        error = (value - returns) ** 2
        if cfg.value_clip is not None:
            near = value_old + (value - value_old).clamp(-cfg.value_clip, cfg.value_clip)
            error = torch.max(error, (near - returns) ** 2)
        kl = ((logp - old).exp() - 1 - (logp - old)).mean()
        return -gain.mean() + cfg.vf_coef * 0.5 * error.mean() - cfg.ent_coef * entropy.mean(), kl

    def learn(self, first, moves, orders, rate):
        """One iteration; how many gradient steps it took."""
        cfg = self.cfg
        action = torch.stack([a for a, _ in moves])
        reward, terminated, truncated, final = (
            torch.stack([getattr(moved, name) for _, moved in moves])
            for name in ("reward", "terminated", "truncated", "final_observation")
        )
        raw = torch.stack([first, *(moved.observation for _, moved in moves[:-1])])
        obs, action = self.seen(raw).flatten(0, 1), action.flatten(0, 1)
        with torch.no_grad():
            value, worth = output(self.value, self.seen(raw))[..., 0], output(self.value, self.seen(final))[..., 0]
            old = scores(self.policy, self.sizes, obs, action)[0]
        adv = self.advantages(self.scaled(reward, terminated | truncated), value, worth, terminated, truncated)
        returns = (adv + value).flatten()
        if cfg.normalize_advantages:
            adv = (adv - adv.mean()) / (adv.std(correction=0) + 1e-8)
        batch = (obs, action, old, adv.flatten(), returns, value.flatten())
        self.adam.param_groups[0]["lr"] = rate
        taken = 0
        for order in orders:
            for part in order.flatten().long().split(cfg.minibatch):
                loss, kl = self.loss(*(column[part] for column in batch))
                if len(part) < cfg.minibatch:
                    continue
                if cfg.max_kl is not None and kl > cfg.max_kl:
                    self.observations.append(raw)
                    return taken
                self.adam.zero_grad()
                loss.backward()
                if cfg.max_grad_norm is not None:
                    torch.nn.utils.clip_grad_norm_(self.parameters, cfg.max_grad_norm)
                self.adam.step()
                self.history.append(self.copied())
                taken += 1
        self.observations.append(raw)
        return taken


SETTINGS = {
    "plain": {},
    "no extras": {"max_grad_norm": None, "normalize_advantages": False, "gamma": 1.0, "lam": 1.0, "ent_coef": 0.0},
    "one minibatch": {"minibatch": STEPS * ENVIRONMENTS, "value_clip": 0.1, "vf_coef": 1.3, "lam": 0.0},
    "an old anchor": {"anchor_com": 8.0, "clip": 0.05, "schedule": StepCut(at=60, factor=0.2)},
    "everything": {
        "minibatch": 13,
        "drop_last": True,
        "value_clip": 0.1,
        "anchor_com": 20.0,
        "max_kl": 0.002,
        "normalize_observations": True,
        "normalize_rewards": True,
        "reward_scale": 0.5,
        "schedule": "linear",
        "tile": 4,
    },
}


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize(("sizes", "max_steps"), [((3,), 5), ((2, 4), 1), (None, 3)], ids=str)
def test_iterations_are_those_of_plain_torch(settings, sizes, max_steps):
    cfg = dataclasses.replace(CFG, **SETTINGS[settings])
    options = {"hidden": (5, 4), "seed": 2, "dtype": DOUBLE}
    if sizes is None:
        space, policy = Box(-9.0, 9.0, shape=(2,)), GaussianPolicy(3, 2, **options)
    elif len(sizes) == 1:
        space, policy = Discrete(sizes[0]), CategoricalPolicy(3, sizes[0], **options)
    else:
        space, policy = MultiDiscrete(sizes), MultiCategoricalPolicy(3, sizes, **options)
    env, value_fn = Drift(space, max_steps), ValueFunction(3, **options)
    plain = Plain(policy, value_fn, sizes, cfg)
    state = Learner(env, policy, value_fn, cfg, TOTAL)
    orders, permutations = [], state.order_streams.permutations
    state.order_streams.permutations = lambda *given: orders.append(permutations(*given)) or orders[-1]
    taken = []
    for iteration in range(3):
        env.moves, orders[:] = [], []
        first, steps = state.observation, iteration * STEPS * ENVIRONMENTS
        row = state.iterate()
        taken.append(plain.learn(first, env.moves, orders, cfg.learning_rate * cfg.rate_factor(steps, TOTAL)))
        assert row["gradient_steps"] == [taken[-1]]
        ours = (*policy.parameters(), *value_fn.parameters())
        for p, q in zip(ours, plain.parameters, strict=True):
            torch.testing.assert_close(p, q, rtol=1e-10, atol=1e-12)
    assert cfg.max_kl is None or min(taken) < 9, "no iteration stopped early"
