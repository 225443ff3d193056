"""Tiles of rows through a network and back, without autograd."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lib.rl import _strips
from lib.rl.networks import MLP

__all__ = ["TilePass", "hooked", "is_its_network"]


def is_its_network(module: nn.Module) -> bool:
    """Whether a module has an MLP, no parameter beside those of it, none used twice, and no method put in by hand."""
    network = getattr(module, "network", None)
    if type(network) is not MLP or any(callable(value) for part in (module, network) for value in vars(part).values()):
        return False
    return [*map(id, module.parameters())] == [*map(id, network._parameters.values())]


def hooked(*modules: nn.Module) -> bool:
    """Whether hooks see, and may change, what modules compute or its gradient."""
    for module in modules:
        if module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or module._backward_pre_hooks:
            return True
    return False


class TilePass:
    """Passes of tiles through an MLP whose gradient is written out, and needs no record of operations.

    Parameters
    ----------
    network : MLP
        Its parameters may change in place, but not be replaced.
    beside : TilePass, optional
        Of a network that waits while this one passes: where their hidden layers are of the same widths they share the
        memory of their activations.

    Attributes
    ----------
    rows : int
        Most rows of each member that a tile may have.
    """

    def __init__(self, network: MLP, beside: TilePass | None = None):
        self.network = network
        self.rows = network.rows_per_tile
        self.parameters = [*network.parameters()]
        values = [parameter.data for parameter in self.parameters]
        self.layers = _strips.Layers(values, network.activation, network.rows_per_strip)
        shared = beside and beside.layers.hidden == self.layers.hidden
        self.room = beside.room if shared else _strips.Room(self.layers.hidden, self.layers.last_bias)

    def serves(self, obs: Tensor) -> bool:
        """Whether autograd would record nothing more of this tile than the gradient of all parameters."""
        network = self.network
        return (
            obs.shape[0 if network.members is None else 1] <= self.rows
            and not torch.is_autocast_enabled(obs.device.type)
            and not hooked(network)
            and all(parameter.requires_grad and not parameter._backward_hooks for parameter in self.parameters)
        )

    def forward(self, obs: Tensor) -> Tensor:
        """Output of a tile ([members,] k, ...), with rows last: ([members,] out, k)."""
        return _strips.evaluate(self.network.rows_of(obs)[0], self.layers, self.room, keep=True)

    def pull(self, slope: Tensor, obs: Tensor, places: Sequence[Tensor]) -> None:
        """Add the gradients of the parameters to tensors of their shapes, from that of the last output; once.

        ``obs`` are those of :meth:`forward`, which left the activations between.
        """
        _strips.pull(slope, self.network.rows_of(obs)[0], self.layers, self.room, True, places)
