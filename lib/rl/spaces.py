"""What an environment shows and takes: boxes of real numbers, one choice, several choices."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from lib import checks

__all__ = ["Box", "Discrete", "MultiDiscrete", "Space"]


@dataclass(frozen=True)
class Box:
    """Arrays of one shape with lowest and highest entries.

    Parameters
    ----------
    low, high : float or tuple of float
        Bounds of every entry, or one bound for each entry of the last dimension; infinite bounds are allowed.
    shape : tuple of int
        Shape of one observation or action, without the dimension of the environments.

    Raises
    ------
    ValueError
        If the shape or the bounds do not fit each other.

    Examples
    --------
    >>> Box(-2.0, 2.0, shape=(1,)).size
    1
    """

    low: float | tuple[float, ...]
    high: float | tuple[float, ...]
    shape: tuple[int, ...]

    def __post_init__(self):
        if not isinstance(self.shape, tuple):
            raise ValueError(f"shape must be a tuple of integers, got {checks.describe(self.shape)}")
        for extent in self.shape:
            checks.integer("shape", extent, lowest=1)
        for low, high in zip(self._bounds("low"), self._bounds("high")):
            if not low <= high or low == math.inf or high == -math.inf:
                raise ValueError(f"low must be at most high, got {self.low} and {self.high}")

    def _bounds(self, name: str) -> tuple[float, ...]:
        value = getattr(self, name)
        bounds = value if isinstance(value, tuple) else (value,) * (self.shape[-1] if self.shape else 1)
        wanted = self.shape[-1] if self.shape else 1
        numbers = all(
            isinstance(bound, (int, float)) and not isinstance(bound, bool) and not math.isnan(bound)
            for bound in bounds
        )
        if len(bounds) != wanted or not numbers:
            raise ValueError(f"{name} must be a number or {wanted} numbers, got {checks.describe(value)}")
        return bounds

    @property
    def size(self) -> int:
        """Number of entries."""
        return math.prod(self.shape)

    def contains(self, value: torch.Tensor) -> torch.Tensor:
        """Which elements of a batch lie in the space: shape of the batch, bool.

        Raises
        ------
        ValueError
            If the last dimensions are not those of the space.
        """
        _check_shape(value, self.shape)
        dtype = value.dtype if value.is_floating_point() else torch.float64
        low, high = (torch.tensor(self._bounds(name), dtype=dtype, device=value.device) for name in ("low", "high"))
        if not self.shape:
            return (value >= low[0]) & (value <= high[0])
        return ((value >= low) & (value <= high)).flatten(value.dim() - len(self.shape)).all(-1)


@dataclass(frozen=True)
class Discrete:
    """One choice among n, counted from 0.

    Parameters
    ----------
    n : int
        Number of choices, at least 1.

    Raises
    ------
    ValueError
        If n is no integer of at least 1.

    Examples
    --------
    >>> Discrete(3).contains(torch.tensor([0, 2, 3]))
    tensor([ True,  True, False])
    """

    n: int

    def __post_init__(self):
        checks.integer("n", self.n, lowest=1)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one action: a number."""
        return ()

    def contains(self, value: torch.Tensor) -> torch.Tensor:
        """Which elements of a batch lie in the space: shape of the batch, bool.

        Raises
        ------
        ValueError
            If it is no tensor.
        """
        _check_shape(value, self.shape)
        return (value >= 0) & (value < self.n) & _whole(value)


@dataclass(frozen=True)
class MultiDiscrete:
    """Several choices at once, the i-th among ``sizes[i]``, each counted from 0.

    Parameters
    ----------
    sizes : tuple of int
        Number of choices in each place, at least 1.

    Raises
    ------
    ValueError
        If it is no tuple of integers of at least 1.

    Examples
    --------
    >>> MultiDiscrete((2, 4)).contains(torch.tensor([[1, 3], [2, 0]]))
    tensor([ True, False])
    """

    sizes: tuple[int, ...]

    def __post_init__(self):
        if not isinstance(self.sizes, tuple) or not self.sizes:
            raise ValueError(f"sizes must be a tuple of integers, got {checks.describe(self.sizes)}")
        for size in self.sizes:
            checks.integer("sizes", size, lowest=1)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one action."""
        return (len(self.sizes),)

    def contains(self, value: torch.Tensor) -> torch.Tensor:
        """Which elements of a batch lie in the space: shape of the batch, bool.

        Raises
        ------
        ValueError
            If the last dimension is not that of the space.
        """
        _check_shape(value, self.shape)
        return ((value >= 0) & (value < torch.tensor(self.sizes, device=value.device)) & _whole(value)).all(-1)


def _check_shape(value: torch.Tensor, shape: tuple[int, ...]) -> None:
    if not isinstance(value, torch.Tensor) or value.shape[value.dim() - len(shape) :] != shape:
        wanted = ", ".join(("...", *map(str, shape)))
        raise ValueError(f"value must be a tensor of shape ({wanted}), got {checks.describe(value)}")


def _whole(value: torch.Tensor) -> torch.Tensor | bool:
    return value == value.round() if value.is_floating_point() else True


Space = Box | Discrete | MultiDiscrete
