"""Proximal policy optimization, from top to bottom.

One iteration collects ``rollout_steps`` steps of every environment with the current policy, asks how much better each
action was than expected (:func:`gae`), and climbs the clipped objective (:func:`ppo_loss`) on minibatches of that fixed
batch. Everything has an optional leading dimension of *members*: seeds trained side by side.

Sources: Schulman et al., "Proximal Policy Optimization Algorithms", arXiv:1707.06347 (2017), equations 7 and 9;
Schulman et al., "High-Dimensional Continuous Control Using Generalized Advantage Estimation", arXiv:1506.02438,
equation 16; Hilton, Cobbe and Schulman, "Batch size-invariance for policy optimization", arXiv:2110.00641.
"""

from __future__ import annotations

import copy
import math
import os
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from lib import checks
from lib.rl import checkpoints
from lib.rl.distributed import Processes
from lib.rl.envs.vec_env import VecEnv
from lib.rl.evaluation import check_pair, evaluate
from lib.rl.normalization import RunningStatistics
from lib.rl.optimizer import EWMA, Adam, FlatParameters, ewma_decay
from lib.rl.ppo_config import PPOConfig, StepCut
from lib.rl.rollout import EpisodeSums, Rollout
from lib.rl.training_log import TrainingLog

__all__ = [
    "EWMA",
    "Learner",
    "LossTerms",
    "PPOConfig",
    "StepCut",
    "TrainingDiverged",
    "approx_kl",
    "evaluate",
    "ewma_decay",
    "gae",
    "loss_terms",
    "ppo_loss",
    "train_ppo",
]


def gae(
    rewards: Tensor,
    values: Tensor,
    next_values: Tensor,
    terminated: Tensor,
    truncated: Tensor,
    gamma: float,
    lam: float,
) -> tuple[Tensor, Tensor]:
    """Generalized advantage estimation, backwards in time.

    delta_t = r_t + gamma V'_t (1 - terminated_t) - V_t and A_t = delta_t + gamma lam (1 - ended_t) A_{t+1}: a terminal
    state is worth nothing, a truncated episode is worth ``next_values`` at its last state, and neither looks into the
    next episode.

    Parameters
    ----------
    rewards, values : Tensor, (T, ...)
        Rewards r_t, and values V_t of the observations before the steps.
    next_values : Tensor, (T, ...)
        Values V'_t of what the steps led to, before any reset.
    terminated, truncated : Tensor of bool, (T, ...)
    gamma, lam : float
        Discount and lambda, from 0 to 1.

    Returns
    -------
    adv, returns : Tensor, (T, ...)
        Advantages A_t, and targets A_t + V_t of the value function.

    Raises
    ------
    ValueError
        If shapes differ or gamma or lam leave [0, 1].

    Examples
    --------
    >>> ends = torch.tensor([False, True])
    >>> ones = torch.ones(2)
    >>> gae(ones, 0 * ones, 5 * ones, ends, torch.zeros(2, dtype=torch.bool), gamma=0.9, lam=1.0)[0]
    tensor([6.4000, 1.0000])
    """
    rewards, values, next_values = checks.tensors(rewards=rewards, values=values, next_values=next_values)
    named = {"values": values, "next_values": next_values}
    for name, flags in (("terminated", terminated), ("truncated", truncated)):
        if not isinstance(flags, Tensor) or flags.dtype != torch.bool:
            raise ValueError(f"{name} must be a tensor of bool, got {checks.describe(flags)}")
        named[name] = flags
    if rewards.dim() == 0:
        raise ValueError(f"rewards must have shape (T, ...), got {checks.describe(rewards)}")
    for name, tensor in named.items():
        if tensor.shape != rewards.shape:
            raise ValueError(f"{name} must have the shape of rewards {tuple(rewards.shape)}, got {tuple(tensor.shape)}")
    gamma = checks.real_number("gamma", gamma, lowest=0, highest=1)
    lam = checks.real_number("lam", lam, lowest=0, highest=1)
    return _gae(rewards, values, next_values, terminated, truncated, gamma, lam)


def _gae(rewards, values, next_values, terminated, truncated, gamma, lam):
    adv = next_values.masked_fill(terminated, 0).mul_(gamma).add_(rewards).sub_(values)
    ended = terminated | truncated
    for t in reversed(range(len(adv) - 1)):
        adv[t].add_(adv[t + 1].masked_fill(ended[t], 0), alpha=gamma * lam)
    return adv, adv + values


class LossTerms(NamedTuple):
    """Parts of the loss, means over the minibatch, of shape () or (members,)."""

    policy: Tensor
    value: Tensor
    entropy: Tensor
    kl: Tensor
    clip_fraction: Tensor


def loss_terms(
    logp: Tensor,
    logp_old: Tensor,
    adv: Tensor,
    value: Tensor,
    returns: Tensor,
    entropy: Tensor,
    clip: float,
    *,
    logp_anchor: Tensor | None = None,
    value_old: Tensor | None = None,
    value_clip: float | None = None,
) -> LossTerms:
    """Parts of :func:`ppo_loss`, and what is reported about them."""
    reference = logp_old if logp_anchor is None else logp_anchor
    ratio = torch.exp(logp - reference)
    gain = torch.min(ratio * adv, ratio.clamp(1 - clip, 1 + clip) * adv)
    if logp_anchor is not None:
        gain = torch.exp(logp_anchor - logp_old) * gain
    error = (value - returns).square()
    if value_clip is not None:
        near = value_old + (value - value_old).clamp(-value_clip, value_clip)
        error = torch.max(error, (near - returns).square())
    with torch.no_grad():
        kl = _kl(logp, logp_old)
        clipped = ((ratio - 1).abs() > clip).to(ratio.dtype)
    return LossTerms(
        policy=-gain.mean(-1),
        value=0.5 * error.mean(-1),
        entropy=entropy.mean(-1),
        kl=kl.mean(-1),
        clip_fraction=clipped.mean(-1),
    )


def ppo_loss(
    logp: Tensor,
    logp_old: Tensor,
    adv: Tensor,
    value: Tensor,
    returns: Tensor,
    entropy: Tensor,
    clip: float,
    vf_coef: float,
    ent_coef: float,
    *,
    logp_anchor: Tensor | None = None,
    value_old: Tensor | None = None,
    value_clip: float | None = None,
) -> Tensor:
    """Loss of a minibatch: -mean min(rho A, clip(rho) A) + vf_coef mean (V - R)^2 / 2 - ent_coef mean H.

    rho = exp(logp - logp_old) is how much more likely an action became. With ``logp_anchor`` the two roles of the old
    policy are taken by two: rho = pi / pi_p is clipped around the anchor pi_p (PPO-EWMA), and pi_p / pi_b corrects for
    the behaviour pi_b that collected the data.

    Parameters
    ----------
    logp, logp_old : Tensor, (..., B)
        Log-probabilities of the actions under the policy and under the behaviour that took them, in nats.
    adv : Tensor, (..., B)
        Advantages A.
    value, returns : Tensor, (..., B)
        Values V of the value function, and their targets R.
    entropy : Tensor, (..., B)
        Entropies H of the policy, in nats.
    clip : float
        epsilon: the ratio earns nothing beyond 1 - epsilon and 1 + epsilon.
    vf_coef, ent_coef : float
        Weights of the value loss and of the entropy.
    logp_anchor : Tensor, (..., B), optional
        Log-probabilities under the anchor.
    value_old : Tensor, (..., B), optional
        Values when the data were collected; needed with ``value_clip``.
    value_clip : float, optional
        Values that move further than this from ``value_old`` earn nothing.

    Returns
    -------
    Tensor, (...)
        Means over the last dimension: one loss, or one for each member.

    Raises
    ------
    ValueError
        If shapes differ or a coefficient is out of range.

    Examples
    --------
    >>> rho = torch.tensor([0.7, 0.9, 1.1, 1.3], requires_grad=True)
    >>> zero, one = torch.zeros(4), torch.ones(4)
    >>> ppo_loss(rho.log(), zero, one, zero, zero, zero, clip=0.2, vf_coef=0.5, ent_coef=0.0).backward()
    >>> (-4 * rho.grad).tolist()
    [1.0, 1.0, 1.0, 0.0]
    """
    named = {"logp": logp, "logp_old": logp_old, "adv": adv, "value": value, "returns": returns, "entropy": entropy}
    optional = {"logp_anchor": logp_anchor, "value_old": value_old}
    named |= {name: tensor for name, tensor in optional.items() if tensor is not None}
    read = dict(zip(named, checks.tensors(**named)))
    for name, tensor in read.items():
        if tensor.dim() == 0 or tensor.shape != read["logp"].shape:
            raise ValueError(f"{name} must have the shape (..., B) of logp, got {tuple(tensor.shape)}")
    clip = checks.real_number("clip", clip, lowest=0, open_below=True)
    vf_coef = checks.real_number("vf_coef", vf_coef, lowest=0)
    ent_coef = checks.real_number("ent_coef", ent_coef, lowest=0)
    if value_clip is not None:
        value_clip = checks.real_number("value_clip", value_clip, lowest=0, open_below=True)
        if value_old is None:
            raise ValueError("value_old must be given with value_clip, got None")
    terms = loss_terms(**read, clip=clip, value_clip=value_clip)
    return terms.policy + vf_coef * terms.value - ent_coef * terms.entropy


def approx_kl(logp: Tensor, logp_old: Tensor) -> Tensor:
    """Divergence of the new policy from the old at each sample, KL(old || new) in the mean: (rho - 1) - log rho.

    It is never negative, unlike -log rho, of the same mean (the estimator k3 of J. Schulman, "Approximating KL
    Divergence", 2020).

    Parameters
    ----------
    logp, logp_old : Tensor, (...)
        Log-probabilities of actions that the old policy took, under the new and under the old.

    Returns
    -------
    Tensor, (...)
        In nats.

    Raises
    ------
    ValueError
        If the shapes differ.

    Examples
    --------
    >>> approx_kl(torch.tensor([-0.5, -1.0]), torch.tensor([-0.5, -0.5]))
    tensor([0.0000, 0.1065])
    """
    logp, logp_old = checks.tensors(logp=logp, logp_old=logp_old)
    if logp.shape != logp_old.shape:
        raise ValueError(f"logp_old must have the shape of logp {tuple(logp.shape)}, got {tuple(logp_old.shape)}")
    return _kl(logp, logp_old)


def _kl(logp: Tensor, logp_old: Tensor) -> Tensor:
    log_ratio = logp - logp_old
    return torch.expm1(log_ratio) - log_ratio


class TrainingDiverged(FloatingPointError):
    """Training met a loss or gradient that is not finite, and stopped.

    The policy and the value function are as they were before the iteration in which that happened.

    Attributes
    ----------
    iteration : int
    members : list of int
        Which members diverged; [0] for a single run.
    learning_rate : list of float
        Theirs.
    checkpoint : dict
        The last good state, for ``train_ppo(..., resume=...)``.
    log : TrainingLog
        All iterations before.
    """

    def __init__(self, what: str, iteration: int, members: list[int], learning_rate: list[float]):
        self.iteration, self.members, self.learning_rate = iteration, members, learning_rate
        self.checkpoint: dict[str, Any] = {}
        self.log: TrainingLog | None = None
        who = ", ".join(f"member {member} (learning rate {rate:g})" for member, rate in zip(members, learning_rate))
        super().__init__(
            f"{what} is not finite in iteration {iteration}, {who}. The attributes checkpoint and log of this error "
            "hold what was learned before: resume from there with a smaller step"
        )


class Learner:
    """The state of a training run, and one iteration of it; arguments as for :func:`train_ppo`.

    Attributes
    ----------
    iteration, steps : int
        Iterations, and environment steps of one member, so far.
    log : TrainingLog
    observation_statistics, reward_statistics : RunningStatistics or None
    """

    def __init__(
        self,
        env: VecEnv,
        policy: nn.Module,
        value_fn: nn.Module,
        cfg: PPOConfig,
        total_steps: int,
        processes: Processes | None = None,
    ):
        self.processes = processes or Processes()
        self.shards = _check_setting(env, policy, value_fn, cfg, total_steps, self.processes)
        self.env, self.policy, self.value_fn, self.cfg, self.total_steps = env, policy, value_fn, cfg, total_steps
        self.rows = env.members or 1
        self.tile = cfg.tile or min(
            (m.rows_per_tile for net in (policy, value_fn) for m in net.modules() if hasattr(m, "rows_per_tile")),
            default=4096,
        )
        self.per_iteration = cfg.rollout_steps * env.n * self.processes.size
        self.iteration = self.steps = 0
        self.log = TrainingLog(env.members)

        self.flat = FlatParameters([policy, value_fn], env.members)
        self.processes.require_equal("policy and value_fn", self.flat.data)
        self.adam = Adam(self.flat, cfg.adam_eps)
        self.rate = torch.tensor(cfg.learning_rate, dtype=self.flat.data.dtype, device=env.device).view(-1, 1)
        self.average = None
        if cfg.anchor_com is not None:
            self.average = EWMA(self.flat.data, ewma_decay(cfg.anchor_com))
            self.anchor = copy.deepcopy(policy)
            self.anchor_flat = FlatParameters([self.anchor], env.members)
        self.evaluate, self.value = policy.evaluate, value_fn
        if cfg.compile is not None:
            self.evaluate, self.value = (torch.compile(f, backend=cfg.compile) for f in (self.evaluate, self.value))

        self.action_streams = env.streams.beside("action")
        self.order_streams = env.streams.beside("minibatch")
        self.observation = env.reset()
        self.buffer = Rollout(env, cfg.rollout_steps, self.observation)
        self.episodes = EpisodeSums(env)
        self.observation_statistics = self.reward_statistics = None
        if cfg.normalize_observations:
            shape = self.observation.shape[len(env.batch) :]
            self.observation_statistics = RunningStatistics(env.batch, shape, env.dtype, env.device)
        if cfg.normalize_rewards:
            self.reward_statistics = RunningStatistics(env.batch, (), env.dtype, env.device)
            self.discounted = torch.zeros(env.batch, dtype=env.dtype, device=env.device)

    def iterate(self) -> dict[str, list[float]]:
        """Collect a rollout, learn from it, and return the row of the log: one number for each member and column."""
        rate = self.rate * self.cfg.rate_factor(self.steps, self.total_steps)
        self.rollout()
        totals = torch.stack([x.to(self.flat.data).reshape(self.rows) for x in self.episodes.close(self.buffer)])
        returned, length, count = self.processes.sum_(totals)
        adv, returns, explained = self.advantages()
        terms, norm, taken, kl = self.update(adv, returns, rate)
        self.iteration += 1
        self.steps += self.per_iteration
        if self.observation_statistics:
            self.observation_statistics.update(self.buffer.observation, self.processes)
        columns = {
            "episode_return": returned / count,
            "episode_length": length / count,
            "episodes": count,
            "approx_kl": kl,
            "clip_fraction": terms.clip_fraction,
            "entropy": terms.entropy,
            "explained_variance": explained,
            "data_to_divergence": self.per_iteration / kl,
            "policy_loss": terms.policy,
            "value_loss": terms.value,
            "gradient_norm": norm,
            "gradient_steps": taken,
            "learning_rate": rate[:, 0].expand(self.rows),
        }
        # The one place where the device is asked for numbers.
        row = dict(zip(columns, torch.stack(list(columns.values())).tolist()))
        for name in ("policy_loss", "value_loss", "gradient_norm", "approx_kl"):
            bad = [member for member, number in enumerate(row[name]) if not math.isfinite(number)]
            if bad:
                raise TrainingDiverged(name, self.iteration, bad, [row["learning_rate"][member] for member in bad])
        return row | {"iteration": [self.iteration] * self.rows, "steps": [self.steps] * self.rows}

    def seen(self, observation: Tensor) -> Tensor:
        """What the networks are shown of an observation."""
        return self.observation_statistics.normalize(observation) if self.observation_statistics else observation

    def precision(self) -> torch.autocast:
        """Autocast to bfloat16, if the settings ask for it."""
        return torch.autocast(self.env.device.type, torch.bfloat16, enabled=self.cfg.bf16)

    @torch.no_grad()
    def rollout(self) -> None:
        """Fill the buffer with ``rollout_steps`` steps of every environment."""
        buffer = self.buffer
        with self.precision():
            for t in range(self.cfg.rollout_steps):
                buffer.observation[t] = self.observation
                seen = self.seen(buffer.observation[t])
                action, logp = self.policy.sample(seen, self.action_streams)
                moved = self.env.step(action)
                buffer.record(t, action, logp, self.value_fn(seen), moved)
                self.observation = moved.observation
            buffer.last_value.copy_(self.value_fn(self.seen(self.observation)))

    @torch.no_grad()
    def advantages(self) -> tuple[Tensor, Tensor, Tensor]:
        """Advantages and targets of the rollout, and how much of the targets' variance the values explained."""
        cfg, buffer = self.cfg, self.buffer
        if self.reward_statistics:
            self._normalize_rewards()
        if cfg.reward_scale != 1:
            buffer.reward.mul_(cfg.reward_scale)
        with self.precision():
            next_values = buffer.next_values(lambda observation: self.value_fn(self.seen(observation)))
        adv, returns = _gae(
            buffer.reward, buffer.value, next_values, buffer.terminated, buffer.truncated, cfg.gamma, cfg.lam
        )
        over = (0, adv.dim() - 1)  # time and environments, not members
        variance, mean = self.processes.moments(adv, over)
        explained = 1 - variance / self.processes.moments(returns, over)[0]
        if cfg.normalize_advantages:
            adv.sub_(mean.unsqueeze(-1)).div_(variance.sqrt().unsqueeze(-1) + 1e-8)
        return adv, returns, explained.reshape(self.rows)

    def _normalize_rewards(self) -> None:
        """Divide rewards by the deviation of their discounted sums, as known so far; then take the new ones in."""
        buffer = self.buffer
        sums = torch.empty_like(buffer.reward)
        for t, reward in enumerate(buffer.reward):
            sums[t] = self.discounted.mul_(self.cfg.gamma).add_(reward)
            self.discounted.masked_fill_(buffer.terminated[t] | buffer.truncated[t], 0)
        buffer.reward.copy_(self.reward_statistics.scale(buffer.reward))
        self.reward_statistics.update(sums, self.processes)

    def update(self, adv: Tensor, returns: Tensor, rate: Tensor) -> tuple[LossTerms, Tensor, Tensor, Tensor]:
        """Climb: every epoch permutes the batch and takes a gradient step on each minibatch.

        Returns
        -------
        LossTerms, Tensor, Tensor, Tensor
            Means over the gradient steps, the mean norm of their gradients, their number, and the divergence of the new
            policy from the old; for each member.
        """
        cfg, buffer = self.cfg, self.buffer
        lead = len(self.env.batch)
        batch = [buffer.observation, buffer.action, buffer.logp, adv, returns]
        batch = [x.flatten(0, lead) for x in (*batch, buffer.value)[: 6 if cfg.value_clip else 5]]
        share = cfg.minibatch // (self.shards * self.processes.size)
        held = cfg.rollout_steps * self.env.n // self.shards
        active = torch.ones_like(self.adam.count)
        sums = torch.zeros(len(LossTerms._fields) + 2, self.rows, dtype=adv.dtype, device=adv.device)
        for _ in range(cfg.epochs):
            order = self.order_streams.permutations(held)
            for start in range(0, held - share + 1, share):
                found = self.gradient(batch, order[..., start : start + share])
                if cfg.max_kl is not None:
                    active = active * (found[LossTerms._fields.index("kl")] <= cfg.max_kl).view(-1, 1)
                    if not bool(active.any()):
                        break
                norm = self.adam.step(rate, cfg.max_grad_norm, active)
                if self.average:
                    self.average.update(self.flat.data, active)
                sums += torch.cat([found, norm.view(1, -1), torch.ones_like(norm).view(1, -1)]) * active[:, 0]
        terms = LossTerms(*(sums[:-2] / sums[-1]))
        return terms, sums[-2] / sums[-1], sums[-1], self.divergence(batch, order)

    def gradient(self, batch: list[Tensor], order: Tensor) -> Tensor:
        """Set the gradient of the loss on a minibatch, tile by tile, and return the means of the loss's terms."""
        cfg = self.cfg
        self.flat.zero_grad()
        found = 0
        for tile in order.split(max(1, self.tile // self.shards), dim=-1):
            observation, action, logp_old, adv, returns, *value_old = self.gathered(batch, tile)
            seen = self.seen(observation)
            with self.precision():
                logp, entropy = self.evaluate(seen, action)
                value = self.value(seen).to(returns.dtype)
            terms = loss_terms(
                logp,
                logp_old,
                adv,
                value,
                returns,
                entropy,
                cfg.clip,
                logp_anchor=self.anchored(seen, action) if self.average else None,
                value_old=value_old[0] if value_old else None,
                value_clip=cfg.value_clip,
            )
            share = tile.shape[-1] / order.shape[-1] / self.processes.size
            loss = terms.policy + cfg.vf_coef * terms.value - cfg.ent_coef * terms.entropy
            (loss.sum() * share).backward()
            found = found + torch.stack([term.detach().reshape(self.rows) for term in terms]) * share
        self.processes.sum_(self.flat.grad)
        return self.processes.sum_(found)

    def gathered(self, batch: list[Tensor], order: Tensor) -> list[Tensor]:
        """Transitions of a minibatch, (k, ...) or (members, k, ...).

        ``order`` (members or 1, shards, k) counts the transitions of each shard alone, time first; here they become
        places in tensors (T * members * n, ...) that all members and shards share.
        """
        part = self.env.n // self.shards
        place = order
        if self.rows * self.shards > 1:
            beside = torch.arange(self.rows * self.shards, device=order.device).view(self.rows, self.shards, 1)
            place = order + (order // part * (self.rows * self.shards - 1) + beside) * part
        lead = place.shape[:1] if self.env.members else ()
        place = place.flatten()
        return [x.index_select(0, place).unflatten(0, (*lead, -1)) for x in batch]

    @torch.no_grad()
    def anchored(self, seen: Tensor, action: Tensor) -> Tensor:
        """Log-probabilities of actions under the average of past policies."""
        average = self.average.average[0]
        self.anchor_flat.data.copy_(average[:, : self.anchor_flat.data.shape[1]])
        with self.precision():
            return self.anchor.evaluate(seen, action)[0]

    @torch.no_grad()
    def divergence(self, batch: list[Tensor], order: Tensor) -> Tensor:
        """Divergence of the policy as it is now from the behaviour policy, from the first transitions of an order."""
        observation, action, logp_old = self.gathered(batch[:3], order[..., : max(1, self.tile // self.shards)])
        with self.precision():
            logp = self.evaluate(self.seen(observation), action)[0]
        kl = _kl(logp, logp_old).mean(-1).reshape(self.rows)
        return self.processes.sum_(kl) / self.processes.size

    def state_dict(self) -> dict[str, Any]:
        """Everything that decides what comes next, except the settings; the log is not in it."""
        env = self.env.state_dict() if hasattr(self.env, "state_dict") else None
        state = {
            "iteration": self.iteration,
            "steps": self.steps,
            "parameters": self.flat.data,
            "adam": self.adam.state_dict(),
            "average": self.average and self.average.state_dict(),
            "action_streams": self.action_streams.state_dict(),
            "order_streams": self.order_streams.state_dict(),
            "observation_statistics": self.observation_statistics and self.observation_statistics.state_dict(),
            "reward_statistics": self.reward_statistics and self.reward_statistics.state_dict(),
            "environment": env
            and {
                "env": env,
                "observation": self.observation,
                "episodes": [self.episodes.reward, self.episodes.steps],
                "discounted": self.discounted if self.reward_statistics else None,
            },
        }
        return checkpoints.copied(state)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from where :meth:`state_dict` stood."""
        state = checkpoints.copied(state, self.env.device)
        self.iteration, self.steps = state["iteration"], state["steps"]
        self.flat.data.copy_(state["parameters"])
        self.adam.load_state_dict(state["adam"])
        self.action_streams.load_state_dict(state["action_streams"])
        self.order_streams.load_state_dict(state["order_streams"])
        for name in ("average", "observation_statistics", "reward_statistics"):
            if getattr(self, name):
                getattr(self, name).load_state_dict(state[name])
        if state["environment"] is not None:
            self.env.load_state_dict(state["environment"]["env"])
            self.observation = state["environment"]["observation"]
            self.episodes.reward, self.episodes.steps = state["environment"]["episodes"]
            if self.reward_statistics:
                self.discounted = state["environment"]["discounted"]


def train_ppo(
    env: VecEnv,
    policy: nn.Module,
    value_fn: nn.Module,
    cfg: PPOConfig,
    total_steps: int,
    callback: Callable[[Learner], Any] | None = None,
    *,
    checkpoint: str | os.PathLike | None = None,
    checkpoint_every: int = 10,
    resume: str | os.PathLike | dict[str, Any] | None = None,
    progress: Callable[[int, int, str], None] | None = None,
    processes: Processes | None = None,
) -> TrainingLog:
    """Train a policy and a value function in place.

    Parameters
    ----------
    env : VecEnv
        N environments. They are reset here, unless a run is resumed. All random numbers come from streams that derive
        from theirs; with several seeds, as many members are trained side by side, each as it would be alone.
    policy, value_fn : torch.nn.Module
        From :mod:`lib.rl.policies`, with as many members. Their parameters become views into one tensor.
    cfg : PPOConfig
    total_steps : int
        Environment steps of each member, over all processes: as many whole iterations of N T steps as fit.
    callback : callable, optional
        Called with the :class:`Learner` after every iteration; training stops when it returns something true.
    checkpoint : str or path, optional
        File to write after every ``checkpoint_every``-th iteration and the last one, whole or not at all. Several
        processes write a file each, with their rank added to the name.
    checkpoint_every : int
    resume : str, path or dict, optional
        Checkpoint to go on from, with a file's name or as ``TrainingLog.checkpoint``. With the same settings, on the
        same CPU, the run is then the same to the bit as one that was never interrupted.
    progress : callable, optional
        Called with steps done, all steps and a note, such as a :class:`lib.progress.ProgressBar`.
    processes : Processes, optional
        Processes that train together; see :mod:`lib.rl.distributed`.

    Returns
    -------
    TrainingLog
        One row for each iteration (and member); its ``checkpoint`` is the state at the end.

    Raises
    ------
    ValueError
        If arguments do not fit each other.
    TrainingDiverged
        If a loss or gradient is not finite.

    Examples
    --------
    >>> from lib.rl.envs.cart_pole import CartPole
    >>> from lib.rl.policies import CategoricalPolicy, ValueFunction
    >>> env = CartPole(8, seed=0)
    >>> cfg = PPOConfig(rollout_steps=32, minibatch=64)
    >>> log = train_ppo(env, CategoricalPolicy(4, 2), ValueFunction(4), cfg, total_steps=512)
    >>> log["steps"].tolist(), log["gradient_steps"].tolist()
    ([256.0, 512.0], [16.0, 16.0])
    """
    checks.callback("callback", callback)
    checks.callback("progress", progress)
    checks.integer("checkpoint_every", checkpoint_every, lowest=1)
    learner = Learner(env, policy, value_fn, cfg, total_steps, processes)
    processes = learner.processes
    if resume is not None:
        resume = resume if isinstance(resume, dict) else checkpoints.load_checkpoint(_of_rank(resume, processes))
        checkpoints.require_fit(resume, learner.state_dict())
        learner.load_state_dict(resume)
        learner.log.load_state_dict(resume["log"])
    log = learner.log
    began, first, stop = time.perf_counter(), learner.steps, False
    while learner.steps + learner.per_iteration <= total_steps and not stop:
        good = learner.state_dict()
        try:
            row = learner.iterate()
        except TrainingDiverged as problem:
            learner.load_state_dict(good)
            problem.checkpoint, problem.log = good | {"log": log.state_dict()}, log
            raise
        seconds = time.perf_counter() - began
        speed = (learner.steps - first) * learner.rows / seconds
        log.append(row, {"seconds": seconds, "steps_per_second": speed})
        last = learner.steps + learner.per_iteration > total_steps
        if callback is not None:
            stop = bool(processes.sum_(torch.tensor(float(bool(callback(learner))), device=env.device)))
        if checkpoint is not None and (last or stop or learner.iteration % checkpoint_every == 0):
            saved = learner.state_dict() | {"log": log.state_dict()}
            checkpoints.save_checkpoint(_of_rank(checkpoint, processes), saved)
        if progress is not None:
            note = f"return {sum(row['episode_return']) / learner.rows:.1f}, {speed:,.0f} steps/s"
            progress(total_steps if last or stop else learner.steps, total_steps, note)
    log.checkpoint = learner.state_dict() | {"log": log.state_dict()}
    return log


def _of_rank(path: str | os.PathLike, processes: Processes) -> str | os.PathLike:
    """The file of this process."""
    return path if processes.size == 1 else f"{os.fspath(path)}.rank{processes.rank}"


def _check_setting(env, policy, value_fn, cfg, total_steps, processes) -> int:
    """Check what trains together, and return the number of shards held here."""
    check_pair(env, policy)
    if not isinstance(value_fn, nn.Module) or getattr(value_fn, "members", None) != env.members:
        raise ValueError(f"value_fn must be a module with members={env.members}, got {checks.describe(value_fn)}")
    if not isinstance(cfg, PPOConfig):
        raise ValueError(f"cfg must be a PPOConfig, got {checks.describe(cfg)}")
    if not isinstance(processes, Processes):
        raise ValueError(f"processes must be Processes or None, got {checks.describe(processes)}")
    if isinstance(cfg.learning_rate, tuple) and len(cfg.learning_rate) != (env.members or 1):
        raise ValueError(f"learning_rate must be {env.members or 1} numbers, got {cfg.learning_rate}")
    shards = len(env.streams.blocks[0])
    batch = cfg.rollout_steps * env.n * processes.size
    if cfg.minibatch > batch or (batch % cfg.minibatch and not cfg.drop_last):
        raise ValueError(
            f"minibatch must divide the {batch} transitions of an iteration (rollout_steps * n), or be smaller with "
            f"drop_last=True, got {cfg.minibatch}"
        )
    if cfg.minibatch % (shards * processes.size):
        raise ValueError(f"minibatch must be a multiple of the {shards * processes.size} shards, got {cfg.minibatch}")
    if checks.integer("total_steps", total_steps, lowest=1) < batch:
        raise ValueError(f"total_steps must allow an iteration of {batch} steps, got {total_steps}")
    return shards
