"""Values and gradients of a multilayer perceptron, strip by strip.

Rows have shape ([members,] rows, width), weights ([members,] out, in), biases ([members,] out).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["ACTIVATIONS", "STRIPS_OF_A_TILE", "Layers", "WrittenGradient", "evaluate", "layers_of", "plain_rows", "pull"]

# A batch of one tile keeps its activations for the backward pass: to compute them again takes a tenth of a step.
STRIPS_OF_A_TILE = 4

NARROW = 16
"""Up to this width of the input the gradient of a layer's weights is a faster product the other way round: a third of
the time for four inputs."""


class _Tanh:
    """The hyperbolic tangent in place, and its gradient from what it returned, written over it."""

    plain = staticmethod(torch.tanh)
    apply_ = staticmethod(torch.tanh_)

    @staticmethod
    def backward_(arrived: Tensor, activated: Tensor) -> Tensor:
        return torch.ops.aten.tanh_backward.grad_input(arrived, activated, grad_input=activated)


class _Relu:
    """The positive part in place, and its gradient from what it returned, written over it."""

    plain = staticmethod(torch.relu)
    apply_ = staticmethod(torch.relu_)

    @staticmethod
    def backward_(arrived: Tensor, activated: Tensor) -> Tensor:
        return torch.ops.aten.threshold_backward.grad_input(arrived, activated, 0, grad_input=activated)


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
        self.widest = max((weight.shape[-1] for weight in self.weights[1:]), default=0)


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


def evaluate(x: Tensor, layers: Layers, kept: list[list[Tensor]] | None = None) -> Tensor:
    """Output of rows ([members,] rows, width), strip by strip; the activations are kept in a list, if one is given.

    The output is ([members,] out, rows): it is narrow, and with rows last it is written and read without strides.
    """
    last = layers.weights[-1]
    y = last.new_empty(*x.shape[:-2], last.shape[-2], x.shape[-2])
    room = _room(x, layers) if kept is None else None
    for start, length in _strips(x.shape[-2], layers.strip):
        part = _rows(x, start, length).to(y.dtype)
        activations = _hidden(part, layers, room)
        if kept is not None:
            kept.append(activations)
        torch.matmul(last, (activations or [part])[-1].mT, out=y.narrow(-1, start, length))
    return y.add_(layers.last_bias)


def _hidden(x: Tensor, layers: Layers, room: Sequence[Tensor] | None) -> list[Tensor]:
    """Activations of the hidden layers of one strip, in the room there is or in fresh tensors."""
    activations = []
    h = x
    for layer, turned in enumerate(layers.turned[:-1]):
        out = None if room is None else _rows(room[layer], 0, x.shape[-2])
        h = torch.matmul(h, turned, out=out)
        layers.activation.apply_(h.add_(layers.biases[layer]))
        activations.append(h)
    return activations


def _room(x: Tensor, layers: Layers) -> list[Tensor]:
    """Memory for the activations of a strip, used for one strip after the other."""
    length = min(layers.strip, x.shape[-2])
    return [weight.new_empty(*x.shape[:-2], length, weight.shape[-2]) for weight in layers.weights[:-1]]


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
    kept: Sequence[Sequence[Tensor]] | None,
    places: Sequence[Tensor],
    of_input: Tensor | None = None,
) -> None:
    """Add the gradients of all parameters to ``places``, from that of the output, ([members,] out, rows).

    What :func:`evaluate` kept is written over; without it the activations are computed again. The gradient of the input
    is written to ``of_input``, if given.
    """
    of_weights, of_biases = layers_of(places)
    room = _room(x, layers) if kept is None else None
    half = (min(layers.strip, x.shape[-2]) + 1) // 2
    behind = layers.last_bias.new_empty(half * layers.widest * x.shape[:-2].numel())
    for number, (start, length) in enumerate(_strips(x.shape[-2], layers.strip)):
        part = _rows(x, start, length).to(behind.dtype)
        inputs = [part, *(_hidden(part, layers, room) if kept is None else kept[number])]
        change = arrived.narrow(-1, start, length).mT
        for layer in reversed(range(len(inputs))):
            _add_product(of_weights[layer], change, inputs[layer])
            of_biases[layer].add_(change.sum(-2))
            if layer:
                change = _before(change, layers.weights[layer], inputs[layer], layers.activation, behind, half)
            elif of_input is not None:
                torch.matmul(change, layers.weights[0], out=_rows(of_input, start, length))


def _add_product(place: Tensor, change: Tensor, inputs: Tensor) -> None:
    """Add the gradient of a layer's weights."""
    if inputs.shape[-1] <= NARROW:
        place.add_(torch.matmul(inputs.mT, change).mT)
    elif place.dim() == 2:
        place.addmm_(change.mT, inputs)
    else:
        place.baddbmm_(change.mT, inputs)


def _before(change: Tensor, weight: Tensor, activated: Tensor, activation: type, behind: Tensor, half: int) -> Tensor:
    """Gradient before an activation function, written over what it returned; in halves, which share some room."""
    for start, length in _strips(change.shape[-2], half):
        place = _rows(activated, start, length)
        arrived = behind[: place.numel()].view(place.shape)
        torch.matmul(_rows(change, start, length), weight, out=arrived)
        activation.backward_(arrived, place)
    return activated


class WrittenGradient(torch.autograd.Function):
    """:func:`evaluate` and its gradient, strip by strip."""

    @staticmethod
    def forward(ctx, x: Tensor, activation: str, strip: int, *parameters: Tensor) -> Tensor:
        kept = [] if x.shape[-2] <= STRIPS_OF_A_TILE * strip else None
        y = evaluate(x, Layers(parameters, activation, strip), kept)
        ctx.save_for_backward(x, *parameters, *itertools.chain(*(kept or ())))
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
        # The first backward pass writes over the activations, as data, since autograd would refuse another one, which
        # computes them again.
        kept = None
        if activated and not ctx.overwritten:
            hidden = len(parameters) // 2 - 1
            kept = [[part.data for part in activated[i : i + hidden]] for i in range(0, len(activated), hidden)]
        ctx.overwritten = True
        of_input = torch.empty_like(x) if ctx.needs_input_grad[0] else None
        places = [torch.zeros_like(parameter) for parameter in parameters]
        with torch.autocast(arrived.device.type, enabled=False):
            pull(arrived, x, Layers(parameters, ctx.activation, ctx.strip), kept, places, of_input)
        return of_input, None, None, *places
