"""What a scan costs: operations, bytes, and how fast a machine can be with that mix.

Source: Lahoti et al., "Mamba-3", arXiv:2603.15569, Table 2 and Section 3.3.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lib import checks

__all__ = ["arithmetic_intensity", "roofline", "scan_flops"]


def arithmetic_intensity(N, P, R=1) -> Tensor:
    """Operations per byte of one step of generation, with numbers of two bytes.

    Parameters
    ----------
    N, P : array_like
        Cells and width of a head, above 0.
    R : array_like
        Inputs and outputs of a head (rank), above 0.

    Returns
    -------
    Tensor
        In FLOP per byte; tends to 2.5 R for a large state.

    Raises
    ------
    ValueError
        If an argument is not positive, or the shapes do not broadcast.

    Examples
    --------
    >>> arithmetic_intensity(128, 64).item()
    2.4020
    """
    N, P, R = _positive(N=N, P=P, R=R)
    operations = 4 * N * P * R + N * P - P * R
    moved = 2 * (1 + 2 * N * R + P * R + N * P)
    return operations / moved


def scan_flops(T, N, P, C, R=1) -> Tensor:
    """Operations of the chunked scan, one head and one sequence.

    Parameters
    ----------
    T : array_like
        Tokens.
    N, P : array_like
        Cells and width of a head.
    C : array_like
        Tokens in a chunk.
    R : array_like
        Inputs and outputs of a head: with chunks R times shorter the work grows R-fold, with equal chunks more.

    Returns
    -------
    Tensor
        In FLOP: inside the chunks 2 T C (N + P), to and from the state 4 T N P, from chunk to chunk 2 N P T / C.

    Raises
    ------
    ValueError
        If an argument is not positive, or the shapes do not broadcast.

    Examples
    --------
    >>> int(scan_flops(2048, 64, 64, 64))
    67371008
    """
    T, N, P, C, R = _positive(T=T, N=N, P=P, C=C, R=R)
    inside = 2 * (T * R) * (C * R) * (N + P)
    states = 4 * (T * R) * N * P + 2 * N * P * T / C
    return inside + states


def roofline(intensity, peak, bandwidth) -> Tensor:
    """Speed that a machine can reach: bound by its memory, then by its arithmetic.

    Parameters
    ----------
    intensity : array_like
        Operations per byte (FLOP per byte), above 0.
    peak : array_like
        Arithmetic (FLOP per second), above 0.
    bandwidth : array_like
        Memory (bytes per second), above 0.

    Returns
    -------
    Tensor
        In FLOP per second.

    Raises
    ------
    ValueError
        If an argument is not positive, or the shapes do not broadcast.

    Examples
    --------
    >>> roofline([2.0, 1000.0], peak=989e12, bandwidth=3.35e12).tolist()
    [6700000000000.0, 989000000000000.0]
    """
    intensity, peak, bandwidth = _positive(intensity=intensity, peak=peak, bandwidth=bandwidth)
    return torch.minimum(intensity * bandwidth, peak)


def _positive(**named) -> list[Tensor]:
    read = checks.tensors(**named)
    for name, value in zip(named, read, strict=True):
        checks.require(value > 0, f"{name} must be positive", value)
    checks.batch(**{name: value.shape for name, value in zip(named, read, strict=True)})
    return read
