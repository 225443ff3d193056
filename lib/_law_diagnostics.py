"""What a fitted power law says about itself: standard errors, curvature, condition, and whether it is determined."""

from __future__ import annotations

import torch
from torch import Tensor

from lib import _power_fit
from lib._power_fit import Data, Fit

__all__ = ["condition", "curvature", "residual_errors", "standard_errors", "unidentified"]

# Rounding of a logarithm: scatter below this is none.
EXACT = 1e-12


def _inverse(information: Tensor) -> tuple[Tensor, Tensor]:
    """Inverse through the matrix scaled to a diagonal of 1, and that scaled matrix; infinite where there is none."""
    root = information.diagonal(dim1=-2, dim2=-1).clamp(min=0).sqrt()
    root = torch.where(root > 0, root, 1.0)
    outer = root[..., :, None] * root[..., None, :]
    scaled = information / outer
    inverse, failed = torch.linalg.inv_ex(scaled)
    good = (failed == 0)[..., None, None] & inverse.isfinite()
    return torch.where(good, inverse / outer, torch.inf), scaled


def standard_errors(form: str, data: Data, fit: Fit, variance: Tensor) -> dict[str, Tensor]:
    """Of every parameter of the public form, (batch); alpha and m0 relative."""
    covariance = _inverse(fit.information)[0] * variance[:, None, None]
    theta, scale = fit.theta, data.y_mean.exp()
    none, one = torch.zeros_like(scale), torch.ones_like(scale)
    if form == "regions":
        a, beta, _, t = theta.unbind(dim=-1)
        rows = {
            "alpha": [one, -(t + data.x_mean), none, -beta],
            "beta": [none, one, none, none],
            "gamma": [none, none, scale, none],
            "m0": [none, none, none, one],
            "best_guess": [scale * a.exp(), none, scale, none],
        }
    else:
        rows = {"alpha": [one, -data.x_mean, none], "beta": [none, one, none], "gamma": [none, none, scale]}
        size = theta.shape[-1]
        rows = {name: row[:size] for name, row in list(rows.items())[:size]}
    errors = {}
    for name, row in rows.items():
        slope = torch.stack(row, dim=-1)
        square = torch.einsum("bi,bij,bj->b", slope, covariance, slope)
        errors[name] = torch.where(square.isnan(), torch.inf, square.clamp(min=0).sqrt())
    return errors


def residual_errors(form: str, data: Data, fit: Fit) -> Tensor:
    """Standard deviation of each residual, (batch, n): less than the scatter where a point pulls the law to itself."""
    slopes = _power_fit.FORMS[form].slopes(fit.theta, data.x)[1]
    inverse = torch.where(fit.information.isfinite(), _inverse(fit.information)[0], 0.0)
    leverage = data.weights * ((slopes @ inverse) * slopes).sum(dim=-1)
    variance = fit.rss / (data.x.shape[-1] - fit.theta.shape[-1])
    return (variance[:, None] * (1 - leverage).clamp(0, 1) / data.weights).sqrt()


def condition(information: Tensor) -> Tensor:
    """Condition number of the Jacobian with columns of equal length."""
    scaled = _inverse(information)[1]
    values = torch.linalg.eigvalsh(torch.where(scaled.isfinite(), scaled, 0.0))
    smallest = values[..., 0]
    return torch.where(smallest > 0, values[..., -1] / torch.where(smallest > 0, smallest, 1.0), torch.inf).sqrt()


def curvature(data: Data) -> tuple[Tensor, Tensor]:
    """Coefficient of x^2 in a parabola through the logarithms, and the two-sided chance of it (t-test)."""
    count = data.x.shape[-1]
    if count < 4:
        nothing = torch.full_like(data.y_mean, torch.nan)
        return nothing, nothing
    x, y, weights = torch.broadcast_tensors(data.x, data.y, data.weights)
    spread = x.abs().amax(dim=-1, keepdim=True)
    u = x / spread
    basis = torch.stack([torch.ones_like(u), u, u * u], dim=-1)
    weighted = basis * weights[..., None]
    system = weighted.mT @ basis
    coefficients = torch.linalg.solve(system, weighted.mT @ y[..., None])
    rss = (weights * (y - (basis @ coefficients)[..., 0]) ** 2).sum(dim=-1)
    bend = coefficients[..., 2, 0]
    error = (rss / (count - 3) * torch.linalg.inv(system)[..., 2, 2]).sqrt()
    noise = EXACT * (1 + data.y_mean.abs())
    t = torch.where(bend.abs() <= noise, 0.0, bend.abs() / error.clamp(min=noise))
    from scipy.special import stdtr

    chance = 2 * torch.from_numpy(stdtr(count - 3, -t.cpu().numpy())).to(t)
    return bend / spread[..., 0] ** 2, chance


def unidentified(form: str, data: Data, fit: Fit) -> list[str]:
    """Why each curve does not determine the parameters; empty where it does."""
    reasons = [""] * len(fit.theta)

    def say(where: Tensor, text: str) -> None:
        for curve in where.nonzero()[:, 0].tolist():
            reasons[curve] = reasons[curve] or text

    say(~(fit.theta.isfinite().all(dim=-1) & fit.rss.isfinite()), "no start led to a finite law")
    alpha = _power_fit.natural(form, data, fit.theta)["alpha"]
    say(~(alpha.isfinite() & (alpha > 0)), "alpha, the error at m = 1, is beyond all numbers; m needs a larger unit")
    if form == "power":
        return reasons
    # Rounding of the logarithms themselves, which have lost their mean.
    flat = data.y.abs().amax(dim=-1) <= EXACT * (1 + data.y_mean.abs())
    say(flat, "all errors are equal, so any exponent fits")
    freedom = data.x.shape[-1] - fit.theta.shape[-1]
    allowed = fit.rss * (1 + _power_fit.t_quantile(0.95, freedom) ** 2 / freedom)
    # The best law without a floor beside one with a floor just below everything: are both as good as the best?
    none, without = _power_fit.fixed(form, data, 2, torch.zeros_like(fit.rss)[None], fit.theta)
    least = _power_fit.FORMS[form].value(without[0], data.x).exp().amin(dim=-1)
    full, _ = _power_fit.fixed(form, data, 2, 0.98 * least[None], fit.theta)
    either = (none[0] <= allowed) & (full[0] <= allowed)
    say(either, "every floor from 0 to just below the smallest error fits; more sizes or less noise are needed")
    span = data.x.amax(dim=-1) - data.x.amin(dim=-1)
    say(fit.theta[:, 1].abs() * span < 1e-6, "the fitted exponent is 0, so prefactor and floor cannot be told apart")
    if form == "regions":
        t, first, last = fit.theta[:, 3], data.x.amin(dim=-1), data.x.amax(dim=-1)
        say(t < first - 1.5, "no plateau is seen at the smallest sizes, so best_guess and m0 may be anything")
        say(t > last, "the plateau does not end within the sizes, so beta may be anything")
    say(~fit.converged, "least squares did not come to rest from the best start")
    return reasons
