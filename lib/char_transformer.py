"""A small character language model: a plain transformer decoder, several seeds of it side by side.

Every parameter carries a leading dimension of independent models, which see their own batches and share nothing: one
model is the case of one, and on a GPU three seeds take hardly longer than one. What is trained is what scaling laws are
about: the number of parameters N of the blocks, the number of characters D seen once, and the compute C = 6 N D.

Sources: Vaswani et al., arXiv:1706.03762 (the decoder, here with the normalisation in front); J. Kaplan et al.,
arXiv:2001.08361, section 2 (non-embedding parameters 12 depth width^2 and C = 6 N D); one schedule per length of
training as in J. Hoffmann et al., arXiv:2203.15556.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from lib import checks
from lib.source_text import SYMBOLS, symbol_ids

__all__ = [
    "CharTransformer",
    "Training",
    "non_embedding_parameters",
    "train",
    "training_flops",
    "validation_loss",
]

HEADS = 4

# Learning rate times width: best, or nearly so, for widths 8 to 96 and budgets from 2e10 to 4e11 FLOP.
RATE = 0.64


def non_embedding_parameters(width: int, depth: int = 2) -> int:
    """Parameters of the blocks, without embeddings and gains: N = 12 depth width^2.

    Raises
    ------
    ValueError
        If ``width`` is not a positive multiple of 4 or ``depth`` not a positive integer.

    Examples
    --------
    >>> non_embedding_parameters(32)
    24576
    """
    width, depth = _check_sizes(width, depth)
    return 12 * depth * width**2


def training_flops(parameters: float, tokens: float) -> float:
    """Compute of a training run in floating point operations, C = 6 N D.

    Two for the multiplication and addition of each parameter and token, and twice as many again to go back.

    Parameters
    ----------
    parameters, tokens : float
        N and D, above 0.

    Raises
    ------
    ValueError
        If one of them is not a finite number above 0.

    Examples
    --------
    >>> training_flops(70e9, 1.4e12)
    5.88e+23
    """
    parameters = checks.real_number("parameters", parameters, lowest=0, open_below=True)
    tokens = checks.real_number("tokens", tokens, lowest=0, open_below=True)
    return 6 * parameters * tokens


class Linear(nn.Module):
    """Matrices without offsets, one for each model: (models, rows, in) to (models, rows, out)."""

    def __init__(self, generators: Sequence[torch.Generator], inputs: int, outputs: int, scale: float = 1.0):
        super().__init__()
        drawn = [torch.randn(inputs, outputs, generator=generator) for generator in generators]
        self.weight = nn.Parameter(torch.stack(drawn) * (scale / math.sqrt(inputs)))

    def forward(self, x: Tensor) -> Tensor:
        return torch.bmm(x, self.weight)


class Normalise(nn.Module):
    """Layer normalisation with a gain for each model and no offset."""

    def __init__(self, models: int, width: int):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(models, 1, width))

    def forward(self, x: Tensor) -> Tensor:
        return functional.layer_norm(x, x.shape[-1:]) * self.gain


class Block(nn.Module):
    """Attention to what came before, then two layers at each position, each added to the stream."""

    def __init__(self, generators: Sequence[torch.Generator], width: int, depth: int):
        super().__init__()
        # What is added 2 depth times starts smaller, so that the stream keeps its size.
        added = 1 / math.sqrt(2 * depth)
        self.before_attention = Normalise(len(generators), width)
        self.queries_keys_values = Linear(generators, width, 3 * width)
        self.attended = Linear(generators, width, width, added)
        self.before_layers = Normalise(len(generators), width)
        self.widen = Linear(generators, width, 4 * width, math.sqrt(2))
        self.narrow = Linear(generators, 4 * width, width, added)

    def forward(self, x: Tensor, batch: int, length: int) -> Tensor:
        models, rows, width = x.shape
        joined = self.queries_keys_values(self.before_attention(x))
        split = joined.view(models * batch, length, 3, HEADS, width // HEADS)
        queries, keys, values = split.permute(2, 0, 3, 1, 4)
        heads = functional.scaled_dot_product_attention(queries, keys, values, is_causal=True)
        x = x + self.attended(heads.transpose(1, 2).reshape(models, rows, width))
        return x + self.narrow(functional.relu(self.widen(self.before_layers(x))))


class CharTransformer(nn.Module):
    """Decoder that predicts the next character, one model for each seed.

    Parameters
    ----------
    width : int
        Channels of the stream, a multiple of 4 (the number of heads).
    depth : int
        Blocks.
    context : int
        Characters that it can look back on.
    seeds : sequence of int
        One model for each, with its own starting weights.
    symbols : int
        Size of the alphabet.

    Raises
    ------
    ValueError
        If an argument is of the wrong kind.

    Examples
    --------
    >>> model = CharTransformer(width=16, seeds=[0, 1])
    >>> model(torch.zeros(2, 5, 12, dtype=torch.int64)).shape
    torch.Size([2, 5, 12, 96])
    """

    def __init__(
        self,
        width: int,
        depth: int = 2,
        context: int = 64,
        seeds: Sequence[int] = (0,),
        symbols: int = len(SYMBOLS),
    ):
        width, depth = _check_sizes(width, depth)
        context = checks.integer("context", context, lowest=1)
        seeds = _check_seeds(seeds)
        symbols = checks.integer("symbols", symbols, lowest=2)
        super().__init__()
        self.context = context
        self.symbols = symbols
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        self.characters = nn.Parameter(_drawn(generators, symbols, width))
        self.positions = nn.Parameter(_drawn(generators, context, width) * 0.1)
        self.blocks = nn.ModuleList([Block(generators, width, depth) for _ in range(depth)])
        self.before_logits = Normalise(len(seeds), width)
        # Small: the untrained model holds every character for about equally likely.
        self.logits = Linear(generators, width, symbols, 0.1)

    def forward(self, ids: Tensor) -> Tensor:
        """Logits of the next character at every position.

        Parameters
        ----------
        ids : Tensor, (models, batch, length), int64
            At most ``context`` long.

        Returns
        -------
        Tensor, (models, batch, length, symbols)
        """
        models, batch, length = ids.shape
        width = self.characters.shape[-1]
        found = self.characters.gather(1, ids.reshape(models, -1, 1).expand(-1, -1, width))
        x = found.view(models, batch, length, width) + self.positions[:, None, :length]
        x = x.view(models, batch * length, width)
        for block in self.blocks:
            x = block(x, batch, length)
        return self.logits(self.before_logits(x)).view(models, batch, length, self.symbols)


@dataclass(frozen=True)
class Training:
    """What a training run gives.

    Attributes
    ----------
    model : CharTransformer
    losses : Tensor, (steps, models)
        Training loss of each batch before its step, nats per character.
    tokens : int
        Characters predicted in training, D: whole batches of whole windows.
    """

    model: CharTransformer
    losses: Tensor
    tokens: int


def _windows(ids: Tensor, context: int) -> Tensor:
    """Rows of context + 1 characters: each predicts the last ``context`` of them; neighbours share one character."""
    row = ids.reshape(-1)
    count = (row.numel() - 1) // context
    return row.as_strided((count, context + 1), (context, 1))


def _rate(step: int, steps: int, warmup: int) -> float:
    """Share of the learning rate: rising over the warm-up, then falling along a line to zero at the last step."""
    if step < warmup:
        return (step + 1) / (warmup + 1)
    return (steps - step) / max(steps - warmup, 1)


def train(
    ids,
    width: int,
    tokens: int,
    seeds: Sequence[int] = (0,),
    depth: int = 2,
    context: int = 64,
    batch: int = 8,
    learning_rate: float | None = None,
    where: torch.device | str = "cpu",
    progress: Callable[[int, int, str], None] | None = None,
) -> Training:
    """Train models of one size on a text that each sees once, in an order of its own.

    Adam with a short warm-up and a learning rate that falls to zero exactly at the end: a run that is cut short
    is worse than one planned to be short, so every length of training needs a run of its own. Nothing regularises.

    Parameters
    ----------
    ids : array_like of int, (..., symbols)
        The text; rows are joined.
    width, depth, context
        As in :class:`CharTransformer`.
    tokens : int
        Characters to predict in training, D; rounded down to whole batches.
    seeds : sequence of int
        One model for each: its starting weights and the order of its windows.
    batch : int
        Windows in a batch.
    learning_rate : float, optional
        Of Adam at its highest; by default 0.64 / width, which was tuned.
    where : torch.device or str
        Where to train.
    progress : callable, optional
        Called with (done, total, note) after each step.

    Returns
    -------
    Training

    Raises
    ------
    ValueError
        If an argument is of the wrong kind, or the text is too short to give that many characters once.

    Examples
    --------
    >>> from lib.source_text import encode, stdlib_text
    >>> trained = train(encode(stdlib_text(20_000)), width=16, tokens=10_240)
    >>> trained.tokens, bool(trained.losses[-1] < trained.losses[0] - 0.5)
    (10240, True)
    """
    ids = symbol_ids("ids", ids, len(SYMBOLS))
    width, depth = _check_sizes(width, depth)
    context = checks.integer("context", context, lowest=1)
    batch = checks.integer("batch", batch, lowest=1)
    seeds = _check_seeds(seeds)
    available = max(ids.numel() - 1, 0) // context * context
    tokens = checks.integer("tokens", tokens, lowest=batch * context)
    if tokens > available:
        raise ValueError(f"tokens must be at most the {available} characters that ids can give once, got {tokens}")
    if learning_rate is None:
        learning_rate = RATE / width
    learning_rate = checks.real_number("learning_rate", learning_rate, lowest=0, open_below=True)
    where = checks.device("where", where)
    checks.callback("progress", progress)

    windows = _windows(ids, context)
    steps = tokens // (batch * context)
    orders = []
    for seed in seeds:
        order = torch.randperm(len(windows), generator=torch.Generator().manual_seed(seed))
        orders.append(order[: steps * batch].view(steps, batch))
    chosen = torch.stack(orders, dim=1)
    model = CharTransformer(width, depth, context, seeds).to(where)
    optimiser = torch.optim.Adam(model.parameters(), lr=learning_rate, betas=(0.9, 0.99), foreach=True)
    warmup = min(100, steps // 10)
    losses = torch.empty(steps, len(seeds), device=where)
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate * _rate(step, steps, warmup)
        loss = _losses(model, windows[chosen[step]].to(where))
        optimiser.zero_grad()
        loss.sum().backward()
        optimiser.step()
        losses[step] = loss.detach()
        if progress is not None:
            progress(step + 1, steps, "")
    return Training(model=model, losses=losses.cpu(), tokens=steps * batch * context)


def _losses(model: CharTransformer, windows: Tensor) -> Tensor:
    """Cross entropy of each model on windows (models, batch, context + 1), nats per character."""
    logits = model(windows[..., :-1])
    missed = functional.cross_entropy(logits.flatten(0, 2), windows[..., 1:].flatten(), reduction="none")
    return missed.view(len(windows), -1).mean(dim=1)


@torch.no_grad()
def validation_loss(model: CharTransformer, ids, batch: int = 128) -> Tensor:
    """Cross entropy of each model on a text it was not trained on.

    Parameters
    ----------
    model : CharTransformer
    ids : array_like of int, (..., symbols)
        The text; rows are joined and cut into windows of the model's context.
    batch : int
        Windows at a time.

    Returns
    -------
    Tensor, (models,), float64
        Nats per character, at all positions of a window (the first ones with little to go by).

    Raises
    ------
    ValueError
        If an argument is of the wrong kind or the text is shorter than a window.

    Examples
    --------
    >>> model = CharTransformer(width=16, seeds=[0, 1])
    >>> validation_loss(model, torch.arange(96).repeat(4)).round(decimals=0).tolist()
    [5.0, 5.0]
    """
    if not isinstance(model, CharTransformer):
        raise ValueError(f"model must be a CharTransformer, got {checks.describe(model)}")
    ids = symbol_ids("ids", ids, model.symbols)
    if ids.numel() <= model.context:
        raise ValueError(f"ids must hold more than the context of {model.context} symbols, got {ids.numel()}")
    batch = checks.integer("batch", batch, lowest=1)
    windows = _windows(ids, model.context).to(model.characters.device)
    models = len(model.characters)
    total = torch.zeros(models, dtype=torch.float64)
    for some in windows.split(batch):
        total += _losses(model, some.expand(models, *some.shape)).double().cpu() * len(some)
    return total / len(windows)


def _drawn(generators: Sequence[torch.Generator], *shape: int) -> Tensor:
    return torch.stack([torch.randn(shape, generator=generator) for generator in generators])


def _check_sizes(width: int, depth: int) -> tuple[int, int]:
    width = checks.integer("width", width, lowest=HEADS)
    if width % HEADS:
        raise ValueError(f"width must be a multiple of {HEADS}, got {width}")
    return width, checks.integer("depth", depth, lowest=1)


def _check_seeds(seeds: Sequence[int]) -> list[int]:
    if not isinstance(seeds, (list, tuple, range)) or not seeds:
        raise ValueError(f"seeds must be a list of at least one integer, got {checks.describe(seeds)}")
    return [checks.integer("seeds", seed, lowest=0, highest=2**63 - 1) for seed in seeds]
