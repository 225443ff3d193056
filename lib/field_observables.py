"""What to watch on a large lattice of phases: its vortices and its order parameter, counted block by block."""

from __future__ import annotations

import torch
from torch import Tensor

from lib._field_blocks import blocks, rows_beside, stacked
from lib.field_steps import TURN, check_field

__all__ = ["vortices"]


def vortices(theta: Tensor) -> tuple[Tensor, Tensor]:
    """Count the vortices: plaquettes around which the phase winds once, to the left and to the right.

    The winding of a plaquette of four sites is the sum of the phase differences along its edges, each taken in [-pi,
    pi], divided by 2 pi.

    Parameters
    ----------
    theta : Tensor, (..., rows, columns)
        Phases (rad); float32 or float64; the lattice is a torus.

    Returns
    -------
    positive, negative : Tensor, int64, (...)
        How many wind counter-clockwise (seen with rows upwards and columns to the right) and clockwise: equally many,
        since the winding numbers of a torus add up to 0.

    Raises
    ------
    ValueError
        If theta is not a field.

    Examples
    --------
    >>> theta = torch.zeros(4, 4)
    >>> theta[1:3, 1:3] = torch.tensor([[-2.5, -1.0], [2.5, 1.0]])
    >>> vortices(theta)
    (tensor(1), tensor(1))
    """
    check_field("theta", theta)
    field = stacked(theta)
    found = torch.zeros(2, len(field), dtype=torch.int64, device=field.device)
    for replicas, rows in blocks(field.shape, field.device):
        winding = _winding(field[replicas], rows)
        found[0, replicas] += (winding > 0).sum(dim=(1, 2))
        found[1, replicas] += (winding < 0).sum(dim=(1, 2))
    positive, negative = found.unflatten(1, theta.shape[:-2]) if theta.dim() > 2 else found[:, 0]
    return positive, negative


def order(theta: Tensor) -> Tensor:
    """Order parameter r = |mean of exp(i theta)| of fields (replicas, rows, columns), summed in float64."""
    wide = torch.float32 if theta.device.type == "mps" else torch.float64
    total = torch.zeros(2, len(theta), dtype=wide, device=theta.device)
    for replicas, rows in blocks(theta.shape, theta.device):
        here = theta[replicas, rows]
        total[0, replicas] += here.cos().sum(dim=(1, 2), dtype=wide)
        total[1, replicas] += here.sin().sum(dim=(1, 2), dtype=wide)
    return (total / (theta.shape[1] * theta.shape[2])).square().sum(dim=0).sqrt()


def _winding(field: Tensor, rows: slice) -> Tensor:
    """Winding number of the plaquette to the right of and below each site of some rows."""
    _, below = rows_beside(rows, field.shape[1])
    here = torch.cat([field[:, rows], field[:, below]], dim=1)
    along = _turns(here.roll(-1, dims=2) - here)
    down = _turns(here[:, 1:] - here[:, :-1])
    # Differences cancel around a plaquette; what is left is the turns taken off each to bring it into [-pi, pi].
    return along[:, 1:] - along[:, :-1] + down - down.roll(-1, dims=2)


def _turns(difference: Tensor) -> Tensor:
    return difference.div_(TURN).round_()
