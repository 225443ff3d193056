"""Very many competing age-structured populations at once: a fast march, and how often clipping overturns the theorem.

The systems are those of :mod:`lib.competition`. What makes the march fast is only how numbers lie in memory; its
meaning is that of :func:`lib.projection.evolve_normalised`, against which it is tested.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from lib import checks, projection

__all__ = ["EnsembleResult", "march", "random_competition", "standing_ensemble"]


@dataclass(frozen=True)
class EnsembleResult:
    """What :func:`standing_ensemble` counts.

    Attributes
    ----------
    systems : int
        Number of systems drawn.
    linear_agrees, clipped_agrees : int
        Systems in which the simulated winner is the theorem's, without and with clipping.
    undecided : int
        Clipped systems without a single survivor: both species alive after the last step, or both gone.
    edges : Tensor, (bins + 1,)
        Edges of bins of the absolute margin, from 0 to 1.
    drawn, overturned : Tensor, int64, (bins,)
        Systems per bin, and how many of them clipping hands to the other species.
    """

    systems: int
    linear_agrees: int
    clipped_agrees: int
    undecided: int
    edges: Tensor
    drawn: Tensor
    overturned: Tensor


def random_competition(
    systems: int, classes: int, generator: torch.Generator, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Draw competitive systems with uniform entries.

    Fecundity U(0.05, 1.55), survival U(0.05, 0.95), B and D U(0, 0.2), counts U(0.1, 10.1).

    Parameters
    ----------
    systems, classes : int
        How many systems, and age classes per species, at least 1.
    generator : torch.Generator
        Source of randomness; the result lives on its device.
    dtype : torch.dtype
        float32 or float64.

    Returns
    -------
    A, B, C, D : Tensor, (systems, m, m)
    x0, y0 : Tensor, (systems, m)

    Raises
    ------
    ValueError
        If a number is below 1, the generator is none, or the dtype is neither float32 nor float64.

    Examples
    --------
    >>> A, B, C, D, x0, y0 = random_competition(5, 3, torch.Generator().manual_seed(0))
    >>> A.shape, x0.shape
    (torch.Size([5, 3, 3]), torch.Size([5, 3]))
    """
    systems = checks.integer("systems", systems, lowest=1)
    m = checks.integer("classes", classes, lowest=1)
    checks.generator("generator", generator)
    checks.choice("dtype", dtype, (torch.float32, torch.float64))
    options = {"generator": generator, "dtype": dtype, "device": generator.device}
    fecundity = 0.05 + 1.5 * torch.rand(2, systems, m, **options)
    survival = 0.05 + 0.9 * torch.rand(2, systems, m - 1, **options)
    A, C = projection.leslie_matrix(fecundity, survival)
    B, D = 0.2 * torch.rand(2, systems, m, m, **options)
    x0, y0 = 0.1 + 10 * torch.rand(2, systems, m, **options)
    return A, B, C, D, x0, y0


def march(
    M, z0, steps: int, clip: bool = False, chunk: int | None = None, progress: Callable[[int, int], None] | None = None
) -> Tensor:
    """Direction of z after many steps of z' = M z, for very many small systems.

    The same as :func:`lib.projection.evolve_normalised`, without the logarithm of the size and several times faster:
    systems are stored side by side (entry by entry) in chunks that stay in the cache, a step is one in-place
    multiply-add per column of M, and the size is divided out every eighth step only.

    Parameters
    ----------
    M : Tensor, (systems, n, n)
    z0 : Tensor, (systems, n)
    steps : int
        At least 0.
    clip : bool
        Replace negative entries by 0 after each step. In competition an extinct species then stays out by itself.
    chunk : int, optional
        Systems at a time; 8192 on a CPU, all on a GPU by default. Work space: (n + 3) n numbers a system of the chunk.
    progress : callable, optional
        Called with (systems done, systems).

    Returns
    -------
    Tensor, (systems, n)
        Largest absolute entry 1 (all 0 if everything died).

    Raises
    ------
    ValueError
        If the shapes do not fit, or ``steps`` or ``chunk`` is out of range.

    Examples
    --------
    >>> march(torch.tensor([[[1.0, -0.05], [-0.1, 1.0]]]), torch.tensor([[10.0, 14.2]]), steps=400)[0, 1] > 0
    tensor(True)
    """
    M, z0 = checks.tensors(M=M, z0=z0)
    checks.square("M", M)
    if M.dim() != 3 or z0.shape != M.shape[:2]:
        raise ValueError(
            f"M and z0 must have shapes (systems, n, n) and (systems, n), got {tuple(M.shape)} and {tuple(z0.shape)}"
        )
    steps = checks.integer("steps", steps, lowest=0)
    clip = checks.flag("clip", clip)
    checks.callback("progress", progress)
    systems = M.shape[0]
    chunk = _chunk(chunk, M.device, systems)
    result = torch.empty_like(z0)
    with torch.no_grad():
        for start in range(0, systems, chunk):
            part = slice(start, min(start + chunk, systems))
            columns = M[part].permute(2, 1, 0).contiguous()
            # Only the direction is asked for: with row sums of at most 1 eight steps cannot overflow.
            columns = columns / columns.abs().sum(dim=0).amax(dim=0).clamp_(min=torch.finfo(M.dtype).tiny)
            # The march writes into its arguments, so it gets a copy also where the transpose is not one.
            z = z0[part].T.clone(memory_format=torch.contiguous_format)
            _divide_out(z)
            result[part] = _march_columns(columns, z, steps, clip).T
            if progress is not None:
                progress(part.stop, systems)
    return result


def _chunk(chunk: int | None, where: torch.device, systems: int) -> int:
    if chunk is None:
        return 8192 if where.type == "cpu" else max(systems, 1)
    return checks.integer("chunk", chunk, lowest=1)


def _divide_out(z: Tensor) -> None:
    z.div_(z.abs().amax(dim=0).clamp_(min=torch.finfo(z.dtype).tiny))


def _march_columns(columns: Tensor, z: Tensor, steps: int, clip: bool) -> Tensor:
    """March (column of M, entry, system) and (entry, system); z is used up."""
    after = torch.empty_like(z)
    for count in range(1, steps + 1):
        torch.mul(columns[0], z[0], out=after)
        for column in range(1, columns.shape[0]):
            after.addcmul_(columns[column], z[column])
        if clip:
            after.clamp_(min=0)
        if count % 8 == 0:
            _divide_out(after)
        z, after = after, z
    _divide_out(z)
    return z


def _decide(columns: Tensor, z: Tensor, steps: int, clip: bool) -> Tensor:
    """Sign of the winner (+1 x, -1 y, 0 both alive) after some steps, dropping systems as soon as they are decided.

    One species positive and the other nowhere above 0 is a state that is never left again: x' = A x - B y and y' = C y
    - D x then keep their signs. So nothing changes if such a system is not followed further.
    """
    classes = z.shape[0] // 2
    verdict = torch.zeros(z.shape[1], dtype=torch.int8, device=z.device)
    rest = torch.arange(z.shape[1], device=z.device)
    done = 0
    while done < steps and rest.numel():
        stride = min(8, steps - done)
        z = _march_columns(columns, z, stride, clip)
        done += stride
        x_low, y_low = z[:classes].amin(dim=0), z[classes:].amin(dim=0)
        x_high, y_high = z[:classes].amax(dim=0), z[classes:].amax(dim=0)
        won_x = (x_low >= 0) & (x_high > 0) & (y_high <= 0)
        won_y = (y_low >= 0) & (y_high > 0) & (x_high <= 0)
        verdict[rest] = won_x.to(torch.int8) - won_y.to(torch.int8)
        open_ = ~(won_x | won_y)
        # Copying what is left costs about as much as one step, so it waits until a quarter has dropped out.
        if int(open_.sum()) < 0.75 * open_.numel():
            rest, z, columns = rest[open_], z[:, open_], columns[:, :, open_]
    return verdict


def standing_ensemble(
    systems: int = 1_000_000,
    classes: int = 3,
    steps: int = 400,
    seed: int = 0,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    chunk: int | None = None,
    bins: int = 20,
    progress: Callable[[int, int], None] | None = None,
) -> EnsembleResult:
    """How often does clipping overturn Last Species Standing? Count over random systems of :func:`random_competition`.

    Every system is simulated without and with clipping; the theorem's winner comes from the left Perron vector of N.

    Parameters
    ----------
    systems, classes, steps : int
        Number of systems, age classes per species, steps; at least 1.
    seed : int
        At least 0. Results depend on seed, device, dtype and chunk, since each chunk draws its own systems.
    device : torch.device or str
    dtype : torch.dtype
        float32 or float64.
    chunk : int, optional
        Systems at a time: 8192 on a CPU, 262144 on a GPU by default.
    bins : int
        Bins of the absolute margin, at least 1.
    progress : callable, optional
        Called with (systems done, systems) after each chunk.

    Returns
    -------
    EnsembleResult

    Raises
    ------
    ValueError
        If a number is out of range, the dtype is neither float32 nor float64, or the device is none.

    Notes
    -----
    Memory does not grow with the number of systems: about 3 (2 m)^2 numbers per system of the chunk (3.5 MB for 8192
    systems of 2 x 3 classes in float32, 113 MB for 262144).

    Examples
    --------
    >>> result = standing_ensemble(systems=500, seed=1)
    >>> result.linear_agrees, result.clipped_agrees > 450
    (500, True)
    """
    systems = checks.integer("systems", systems, lowest=1)
    m = checks.integer("classes", classes, lowest=1)
    steps = checks.integer("steps", steps, lowest=1)
    seed = checks.integer("seed", seed, lowest=0, highest=2**63 - 1)
    bins = checks.integer("bins", bins, lowest=1)
    checks.choice("dtype", dtype, (torch.float32, torch.float64))
    device = checks.device("device", device)
    checks.callback("progress", progress)
    chunk = (
        min(systems, 8192 if device.type == "cpu" else 262_144)
        if chunk is None
        else checks.integer("chunk", chunk, lowest=1)
    )
    generator = torch.Generator(device).manual_seed(seed)
    edges = torch.linspace(0, 1, bins + 1, dtype=torch.float64)
    counts = torch.zeros(3, dtype=torch.int64, device=device)
    histogram = torch.zeros(2, bins, dtype=torch.int64, device=device)
    for start in range(0, systems, chunk):
        size = min(chunk, systems - start)
        columns, z = _draw_columns(size, m, generator, dtype)
        margin = _margin_by_power(columns, z, steps)
        theorem = margin.sign().to(torch.int8)
        linear = _decide(columns, z.clone(), steps, clip=False)
        clipped = _decide(columns, z, steps, clip=True)
        counts += torch.stack([(linear == theorem).sum(), (clipped == theorem).sum(), (clipped == 0).sum()])
        bin_ = (margin.abs() * bins).long().clamp_(max=bins - 1)
        histogram[0] += torch.bincount(bin_, minlength=bins)
        histogram[1] += torch.bincount(bin_[clipped == -theorem], minlength=bins)
        if progress is not None:
            progress(start + size, systems)
    linear_agrees, clipped_agrees, undecided = counts.tolist()
    return EnsembleResult(
        systems, linear_agrees, clipped_agrees, undecided, edges, histogram[0].cpu(), histogram[1].cpu()
    )


def _draw_columns(size: int, m: int, generator: torch.Generator, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Draw systems of the law of :func:`random_competition` directly entry by entry: (column of M, row, system),
    (entry, system)."""
    options = {"generator": generator, "dtype": dtype, "device": generator.device}
    columns = torch.zeros(2 * m, 2 * m, size, dtype=dtype, device=generator.device)
    for first in (0, m):
        other = m - first
        columns[first : first + m, first].uniform_(0.05, 1.55, generator=generator)
        columns[first : first + m, other : other + m].uniform_(-0.2, 0, generator=generator)
        for age in range(m - 1):
            columns[first + age, first + age + 1].uniform_(0.05, 0.95, generator=generator)
    return columns, 0.1 + 10 * torch.rand(2 * m, size, **options)


def _margin_by_power(columns: Tensor, z: Tensor, steps: int) -> Tensor:
    """Margin of :func:`lib.competition.standing_margin` for chunks: the left Perron vector of N by the power method."""
    m = z.shape[0] // 2
    transposed = columns.abs().transpose(0, 1).contiguous()
    value = torch.ones_like(z)
    done = 0
    while done < steps:
        before = value.clone()
        value = _march_columns(transposed, value, min(16, steps - done), clip=False)
        done += 16
        if float((value - before).abs().amax()) < 4 * torch.finfo(z.dtype).eps:
            break
    worth = value * z
    worth_x, worth_y = worth[:m].sum(dim=0), worth[m:].sum(dim=0)
    return (worth_x - worth_y) / (worth_x + worth_y)
