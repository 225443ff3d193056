"""Observers that learn: gradient, natural gradient and typed metrics, in any coordinates, many observers at once.

The loss is the divergence KL(target || model) of an Ising observer whose target has couplings theta*; its gradient in
the couplings is <T>_theta - <T>_target. A learning rule is a metric: 1 for the plain gradient, F for the natural
gradient, F^2 + c F for the typed one. In coordinates phi with theta = theta(phi) and J = dtheta/dphi the metrics that
are tensors become J^T g J, the plain gradient keeps the 1 of its own coordinates: that is why it depends on them.

Sources: S. Amari, Neural Computation 10 (1998) 251; M. Zhuravlev, arXiv:2603.09067, sections 5 and 7.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from lib import checks
from lib.fisher import add_damping, pull_back, steepest_ascent
from lib.ising import Edges, check_couplings, check_graph, moments

__all__ = ["Coordinates", "Learning", "learn", "linear_mix", "sinh_coordinates", "theta_coordinates"]

# Entries of the matrices of one piece on a CPU: they stay in its cache.
PIECE = 150_000


@dataclass(frozen=True)
class Coordinates:
    """Names for the parameters of a model: phi instead of theta.

    Attributes
    ----------
    name : str
    to_theta, from_theta : callable
        Take and return tensors of shape (..., m).
    jacobian : callable
        Takes phi, (..., m), and returns dtheta/dphi, (..., m, m) or (m, m).
    """

    name: str
    to_theta: Callable[[Tensor], Tensor]
    from_theta: Callable[[Tensor], Tensor]
    jacobian: Callable[[Tensor], Tensor]


def theta_coordinates() -> Coordinates:
    """The couplings themselves.

    Returns
    -------
    Coordinates

    Examples
    --------
    >>> theta_coordinates().jacobian(torch.zeros(2))
    tensor([[1., 0.],
            [0., 1.]])
    """
    return Coordinates(
        "theta",
        lambda phi: phi,
        lambda theta: theta,
        lambda phi: torch.eye(phi.shape[-1], dtype=phi.dtype, device=phi.device),
    )


def linear_mix(A) -> Coordinates:
    """Linear combinations of the couplings: theta = A phi.

    Parameters
    ----------
    A : array_like, (m, m)
        Invertible.

    Returns
    -------
    Coordinates

    Raises
    ------
    ValueError
        If A is not one invertible square matrix.

    Examples
    --------
    >>> linear_mix([[2.0, 0.0], [1.0, 1.0]]).to_theta(torch.ones(2, dtype=torch.float64)).tolist()
    [2.0, 2.0]
    """
    (A,) = checks.tensors(A=A)
    checks.square("A", A)
    if A.dim() != 2:
        raise ValueError(f"A must be one matrix of shape (m, m), got shape {tuple(A.shape)}")
    checks.require(torch.linalg.matrix_rank(A) == len(A), "A must be invertible, but is singular")
    inverse = torch.linalg.inv(A)
    return Coordinates("linear mix", lambda phi: phi @ A.mT, lambda theta: theta @ inverse.mT, lambda phi: A)


def sinh_coordinates() -> Coordinates:
    """Couplings stretched one by one: phi = sinh(theta).

    Returns
    -------
    Coordinates

    Examples
    --------
    >>> sinh_coordinates().jacobian(torch.zeros(1))
    tensor([[1.]])
    """
    return Coordinates("sinh", torch.asinh, torch.sinh, lambda phi: torch.diag_embed((1 + phi**2).rsqrt()))


@dataclass(frozen=True)
class Learning:
    """The path of a learner.

    Attributes
    ----------
    couplings : Tensor, (..., steps + 1, m)
    mean : Tensor, (..., steps + 1, m)
        Mean statistics on the way.
    loss : Tensor, (..., steps + 1)
        KL(target || model) in nats.
    """

    couplings: Tensor
    mean: Tensor
    loss: Tensor


def learn(
    edges,
    n: int,
    target,
    start=None,
    learner: str = "ng",
    steps: int = 30,
    lr=0.3,
    coordinates: Coordinates | None = None,
    c=1.0,
    damping=0.0,
) -> Learning:
    """Let observers learn the couplings of their targets from exact means.

    Parameters
    ----------
    edges : sequence of (int, int)
        Pairs of different spins, each pair once.
    n : int
        Number of spins, from 2 to 22.
    target : array_like, (..., m)
        Couplings to be learned.
    start : array_like, (..., m), optional
        Couplings at step 0; None: 0.
    learner : {"ng", "gd", "typed"}
        Natural gradient, plain gradient, or the metric F^2 + c F.
    steps : int
        At least 0.
    lr : array_like, (...)
        Step size, above 0.
    coordinates : Coordinates, optional
        In which the steps are taken; None: the couplings.
    c : array_like, (...)
        Weight of F in the typed metric, at least 0.
    damping : array_like, (...)
        Added to the diagonal of the metric, at least 0; of no effect on the plain gradient. Breaks the invariance under
        changes of coordinates.

    Returns
    -------
    Learning

    Raises
    ------
    ValueError
        If an argument is not as described, or the metric is not positive definite on the way (a step was too long).

    Notes
    -----
    What is kept takes 8 (2 m + 1) bytes per observer and step, 1 MB a step for ten thousand observers of 4 spins. While
    they learn it is 8 (3 x 2^(n-1) + 6 m^2) bytes for each of 150 000 / m^2 observers, on a GPU for all of
    them.

    Examples
    --------
    >>> from lib.ising import observer_graph
    >>> losses = learn(*observer_graph("K3"), target=[0.5, 0.2, -0.1], steps=4, lr=1.0).loss
    >>> bool((losses[1:] < losses[:-1]).all())
    True
    """
    edges, n = check_graph(edges, n)
    target = check_couplings("target", target, edges)
    theta = torch.zeros_like(target) if start is None else check_couplings("start", start, edges)
    checks.choice("learner", learner, ("ng", "gd", "typed"))
    steps = checks.integer("steps", steps, lowest=0)
    target, theta, lr, c, damping = checks.tensors(target=target, start=theta, lr=lr, c=c, damping=damping)
    checks.require(lr > 0, "lr must be above 0", lr)
    checks.require(c >= 0, "c must be at least 0", c)
    checks.require(damping >= 0, "damping must be at least 0", damping)
    _check_coordinates(coordinates, target.new_zeros(len(edges)))
    batch = checks.batch(
        target=target.shape[:-1], start=theta.shape[:-1], lr=lr.shape, c=c.shape, damping=damping.shape
    )

    given = (target, theta.expand(*batch, len(edges)), lr, c, damping)
    rows = math.prod(batch)
    at_once = max(1, PIECE // len(edges) ** 2) if theta.device.type == "cpu" else rows
    if rows <= at_once:
        return _walk(edges, n, *given, learner, steps, coordinates)
    flat = [value.expand(*batch, len(edges)).flatten(0, -2).split(at_once) for value in given[:2]]
    flat += [value.expand(batch).flatten().split(at_once) for value in given[2:]]
    walks = [_walk(edges, n, *piece, learner, steps, coordinates) for piece in zip(*flat, strict=True)]
    names = ("couplings", "mean", "loss")
    whole = [torch.cat([getattr(walk, name) for walk in walks]).unflatten(0, batch) for name in names]
    return Learning(*whole)


def _check_coordinates(coordinates: Coordinates | None, theta: Tensor) -> None:
    if coordinates is None:
        return
    if not isinstance(coordinates, Coordinates):
        raise ValueError(f"coordinates must be Coordinates or None, got {checks.describe(coordinates)}")
    problem = (
        f"coordinates must take {len(theta)} couplings on {theta.device}, but those named {coordinates.name} do not"
    )
    try:
        fits = coordinates.from_theta(theta).shape == theta.shape
    except RuntimeError as error:
        raise ValueError(problem) from error
    if not fits:
        raise ValueError(problem)


def _walk(
    edges: Edges,
    n: int,
    target: Tensor,
    theta: Tensor,
    lr: Tensor,
    c: Tensor,
    damping: Tensor,
    learner: str,
    steps: int,
    coordinates: Coordinates | None,
) -> Learning:
    goal_log_partition, goal = _first(2, moments(edges, n, target))
    phi = theta if coordinates is None else coordinates.from_theta(theta)
    couplings, means, losses = [], [], []
    for at in range(steps + 1):
        state = moments(edges, n, theta)
        log_partition, mean = _first(2, state)
        couplings.append(theta)
        means.append(mean.expand_as(theta))
        divergence = log_partition - goal_log_partition - ((theta - target) * goal).sum(dim=-1)
        losses.append(divergence.clamp(min=0))  # rounding may leave -1e-16 at the end
        if at == steps:
            break
        F = None if learner == "gd" else next(state)
        metric = F @ F + c[..., None, None] * F if learner == "typed" else F
        J = None if coordinates is None else coordinates.jacobian(phi)
        try:
            phi = _step(phi, mean - goal, metric, J, lr, damping)
        except ValueError as problem:
            raise ValueError(f"lr must be smaller or damping larger: at step {at} {problem}") from problem
        theta = phi if coordinates is None else coordinates.to_theta(phi)
    return Learning(torch.stack(couplings, dim=-2), torch.stack(means, dim=-2), torch.stack(losses, dim=-1))


def _step(phi: Tensor, slope: Tensor, metric: Tensor | None, J: Tensor | None, lr: Tensor, damping: Tensor) -> Tensor:
    """One step in coordinates phi; slope and metric are given in theta, and J = dtheta/dphi carries them over."""
    if J is not None:
        slope = (J.mT @ slope[..., None])[..., 0]
    if metric is None:
        # The plain gradient takes the metric 1 in whatever coordinates it is given.
        return phi - lr[..., None] * slope
    if J is not None:
        metric = pull_back(metric, J)
    return phi - lr[..., None] * _direction(slope, metric, damping)


def _direction(slope: Tensor, metric: Tensor, damping: Tensor) -> Tensor:
    """The natural gradient; an exact covariance can only go wrong by rounding, near saturation."""
    direction, uphill = steepest_ascent(slope, add_damping(metric, damping))
    checks.require(uphill, "the metric must be positive definite, but is not")
    return direction


def _first(count: int, values) -> list[Tensor]:
    return [next(values) for _ in range(count)]
