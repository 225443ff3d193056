"""Choices among k actions from their logits: draws, log-probabilities, entropies.

Logits come with the actions last, but the networks store them with the rows last, one row of memory for each action.
All sums over actions therefore run over the first dimension. Nothing is computed in less than float32.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["draw", "log_probabilities", "score", "score_vjp"]


def _actions_first(logits: Tensor) -> Tensor:
    logits = logits.movedim(-1, 0)
    return logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits


def log_probabilities(logits: Tensor) -> Tensor:
    """Logarithms of the probabilities of all actions, of the shape of the logits (..., k)."""
    return _actions_first(logits).log_softmax(0).movedim(0, -1)


def draw(logits: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor]:
    """Actions by inversion of the distribution function, and their log-probabilities.

    Logits (..., k) and uniform numbers (...) in [0, 1): one number for one draw, of any number of actions.
    """
    z = _actions_first(logits)
    if len(z) == 2:
        gap = z[1] - z[0]
        action = uniform < gap.sigmoid()
        return action.long(), functional.logsigmoid(torch.where(action, gap, -gap))
    z = z - z.amax(0)
    heights = z.exp().cumsum_(0)
    total = heights[-1]
    # The product may round up to the total.
    action = (heights <= uniform * total).sum(0).clamp_(max=len(z) - 1)
    return action, z.gather(0, action.unsqueeze(0)).squeeze(0).sub_(total.log())


def score(logits: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probabilities of actions (...) under logits (..., k), and the entropies of the distributions."""
    logp = _actions_first(logits).log_softmax(0)
    return logp.gather(0, action.unsqueeze(0)).squeeze(0), -(logp.exp() * logp).sum(0)


@torch.no_grad()
def score_vjp(logits: Tensor, action: Tensor) -> tuple[Tensor, Tensor, Callable[[Tensor, float], Tensor]]:
    """:func:`score` of logits with rows last, (..., k, n), and actions (..., n), with its vector-Jacobian product.

    What is returned last takes the slopes of a loss in the log-probabilities and, one number, in the entropies, and
    gives those in the logits. It can be called once.
    """
    logps = logits.log_softmax(-2)
    probability = logps.exp()
    chosen = action.unsqueeze(-2)
    logp = logps.gather(-2, chosen).squeeze(-2)
    entropy = (probability * logps).sum(-2).neg_()

    @torch.no_grad()
    def pull(of_logp: Tensor, of_entropy: float) -> Tensor:
        # d log p_a / d z_j = [a = j] - p_j, and d H / d z_j = -p_j (log p_j + H).
        of_logp = of_logp.unsqueeze(-2)
        slope = logps.add_(entropy.unsqueeze(-2)).mul_(of_entropy).add_(of_logp).mul_(probability).neg_()
        return slope.scatter_add_(-2, chosen, of_logp)

    return logp, entropy, pull
