"""Counting modulo a number: exact counters built by hand, and small models trained to count.

A pair of cells that turns by 2 pi / m for every one it reads stands at an angle that is the sum modulo m; a memory that
can only fade has no such place to keep it. Parity is m = 2: a half turn for every one.

Source: Lahoti et al., "Mamba-3", arXiv:2603.15569, section 3.2 and table 5b. The training here is a small one: minutes
for the paper's are seconds, with sequences of up to 32 digits instead of 160.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from lib import checks
from lib.ssm.language_model import LanguageModel, parameter_groups
from lib.ssm.mamba3 import Mamba3Block
from lib.ssm.scan import scan_chunked

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


def random_digits(batch: int, length: int, modulus: int, generator: torch.Generator) -> Tensor:
    """Rows of digits from 0 to modulus - 1, all equally likely.

    Parameters
    ----------
    batch, length : int
        Rows and digits of each, at least 1.
    modulus : int
        At least 2.
    generator : torch.Generator

    Returns
    -------
    Tensor of int64, (batch, length)

    Raises
    ------
    ValueError
        If a number is out of range or there is no generator.

    Examples
    --------
    >>> random_digits(2, 5, 2, torch.Generator().manual_seed(0)).shape
    torch.Size([2, 5])
    """
    checks.integer("batch", batch, lowest=1)
    checks.integer("length", length, lowest=1)
    checks.integer("modulus", modulus, lowest=2)
    checks.generator("generator", generator)
    return torch.randint(modulus, (batch, length), generator=generator, device=generator.device)


def modular_sums(digits: Tensor, modulus: int) -> Tensor:
    """Sum of each prefix, modulo a number: what a counter should say after each digit.

    Parameters
    ----------
    digits : Tensor of int, (..., T)
        From 0 to modulus - 1.
    modulus : int
        At least 2.

    Returns
    -------
    Tensor of int64, (..., T)

    Raises
    ------
    ValueError
        If a digit or the modulus is out of range.

    Examples
    --------
    >>> modular_sums(torch.tensor([1, 1, 0, 1]), 2).tolist()
    [1, 0, 0, 1]
    """
    modulus = checks.integer("modulus", modulus, lowest=2)
    return _digits("digits", digits, modulus).cumsum(dim=-1) % modulus


def counter_state(turn, *, decay=0.0) -> Tensor:
    """Where a pair of cells points that starts at (1, 0) and turns by a given angle at every token.

    A scan with dt = 1 and lambda = 1 in which a token before the first writes (1, 0), and nothing is written later.

    Parameters
    ----------
    turn : array_like, (..., T)
        Angle of every token (radians).
    decay : array_like, ()
        Share of its length that the pair loses per token, as a rate: it shrinks by exp(-decay). At least 0.

    Returns
    -------
    Tensor, (..., T, 2)

    Raises
    ------
    ValueError
        If there is no token or the decay is negative or no single number.

    Examples
    --------
    >>> (counter_state([torch.pi / 2, torch.pi / 2]).round(decimals=6) + 0).tolist()
    [[0.0, 1.0], [-1.0, 0.0]]
    """
    turn, decay = checks.tensors(turn=turn, decay=decay)
    checks.shape("turn", turn, None)
    if decay.dim():
        raise ValueError(f"decay must be a single number, got shape {tuple(decay.shape)}")
    checks.require(decay >= 0, "decay must be at least 0", decay)
    rows = turn.reshape(-1, turn.shape[-1])
    theta = functional.pad(rows, (1, 0))[:, :, None, None]
    first = torch.zeros_like(theta)
    first[:, 0] = 1
    # Two heads remember the same and are read along the two axes.
    x = first.expand(-1, -1, 2, -1)
    dt = torch.ones_like(x[..., 0])
    axes = torch.eye(2, dtype=turn.dtype, device=turn.device)
    write, read = axes[0].expand(*dt.shape, 2), axes.expand(*dt.shape, 2)
    y, _ = scan_chunked(x, dt, -decay * dt, write, read, None, theta)
    return y[:, 1:, :, 0].reshape(*turn.shape, 2)


def parity_counter(bits: Tensor, *, angle=math.pi, decay=0.0) -> Tensor:
    """Exact parity: +1 after an even number of ones, -1 after an odd one.

    Parameters
    ----------
    bits : Tensor of int, (..., T)
        Zeros and ones.
    angle : array_like, ()
        Angle by which a one turns the pair (radians); anything but pi goes astray sooner or later.
    decay : array_like, ()
        As in :func:`counter_state`; a pair that shrinks keeps its sign.

    Returns
    -------
    Tensor, (..., T)
        First coordinate of the pair.

    Raises
    ------
    ValueError
        If bits are no zeros and ones, or angle or decay is no single number.

    Examples
    --------
    >>> parity_counter(torch.tensor([1, 1, 0, 1])).tolist()
    [-1.0, 1.0, 1.0, -1.0]
    """
    return counter_state(_turns("bits", bits, 2, angle, decay), decay=decay)[..., 0]


def modular_counter(digits: Tensor, modulus: int, *, angle=None, decay=0.0) -> Tensor:
    """Exact sums modulo m: the pair read along m directions, of which it points along one.

    Parameters
    ----------
    digits : Tensor of int, (..., T)
        From 0 to modulus - 1.
    modulus : int
        m, at least 2.
    angle : array_like, (), optional
        Angle per unit (radians), 2 pi / m by default.
    decay : array_like, ()
        As in :func:`counter_state`.

    Returns
    -------
    Tensor, (..., T, m)
        Scores; the largest stands at the sum modulo m.

    Raises
    ------
    ValueError
        If a digit or the modulus is out of range, or angle or decay is no single number.

    Examples
    --------
    >>> modular_counter(torch.tensor([4, 3, 1]), 5).argmax(dim=-1).tolist()
    [4, 2, 3]
    """
    modulus = checks.integer("modulus", modulus, lowest=2)
    turn = _turns("digits", digits, modulus, 2 * math.pi / modulus if angle is None else angle, decay)
    directions = 2 * math.pi / modulus * torch.arange(modulus, dtype=turn.dtype, device=turn.device)
    return counter_state(turn, decay=decay) @ torch.stack([directions.cos(), directions.sin()])


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


def _digits(name: str, digits, modulus: int) -> Tensor:
    whole = isinstance(digits, Tensor) and digits.dtype in (torch.int64, torch.int32)
    if not whole or digits.dim() == 0 or digits.shape[-1] == 0:
        raise ValueError(f"{name} must be an integer tensor of shape (..., T), got {checks.describe(digits)}")
    checks.require((digits >= 0) & (digits < modulus), f"{name} must lie from 0 to {modulus - 1}", digits)
    return digits


def _turns(name: str, digits, modulus: int, angle, decay) -> Tensor:
    angle, _ = checks.tensors(angle=angle, decay=decay)
    if angle.dim():
        raise ValueError(f"angle must be a single number, got shape {tuple(angle.shape)}")
    return angle * _digits(name, digits, modulus)
