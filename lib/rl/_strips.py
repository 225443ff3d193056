"""Values and gradients of a multilayer perceptron, strip by strip.

Rows have shape ([members,] rows, width), weights ([members,] out, in), biases ([members,] out).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["ACTIVATIONS", "STRIPS_OF_A_TILE", "WrittenGradient", "evaluate", "layers_of", "plain_rows"]

# A batch of one tile keeps its activations for the backward pass: to compute them again takes a tenth of a step.
STRIPS_OF_A_TILE = 4


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


def evaluate(
    x: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    activation: type,
    strip: int,
    kept: list[list[Tensor]] | None = None,
) -> Tensor:
    """Output of rows ([members,] rows, width), strip by strip; the activations are kept in a list, if one is given."""
    # The output is narrow: stored with rows last, it is written and read without strides.
    y = weights[-1].new_empty(*x.shape[:-2], weights[-1].shape[-2], x.shape[-2])
    room = _room(x, weights, strip) if kept is None else None
    for start, length in _strips(x.shape[-2], strip):
        part = x.narrow(-2, start, length).to(y.dtype)
        activations = _hidden(part, weights, biases, activation, room)
        if kept is not None:
            kept.append(activations)
        torch.matmul(weights[-1], (activations or [part])[-1].mT, out=y.narrow(-1, start, length))
    return y.add_(biases[-1].unsqueeze(-1)).mT


def _hidden(
    x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor], activation: type, room: Sequence[Tensor] | None
) -> list[Tensor]:
    """Activations of the hidden layers of one strip, in the room there is or in fresh tensors."""
    activations = []
    h = x
    for layer in range(len(weights) - 1):
        out = None if room is None else room[layer].narrow(-2, 0, x.shape[-2])
        h = torch.matmul(h, weights[layer].mT, out=out)
        activation.apply_(h.add_(biases[layer].unsqueeze(-2)))
        activations.append(h)
    return activations


def _room(x: Tensor, weights: Sequence[Tensor], strip: int) -> list[Tensor]:
    """Memory for the activations of a strip, used for one strip after the other."""
    length = min(strip, x.shape[-2])
    return [weight.new_empty(*x.shape[:-2], length, weight.shape[-2]) for weight in weights[:-1]]


def _strips(rows: int, strip: int) -> list[tuple[int, int]]:
    """First row and length of each strip."""
    return [(start, min(strip, rows - start)) for start in range(0, rows, strip)]


class WrittenGradient(torch.autograd.Function):
    """:func:`evaluate` and its gradient, strip by strip."""

    @staticmethod
    def forward(ctx, x: Tensor, activation: type, strip: int, *parameters: Tensor) -> Tensor:
        kept = [] if x.shape[-2] <= STRIPS_OF_A_TILE * strip else None
        y = evaluate(x, *layers_of(parameters), activation, strip, kept)
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
        weights, biases = layers_of(saved[: ctx.parameters])
        # The first backward pass writes over the activations, as data, since autograd would refuse another one, which
        # computes them again.
        kept = [] if ctx.overwritten else [activated.data for activated in saved[ctx.parameters :]]
        ctx.overwritten = True
        with torch.autocast(arrived.device.type, enabled=False):
            return _gradients(ctx, x, weights, biases, kept, arrived)


def _gradients(
    ctx,
    x: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    kept: Sequence[Tensor],
    arrived: Tensor,
) -> tuple[Tensor | None, ...]:
    """Gradients of the input, if asked for, and of all parameters."""
    layers = len(weights)
    of_input = torch.empty_like(x) if ctx.needs_input_grad[0] else None
    of_weights: list[Tensor | None] = [None] * layers
    of_biases: list[Tensor | None] = [None] * layers
    room = None if kept else _room(x, weights, ctx.strip)
    half = (min(ctx.strip, x.shape[-2]) + 1) // 2
    widest = max((weight.shape[-1] for weight in weights[1:]), default=0)
    behind = weights[0].new_empty(half * widest * x.shape[:-2].numel())
    for number, (start, length) in enumerate(_strips(x.shape[-2], ctx.strip)):
        part = x.narrow(-2, start, length).to(weights[0].dtype)
        hidden = kept[number * (layers - 1) : (number + 1) * (layers - 1)]
        inputs = [part, *(hidden or _hidden(part, weights, biases, ctx.activation, room))]
        change = arrived.narrow(-2, start, length)
        for layer in reversed(range(layers)):
            of_weights[layer] = _plus(of_weights[layer], torch.matmul(change.mT, inputs[layer]))
            of_biases[layer] = _plus(of_biases[layer], change.sum(-2))
            if layer:
                change = _before(change, weights[layer], inputs[layer], ctx.activation, behind, half)
            elif of_input is not None:
                torch.matmul(change, weights[0], out=of_input.narrow(-2, start, length))
    return of_input, None, None, *of_weights, *of_biases


def _before(change: Tensor, weight: Tensor, activated: Tensor, activation: type, behind: Tensor, half: int) -> Tensor:
    """Gradient before an activation function, written over what it returned; in halves, which share some room."""
    for start, length in _strips(change.shape[-2], half):
        place = activated.narrow(-2, start, length)
        arrived = behind[: place.numel()].view(place.shape)
        torch.matmul(change.narrow(-2, start, length), weight, out=arrived)
        activation.backward_(arrived, place)
    return activated


def _plus(total: Tensor | None, part: Tensor) -> Tensor:
    return part if total is None else total.add_(part)
