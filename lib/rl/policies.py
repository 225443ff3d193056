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
from torch.nn import functional

from lib import checks
from lib.rl import _categorical
from lib.rl.networks import FLOATING, MLP, member_seeds
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


def _lead(policy: nn.Module, batch: Sequence[int], streams: Streams) -> int:
    """Number n of rows (n,) or (members, n) to draw actions for, from streams that serve as many members."""
    if not isinstance(streams, Streams):
        raise ValueError(f"streams must be lib.rl.streams.Streams, got {checks.describe(streams)}")
    if streams.members != policy.members:
        raise ValueError(f"streams must serve members={policy.members} as the policy does, got {streams.members}")
    wanted = "(n, ...)" if policy.members is None else f"({policy.members}, n, ...)"
    if len(batch) != (1 if policy.members is None else 2):
        raise ValueError(f"obs must have shape {wanted} to draw actions, but its batch is {tuple(batch)}")
    return batch[-1]


def _check_choices(action: Tensor, wanted: Sequence[int]) -> None:
    """Check the type and the shape of actions that are counted."""
    if not isinstance(action, Tensor) or action.dtype != torch.int64 or action.shape != torch.Size(wanted):
        raise ValueError(f"action must be an int64 tensor of shape {tuple(wanted)}, got {checks.describe(action)}")


class _Choosing(nn.Module):
    """One choice among actions whose logits a subclass computes."""

    members: int | None

    def logits(self, obs: Tensor) -> Tensor:
        """Logits of all actions: (..., n, n_actions)."""
        raise NotImplementedError

    @torch.no_grad()
    def sample(self, obs: Tensor, streams: Streams) -> tuple[Tensor, Tensor]:
        """Draw actions.

        Parameters
        ----------
        obs : Tensor, (n, ...) or (members, n, ...)
        streams : lib.rl.streams.Streams
            Where the random numbers come from, one for each action.

        Returns
        -------
        Tensor, Tensor
            Actions, int64, and their log-probabilities, of shape (n,) or (members, n).
        """
        logits = self.logits(obs)
        n = _lead(self, logits.shape[:-1], streams)
        return _categorical.draw(logits, streams.uniform(n, dtype=_at_least_float32(logits)))

    def evaluate(self, obs: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probabilities of actions (..., n), and the entropies of the policy at the observations."""
        logits = self.logits(obs)
        _check_choices(action, logits.shape[:-1])
        return _categorical.score(logits, action)

    @torch.no_grad()
    def mode(self, obs: Tensor) -> Tensor:
        """Most likely actions, (..., n), int64."""
        return self.logits(obs).argmax(-1)

    def log_probs(self, obs: Tensor) -> Tensor:
        """Log-probabilities of all actions: (..., n, n_actions)."""
        return _categorical.log_probabilities(self.logits(obs))


def _at_least_float32(tensor: Tensor) -> torch.dtype:
    return torch.promote_types(tensor.dtype, torch.float32)


class CategoricalPolicy(_Choosing):
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
        ``activation``, ``tile``, ``device`` and ``dtype`` of :class:`lib.rl.networks.MLP`.

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


class TabularPolicy(_Choosing):
    """One of ``n_actions`` actions in each of ``n_states`` states: a table of logits that starts at zero.

    Parameters
    ----------
    n_states, n_actions : int
    members : int, optional
        Tables side by side.
    seed : int or sequence of int
        One for each member; only their number matters, because the table starts at zero.
    device : str or torch.device
    dtype : torch.dtype

    Raises
    ------
    ValueError
        If an argument is of the wrong kind, or later an observation is no state.

    Examples
    --------
    >>> TabularPolicy(n_states=16, n_actions=4).log_probs(torch.tensor([3])).exp()
    tensor([[0.2500, 0.2500, 0.2500, 0.2500]], grad_fn=<ExpBackward0>)
    """

    def __init__(
        self,
        n_states: int,
        n_actions: int,
        *,
        members: int | None = None,
        seed: int | Sequence[int] = 0,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
    ):
        super().__init__()
        self.n_states = checks.integer("n_states", n_states, lowest=1)
        self.n_actions = checks.integer("n_actions", n_actions, lowest=1)
        self.members = member_seeds(seed, members)[1]
        self.table = _zero_table(self.n_states, self.n_actions, self.members, device, dtype)

    def logits(self, obs: Tensor) -> Tensor:
        """Logits of all actions in the states (..., n): (..., n, n_actions)."""
        return _look_up(self.table, obs, self.members)


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
        n = _lead(self, logits[0].shape[:-1], streams)
        uniform = streams.uniform(n, len(self.sizes), dtype=_at_least_float32(logits[0]))
        drawn = [_categorical.draw(options, number) for options, number in zip(logits, uniform.unbind(-1))]
        actions, logps = zip(*drawn)
        return torch.stack(actions, dim=-1), sum(logps)

    def evaluate(self, obs: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probabilities of actions (..., n, choices), and the entropies of the policy at the observations."""
        logits = self.logits(obs)
        _check_choices(action, (*logits[0].shape[:-1], len(self.sizes)))
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

    Actions are not bounded here; an environment clips what it is given.

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
        dtype = _at_least_float32(mean)
        return mean.to(dtype), log_std.to(dtype)

    @torch.no_grad()
    def sample(self, obs: Tensor, streams: Streams) -> tuple[Tensor, Tensor]:
        """Draw actions (n, act_dim) or (members, n, act_dim), and their log-densities."""
        mean, log_std = self._distribution(obs)
        n = _lead(self, mean.shape[:-1], streams)
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
        return value.to(_at_least_float32(value))


class TabularValue(nn.Module):
    """What is expected from each of ``n_states`` states on: a table that starts at zero.

    Parameters
    ----------
    n_states : int
    members, seed, device, dtype
        As for :class:`TabularPolicy`.

    Raises
    ------
    ValueError
        If an argument is of the wrong kind, or later an observation is no state.

    Examples
    --------
    >>> TabularValue(n_states=16)(torch.tensor([3, 4])).shape
    torch.Size([2])
    """

    def __init__(
        self,
        n_states: int,
        *,
        members: int | None = None,
        seed: int | Sequence[int] = 0,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
    ):
        super().__init__()
        self.n_states = checks.integer("n_states", n_states, lowest=1)
        self.members = member_seeds(seed, members)[1]
        self.table = _zero_table(self.n_states, 1, self.members, device, dtype)

    def forward(self, obs: Tensor) -> Tensor:
        """Values of states: (..., n), or (..., members, n)."""
        return _look_up(self.table, obs, self.members).squeeze(-1)


def _zero_table(
    n_states: int, width: int, members: int | None, device: str | torch.device, dtype: torch.dtype
) -> nn.Parameter:
    checks.choice("dtype", dtype, FLOATING)
    lead = () if members is None else (members,)
    return nn.Parameter(torch.zeros(*lead, n_states, width, dtype=dtype, device=checks.device("device", device)))


def _look_up(table: Tensor, obs: Tensor, members: int | None) -> Tensor:
    """Rows of a table for states (..., n), or (..., members, n) if each member has a table of its own."""
    if not isinstance(obs, Tensor) or obs.is_floating_point() or obs.is_complex() or obs.dtype == torch.bool:
        raise ValueError(f"obs must be a tensor of integers, got {checks.describe(obs)}")
    n_states = table.shape[-2]
    if not obs.is_cuda:  # there a check waits for the device
        checks.require((obs >= 0) & (obs < n_states), f"obs must be states from 0 to {n_states - 1}", obs)
    if members is None:
        return functional.embedding(obs.long(), table)
    if obs.dim() < 2 or obs.shape[-2] != members:
        raise ValueError(f"obs must have shape (..., {members}, n), got {checks.describe(obs)}")
    offsets = torch.arange(0, members * n_states, n_states, device=obs.device).unsqueeze(1)
    return functional.embedding(obs.long() + offsets, table.flatten(0, 1))
