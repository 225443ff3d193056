"""Markov chains: absorption, the stationary law and how fast it is approached.

States are the last two dimensions: row from, column to. One step is the time between two observations (a year for
annual maps). Counting transitions on maps is in :mod:`lib.category_maps`, estimating the matrix and testing whether it
stays the same in :mod:`lib.transition_statistics`; both can be imported from here.

Source: J. G. Kemeny and J. L. Snell, *Finite Markov chains* (1960), chapters III and IV.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lib import checks
from lib.category_maps import (
    class_fractions,
    label_noise_matrix,
    label_noise_retention,
    relabel_at_random,
    transition_counts,
    transition_series,
)
from lib.live import tracing
from lib.transition_statistics import GTest, frobenius_distances, g_test, transition_errors, transition_matrix

__all__ = [
    "AbsorbingTimes",
    "absorbing_times",
    "absorption_probabilities",
    "mixing_time",
    "simulate_absorption",
    "spectral_gap",
    "stationary_law",
    "GTest",
    "class_fractions",
    "frobenius_distances",
    "g_test",
    "label_noise_matrix",
    "label_noise_retention",
    "relabel_at_random",
    "transition_counts",
    "transition_errors",
    "transition_matrix",
    "transition_series",
]

CHAINS = 512  # chains worked on together


class AbsorbingTimes(NamedTuple):
    """Result of :func:`absorbing_times`; transient states keep their order.

    Attributes
    ----------
    mean : Tensor, (..., transient)
        Expected steps to the first visit of an absorbing state.
    sd : Tensor, (..., transient)
        Their standard deviation.
    N : Tensor, (..., transient, transient)
        Fundamental matrix: expected visits of the column's state from the row's, the start included.
    """

    mean: Tensor
    sd: Tensor
    N: Tensor


def absorbing_times(P, absorbing: int | Sequence[int]) -> AbsorbingTimes:
    """Time to the first visit of given states, which are treated as absorbing whatever their row says.

    With Q the rest of the matrix, N = (I - Q)^-1, the mean is N 1 and the variance (2 N - I) N 1 - (N 1)^2.

    Parameters
    ----------
    P : array_like, (..., n, n)
        Transition matrices.
    absorbing : int or sequence of int
        Index of the absorbing state or states; at least one state has to be left.

    Returns
    -------
    AbsorbingTimes
        ``mean``, ``sd`` and ``N``, in steps.

    Raises
    ------
    ValueError
        If P has negative entries or rows that do not sum to 1, absorbing is no state, or some state never reaches an
        absorbing one (I - Q is singular); the message names the states.

    Examples
    --------
    A fair coin until the first head.

    >>> mean, sd, N = absorbing_times([[0.5, 0.5], [0.0, 1.0]], absorbing=1)
    >>> float(mean), round(float(sd), 6), float(N)
    (2.0, 1.414214, 2.0)
    """
    P, _, transient = _split(P, absorbing)
    mean, sd, N = _in_pieces(lambda piece: _times(piece, transient), P)
    _require_absorption(P, mean, transient)
    return AbsorbingTimes(mean, sd, N)


def absorption_probabilities(P, absorbing: int | Sequence[int]) -> Tensor:
    """Probability that each of the absorbing states is the first one to be reached.

    Parameters
    ----------
    P, absorbing
        As in :func:`absorbing_times`.

    Returns
    -------
    Tensor, (..., transient, absorbing)
        Rows sum to 1.

    Raises
    ------
    ValueError
        As :func:`absorbing_times`.

    Examples
    --------
    The gambler's ruin with two coins of four: even.

    >>> walk = [[1.0, 0, 0, 0, 0], [0.5, 0, 0.5, 0, 0], [0, 0.5, 0, 0.5, 0], [0, 0, 0.5, 0, 0.5], [0, 0, 0, 0, 1.0]]
    >>> absorption_probabilities(walk, [0, 4])[1].tolist()
    [0.5, 0.5]
    """
    P, absorbing, transient = _split(P, absorbing)
    (found,) = _in_pieces(lambda piece: (_passage(piece, absorbing, transient),), P)
    _require_absorption(P, found[..., -1], transient)
    return found[..., :-1]


def simulate_absorption(
    P,
    absorbing: int | Sequence[int],
    start: int,
    walkers: int,
    generator: torch.Generator,
    max_steps: int = 100_000,
) -> Tensor:
    """Let walkers run until they are absorbed: a check of :func:`absorbing_times`.

    Parameters
    ----------
    P : array_like, (n, n)
        Transition matrix.
    absorbing : int or sequence of int
        As in :func:`absorbing_times`.
    start : int
        State from which every walker starts; not an absorbing one.
    walkers : int
        Number of walkers.
    generator : torch.Generator
        On the device of P.
    max_steps : int
        Steps after which to give up.

    Returns
    -------
    Tensor, (walkers,), int64
        Steps each walker took.

    Raises
    ------
    ValueError
        If P or absorbing are as :func:`absorbing_times` refuses them, start is no transient state, or a walker is not
        absorbed within ``max_steps``.

    Examples
    --------
    >>> chain = [[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 1.0]]
    >>> simulate_absorption(chain, 2, start=0, walkers=3, generator=torch.Generator().manual_seed(0)).tolist()
    [2, 2, 2]
    """
    (P,) = checks.tensors(P=P)
    if P.dim() != 2:
        raise ValueError(f"P must have shape (n, n), got {tuple(P.shape)}")
    absorbing_times(P, absorbing)
    P, absorbing, _ = _split(P, absorbing)
    start = checks.integer("start", start, lowest=0, highest=len(P) - 1)
    if start in absorbing:
        raise ValueError(f"start must be a state that is not absorbing, got {start}")
    walkers = checks.integer("walkers", walkers, lowest=1)
    max_steps = checks.integer("max_steps", max_steps, lowest=1)
    generator = checks.generator("generator", generator)
    if generator.device.type != P.device.type:
        raise ValueError(f"generator must live on {P.device} like P, got one on {generator.device}")
    ends = torch.zeros(len(P), dtype=torch.bool, device=P.device)
    ends[absorbing] = True
    upto = P.cumsum(dim=-1)
    steps = torch.zeros(walkers, dtype=torch.int64, device=P.device)
    walking = torch.arange(walkers, device=P.device)
    state = torch.full((walkers,), start, dtype=torch.int64, device=P.device)
    for step in range(1, max_steps + 1):
        draw = torch.rand(len(walking), 1, generator=generator, dtype=P.dtype, device=P.device)
        # The last sum may be a rounding error away from 1: the draw is scaled to it.
        state = torch.searchsorted(upto[state], draw * upto[state, -1:], right=True)[:, 0]
        arrived = ends[state]
        steps[walking[arrived]] = step
        walking, state = walking[~arrived], state[~arrived]
        if len(walking) == 0:
            return steps
    raise ValueError(f"max_steps must be enough for every walker; {len(walking)} walk on after {max_steps}")


def stationary_law(P) -> Tensor:
    """Distribution that the chain keeps, pi P = pi.

    Parameters
    ----------
    P : array_like, (..., n, n)
        Transition matrices with one closed class of states each.

    Returns
    -------
    Tensor, (..., n)

    Raises
    ------
    ValueError
        If P has negative entries or rows that do not sum to 1, or more than one closed class, so that the law is not
        unique.

    Examples
    --------
    >>> stationary_law([[0.9, 0.1], [0.3, 0.7]]).tolist()
    [0.75, 0.25]
    """
    P = _chain(P)
    n = P.shape[-1]
    if not tracing.active():
        reached = _reached(P)
        # One closed class means that some state can be reached from every state.
        unique = reached.all(dim=-2).any(dim=-1)
        checks.require(unique, "P must have one closed class of states, but there are several and no unique law")
    identity = torch.eye(n, dtype=P.dtype, device=P.device)
    # pi (I - P + 1 1^T / n) = 1^T / n: the balance equations and the sum in one regular system.
    system = (identity - P + 1 / n).mT
    return _solve(system, torch.full_like(P[..., :1], 1 / n))[..., 0].clamp(min=0)


def spectral_gap(P) -> Tensor:
    """Distance of the second largest eigenvalue modulus from 1.

    Parameters
    ----------
    P : array_like, (..., n, n)
        Transition matrices of at least two states.

    Returns
    -------
    Tensor, (...)
        From 0 (never forgets where it started, or periodic) to 1.

    Raises
    ------
    ValueError
        If P has fewer than two states, negative entries or rows that do not sum to 1.

    Examples
    --------
    >>> round(float(spectral_gap([[0.9, 0.1], [0.3, 0.7]])), 12)
    0.4
    """
    return 1 - _second(P)


def mixing_time(P) -> Tensor:
    """Steps in which the memory of the start fades by a factor e, -1 / ln of the second largest eigenvalue modulus.

    Parameters
    ----------
    P : array_like, (..., n, n)
        Transition matrices of at least two states.

    Returns
    -------
    Tensor, (...)
        In steps; infinite without a spectral gap.

    Raises
    ------
    ValueError
        If P has fewer than two states, negative entries or rows that do not sum to 1.

    Examples
    --------
    >>> round(float(mixing_time([[0.9, 0.1], [0.3, 0.7]])), 6)
    1.957615
    """
    return (1 / _second(P).log()).abs()


def _chain(P) -> Tensor:
    (P,) = checks.tensors(P=P)
    checks.square("P", P)
    if P.numel() and not tracing.active():
        lowest = P.detach().amin()
        checks.require(lowest >= 0, "P must have entries of at least 0", lowest)
        slack = math.sqrt(torch.finfo(P.dtype).eps)
        for extreme in (P.detach() @ P.new_ones(P.shape[-1])).aminmax():
            checks.require((extreme - 1).abs() <= slack, "P must have rows that sum to 1", extreme)
    return P


def _split(P, absorbing) -> tuple[Tensor, list[int], list[int]]:
    """The matrix, the absorbing states and the others."""
    P = _chain(P)
    n = P.shape[-1]
    one = isinstance(absorbing, (int, np.integer)) and not isinstance(absorbing, bool)
    several = isinstance(absorbing, (Sequence, range)) and not isinstance(absorbing, str) and len(absorbing) > 0
    if not one and not several:
        raise ValueError(f"absorbing must be a state or a list of states, got {checks.describe(absorbing)}")
    states = [absorbing] if one else list(absorbing)
    states = [checks.integer("absorbing", state, lowest=0, highest=n - 1) for state in states]
    transient = [state for state in range(n) if state not in states]
    if len(set(states)) < len(states) or not transient:
        raise ValueError(f"absorbing must name different states and leave one of the {n} out, got {absorbing!r}")
    return P, states, transient


def _part(P: Tensor, rows: list[int], columns: list[int]) -> Tensor:
    """Rows and columns of a matrix; a view where they are neighbours."""
    for dim, states in ((-2, rows), (-1, columns)):
        if states == list(range(states[0], states[0] + len(states))):
            P = P.narrow(dim, states[0], len(states))
        else:
            P = P.index_select(dim, torch.tensor(states, device=P.device))
    return P


def _solve(system: Tensor, right: Tensor) -> Tensor:
    """Solve; NaN for a system without a solution, to be refused by who knows what it means."""
    if tracing.active():
        return torch.linalg.solve(system, right)
    return _marked(*torch.linalg.solve_ex(system, right))


def _inverse(system: Tensor) -> Tensor:
    """Invert; NaN for a singular matrix."""
    if tracing.active():
        return torch.linalg.inv(system)
    return _marked(*torch.linalg.inv_ex(system))


def _marked(found: Tensor, failed: Tensor) -> Tensor:
    if not bool(failed.any()):
        return found
    return torch.where(failed[..., None, None] == 0, found, math.nan)


def _in_pieces(function: Callable[[Tensor], tuple[Tensor, ...]], P: Tensor) -> list[Tensor]:
    """Apply a function to chains; on a CPU to many of them in pieces that stay in the cache."""
    if P.device.type != "cpu" or P.dim() < 3 or P.shape[:-2].numel() <= CHAINS:
        return list(function(P))
    pieces = [function(piece) for piece in P.flatten(end_dim=-3).split(CHAINS)]
    return [torch.cat(parts).unflatten(0, P.shape[:-2]) for parts in zip(*pieces)]


def _times(P: Tensor, transient: list[int]) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, standard deviation and fundamental matrix."""
    identity = torch.eye(len(transient), dtype=P.dtype, device=P.device)
    N = _inverse(identity - _part(P, transient, transient))
    mean = N.sum(dim=-1)
    variance = (2 * (N @ mean[..., None])[..., 0] - mean - mean.square()).clamp(min=0)
    # The square root with a finite slope where nothing is random.
    sd = variance * variance.clamp(min=torch.finfo(variance.dtype).tiny).rsqrt()
    return mean, sd, N


def _passage(P: Tensor, absorbing: list[int], transient: list[int]) -> Tensor:
    """Chances of each end and, last, the mean time."""
    identity = torch.eye(len(transient), dtype=P.dtype, device=P.device)
    leaving = _part(P, transient, absorbing)
    right = torch.cat([leaving, torch.ones_like(leaving[..., :1])], dim=-1)
    return _solve(identity - _part(P, transient, transient), right)


def _require_absorption(P: Tensor, mean: Tensor, transient: list[int]) -> None:
    """Refuse chains in which a state never reaches an absorbing one.

    Such an I - Q is singular: 1 is not in its range, so that rounding leaves a mean of the order 1 / eps, or none.
    Where the mean is far from that, every state gets there; elsewhere the paths are looked at.
    """
    if tracing.active():
        return
    sound = (mean >= 0.5) & (mean < 1e-4 / torch.finfo(mean.dtype).eps)
    doubtful = ~sound.all(dim=-1)
    if not bool(doubtful.any()):
        return
    reached = _reached(P[doubtful])
    absorbing = [state for state in range(P.shape[-1]) if state not in transient]
    stuck = ~reached[..., transient, :][..., absorbing].any(dim=-1)
    if bool(stuck.any()):
        chain = stuck[stuck.any(dim=-1)][0]
        names = [state for state, trapped in zip(transient, chain.tolist()) if trapped]
        raise ValueError(
            f"P must lead from every state to an absorbing one (I - Q is singular), but the states {names} "
            f"never reach {absorbing}"
        )


def _reached(P: Tensor) -> Tensor:
    """Which states can be reached from which, in any number of steps; a state reaches itself."""
    n = P.shape[-1]
    link = ((P > 0) | torch.eye(n, dtype=torch.bool, device=P.device)).to(P.dtype)
    for _ in range(max(n - 1, 1).bit_length()):
        link = (link @ link > 0).to(P.dtype)
    return link > 0


def _second(P) -> Tensor:
    P = _chain(P)
    if P.shape[-1] < 2:
        raise ValueError(f"P must have at least two states, got shape {tuple(P.shape)}")
    moduli = torch.linalg.eigvals(P).abs().sort(dim=-1, descending=True).values
    return moduli[..., 1].clamp(max=1)
