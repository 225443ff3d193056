"""One step of a large periodic lattice: fields of shape (..., rows, columns), batched over replicas.

Every step is a Jacobi step: it reads one field and writes another, so no site sees a neighbour's new value. Fields are
worked through in blocks of rows that stay in the cache of a CPU, or whole on a GPU, in work space made once. float32 on
a CPU runs in compiled loops where numba is installed; everything else is plain torch, with the same meaning.

The values of fields are not inspected (that would cost as much as a step): NaN stays NaN and spreads.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lib import checks
from lib._compiled import loops
from lib._field_blocks import blocks, rows_beside, stacked
from lib.site_clocks import SiteClocks

__all__ = ["diffusion_step", "kuramoto_field_step"]

TURN = 2 * math.pi
ENGINES = ("auto", "torch", "numba")
NEIGHBOURS = 4


def diffusion_step(x: Tensor, coupling: float, out: Tensor | None = None, *, engine: str = "auto") -> Tensor:
    """Diffusive coupling: every site moves towards the mean of its four neighbours.

    Parameters
    ----------
    x : Tensor, (..., rows, columns)
        float32 or float64; the lattice is a torus.
    coupling : float
        Share of the mean, from 0 to 1: x' = (1 - coupling) x + coupling * mean.
    out : Tensor, optional
        Where to write; contiguous, of the shape of x and apart from it in memory.
    engine : {"auto", "torch", "numba"}
        ``"auto"`` takes numba for contiguous float32 on a CPU, torch for the rest.

    Returns
    -------
    Tensor, (..., rows, columns)
        ``out``, or a new tensor.

    Raises
    ------
    ValueError
        If an argument has the wrong kind, shape or type, or ``out`` overlaps x.

    Examples
    --------
    >>> x = torch.zeros(3, 3)
    >>> x[1, 1] = 1
    >>> diffusion_step(x, coupling=0.4)
    tensor([[0.0000, 0.1000, 0.0000],
            [0.1000, 0.6000, 0.1000],
            [0.0000, 0.1000, 0.0000]])
    """
    check_field("x", x)
    coupling = checks.real_number("coupling", coupling, lowest=0, highest=1)
    out = _output(out, "x", x)
    kernels = compiled(engine, x, out)
    keep, share = 1 - coupling, coupling / NEIGHBOURS
    with torch.no_grad():
        field, after = stacked(x), stacked(out)
        if kernels is not None:
            kernels.diffuse(field.numpy(), after.numpy(), np.float32(keep), np.float32(share))
            return out
        for replicas, rows in blocks(field.shape, field.device):
            _diffuse(field[replicas], after[replicas, rows], rows, keep, share)
    return out


def kuramoto_field_step(
    theta: Tensor,
    omega: Tensor,
    coupling: float,
    dt: float = 0.05,
    clocks: SiteClocks | None = None,
    tick: int = 0,
    out: Tensor | None = None,
    counts: Tensor | None = None,
    *,
    engine: str = "auto",
) -> Tensor:
    """One Euler step of locally coupled phase oscillators, of all sites or of those whose clock ticks.

    theta' = theta + dt (omega + coupling / 4 * sum over the four neighbours of sin(theta_j - theta)), modulo 2 pi.

    Parameters
    ----------
    theta : Tensor, (..., rows, columns)
        Phases (rad); float32 or float64; the lattice is a torus.
    omega : Tensor, (..., rows, columns)
        Natural frequencies (rad per unit of time).
    coupling : float
        K: a quarter of it acts through each neighbour.
    dt : float
        Length of the step, above 0.
    clocks : SiteClocks, optional
        Made by :func:`lib.site_clocks.site_clocks` for this lattice, with one seed for each replica. Without clocks
        every site updates.
    tick : int
        From 0 to 2**31 - 1; which draw of the clocks.
    out : Tensor, optional
        Where to write; contiguous, of the shape of theta and apart from theta and omega in memory.
    counts : Tensor, int32, (..., rows, columns), optional
        Local time: goes up by one at each site that updates; contiguous.
    engine : {"auto", "torch", "numba"}
        ``"auto"`` takes numba for contiguous float32 on a CPU, torch for the rest.

    Returns
    -------
    Tensor, (..., rows, columns)
        Phases, in [-pi, pi] where a site has updated: ``out``, or a new tensor.

    Raises
    ------
    ValueError
        If an argument has the wrong kind, shape or type, or ``out`` overlaps another field.

    Examples
    --------
    >>> theta = torch.tensor([[0.0, 0.5, 0.0]]).expand(3, 3)
    >>> kuramoto_field_step(theta, torch.zeros(3, 3), coupling=4.0, dt=0.1)[0]
    tensor([0.0479, 0.4041, 0.0479])
    >>> from lib.site_clocks import site_clocks
    >>> clocks = site_clocks(0.5, seed=0, sides=3)
    >>> after = kuramoto_field_step(torch.zeros(3, 3), torch.ones(3, 3), 1.0, 0.25, clocks, tick=7)
    >>> bool(((after == 0.25) == clocks.mask(7)[0]).all())
    True
    """
    _check_phases(theta, omega)
    coupling = checks.real_number("coupling", coupling, lowest=-math.inf)
    dt = checks.real_number("dt", dt, lowest=0, open_below=True)
    tick = checks.integer("tick", tick, lowest=0, highest=2**31 - 1)
    if clocks is not None:
        _check_clocks(clocks, theta)
    out = _output(out, "theta", theta, omega=omega)
    if counts is not None:
        _check_counts(counts, theta)
    kernels = compiled(engine, theta, omega, out)
    with torch.no_grad():
        fields = stacked(theta), stacked(omega), stacked(out)
        if clocks is None:
            advance(*fields, coupling, dt, kernels)
            if counts is not None:
                counts.add_(1)
        else:
            counts = torch.zeros_like(out, dtype=torch.int32) if counts is None else counts
            advance_some(*fields, coupling, dt, clocks, tick, stacked(counts), kernels)
    return out


def advance(
    theta: Tensor, omega: Tensor, out: Tensor, coupling: float, dt: float, kernels, work: Work | None = None
) -> None:
    """All sites of :func:`kuramoto_field_step`, for checked fields (replicas, rows, columns)."""
    strength = coupling * dt / NEIGHBOURS
    if kernels is not None:
        kernels.kuramoto(theta.numpy(), omega.numpy(), out.numpy(), np.float32(strength), np.float32(dt))
        return
    work = work_space(theta.shape, theta) if work is None else work
    for replicas, rows in blocks(theta.shape, theta.device):
        _drift(theta[replicas], omega[replicas, rows], out[replicas, rows], rows, strength, dt, work)


def advance_some(
    theta: Tensor,
    omega: Tensor,
    out: Tensor,
    coupling: float,
    dt: float,
    clocks: SiteClocks,
    tick: int,
    counts: Tensor,
    kernels,
    work: Work | None = None,
) -> None:
    """The sites whose clock ticks of :func:`kuramoto_field_step`, for checked fields (replicas, rows, columns)."""
    strength = coupling * dt / NEIGHBOURS
    if kernels is not None:
        kernels.asynchronous_kuramoto(
            theta.numpy(),
            omega.numpy(),
            out.numpy(),
            np.float32(strength),
            np.float32(dt),
            clocks.limit.numpy(),
            np.array(clocks.keys(tick), dtype=np.uint32),
            counts.numpy(),
        )
        return
    work = work_space(theta.shape, theta, clocks) if work is None else work
    for replicas, rows in blocks(theta.shape, theta.device):
        here, after = theta[replicas, rows], out[replicas, rows]
        _drift(theta[replicas], omega[replicas, rows], after, rows, strength, dt, work)
        mask = clocks.mask_of(tick, replicas, rows, work.draws[:, : len(here), : here.shape[1]])
        counts[replicas, rows].add_(mask)
        torch.where(mask, after, here, out=after)


@dataclass(frozen=True)
class Work:
    """Work space of the torch steps, for the largest block.

    Attributes
    ----------
    waves : Tensor, (3, replicas, rows + 2, columns)
        Sines and cosines, with a row above and below, and a sum.
    draws : Tensor, int32, (3, replicas, rows, columns)
        What the clocks draw, and room to do so; no replicas where there are no clocks.
    """

    waves: Tensor
    draws: Tensor


def work_space(shape: torch.Size, like: Tensor, clocks: SiteClocks | None = None) -> Work:
    """Work space for a stack of fields of a shape, of the type and on the device of a tensor."""
    replicas, rows = next(blocks(shape, like.device), (slice(0, 0), slice(0, 0)))  # none where there is no replica
    waves = like.new_empty(3, replicas.stop, rows.stop + 2, shape[-1])
    drawn = replicas.stop if clocks is not None else 0
    return Work(waves, like.new_empty((3, drawn, rows.stop, shape[-1]), dtype=torch.int32))


def _drift(field: Tensor, omega: Tensor, after: Tensor, rows: slice, strength: float, dt: float, work: Work) -> None:
    """Step all sites of some rows (replicas, rows, columns); sines by the addition theorem, each phase's taken once."""
    here = field[:, rows]
    height = here.shape[1]
    sines, cosines, spare = work.waves[:, : len(field), : height + 2]
    spare = spare[:, :height]
    above, below = rows_beside(rows, field.shape[1])
    for function, table in ((torch.sin, sines), (torch.cos, cosines)):
        function(field[:, above], out=table[:, :1])
        function(here, out=table[:, 1:-1])
        function(field[:, below], out=table[:, -1:])
    _neighbour_sum(sines, after).mul_(cosines[:, 1:-1])
    after.addcmul_(_neighbour_sum(cosines, spare), sines[:, 1:-1], value=-1)
    after.mul_(strength).add_(omega, alpha=dt).add_(here)
    torch.mul(after, 1 / TURN, out=spare).round_()
    after.add_(spare, alpha=-TURN)


def _neighbour_sum(table: Tensor, out: Tensor) -> Tensor:
    """Sum over four neighbours from a block with one more row at the top and at the bottom."""
    torch.add(table[:, :-2], table[:, 2:], out=out)
    return _add_beside(table[:, 1:-1], out)


def _add_beside(here: Tensor, out: Tensor, factor: float = 1.0) -> Tensor:
    out[..., 1:].add_(here[..., :-1], alpha=factor)
    out[..., :1].add_(here[..., -1:], alpha=factor)
    out[..., :-1].add_(here[..., 1:], alpha=factor)
    out[..., -1:].add_(here[..., :1], alpha=factor)
    return out


def _diffuse(field: Tensor, after: Tensor, rows: slice, keep: float, share: float) -> None:
    here = field[:, rows]
    above, below = rows_beside(rows, field.shape[1])
    torch.mul(here, keep, out=after)
    after[:, 1:].add_(here[:, :-1], alpha=share)
    after[:, :1].add_(field[:, above], alpha=share)
    after[:, :-1].add_(here[:, 1:], alpha=share)
    after[:, -1:].add_(field[:, below], alpha=share)
    _add_beside(here, after, share)


def _kernels():
    """The compiled loops, or None and one warning where numba is missing."""
    return loops("lib._lattice_numba", "lattices")


def compiled(engine: str, *fields: Tensor):
    """The compiled loops if these fields are to run in them, else None."""
    checks.choice("engine", engine, ENGINES)
    if engine == "torch":
        return None
    fits = all(
        field.device.type == "cpu" and field.dtype == torch.float32 and field.is_contiguous() for field in fields
    )
    if engine == "numba" and not fits:
        raise ValueError(
            "engine must be 'auto' or 'torch' unless all fields are contiguous float32 on a CPU, got 'numba'"
        )
    kernels = _kernels() if fits else None
    if engine == "numba" and kernels is None:
        raise ValueError("engine must be 'auto' or 'torch' where numba is not installed, got 'numba'")
    return kernels


def check_field(name: str, field) -> None:
    allowed = (torch.float32, torch.float64)
    if not isinstance(field, Tensor) or field.dtype not in allowed:
        raise ValueError(f"{name} must be a float32 or float64 tensor, got {checks.describe(field)}")
    checks.shape(name, field, None, None)


def _check_phases(theta, omega) -> None:
    check_field("theta", theta)
    check_field("omega", omega)
    if omega.shape != theta.shape or omega.dtype != theta.dtype or omega.device != theta.device:
        raise ValueError(
            f"omega must have the shape, dtype and device of theta, {checks.describe(theta)} on {theta.device}, "
            f"got {checks.describe(omega)} on {omega.device}"
        )


def _check_clocks(clocks, theta: Tensor) -> None:
    if not isinstance(clocks, SiteClocks):
        raise ValueError(f"clocks must be made by site_clocks, got {checks.describe(clocks)}")
    replicas = math.prod(theta.shape[:-2])
    if clocks.sides != tuple(theta.shape[-2:]) or len(clocks.seeds) != replicas:
        raise ValueError(
            f"clocks must be for theta, {replicas} x {tuple(theta.shape[-2:])}, "
            f"got clocks for {len(clocks.seeds)} x {clocks.sides}"
        )
    if clocks.limit.device != theta.device:
        raise ValueError(f"clocks must be on the device of theta, {theta.device}, got {clocks.limit.device}")


def _check_counts(counts, theta: Tensor) -> None:
    fits = isinstance(counts, Tensor) and counts.dtype == torch.int32 and counts.shape == theta.shape
    if not fits or counts.device != theta.device or not counts.is_contiguous():
        raise ValueError(
            f"counts must be a contiguous int32 tensor of shape {tuple(theta.shape)} on {theta.device}, "
            f"got {checks.describe(counts)}"
        )


def _output(out: Tensor | None, name: str, field: Tensor, **others: Tensor) -> Tensor:
    if out is None:
        return torch.empty(field.shape, dtype=field.dtype, device=field.device)
    fits = isinstance(out, Tensor) and out.shape == field.shape and out.dtype == field.dtype
    if not fits or out.device != field.device or not out.is_contiguous() or out.requires_grad:
        raise ValueError(
            f"out must be a contiguous {field.dtype} tensor of shape {tuple(field.shape)} on {field.device} without "
            f"gradient, got {checks.describe(out)}"
        )
    for other, read in {name: field, **others}.items():
        if _overlap(out, read):
            raise ValueError(f"out must not share memory with {other}: a step reads old values only")
    return out


def _overlap(a: Tensor, b: Tensor) -> bool:
    def ends(tensor: Tensor) -> tuple[int, int]:
        reach = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
        return tensor.data_ptr(), tensor.data_ptr() + (reach + 1) * tensor.element_size()

    return ends(a)[0] < ends(b)[1] and ends(b)[0] < ends(a)[1]
