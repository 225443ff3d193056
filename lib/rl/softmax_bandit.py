"""Policy gradient with a softmax policy and one state: where theory and simulation of a plateau meet exactly.

A policy pi = softmax(z) over A actions is rewarded by J(z) = sum of pi_a r_a + tau entropy(pi); the best one is
proportional to exp(r / tau). With D = diag(pi) - pi pi' there, the curvature of J is tau D, and when a reward has
noise of standard deviation sigma the gradient estimated from one action has covariance sigma^2 D. Both share their
eigenvectors, so the plateau of :mod:`lib.rl.outer_loop` is exact near the optimum.

Rewards, tau, sigma and J have one unit, that of reward; logits z have none, so a step eta has the unit 1 / reward.

Source: derived in the book's chapter on PPO.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lib import checks
from lib.rl import _schedules

__all__ = [
    "bandit_gap",
    "simulate_bandit",
    "simulate_bandit_gaussian",
    "softmax_bandit_plateau",
    "softmax_curvature",
    "softmax_optimum",
]


def softmax_optimum(r, tau) -> Tensor:
    """Best policy under an entropy bonus, proportional to exp(r / tau).

    Parameters
    ----------
    r : array_like, (..., A)
        Mean reward of each action.
    tau : array_like, (...)
        Weight of the entropy, above 0.

    Returns
    -------
    Tensor, (..., A)
        Probabilities.

    Raises
    ------
    ValueError
        If the shapes do not fit or tau is not above 0.

    Examples
    --------
    >>> softmax_optimum([1.0, 0.8, 0.3, 0.0], 0.3)
    tensor([0.6075, 0.3119, 0.0589, 0.0217], dtype=torch.float64)
    """
    r, tau = _read(r=r, tau=tau)
    return torch.softmax(r / tau[..., None], dim=-1)


def softmax_curvature(r, tau) -> Tensor:
    """Curvature of the objective at the optimum with regard to the logits, tau (diag(pi) - pi pi').

    Parameters
    ----------
    r, tau
        As in :func:`softmax_optimum`.

    Returns
    -------
    Tensor, (..., A, A)
        Minus the Hessian of J; flat in the direction (1, ..., 1), which changes no probability.

    Raises
    ------
    ValueError
        As :func:`softmax_optimum`.

    Examples
    --------
    >>> softmax_curvature([0.0, 0.0], 1.0).tolist()
    [[0.25, -0.25], [-0.25, 0.25]]
    """
    r, tau = _read(r=r, tau=tau)
    return tau[..., None, None] * covariance(torch.softmax(r / tau[..., None], dim=-1))


def covariance(policy: Tensor) -> Tensor:
    """D = diag(pi) - pi pi', the covariance of an action's indicator."""
    return torch.diag_embed(policy) - policy[..., :, None] * policy[..., None, :]


def softmax_bandit_plateau(r, tau, sigma, eta, N) -> Tensor:
    """Level below the optimum at which policy gradient hovers, from the eigenvalues w of D.

    The sum of eta sigma^2 w / (2 N (2 - eta tau w)).

    Parameters
    ----------
    r : array_like, (A,)
        Mean reward of each action, at least two.
    tau, sigma : array_like, (...)
        Weight of the entropy, above 0, and standard deviation of the reward, at least 0.
    eta : array_like, (...)
        Step, above 0.
    N : array_like, (...)
        Actions that are tried between two steps, above 0.

    Returns
    -------
    Tensor, (...)
        In units of reward.

    Raises
    ------
    ValueError
        If the shapes do not fit, an argument is out of range, or eta tau w reaches 2.

    Examples
    --------
    >>> round(float(softmax_bandit_plateau([1.0, 0.8, 0.3, 0.0], tau=0.3, sigma=1.0, eta=0.5, N=8)), 6)
    0.008496
    """
    r, tau, sigma, eta, N = _read(r=r, tau=tau, sigma=sigma, eta=eta, N=N)
    # The lowest eigenvalue is 0: adding the same to all logits changes nothing.
    spectrum = torch.linalg.eigvalsh(covariance(torch.softmax(r / tau[..., None], dim=-1)))[..., 1:]
    curvature = tau[..., None] * spectrum
    reach = eta * curvature.amax(dim=-1)
    checks.require(reach < 2, "eta times the largest curvature must be below 2", reach)
    eta, N, sigma = eta[..., None], N[..., None], sigma[..., None]
    return (eta * sigma**2 * spectrum / (2 * N * (2 - eta * curvature))).sum(dim=-1)


def bandit_gap(logits, r, tau) -> Tensor:
    """Distance of a policy's objective below the best one: tau times the divergence from the best policy.

    Parameters
    ----------
    logits, r : array_like, (..., A)
        Logits, and mean reward of each action; at least two actions.
    tau : array_like, (...)
        Weight of the entropy, above 0.

    Returns
    -------
    Tensor, (...)
        In units of reward.

    Raises
    ------
    ValueError
        If the shapes do not fit or tau is not above 0.

    Examples
    --------
    >>> round(float(bandit_gap([0.0, 0.0], [1.0, 0.0], 1.0)), 4)  # log(1 + e) - 1/2 - log 2
    0.1201
    """
    logits, r, tau = _read(logits=logits, r=r, tau=tau)
    log_policy = torch.log_softmax(logits, dim=-1)
    log_best = torch.log_softmax(r / tau[..., None], dim=-1)
    return tau * (log_policy.exp() * (log_policy - log_best)).sum(dim=-1)


def simulate_bandit(
    r, tau, sigma, eta, N, *, steps: int, repeats: int = 1, generator: torch.Generator, start=None
) -> Tensor:
    """Policy gradient on the bandit, action by action, with the exact value of the policy as baseline.

    Between two steps N actions are drawn from the policy and each is rewarded with noise of its own. Only how often
    each action was drawn and the sum of its noise enter the gradient, so N may be a million.

    Parameters
    ----------
    r : array_like, (A,)
        Mean reward of each action, at least two.
    tau, sigma : array_like, ()
        Weight of the entropy, above 0, and standard deviation of the reward, at least 0.
    eta : array_like, () or (..., steps)
        Step, constant or a schedule; above 0.
    N : array_like, () or (..., steps)
        Actions between two steps, constant or a schedule: whole numbers, at least 1.
    steps, repeats : int
        At least 1.
    generator : torch.Generator
    start : array_like, (A,), optional
        Logits before the first step; all actions alike by default.

    Returns
    -------
    Tensor, (..., repeats, steps + 1, A)
        Logits.

    Raises
    ------
    ValueError
        If the shapes do not fit or an argument is out of range.

    Examples
    --------
    >>> draw = torch.Generator().manual_seed(0)
    >>> path = simulate_bandit([1.0, 0.0], 0.3, 1.0, 0.5, 8, steps=100, repeats=5, generator=draw)
    >>> path.shape
    torch.Size([5, 101, 2])
    """
    r, tau, sigma, eta, N, start = _read_run(r, tau, sigma, eta, N, start)
    steps = checks.integer("steps", steps, lowest=1)
    repeats = checks.integer("repeats", repeats, lowest=1)
    checks.generator("generator", generator)
    checks.require(N.floor() == N, "N must be whole numbers", N)
    eta, N = _schedules.read(eta, N, steps)
    logits = start.expand(*eta.shape[1:-1], repeats, r.shape[-1])
    path = [logits]
    for size, count in zip(eta[..., None, :].unbind(), N[..., None, :].unbind(), strict=True):
        log_policy = torch.log_softmax(logits, dim=-1)
        policy = log_policy.exp()
        drawn = _multinomial(count.expand(*logits.shape[:-1], 1)[..., 0], policy, generator)
        noise = torch.randn(logits.shape, generator=generator, dtype=logits.dtype, device=logits.device)
        rewarded = drawn * advantage(policy, log_policy, r, tau) + sigma * drawn.sqrt() * noise
        logits = logits + size * score(policy, rewarded / count)
        path.append(logits)
    return torch.stack(path, dim=-2)


def simulate_bandit_gaussian(r, tau, sigma, eta, N, noise, start=None) -> Tensor:
    """The same with normal noise of the exact mean and covariance: for figures, and for large N.

    Parameters
    ----------
    r, tau, sigma, eta
        As in :func:`simulate_bandit`.
    N : array_like, () or (..., steps)
        Actions between two steps, above 0.
    noise : array_like, (steps, repeats, 2, A)
        Independent standard normal numbers: first those that decide how often each action is drawn, then those of the
        rewards. All schedules see the same noise.
    start : array_like, (A,), optional
        Logits before the first step; all actions alike by default.

    Returns
    -------
    Tensor, (..., repeats, steps + 1, A)
        Logits.

    Raises
    ------
    ValueError
        If the shapes do not fit or an argument is out of range.

    Examples
    --------
    >>> path = simulate_bandit_gaussian([1.0, 0.0], 1.0, 1.0, 4.0, 8, torch.zeros(40, 1, 2, 2))
    >>> torch.softmax(path[0, -1], dim=-1)  # without noise the best policy is found
    tensor([0.7311, 0.2689], dtype=torch.float64)
    """
    r, tau, sigma, eta, N, start = _read_run(r, tau, sigma, eta, N, start)
    (noise,) = checks.tensors(noise=noise)
    if noise.dim() != 4 or noise.shape[2:] != (2, r.shape[-1]) or 0 in noise.shape:
        raise ValueError(f"noise must have shape (steps, repeats, 2, {r.shape[-1]}), got {tuple(noise.shape)}")
    eta, N = _schedules.read(eta, N, noise.shape[0])
    spread = N.rsqrt()[..., None, :]
    logits = start.expand(*eta.shape[1:-1], noise.shape[1], r.shape[-1])
    path = [logits]
    chance, reward = noise.to(r).unbind(dim=2)
    for round_ in zip(eta[..., None, :].unbind(), spread.unbind(), chance.unbind(), reward.unbind(), strict=True):
        logits = ascend(logits, r, tau, sigma, *round_)
        path.append(logits)
    return torch.stack(path, dim=-2)


def ascend(logits, r, tau, sigma, eta, spread, chance, reward):
    """One round: N actions, their rewards, a step along the gradient."""
    log_policy = torch.log_softmax(logits, dim=-1)
    policy = log_policy.exp()
    root = policy.sqrt()
    # The covariance of N multinomial draws; spread is 1 / sqrt(N).
    centred = chance - root * (root * chance).sum(dim=-1, keepdim=True)
    drawn = policy + spread * root * centred
    rewarded = drawn * advantage(policy, log_policy, r, tau)
    rewarded = rewarded + sigma * spread * root * reward
    return logits + eta * score(policy, rewarded)


def advantage(policy: Tensor, log_policy: Tensor, r: Tensor, tau: Tensor) -> Tensor:
    """What an action earns, entropy bonus included, above the policy's value."""
    earned = r - tau * log_policy
    return earned - (policy * earned).sum(dim=-1, keepdim=True)


def score(policy: Tensor, rewarded: Tensor) -> Tensor:
    """Sum over actions of (indicator - policy) times what the action was rewarded with."""
    return rewarded - policy * rewarded.sum(dim=-1, keepdim=True)


def _multinomial(count: Tensor, policy: Tensor, generator: torch.Generator) -> Tensor:
    """How often each action is drawn, one action after the other from what the ones before have left."""
    drawn, left, remaining = [], count, torch.ones_like(count)
    for chance in policy[..., :-1].unbind(dim=-1):
        share = (chance / remaining.clamp(min=torch.finfo(chance.dtype).tiny)).clamp(max=1)
        drawn.append(torch.binomial(left, share, generator=generator))
        left = left - drawn[-1]
        remaining = (remaining - chance).clamp(min=0)
    return torch.stack([*drawn, left], dim=-1)


def _read(**named) -> list[Tensor]:
    """Read rewards (and logits) with a last dimension of actions, and numbers that are above or at least 0."""
    values = dict(zip(named, checks.tensors(**named), strict=True))
    leading = {}
    for name, value in values.items():
        if name in ("r", "logits"):
            checks.shape(name, value, None)
            if value.shape[-1] < 2:
                raise ValueError(f"{name} must have at least two actions, got shape {tuple(value.shape)}")
            leading[name] = value.shape[:-1]
            continue
        leading[name] = value.shape
        if name == "sigma":
            checks.require(value >= 0, "sigma must be at least 0", value)
        else:
            checks.require(value > 0, f"{name} must be above 0", value)
    if "logits" in values and values["logits"].shape[-1] != values["r"].shape[-1]:
        raise ValueError(
            f"logits must have one entry for each of the {values['r'].shape[-1]} rewards of r, "
            f"got shape {tuple(values['logits'].shape)}"
        )
    checks.batch(**leading)
    return list(values.values())


def _read_run(r, tau, sigma, eta, N, start) -> list[Tensor]:
    given = {"r": r, "tau": tau, "sigma": sigma, "eta": eta, "N": N} | ({} if start is None else {"start": start})
    r, tau, sigma, eta, N, *start = checks.tensors(**given)
    start = start[0] if start else torch.zeros_like(r)
    if r.dim() != 1 or r.shape[0] < 2:
        raise ValueError(f"r must have shape (A,) with at least two actions, got {tuple(r.shape)}")
    if start.shape != r.shape:
        raise ValueError(f"start must have shape {tuple(r.shape)}, like r, got {tuple(start.shape)}")
    for name, value in (("tau", tau), ("sigma", sigma)):
        if value.dim():
            raise ValueError(f"{name} must be a single number, got shape {tuple(value.shape)}")
    _read(r=r, tau=tau, sigma=sigma)
    return [r, tau, sigma, eta, N, start]
