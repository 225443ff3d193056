"""Small models trained to count modulo 2, with a memory that turns and without.

The exact counters that they could become are in :mod:`lib.ssm.counters` and can be imported from here.

Source: Lahoti et al., "Mamba-3", arXiv:2603.15569, section 3.2, table 5b and appendix D. The training here is a small
one, of seconds: strings of up to 32 bits instead of 160.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from lib import checks
from lib.ssm.counters import counter_state, modular_counter, modular_sums, parity_counter, random_digits
from lib.ssm.language_model import LanguageModel, parameter_groups
from lib.ssm.mamba3 import Mamba3Block

__all__ = [
    "VARIANTS",
    "TrainedCounter",
    "accuracy_by_position",
    "counter_state",
    "learned_turns",
    "modular_counter",
    "modular_sums",
    "parity_counter",
    "parity_model",
    "random_digits",
    "scaled_accuracy",
    "train_parity",
]

# What of the block is changed; everything else is the same.
VARIANTS = {
    "rotation": {},
    "no rotation": {"rotary": False},
    "standard RoPE": {"rope_base": 10_000.0},
    "rotation, lambda = 1": {"trapezoidal": False},
}


def parity_model(variant: str, generator: torch.Generator | None = None) -> LanguageModel:
    """One Mamba-3 block between an embedding of two tokens and two logits, 32 wide, with 16 numbers per channel.

    Half turns need steps above 1: step lengths start between 0.1 and 1, and all pairs may turn.

    Parameters
    ----------
    variant : str
        Of :data:`VARIANTS`: ``"rotation"``, ``"no rotation"``, ``"standard RoPE"`` or ``"rotation, lambda = 1"``.
    generator : torch.Generator, optional
        Source of the initial weights; seed 0 by default.

    Returns
    -------
    LanguageModel

    Raises
    ------
    ValueError
        If the variant is unknown.

    Examples
    --------
    >>> parity_model("no rotation")(torch.tensor([[0, 1, 1]])).shape
    torch.Size([1, 3, 2])
    """
    checks.choice("variant", variant, tuple(VARIANTS))
    options = {"d_state": 16, "head_dim": 16, "rotate_fraction": 1.0, "dt_range": (0.1, 1.0)}
    block = partial(Mamba3Block, **options, **VARIANTS[variant])
    return LanguageModel(2, 32, 1, block=block, mlp_width=0, generator=generator)


@dataclass(frozen=True)
class TrainedCounter:
    """A trained model and how it got there.

    Attributes
    ----------
    model : LanguageModel
    losses : Tensor, (steps,)
        Mean cross-entropy of each step's batch (nats).
    """

    model: LanguageModel
    losses: Tensor


def train_parity(
    variant: str,
    seed: int,
    *,
    steps: int = 400,
    batch_size: int = 32,
    max_length: int = 32,
    learning_rate: float = 1e-2,
    progress: Callable | None = None,
) -> TrainedCounter:
    """Train :func:`parity_model` to say the parity of every prefix of random bits; a few seconds on one core.

    AdamW with weight decay 0.01, gradients clipped at norm 1, a rate that rises over the first tenth of the steps and
    then falls. The length of a batch is uniform from 3 to min(max_length, 3 + 2 max_length * share of the steps done).

    Parameters
    ----------
    variant : str
        As in :func:`parity_model`.
    seed : int
        Of weights and data.
    steps, batch_size : int
        At least 2 steps, and at least 1 sequence in a batch.
    max_length : int
        Longest sequence, at least 3.
    learning_rate : float
        Largest learning rate.
    progress : callable, optional
        Called with (steps done, steps).

    Returns
    -------
    TrainedCounter

    Raises
    ------
    ValueError
        If an argument is of the wrong kind or out of range.

    Examples
    --------
    >>> train_parity("rotation", seed=0, steps=2).losses.shape
    torch.Size([2])
    """
    checks.integer("steps", steps, lowest=2)
    checks.integer("batch_size", batch_size, lowest=1)
    checks.integer("max_length", max_length, lowest=3)
    checks.real_number("learning_rate", learning_rate, lowest=0, open_below=True)
    checks.callback("progress", progress)
    generator = torch.Generator().manual_seed(checks.integer("seed", seed, lowest=0, highest=2**63 - 1))
    model = parity_model(variant, generator)
    optimizer = torch.optim.AdamW(parameter_groups(model, 0.01), lr=learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=steps, pct_start=0.1)
    losses = torch.zeros(steps)
    for step in range(steps):
        longest = min(max_length, 3 + 2 * max_length * step // steps)
        length = int(torch.randint(3, longest + 1, (), generator=generator))
        bits = random_digits(batch_size, length, 2, generator)
        loss = functional.cross_entropy(model(bits).flatten(0, 1), modular_sums(bits, 2).flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses[step] = loss.detach()
        if progress is not None:
            progress(step + 1, steps)
    return TrainedCounter(model, losses)


@torch.no_grad()
def accuracy_by_position(model: nn.Module, length: int, sequences: int, generator: torch.Generator) -> Tensor:
    """Share of random bit strings whose parity the model gets right after each bit.

    Parameters
    ----------
    model : nn.Module
        From bits (batch, time) to two logits at each.
    length, sequences : int
        Bits of a string and number of strings, at least 1.
    generator : torch.Generator
        Source of the strings.

    Returns
    -------
    Tensor, (length,)

    Raises
    ------
    ValueError
        If an argument is of the wrong kind or out of range.

    Examples
    --------
    >>> generator = torch.Generator().manual_seed(0)
    >>> accuracy_by_position(parity_model("rotation"), 4, 10, generator).shape
    torch.Size([4])
    """
    if not isinstance(model, nn.Module):
        raise ValueError(f"model must be a torch.nn.Module, got {checks.describe(model)}")
    checks.integer("sequences", sequences, lowest=1)
    bits = random_digits(sequences, length, 2, generator)
    right = model(bits).argmax(dim=-1) == modular_sums(bits, 2)
    return right.double().mean(dim=0)


def scaled_accuracy(accuracy, classes: int = 2) -> Tensor:
    """Accuracy in percent of the way from guessing (0) to always right (100); negative below guessing.

    Parameters
    ----------
    accuracy : array_like
        Shares from 0 to 1.
    classes : int
        Equally likely answers, at least 2.

    Returns
    -------
    Tensor

    Raises
    ------
    ValueError
        If a share lies outside [0, 1] or there are fewer than two classes.

    Examples
    --------
    >>> scaled_accuracy([0.5, 0.75, 1.0]).tolist()
    [0.0, 50.0, 100.0]
    """
    (accuracy,) = checks.tensors(accuracy=accuracy)
    checks.require((accuracy >= 0) & (accuracy <= 1), "accuracy must lie in [0, 1]", accuracy)
    chance = 1 / checks.integer("classes", classes, lowest=2)
    return 100 * (accuracy - chance) / (1 - chance)


@torch.no_grad()
def learned_turns(model: LanguageModel) -> Tensor:
    """Angle by which each token turns each pair of each head in the first block.

    Only where the first block looks at nothing but the token, as in all blocks of Mamba-3: it has no convolution.

    Parameters
    ----------
    model : LanguageModel
        With Mamba-3 blocks that rotate.

    Returns
    -------
    Tensor, (vocabulary, H, M)
        In radians.

    Raises
    ------
    ValueError
        If the first block does not rotate.

    Examples
    --------
    >>> learned_turns(parity_model("rotation")).shape
    torch.Size([2, 4, 8])
    """
    block = model.blocks[0] if isinstance(model, LanguageModel) else None
    if not isinstance(block, Mamba3Block) or not block.rotated:
        raise ValueError("model must be a LanguageModel whose first block is a Mamba3Block with rotation")
    projection = block.project(model.block_norms[0](model.embedding.weight)[:, None])
    return (projection.dt[..., None] * projection.theta)[:, 0]
