"""Passes of a tile through the policy and the value function, with what takes slopes back to their parameters.

Automatic differentiation serves every module. The gradients of a policy over counted actions and of a value function
whose only parameters are those of an :class:`~lib.rl.networks.MLP` are written out: on a few thousand rows to record
and replay operations takes as long as their arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from lib.rl import _categorical
from lib.rl.networks import TilePass
from lib.rl.optimizer import FlatParameters
from lib.rl.policies import CategoricalPolicy, ValueFunction

__all__ = ["PolicyPass", "ValuePass"]


class _Pass:
    """One module and its share of the flat gradient."""

    written: type[nn.Module]

    def __init__(self, module: nn.Module, evaluate: Callable, flat: FlatParameters):
        self.evaluate, self.flat = evaluate, flat
        # A subclass, or what torch.compile made, may compute something else.
        known = type(module) is self.written and evaluate in (module, getattr(module, "evaluate", None))
        self.network = TilePass(module.network) if known else None
        self.places = flat.places_of(module.network) if known else []

    def _writes(self, seen: Tensor) -> bool:
        return self.network is not None and self.network.serves(seen)

    def _recorded(self, *inputs: Tensor) -> tuple[tuple[Tensor, ...], Callable[..., None]]:
        outputs = self.evaluate(*inputs)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        return tuple(y.detach() for y in outputs), lambda *slopes: self.flat.backward(*outputs, slopes=slopes)


class PolicyPass(_Pass):
    """Log-probabilities of actions and entropies, with their pullback."""

    written = CategoricalPolicy

    def __call__(self, seen: Tensor, action: Tensor) -> tuple[Tensor, Tensor, Callable[[Tensor, float], None]]:
        """Log-probabilities and entropies ([members,] k), and what adds the gradient of a loss from its slopes."""
        if not self._writes(seen):
            (logp, entropy), pull = self._recorded(seen, action)
            return logp, entropy, pull
        logits, pull_network = self.network(seen)
        logp, entropy, pull_score = _categorical.score_vjp(logits, action)
        return logp, entropy, lambda *slopes: pull_network(pull_score(*slopes), self.places)


class ValuePass(_Pass):
    """Values, with their pullback."""

    written = ValueFunction

    def __call__(self, seen: Tensor) -> tuple[Tensor, Callable[[Tensor], None]]:
        """Values ([members,] k), and what adds the gradient of a loss from its slopes."""
        if not self._writes(seen):
            (value,), pull = self._recorded(seen)
            return value, pull
        value, pull_network = self.network(seen)
        return value.squeeze(-2), lambda slope: pull_network(slope.unsqueeze(-2), self.places)
