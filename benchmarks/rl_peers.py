"""Reinforcement learning as others write it: what ``benchmarks/rl.py`` compares with.

Every learner takes the same :class:`Settings` and one call is one whole update: rollout, advantages, all epochs. The
compiled one has the shape of PureJaxRL's ``ppo.py`` (environments, network and update in one ``jit``), written for
gymnax 1.0's step; the loop has the shape of CleanRL's ``ppo.py``. Both count a truncated episode as ended, as their
models do.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np
import torch
from torch import Tensor, nn

PEERS = ("jax", "gymnax", "flax", "optax", "gymnasium", "stable_baselines3")
INSTALLED = {name: find_spec(name) is not None for name in PEERS}
# All that the compiled learner needs.
COMPILED = all(INSTALLED[name] for name in ("jax", "gymnax", "flax", "optax"))


@dataclass(frozen=True)
class Settings:
    """One PPO for all: PureJaxRL's values. ``minibatches`` divides ``steps`` times the environments."""

    steps: int = 128
    epochs: int = 4
    minibatches: int = 4
    learning_rate: float = 2.5e-4
    gamma: float = 0.99
    lam: float = 0.95
    clip: float = 0.2
    entropy: float = 0.01
    value: float = 0.5
    norm: float = 0.5
    width: int = 64


# Environments on their own; actions are drawn before.


def gymnax_steps(name: str, actions: np.ndarray, seed: int = 0) -> Callable:
    """One step a row of actions (time, environments, ...), in one compiled scan; a call returns the ended episodes."""
    import gymnax
    import jax

    env, params = gymnax.make(name)
    count = actions.shape[1]
    step = jax.vmap(env.step, in_axes=(0, 0, 0, None))
    key = jax.random.PRNGKey(seed)
    obs, state = jax.vmap(env.reset, in_axes=(0, None))(jax.random.split(key, count), params)

    @jax.jit
    def run(carry, actions):
        def one(carry, action):
            _, state, key = carry
            key, now = jax.random.split(key)
            obs, state, _, terminated, truncated, _ = step(jax.random.split(now, count), state, action, params)
            return (obs, state, key), (terminated | truncated).sum()

        return jax.lax.scan(one, carry, actions)

    there = jax.device_put(actions)
    box = [(obs, state, key)]

    def call():
        box[0], ended = run(box[0], there)
        return jax.block_until_ready(ended)

    return call


def gymnax_cart_pole(states: np.ndarray, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Next states (n, 4) and whether they are terminal, one step from given states."""
    import gymnax
    import jax
    from gymnax.environments.classic_control.cartpole import EnvState

    env, params = gymnax.make("CartPole-v1")

    def one(state, action):
        obs, _, _, terminated, _ = env.step_env(jax.random.PRNGKey(0), EnvState(0, *state), action, params)
        return obs, terminated

    obs, terminated = jax.vmap(one)(jax.numpy.asarray(states, dtype="float32"), jax.numpy.asarray(actions))
    return np.asarray(obs), np.asarray(terminated)


def gymnasium_cart_pole(states: np.ndarray, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Next states (n, 4), in float64, and whether they are terminal, one step from given states."""
    import gymnasium

    env = gymnasium.make("CartPole-v1").unwrapped
    found, ended = [], []
    for state, action in zip(states, actions):
        env.reset()
        env.state = np.array(state, dtype=np.float64)
        ended.append(env.step(int(action))[2])
        found.append(np.array(env.state))
    return np.array(found), np.array(ended)


def gymnasium_vector(count: int):
    """CartPole in gymnasium's own vector, one Python object an environment, which starts anew in the same step."""
    import gymnasium

    mode = gymnasium.vector.AutoresetMode.SAME_STEP
    return gymnasium.vector.SyncVectorEnv([lambda: gymnasium.make("CartPole-v1")] * count, autoreset_mode=mode)


def gymnasium_steps(actions: np.ndarray, seed: int = 0) -> Callable:
    """As :func:`gymnax_steps`, for gymnasium's vector of CartPoles."""
    env = gymnasium_vector(actions.shape[1])
    env.reset(seed=seed)

    def call():
        for action in actions:
            env.step(action)

    return call


# Learners.


def pure_jax_ppo(count: int, settings: Settings, seed: int = 0) -> Callable:
    """PPO on gymnax's CartPole after PureJaxRL: a call is one compiled update and returns the mean finished return."""
    import flax.linen as layers
    import gymnax
    import jax
    import jax.numpy as jnp
    import optax

    env, params = gymnax.make("CartPole-v1")
    step_all = jax.vmap(env.step, in_axes=(0, 0, 0, None))
    rows = settings.steps * count

    class ActorCritic(layers.Module):
        @layers.compact
        def __call__(self, obs):
            outputs = []
            for outs, gain in ((env.num_actions, 0.01), (1, 1.0)):
                hidden = obs
                for _ in range(2):
                    start = layers.initializers.orthogonal(math.sqrt(2))
                    hidden = layers.tanh(layers.Dense(settings.width, kernel_init=start)(hidden))
                outputs.append(layers.Dense(outs, kernel_init=layers.initializers.orthogonal(gain))(hidden))
            return outputs[0], outputs[1].squeeze(-1)

    network = ActorCritic()
    optimizer = optax.chain(optax.clip_by_global_norm(settings.norm), optax.adam(settings.learning_rate, eps=1e-5))

    def taken(logits, action):
        log_probabilities = jax.nn.log_softmax(logits)
        return log_probabilities, jnp.take_along_axis(log_probabilities, action[:, None], 1)[:, 0]

    def rollout_step(carry, _):
        weights, state, obs, returns, key = carry
        key, key_action, key_step = jax.random.split(key, 3)
        logits, value = network.apply(weights, obs)
        action = jax.random.categorical(key_action, logits)
        _, logp = taken(logits, action)
        keys = jax.random.split(key_step, count)
        after, state, reward, terminated, truncated, _ = step_all(keys, state, action, params)
        done = terminated | truncated
        returns = returns + reward
        finished = jnp.where(done, returns, 0.0).sum()
        carry = (weights, state, after, jnp.where(done, 0.0, returns), key)
        return carry, (obs, action, logp, value, reward, done.astype(jnp.float32), finished)

    def gae_step(carry, now):
        advantage, following = carry
        value, reward, done = now
        delta = reward + settings.gamma * following * (1 - done) - value
        advantage = delta + settings.gamma * settings.lam * (1 - done) * advantage
        return (advantage, value), advantage

    def loss(weights, batch):
        obs, action, logp_old, advantage, target, value_old = batch
        logits, value = network.apply(weights, obs)
        log_probabilities, logp = taken(logits, action)
        near = value_old + jnp.clip(value - value_old, -settings.clip, settings.clip)
        value_loss = 0.5 * jnp.maximum((value - target) ** 2, (near - target) ** 2).mean()
        ratio = jnp.exp(logp - logp_old)
        advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
        clipped = jnp.clip(ratio, 1 - settings.clip, 1 + settings.clip)
        policy_loss = -jnp.minimum(ratio * advantage, clipped * advantage).mean()
        entropy = -(jnp.exp(log_probabilities) * log_probabilities).sum(-1).mean()
        return policy_loss + settings.value * value_loss - settings.entropy * entropy

    def minibatch_step(carry, batch):
        weights, moments = carry
        change, moments = optimizer.update(jax.grad(loss)(weights, batch), moments)
        return (optax.apply_updates(weights, change), moments), None

    @jax.jit
    def update(weights, moments, state, obs, returns, key):
        carry = (weights, state, obs, returns, key)
        (_, state, obs, returns, key), stored = jax.lax.scan(rollout_step, carry, None, settings.steps)
        seen, action, logp, value, reward, done, finished = stored
        last = network.apply(weights, obs)[1]
        start = (jnp.zeros(count), last)
        _, advantage = jax.lax.scan(gae_step, start, (value, reward, done), reverse=True)
        flat = [
            each.reshape(rows, *each.shape[2:]) for each in (seen, action, logp, advantage, advantage + value, value)
        ]

        def epoch(carry, _):
            weights, moments, key = carry
            key, key_order = jax.random.split(key)
            order = jax.random.permutation(key_order, rows)
            batches = [each[order].reshape(settings.minibatches, -1, *each.shape[1:]) for each in flat]
            (weights, moments), _ = jax.lax.scan(minibatch_step, (weights, moments), batches)
            return (weights, moments, key), None

        (weights, moments, key), _ = jax.lax.scan(epoch, (weights, moments, key), None, settings.epochs)
        return weights, moments, state, obs, returns, key, finished.sum() / jnp.maximum(done.sum(), 1.0)

    key, key_weights, key_reset = jax.random.split(jax.random.PRNGKey(seed), 3)
    weights = network.init(key_weights, jnp.zeros(4))
    obs, state = jax.vmap(env.reset, in_axes=(0, None))(jax.random.split(key_reset, count), params)
    box = [weights, optimizer.init(weights), state, obs, jnp.zeros(count), key]

    def call():
        *box[:], finished = update(*box)
        return float(finished)

    return call


def sb3_ppo(count: int, settings: Settings, seed: int = 0, **changed):
    """Stable-Baselines3's learner on CartPole; ``learn(steps * count, reset_num_timesteps=False)`` is one update."""
    from stable_baselines3 import PPO
    from stable_baselines3.common.env_util import make_vec_env

    given = {
        "learning_rate": settings.learning_rate,
        "n_steps": settings.steps,
        "batch_size": settings.steps * count // settings.minibatches,
        "n_epochs": settings.epochs,
        "gamma": settings.gamma,
        "gae_lambda": settings.lam,
        "clip_range": settings.clip,
        "clip_range_vf": settings.clip,
        "ent_coef": settings.entropy,
        "vf_coef": settings.value,
        "max_grad_norm": settings.norm,
        "policy_kwargs": {"net_arch": {"pi": [settings.width] * 2, "vf": [settings.width] * 2}},
    }
    env = make_vec_env("CartPole-v1", count, seed=seed)
    return PPO("MlpPolicy", env, seed=seed, device="cpu", **(given | changed))


class CleanLoop:
    """PPO in the shape of CleanRL's single file: a Python loop over gymnasium's vector, autograd, minibatches in order.

    Parameters
    ----------
    count : int
        Environments.
    settings : Settings
        Rollout, losses and network; advantages are standardised in each minibatch and the value loss is clipped.
    seed : int
        Seed of the environments, the weights and the order of the minibatches.
    """

    def __init__(self, count: int, settings: Settings, seed: int = 0):
        self.count, self.settings = count, settings
        self.generator = torch.Generator().manual_seed(seed)
        self.order = np.random.default_rng(seed)
        self.env = gymnasium_vector(count)
        self.actor, self.critic = self._network(2, 0.01), self._network(1, 1.0)
        self.weights = [*self.actor.parameters(), *self.critic.parameters()]
        self.optimizer = torch.optim.Adam(self.weights, lr=settings.learning_rate, eps=1e-5)
        self.obs = torch.as_tensor(self.env.reset(seed=seed)[0])
        self.done = torch.zeros(count)

    def _network(self, outs: int, gain: float) -> nn.Sequential:
        width = self.settings.width
        layers: list[nn.Module] = []
        for rows, columns, scale in ((width, 4, math.sqrt(2)), (width, width, math.sqrt(2)), (outs, width, gain)):
            layer = nn.Linear(columns, rows)
            nn.init.orthogonal_(layer.weight, scale, generator=self.generator)
            nn.init.zeros_(layer.bias)
            layers += [layer, nn.Tanh()]
        return nn.Sequential(*layers[:-1])

    def mode(self, obs: Tensor) -> Tensor:
        """The likelier action of each row of observations."""
        with torch.no_grad():
            return self.actor(obs).argmax(-1)

    def update(self) -> None:
        """One rollout and all epochs on it."""
        settings, count = self.settings, self.count
        observations = torch.zeros(settings.steps, count, 4)
        actions, logps, rewards, dones, values = (torch.zeros(settings.steps, count) for _ in range(5))
        for t in range(settings.steps):
            observations[t], dones[t] = self.obs, self.done
            with torch.no_grad():
                logits = self.actor(self.obs)
                chosen = torch.distributions.Categorical(logits=logits)
                action = torch.multinomial(chosen.probs, 1, generator=self.generator)[:, 0]
                values[t] = self.critic(self.obs).flatten()
            actions[t], logps[t] = action, chosen.log_prob(action)
            obs, reward, terminated, truncated, _ = self.env.step(action.numpy())
            rewards[t] = torch.as_tensor(reward)
            self.obs = torch.as_tensor(obs)
            self.done = torch.as_tensor(np.logical_or(terminated, truncated)).float()
        with torch.no_grad():
            following = self.critic(self.obs).flatten()
        advantages = torch.zeros_like(rewards)
        advantage, alive = torch.zeros(count), 1 - self.done
        for t in reversed(range(settings.steps)):
            delta = rewards[t] + settings.gamma * following * alive - values[t]
            advantage = delta + settings.gamma * settings.lam * alive * advantage
            advantages[t], following, alive = advantage, values[t], 1 - dones[t]
        stored = (observations, actions, logps, advantages, advantages + values, values)
        self._learn([each.flatten(0, 1) for each in stored])

    def _learn(self, stored: list[Tensor]) -> None:
        settings = self.settings
        rows = settings.steps * self.count
        index = np.arange(rows)
        for _ in range(settings.epochs):
            self.order.shuffle(index)
            for part in np.split(index, settings.minibatches):
                obs, action, logp_old, advantage, target, value_old = (each[part] for each in stored)
                chosen = torch.distributions.Categorical(logits=self.actor(obs))
                value = self.critic(obs).flatten()
                ratio = torch.exp(chosen.log_prob(action) - logp_old)
                advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
                clipped = ratio.clamp(1 - settings.clip, 1 + settings.clip)
                policy_loss = torch.max(-advantage * ratio, -advantage * clipped).mean()
                near = value_old + (value - value_old).clamp(-settings.clip, settings.clip)
                value_loss = 0.5 * torch.max((value - target) ** 2, (near - target) ** 2).mean()
                entropy = chosen.entropy().mean()
                self.optimizer.zero_grad()
                (policy_loss - settings.entropy * entropy + settings.value * value_loss).backward()
                nn.utils.clip_grad_norm_(self.weights, settings.norm)
                self.optimizer.step()
