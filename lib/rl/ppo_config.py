"""Settings of proximal policy optimization, checked when they are made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lib import checks

__all__ = ["PPOConfig", "StepCut"]


@dataclass(frozen=True)
class StepCut:
    """A learning-rate schedule that cuts the step once: is a plateau the noise of a step that is too large?

    Parameters
    ----------
    at : int
        Environment steps after which it is cut.
    factor : float
        What the learning rate is multiplied with from then on.

    Examples
    --------
    >>> cut = StepCut(at=100_000, factor=0.1)
    >>> cut(99_999, 200_000), cut(100_000, 200_000)
    (1.0, 0.1)
    """

    at: int
    factor: float = 0.1

    def __post_init__(self):
        checks.integer("at", self.at, lowest=0)
        checks.real_number("factor", self.factor, lowest=0, open_below=True)

    def __call__(self, steps: int, total_steps: int) -> float:
        """Factor of the learning rate after so many environment steps."""
        return 1.0 if steps < self.at else self.factor


@dataclass(frozen=True)
class PPOConfig:
    """Settings of proximal policy optimization. N environments give a batch of N T transitions.

    Attributes
    ----------
    rollout_steps : int
        T, steps of every environment in an iteration.
    minibatch : int
        B, transitions (of each member, over all processes) in a gradient step. It has to divide N T, unless
        ``drop_last`` is set.
    epochs : int
        E, passes through the batch: E N T / B gradient steps in an iteration.
    drop_last : bool
        Leave out, in each epoch, what remains of the permuted batch after the last whole minibatch.
    learning_rate : float or tuple of float
        Of Adam, at the start; a tuple holds one for each member.
    schedule : str or callable
        ``"constant"``; ``"linear"``, down to 0 at the last step; or a function of the steps taken and all steps that
        returns what the learning rate is multiplied with, such as :class:`StepCut`.
    gamma : float
        Discount of rewards one step later.
    lam : float
        lambda of generalized advantage estimation: 0 trusts the value function, 1 the rewards alone.
    clip : float
        epsilon: ratios of probabilities earn nothing beyond 1 - epsilon and 1 + epsilon.
    vf_coef : float
        c_v, weight of the value loss.
    ent_coef : float
        c_e, weight of the entropy bonus.
    value_clip : float, optional
        Clip the change of values as well, at this.
    max_grad_norm : float, optional
        Longer gradients (of one member) are shortened to this norm.
    adam_eps : float
        Added to the root of Adam's second moment.
    max_kl : float, optional
        A member takes no further step in an iteration once the divergence from the behaviour policy, on a minibatch,
        is above this.
    anchor_com : float, optional
        Clip around an average of past policies with this centre of mass, in gradient steps (PPO-EWMA), instead of
        around the behaviour policy.
    normalize_advantages : bool
        Standardize the advantages over the whole batch of a member, once.
    normalize_observations, normalize_rewards : bool
        Scale by running statistics: observations to mean 0 and deviation 1, by what was seen in earlier iterations (in
        the first they are as they come), and rewards to deviation 1 of their discounted sum, this iteration's
        included. Nothing goes beyond 10 deviations.
    reward_scale : float
        Rewards are multiplied with this before anything is learned from them; returns are reported without.
    tile : int, optional
        Rows that pass through the networks at once, so that activations stay in a CPU's cache and the memory of an
        update is that of its rollout. By default what the networks ask for; on a CPU fewer, where the rollout is
        large enough to be what fills the memory.
    bf16 : bool
        Run the networks in bfloat16 where autocast does; parameters stay as they are.
    compile : str, optional
        Backend of ``torch.compile`` for the networks, such as ``"inductor"``.

    Raises
    ------
    ValueError
        If a setting is out of range.

    Examples
    --------
    >>> PPOConfig(rollout_steps=32, minibatch=512, epochs=8).clip
    0.2
    """

    rollout_steps: int = 128
    minibatch: int = 256
    epochs: int = 4
    drop_last: bool = False
    learning_rate: float | tuple[float, ...] = 3e-4
    schedule: str | Callable[[int, int], float] = "constant"
    gamma: float = 0.99
    lam: float = 0.95
    clip: float = 0.2
    vf_coef: float = 0.5
    ent_coef: float = 0.0
    value_clip: float | None = None
    max_grad_norm: float | None = 0.5
    adam_eps: float = 1e-5
    max_kl: float | None = None
    anchor_com: float | None = None
    normalize_advantages: bool = True
    normalize_observations: bool = False
    normalize_rewards: bool = False
    reward_scale: float = 1.0
    tile: int | None = None
    bf16: bool = False
    compile: str | None = None

    def __post_init__(self):
        for name in ("rollout_steps", "minibatch", "epochs"):
            checks.integer(name, getattr(self, name), lowest=1)
        if self.tile is not None:
            checks.integer("tile", self.tile, lowest=1)
        for name in ("drop_last", "normalize_advantages", "normalize_observations", "normalize_rewards", "bf16"):
            checks.flag(name, getattr(self, name))
        rates = self.learning_rate if isinstance(self.learning_rate, tuple) else (self.learning_rate,)
        for rate in rates or (None,):
            checks.real_number("learning_rate", rate, lowest=0, open_below=True)
        if not callable(self.schedule):
            checks.choice("schedule", self.schedule, ("constant", "linear"))
        for name in ("gamma", "lam"):
            checks.real_number(name, getattr(self, name), lowest=0, highest=1)
        for name in ("clip", "adam_eps", "reward_scale"):
            checks.real_number(name, getattr(self, name), lowest=0, open_below=True)
        for name in ("vf_coef", "ent_coef"):
            checks.real_number(name, getattr(self, name), lowest=0)
        for name in ("value_clip", "max_grad_norm", "max_kl"):
            if getattr(self, name) is not None:
                checks.real_number(name, getattr(self, name), lowest=0, open_below=True)
        if self.anchor_com is not None:
            checks.real_number("anchor_com", self.anchor_com, lowest=0)
        if self.compile is not None and (not isinstance(self.compile, str) or not self.compile):
            raise ValueError(f"compile must be the name of a backend or None, got {checks.describe(self.compile)}")

    def rate_factor(self, steps: int, total_steps: int) -> float:
        """What the schedule multiplies the learning rate with after so many environment steps."""
        if self.schedule == "constant":
            return 1.0
        if self.schedule == "linear":
            return max(0.0, 1 - steps / total_steps)
        return checks.real_number("schedule", self.schedule(steps, total_steps), lowest=0)
