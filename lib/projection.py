"""Population projection matrices: Leslie matrices, their growth, and the linear recursion they drive.

Everything is batched over leading dimensions. Populations are counts per age class (individuals, or individuals per
volume); one step is one unit of time of the matrix (a day for Gause's data). Lists and numbers are read as float64.

Sources: P. H. Leslie, Biometrika 33 (1945) 183; the vector-valued recursions follow Gilman et al., arXiv:2412.19831,
with the exact form reconstructed.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lib import checks
from lib.live import tracing

__all__ = [
    "block_matrix",
    "eigenvalues",
    "evolve",
    "evolve_normalised",
    "growth_factor",
    "leading_projector",
    "leslie_matrix",
    "net_reproduction",
    "stable_age_distribution",
]


def leslie_matrix(fecundity, survival) -> Tensor:
    """Leslie matrix: births in the first row, survival below the diagonal.

    Parameters
    ----------
    fecundity : array_like, (..., m)
        Offspring per individual of each age class and step, at least 0.
    survival : array_like, (..., m - 1)
        Fraction that reaches the next age class, in [0, 1].

    Returns
    -------
    Tensor, (..., m, m)

    Raises
    ------
    ValueError
        If the lengths do not differ by one, a fecundity is negative, or a survival lies outside [0, 1].

    Examples
    --------
    >>> leslie_matrix([0, 4, 3], [0.5, 0.25])
    tensor([[0.0000, 4.0000, 3.0000],
            [0.5000, 0.0000, 0.0000],
            [0.0000, 0.2500, 0.0000]], dtype=torch.float64)
    """
    fecundity, survival = checks.tensors(fecundity=fecundity, survival=survival)
    _check_rates(fecundity, survival)
    return births_and_survival(fecundity, survival)


def births_and_survival(fecundity: Tensor, survival: Tensor) -> Tensor:
    batch = torch.broadcast_shapes(fecundity.shape[:-1], survival.shape[:-1])
    classes = fecundity.shape[-1]
    L = fecundity.new_zeros(*batch, classes, classes)
    L[..., 0, :] = fecundity
    for age in range(classes - 1):
        L[..., age + 1, age] = survival[..., age]
    return L


def block_matrix(A, B, C, D, kind: str = "predator_prey") -> Tensor:
    """One-step matrix of two interacting age-structured species, z = (x; y).

    ``"predator_prey"``: prey x' = A x - B y, predator y' = C y + D x. ``"competition"``: x' = A x - B y, y' = C y - D
    x.

    Parameters
    ----------
    A, C : array_like, (..., m, m)
        What each species does alone (Leslie matrices), entries at least 0.
    B, D : array_like, (..., m, m)
        What y does to x, and x to y, entries at least 0.
    kind : {"predator_prey", "competition"}

    Returns
    -------
    Tensor, (..., 2 m, 2 m)

    Raises
    ------
    ValueError
        If the shapes differ, an entry is negative, or the kind is unknown.

    Examples
    --------
    >>> block_matrix([[1.0]], [[0.05]], [[1.0]], [[0.1]], kind="competition")
    tensor([[ 1.0000, -0.0500],
            [-0.1000,  1.0000]], dtype=torch.float64)
    """
    A, B, C, D = _check_blocks(A, B, C, D)
    checks.choice("kind", kind, ("predator_prey", "competition"))
    return two_species(A, B, C, D if kind == "predator_prey" else -D)


def two_species(A: Tensor, B: Tensor, C: Tensor, D: Tensor) -> Tensor:
    x_row = torch.cat([A, -B], dim=-1)
    y_row = torch.cat([D, C], dim=-1)
    return torch.cat([x_row, y_row], dim=-2)


def evolve(M, z0, steps: int, clip: bool = False, species: int = 2) -> Tensor:
    """Follow z' = M z, keeping every step.

    Parameters
    ----------
    M : array_like, (..., n, n)
        One-step matrix.
    z0 : array_like, (..., n)
        Counts at step 0.
    steps : int
        Number of steps, at least 0.
    clip : bool
        Replace negative entries by 0 after each step. A species with no individuals left stays out, whatever the
        others would add.
    species : int
        Number of equal blocks in z; only matters with ``clip``.

    Returns
    -------
    Tensor, (..., steps + 1, n)

    Raises
    ------
    ValueError
        If the shapes do not fit or ``steps`` is negative; with ``clip``, if z0 is negative or not divisible into
        species.

    Examples
    --------
    >>> M = block_matrix([[1.0]], [[0.5]], [[1.0]], [[0.25]], kind="competition")
    >>> evolve(M, [4.0, 4.0], steps=3, clip=True).tolist()
    [[4.0, 4.0], [2.0, 3.0], [0.5, 2.5], [0.0, 2.375]]
    """
    M, z, steps = _check_evolution(M, z0, steps, clip, species)
    path = [z]
    for _ in range(steps):
        z = step(M, z, clip, species)
        path.append(z)
    return torch.stack(path, dim=-2)


def step(M: Tensor, z: Tensor, clip: bool, species: int) -> Tensor:
    after = z @ M.mT if M.dim() == 2 else (M @ z[..., None])[..., 0]
    if not clip:
        return after
    alive = z.unflatten(-1, (species, -1)).amax(dim=-1, keepdim=True) > 0
    kept = after.unflatten(-1, (species, -1)).clamp(min=0)
    return torch.where(alive, kept, torch.zeros_like(kept)).flatten(start_dim=-2)


def evolve_normalised(M, z0, steps: int, clip: bool = False, species: int = 2) -> tuple[Tensor, Tensor]:
    """Follow z' = M z for many steps without overflow: direction and logarithm of the size.

    Parameters
    ----------
    M, z0, steps, clip, species
        As in :func:`evolve`.

    Returns
    -------
    direction : Tensor, (..., n)
        The last z divided by its largest absolute entry (0 if everything died).
    log_size : Tensor, (...)
        Natural logarithm of that entry; minus infinity if everything died.

    Raises
    ------
    ValueError
        As :func:`evolve`.

    Examples
    --------
    >>> direction, log_size = evolve_normalised([[2.0]], [3.0], steps=5000, species=1)
    >>> round(float(log_size), 3)
    3466.835
    """
    M, z, steps = _check_evolution(M, z0, steps, clip, species)
    size = z.abs().amax(dim=-1, keepdim=True)
    log_size = size.log()
    z = z / size.clamp(min=torch.finfo(z.dtype).tiny)
    for _ in range(steps):
        z = step(M, z, clip, species)
        size = z.abs().amax(dim=-1, keepdim=True)
        log_size = log_size + size.log()
        z = z / size.clamp(min=torch.finfo(z.dtype).tiny)
    return z, log_size[..., 0]


def growth_factor(L) -> Tensor:
    """Long-run growth per step: the spectral radius of a one-step matrix.

    Parameters
    ----------
    L : array_like, (..., n, n)
        Real or complex. For a primitive Leslie matrix this is the unique positive root of the Euler-Lotka equation.

    Returns
    -------
    Tensor, (...)
        0-dimensional for one matrix, so that it works like a float and also inside a live figure; ``float(...)`` gives
        the number.

    Raises
    ------
    ValueError
        If L is not a finite square matrix.

    Examples
    --------
    >>> round(float(growth_factor(leslie_matrix([0, 4, 3], [0.5, 0.25]))), 9)
    1.5
    """
    return torch.linalg.eigvals(_check_square(L)).abs().amax(dim=-1)


def eigenvalues(L) -> Tensor:
    """Eigenvalues in a fixed order: by falling real part, of a conjugate pair first the one above the real axis.

    Linear algebra libraries return them in an order of their own, which differs between machines and from the page.

    Parameters
    ----------
    L : array_like, (..., n, n)
        Real or complex. Real parts that agree to 9 decimals count as equal.

    Returns
    -------
    Tensor, (..., n), complex

    Raises
    ------
    ValueError
        If L is not a finite square matrix.

    Examples
    --------
    >>> eigenvalues([[0.0, -1.0], [1.0, 0.0]]).imag.tolist()
    [1.0, -1.0]
    """
    values = torch.linalg.eigvals(_check_square(L))
    values = values.gather(-1, values.imag.argsort(dim=-1, descending=True, stable=True))
    return values.gather(-1, values.real.round(decimals=9).argsort(dim=-1, descending=True, stable=True))


def net_reproduction(L) -> Tensor:
    """Net reproductive number R0: expected offspring of one newborn over its life.

    Parameters
    ----------
    L : array_like, (..., m, m)
        Leslie matrix.

    Returns
    -------
    Tensor, (...)
        Sum over ages of fecundity times survivorship. The population grows exactly when it is above 1.

    Raises
    ------
    ValueError
        If L is not a Leslie matrix.

    Examples
    --------
    >>> float(net_reproduction(leslie_matrix([0, 4, 3], [0.5, 0.25])))
    2.375
    """
    L = _check_leslie(L)
    return (L[..., 0, :] * _survivorship(L)).sum(dim=-1)


def stable_age_distribution(L) -> Tensor:
    """Shares of the age classes that growth at the leading factor keeps.

    Parameters
    ----------
    L : array_like, (..., m, m)
        Leslie matrix with some reproduction.

    Returns
    -------
    Tensor, (..., m)
        Survivorship discounted by the growth factor to the power of age; sums to 1.

    Raises
    ------
    ValueError
        If L is not a Leslie matrix or its growth factor is 0 (nobody reproduces).

    Examples
    --------
    >>> stable_age_distribution(leslie_matrix([0, 1.5, 1], [0.6, 0.4]))
    tensor([0.5623, 0.3179, 0.1198], dtype=torch.float64)
    """
    L = _check_leslie(L)
    growth = growth_factor(L)
    checks.require(growth > 0, "L must have a positive growth factor, but nobody reproduces (net reproduction 0)")
    ages = torch.arange(L.shape[-1], dtype=L.dtype, device=L.device)
    share = _survivorship(L) * growth[..., None] ** -ages
    return share / share.sum(dim=-1, keepdim=True)


def leading_projector(N) -> Tensor:
    """Projector on the leading mode of a non-negative matrix, v u^T with u^T v = 1.

    Perron and Frobenius: powers of N, rescaled, tend to it. Computed just so, by repeated squaring of the half-lazy
    matrix (N + shift) / 2, which has the same vectors and also converges when N is periodic. Differentiable and
    batched.

    Parameters
    ----------
    N : array_like, (..., n, n)
        Entries at least 0, with a simple leading eigenvalue (every irreducible matrix has one).

    Returns
    -------
    Tensor, (..., n, n)
        Its column sums are the left vector and its row sums the right vector, both up to scale.

    Raises
    ------
    ValueError
        If N is not square, has negative entries, or has no simple leading eigenvalue.

    Examples
    --------
    >>> leading_projector([[1.0, 1.0], [1.0, 1.0]])
    tensor([[0.5000, 0.5000],
            [0.5000, 0.5000]], dtype=torch.float64)
    """
    (N,) = checks.tensors(N=N)
    size = checks.square("N", N)
    checks.require(N >= 0, "N must have entries of at least 0", N)
    shift = N.sum(dim=-1).amax(dim=-1)[..., None, None] / 2
    checks.require(shift > 0, "N must have a simple leading eigenvalue, but it is zero")
    power = N / shift + torch.eye(size, dtype=N.dtype, device=N.device)
    for _ in range(40):
        power = power @ power
        power = power / power.diagonal(dim1=-2, dim2=-1).sum(dim=-1)[..., None, None]
    # The square of a projector of rank one has trace 1; a k-fold leading eigenvalue leaves 1/k.
    if not tracing.active():
        trace = (power @ power).diagonal(dim1=-2, dim2=-1).sum(dim=-1)
        checks.require((trace - 1).abs() < 1e-3, "N must have a simple leading eigenvalue")
    return power


def _survivorship(L: Tensor) -> Tensor:
    survival = L.diagonal(offset=-1, dim1=-2, dim2=-1)
    return torch.cat([torch.ones_like(L[..., 0, :1]), survival.cumprod(dim=-1)], dim=-1)


def _check_rates(fecundity: Tensor, survival: Tensor) -> None:
    if fecundity.dim() == 0 or survival.dim() == 0 or survival.shape[-1] != fecundity.shape[-1] - 1:
        raise ValueError(
            "survival must have one entry fewer than fecundity, "
            f"got shapes {tuple(survival.shape)} and {tuple(fecundity.shape)}"
        )
    checks.require(fecundity >= 0, lambda: f"fecundity must be at least 0, got {float(fecundity.min())}")
    checks.batch(fecundity=fecundity.shape[:-1], survival=survival.shape[:-1])
    checks.require(
        (survival >= 0) & (survival <= 1),
        lambda: f"survival must lie in [0, 1], got values from {float(survival.min())} to {float(survival.max())}",
    )


def _check_blocks(A, B, C, D) -> list[Tensor]:
    blocks = dict(zip("ABCD", checks.tensors(A=A, B=B, C=C, D=D), strict=True))
    size = checks.square("A", blocks["A"])
    for name, block in blocks.items():
        checks.shape(name, block, size, size)
        checks.require(block >= 0, f"{name} must have entries of at least 0", block)
    checks.batch(**{name: block.shape[:-2] for name, block in blocks.items()})
    return list(torch.broadcast_tensors(*blocks.values()))


def _check_evolution(M, z0, steps: int, clip: bool, species: int) -> tuple[Tensor, Tensor, int]:
    M, z = checks.tensors(M=M, z0=z0)
    size = checks.square("M", M)
    checks.shape("z0", z, size)
    steps = checks.integer("steps", steps, lowest=0)
    if checks.flag("clip", clip):
        checks.integer("species", species, lowest=1)
        if size % species:
            raise ValueError(f"species must divide the {size} classes of M when clip is on, got {species}")
        checks.require(z >= 0, lambda: f"z0 must be at least 0 when clip is on, got {float(z.min())}")
    batch = checks.batch(M=M.shape[:-2], z0=z.shape[:-1])
    return M, z.expand(*batch, size), steps


def _check_square(L) -> Tensor:
    """A finite square matrix, real or complex."""
    if not (isinstance(L, Tensor) and L.is_complex()):
        (L,) = checks.tensors(L=L)
    checks.square("L", L)
    if L.is_complex():
        checks.require(L.isfinite(), "L must be finite, but holds NaN or infinity")
    return L


def _check_leslie(L) -> Tensor:
    (L,) = checks.tensors(L=L)
    size = checks.square("L", L)
    pattern = torch.zeros(size, size, dtype=torch.bool, device=L.device)
    pattern[0, :] = True
    for age in range(size - 1):
        pattern[age + 1, age] = True
    checks.require(
        ((L == 0) | pattern) & (L >= 0),
        "L must be a Leslie matrix: entries of at least 0 in the first row and just below the diagonal, 0 elsewhere",
    )
    return L
