"""Points of a scaling sweep: a small character language model of a given size, trained with a given compute.

A function of numbers that returns numbers, in a module of its own, so that :mod:`lib.sweep` can send it to other
processes and machines by its name.
"""

from __future__ import annotations

from functools import lru_cache

from lib import checks
from lib.char_transformer import non_embedding_parameters, train, training_flops, validation_loss
from lib.source_text import TextSplit, block_split, encode, stdlib_text

__all__ = ["char_model", "source_split"]


@lru_cache(maxsize=1)
def source_split() -> TextSplit:
    """The text of the standard library in shuffled blocks, 64 of them for validation: the same split for all runs.

    Examples
    --------
    >>> source_split().validation.shape
    torch.Size([64, 1024])
    """
    return block_split(encode(stdlib_text()), seed=0)


def char_model(
    width: int, budget: float, seed: int = 0, depth: int = 2, context: int = 64, batch: int = 8
) -> dict[str, float]:
    """Spend a budget of compute on a model of one size: train it on the characters that are left for it, once.

    Parameters
    ----------
    width : int
        Channels of the model, a multiple of 4; N = 12 depth width^2 parameters without embeddings.
    budget : float
        Compute C = 6 N D in floating point operations, above 0.
    seed : int
        Of the starting weights and the order of the text.
    depth, context, batch
        As in :func:`lib.char_transformer.train`.

    Returns
    -------
    dict of str to float
        ``parameters`` (N), ``all_parameters`` (with embeddings and gains), ``tokens`` (D, whole batches), ``flops``
        (6 N D of these) and ``loss`` on the validation blocks in nats per character.

    Raises
    ------
    ValueError
        If an argument is of the wrong kind, or the budget buys less than a batch or more than the whole text.

    Examples
    --------
    >>> point = char_model(width=16, budget=2e9)
    >>> point["parameters"], point["tokens"], 2 < point["loss"] < 4
    (6144, 53760, True)
    """
    parameters = non_embedding_parameters(width, depth)
    budget = checks.real_number("budget", budget, lowest=0, open_below=True)
    seed = checks.integer("seed", seed, lowest=0, highest=2**63 - 1)
    context = checks.integer("context", context, lowest=1)
    batch = checks.integer("batch", batch, lowest=1)
    split = source_split()
    cost = 6 * parameters
    lowest, highest = batch * context, (split.train.numel() - 1) // context * context
    if not lowest <= budget / cost <= highest:
        raise ValueError(
            f"budget must be from {lowest * cost:.3g} to {highest * cost:.3g} for {parameters} parameters "
            f"and a text read once, got {budget:g}"
        )
    trained = train(split.train, width, int(budget / cost), seeds=[seed], depth=depth, context=context, batch=batch)
    return {
        "parameters": parameters,
        "all_parameters": sum(weights.numel() for weights in trained.model.parameters()),
        "tokens": trained.tokens,
        "flops": training_flops(parameters, trained.tokens),
        "loss": float(validation_loss(trained.model, split.validation)),
    }
