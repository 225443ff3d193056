"""@title@.

@question@
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["trajectory"]


def trajectory(size: float | Tensor, steps: int) -> Tensor:
    """States of the model, one per step: FILL IN.

    Parameters
    ----------
    size : float or Tensor
        FILL IN, shape ``(...)``, with its unit.
    steps : int
        Number of steps, at least 1.

    Returns
    -------
    Tensor
        Shape ``(..., steps)``.

    Raises
    ------
    ValueError
        If ``steps`` is less than 1.

    Examples
    --------
    >>> trajectory(2.0, steps=3)
    tensor([2., 2., 2.], dtype=torch.float64)
    """
    if steps < 1:
        raise ValueError(f"steps: got {steps}, must be at least 1")
    size = torch.as_tensor(size, dtype=torch.float64)
    return size.unsqueeze(-1).expand(*size.shape, steps)
