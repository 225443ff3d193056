"""Multilayer perceptrons for policies and values: several seeds side by side, and gradients strip by strip.

Small networks on many rows are bound by memory, not by arithmetic: a layer writes activations that the next one reads
back. Here rows pass through all layers in strips whose activations stay in the cache, biases and activation functions
are applied in place, and the gradient is written out.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from lib import checks
from lib._plain_operations import needs_plain_operations
from lib.rl import _strips
from lib.rl.streams import derived_seed

__all__ = ["MLP", "member_seeds"]

FLOATING = (torch.float32, torch.float64)

# Bytes of one layer's activations in a strip. On a CPU four of them share a second-level cache; on a GPU a strip has to
# keep the whole device busy, and is there to bound the memory.
STRIP_BYTES = {"cpu": 2**19, "cuda": 2**26}


def member_seeds(seed: int | Sequence[int], members: int | None = None) -> tuple[list[int], int | None]:
    """Seeds of networks trained side by side, and how many there are.

    Parameters
    ----------
    seed : int or sequence of int
        One seed, or one for each member.
    members : int, optional
        Number of members. With one seed they take it and those that follow: seed, seed + 1, ...

    Returns
    -------
    list of int, int or None
        The seeds, and the number of members; None for one network without a members dimension.

    Raises
    ------
    ValueError
        If a seed is no integer of at least 0, or there are more or fewer seeds than members.

    Examples
    --------
    >>> member_seeds(7)
    ([7], None)
    >>> member_seeds((3, 5)), member_seeds(3, members=2)
    (([3, 5], 2), ([3, 4], 2))
    """
    if members is not None:
        members = checks.integer("members", members, lowest=1)
    if isinstance(seed, (int, np.integer)) and not isinstance(seed, bool):
        first = checks.integer("seed", seed, lowest=0)
        return [first + k for k in range(members or 1)], members
    if isinstance(seed, (str, bytes)) or not isinstance(seed, Sequence) or not len(seed):
        raise ValueError(f"seed must be an integer or a sequence of integers, got {checks.describe(seed)}")
    seeds = [checks.integer("seed", number, lowest=0) for number in seed]
    if members is not None and members != len(seeds):
        raise ValueError(f"members must be None or the number of seeds, {len(seeds)}, got {members}")
    return seeds, len(seeds)


class MLP(nn.Module):
    """Layers of weights and biases with an activation function between them.

    Weights start orthogonal, times a gain for each layer, and biases at zero. They are drawn in float64 on the CPU, so
    that a seed gives the same network on every device.

    Parameters
    ----------
    sizes : sequence of int
        Widths of the input, of the hidden layers, and of the output.
    members : int, optional
        Networks side by side; see :func:`member_seeds`. Member k equals the network of its seed alone.
    activation : str
        "tanh" or "relu".
    gains : sequence of float, optional
        Gain of each layer; sqrt 2 before the activations and 1 at the end by default.
    seed : int or sequence of int
        Seed, or one for each member.
    role : str
        What the network is for, such as "policy": networks of different roles start independently.
    strip : int, optional
        Rows that pass through all layers at once, over all members; by default as many as the cache holds.
    device : str or torch.device
    dtype : torch.dtype
        float32 or float64; bfloat16 products come with autocast.

    Attributes
    ----------
    weights, biases : tuple of nn.Parameter
        (out, in) and (out,) for each layer, after (members,) if there are members.
    members : int or None
    rows_per_strip, rows_per_tile : int
        Rows of each member that pass through all layers at once, and that keep their activations.

    Raises
    ------
    ValueError
        If an argument is of the wrong kind.

    Notes
    -----
    Batches of at most half a strip pass through plain torch operations, and so do all batches under autocast, in
    torch.func, forward-mode derivatives and live figures. The gradient of longer batches is written out and can be
    taken once. One tile (four strips) keeps its activations for it; of still longer batches only the input is kept, and
    each strip is computed again.

    Examples
    --------
    >>> network = MLP((4, 64, 64, 2), seed=(0, 1, 2))
    >>> network(torch.zeros(3, 100, 4)).shape
    torch.Size([3, 100, 2])
    """

    def __init__(
        self,
        sizes: Sequence[int],
        *,
        members: int | None = None,
        activation: str = "tanh",
        gains: Sequence[float] | None = None,
        seed: int | Sequence[int] = 0,
        role: str = "network",
        strip: int | None = None,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
    ):
        super().__init__()
        if isinstance(sizes, (str, bytes)) or not isinstance(sizes, Sequence) or len(sizes) < 2:
            raise ValueError(f"sizes must be at least two integers, got {checks.describe(sizes)}")
        self.sizes = tuple(checks.integer("sizes", size, lowest=1) for size in sizes)
        layers = len(self.sizes) - 1
        if gains is None:
            gains = (math.sqrt(2),) * (layers - 1) + (1.0,)
        if isinstance(gains, (str, bytes)) or not isinstance(gains, Sequence) or len(gains) != layers:
            raise ValueError(f"gains must be {layers} numbers, one for each layer, got {checks.describe(gains)}")
        gains = [checks.real_number("gains", gain, lowest=0) for gain in gains]
        checks.choice("activation", activation, tuple(_strips.ACTIVATIONS))
        checks.choice("dtype", dtype, FLOATING)
        device = checks.device("device", device)
        self.activation = activation
        self.strip = None if strip is None else checks.integer("strip", strip, lowest=1)
        seeds, self.members = member_seeds(seed, members)

        drawn = [_orthogonal(self.sizes, gains, derived_seed(number, role)) for number in seeds]
        stacked = [torch.stack(layer) if self.members is not None else layer[0] for layer in zip(*drawn)]
        for layer, weight in enumerate(stacked):
            self.register_parameter(f"weight{layer}", nn.Parameter(weight.to(device, dtype)))
        for layer, weight in enumerate(self.weights):
            self.register_parameter(f"bias{layer}", nn.Parameter(weight.new_zeros(weight.shape[:-1])))

    def extra_repr(self) -> str:
        return f"{self.sizes}, members={self.members}, activation={self.activation!r}"

    @property
    def weights(self) -> tuple[nn.Parameter, ...]:
        """Weights of the layers: (out, in) or (members, out, in)."""
        return tuple(self._parameters.values())[: len(self.sizes) - 1]

    @property
    def biases(self) -> tuple[nn.Parameter, ...]:
        """Biases of the layers: (out,) or (members, out)."""
        return tuple(self._parameters.values())[len(self.sizes) - 1 :]

    @property
    def rows_per_strip(self) -> int:
        """Rows of each member that pass through all layers at once."""
        if self.strip is not None:
            return max(1, self.strip // (self.members or 1))
        weight = self.weights[0]
        room = STRIP_BYTES.get(weight.device.type, STRIP_BYTES["cpu"])
        return max(32, room // (weight.element_size() * max(self.sizes) * (self.members or 1)))

    @property
    def rows_per_tile(self) -> int:
        """Most rows of each member whose activations are kept: what to pass at once of a long minibatch."""
        return _strips.STRIPS_OF_A_TILE * self.rows_per_strip

    def forward(self, obs: Tensor) -> Tensor:
        """Output of every row.

        Parameters
        ----------
        obs : Tensor
            (..., n, d), or (..., members, n, d). The last dimensions may be those of a picture: as many are joined as
            make up the width of the input. True/false and integer inputs are cast strip by strip.

        Returns
        -------
        Tensor
            The leading dimensions of obs, then the width of the output.

        Raises
        ------
        ValueError
            If the shape or type of obs does not fit.
        """
        rows, lead = self.rows_of(obs)
        parameters = (*self._parameters.values(),)
        strip = self.rows_per_strip
        differentiated = torch.is_grad_enabled() and (rows.requires_grad or any(p.requires_grad for p in parameters))
        if 2 * rows.shape[-2] <= strip or _needs_plain_operations(rows, parameters):
            y = _strips.plain_rows(rows, *_strips.layers_of(parameters), _strips.ACTIVATIONS[self.activation])
        elif differentiated:
            y = _strips.WrittenGradient.apply(rows, self.activation, strip, *parameters).mT
        else:
            layers = _strips.Layers(parameters, self.activation, strip)
            y = _strips.evaluate(rows, layers, _strips.Room(layers.hidden, layers.last_bias)).mT
        if len(lead) != 1:
            y = y.unflatten(-2, lead) if lead else y[0]
        return y if self.members is None else y.movedim(0, -3)

    def rows_of(self, obs: Tensor) -> tuple[Tensor, tuple[int, ...]]:
        """View an input as ([members,] rows, width); also the leading dimensions that make up the rows."""
        if not isinstance(obs, Tensor):
            raise ValueError(f"obs must be a tensor, got {checks.describe(obs)}")
        dtype = self.weights[0].dtype
        if obs.dtype != dtype and (obs.is_floating_point() or obs.is_complex()):
            raise ValueError(f"obs must be {dtype} as the weights are, or integers, got {checks.describe(obs)}")
        joined = obs.dim() - 1
        while joined > 0 and math.prod(obs.shape[joined:]) < self.sizes[0]:
            joined -= 1
        lead = obs.shape[: max(joined, 0)]
        if obs.dim() == 0 or math.prod(obs.shape[joined:]) != self.sizes[0]:
            raise ValueError(f"obs must have shape (..., {self.sizes[0]}), got {checks.describe(obs)}")
        width = self.sizes[0]
        obs = obs.flatten(joined) if joined < obs.dim() - 1 else obs
        if self.members is None:
            return obs if len(lead) == 1 else obs.reshape(-1, width), tuple(lead)
        if len(lead) < 2 or lead[-2] != self.members:
            raise ValueError(
                f"obs must have shape (..., {self.members}, n, {self.sizes[0]}), got {checks.describe(obs)}"
            )
        return obs.movedim(-3, 0).reshape(self.members, -1, width), (*lead[:-2], lead[-1])


def _orthogonal(sizes: Sequence[int], gains: Sequence[float], seed: int) -> list[Tensor]:
    """First weights of all layers of one network."""
    generator = torch.Generator().manual_seed(seed)
    weights = [torch.empty(out, width, dtype=torch.float64) for width, out in itertools.pairwise(sizes)]
    for weight, gain in zip(weights, gains):
        nn.init.orthogonal_(weight, gain, generator=generator)
    return weights


def _needs_plain_operations(x: Tensor, parameters: Sequence[Tensor]) -> bool:
    return torch.is_autocast_enabled(x.device.type) or needs_plain_operations(x, *parameters)
