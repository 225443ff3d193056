"""Checks of physical parameters: numbers, or tensors with a value for each environment."""

from __future__ import annotations

import torch

from lib import checks

__all__ = ["check_params", "largest"]


def check_params(params, **lowest: float | None) -> None:
    """Check the named parameters: finite numbers or tensors, above a bound where one is given.

    Parameters
    ----------
    params
        Parameters of an environment, with one attribute for each name.
    **lowest
        What the parameter must exceed, or None if it may be any finite number.

    Raises
    ------
    ValueError
        Naming the first parameter that does not fit.
    """
    for name, bound in lowest.items():
        value = getattr(params, name)
        below = float("-inf") if bound is None else bound
        if not isinstance(value, torch.Tensor):
            checks.real_number(name, value, lowest=below, open_below=True)
            continue
        (value,) = checks.tensors(**{name: value})
        checks.require(value > below, f"{name} must be above {below:g}", value)


def largest(value: float | torch.Tensor) -> float:
    """A parameter, or the largest of those of many environments."""
    return float(value.max()) if isinstance(value, torch.Tensor) else float(value)
