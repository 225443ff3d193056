"""What a training run holds between its iterations: everything that a checkpoint keeps, and how it is put together."""

from __future__ import annotations

import contextlib
import copy
import math
import os
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from lib import checks
from lib.rl import checkpoints
from lib.rl._gradients import PolicyGradient, ValueGradient
from lib.rl.distributed import Processes
from lib.rl.envs._cart_pole_rollout import CompiledRollout
from lib.rl.envs.vec_env import VecEnv
from lib.rl.evaluation import check_observations, check_pair
from lib.rl.normalization import RunningStatistics
from lib.rl.optimizer import EWMA, Adam, FlatParameters, ewma_decay
from lib.rl.ppo_config import PPOConfig
from lib.rl.rollout import EpisodeSums, Rollout
from lib.rl.training_log import TrainingLog

__all__ = ["TrainingDiverged", "TrainingState"]

PARTS = 112
"""A rollout of CartPole keeps some 50 bytes of a transition, two layers of 64 tanh units and the gradient of one 768:
one part in 112 that passes through the networks adds about a seventh to the memory of an update."""

FEWEST = 1170
"""Fewer rows at once cost more calls than they save memory."""

SMALL = 2**15
"""A rollout of so many transitions keeps a megabyte or two: its tiles are as large as the networks like them."""


class TrainingDiverged(FloatingPointError):
    """Training met a loss or gradient that is not finite, and stopped.

    The policy and the value function are as they were before the iteration in which that happened.

    Attributes
    ----------
    what : str
        Column of the log, or statistics, that are not finite.
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
        # The arguments as they came: from them an error is made anew when it passes between processes.
        super().__init__(what, iteration, members, learning_rate)
        self.what, self.iteration, self.members, self.learning_rate = what, iteration, members, learning_rate
        self.checkpoint: dict[str, Any] = {}
        self.log: TrainingLog | None = None

    def __str__(self) -> str:
        pairs = zip(self.members, self.learning_rate)
        who = ", ".join(f"member {member} (learning rate {rate:g})" for member, rate in pairs)
        return (
            f"{self.what} is not finite in iteration {self.iteration}, {who}. The attributes checkpoint and log of "
            "this error hold what was learned before: resume from there with a smaller step"
        )


class TrainingState:
    """Environments, networks, optimizer, random streams and statistics of a training run.

    Parameters
    ----------
    env, policy, value_fn, cfg, total_steps, processes
        As for :func:`lib.rl.ppo.train_ppo`.

    Attributes
    ----------
    iteration, steps : int
        Iterations, and environment steps of one member, so far.
    rows, shards : int
        Number of members (1 without), and of shards held by this process.
    per_iteration : int
        Environment steps of one member in an iteration, over all processes.
    tile : int
        Transitions of each member and shard that pass through the networks at once.
    log : TrainingLog
    observation_statistics, reward_statistics : RunningStatistics or None

    Raises
    ------
    ValueError
        If arguments do not fit each other.
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
        self.tile = max(1, (cfg.tile or _tile(env, policy, value_fn, cfg)) // self.shards)
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

        def given(module: nn.Module, call: Callable) -> tuple:
            return module, self._as_configured(call), self.flat, cfg.compile is None and not cfg.bf16

        self.policy_gradient = PolicyGradient(*given(policy, policy.evaluate), clip=cfg.clip, ent_coef=cfg.ent_coef)
        self.value_gradient = ValueGradient(
            *given(value_fn, value_fn), clip=cfg.value_clip, coefficient=cfg.vf_coef, beside=self.policy_gradient
        )

        self.action_streams = env.streams.beside("action")
        self.order_streams = env.streams.beside("minibatch")
        self.compiled_rollout: CompiledRollout | None = None
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
        self._check_networks()

    @torch.no_grad()
    def _check_networks(self) -> None:
        """Ask the networks once: a column (n, 1) beside numbers (n,) would fail far from here, or become (n, n)."""
        before = self.action_streams.state_dict()
        seen = self.seen(self.observation)
        with self.precision():
            action, logp = self.policy.sample(seen, self.action_streams)
            scored, entropy = self.policy.evaluate(seen, action)
            value = self.value_fn(seen)
        self.action_streams.load_state_dict(before)
        found = {"policy.sample": logp, "policy.evaluate": scored, "the entropy of policy": entropy, "value_fn": value}
        for name, numbers in found.items():
            if not isinstance(numbers, Tensor) or numbers.shape != self.env.batch:
                wanted = f"a number for each observation, of shape {self.env.batch}"
                raise ValueError(f"{name} must return {wanted}, got {checks.describe(numbers)}")

    @torch.no_grad()
    def compiled_steps(self) -> int:
        """Take steps of the rollout in compiled loops, as many as serve: how many were taken."""
        plain = not (self.cfg.bf16 or torch.is_autocast_enabled("cpu") or self.observation_statistics)
        if not plain or not CompiledRollout.serves(self.env, self.policy):
            return 0
        if self.compiled_rollout is None:
            self.compiled_rollout = CompiledRollout(self.env, self.policy, self.flat, self.action_streams)
        done = self.compiled_rollout.collect(self.buffer)
        self.observation = self.env.observe(self.env.state, self.env.params) if done else self.observation
        return done

    def seen(self, observation: Tensor) -> Tensor:
        """What the networks are shown of an observation."""
        return self.observation_statistics.normalize(observation) if self.observation_statistics else observation

    def precision(self) -> contextlib.AbstractContextManager:
        """Autocast to bfloat16, if the settings ask for it."""
        kind = self.env.device.type
        if not self.cfg.bf16 and not torch.is_autocast_enabled(kind):
            return contextlib.nullcontext()  # to make one takes as long as some operations on a tile
        return torch.autocast(kind, torch.bfloat16, enabled=self.cfg.bf16)

    def _as_configured(self, call: Callable) -> Callable:
        """A function of networks, compiled and in the precision that the settings ask for."""
        run = call if self.cfg.compile is None else torch.compile(call, backend=self.cfg.compile)

        def evaluate(*inputs: Tensor) -> Any:
            with self.precision():
                return run(*inputs)

        return evaluate

    def ended_episodes(self) -> Tensor:
        """Sum of returns, sum of lengths and number of the episodes that ended in the rollout: (3, members or 1)."""
        totals = [x.to(self.flat.data).reshape(self.rows) for x in self.episodes.close(self.buffer)]
        return self.processes.sum_(torch.stack(totals))

    @torch.no_grad()
    def scale_rewards(self) -> None:
        """Scale the rewards of the rollout as the settings ask for."""
        if self.reward_statistics:
            self._normalize_rewards()
        if self.cfg.reward_scale != 1:
            self.buffer.reward.mul_(self.cfg.reward_scale)

    def _normalize_rewards(self) -> None:
        """Divide rewards by the deviation of their discounted sums, those of this rollout included."""
        buffer = self.buffer
        sums = torch.empty_like(buffer.reward)
        for t, reward in enumerate(buffer.reward):
            sums[t] = self.discounted.mul_(self.cfg.gamma).add_(reward)
            self.discounted.masked_fill_(buffer.terminated[t] | buffer.truncated[t], 0)
        self.reward_statistics.update(sums, self.processes)
        buffer.reward.copy_(self.reward_statistics.scale(buffer.reward))

    def flat_batch(self) -> list[Tensor]:
        """Columns of the rollout that are learned from, as tensors (T * members * n, ...)."""
        buffer = self.buffer
        columns = [buffer.observation, buffer.action, buffer.logp, buffer.adv, buffer.returns]
        columns += [buffer.value] if self.cfg.value_clip is not None else []
        return [column.flatten(0, len(self.env.batch)) for column in columns]

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
        found = [x.index_select(0, place) for x in batch]
        return [x.unflatten(0, (*lead, -1)) for x in found] if lead else found

    @torch.no_grad()
    def anchored(self, seen: Tensor, action: Tensor) -> Tensor:
        """Log-probabilities of actions under the average of past policies."""
        average = self.average.average[0]
        self.anchor_flat.data.copy_(average[:, : self.anchor_flat.data.shape[1]])
        with self.precision():
            return self.anchor.evaluate(seen, action)[0]

    def row(self, **columns: Tensor) -> dict[str, list[float]]:
        """Row of the log from tensors (members or 1,): the one place where the device is asked for numbers.

        Raises
        ------
        TrainingDiverged
            If a loss, a gradient, the divergence or what normalizes is not finite.
        """
        row = dict(zip(columns, torch.stack(list(columns.values())).tolist()))
        must = {name: row[name] for name in ("policy_loss", "value_loss", "gradient_norm", "approx_kl")}
        # Infinite observations are seen as large ones, but would spoil what normalizes the next.
        for name in ("observation_statistics", "reward_statistics"):
            if getattr(self, name):
                must[name] = getattr(self, name).largest().tolist()
        for name, numbers in must.items():
            bad = [member for member, number in enumerate(numbers) if not math.isfinite(number)]
            if bad:
                raise TrainingDiverged(name, self.iteration, bad, [row["learning_rate"][member] for member in bad])
        return row | {"iteration": [self.iteration] * self.rows, "steps": [self.steps] * self.rows}

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

    def resume(self, source: str | os.PathLike | dict[str, Any]) -> None:
        """Go on from a checkpoint, or from the file of this process that holds one."""
        if not isinstance(source, dict):
            try:
                named = isinstance(source, (str, os.PathLike)) and os.fspath(source)
                source = checkpoints.load_checkpoint(self.processes.file(source) if named else source)
            except ValueError as problem:
                raise ValueError(f"resume must be a checkpoint or its file: {problem}") from problem
        checkpoints.require_fit(source, self.state_dict())
        try:
            self.log.load_state_dict(source["log"])
            self.load_state_dict(source)
        except ValueError as problem:
            raise ValueError(f"resume must fit the run, but does not: {problem}") from problem

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from where :meth:`state_dict` stood."""
        state = checkpoints.copied(state, self.env.device)
        # What checks itself comes first: networks stay as they are when something does not fit.
        if state["environment"] is not None:
            self.env.load_state_dict(state["environment"]["env"])
            self.observation = state["environment"]["observation"]
            self.episodes.reward, self.episodes.steps = state["environment"]["episodes"]
            if self.reward_statistics:
                self.discounted = state["environment"]["discounted"]
        self.action_streams.load_state_dict(state["action_streams"])
        self.order_streams.load_state_dict(state["order_streams"])
        for name in ("average", "observation_statistics", "reward_statistics"):
            if getattr(self, name):
                getattr(self, name).load_state_dict(state[name])
        self.iteration, self.steps = state["iteration"], state["steps"]
        self.flat.data.copy_(state["parameters"])
        self.adam.load_state_dict(state["adam"])


def _tile(env: VecEnv, policy: nn.Module, value_fn: nn.Module, cfg: PPOConfig) -> int:
    """Transitions of a member that pass at once: what the networks ask for, or on a CPU a small part of the rollout."""
    networks = [module for net in (policy, value_fn) for module in net.modules()]
    asked = min([network.rows_per_tile for network in networks if hasattr(network, "rows_per_tile")], default=8192)
    if env.device.type != "cpu":
        return asked
    collected = cfg.rollout_steps * env.n
    rows = asked if collected <= SMALL else min(asked, max(FEWEST, collected // PARTS))
    return -(-cfg.minibatch // -(-cfg.minibatch // rows))  # tiles of one size, and not a few rows at the end


def _check_setting(env, policy, value_fn, cfg, total_steps, processes) -> int:
    """Check what trains together, and return the number of shards held here."""
    check_pair(env, policy)
    if not isinstance(value_fn, nn.Module) or getattr(value_fn, "members", None) != env.members:
        raise ValueError(f"value_fn must be a module with members={env.members}, got {checks.describe(value_fn)}")
    check_observations(env, "value_fn", value_fn, "TabularValue")
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
