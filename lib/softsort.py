"""A sorting that gradients pass through: each place of the sorted order is a weighted mean of the entries near it.

Source: S. Prillo and J. Eisenschlos, SoftSort: A continuous relaxation for the argsort operator, ICML (2020),
arXiv:2006.16038. Used for reordering tokens before a scan by T. N. Vo and others, arXiv:2410.03292.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lib import checks

__all__ = ["reorder_tokens", "softsort"]


def softsort(scores, temperature=1.0, hard: bool = False) -> Tensor:
    """Relaxed permutation matrix that sorts scores in descending order.

    Parameters
    ----------
    scores : array_like, (..., n)
        What to sort by; negate them for ascending order.
    temperature : float or Tensor
        Above 0, in units of the scores. Towards 0 the rows become those of the permutation.
    hard : bool
        Return the permutation itself; its gradient is that of the relaxed matrix (straight-through).

    Returns
    -------
    Tensor, (..., n, n)
        Rows are places from the highest score to the lowest, columns are entries; each row sums to 1. Scores that
        are equal share their rows unless ``hard``, which keeps their order.

    Raises
    ------
    ValueError
        If there are no scores, ``temperature`` is not above 0, or ``hard`` is not a flag.

    Examples
    --------
    >>> weights = softsort([0.3, -1.0, 2.0], hard=True)
    >>> (weights @ torch.tensor([0.3, -1.0, 2.0], dtype=torch.float64)).tolist()
    [2.0, 0.3, -1.0]
    """
    scores, temperature = checks.tensors(scores=scores, temperature=temperature)
    checks.shape("scores", scores, None)
    if temperature.dim() != 0:
        raise ValueError(f"temperature must be one number, got shape {tuple(temperature.shape)}")
    checks.require(temperature > 0, "temperature must be above 0", temperature)
    hard = checks.flag("hard", hard)
    ordered, order = torch.sort(scores, dim=-1, descending=True, stable=True)
    distance = (ordered[..., :, None] - scores[..., None, :]).abs()
    soft = torch.softmax(-distance / temperature, dim=-1)
    if not hard:
        return soft
    places = torch.arange(scores.shape[-1], device=scores.device)
    permutation = (order[..., :, None] == places).to(scores.dtype)
    return permutation + (soft - soft.detach())


def reorder_tokens(x, scores, temperature=1.0, hard: bool = False) -> Tensor:
    """Tokens sorted by rising score, so that a scan reads the important ones last.

    Parameters
    ----------
    x : array_like, (..., L, D)
        Tokens.
    scores : array_like, (..., L)
        Importance of each token.
    temperature, hard
        As in :func:`softsort`.

    Returns
    -------
    Tensor, (..., L, D)

    Raises
    ------
    ValueError
        If the shapes do not fit, and as :func:`softsort`.

    Notes
    -----
    Every new token depends on all old ones. A model that predicts the next token may not do this: it would see the
    future. It is for tasks in which the whole sequence is known, such as images and classification.

    Examples
    --------
    >>> reorder_tokens([[10.0], [20.0], [30.0]], [0.3, -1.0, 2.0], hard=True)[:, 0].tolist()
    [20.0, 10.0, 30.0]
    """
    x, scores = checks.tensors(x=x, scores=scores)
    checks.shape("x", x, None, None)
    checks.shape("scores", scores, x.shape[-2])
    checks.batch(x=x.shape[:-2], scores=scores.shape[:-1])
    return softsort(-scores, temperature, hard) @ x
