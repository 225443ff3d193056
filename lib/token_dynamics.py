"""What happens to tokens in a very deep selective state-space model, when each token is one number.

A selective layer updates a memory h <- exp(-a D) h + D B x at every token x, with a step size D = softplus(s x) and a
write vector B = S_B x that depend on the token, and reads y = C h with C = S_C x. Very many residual layers
x <- x + e y(x) are a differential equation in depth t:

    dx_l/dt = mu x_l sum_{j <= l} x_j^2 D_j exp(-a (D_{j+1} + ... + D_l)),    mu = S_C^T S_B.

Everything is batched over leading dimensions; tokens are the last one, in reading order. Depth has the unit of 1 / mu.
Following the equation is in :mod:`lib.token_flow`, tokens that are vectors in :mod:`lib.token_vectors`, reordering in
:mod:`lib.softsort`; all can be imported from here.

Sources: T. N. Vo and others, arXiv:2410.03292, for the equation and its regimes. The exact constants (limit ratios,
blow-up times) are derived in the book's chapter.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lib import _tokens, checks
from lib.softsort import reorder_tokens, softsort
from lib.ssm.selective import selective_scan
from lib.token_flow import (
    BlowUp,
    TokenPath,
    arrival_time,
    blow_up_time,
    first_blow_up,
    follow_tokens,
    integrate_tokens,
)
from lib.token_vectors import definite_output_map, follow_vectors, output_spectrum, vector_velocity

__all__ = [
    "REGIMES",
    "dynamics_regime",
    "limit_ratios",
    "regime_codes",
    "residual_tokens",
    "selective_layer_1d",
    "shrinking_size",
    "token_velocity",
    "BlowUp",
    "TokenPath",
    "arrival_time",
    "blow_up_time",
    "definite_output_map",
    "first_blow_up",
    "follow_tokens",
    "follow_vectors",
    "integrate_tokens",
    "output_spectrum",
    "reorder_tokens",
    "softsort",
    "vector_velocity",
]

REGIMES = ("convergent", "stationary", "slow", "fast")


def token_velocity(x, mu, step_weight, decay) -> Tensor:
    """Velocity of each token: the output of one selective layer, as a sum over the tokens read so far.

    Parameters
    ----------
    x : array_like, (..., L)
        Tokens in reading order.
    mu : array_like, (...)
        Product of the read and the write map; its sign decides between shrinking and growing.
    step_weight : array_like, (...)
        Weight s of the step size softplus(s x).
    decay : array_like, (...)
        Forgetting rate a, above 0.

    Returns
    -------
    Tensor, (..., L)
        Per unit of depth.

    Raises
    ------
    ValueError
        If the shapes do not fit or ``decay`` is not above 0.

    Examples
    --------
    >>> token_velocity([1.0, -0.5], mu=-1.0, step_weight=0.0, decay=1.0)  # all steps are log 2
    tensor([-0.6931,  0.2599], dtype=torch.float64)
    """
    x, mu, step_weight, decay = _tokens.read("x", x, mu=mu, step_weight=step_weight, decay=decay)
    return velocity(x, mu, step_weight, decay)


def velocity(x: Tensor, mu: Tensor, step_weight: Tensor, decay: Tensor) -> Tensor:
    step = torch.logaddexp(step_weight[..., None] * x, torch.zeros_like(x))
    kept = _tokens.forgetting(step, decay)
    written = x * x * step
    remembered = (kept @ written[..., None])[..., 0]
    return mu[..., None] * x * remembered


def selective_layer_1d(x, mu, step_weight, decay) -> Tensor:
    """The same layer as it runs in practice: one pass over the tokens with a memory of one number.

    The scan is ``lib.ssm.selective.selective_scan``, the one of whole models.

    Parameters
    ----------
    x, mu, step_weight, decay
        As in :func:`token_velocity`.

    Returns
    -------
    Tensor, (..., L)

    Raises
    ------
    ValueError
        As :func:`token_velocity`.

    Examples
    --------
    >>> selective_layer_1d([1.0, -0.5], mu=-1.0, step_weight=0.0, decay=1.0)
    tensor([-0.6931,  0.2599], dtype=torch.float64)
    """
    x, mu, step_weight, decay = _tokens.read("x", x, mu=mu, step_weight=step_weight, decay=decay)
    step = _tokens.softplus(step_weight[..., None] * x).clamp(min=torch.finfo(x.dtype).tiny)
    # One channel with one state cell. The rate of decay is measured by the step, so that it may differ in the batch.
    sequence = x.reshape(-1, x.shape[-1], 1)
    forgotten = (decay[..., None] * step).reshape(sequence.shape)
    write = (x / decay[..., None]).reshape(sequence.shape)
    read = (mu[..., None] * x).reshape(sequence.shape)
    y, _ = selective_scan(sequence, forgotten, -torch.ones_like(sequence[0, :1]), write, read)
    return y.reshape(x.shape)


def residual_tokens(x0, mu, step_weight, decay, steps) -> Tensor:
    """Tokens after each layer of a deep residual network x <- x + e y(x).

    Parameters
    ----------
    x0 : array_like, (..., L)
        Tokens that enter the first layer.
    mu, step_weight, decay : array_like, (...)
        As in :func:`token_velocity`.
    steps : array_like, (K,)
        Factor e of each layer, above 0: the depth in units of the equation that it covers.

    Returns
    -------
    Tensor, (..., K + 1, L)
        The first row is x0.

    Raises
    ------
    ValueError
        If the shapes do not fit, or ``decay`` or a step is not above 0.

    Examples
    --------
    >>> residual_tokens([1.0], mu=-1.0, step_weight=0.0, decay=1.0, steps=[0.5, 0.5])[:, 0]
    tensor([1.0000, 0.6534, 0.5568], dtype=torch.float64)
    """
    x, mu, step_weight, decay = _tokens.read("x0", x0, mu=mu, step_weight=step_weight, decay=decay)
    (steps,) = checks.tensors(steps=steps)
    if steps.dim() != 1 or steps.shape[0] == 0:
        raise ValueError(f"steps must have shape (K,) with at least one layer, got {tuple(steps.shape)}")
    checks.require(steps > 0, "steps must be above 0", steps)
    path = [x]
    for step in steps.unbind():
        x = x + step * velocity(x, mu, step_weight, decay)
        path.append(x)
    return torch.stack(path, dim=-2)


def dynamics_regime(mu, step_weight, x0) -> str:
    """What becomes of the tokens of one system.

    Parameters
    ----------
    mu, step_weight : float
    x0 : array_like, (L,)
        Tokens at depth 0.

    Returns
    -------
    {"convergent", "stationary", "slow", "fast"}
        All shrink to 0; none moves; all that are not 0 grow like the logarithm of depth; some are infinite at a finite
        depth.

    Raises
    ------
    ValueError
        If ``x0`` is not one sequence.

    Examples
    --------
    >>> dynamics_regime(mu=1.0, step_weight=1.0, x0=[-1.0, -0.7, 0.4])
    'fast'
    """
    x0, mu, step_weight = _tokens.read_one(x0, mu=mu, step_weight=step_weight)
    return REGIMES[int(regime_codes(mu, step_weight, x0))]


def regime_codes(mu, step_weight, x0) -> Tensor:
    """Regimes of many systems at once, as places in ``REGIMES``.

    Parameters
    ----------
    mu, step_weight : array_like, (...)
    x0 : array_like, (..., L)

    Returns
    -------
    Tensor, (...)
        0 convergent, 1 stationary, 2 slow, 3 fast.

    Raises
    ------
    ValueError
        If the shapes do not fit.

    Examples
    --------
    >>> regime_codes([-1.0, 0.0, 1.0, 1.0], [1.0, 1.0, 1.0, -1.0], [-2.0, -1.0]).tolist()
    [0.0, 1.0, 2.0, 3.0]
    """
    x0, mu, step_weight = _tokens.read("x0", x0, mu=mu, step_weight=step_weight)
    moving = (x0 != 0).any(dim=-1) & (mu != 0)
    bursting = _tokens.explosive(x0, mu, step_weight).any(dim=-1)
    growing = torch.where(bursting, 3.0, 2.0)
    return torch.where(moving, torch.where(mu < 0, 0.0, growing), 1.0).to(mu.dtype)


def limit_ratios(count: int, decay) -> Tensor:
    """Sizes of shrinking tokens, as parts of the first, when they have shrunk for long.

    Parameters
    ----------
    count : int
        Number of tokens, at least 1; none of them starts at 0.
    decay : array_like, (...)
        Forgetting rate a, above 0.

    Returns
    -------
    Tensor, (..., count)
        1 for the first token and sqrt(1 - 2^-a) for all others, wherever they started.

    Raises
    ------
    ValueError
        If ``count`` is below 1 or ``decay`` not above 0.

    Examples
    --------
    >>> limit_ratios(3, decay=1.0)
    tensor([1.0000, 0.7071, 0.7071], dtype=torch.float64)
    """
    count = checks.integer("count", count, lowest=1)
    (decay,) = checks.tensors(decay=decay)
    checks.require(decay > 0, "decay must be above 0", decay)
    later = torch.sqrt(-torch.expm1(-decay * math.log(2)))
    first = torch.ones_like(later)
    return torch.stack([first] + [later] * (count - 1), dim=-1)


def shrinking_size(times, mu) -> Tensor:
    """Size of the first token when it has shrunk for long, 1 / sqrt(2 abs(mu) log(2) t).

    Parameters
    ----------
    times : array_like, (...)
        Depths, above 0.
    mu : array_like, (...)
        Below 0 for shrinking; only its size matters.

    Returns
    -------
    Tensor, (...)

    Raises
    ------
    ValueError
        If a time is not above 0, mu is 0, or the shapes do not broadcast.

    Examples
    --------
    >>> round(float(shrinking_size(1e8, mu=-1.0)) * 1e5, 3)
    8.493
    """
    times, mu = checks.tensors(times=times, mu=mu)
    checks.batch(times=times.shape, mu=mu.shape)
    checks.require(times > 0, "times must be above 0", times)
    checks.require(mu != 0, "mu must not be 0", mu)
    return torch.rsqrt(2 * math.log(2) * mu.abs() * times)
