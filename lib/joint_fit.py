"""Fit the joint law of parameters and tokens to runs, robustly and from many starts, with bootstrap intervals.

The objective is that of approach 3: the sum of Huber's function of ln L, with the sum of three powers written as a
log-sum-exp. All starts, and all bootstrap samples, are refitted in one batch.

Sources: J. Hoffmann et al., arXiv:2203.15556, appendix D.3; T. Besiroglu et al., arXiv:2404.10102, for the traps (a
sum, not a mean; intervals from resampled runs).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor

from lib import checks
from lib._law_diagnostics import EXACT, condition
from lib.joint_laws import JointLaw
from lib.law_intervals import percentile
from lib.least_squares import LeastSquares, least_squares
from lib.power_forms import same_length
from lib.power_law_fit import read_level

__all__ = ["BootstrapJointLaw", "JointFit", "bootstrap_joint_law", "fit_joint_law"]

NAMES = ("E", "A", "B", "alpha", "beta")
# Beyond this correlation of ln N and ln D the two terms cannot be told apart.
COLLINEAR = 0.999
# Starts that are followed to the end.
FINALISTS = 6
# Exponents between these; a floor of at least exp(-20) of the typical loss, which is none.
LOWER, UPPER = (-torch.inf, -torch.inf, -20.0, 0.0, 0.0), (torch.inf, torch.inf, torch.inf, 5.0, 5.0)


@dataclass(frozen=True)
class JointFit(JointLaw):
    """A fitted joint law; tensors have the leading dimensions of L, (...).

    Attributes
    ----------
    objective : Tensor
        Sum of Huber's function of the residuals.
    residuals : Tensor, (..., n)
        ln L minus ln of the law.
    converged : Tensor, bool
    starts_agreeing : Tensor
        Share of the starts that ended in the best optimum (to 1e-3 of the objective).
    condition : Tensor
        Condition number of the Jacobian with columns of equal length.
    """

    objective: Tensor
    residuals: Tensor
    converged: Tensor
    starts_agreeing: Tensor
    condition: Tensor


@dataclass(frozen=True)
class BootstrapJointLaw:
    """A joint law with its bootstrap sample.

    Attributes
    ----------
    law : JointFit
    intervals : dict of str to Tensor, (..., 2)
        Ends for E, A, B, alpha, beta and the exponents a and b of the best parameters and tokens.
    samples : JointLaw
        Parameters of the refits, (n_boot, ...).
    ci : float
    """

    law: JointFit
    intervals: dict[str, Tensor]
    samples: JointLaw
    ci: float


def fit_joint_law(N, D, L, delta: float = 1e-3, starts=None) -> JointFit:
    """Fit L = E + A N^-alpha + B D^-beta by Huber's loss on ln L.

    Parameters
    ----------
    N, D : array_like, (n,)
        Parameters and tokens of the runs, above 0.
    L : array_like, (..., n)
        Losses, above 0, nats per token. Leading dimensions are separate sets of runs, fitted together.
    delta : float
        Where Huber's function turns straight, above 0; 1e-3 counts almost every run by its distance.
    starts : array_like, (k, 5), optional
        Starting values of E, A, B, alpha, beta. Default: 36 that share out the loss in different ways.

    Returns
    -------
    JointFit

    Raises
    ------
    ValueError
        If a value is not positive or the shapes do not fit; if there are fewer than 6 runs, fewer than 3 different N or
        D, N and D that move together (as D = 20 N), losses that are all equal, or a best law with an exponent of 0 or
        at 5, so that the data do not determine the law.

    Examples
    --------
    >>> from lib.joint_laws import HOFFMANN
    >>> N, D = torch.meshgrid(10.0 ** torch.arange(7, 11), 10.0 ** torch.arange(9, 13), indexing="ij")
    >>> N, D = N.flatten().double(), D.flatten().double()
    >>> law = fit_joint_law(N, D, HOFFMANN.predict(N, D))
    >>> round(float(law.E), 4), round(float(law.alpha), 4), round(float(law.beta), 4)
    (1.69, 0.34, 0.28)
    """
    N, D, L, batch = _read_runs(N, D, L)
    delta = checks.real_number("delta", delta, lowest=0, open_below=True)
    x, y = _Centre(N, D), L.log()
    y_mean = y.mean(dim=-1, keepdim=True)
    y = y - y_mean
    if starts is None:
        theta = _default_starts(x, y)
    else:
        theta = _given_starts(starts, x, y_mean)
    found = _best(x, y, theta, delta)
    _check_determined(found, y)
    return JointFit(
        *(value.reshape(batch) for value in _natural(found.parameters, x, y_mean[:, 0])),
        objective=found.cost.reshape(batch),
        residuals=-_residuals(found.parameters, x.N, x.D, y).reshape(*batch, -1),
        converged=found.converged.reshape(batch),
        starts_agreeing=found.agreeing.reshape(batch),
        condition=condition(found.information).reshape(batch),
    )


class _Centre:
    """Centred logarithms of parameters and tokens, so that a fit does not depend on the units."""

    def __init__(self, N: Tensor, D: Tensor):
        self.N_mean, self.D_mean = N.log().mean(dim=-1), D.log().mean(dim=-1)
        self.N, self.D = N.log() - self.N_mean[..., None], D.log() - self.D_mean[..., None]


def _terms(theta: Tensor, x_N: Tensor, x_D: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    a, b, e, alpha, beta = theta.split(1, dim=-1)
    return (a - alpha * x_N).exp(), (b - beta * x_D).exp(), e.exp()


def _residuals(theta: Tensor, x_N: Tensor, x_D: Tensor, y: Tensor) -> Tensor:
    of_N, of_D, floor = _terms(theta, x_N, x_D)
    return (of_N + of_D + floor).log() - y


def _residuals_and_slopes(theta: Tensor, x_N: Tensor, x_D: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    of_N, of_D, floor = _terms(theta, x_N, x_D)
    loss = of_N + of_D + floor
    of_N, of_D, floor = of_N / loss, of_D / loss, floor / loss
    return loss.log() - y, torch.stack([of_N, of_D, floor, -of_N * x_N, -of_D * x_D], dim=-2).mT


def _solve(x_N, x_D, y, theta: Tensor, delta: float, max_steps: int) -> LeastSquares:
    data = x_N, x_D, y
    return least_squares(
        _residuals_and_slopes, theta, data, True, LOWER, UPPER, huber=delta, tolerance=1e-6, max_steps=max_steps
    )


def _default_starts(x: _Centre, y: Tensor) -> Tensor:
    """Starts (k, batch, 5): exponents, floor as a share of the least loss, and the share of N in the rest."""
    least = y.amin(dim=-1).exp()
    starts = []
    for floor, share, alpha, beta in itertools.product((0.3, 0.7, 0.95), (0.25, 0.5, 0.75), (0.2, 0.6), (0.2, 0.6)):
        e = floor * least
        # The mean of y is 0: at the centre the loss is about 1.
        rest = (1 - e).clamp(min=1e-3)
        columns = (share * rest).log(), ((1 - share) * rest).log(), e.log()
        starts.append(torch.stack([*columns, *(torch.full_like(e, value) for value in (alpha, beta))], dim=-1))
    return torch.stack(starts)


def _given_starts(starts, x: _Centre, y_mean: Tensor) -> Tensor:
    (starts,) = checks.tensors(starts=starts)
    if starts.dim() != 2 or starts.shape[1] != len(NAMES) or len(starts) == 0:
        raise ValueError(f"starts must have shape (k, 5): E, A, B, alpha, beta, got {tuple(starts.shape)}")
    checks.require(starts > 0, "starts must be above 0", starts)
    E, A, B, alpha, beta = starts.to(y_mean).unbind(dim=-1)
    scale = y_mean[:, 0]

    def centred(value: Tensor) -> Tensor:
        return value[:, None] - scale

    a, b = centred(A.log() - alpha * x.N_mean), centred(B.log() - beta * x.D_mean)
    exponents = alpha[:, None].expand_as(a), beta[:, None].expand_as(a)
    return torch.stack([a, b, centred(E.log()), *exponents], dim=-1)


@dataclass(frozen=True)
class _Best:
    parameters: Tensor
    cost: Tensor
    converged: Tensor
    information: Tensor
    agreeing: Tensor


def _best(x: _Centre, y: Tensor, starts: Tensor, delta: float) -> _Best:
    """Best optimum over starts (k, batch, 5): a few steps for all, then the most promising to the end."""
    first = _solve(x.N, x.D, y, starts, delta, 25)
    cost = torch.where(first.cost.isfinite(), first.cost, torch.inf)
    order = cost.argsort(dim=0, stable=True)[:FINALISTS]
    finalists = first.parameters.gather(0, order[..., None].expand(*order.shape, len(NAMES)))
    last = _solve(x.N, x.D, y, finalists, delta, 1000)
    least, best = last.cost.min(dim=0)
    batch = torch.arange(y.shape[0], device=y.device)
    agreeing = (cost <= least * 1.001 + 1e-20).to(y.dtype).mean(dim=0)
    return _Best(
        last.parameters[best, batch], least, last.converged[best, batch], last.information[best, batch], agreeing
    )


def _natural(theta: Tensor, x: _Centre, y_mean: Tensor) -> tuple[Tensor, ...]:
    """E, A, B, alpha, beta in the units of the data."""
    a, b, e, alpha, beta = theta.unbind(dim=-1)
    return (
        (e + y_mean).exp(),
        (a + y_mean + alpha * x.N_mean).exp(),
        (b + y_mean + beta * x.D_mean).exp(),
        alpha,
        beta,
    )


def _read_runs(N, D, L) -> tuple[Tensor, Tensor, Tensor, torch.Size]:
    """Checked runs: N and D (n,), L (batch, n), and the leading dimensions of L."""
    N, D, L = (tensor.detach() for tensor in checks.tensors(N=N, D=D, L=L))
    if N.dim() != 1 or len(N) == 0:
        raise ValueError(f"N must have shape (n,), got {tuple(N.shape)}")
    if D.dim() != 1 or len(D) == 0:
        raise ValueError(f"D must have shape (n,), got {tuple(D.shape)}")
    same_length(N=N, D=D, L=L)
    for name, value in (("N", N), ("D", D), ("L", L)):
        checks.require(value > 0, f"{name} must be above 0", value)
    if 0 in L.shape:
        raise ValueError(f"L must hold at least one set of runs, got shape {tuple(L.shape)}")
    if len(N) < len(NAMES) + 1:
        raise ValueError(f"N, D and L must hold at least {len(NAMES) + 1} runs for five parameters, got {len(N)}")
    for name, value in (("N", N), ("D", D)):
        different = len(value.unique())
        if different < 3:
            raise ValueError(f"{name} must have at least 3 different values to show its exponent, got {different}")
    together = float(torch.corrcoef(torch.stack([N.log(), D.log()]))[0, 1])
    # At one budget, where they move against each other, one term falls where the other rises: that can be told apart.
    if together > COLLINEAR:
        raise ValueError(
            f"N and D must vary apart, but their logarithms have correlation {together:.4f}, so that their terms "
            "cannot be told apart"
        )
    flat = L.log().amax(dim=-1) - L.log().amin(dim=-1) <= EXACT
    checks.require(~flat, "L must differ between runs, but all losses are equal")
    return N, D, L.reshape(-1, len(N)), L.shape[:-1]


def _check_determined(found: _Best, y: Tensor) -> None:
    for name, exponent in (("N", found.parameters[:, 3]), ("D", found.parameters[:, 4])):
        checks.require(exponent > 1e-6, f"L does not determine the law: the best exponent of {name} is 0")
        checks.require(
            exponent < UPPER[3], f"L does not determine the law: the best exponent of {name} is at its bound 5"
        )


def bootstrap_joint_law(
    N, D, L, n_boot: int = 1000, ci: float = 0.95, delta: float = 1e-3, *, seed: int = 0
) -> BootstrapJointLaw:
    """Percentile intervals of the joint law from resampled runs, all refits in one batch.

    Parameters
    ----------
    N, D, L, delta
        As in :func:`fit_joint_law`.
    n_boot : int
        Refits, at least 20.
    ci : float
        Level, between 0 and 1.
    seed : int

    Returns
    -------
    BootstrapJointLaw

    Raises
    ------
    ValueError
        As :func:`fit_joint_law`, or if n_boot, ci or seed is out of range.

    Examples
    --------
    >>> from lib.joint_laws import HOFFMANN
    >>> N, D = torch.meshgrid(10.0 ** torch.arange(7, 12), 10.0 ** torch.arange(9, 13), indexing="ij")
    >>> N, D = N.flatten().double(), D.flatten().double()
    >>> noise = torch.randn(20, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    >>> found = bootstrap_joint_law(N, D, HOFFMANN.predict(N, D) * torch.exp(0.01 * noise), n_boot=100)
    >>> low, high = found.intervals["alpha"].tolist()
    >>> low < 0.34 < high
    True
    """
    n_boot = checks.integer("n_boot", n_boot, lowest=20)
    ci = read_level(ci)
    seed = checks.integer("seed", seed, lowest=0, highest=2**63 - 1)
    law = fit_joint_law(N, D, L, delta)
    N, D, L, batch = _read_runs(N, D, L)
    generator = torch.Generator(device=L.device).manual_seed(seed)
    x, y = _Centre(N, D), L.log()
    y_mean = y.mean(dim=-1, keepdim=True)
    count = len(N)
    which = torch.randint(count, (n_boot, len(L), count), generator=generator, device=L.device)
    drawn = (y - y_mean).expand(n_boot, *y.shape).gather(-1, which)
    theta = _theta(law, x, y_mean[:, 0])
    found = _solve(x.N[which], x.D[which], drawn, theta, delta, 300)
    samples = JointLaw(*(value.reshape(n_boot, *batch) for value in _natural(found.parameters, x, y_mean[:, 0])))
    named = {name: getattr(samples, name) for name in (*NAMES, "a", "b")}
    return BootstrapJointLaw(law, {name: percentile(sample, ci) for name, sample in named.items()}, samples, ci)


def _theta(law: JointFit, x: _Centre, y_mean: Tensor) -> Tensor:
    """The fitted constants in the centred parameters, (batch, 5)."""
    E, A, B, alpha, beta = (getattr(law, name).reshape(-1) for name in NAMES)
    a, b = A.log() - alpha * x.N_mean - y_mean, B.log() - beta * x.D_mean - y_mean
    return torch.stack([a, b, E.log() - y_mean, alpha, beta], dim=-1)
