"""Loss as a law of parameters N and tokens D together, and what it says about the best use of compute.

Losses are in nats per token, N in parameters, D in tokens, compute C in floating-point operations, C = 6 N D. The
formulas are elementwise torch and run inside a live figure.

Sources: J. Kaplan et al., arXiv:2001.08361, section 1.2; J. Hoffmann et al., arXiv:2203.15556, section 3.3 and appendix
D.3 (approach 3), section 3.2 (minima along constant compute); T. Besiroglu et al., arXiv:2404.10102.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lib import checks
from lib.power_forms import same_length

__all__ = [
    "BESIROGLU",
    "HOFFMANN",
    "KAPLAN",
    "IsoFlop",
    "JointLaw",
    "KaplanLaw",
    "chinchilla_loss",
    "compute_optimal",
    "isoflop_minima",
    "kaplan_loss",
]

FLOPS = 6.0


@dataclass(frozen=True)
class JointLaw:
    """L = E + A N^-alpha + B D^-beta; numbers or tensors of one shape.

    Attributes
    ----------
    E, A, B : float or Tensor
        Irreducible loss, and what few parameters and few tokens add at N = 1 and D = 1 (nats per token), above 0.
    alpha, beta : float or Tensor
        Exponents of N and D, above 0.
    """

    E: float | Tensor
    A: float | Tensor
    B: float | Tensor
    alpha: float | Tensor
    beta: float | Tensor

    @property
    def a(self):
        """Exponent of compute in the best number of parameters."""
        return self.beta / (self.alpha + self.beta)

    @property
    def b(self):
        """Exponent of compute in the best number of tokens."""
        return self.alpha / (self.alpha + self.beta)

    def predict(self, N, D) -> Tensor:
        """Loss in nats per token, as :func:`chinchilla_loss`."""
        return chinchilla_loss(N, D, self)


@dataclass(frozen=True)
class KaplanLaw:
    """Constants of Kaplan's laws: scales of parameters and tokens, and their exponents."""

    N_c: float
    D_c: float
    alpha_N: float
    alpha_D: float


HOFFMANN = JointLaw(E=1.69, A=406.4, B=410.7, alpha=0.34, beta=0.28)
BESIROGLU = JointLaw(E=1.8172, A=482.01, B=2085.43, alpha=0.3478, beta=0.3658)
KAPLAN = KaplanLaw(N_c=8.8e13, D_c=5.4e13, alpha_N=0.076, alpha_D=0.095)


@dataclass(frozen=True)
class IsoFlop:
    """Minima of the loss along lines of constant compute.

    Attributes
    ----------
    C, N, D, L : Tensor, (...)
        Budget, best parameters and tokens, and the loss there.
    inside : Tensor, (...), bool
        Whether the minimum lies between the smallest and the largest N that were run.
    """

    C: Tensor
    N: Tensor
    D: Tensor
    L: Tensor
    inside: Tensor


def chinchilla_loss(N, D, law: JointLaw = HOFFMANN) -> Tensor:
    """Loss of approach 3, E + A N^-alpha + B D^-beta.

    Parameters
    ----------
    N, D : array_like
        Parameters and tokens, above 0.
    law : JointLaw

    Returns
    -------
    Tensor
        Nats per token, of the shape that all have in common.

    Raises
    ------
    ValueError
        If N or D is not positive, law is no JointLaw, or the shapes do not broadcast.

    Examples
    --------
    >>> round(float(chinchilla_loss(70e9, 1.4e12)), 3)  # the size of Chinchilla
    1.937
    """
    N, D, E, A, B, alpha, beta = _read(law, N=N, D=D)
    return E + A * N**-alpha + B * D**-beta


def kaplan_loss(N=None, D=None, law: KaplanLaw = KAPLAN) -> Tensor:
    """Kaplan's loss, [(N_c / N)^(alpha_N / alpha_D) + D_c / D]^alpha_D.

    Parameters
    ----------
    N, D : array_like, optional
        Parameters and tokens, above 0. One that is left out is unlimited: L(N) or L(D).
    law : KaplanLaw

    Returns
    -------
    Tensor
        Nats per token, of the shape that both have in common.

    Raises
    ------
    ValueError
        If N or D is not positive, both are left out, law is no KaplanLaw, or the shapes do not broadcast.

    Examples
    --------
    >>> round(float(kaplan_loss(N=8.8e13)), 9), round(float(kaplan_loss(1.5e9, 40e9)), 3)
    (1.0, 2.345)
    """
    if not isinstance(law, KaplanLaw):
        raise ValueError(f"law must be a KaplanLaw, got {checks.describe(law)}")
    given = {name: value for name, value in (("N", N), ("D", D)) if value is not None}
    if not given:
        raise ValueError("N or D must be given, got None for both")
    given = dict(zip(given, checks.tensors(**given), strict=True))
    checks.batch(**{name: value.shape for name, value in given.items()})
    for name, value in given.items():
        checks.require(value > 0, f"{name} must be above 0", value)
    terms = []
    if "N" in given:
        terms.append((law.N_c / given["N"]) ** (law.alpha_N / law.alpha_D))
    if "D" in given:
        terms.append(law.D_c / given["D"])
    return sum(terms[1:], start=terms[0]) ** law.alpha_D


def compute_optimal(C, law: JointLaw = HOFFMANN) -> tuple[Tensor, Tensor]:
    """Parameters and tokens of least loss for a budget of C = 6 N D floating-point operations.

    Parameters
    ----------
    C : array_like
        Budgets, above 0.
    law : JointLaw

    Returns
    -------
    N, D : Tensor
        N = G (C / 6)^a and D = (C / 6)^b / G with G = (alpha A / (beta B))^(1 / (alpha + beta)).

    Raises
    ------
    ValueError
        If C is not positive, law is no JointLaw, or the shapes do not broadcast.

    Examples
    --------
    >>> N, D = compute_optimal(5.76e23)
    >>> f"{float(N):.3g}, {float(D):.3g}, {float(D / N):.0f} tokens per parameter"
    '3.22e+10, 2.98e+12, 93 tokens per parameter'
    """
    C, _, A, B, alpha, beta = _read(law, C=C)
    product = C / FLOPS
    # One power of a sum of logarithms: D then is the rest of the product to the last digit.
    log_N = ((alpha * A).log() - (beta * B).log() + beta * product.log()) / (alpha + beta)
    N = log_N.exp()
    return N, product / N


def isoflop_minima(C, N, L) -> IsoFlop:
    """Best size for each budget: the lowest point of a parabola through L against ln N.

    Parameters
    ----------
    C : array_like, (...)
        Budgets, above 0.
    N : array_like, (..., k)
        Parameters of the runs at each budget, at least three of them different.
    L : array_like, (..., k)
        Their losses.

    Returns
    -------
    IsoFlop

    Raises
    ------
    ValueError
        If the shapes do not fit, C or N is not positive, there are fewer than three different N, or a parabola opens
        downwards, so that nothing was minimal.

    Examples
    --------
    >>> N = 10.0 ** torch.linspace(8, 11, 7, dtype=torch.float64)
    >>> found = isoflop_minima(1e21, N, (N.log10() - 9.5) ** 2 + 2)
    >>> round(float(found.N.log10()), 6), bool(found.inside)
    (9.5, True)
    """
    C, N, L = checks.tensors(C=C, N=N, L=L)
    same_length(N=N, L=L)
    batch = checks.batch(C=C.shape, N=N.shape[:-1], L=L.shape[:-1])
    checks.require(C > 0, "C must be above 0", C)
    checks.require(N > 0, "N must be above 0", N)
    different = 1 + (N.sort(dim=-1).values.diff(dim=-1) > 0).sum(dim=-1)
    checks.require(different >= 3, "N must have at least three different values at each budget")
    C, N, L = C.expand(batch), N.expand(*batch, N.shape[-1]), L.expand(*batch, N.shape[-1])
    x = N.log()
    centre = x.mean(dim=-1, keepdim=True)
    spread = (x - centre).abs().amax(dim=-1, keepdim=True)
    u = (x - centre) / spread
    basis = torch.stack([torch.ones_like(u), u, u * u], dim=-1)
    solved = torch.linalg.solve(basis.mT @ basis, basis.mT @ L[..., None])[..., 0]
    level, slope, bend = solved.unbind(dim=-1)
    checks.require(bend > 0, "L must have a minimum along each budget, but a parabola through it opens downwards")
    u_best = -slope / (2 * bend)
    N_best = (centre[..., 0] + spread[..., 0] * u_best).exp()
    inside = (N_best >= N.amin(dim=-1)) & (N_best <= N.amax(dim=-1))
    return IsoFlop(C, N_best, C / (FLOPS * N_best), level + slope * u_best / 2, inside)


def _read(law: JointLaw, **variables) -> list[Tensor]:
    """Positive variables and the constants of a law, as tensors that broadcast."""
    if not isinstance(law, JointLaw):
        raise ValueError(f"law must be a JointLaw, got {checks.describe(law)}")
    constants = {"E": law.E, "A": law.A, "B": law.B, "alpha": law.alpha, "beta": law.beta}
    named = dict(zip([*variables, *constants], checks.tensors(**variables, **constants), strict=True))
    checks.batch(**{name: value.shape for name, value in named.items()})
    for name in variables:
        checks.require(named[name] > 0, f"{name} must be above 0", named[name])
    for name in ("A", "B", "alpha", "beta"):
        checks.require(named[name] > 0, f"law must have {name} above 0", named[name])
    return list(named.values())
