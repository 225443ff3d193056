"""Absorbing Markov chains: how long until given states are reached, which of them first, and walkers as a check.

States are the last two dimensions: row from, column to. One step is the time between two observations. The chance to
stay in a state is taken as what the other entries of its row leave of 1: rounding of a diagonal close to 1 then does
not decide about the time.

Many small chains in float64 on a CPU are solved in compiled loops where numba is installed, by an elimination without
subtractions (``lib._markov_numba``); everything else is plain torch, with the same meaning.

Source: J. G. Kemeny and J. L. Snell, *Finite Markov chains* (1960), chapter III.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.autograd import forward_ad

from lib import _chains, checks
from lib._compiled import loops
from lib.live import tracing

__all__ = ["AbsorbingTimes", "absorbing_times", "absorption_probabilities", "simulate_absorption"]

CHAINS = 512  # chains that torch works on together; only more than these are worth compiled loops
STATES = 48  # transient states up to which those are faster than LAPACK


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
        absorbing one (I - Q is singular; the message names the states), or only by chances that are lost to rounding.

    Notes
    -----
    The compiled loops for many chains give each entry of N and of the mean to a few rounding errors, however rarely a
    chain moves. LAPACK, which solves the rest, may lose as many digits as the mean has before the point.

    Examples
    --------
    A fair coin until the first head.

    >>> mean, sd, N = absorbing_times([[0.5, 0.5], [0.0, 1.0]], absorbing=1)
    >>> float(mean), round(float(sd), 6), float(N)
    (2.0, 1.414214, 2.0)
    """
    P, absorbing, transient = _split(P, absorbing)
    kernels = _compiled(P, transient)
    if kernels is None:
        mean, sd, N = _in_pieces(lambda piece: _times(piece, absorbing, transient), P)
    else:
        mean, sd, N = _compiled_times(kernels, P, absorbing, transient)
    _require_absorption(P, mean, mean, absorbing, transient)
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
    kernels = _compiled(P, transient)
    if kernels is None:
        (found,) = _in_pieces(lambda piece: (_passage(piece, absorbing, transient),), P)
        chances, mean = found[..., :-1], found[..., -1]
    else:
        chances, mean = _compiled_passage(kernels, P, absorbing, transient), None
    _require_absorption(P, chances, mean, absorbing, transient)
    return chances


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


def _split(P, absorbing) -> tuple[Tensor, list[int], list[int]]:
    """The matrix, the absorbing states and the others."""
    P = _chains.probabilities(P)
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


def _in_pieces(function: Callable[[Tensor], tuple[Tensor, ...]], P: Tensor) -> list[Tensor]:
    """Apply a function to chains; on a CPU to many of them in pieces that stay in the cache."""
    if P.device.type != "cpu" or P.dim() < 3 or P.shape[:-2].numel() <= CHAINS:
        return list(function(P))
    pieces = [function(piece) for piece in P.flatten(end_dim=-3).split(CHAINS)]
    return [torch.cat(parts).unflatten(0, P.shape[:-2]) for parts in zip(*pieces)]


def _system(P: Tensor, absorbing: list[int], transient: list[int]) -> tuple[Tensor, Tensor]:
    """I - Q, with what a row's other entries sum to on the diagonal, and the chances to be absorbed."""
    identity = torch.eye(len(transient), dtype=P.dtype, device=P.device)
    moves = _part(P, transient, transient) * (1 - identity)
    ends = _part(P, transient, absorbing)
    leaving = moves.sum(dim=-1) + ends.sum(dim=-1)
    return identity * leaving[..., None] - moves, ends


def _times(P: Tensor, absorbing: list[int], transient: list[int]) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, standard deviation and fundamental matrix."""
    system, _ = _system(P, absorbing, transient)
    N = _chains.inverse(system)
    mean = N.sum(dim=-1)
    variance = (2 * (N @ mean[..., None])[..., 0] - mean - mean.square()).clamp(min=0)
    # The square root with a finite slope where nothing is random.
    sd = variance * variance.clamp(min=torch.finfo(variance.dtype).tiny).rsqrt()
    return mean, sd, N


def _passage(P: Tensor, absorbing: list[int], transient: list[int]) -> Tensor:
    """Chances of each end and, last, the mean time."""
    system, ends = _system(P, absorbing, transient)
    return _chains.solve(system, torch.cat([ends, torch.ones_like(ends[..., :1])], dim=-1))


def _kernels():
    """The compiled loops, or None and one warning where numba is missing."""
    return loops("lib._markov_numba", "many chains")


def _compiled(P: Tensor, transient: list[int]):
    """The compiled loops if these chains are to run in them, else None."""
    many = P.dim() > 2 and P.shape[:-2].numel() > CHAINS and len(transient) <= STATES
    if not many or tracing.active() or P.device.type != "cpu" or P.dtype != torch.float64 or not P.is_contiguous():
        return None
    differentiated = torch.is_grad_enabled() and P.requires_grad
    if differentiated or forward_ad.unpack_dual(P).tangent is not None:
        return None
    return _kernels()


def _compiled_times(kernels, P: Tensor, absorbing: list[int], transient: list[int]) -> tuple[Tensor, Tensor, Tensor]:
    size, leading = len(transient), P.shape[:-2]
    mean, sd = (P.new_empty(*leading, size) for _ in range(2))
    N = P.new_empty(*leading, size, size)
    order = np.array([*transient, *absorbing])
    stacked = (tensor.detach().flatten(end_dim=len(leading) - 1).numpy() for tensor in (P, mean, sd, N))
    P, *results = stacked
    kernels.times(P, order, size, *results)
    return mean, sd, N


def _compiled_passage(kernels, P: Tensor, absorbing: list[int], transient: list[int]) -> Tensor:
    size, leading = len(transient), P.shape[:-2]
    chances = P.new_empty(*leading, size, len(absorbing))
    order = np.array([*transient, *absorbing])
    P, found = (tensor.detach().flatten(end_dim=len(leading) - 1).numpy() for tensor in (P, chances))
    kernels.passage(P, order, size, found)
    return chances


def _require_absorption(
    P: Tensor, found: Tensor, mean: Tensor | None, absorbing: list[int], transient: list[int]
) -> None:
    """Refuse chains in which a state never reaches an absorbing one.

    Such an I - Q is singular: 1 is not in its range, so that rounding leaves a mean of the order 1 / eps, or none.
    Where the mean is far from that, every state gets there; elsewhere the paths are looked at. Elimination without
    subtractions leaves NaN, and needs no mean.
    """
    if tracing.active() or P.numel() == 0:
        return
    longest = 1e-4 / torch.finfo(P.dtype).eps
    # All together first: to look at every entry takes longer.
    lowest, highest = (found if mean is None else mean).aminmax()
    if bool(highest.isfinite() if mean is None else (lowest >= 0.5) & (highest < longest)):
        return
    finite = found.isfinite().flatten(start_dim=P.dim() - 2).all(dim=-1)
    doubtful = ~finite
    if mean is not None:
        doubtful |= ~((mean >= 0.5) & (mean < longest)).all(dim=-1)
    if not bool(doubtful.any()):
        return
    stuck = ~_chains.reached(P[doubtful])[..., transient, :][..., absorbing].any(dim=-1)
    if bool(stuck.any()):
        chain = stuck[stuck.any(dim=-1)][0]
        names = [state for state, trapped in zip(transient, chain.tolist()) if trapped]
        raise ValueError(
            f"P must lead from every state to an absorbing one (I - Q is singular), but the states {names} "
            f"never reach {absorbing}"
        )
    checks.require(
        finite,
        f"P must lead from every state to one of {absorbing} by chances that {P.dtype} can resolve, "
        "but some are lost to rounding",
    )
