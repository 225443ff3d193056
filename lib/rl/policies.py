"""Policies and value functions: what a state makes the agent do, and what it expects from there.

Every policy has the same four methods. ``sample(obs, streams)`` draws actions and returns their log-probabilities, with
no gradient; ``evaluate(obs, action)`` gives log-probabilities and entropies with a gradient; ``mode(obs)`` gives the
most likely action; ``log_probs(obs)`` the log-probabilities of all actions, where they can be counted. Observations
have shape (n, ...), or (members, n, ...) for several seeds side by side; for ``evaluate``, ``mode`` and ``log_probs``
more dimensions, such as time, may come first. Entropies and log-probabilities are in nats, and at least float32.

Source of the initial weights: Huang et al., "The 37 Implementation Details of Proximal Policy Optimization", ICLR Blog
Track 2022, detail 2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lib import checks
from lib.rl import _categorical
from lib.rl._choosing import Choosing, at_least_float32, batch_to_draw, check_choices
from lib.rl.lookup import TabularPolicy, TabularValue
from lib.rl.networks import MLP
from lib.rl.streams import Streams

__all__ = [
    "CategoricalPolicy",
    "GaussianPolicy",
    "MultiCategoricalPolicy",
    "TabularPolicy",
    "TabularValue",
    "ValueFunction",
]


def _network(obs_dim: int, outputs: int, hidden: Sequence[int], gain: float, role: str, options: dict) -> MLP:
    """Network with gain sqrt 2 in the hidden layers and another at the end."""
    obs_dim = checks.integer("obs_dim", obs_dim, lowest=1)
    if isinstance(hidden, (str, bytes)) or not isinstance(hidden, Sequence):
        raise ValueError(f"hidden must be a sequence of integers, got {checks.describe(hidden)}")
    hidden = [checks.integer("hidden", width, lowest=1) for width in hidden]
    gains = (math.sqrt(2),) * len(hidden) + (gain,)
    return MLP((obs_dim, *hidden, outputs), gains=gains, role=role, **options)


class CategoricalPolicy(Choosing):
    """One of ``n_actions`` actions, with probabilities that a network gives as logits.

    Parameters
    ----------
    obs_dim : int
        Entries of an observation; pictures are flattened.
    n_actions : int
    hidden : sequence of int
        Widths of the hidden layers.
    members : int, optional
        Policies trained side by side; see :func:`lib.rl.networks.member_seeds`.
    seed : int or sequence of int
        Seed of the initial weights, or one for each member.
    **options
        ``activation``, ``strip``, ``device`` and ``dtype`` of :class:`lib.rl.networks.MLP`.

    Raises
    ------
    ValueError
        If an argument is of the wrong kind, or later an observation or an action does not fit.

    Examples
    --------
    >>> policy = CategoricalPolicy(obs_dim=4, n_actions=2, seed=0)
    >>> action, logp = policy.sample(torch.zeros(5, 4), Streams(0, "action"))
    >>> action.shape, logp
    (torch.Size([5]), tensor([-0.6931, -0.6931, -0.6931, -0.6931, -0.6931]))
    """

    def __init__(
        self,
        obs_dim: int,
        n_actions: int,
        hidden: Sequence[int] = (64, 64),
        *,
        members: int | None = None,
        seed: int | Sequence[int] = 0,
        **options,
    ):
        super().__init__()
        self.n_actions = checks.integer("n_actions", n_actions, lowest=1)
        options = {"members": members, "seed": seed, **options}
        self.network = _network(obs_dim, self.n_actions, hidden, 0.01, "policy", options)
        self.members = self.network.members

    def logits(self, obs: Tensor) -> Tensor:
        """Logits of all actions: (..., n, n_actions)."""
        return self.network(obs)


class MultiCategoricalPolicy(nn.Module):
    """Several choices at once, independent given the observation: the i-th is one of ``sizes[i]``.

    Parameters
    ----------
    obs_dim : int
        Entries of an observation; pictures are flattened.
    sizes : sequence of int
        Number of options of each choice.
    hidden, members, seed, **options
        As for :class:`CategoricalPolicy`.

    Raises
    ------
    ValueError
        If an argument is of the wrong kind, or later an observation or an action does not fit.

    Examples
    --------
    >>> policy = MultiCategoricalPolicy(obs_dim=3, sizes=(2, 5), seed=0)
    >>> policy.sample(torch.zeros(7, 3), Streams(0, "action"))[0].shape
    torch.Size([7, 2])
    """

    def __init__(
        self,
        obs_dim: int,
        sizes: Sequence[int],
        hidden: Sequence[int] = (64, 64),
        *,
        members: int | None = None,
        seed: int | Sequence[int] = 0,
        **options,
    ):
        super().__init__()
        if isinstance(sizes, (str, bytes)) or not isinstance(sizes, Sequence) or not len(sizes):
            raise ValueError(f"sizes must be a sequence of integers, got {checks.describe(sizes)}")
        self.sizes = tuple(checks.integer("sizes", size, lowest=1) for size in sizes)
        options = {"members": members, "seed": seed, **options}
        self.network = _network(obs_dim, sum(self.sizes), hidden, 0.01, "policy", options)
        self.members = self.network.members

    def logits(self, obs: Tensor) -> tuple[Tensor, ...]:
        """Logits of each choice: (..., n, sizes[i])."""
        return self.network(obs).split(self.sizes, dim=-1)

    @torch.no_grad()
    def sample(self, obs: Tensor, streams: Streams) -> tuple[Tensor, Tensor]:
        """Draw actions (n, choices) or (members, n, choices), int64, and their log-probabilities."""
        logits = self.logits(obs)
        n = batch_to_draw(self, logits[0].shape[:-1], streams)
        uniform = streams.uniform(n, len(self.sizes), dtype=at_least_float32(logits[0]))
        drawn = [_categorical.draw(options, number) for options, number in zip(logits, uniform.unbind(-1))]
        actions, logps = zip(*drawn)
        return torch.stack(actions, dim=-1), sum(logps)

    def evaluate(self, obs: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probabilities of actions (..., n, choices), and the entropies of the policy at the observations."""
        logits = self.logits(obs)
        check_choices(action, (*logits[0].shape[:-1], len(self.sizes)))
        scores = [_categorical.score(options, chosen) for options, chosen in zip(logits, action.unbind(-1))]
        logps, entropies = zip(*scores)
        return sum(logps), sum(entropies)

    @torch.no_grad()
    def mode(self, obs: Tensor) -> Tensor:
        """Most likely actions, (..., n, choices), int64."""
        return torch.stack([options.argmax(-1) for options in self.logits(obs)], dim=-1)

    def log_probs(self, obs: Tensor) -> tuple[Tensor, ...]:
        """Log-probabilities of the options of each choice: (..., n, sizes[i])."""
        return tuple(_categorical.log_probabilities(options) for options in self.logits(obs))


class GaussianPolicy(nn.Module):
    """Actions drawn from a normal distribution: a network gives the mean, and the spread is the same everywhere.

    Actions are not bounded here: an environment clips what it is given, and log-densities are those before.

    Parameters
    ----------
    obs_dim : int
        Entries of an observation; pictures are flattened.
    act_dim : int
        Entries of an action.
    hidden, members, seed, **options
        As for :class:`CategoricalPolicy`.
    log_std : float
        Logarithm of the standard deviation of every entry at the start.
    log_std_range : tuple of float
        Between these it is held; a log_std that has left them gets no gradient.

    Raises
    ------
    ValueError
        If an argument is of the wrong kind, or later an observation or an action does not fit.

    Examples
    --------
    >>> policy = GaussianPolicy(obs_dim=3, act_dim=1, seed=0)
    >>> policy.mode(torch.zeros(2, 3))
    tensor([[0.],
            [0.]])
    """

    def __init__(
        self,
        obs_dim: int,
        act_dim: int,
        hidden: Sequence[int] = (64, 64),
        *,
        log_std: float = -0.5,
        log_std_range: tuple[float, float] = (-3.0, 1.0),
        members: int | None = None,
        seed: int | Sequence[int] = 0,
        **options,
    ):
        super().__init__()
        self.act_dim = checks.integer("act_dim", act_dim, lowest=1)
        if not isinstance(log_std_range, tuple) or len(log_std_range) != 2:
            raise ValueError(f"log_std_range must be two numbers, got {checks.describe(log_std_range)}")
        low, high = (checks.real_number("log_std_range", bound, lowest=-math.inf) for bound in log_std_range)
        if not low < high:
            raise ValueError(f"log_std_range must be two numbers, the lower first, got {log_std_range}")
        self.log_std_range = (low, high)
        log_std = checks.real_number("log_std", log_std, lowest=low, highest=high)
        options = {"members": members, "seed": seed, **options}
        self.network = _network(obs_dim, self.act_dim, hidden, 0.01, "policy", options)
        self.members = self.network.members
        self.log_std = nn.Parameter(torch.full_like(self.network.biases[-1], log_std))

    def _distribution(self, obs: Tensor) -> tuple[Tensor, Tensor]:
        """Means (..., n, act_dim) and log standard deviations (act_dim,) or (members, 1, act_dim)."""
        mean = self.network(obs)
        log_std = self.log_std.clamp(*self.log_std_range)
        log_std = log_std if self.members is None else log_std.unsqueeze(1)
        dtype = at_least_float32(mean)
        return mean.to(dtype), log_std.to(dtype)

    @torch.no_grad()
    def sample(self, obs: Tensor, streams: Streams) -> tuple[Tensor, Tensor]:
        """Draw actions (n, act_dim) or (members, n, act_dim), and their log-densities."""
        mean, log_std = self._distribution(obs)
        n = batch_to_draw(self, mean.shape[:-1], streams)
        noise = streams.normal(n, self.act_dim, dtype=mean.dtype)
        return mean + log_std.exp() * noise, _log_density(noise, _entropy(log_std))

    def evaluate(self, obs: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
        """Log-densities of actions (..., n, act_dim), and the entropies of the policy at the observations."""
        mean, log_std = self._distribution(obs)
        if not isinstance(action, Tensor) or action.shape != mean.shape or not action.is_floating_point():
            wanted = f"a floating tensor of shape {tuple(mean.shape)}"
            raise ValueError(f"action must be {wanted}, got {checks.describe(action)}")
        entropy = _entropy(log_std)
        logp = _log_density((action - mean) * (-log_std).exp(), entropy)
        return logp, entropy.expand(logp.shape)

    @torch.no_grad()
    def mode(self, obs: Tensor) -> Tensor:
        """Most likely actions, the means: (..., n, act_dim)."""
        return self._distribution(obs)[0]


def _entropy(log_std: Tensor) -> Tensor:
    """Entropy of a normal distribution with these logarithms of standard deviations."""
    return log_std.sum(-1) + log_std.shape[-1] * (0.5 + 0.5 * math.log(2 * math.pi))


def _log_density(noise: Tensor, entropy: Tensor) -> Tensor:
    """Log-density of what lies so many standard deviations from the mean, in each of the last entries."""
    return (0.5 * noise.shape[-1] - entropy).sub(noise.square().sum(-1), alpha=0.5)


class ValueFunction(nn.Module):
    """What is expected from an observation on: a network with one output.

    Parameters
    ----------
    obs_dim : int
        Entries of an observation; pictures are flattened.
    hidden, members, seed, **options
        As for :class:`CategoricalPolicy`.

    Raises
    ------
    ValueError
        If an argument is of the wrong kind, or later an observation does not fit.

    Examples
    --------
    >>> ValueFunction(obs_dim=4, seed=(0, 1, 2))(torch.zeros(3, 5, 4)).shape
    torch.Size([3, 5])
    """

    def __init__(
        self,
        obs_dim: int,
        hidden: Sequence[int] = (64, 64),
        *,
        members: int | None = None,
        seed: int | Sequence[int] = 0,
        **options,
    ):
        super().__init__()
        self.network = _network(obs_dim, 1, hidden, 1.0, "value", {"members": members, "seed": seed, **options})
        self.members = self.network.members

    def forward(self, obs: Tensor) -> Tensor:
        """Values of observations: (..., n), or (..., members, n)."""
        value = self.network(obs).squeeze(-1)
        return value.to(at_least_float32(value))
