"""Proximal policy optimization, from top to bottom.

One iteration collects ``rollout_steps`` steps of every environment with the current policy, asks how much better each
action was than expected (:func:`gae`), and climbs the clipped objective (:func:`ppo_loss`) on minibatches of that fixed
batch. Everything has an optional leading dimension of *members*: seeds trained side by side.

What implementations differ in, and how it is here: policy and value function are two networks of two tanh layers of 64,
orthogonal with gain sqrt 2, the last layer of the policy with 0.01 and of the value function with 1, biases 0; Adam
with eps 1e-5 and a constant learning rate; advantages are standardized once over the whole batch of a member, not over
minibatches; returns are advantages plus values, from the values of the rollout, and are not computed again between
epochs; a truncated episode goes on with the value of its last observation; values are not clipped; the gradient of both
networks together is cut to norm 0.5; the loss has half the squared error of values, times ``vf_coef``; nothing is
normalized, and there is no early stop; :class:`PPOConfig` says what of this can be changed. Actions of a normal
distribution are not squashed, their spread does not depend on the state (log-std starts at -0.5, CleanRL's at 0, and is
held in [-3, 1]), and an environment that bounds actions clips them after their probability was taken.

Sources: Schulman et al., "Proximal Policy Optimization Algorithms", arXiv:1707.06347 (2017), equations 7 and 9;
Schulman et al., "High-Dimensional Continuous Control Using Generalized Advantage Estimation", arXiv:1506.02438,
equation 16; Hilton, Cobbe and Schulman, "Batch size-invariance for policy optimization", arXiv:2110.00641.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lib import checks
from lib._compiled import loops
from lib._plain_operations import needs_plain_operations
from lib.rl import checkpoints
from lib.rl.distributed import Processes
from lib.rl.envs.vec_env import VecEnv
from lib.rl.evaluation import evaluate
from lib.rl.optimizer import EWMA, ewma_decay
from lib.rl.ppo_config import PPOConfig, StepCut
from lib.rl.training_log import TrainingLog
from lib.rl.training_state import TrainingDiverged, TrainingState

__all__ = [
    "EWMA",
    "Learner",
    "PPOConfig",
    "StepCut",
    "TrainingDiverged",
    "approx_kl",
    "evaluate",
    "ewma_decay",
    "gae",
    "policy_loss",
    "ppo_loss",
    "train_ppo",
    "value_loss",
]

DIVERGENCE_SAMPLE = 4096
"""Transitions of a batch, at most, from which the divergence after an update is estimated."""


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
    adv = next_values.clone(memory_format=torch.contiguous_format)
    _gae_(adv, rewards, values, terminated, truncated, gamma, lam)
    return adv, adv + values


def _gae_(adv, rewards, values, terminated, truncated, gamma, lam) -> None:
    """:func:`gae` in place: ``adv`` comes as next_values."""
    adv.masked_fill_(terminated, 0).mul_(gamma).add_(rewards).sub_(values)
    serves = adv.is_cpu and adv.dtype in (torch.float32, torch.float64) and adv.numel() and not adv.requires_grad
    plain = not serves or needs_plain_operations(adv)
    kernels = None if plain else loops("lib.rl._advantages_numba", "advantages")
    if kernels:
        columns = (part.numpy().reshape(len(adv), -1) for part in (adv, terminated, truncated))
        kernels.accumulate(*columns, adv.numpy().dtype.type(gamma * lam))
        return
    ended = (terminated | truncated).unbind()
    steps = [adv[t] for t in range(len(adv))]  # what unbind returns could not be changed where there is a gradient
    for t in reversed(range(len(steps) - 1)):
        steps[t].add_(steps[t + 1].masked_fill(ended[t], 0), alpha=gamma * lam)


def policy_loss(
    logp: Tensor,
    logp_old: Tensor,
    adv: Tensor,
    clip: float,
    logp_anchor: Tensor | None = None,
) -> Tensor:
    """The clipped objective with its sign turned, of each transition; see :func:`ppo_loss`."""
    ratio = torch.exp(logp - (logp_old if logp_anchor is None else logp_anchor))
    gain = torch.min(ratio * adv, ratio.clamp(1 - clip, 1 + clip) * adv)
    return -gain if logp_anchor is None else -gain * torch.exp(logp_anchor - logp_old)


def value_loss(
    value: Tensor, returns: Tensor, value_old: Tensor | None = None, value_clip: float | None = None
) -> Tensor:
    """Half the squared error of each value; with a clip the larger of it and that of a value held near the old one."""
    error = (value - returns).square()
    if value_clip is not None:
        near = value_old + (value - value_old).clamp(-value_clip, value_clip)
        error = torch.max(error, (near - returns).square())
    return 0.5 * error


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
    logp, logp_old, adv, value, returns, entropy = (read.pop(name) for name in list(named)[:6])
    climbed = policy_loss(logp, logp_old, adv, clip, read.get("logp_anchor"))
    fitted = value_loss(value, returns, read.get("value_old"), value_clip)
    return (climbed + vf_coef * fitted - ent_coef * entropy).mean(-1)


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
    return _divergence(logp - logp_old)


def _divergence(log_ratio: Tensor) -> Tensor:
    return torch.expm1(log_ratio) - log_ratio


class Learner(TrainingState):
    """A training run, one iteration at a time; :func:`train_ppo` says what it is made from."""

    def iterate(self) -> dict[str, list[float]]:
        """Collect a rollout, learn from it, and return the row of the log: one number for each column and member."""
        self.flat.require_views()
        rate = self.rate * self.cfg.rate_factor(self.steps, self.total_steps)
        self.rollout()
        returned, length, count = self.ended_episodes()
        explained = self.advantages()
        losses, kl = self.update(rate)
        self.iteration += 1
        self.steps += self.per_iteration
        if self.observation_statistics:
            self.observation_statistics.update(self.buffer.observation, self.processes)
        return self.row(
            episode_return=returned / count,
            episode_length=length / count,
            episodes=count,
            approx_kl=kl,
            explained_variance=explained,
            data_to_divergence=self.per_iteration / kl,
            learning_rate=rate[:, 0].expand(self.rows),
            **losses,
        )

    @torch.no_grad()
    def rollout(self) -> None:
        """Fill the buffer with ``rollout_steps`` steps of every environment."""
        buffer = self.buffer
        # A few dozen environments and a small network are mostly calls: many steps are one call where that is possible.
        done = self.compiled_steps()
        with self.precision():
            for t in range(done, self.cfg.rollout_steps):
                buffer.observation[t] = self.observation
                action, logp = self.policy.sample(self.seen(buffer.observation[t]), self.action_streams)
                moved = self.env.step(action)
                buffer.record(t, action, logp, moved)
                self.observation = moved.observation
            buffer.fill_values(self.observation, lambda observation: self.value_fn(self.seen(observation)))

    @torch.no_grad()
    def advantages(self) -> Tensor:
        """Fill in advantages and targets, and return how much of the targets' variance the values explained."""
        cfg, buffer = self.cfg, self.buffer
        self.scale_rewards()
        with self.precision():
            adv = buffer.next_values(lambda observation: self.value_fn(self.seen(observation)), out=buffer.adv)
        _gae_(adv, buffer.reward, buffer.value, buffer.terminated, buffer.truncated, cfg.gamma, cfg.lam)
        returns = torch.add(adv, buffer.value, out=buffer.returns)
        over = (0, adv.dim() - 1)  # time and environments, not members
        variance, mean = self.processes.moments(adv, over)
        explained = 1 - variance / self.processes.moments(returns, over)[0]
        if cfg.normalize_advantages:
            adv.sub_(mean.unsqueeze(-1)).div_(variance.sqrt().unsqueeze(-1) + 1e-8)
        return explained.reshape(self.rows)

    def update(self, rate: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Climb: every epoch permutes the batch and takes a gradient step on each minibatch.

        Returns
        -------
        dict, Tensor
            Losses and the like, means over the gradient steps, and the divergence of the new policy from the one that
            collected the batch; (members or 1,).
        """
        cfg = self.cfg
        batch = self.flat_batch()
        share = cfg.minibatch // (self.shards * self.processes.size)
        held = cfg.rollout_steps * self.env.n // self.shards
        active = torch.ones_like(self.adam.count)
        taken = [(active.new_zeros(6, self.rows), active.new_zeros(1, self.rows))]
        whole = torch.int32 if batch[0].shape[0] < 2**31 else torch.int64
        order = None
        for _ in range(cfg.epochs):
            del order  # it is large: not two of them at a time
            order = self.order_streams.permutations(held, whole)
            for start in range(0, held - share + 1, share):
                found = self.gradient(batch, order[..., start : start + share])
                if cfg.max_kl is not None:
                    active = active * (found[2] <= cfg.max_kl).view(-1, 1)
                    if not bool(active.any()):
                        break
                norm = self.adam.step(rate, cfg.max_grad_norm, active)
                if self.average:
                    self.average.update(self.flat.data, active)
                taken.append((torch.cat([found, norm.mT]), active.mT))
        names = ("policy_loss", "entropy", "minibatch_kl", "clip_fraction", "value_loss", "gradient_norm")
        found, weight = (torch.stack(parts) for parts in zip(*taken))
        steps = weight.sum((0, 1))
        means = dict(zip(names, (found * weight).sum(0) / steps))
        del means["minibatch_kl"]
        return means | {"gradient_steps": steps}, self.divergence(batch, order)

    def gradient(self, batch: list[Tensor], order: Tensor) -> Tensor:
        """Set the gradient of the loss on a minibatch, tile by tile.

        Returns
        -------
        Tensor, (5, members or 1)
            Means of the policy loss, entropy, divergence from the behaviour policy, share of clipped ratios, and value
            loss.
        """
        self.flat.zero_grad()
        if order.is_cpu:
            # A minibatch is a set: in the order of the rollout its transitions are read several times as fast.
            order = torch.from_numpy(np.sort(order.numpy(), axis=-1))
        found = 0
        for tile in order.split(self.tile, dim=-1):
            observation, action, logp_old, adv, returns, *value_old = self.gathered(batch, tile)
            seen = self.seen(observation)
            anchor = self.anchored(seen, action) if self.average else None
            share = tile.shape[-1] / order.shape[-1] / self.processes.size
            # One network after the other: only one of them holds activations at a time.
            climbed = self.policy_gradient.add(seen, action, logp_old, adv, anchor, share)
            fitted = self.value_gradient.add(seen, returns, *value_old or (None,), share)
            found = found + torch.cat((climbed, fitted)) * share
        self.processes.sum_(self.flat.grad)
        return self.processes.sum_(found)

    @torch.no_grad()
    def divergence(self, batch: list[Tensor], order: Tensor) -> Tensor:
        """Divergence of the policy as it is now from the behaviour policy, on some transitions: (members or 1,)."""
        order = order[..., : max(1, DIVERGENCE_SAMPLE // (self.shards * self.processes.size))]
        kl = torch.zeros(self.rows, dtype=self.flat.data.dtype, device=order.device)
        for tile in order.split(self.tile, dim=-1):
            observation, action, logp_old = self.gathered(batch[:3], tile)
            logp = self.policy_gradient.log_probabilities(self.seen(observation), action)
            kl += _divergence(logp - logp_old).sum(-1).reshape(self.rows)
        return self.processes.sum_(kl) / (order.shape[1] * order.shape[2] * self.processes.size)


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
    if checkpoint is not None:
        checkpoints.file_to_write("checkpoint", checkpoint)
    learner = Learner(env, policy, value_fn, cfg, total_steps, processes)
    processes = learner.processes
    if resume is not None:
        learner.resume(resume)
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
            checkpoints.save_checkpoint(processes.file(checkpoint), saved)
        if progress is not None:
            note = f"return {sum(row['episode_return']) / learner.rows:.1f}, {speed:,.0f} steps/s"
            progress(total_steps if last or stop else learner.steps, total_steps, note)
    log.checkpoint = learner.state_dict() | {"log": log.state_dict()}
    return log
