"""Fits of the power-law forms to logarithms, a batch of data sets at once; the arguments have been checked.

Data are centred first (x = ln m - mean, y = ln err - mean), so that a fit does not depend on the units. The forms are
written in the parameters in which least squares behaves well: a, the logarithm of the reducible error at the centre,
the exponent beta, the floor g in units of the mean error, and the logarithm t of where the plateau ends. Jacobians are
views of arrays in which each parameter is contiguous: their products are then several times faster.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus

from lib.least_squares import least_squares
from lib.power_forms import log_log_line

__all__ = ["FORMS", "Data", "Fit", "Form", "best_of", "centred", "fixed", "natural", "needed", "refit", "t_quantile"]

FLOORS = (0.0, 0.5, 0.8, 0.95, 0.99)


@dataclass(frozen=True)
class Data:
    """Centred logarithms (batch, n) with weights (1 or batch, n), and the means (batch) that were taken away."""

    x: Tensor
    y: Tensor
    weights: Tensor
    x_mean: Tensor
    y_mean: Tensor


@dataclass(frozen=True)
class Form:
    """Logarithm of one form, alone and with its derivatives, in the parameters of this module."""

    parameters: tuple[str, ...]
    value: Callable[[Tensor, Tensor], Tensor]
    slopes: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
    starts: Callable[[Data], Tensor]
    lower: tuple[float, ...]


@dataclass(frozen=True)
class Fit:
    """Optimum of each data set: (batch, p), its weighted sum of squares, normal matrix, and how the starts ended."""

    theta: Tensor
    rss: Tensor
    information: Tensor
    converged: Tensor
    agreeing: Tensor


def centred(m: Tensor, err: Tensor, weights: Tensor) -> Data:
    """Read (batch or 1, n) tensors; the weights are scaled to mean 1."""
    x, y = m.log(), err.log()
    weights = weights / weights.mean(dim=-1, keepdim=True)
    x_mean = (weights * x).mean(dim=-1)
    y_mean = (weights * y).mean(dim=-1)
    return Data(x - x_mean[:, None], y - y_mean[:, None], weights, x_mean, y_mean)


def _line(theta: Tensor, x: Tensor) -> Tensor:
    return torch.addcmul(theta[:, :1], theta[:, 1:2], x)


def _line_slopes(theta: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    slopes = torch.stack(torch.broadcast_tensors(torch.ones_like(x), x), dim=-2).mT
    return _line(theta, x), slopes.expand(len(theta), -1, -1)


def _line_starts(data: Data) -> Tensor:
    alpha, beta = log_log_line(data.x.exp(), data.y.exp(), data.weights)
    return torch.stack([alpha.log(), beta], dim=-1)[None]


def _floored(theta: Tensor, x: Tensor) -> Tensor:
    return (_line(theta, x).exp() + theta[:, 2:3]).log()


def _floored_slopes(theta: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """In place: thousands of refits spend their time on memory."""
    columns = theta.new_empty(len(theta), 3, x.shape[-1])
    share, share_x, inverse = columns.unbind(dim=-2)
    reducible = _line(theta, x).exp_()
    err = reducible + theta[:, 2:3]
    torch.reciprocal(err, out=inverse)
    torch.mul(reducible, inverse, out=share)
    torch.mul(share, x, out=share_x)
    return err.log_(), columns.mT


def _floored_starts(data: Data) -> Tensor:
    """One start for each floor as a fraction of the smallest error, with the line through what lies above."""
    err = data.y.exp()
    least = err.amin(dim=-1, keepdim=True)
    starts = []
    for fraction in FLOORS:
        floor = fraction * least
        alpha, beta = log_log_line(data.x.exp(), err - floor, data.weights)
        starts.append(torch.stack([alpha.log(), beta, floor[:, 0]], dim=-1))
    return torch.stack(starts)


def _regions(theta: Tensor, x: Tensor) -> Tensor:
    a, beta, g, t = theta.split(1, dim=-1)
    return ((a + beta * softplus(x - t)).exp() + g).log()


def _regions_slopes(theta: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    a, beta, g, t = theta.split(1, dim=-1)
    beyond = softplus(x - t)
    reducible = (a + beta * beyond).exp()
    err = reducible + g
    inverse = 1 / err
    share = reducible * inverse
    slopes = torch.stack([share, share * beyond, inverse, -share * beta * torch.sigmoid(x - t)], dim=-2).mT
    return err.log(), slopes


def _regions_starts(data: Data) -> Tensor:
    err = data.y.exp()
    least, most = err.amin(dim=-1), err.amax(dim=-1)
    x = data.x.expand_as(err)
    starts = []
    for place in (0.1, 0.3, 0.5):
        t = x.quantile(place, dim=-1)
        later = data.weights * torch.sigmoid(4 * (x - t[:, None]))
        for fraction in (0.0, 0.5, 0.9):
            floor = fraction * least
            beta = log_log_line(x.exp(), err - floor[:, None], later)[1]
            starts.append(torch.stack([(most - floor).log(), beta, floor, t], dim=-1))
    return torch.stack(starts)


FREE = -torch.inf
FORMS = {
    "power": Form(("a", "beta"), _line, _line_slopes, _line_starts, (FREE, FREE)),
    "floor": Form(("a", "beta", "g"), _floored, _floored_slopes, _floored_starts, (FREE, FREE, 0.0)),
    "regions": Form(("a", "beta", "g", "t"), _regions, _regions_slopes, _regions_starts, (FREE, FREE, 0.0, FREE)),
}


def needed(form: str) -> int:
    """Different sizes that a form needs: one more than it has parameters."""
    return len(FORMS[form].parameters) + 1


def refit(form: str, data: Data, starts: Tensor, lower=None, upper=None, **options):
    """Least squares from given starts (..., batch, p); what :func:`lib.least_squares.least_squares` returns."""
    law = FORMS[form]
    root = data.weights.sqrt()
    even = bool((data.weights == 1).all())

    def residuals(theta: Tensor, x: Tensor, y: Tensor, root: Tensor | None = None) -> tuple[Tensor, Tensor]:
        value, slopes = law.slopes(theta, x)
        gap = value.sub_(y)
        return (gap, slopes) if root is None else (gap * root, slopes * root[..., None])

    shared = [tensor[0] if len(tensor) == 1 else tensor for tensor in (data.x, data.y, root)]
    if lower is None:
        lower = torch.tensor(law.lower, dtype=data.x.dtype, device=data.x.device)
    return least_squares(residuals, starts, shared[:2] if even else shared, True, lower, upper, **options)


def best_of(form: str, data: Data, starts: Tensor | None = None, **options) -> Fit:
    """Best optimum over the starts (starts, batch, p), by default the form's own."""
    starts = FORMS[form].starts(data) if starts is None else starts
    found = refit(form, data, starts, **options)
    cost = torch.where(found.cost.isfinite(), found.cost, torch.inf)
    best = cost.argmin(dim=0)
    batch = torch.arange(len(best), device=best.device)
    least = cost[best, batch]
    # Relative to the scatter, and to the rounding of logarithms where the data are exact.
    agreeing = (cost <= least * (1 + 1e-6) + 1e-20).to(cost.dtype).mean(dim=0)
    return Fit(
        found.parameters[best, batch],
        2 * least,
        found.information[best, batch],
        found.converged[best, batch],
        agreeing,
    )


def fixed(form: str, data: Data, position: int, values: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
    """Sums of squares and optima with one parameter held at values (k, batch), the others free."""
    law = FORMS[form]
    size = len(law.parameters)
    starts = theta.expand(*values.shape, size).clone()
    starts[..., position] = values
    lower = torch.tensor(law.lower, dtype=theta.dtype, device=theta.device).expand_as(starts).clone()
    upper = torch.full_like(starts, torch.inf)
    lower[..., position] = values
    upper[..., position] = values
    found = refit(form, data, starts, lower, upper, max_steps=100)
    return 2 * found.cost, found.parameters


def natural(form: str, data: Data, theta: Tensor) -> dict[str, Tensor]:
    """Parameters in the units of the data, of the shape of the leading dimensions of theta; those the form has."""
    a, beta = theta[..., 0], theta[..., 1]
    scale = data.y_mean.exp()
    if form == "regions":
        log_m0 = theta[..., 3] + data.x_mean
        log_alpha = a + data.y_mean - beta * log_m0
    else:
        log_alpha = a + data.y_mean - beta * data.x_mean
    found = {"alpha": log_alpha.exp(), "beta": beta}
    if form != "power":
        found["gamma"] = theta[..., 2] * scale
    if form == "regions":
        found["m0"] = log_m0.exp()
        found["best_guess"] = found["gamma"] + a.exp() * scale
    return found


def t_quantile(ci: float, freedom: int) -> float:
    """Half-width, in standard errors, of the central interval of Student's distribution."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, (1 + ci) / 2)) if freedom > 0 else float("inf")
