"""A one-step population map as quantum mechanics: H = i log L, fractional time, and the lift to many individuals.

One step is one unit of time, so x_n = exp(-i H n) x_0. H is not Hermitian: populations grow and die. Reconstructed in
the spirit of Gilman et al., arXiv:2412.19831.
"""

from __future__ import annotations

import math

import numpy as np
import scipy.linalg
import torch
from torch import Tensor

from lib import checks
from lib.live import tracing

__all__ = ["fock_lift", "fractional_steps", "hamiltonian", "hermitian_parts", "occupations", "two_class_hamiltonian"]


def hamiltonian(L) -> Tensor:
    """Hamiltonian of a one-step map: H = i log L, so that exp(-i H) = L.

    Parameters
    ----------
    L : array_like, (..., n, n)
        Real, without an eigenvalue 0. The principal logarithm is taken: a negative eigenvalue gives H a real part -pi.

    Returns
    -------
    Tensor, complex, (..., n, n)
        Energies per step (units of 1 / step).

    Raises
    ------
    ValueError
        If L is not a finite square matrix or is singular (0 has no logarithm).

    Notes
    -----
    Uses ``scipy.linalg.logm`` matrix by matrix, which also copes with repeated eigenvalues. Not differentiable, not
    for live figures: see :func:`two_class_hamiltonian`.

    Examples
    --------
    >>> H = hamiltonian([[1.0, 2.0], [0.5, 0.0]])
    >>> round(float(H.diagonal().sum().real), 6)
    -3.141593
    """
    (L,) = checks.tensors(L=L)
    size = checks.square("L", L)
    flat = L.detach().cpu().double().reshape(-1, size, size).numpy()
    sizes = np.abs(np.linalg.eigvals(flat))
    # What rounding of the entries makes of an eigenvalue 0 still counts as 0.
    if (sizes.min(axis=-1) <= 450 * torch.finfo(L.dtype).eps * sizes.max(axis=-1)).any():
        raise ValueError("L must not have an eigenvalue 0: its logarithm does not exist")
    logarithms = [scipy.linalg.logm(matrix) for matrix in flat]
    energies = 1j * torch.as_tensor(np.stack(logarithms).astype(np.complex128)).reshape(L.shape)
    kind = torch.complex64 if L.dtype == torch.float32 else torch.complex128
    return energies.to(dtype=kind, device=L.device)


def _two_classes(fecundity, survival) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Eigenvalues (growing, alternating) and projectors of [[f1, f2], [s, 0]]."""
    fecundity, survival = checks.tensors(fecundity=fecundity, survival=survival)
    checks.shape("fecundity", fecundity, 2)
    checks.shape("survival", survival, 1)
    first, second = fecundity.unbind(dim=-1)
    survival = survival[..., 0]
    checks.batch(fecundity=first.shape, survival=survival.shape)
    checks.require(fecundity >= 0, "fecundity must be at least 0", fecundity)
    checks.require((survival >= 0) & (survival <= 1), "survival must lie in [0, 1]", survival)
    checks.require(
        second * survival > 0, "second fecundity and survival must be above 0: the matrix has no logarithm otherwise"
    )
    root = torch.sqrt(first**2 + 4 * second * survival)
    grow, alternate = (first + root) / 2, (first - root) / 2
    zero = torch.zeros_like(first + second * survival)
    matrix = torch.stack([torch.stack([first + zero, second + zero], -1), torch.stack([survival + zero, zero], -1)], -2)
    identity = torch.eye(2, dtype=matrix.dtype, device=matrix.device)
    gap = root[..., None, None]
    onto_grow = (matrix - alternate[..., None, None] * identity) / gap
    onto_alternate = (grow[..., None, None] * identity - matrix) / gap
    return grow, alternate, onto_grow, onto_alternate


def two_class_hamiltonian(fecundity, survival) -> Tensor:
    """Hamiltonian of the two-class Leslie matrix [[f1, f2], [s, 0]] in closed form.

    ``H = i ln(lambda_+) P_+ + (i ln|lambda_-| - pi) P_-``, with the projectors ``P_+`` and ``P_-`` on the two modes.
    Batched, differentiable, and usable in live figures.

    Parameters
    ----------
    fecundity : array_like, (..., 2)
        Offspring per individual and step; the second above 0.
    survival : array_like, (..., 1)
        In (0, 1].

    Returns
    -------
    Tensor, complex, (..., 2, 2)

    Raises
    ------
    ValueError
        If the shapes or signs are wrong, or f2 s = 0 (the matrix is singular).

    Examples
    --------
    >>> H = two_class_hamiltonian([1.0, 2.0], [0.5])
    >>> torch.allclose(H, hamiltonian([[1.0, 2.0], [0.5, 0.0]]))
    True
    """
    grow, alternate, onto_grow, onto_alternate = _two_classes(fecundity, survival)
    imaginary = grow.log()[..., None, None] * onto_grow + (-alternate).log()[..., None, None] * onto_alternate
    return torch.complex(-math.pi * onto_alternate, imaginary)


def fractional_steps(fecundity, survival, x0, times) -> Tensor:
    """Population at any time, also between steps: exp(-i H t) x0 for the two-class Leslie matrix.

    Parameters
    ----------
    fecundity, survival : array_like, (..., 2) and (..., 1)
        As in :func:`two_class_hamiltonian`.
    x0 : array_like, (..., 2)
        Counts at time 0.
    times : array_like, (t,)
        Times in steps.

    Returns
    -------
    Tensor, complex, (..., t, 2)
        Real at whole times, where it equals the recursion.

    Raises
    ------
    ValueError
        As :func:`two_class_hamiltonian`, and if the shapes of x0 or times are wrong.

    Examples
    --------
    >>> fractional_steps([1.0, 2.0], [0.5], [1.0, 1.0], [1.0]).real
    tensor([[3.0000, 0.5000]], dtype=torch.float64)
    """
    fecundity, survival, x0, times = checks.tensors(fecundity=fecundity, survival=survival, x0=x0, times=times)
    checks.shape("x0", x0, 2)
    if times.dim() != 1:
        raise ValueError(f"times must have shape (t,), got {tuple(times.shape)}")
    grow, alternate, onto_grow, onto_alternate = _two_classes(fecundity, survival)
    checks.batch(rates=grow.shape, x0=x0.shape[:-1])
    growing = (onto_grow @ x0[..., None])[..., 0][..., None, :]
    alternating = (onto_alternate @ x0[..., None])[..., 0][..., None, :]
    steady = (grow.log()[..., None] * times).exp()[..., None]
    fading = ((-alternate).log()[..., None] * times).exp()[..., None]
    turn = (math.pi * times)[:, None]
    return torch.complex(
        steady * growing + fading * torch.cos(turn) * alternating, fading * torch.sin(turn) * alternating
    )


def _complex(H) -> Tensor:
    """A finite complex tensor, also from real numbers."""
    if not (isinstance(H, Tensor) and H.is_complex()):
        (H,) = checks.tensors(H=H)
        return torch.complex(H, torch.zeros_like(H))
    if not tracing.active():
        checks.require(H.isfinite(), "H must be finite, but holds NaN or infinity")
    return H


def hermitian_parts(H) -> tuple[Tensor, Tensor]:
    """Split H = H_h + i G into two Hermitian matrices: oscillation H_h and growth G.

    Parameters
    ----------
    H : Tensor, (..., n, n)

    Returns
    -------
    tuple of Tensor, complex, (..., n, n)

    Raises
    ------
    ValueError
        If H is not a finite square tensor.

    Examples
    --------
    >>> oscillation, growth = hermitian_parts(hamiltonian([[1.0, 2.0], [0.5, 0.0]]))
    >>> [round(float(value), 6) for value in torch.linalg.eigvalsh(oscillation)]
    [-3.489633, 0.348041]
    """
    if not isinstance(H, Tensor):
        raise ValueError(f"H must be a tensor, got {checks.describe(H)}")
    checks.square("H", H)
    H = _complex(H)
    return (H + H.mH) / 2, (H - H.mH) / 2j


def occupations(cutoff: int) -> Tensor:
    """Occupation numbers (n1, n2) of the basis states of the two-mode Fock space, in the order of :func:`fock_lift`.

    Parameters
    ----------
    cutoff : int
        Levels per mode: 0 to cutoff - 1 individuals; at least 2.

    Returns
    -------
    Tensor, int64, (cutoff**2, 2)

    Raises
    ------
    ValueError
        If the cutoff is not an integer of at least 2.

    Examples
    --------
    >>> occupations(2).tolist()
    [[0, 0], [0, 1], [1, 0], [1, 1]]
    """
    levels = torch.arange(checks.integer("cutoff", cutoff, lowest=2))
    return torch.cartesian_prod(levels, levels)


def fock_lift(H, cutoff: int) -> Tensor:
    """Second quantisation of a two-class Hamiltonian: sum over i, j of H_ij a_i^dagger a_j.

    Parameters
    ----------
    H : array_like or complex Tensor, (..., 2, 2)
    cutoff : int
        Levels per mode, at least 2. Sectors with fewer than ``cutoff`` individuals are exact; larger ones are cut off.

    Returns
    -------
    Tensor, complex, (..., cutoff**2, cutoff**2)
        In the basis of :func:`occupations`: the state with n1 and n2 individuals has index n1 * cutoff + n2. It
        commutes with the total number, and exp(-i H) on the sector of k individuals is the k-th symmetric power of L.

    Raises
    ------
    ValueError
        If H is not 2 by 2 or the cutoff is not an integer of at least 2.

    Examples
    --------
    >>> lifted = fock_lift(hamiltonian([[1.0, 2.0], [0.5, 0.0]]), cutoff=4)
    >>> lifted.shape
    torch.Size([16, 16])
    """
    H = _complex(H)
    checks.shape("H", H, 2, 2)
    cutoff = checks.integer("cutoff", cutoff, lowest=2)
    lower = torch.diag(torch.arange(1, cutoff, dtype=torch.float64).sqrt(), 1).to(dtype=H.dtype, device=H.device)
    identity = torch.eye(cutoff, dtype=H.dtype, device=H.device)
    modes = torch.kron(lower, identity), torch.kron(identity, lower)
    return sum(H[..., i, j, None, None] * (modes[i].mH @ modes[j]) for i in (0, 1) for j in (0, 1))
