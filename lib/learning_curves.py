"""Learning curves: how the error falls with the number of examples, in models that can be solved and on data.

What all of them share is here: the sizes of nested shards, the lower envelope over sizes of model, and local slopes.
The solved models are in :mod:`lib.series_regression` and :mod:`lib.ridge_curves`, curves measured on data in
:mod:`lib.measured_curves`; all can be imported from here. Fits are in :mod:`lib.powerlaw`.

Source: J. Hestness et al., arXiv:1712.00409, section 3 (how to measure a learning curve).
"""

from __future__ import annotations

import torch
from torch import Tensor

from lib import checks
from lib.measured_curves import digits_curve, nearest_neighbour_curve
from lib.power_forms import local_slopes, same_length
from lib.ridge_curves import (
    power_law_spectrum,
    ridge_exponent,
    ridge_learning_curve,
    ridge_resolution,
    simulate_ridge,
)
from lib.series_regression import series_exponents, series_risk, simulate_series, truncation_risk

__all__ = [
    "local_slopes",
    "lower_envelope",
    "shards",
    "digits_curve",
    "nearest_neighbour_curve",
    "power_law_spectrum",
    "ridge_exponent",
    "ridge_learning_curve",
    "ridge_resolution",
    "series_exponents",
    "series_risk",
    "simulate_ridge",
    "simulate_series",
    "truncation_risk",
]


def shards(m_min: int, m_max: int) -> list[int]:
    """Sizes of nested shards: doubling from the smallest to the largest.

    Parameters
    ----------
    m_min : int
        Examples in the smallest shard, at least 1.
    m_max : int
        Examples that there are, at least ``m_min``. The last shard holds all of them, unless that is within a factor
        of root 2 of the one before, which it then replaces.

    Returns
    -------
    list of int

    Raises
    ------
    ValueError
        If a size is not a positive integer, or the largest is smaller than the smallest.

    Examples
    --------
    >>> shards(2**12, 2**15)
    [4096, 8192, 16384, 32768]
    >>> shards(20, 1200)
    [20, 40, 80, 160, 320, 640, 1200]
    """
    m_min = checks.integer("m_min", m_min, lowest=1)
    m_max = checks.integer("m_max", m_max, lowest=m_min)
    sizes = [m_min]
    while 2 * sizes[-1] <= m_max:
        sizes.append(2 * sizes[-1])
    if sizes[-1] < m_max:
        # Squares keep the comparison with root 2 in whole numbers.
        if len(sizes) > 1 and m_max**2 < 2 * sizes[-1] ** 2:
            sizes.pop()
        sizes.append(m_max)
    return sizes


def lower_envelope(sizes, err) -> tuple[Tensor, Tensor]:
    """Least error over the sizes of the model, and the size that has it.

    Parameters
    ----------
    sizes : array_like, (sizes,)
        Sizes of the model, such as parameters or orders, above 0.
    err : array_like, (..., sizes)
        Errors, above 0; leading dimensions are numbers of examples, seeds and so on.

    Returns
    -------
    err, size : Tensor, (...)
        Where sizes tie, the smallest of them.

    Raises
    ------
    ValueError
        If a size or an error is not above 0, or there is not one error for each size.

    Examples
    --------
    >>> error, size = lower_envelope([1, 10, 100], [[0.5, 0.6, 0.9], [0.4, 0.3, 0.5]])
    >>> error.tolist(), size.tolist()
    ([0.5, 0.3], [1.0, 10.0])
    """
    sizes, err = checks.tensors(sizes=sizes, err=err)
    if sizes.dim() != 1 or sizes.shape[0] == 0:
        raise ValueError(f"sizes must have shape (sizes,), got {tuple(sizes.shape)}")
    same_length(sizes=sizes, err=err)
    checks.require(sizes > 0, "sizes must be above 0", sizes)
    checks.require(err > 0, "err must be above 0", err)
    least = err.amin(dim=-1)
    largest = sizes.max()
    size = torch.where(err == least[..., None], sizes, largest).amin(dim=-1)
    return least, size
