"""What a tile of transitions adds to the gradient of the loss, for the policy and for the value function.

Automatic differentiation serves every module. Where the parameters of an :class:`~lib.rl.networks.MLP` are all there
is, the gradient is written out, and on a CPU the losses run in compiled loops: on a few thousand rows to record and
replay operations takes as long as their arithmetic.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from lib._compiled import loops
from lib.rl import _categorical, _slopes
from lib.rl._tile_pass import TilePass, hooked, is_its_network
from lib.rl.optimizer import FlatParameters
from lib.rl.policies import CategoricalPolicy, ValueFunction

__all__ = ["PolicyGradient", "ValueGradient"]


def _losses():
    return loops("lib.rl._losses_numba", "losses of small networks")


class _Gradient:
    """A module's share of the flat gradient.

    Parameters
    ----------
    module : nn.Module
    evaluate : callable
        What differentiates to the gradient.
    flat : FlatParameters
    written : bool
        Whether a gradient that is written out may take the place of ``evaluate``.
    beside : _Gradient, optional
        Of another module, with which this one takes turns.
    """

    plain: type[nn.Module]

    def __init__(
        self,
        module: nn.Module,
        evaluate: Callable,
        flat: FlatParameters,
        written: bool,
        beside: _Gradient | None = None,
    ):
        self.module, self.evaluate, self.flat = module, evaluate, flat
        # A subclass may compute something else.
        written = written and type(module) is self.plain and is_its_network(module)
        self.network = TilePass(module.network, beside and beside.network) if written else None
        self.places = flat.places_of(module.network) if written else []
        self.rows = len(flat.data)

    def passes(self, seen: Tensor, column: Tensor) -> TilePass | None:
        """What computes the gradient of a tile without autograd, where that serves; a column of it, for its type."""
        serves = self.network is not None and column.dtype == self.flat.data.dtype and not hooked(self.module)
        return self.network if serves and self.network.serves(seen) else None

    def arrays(self, *columns: Tensor) -> list[np.ndarray]:
        """Columns ([members,] k) as arrays (members or 1, k) for compiled loops."""
        return [column.numpy().reshape(self.rows, -1) for column in columns]


class PolicyGradient(_Gradient):
    """Gradient of the clipped objective and of the entropy; see :func:`lib.rl.ppo.ppo_loss`."""

    plain = CategoricalPolicy

    def __init__(self, *given, clip: float, ent_coef: float, **options):
        super().__init__(*given, **options)
        self.clip, self.ent_coef = clip, ent_coef

    def add(
        self, seen: Tensor, action: Tensor, logp_old: Tensor, adv: Tensor, anchor: Tensor | None, share: float
    ) -> Tensor:
        """Add ``share`` of the gradient of the mean over a tile.

        Parameters
        ----------
        seen, action, logp_old, adv : Tensor, ([members,] k, ...)
        anchor : Tensor, ([members,] k), optional
            Log-probabilities under the anchor.
        share : float

        Returns
        -------
        Tensor, (4, members or 1)
            Means of the policy loss, the entropy, the divergence from the behaviour policy, and the share of clipped
            ratios.
        """
        each = share / logp_old.shape[-1]
        network = self.passes(seen, logp_old) if torch.is_grad_enabled() else None
        if network is None:
            logp, entropy = self.evaluate(seen, action)
            means, slope = self._slopes(logp.detach(), entropy.detach(), logp_old, adv, anchor, each)
            self.flat.backward(logp, entropy, slopes=(slope, -self.ent_coef * each))
            return means
        logits = network.forward(seen)
        if logits.device.type == "cpu" and _losses():
            means, slope = self._compiled(logits, action, logp_old, adv, anchor, each)
        else:
            logp, entropy, pull = _categorical.score_vjp(logits, action)
            means, slope = self._slopes(logp, entropy, logp_old, adv, anchor, each)
            slope = pull(slope, -self.ent_coef * each)
        network.pull(slope, seen, self.places)
        return means

    def log_probabilities(self, seen: Tensor, action: Tensor) -> Tensor:
        """Log-probabilities of actions, ([members,] k)."""
        network = self.passes(seen, self.flat.data)
        if network is None:
            return self.evaluate(seen, action)[0]
        return network.forward(seen).log_softmax(-2).gather(-2, action.unsqueeze(-2)).squeeze(-2)

    def _slopes(self, logp, entropy, logp_old, adv, anchor, each) -> tuple[Tensor, Tensor]:
        """The means, and slopes in the log-probabilities."""
        log_ratio = logp - logp_old
        from_anchor = log_ratio if anchor is None else logp - anchor
        weight = None if anchor is None else torch.exp(anchor - logp_old)
        climbed, slope = _slopes.of_policy(from_anchor, adv, self.clip, weight)
        divergence = torch.expm1(log_ratio) - log_ratio
        clipped = (torch.expm1(from_anchor).abs_() > self.clip).to(log_ratio.dtype)
        means = torch.stack([climbed, *(column.mean(-1) for column in (entropy, divergence, clipped))])
        return means.view(4, self.rows), slope.mul_(each)

    def _compiled(self, logits, action, logp_old, adv, anchor, each) -> tuple[Tensor, Tensor]:
        """The means, and slopes in the logits, in compiled loops."""
        slope = torch.empty_like(logits)
        sums = np.zeros((4, self.rows))
        stacked = (self.rows, *logits.shape[-2:])
        columns = self.arrays(action, logp_old, logp_old if anchor is None else anchor, adv)
        z, of_z = (part.numpy().reshape(stacked) for part in (logits, slope))
        _losses().climb(z, *columns, np.array((self.clip, each, -self.ent_coef * each), z.dtype), of_z, sums)
        return torch.from_numpy((sums / logits.shape[-1]).astype(z.dtype)), slope


class ValueGradient(_Gradient):
    """Gradient of half the squared error of values; see :func:`lib.rl.ppo.value_loss`."""

    plain = ValueFunction

    def __init__(self, *given, clip: float | None, coefficient: float, **options):
        super().__init__(*given, **options)
        self.clip, self.coefficient = clip, coefficient

    def add(self, seen: Tensor, returns: Tensor, value_old: Tensor | None, share: float) -> Tensor:
        """Add ``share`` of the gradient of the mean over a tile, and return the mean loss, (1, members or 1).

        Parameters
        ----------
        seen, returns : Tensor, ([members,] k, ...)
        value_old : Tensor, ([members,] k), optional
            Values when the data were collected; needed with a clip.
        share : float
        """
        weight = self.coefficient * share / returns.shape[-1]
        network = self.passes(seen, returns) if torch.is_grad_enabled() else None
        if network is None:
            value = self.evaluate(seen)
            mean, slope = _slopes.of_value(value.detach().to(returns.dtype), returns, value_old, self.clip)
            self.flat.backward(value, slopes=(slope.mul_(weight),))
            return mean.view(1, self.rows)
        value = network.forward(seen).squeeze(-2)
        if value.device.type == "cpu" and _losses():
            mean, slope = self._compiled(value, returns, value_old, weight)
        else:
            mean, slope = _slopes.of_value(value, returns, value_old, self.clip)
            slope.mul_(weight)
        network.pull(slope.unsqueeze(-2), seen, self.places)
        return mean.view(1, self.rows)

    def _compiled(self, value, returns, value_old, weight) -> tuple[Tensor, Tensor]:
        """The means, and slopes in the values, in compiled loops."""
        slope = torch.empty_like(value)
        sums = np.zeros(self.rows)
        columns = self.arrays(value, returns, value if self.clip is None else value_old, slope)
        numbers = np.array((math.inf if self.clip is None else self.clip, weight), columns[0].dtype)
        _losses().fit(*columns, numbers, sums)
        return torch.from_numpy((sums / value.shape[-1]).astype(columns[0].dtype)), slope
