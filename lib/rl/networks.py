"""Multilayer perceptrons for policies and values: several seeds side by side, and gradients in tiles.

Small networks on many rows are bound by memory, not by arithmetic: a layer writes activations that the next one reads
back. Here rows pass through all layers in tiles whose activations stay in the cache, biases and activation functions
are applied in place, and the gradient is written out.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from lib import checks
from lib.rl.streams import derived_seed
from lib.ssm._autograd import needs_plain_operations

__all__ = ["MLP", "member_seeds"]

FLOATING = (torch.float32, torch.float64)

# Bytes of one layer's activations in a tile. On a CPU four of them share a second-level cache; on a GPU a tile has to
# keep the whole device busy, and is there to bound the memory.
TILE_BYTES = {"cpu": 2**19, "cuda": 2**26}

# Tiles whose activations are kept for the backward pass, where there are no more than these: computing them again takes
# a tenth of a training step.
KEPT_TILES = 4


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
    tile : int, optional
        Rows that pass through all layers at once, over all members; by default as many as the cache holds.
    device : str or torch.device
    dtype : torch.dtype
        float32 or float64; bfloat16 products come with autocast.

    Attributes
    ----------
    weights, biases : tuple of nn.Parameter
        (out, in) and (out,) for each layer, after (members,) if there are members.
    members : int or None

    Raises
    ------
    ValueError
        If an argument is of the wrong kind.

    Notes
    -----
    Batches of at most half a tile pass through plain torch operations, and so do all batches under autocast, in
    torch.func, forward-mode derivatives and live figures. The gradient of longer batches is written out and can be
    taken once. Up to four tiles keep their activations for it; of still longer batches only the input is kept, and each
    tile is computed again.

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
        tile: int | None = None,
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
        checks.choice("activation", activation, tuple(ACTIVATIONS))
        checks.choice("dtype", dtype, FLOATING)
        device = checks.device("device", device)
        self.activation = activation
        self.tile = None if tile is None else checks.integer("tile", tile, lowest=1)
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
    def rows_per_tile(self) -> int:
        """Rows of each member that pass through all layers at once."""
        if self.tile is not None:
            return max(1, self.tile // (self.members or 1))
        weight = self.weights[0]
        room = TILE_BYTES.get(weight.device.type, TILE_BYTES["cpu"])
        return max(32, room // (weight.element_size() * max(self.sizes) * (self.members or 1)))

    @property
    def rows_kept(self) -> int:
        """Most rows of each member whose activations are kept: the best part of a minibatch to pass at once."""
        return KEPT_TILES * self.rows_per_tile

    def forward(self, obs: Tensor) -> Tensor:
        """Output of every row.

        Parameters
        ----------
        obs : Tensor
            (..., n, d), or (..., members, n, d). The last dimensions may be those of a picture: as many are joined as
            make up the width of the input. True/false and integer inputs are cast tile by tile.

        Returns
        -------
        Tensor
            The leading dimensions of obs, then the width of the output.

        Raises
        ------
        ValueError
            If the shape or type of obs does not fit.
        """
        rows, lead = self._rows(obs)
        parameters = (*self._parameters.values(),)
        activation = ACTIVATIONS[self.activation]
        tile = self.rows_per_tile
        differentiated = torch.is_grad_enabled() and (rows.requires_grad or any(p.requires_grad for p in parameters))
        if 2 * rows.shape[-2] <= tile or _needs_plain_operations(rows, parameters):
            y = _plain(rows, *_layers(parameters), activation)
        elif differentiated:
            y = _WrittenGradient.apply(rows, activation, tile, *parameters)
        else:
            y = _evaluate(rows, *_layers(parameters), activation, tile)
        if len(lead) != 1:
            y = y.unflatten(-2, lead) if lead else y[0]
        return y if self.members is None else y.movedim(0, -3)

    def _rows(self, obs: Tensor) -> tuple[Tensor, tuple[int, ...]]:
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


class _Tanh:
    """The hyperbolic tangent in place, and its gradient from what it returned."""

    plain = staticmethod(torch.tanh)
    apply_ = staticmethod(torch.tanh_)

    @staticmethod
    def backward_(arrived: Tensor, activated: Tensor) -> Tensor:
        return torch.ops.aten.tanh_backward.grad_input(arrived, activated, grad_input=arrived)


class _Relu:
    """The positive part in place, and its gradient from what it returned."""

    plain = staticmethod(torch.relu)
    apply_ = staticmethod(torch.relu_)

    @staticmethod
    def backward_(arrived: Tensor, activated: Tensor) -> Tensor:
        return torch.ops.aten.threshold_backward.grad_input(arrived, activated, 0, grad_input=arrived)


ACTIVATIONS = {"tanh": _Tanh, "relu": _Relu}


def _layers(parameters: Sequence[Tensor]) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
    """Split the parameters of a network into weights and biases."""
    layers = len(parameters) // 2
    return parameters[:layers], parameters[layers:]


def _needs_plain_operations(x: Tensor, parameters: Sequence[Tensor]) -> bool:
    return torch.is_autocast_enabled(x.device.type) or needs_plain_operations(x, *parameters)


def _plain(x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor], activation: type) -> Tensor:
    """The network in plain operations, for rows of shape ([members,] rows, width)."""
    h = x.to(weights[0].dtype)
    for layer, (weight, bias) in enumerate(zip(weights, biases)):
        h = activation.plain(h) if layer else h
        if weight.dim() == 2:
            h = functional.linear(h, weight, bias)
        else:
            h = torch.baddbmm(bias.unsqueeze(1), h, weight.mT)
    return h


def _evaluate(
    x: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    activation: type,
    tile: int,
    kept: list[list[Tensor]] | None = None,
) -> Tensor:
    """Output of rows ([members,] rows, width), tile by tile; the activations are kept in a list, if one is given."""
    # The output is narrow: stored with rows last, it is written and read without strides.
    y = weights[-1].new_empty(*x.shape[:-2], weights[-1].shape[-2], x.shape[-2])
    room = _room(x, weights, tile) if kept is None else None
    for start, length in _tiles(x.shape[-2], tile):
        part = x.narrow(-2, start, length).to(y.dtype)
        activations = _hidden(part, weights, biases, activation, room)
        if kept is not None:
            kept.append(activations)
        torch.matmul(weights[-1], (activations or [part])[-1].mT, out=y.narrow(-1, start, length))
    return y.add_(biases[-1].unsqueeze(-1)).mT


def _hidden(
    x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor], activation: type, room: Sequence[Tensor] | None
) -> list[Tensor]:
    """Activations of the hidden layers of one tile, in the room there is or in fresh tensors."""
    activations = []
    h = x
    for layer in range(len(weights) - 1):
        out = None if room is None else room[layer].narrow(-2, 0, x.shape[-2])
        h = torch.matmul(h, weights[layer].mT, out=out)
        activation.apply_(h.add_(biases[layer].unsqueeze(-2)))
        activations.append(h)
    return activations


def _room(x: Tensor, weights: Sequence[Tensor], tile: int) -> list[Tensor]:
    """Memory for the activations of a tile, used for one tile after the other."""
    length = min(tile, x.shape[-2])
    return [weight.new_empty(*x.shape[:-2], length, weight.shape[-2]) for weight in weights[:-1]]


def _tiles(rows: int, tile: int) -> list[tuple[int, int]]:
    """First row and length of each tile."""
    return [(start, min(tile, rows - start)) for start in range(0, rows, tile)]


class _WrittenGradient(torch.autograd.Function):
    """:func:`_evaluate` and its gradient, tile by tile."""

    @staticmethod
    def forward(ctx, x: Tensor, activation: type, tile: int, *parameters: Tensor) -> Tensor:
        kept = [] if x.shape[-2] <= KEPT_TILES * tile else None
        y = _evaluate(x, *_layers(parameters), activation, tile, kept)
        ctx.save_for_backward(x, *parameters, *itertools.chain(*(kept or ())))
        ctx.parameters, ctx.activation, ctx.tile = len(parameters), activation, tile
        return y

    @staticmethod
    def backward(ctx, arrived: Tensor):
        if torch.is_grad_enabled():
            raise RuntimeError(
                "the gradient of an MLP is written out for long batches and can be taken once, but create_graph=True "
                "asks for a second: use torch.func, or parts of at most half of rows_per_tile rows"
            )
        x, *saved = ctx.saved_tensors
        weights, biases = _layers(saved[: ctx.parameters])
        with torch.autocast(arrived.device.type, enabled=False):
            return _gradients(ctx, x, weights, biases, saved[ctx.parameters :], arrived)


def _gradients(
    ctx, x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor], kept: Sequence[Tensor], arrived: Tensor
) -> tuple[Tensor | None, ...]:
    """Gradients of the input, if asked for, and of all parameters."""
    layers = len(weights)
    of_input = torch.empty_like(x) if ctx.needs_input_grad[0] else None
    of_weights: list[Tensor | None] = [None] * layers
    of_biases: list[Tensor | None] = [None] * layers
    room = None if kept else _room(x, weights, ctx.tile)
    for number, (start, length) in enumerate(_tiles(x.shape[-2], ctx.tile)):
        part = x.narrow(-2, start, length).to(weights[0].dtype)
        hidden = kept[number * (layers - 1) : (number + 1) * (layers - 1)]
        inputs = [part, *(hidden or _hidden(part, weights, biases, ctx.activation, room))]
        change = arrived.narrow(-2, start, length)
        for layer in reversed(range(layers)):
            of_weights[layer] = _plus(of_weights[layer], torch.matmul(change.mT, inputs[layer]))
            of_biases[layer] = _plus(of_biases[layer], change.sum(-2))
            if layer:
                change = ctx.activation.backward_(torch.matmul(change, weights[layer]), inputs[layer])
            elif of_input is not None:
                torch.matmul(change, weights[0], out=of_input.narrow(-2, start, length))
    return of_input, None, None, *of_weights, *of_biases


def _plus(total: Tensor | None, part: Tensor) -> Tensor:
    return part if total is None else total.add_(part)
