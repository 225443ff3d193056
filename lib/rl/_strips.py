"""Values and gradients of a multilayer perceptron, strip by strip.

Rows have shape ([members,] rows, width), weights ([members,] out, in), biases ([members,] out).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

__all__ = [
    "ACTIVATIONS",
    "STRIPS_OF_A_TILE",
    "Layers",
    "Room",
    "WrittenGradient",
    "evaluate",
    "layers_of",
    "plain_rows",
    "pull",
]

# A batch of one tile keeps its activations for the backward pass: to compute them again takes a tenth of a step.
STRIPS_OF_A_TILE = 4

NARROW = 16
"""Up to this width of the input the gradient of a layer's weights is a faster product the other way round: a third of
the time for four inputs."""


_tanh_backward = torch.ops.aten.tanh_backward.grad_input
_threshold_backward = torch.ops.aten.threshold_backward.grad_input


class _Tanh:
    """The hyperbolic tangent in place, and its gradient from what it returned, written over it."""

    plain = staticmethod(torch.tanh)
    apply_ = staticmethod(torch.tanh_)

    @staticmethod
    def backward_(arrived: Tensor, activated: Tensor) -> Tensor:
        return _tanh_backward(arrived, activated, grad_input=activated)


class _Relu:
    """The positive part in place, and its gradient from what it returned, written over it."""

    plain = staticmethod(torch.relu)
    apply_ = staticmethod(torch.relu_)

    @staticmethod
    def backward_(arrived: Tensor, activated: Tensor) -> Tensor:
        return _threshold_backward(arrived, activated, 0, grad_input=activated)


ACTIVATIONS = {"tanh": _Tanh, "relu": _Relu}


def layers_of(parameters: Sequence[Tensor]) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
    """Split the parameters of a network into weights and biases."""
    layers = len(parameters) // 2
    return parameters[:layers], parameters[layers:]


class Layers:
    """Weights and biases of a network, and the views of them that its passes use, made once.

    Parameters
    ----------
    parameters : sequence of Tensor
        Weights ([members,] out, in), then biases ([members,] out).
    activation : str
        One of :data:`ACTIVATIONS`.
    strip : int
        Rows that pass through all layers at once.
    """

    def __init__(self, parameters: Sequence[Tensor], activation: str, strip: int):
        self.weights, biases = layers_of(parameters)
        self.turned = [weight.mT for weight in self.weights]
        self.biases = [bias.unsqueeze(-2) for bias in biases]
        self.last_bias = biases[-1].unsqueeze(-1)
        self.activation = ACTIVATIONS[activation]
        self.strip = strip
        self.product = torch.mm if self.weights[0].dim() == 2 else torch.bmm

    @property
    def hidden(self) -> list[int]:
        """Widths of the hidden layers."""
        return [weight.shape[-2] for weight in self.weights[:-1]]


class Room:
    """Memory for the activations of strips, used again and again: fresh memory would not be in the cache.

    Parameters
    ----------
    widths : sequence of int
        Widths of the hidden layers.
    like : Tensor
        Of the type and on the device of the activations.
    """

    def __init__(self, widths: Sequence[int], like: Tensor):
        self.widths, self.like = tuple(widths), like
        self._memory: dict[tuple, Tensor] = {}
        self._views: dict[tuple, list[Tensor]] = {}

    def activations(self, place: int, lead: Sequence[int]) -> list[Tensor]:
        """Tensors (*lead, width), one for each hidden layer; those of different places can be filled side by side."""
        key = (place, *lead)
        if key not in self._views:
            shapes = [(*lead, width) for width in self.widths]
            self._views[key] = [self._part((place, layer), shape) for layer, shape in enumerate(shapes)]
        return self._views[key]

    def hold(self, place: int, activations: list[Tensor]) -> None:
        """Take activations that were filled elsewhere."""
        self._views[(place, *activations[0].shape[:-1])] = activations

    def behind(self, lead: Sequence[int]) -> list[Tensor]:
        """Tensors (*lead, width) for the gradients of hidden layers, all of them in the same memory."""
        key = ("behind", *lead)
        if key not in self._views:
            sizes = [math.prod(lead) * width for width in self.widths]
            flat = self._part(key[:1], (max(sizes),))
            self._views[key] = [flat[:size].view(*lead, -1) for size in sizes]
        return self._views[key]

    def _part(self, slot: tuple, shape: tuple[int, ...]) -> Tensor:
        """The first numbers of a slot of memory, which grows where it is too small."""
        size = math.prod(shape)
        if slot not in self._memory or self._memory[slot].numel() < size:
            self._memory[slot] = self.like.new_empty(size)
            self._views = {key: views for key, views in self._views.items() if key[0] != slot[0]}
        return self._memory[slot][:size].view(shape)


def plain_rows(x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor], activation: type) -> Tensor:
    """The network in plain operations, for rows of shape ([members,] rows, width)."""
    h = x.to(weights[0].dtype)
    for layer, (weight, bias) in enumerate(zip(weights, biases)):
        h = activation.plain(h) if layer else h
        if weight.dim() == 2:
            h = functional.linear(h, weight, bias)
        else:
            h = torch.baddbmm(bias.unsqueeze(1), h, weight.mT)
    return h


def evaluate(x: Tensor, layers: Layers, room: Room, keep: bool = False) -> Tensor:
    """Output of rows ([members,] rows, width), strip by strip; to keep the activations, each strip has its own room.

    The output is ([members,] out, rows): it is narrow, and with rows last it is written and read without strides.
    """
    last = layers.weights[-1]
    y = last.new_empty(*x.shape[:-2], last.shape[-2], x.shape[-2])
    for place, (start, length) in enumerate(_strips(x.shape[-2], layers.strip)):
        part = _rows(x, start, length).to(y.dtype)
        *_, h = part, *_hidden(part, layers, room.activations(place if keep else 0, part.shape[:-1]))
        layers.product(last, h.mT, out=y if length == x.shape[-2] else y.narrow(-1, start, length))
    return y.add_(layers.last_bias)


def _hidden(x: Tensor, layers: Layers, activations: list[Tensor]) -> list[Tensor]:
    """Fill in the activations of the hidden layers of one strip."""
    h = x
    for turned, bias, out in zip(layers.turned, layers.biases, activations):
        h = layers.product(h, turned, out=out)
        layers.activation.apply_(h.add_(bias))
    return activations


def _strips(rows: int, strip: int) -> list[tuple[int, int]]:
    """First row and length of each strip."""
    return [(start, min(strip, rows - start)) for start in range(0, rows, strip)]


def _rows(x: Tensor, start: int, length: int) -> Tensor:
    """Some rows, or all of them without the cost of a view."""
    return x if length == x.shape[-2] else x.narrow(-2, start, length)


def pull(
    arrived: Tensor,
    x: Tensor,
    layers: Layers,
    room: Room,
    kept: bool,
    places: Sequence[Tensor],
    of_input: Tensor | None = None,
) -> None:
    """Add the gradients of all parameters to ``places``, from that of the output, ([members,] out, rows).

    What :func:`evaluate` kept is written over; where it did not, the activations are computed again. The gradient of
    the input is written to ``of_input``, if given.
    """
    of_weights, of_biases = layers_of(places)
    for place, (start, length) in enumerate(_strips(x.shape[-2], layers.strip)):
        part = _rows(x, start, length).to(layers.last_bias.dtype)
        hidden = room.activations(place if kept else 0, part.shape[:-1])
        inputs = [part, *(hidden if kept else _hidden(part, layers, hidden))]
        change = (arrived if length == x.shape[-2] else arrived.narrow(-1, start, length)).mT
        for layer in reversed(range(len(inputs))):
            _add_product(of_weights[layer], change, inputs[layer], layers)
            of_biases[layer].add_(change.sum(-2))
            if layer:
                change = _before(change, inputs[layer], layers, room, layer)
            elif of_input is not None:
                layers.product(change, layers.weights[0], out=_rows(of_input, start, length))


def _add_product(place: Tensor, change: Tensor, inputs: Tensor, layers: Layers) -> None:
    """Add the gradient of a layer's weights."""
    if inputs.shape[-1] <= NARROW:
        place.mT.add_(layers.product(inputs.mT, change))
    elif place.dim() == 2:
        place.addmm_(change.mT, inputs)
    else:
        place.baddbmm_(change.mT, inputs)


def _before(change: Tensor, activated: Tensor, layers: Layers, room: Room, layer: int) -> Tensor:
    """Gradient before an activation function, written over what it returned."""
    arrived = room.behind(change.shape[:-1])[layer - 1]
    layers.product(change, layers.weights[layer], out=arrived)
    return layers.activation.backward_(arrived, activated)


class WrittenGradient(torch.autograd.Function):
    """:func:`evaluate` and its gradient, strip by strip."""

    @staticmethod
    def forward(ctx, x: Tensor, activation: str, strip: int, *parameters: Tensor) -> Tensor:
        layers = Layers(parameters, activation, strip)
        room = Room(layers.hidden, layers.last_bias)
        kept = x.shape[-2] <= STRIPS_OF_A_TILE * strip
        y = evaluate(x, layers, room, kept)
        lead = x.shape[:-2]
        strips = [(*lead, length) for _, length in _strips(x.shape[-2], strip)] if kept else []
        activated = [room.activations(place, lead) for place, lead in enumerate(strips)]
        ctx.save_for_backward(x, *parameters, *itertools.chain(*activated))
        ctx.parameters, ctx.activation, ctx.strip = len(parameters), activation, strip
        ctx.overwritten = False
        return y

    @staticmethod
    def backward(ctx, arrived: Tensor):
        if torch.is_grad_enabled():
            raise RuntimeError(
                "the gradient of an MLP is written out for long batches and can be taken once, but create_graph=True "
                "asks for a second: use torch.func, or parts of at most half of rows_per_strip rows"
            )
        x, *saved = ctx.saved_tensors
        parameters, activated = saved[: ctx.parameters], saved[ctx.parameters :]
        layers = Layers(parameters, ctx.activation, ctx.strip)
        room = Room(layers.hidden, layers.last_bias)
        # The first backward pass writes over the activations, as data, since autograd would refuse another one, which
        # computes them again.
        kept = bool(activated) and not ctx.overwritten
        if kept:
            for place in range(len(activated) // len(room.widths)):
                first = place * len(room.widths)
                room.hold(place, [part.data for part in activated[first : first + len(room.widths)]])
        ctx.overwritten = True
        of_input = torch.empty_like(x) if ctx.needs_input_grad[0] else None
        places = [torch.zeros_like(parameter) for parameter in parameters]
        with torch.autocast(arrived.device.type, enabled=False):
            pull(arrived, x, layers, room, kept, places, of_input)
        return of_input, None, None, *places
