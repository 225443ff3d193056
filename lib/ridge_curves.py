"""Learning curves of ridge regression on features with a power-law spectrum: theory and simulation.

A teacher with weights w on Gaussian features of variances lambda, a student that fits n of its noisy answers with a
ridge. For many features the error does not depend on the draw: it follows from one number, the resolution kappa, below
which variances are not learnt (the deterministic equivalent).

Sources: B. Bordelon, A. Canatar and C. Pehlevan, arXiv:2002.02561; S. Spigler, M. Geiger and M. Wyart,
arXiv:1905.10843.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lib import checks
from lib.live import tracing

__all__ = ["power_law_spectrum", "ridge_exponent", "ridge_learning_curve", "ridge_resolution", "simulate_ridge"]

AT_ONCE = 2**17  # entries of a temporary: a million modes go through in pieces
STEPS = 24  # of Newton's method at most; power laws need seven or so


def power_law_spectrum(a, b, modes: int) -> tuple[Tensor, Tensor]:
    """Variances and squared weights that fall as powers: lambda_k = k^-a and w_k^2 lambda_k = k^-b.

    Parameters
    ----------
    a : array_like, (...)
        Decay of the features' variances, above 1.
    b : array_like, (...)
        Decay of the target's power, above 1.
    modes : int
        Features.

    Returns
    -------
    lam, w2 : Tensor, (..., modes)

    Raises
    ------
    ValueError
        If a decay is not above 1 or ``modes`` is not a positive integer.

    Examples
    --------
    >>> lam, w2 = power_law_spectrum(a=2.0, b=3.0, modes=3)
    >>> lam.tolist(), w2.tolist()
    ([1.0, 0.25, 0.1111111], [1.0, 0.5, 0.3333333])
    """
    a, b = checks.tensors(a=a, b=b)
    modes = checks.integer("modes", modes, lowest=1)
    for name, decay in (("a", a), ("b", b)):
        checks.require(decay > 1, f"{name} must be above 1", decay)
    checks.batch(a=a.shape, b=b.shape)
    k = torch.arange(1, modes + 1, dtype=a.dtype, device=a.device)
    a, b = torch.broadcast_tensors(a[..., None], b[..., None])
    return k**-a, k ** (a - b)


def ridge_exponent(a, b) -> Tensor:
    """Exponent of the error for many examples, without noise and without a ridge.

    Parameters
    ----------
    a, b : array_like, (...)
        As in :func:`power_law_spectrum`.

    Returns
    -------
    Tensor, (...)
        -(b - 1), but not below -2a: a smoother target than that is not learnt faster.

    Raises
    ------
    ValueError
        If a decay is not above 1.

    Examples
    --------
    >>> float(ridge_exponent(1.5, 1.25)), float(ridge_exponent(1.5, 5.0))
    (-0.25, -3.0)
    """
    a, b = checks.tensors(a=a, b=b)
    for name, decay in (("a", a), ("b", b)):
        checks.require(decay > 1, f"{name} must be above 1", decay)
    checks.batch(a=a.shape, b=b.shape)
    return torch.maximum(1 - b, -2 * a)


def ridge_resolution(lam, n, ridge=0.0) -> Tensor:
    """Variance kappa down to which n examples resolve the features.

    Parameters
    ----------
    lam : array_like, (..., modes)
        Variances of the features, above 0.
    n : array_like, (...)
        Examples, above 0; fewer than there are modes where the ridge is 0.
    ridge : array_like, (...)
        Added to the diagonal of the Gram matrix, at least 0.

    Returns
    -------
    Tensor, (...)
        The solution of n = sum_k lambda_k / (lambda_k + kappa) + ridge / kappa.

    Raises
    ------
    ValueError
        If an argument lies outside its range, the shapes do not broadcast, or n is not below the number of modes while
        the ridge is 0.

    Examples
    --------
    >>> float(ridge_resolution([1.0, 1.0, 1.0], n=1, ridge=0.0))  # 1 = 3 / (1 + kappa)
    2.0
    """
    return _resolution(*_read(lam, n, ridge))


def ridge_learning_curve(lam, w2, n, ridge=0.0, noise=0.0) -> Tensor:
    """Expected squared error of ridge regression on new examples, by the deterministic equivalent.

    Parameters
    ----------
    lam : array_like, (..., modes)
        Variances of the features, above 0.
    w2 : array_like, (..., modes)
        Squared weights of the target, at least 0.
    n : array_like, (...)
        Examples, above 0; fewer than there are modes where the ridge is 0.
    ridge : array_like, (...)
        Added to the diagonal of the Gram matrix, at least 0.
    noise : array_like, (...)
        Variance of the noise in the answers, at least 0. The error is against the answers without noise.

    Returns
    -------
    Tensor, (...)

    Raises
    ------
    ValueError
        If an argument lies outside its range, the shapes do not broadcast, or n is not below the number of modes while
        the ridge is 0.

    Examples
    --------
    >>> lam, w2 = power_law_spectrum(a=1.5, b=1.5, modes=100_000)
    >>> ridge_learning_curve(lam, w2, n=[64.0, 128.0]).tolist()
    [0.4552132, 0.3209857]
    """
    lam, n, ridge = _read(lam, n, ridge)
    w2, noise = checks.tensors(w2=w2, noise=noise)
    checks.shape("w2", w2, lam.shape[-1])
    checks.require(w2 >= 0, "w2 must be at least 0", w2)
    checks.require(noise >= 0, "noise must be at least 0", noise)
    batch = checks.batch(lam=lam.shape[:-1], n=n.shape, ridge=ridge.shape, w2=w2.shape[:-1], noise=noise.shape)
    kappa = _resolution(lam, n, ridge).expand(batch)
    missed, squared_share = torch.zeros_like(kappa), torch.zeros_like(kappa)
    for variances, weights in zip(_pieces(lam, batch), _pieces(w2, batch), strict=True):
        unresolved = 1 / (variances + kappa[..., None])
        missed = missed + (weights * variances * unresolved**2).sum(dim=-1)
        squared_share = squared_share + ((variances * unresolved) ** 2).sum(dim=-1)
    overlap = squared_share / n
    return (kappa**2 * missed + noise * overlap) / (1 - overlap)


def simulate_ridge(
    lam, w2, n: int, ridge: float = 0.0, noise: float = 0.0, repeats: int = 8, *, generator: torch.Generator
) -> Tensor:
    """Draw teachers and examples, fit them, and measure the error exactly.

    Parameters
    ----------
    lam, w2 : array_like, (modes,)
        Variances of the features and squared weights of the target, whose signs are drawn.
    n : int
        Examples; fewer than there are modes where the ridge is 0.
    ridge, noise : float
        As in :func:`ridge_learning_curve`.
    repeats : int
        Independent draws.
    generator : torch.Generator
        Source of randomness.

    Returns
    -------
    Tensor, (repeats,)
        sum_k lambda_k (weight found - weight)^2.

    Raises
    ------
    ValueError
        If an argument lies outside its range.

    Examples
    --------
    >>> lam, w2 = power_law_spectrum(a=1.5, b=1.5, modes=1000)
    >>> errors = simulate_ridge(lam, w2, n=64, generator=torch.Generator().manual_seed(0))
    >>> bool((errors.mean() / ridge_learning_curve(lam, w2, 64) - 1).abs() < 0.15)
    True
    """
    lam, w2 = checks.tensors(lam=lam, w2=w2)
    if lam.dim() != 1 or lam.shape[0] == 0:
        raise ValueError(f"lam must have shape (modes,), got {tuple(lam.shape)}")
    if w2.shape != lam.shape:
        raise ValueError(f"w2 must have shape {tuple(lam.shape)} as lam, got {tuple(w2.shape)}")
    checks.require(lam > 0, "lam must be above 0", lam)
    checks.require(w2 >= 0, "w2 must be at least 0", w2)
    ridge = checks.real_number("ridge", ridge, lowest=0)
    noise = checks.real_number("noise", noise, lowest=0)
    n = checks.integer("n", n, lowest=1, highest=None if ridge > 0 else lam.shape[0] - 1)
    repeats = checks.integer("repeats", repeats, lowest=1)
    generator = checks.generator("generator", generator)
    like = {"dtype": lam.dtype, "device": generator.device}
    errors = lam.new_empty(repeats)
    for repeat in range(repeats):
        signs = torch.randint(2, lam.shape, generator=generator, device=generator.device) * 2 - 1
        weights = w2.sqrt() * signs.to(lam.device)
        features = torch.randn((n, lam.shape[0]), generator=generator, **like).to(lam.device) * lam.sqrt()
        answers = features @ weights + noise**0.5 * torch.randn(n, generator=generator, **like).to(lam.device)
        gram = features @ features.T
        gram.diagonal().add_(ridge)
        found = features.T @ torch.cholesky_solve(answers[:, None], torch.linalg.cholesky(gram))
        errors[repeat] = (lam * (found[:, 0] - weights) ** 2).sum()
    return errors


def _read(lam, n, ridge) -> tuple[Tensor, Tensor, Tensor]:
    lam, n, ridge = checks.tensors(lam=lam, n=n, ridge=ridge)
    checks.shape("lam", lam, None)
    checks.require(lam > 0, "lam must be above 0", lam)
    checks.require(n > 0, "n must be above 0", n)
    checks.require(ridge >= 0, "ridge must be at least 0", ridge)
    checks.batch(lam=lam.shape[:-1], n=n.shape, ridge=ridge.shape)
    modes = lam.shape[-1]
    checks.require((n < modes) | (ridge > 0), f"n must be below the {modes} modes where the ridge is 0", n)
    return lam, n, ridge


def _pieces(modes: Tensor, batch: torch.Size) -> tuple[Tensor, ...]:
    """Modes cut so that one number for each of them and each member of the batch stays small."""
    if tracing.active():
        return (modes,)
    return modes.split(max(AT_ONCE // max(batch.numel(), 1), 1), dim=-1)


def _resolution(lam: Tensor, n: Tensor, ridge: Tensor) -> Tensor:
    """Newton's method on logarithms, where the sum over a power-law spectrum is nearly a line.

    It comes down from an upper bound; a step that leaves the bracket found so far is replaced by its middle.
    """
    batch = torch.broadcast_shapes(lam.shape[:-1], n.shape, ridge.shape)
    n, ridge = n.expand(batch), ridge.expand(batch)
    # sum lambda / (lambda + kappa) <= sum lambda / kappa bounds kappa from above.
    high = ((lam.sum(dim=-1) + ridge) / n).log()
    low, at = high - 80, high
    pieces = _pieces(lam, batch)
    for _ in range(STEPS):
        kappa = at.exp()
        resolved, slope = ridge / kappa, ridge / kappa
        for variances in pieces:
            share = variances / (variances + kappa[..., None])
            resolved = resolved + share.sum(dim=-1)
            slope = slope + (share * (1 - share)).sum(dim=-1)
        above = resolved > n
        low, high = torch.where(above, at, low), torch.where(above, high, at)
        after = at + (resolved.log() - n.log()) * resolved / slope
        after = torch.where((after >= low) & (after <= high), after, (low + high) / 2)
        settled = not tracing.active() and bool(((after - at).abs() < 1e-13).all())
        at = after
        if settled:
            break
    return at.exp()
