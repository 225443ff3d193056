"""Small language models trained on characters: a text at hand, training on random windows, bits per character.

The text is the help of Python itself (``pydoc_data.topics`` of the standard library): half a megabyte of English with
code, the same wherever the same Python runs, under the licence of Python.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from lib import checks
from lib.ssm import _block
from lib.ssm.language_model import LanguageModel, parameter_groups

__all__ = ["bits_per_token", "encode_characters", "help_text", "train_language_model"]


def help_text() -> str:
    """The topics of Python's help, one after the other in the order of their names.

    Returns
    -------
    str
        About 465 000 characters, 103 different ones, in Python 3.11; other versions differ a little.

    Examples
    --------
    >>> "lambda" in help_text()
    True
    """
    from pydoc_data.topics import topics

    return "".join(topics[name] for name in sorted(topics))


def encode_characters(text: str) -> tuple[Tensor, str]:
    """Characters as numbers.

    Parameters
    ----------
    text : str
        Not empty.

    Returns
    -------
    tokens : Tensor of int64, (characters,)
        Place of each character in the alphabet.
    alphabet : str
        The characters that occur, in order.

    Raises
    ------
    ValueError
        If the text is empty or no text.

    Examples
    --------
    >>> tokens, alphabet = encode_characters("abba")
    >>> tokens.tolist(), alphabet
    ([0, 1, 1, 0], 'ab')
    """
    if not isinstance(text, str) or not text:
        raise ValueError(f"text must be a non-empty text, got {checks.describe(text)}")
    alphabet = "".join(sorted(set(text)))
    place = {character: index for index, character in enumerate(alphabet)}
    return torch.tensor([place[character] for character in text]), alphabet


def train_language_model(
    model: LanguageModel,
    tokens: Tensor,
    generator: torch.Generator,
    *,
    steps: int = 500,
    batch_size: int = 16,
    length: int = 128,
    learning_rate: float = 3e-3,
    weight_decay: float = 0.1,
    progress: Callable | None = None,
) -> Tensor:
    """Train a model to predict the next token in random windows of a text.

    AdamW, gradients clipped at norm 1, a rate that rises over the first tenth of the steps and then falls. The model is
    changed in place.

    Parameters
    ----------
    model : LanguageModel
    tokens : Tensor of int, (n,)
        The text, more than ``length`` tokens.
    generator : torch.Generator
        Source of the windows.
    steps, batch_size, length : int
        At least 2 steps; windows of a batch and their length, at least 1.
    learning_rate, weight_decay : float
        Largest learning rate, above 0, and decay, at least 0, of all but the parameters that
        :func:`lib.ssm.language_model.parameter_groups` leaves alone.
    progress : callable, optional
        Called with (steps done, steps).

    Returns
    -------
    Tensor, (steps,)
        Mean cross-entropy of each batch (nats per token).

    Raises
    ------
    ValueError
        If an argument is of the wrong kind or out of range.

    Examples
    --------
    >>> from functools import partial
    >>> from lib.ssm.mamba3 import Mamba3Block
    >>> tokens, alphabet = encode_characters("to be or not to be")
    >>> block = partial(Mamba3Block, d_state=4, head_dim=4)
    >>> model = LanguageModel(len(alphabet), 8, 1, block=block, mlp_width=0)
    >>> train_language_model(model, tokens, torch.Generator().manual_seed(0), steps=2, length=8).shape
    torch.Size([2])
    """
    _check_model(model)
    checks.generator("generator", generator)
    checks.integer("steps", steps, lowest=2)
    checks.integer("batch_size", batch_size, lowest=1)
    checks.integer("length", length, lowest=1)
    tokens = _check_tokens(tokens, model, length)
    checks.real_number("learning_rate", learning_rate, lowest=0, open_below=True)
    checks.real_number("weight_decay", weight_decay, lowest=0)
    checks.callback("progress", progress)
    optimizer = torch.optim.AdamW(parameter_groups(model, weight_decay), lr=learning_rate, betas=(0.9, 0.95))
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, learning_rate, total_steps=steps, pct_start=0.1, cycle_momentum=False
    )
    window = torch.arange(length + 1, device=tokens.device)
    losses = torch.zeros(steps)
    for step in range(steps):
        starts = torch.randint(len(tokens) - length, (batch_size, 1), generator=generator, device=generator.device)
        batch = tokens[starts.to(tokens.device) + window]
        loss = functional.cross_entropy(model(batch[:, :-1]).flatten(0, 1), batch[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses[step] = loss.detach()
        if progress is not None:
            progress(step + 1, steps)
    return losses


@torch.no_grad()
def bits_per_token(model: LanguageModel, tokens: Tensor, *, length: int = 128, batch_size: int = 64) -> float:
    """Mean number of bits with which a model predicts a text, read in windows that know nothing of each other.

    Parameters
    ----------
    model : LanguageModel
    tokens : Tensor of int, (n,)
        The text, more than ``length`` tokens; what does not fill a window at the end is left out.
    length, batch_size : int
        Tokens of a window and windows at once, at least 1.

    Returns
    -------
    float
        Cross-entropy (bits per token).

    Raises
    ------
    ValueError
        If an argument is of the wrong kind or out of range.

    Examples
    --------
    Before training nothing is known, which costs about log2(alphabet) bits:

    >>> from functools import partial
    >>> from lib.ssm.mamba3 import Mamba3Block
    >>> tokens, alphabet = encode_characters("to be or not to be")
    >>> block = partial(Mamba3Block, d_state=4, head_dim=4)
    >>> model = LanguageModel(len(alphabet), 8, 1, block=block, mlp_width=0)
    >>> 2 < bits_per_token(model, tokens, length=8) < 5
    True
    """
    _check_model(model)
    checks.integer("length", length, lowest=1)
    checks.integer("batch_size", batch_size, lowest=1)
    tokens = _check_tokens(tokens, model, length)
    windows = (len(tokens) - 1) // length
    inputs = tokens[: windows * length].view(windows, length)
    targets = tokens[1 : windows * length + 1].view(windows, length)
    total = 0.0
    for start in range(0, windows, batch_size):
        logits = model(inputs[start : start + batch_size])
        wanted = targets[start : start + batch_size].flatten()
        total += float(functional.cross_entropy(logits.flatten(0, 1), wanted, reduction="sum"))
    return total / (windows * length) / math.log(2)


def _check_model(model) -> None:
    if not isinstance(model, LanguageModel):
        raise ValueError(f"model must be a LanguageModel, got {checks.describe(model)}")


def _check_tokens(tokens, model: LanguageModel, length: int) -> Tensor:
    _block.check_integers("tokens", tokens, "(n,)", 1, model.vocabulary)
    if len(tokens) <= length:
        raise ValueError(f"tokens must be more than the length {length} of a window, got {len(tokens)}")
    return tokens.long()
