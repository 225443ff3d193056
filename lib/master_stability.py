"""When sites that run the same chaotic map stay together: the stability of the synchronous state.

A small difference between the sites of a coupled map lattice splits into the modes of the coupling W. Per step mode k
grows by exp(Lyapunov exponent of the map) times ``|1 - eps (1 - w_k)|``, whatever the map: the eigenvalues of the
coupling and one number of the map decide.

Source: L. M. Pecora and T. L. Carroll, Phys. Rev. Lett. 80 (1998) 2109 (master stability).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lib import _coupling, checks, graphs, projection

__all__ = ["synchrony_window", "transverse_eigenvalues", "transverse_multipliers"]

# Beyond this size the dense eigenvalues behind transverse_eigenvalues take minutes and gigabytes.
LARGEST_SPECTRUM = 4096


def transverse_eigenvalues(W) -> Tensor:
    """Eigenvalues of a coupling on the differences between sites: all but the 1 of the synchronous state.

    Parameters
    ----------
    W : {"mean"}, Graph, or array_like, (..., n, n)
        Row-stochastic coupling as for :func:`lib.coupled_maps.coupled_map_step`. For ``"mean"`` the n - 1 equal
        eigenvalues 0 are given once.

    Returns
    -------
    Tensor, complex, (..., n - 1)
        By falling real part, of a conjugate pair first the one above the real axis.

    Raises
    ------
    ValueError
        If W is not row-stochastic, has fewer than two sites or more than 4096, or is a name without a size.

    Examples
    --------
    >>> ring_of_four = [[0, 0.5, 0, 0.5], [0.5, 0, 0.5, 0], [0, 0.5, 0, 0.5], [0.5, 0, 0.5, 0]]
    >>> transverse_eigenvalues(ring_of_four).real.round(decimals=6).abs().tolist()
    [0.0, 0.0, 1.0]
    """
    if isinstance(W, str):
        checks.choice("W", W, ("mean",))
        return torch.zeros(1, dtype=torch.complex128)
    if isinstance(W, graphs.Graph):
        _check_spectrum(W.size)
        checks.require(W.total > 0, "W must give every site a neighbour")
        W = graphs.dense(graphs.row_stochastic(W))
    W = _coupling.stochastic_matrix("W", W)
    _check_spectrum(W.shape[-1])
    return projection.eigenvalues(W)[..., 1:]


def transverse_multipliers(W, eps, lyapunov) -> Tensor:
    """Factor per step of a small difference between sites in each mode: ``e^lyapunov |1 - eps (1 - w_k)|``.

    Full synchrony attracts its neighbourhood if all are below 1.

    Parameters
    ----------
    W : {"mean"}, Graph, or array_like, (..., n, n)
        As for :func:`transverse_eigenvalues`.
    eps : array_like, (...)
        Coupling, in [0, 1].
    lyapunov : array_like, (...)
        Lyapunov exponent of the map, per step.

    Returns
    -------
    Tensor, (..., n - 1)
        In the order of :func:`transverse_eigenvalues`.

    Raises
    ------
    ValueError
        As :func:`transverse_eigenvalues`, and if eps leaves [0, 1].

    Examples
    --------
    >>> transverse_multipliers("mean", 0.75, math.log(2))
    tensor([0.5000], dtype=torch.float64)
    """
    w = transverse_eigenvalues(W)
    eps, lyapunov = checks.tensors(eps=eps, lyapunov=lyapunov)
    checks.batch(W=w.shape[:-1], eps=eps.shape, lyapunov=lyapunov.shape)
    _coupling.check_strength(eps)
    eps = eps[..., None]
    w = _beside(w, W, eps)
    size = torch.sqrt((1 - eps * (1 - w.real)) ** 2 + (eps * w.imag) ** 2)
    return lyapunov.exp()[..., None] * size


def synchrony_window(W, lyapunov) -> tuple[Tensor, Tensor]:
    """Interval of couplings in [0, 1] for which full synchrony is stable, in closed form.

    With mu = 1 - w_k, mode k asks for ``|mu|^2 eps^2 - 2 Re(mu) eps + 1 - e^(-2 lyapunov) < 0``: an interval for each,
    and the window is what they have in common.

    Parameters
    ----------
    W : {"mean"}, Graph, or array_like, (..., n, n)
        As for :func:`transverse_eigenvalues`.
    lyapunov : array_like, (...)
        Lyapunov exponent of the map, per step.

    Returns
    -------
    low, high : Tensor, (...)
        The open interval; both NaN if there is none, so that no eps compares as inside.

    Raises
    ------
    ValueError
        As :func:`transverse_eigenvalues`.

    Examples
    --------
    >>> low, high = synchrony_window([[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]], math.log(2))
    >>> round(float(low), 6), round(float(high), 6)
    (0.333333, 1.0)
    """
    w = transverse_eigenvalues(W)
    (lyapunov,) = checks.tensors(lyapunov=lyapunov)
    checks.batch(W=w.shape[:-1], lyapunov=lyapunov.shape)
    w = _beside(w, W, lyapunov)
    gap = 1 - w.real
    square = gap**2 + w.imag**2
    rest = 1 - torch.exp(-2 * lyapunov)[..., None]
    inside = gap**2 - square * rest
    root = inside.clamp(min=0).sqrt()
    # A mode with w = 1 (a second component of the graph) does not feel the coupling: stable or not for every eps.
    coupled = square > 1e-12
    scale = torch.where(coupled, square, 1.0)
    open_mode = torch.where(coupled, inside > 0, rest < 0)
    low = torch.where(coupled, (gap - root) / scale, 0.0).amax(dim=-1).clamp(min=0)
    high = torch.where(coupled, (gap + root) / scale, 1.0).amin(dim=-1).clamp(max=1)
    exists = open_mode.all(dim=-1) & (low < high - 1e-12)
    nothing = torch.full_like(low, math.nan)
    return torch.where(exists, low, nothing), torch.where(exists, high, nothing)


def _beside(w: Tensor, W, numbers: Tensor) -> Tensor:
    """Eigenvalues on the device of the numbers; in their precision, too, where a name has none of its own."""
    dtype = numbers.dtype.to_complex() if isinstance(W, str) else w.dtype
    return w.to(device=numbers.device, dtype=dtype)


def _check_spectrum(size: int) -> None:
    if not 2 <= size <= LARGEST_SPECTRUM:
        raise ValueError(f"W must have 2 to {LARGEST_SPECTRUM} sites for its eigenvalues, got {size}")
