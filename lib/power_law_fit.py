"""Fits of learning curves: a power law, with a floor, or with all three regions, and how much they can be trusted.

Fits are least squares on ln err, from many starts at once, batched over leading dimensions. The formulas are in
:mod:`lib.power_forms`, better intervals in :mod:`lib.law_intervals`, the choice of a form in :mod:`lib.law_choice`.

Sources: J. Hestness et al., arXiv:1712.00409; D. M. Bates and D. G. Watts, *Nonlinear regression analysis and its
applications* (1988), chapters 2 and 3.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, field

import torch
from torch import Tensor

from lib import _law_diagnostics, _power_fit, checks
from lib._law_diagnostics import EXACT
from lib._power_fit import Data, Fit
from lib.power_forms import data_needed, halving_factor, power_law, same_length, three_regions

__all__ = ["PowerLaw", "fit_power_law"]


@dataclass(frozen=True)
class PowerLaw:
    """A fitted law and its diagnostics; tensors have the leading dimensions of the data, (...).

    Attributes
    ----------
    form : {"power", "floor", "regions"}
    alpha : Tensor
        Reducible error at m = 1, unit of the error. With three regions, that of the power law in the middle.
    beta : Tensor
        Exponent.
    gamma : Tensor
        Floor, unit of the error; 0 for the pure power law.
    m0, best_guess : Tensor or None
        Size at which the plateau ends (unit of m) and error on the plateau; only with three regions.
    standard_errors : dict of str to Tensor
        Of each fitted parameter, from the curvature of the sum of squares; infinite where there is none.
    sigma : Tensor
        Scatter of ln err about the law (standard deviation, residual degrees of freedom counted).
    freedom : int
        Points minus parameters.
    residuals : Tensor, (..., n)
        ln err minus ln of the law.
    r_squared : Tensor
        Share of the variance of ln err that the law explains.
    curvature, curvature_p : Tensor
        Coefficient of (ln m)^2 when a parabola is fitted to ln err, and the chance of one as large if there is none
        (t-test). NaN with fewer than 4 points.
    condition : Tensor
        Condition number of the scaled Jacobian; above about 1000 the parameters can hardly be told apart.
    starts_agreeing : Tensor
        Share of the starts that ended in the best optimum.
    converged, identified : Tensor, bool
        Whether the optimum was reached; whether the data determine every parameter.
    m, err, weights : Tensor, (..., n)
        What was fitted.
    m_unit, err_unit : str
    """

    form: str
    alpha: Tensor
    beta: Tensor
    gamma: Tensor
    m0: Tensor | None
    best_guess: Tensor | None
    standard_errors: dict[str, Tensor]
    sigma: Tensor
    freedom: int
    residuals: Tensor
    r_squared: Tensor
    curvature: Tensor
    curvature_p: Tensor
    condition: Tensor
    starts_agreeing: Tensor
    converged: Tensor
    identified: Tensor
    m: Tensor
    err: Tensor
    weights: Tensor
    m_unit: str
    err_unit: str
    fit: Fit = field(repr=False)
    data: Data = field(repr=False)

    def predict(self, m) -> Tensor:
        """Error at other sizes, shape (..., k) for sizes (k,) or (..., k), (...) for one number.

        Raises
        ------
        ValueError
            If m is not positive.
        """
        (m,) = checks.tensors(m=m)
        column = (lambda value: value[..., None]) if m.dim() else (lambda value: value)
        alpha, beta, gamma = column(self.alpha), column(self.beta), column(self.gamma)
        checks.batch(m=m.shape[:-1], alpha=self.alpha.shape)
        if self.form == "regions":
            return three_regions(m, column(self.best_guess), beta, column(self.m0), gamma)
        return power_law(m, alpha, beta, gamma)

    def intervals(self, ci: float = 0.95) -> dict[str, Tensor]:
        """Intervals from standard errors and Student's distribution, each (..., 2).

        Exact for a pure power law with normal ln err; with a floor they are only a first guess, and
        :func:`lib.law_intervals.profile_intervals` is the better one. Those of alpha and m0 are symmetric in the
        logarithm; that of gamma ends at 0.

        Raises
        ------
        ValueError
            If ci is not between 0 and 1.
        """
        ci = read_level(ci)
        reach = _power_fit.t_quantile(ci, self.freedom)
        found = {}
        for name, error in self.standard_errors.items():
            value = getattr(self, name)
            if name in ("alpha", "m0"):
                factor = (reach * error / value).exp()
                ends = torch.stack([value / factor, value * factor], dim=-1)
            else:
                ends = torch.stack([value - reach * error, value + reach * error], dim=-1)
            found[name] = ends.clamp(min=0) if name in ("gamma", "best_guess") else ends
        return found

    @property
    def halving_factor(self) -> Tensor:
        """How many times the data halve the reducible error."""
        return halving_factor(self.beta)

    def data_needed(self, err) -> Tensor:
        """Size at which the law reaches an error, unit of m.

        Raises
        ------
        ValueError
            If err is not above the floor, or not below the plateau of three regions.
        """
        if self.form != "regions":
            return data_needed(err, self.alpha, self.beta, self.gamma)
        (err,) = checks.tensors(err=err)
        checks.require(err > self.gamma, "err must be above the floor gamma, which no amount of data passes", err)
        checks.require(err < self.best_guess, "err must be below best_guess, the error without data", err)
        share = (err - self.gamma) / (self.best_guess - self.gamma)
        return self.m0 * (share ** (1 / self.beta) - 1)

    @property
    def aicc(self) -> Tensor:
        """Akaike's criterion with the correction for few points; infinite where there are too few for it."""
        count = self.err.shape[-1]
        size = count - self.freedom + 1  # the scatter is a parameter, too
        if count <= size + 1:
            return torch.full_like(self.sigma, math.inf)
        return self._deviance + 2 * size + 2 * size * (size + 1) / (count - size - 1)

    @property
    def bic(self) -> Tensor:
        """Schwarz' criterion, normal ln err."""
        count = self.err.shape[-1]
        return self._deviance + (count - self.freedom + 1) * math.log(count)

    @property
    def _deviance(self) -> Tensor:
        count = self.err.shape[-1]
        return count * (self.sigma**2 * self.freedom / count).clamp(min=EXACT**2).log()

    def summary(self) -> str:
        """Parameters with units and 95 % intervals, and what the diagnostics say; for one curve."""
        if self.beta.dim():
            raise ValueError(f"summary is for one curve, but this law holds a batch of shape {tuple(self.beta.shape)}")
        units = {"m0": self.m_unit, "gamma": self.err_unit, "alpha": self.err_unit, "best_guess": self.err_unit}
        lines = [f"form: {self.form}, {self.err.shape[-1]} points"]
        for name, (low, high) in self.intervals().items():
            unit = units.get(name, "")
            lines.append(f"{name} = {float(getattr(self, name)):.4g} [{low:.4g}, {high:.4g}] {unit}".rstrip())
        lines.append(f"scatter of ln err: {float(self.sigma):.3g}; R^2 on logarithms: {float(self.r_squared):.4f}")
        if self.form == "power" and self.curvature_p < 0.05:
            lines.append(f"curved (p = {float(self.curvature_p):.2g}): one straight line does not describe the points")
        if not self.identified:
            lines.append("the data do not determine every parameter")
        return "\n".join(lines)


def fit_power_law(
    m,
    err,
    floor: bool = False,
    *,
    form: str | None = None,
    weights=None,
    rising: bool = False,
    unidentified: str = "refuse",
    m_unit: str = "examples",
    err_unit: str = "",
) -> PowerLaw:
    """Fit a learning curve by least squares on ln err, from many starts.

    Parameters
    ----------
    m : array_like, (..., n)
        Sizes, above 0.
    err : array_like, (..., n)
        Errors, above 0. Leading dimensions are separate curves, fitted together.
    floor : bool
        Fit alpha m^beta + gamma with gamma >= 0 instead of alpha m^beta; short for ``form="floor"``.
    form : {"power", "floor", "regions"}, optional
        Which formula; "regions" is :func:`lib.power_forms.three_regions`.
    weights : array_like, (..., n), optional
        Weight of each point, above 0, such as one over the variance of its ln err. Default: all equal.
    rising : bool
        Whether an exponent of 0 or more is expected, as for model sizes. Otherwise it is warned about.
    unidentified : {"refuse", "report"}
        What to do with data that do not determine the parameters: raise, or return the fit with ``identified`` false.
    m_unit, err_unit : str
        Units, for :meth:`PowerLaw.summary` and figures.

    Returns
    -------
    PowerLaw

    Raises
    ------
    ValueError
        If m, err or a weight is not positive or not finite, the shapes do not fit, there are fewer than 3 different
        sizes (4 with a floor, 5 with three regions), or the data cannot identify the parameters: errors that are all
        equal, a floor that may be anything, a plateau of which nothing is seen.

    Notes
    -----
    A floor counts as identified unless both ends are compatible with the data: no floor at all, and a floor just below
    the smallest fitted error (F-test at 5 %).

    Examples
    --------
    >>> from lib.power_forms import power_law
    >>> m = 2.0 ** torch.arange(8, 18, dtype=torch.float64)
    >>> err = power_law(m, 10.0, -0.5, 0.05)
    >>> law = fit_power_law(m, err, floor=True)
    >>> round(float(law.beta), 6), round(float(law.gamma), 6)
    (-0.5, 0.05)
    >>> round(float(fit_power_law(m, err).beta), 4)  # a floor that is left out bends the exponent
    -0.3507
    """
    form = read_form(floor, form)
    rising = checks.flag("rising", rising)
    checks.choice("unidentified", unidentified, ("refuse", "report"))
    for name, unit in (("m_unit", m_unit), ("err_unit", err_unit)):
        if not isinstance(unit, str):
            raise ValueError(f"{name} must be a text, got {checks.describe(unit)}")
    m, err, weights, batch = read_curve(m, err, weights, form)
    data = _power_fit.centred(m, err, weights)
    fit = _power_fit.best_of(form, data)
    reason = _law_diagnostics.unidentified(form, data, fit)
    identified = torch.tensor([not text for text in reason], device=m.device)
    if unidentified == "refuse" and not bool(identified.all()):
        first = int((~identified).nonzero()[0, 0])
        share = f" (and {int((~identified).sum()) - 1} more of {len(err)} curves)" if len(err) > 1 else ""
        raise ValueError(f"m and err do not determine the form '{form}': {reason[first]}{share}")
    law = _result(form, m, err, weights, data, fit, identified, batch, (m_unit, err_unit))
    if not rising and bool((law.beta >= 0).any()):
        warnings.warn("beta is not negative: the error does not fall with m", stacklevel=2)
    return law


def read_form(floor, form) -> str:
    """The form that two options ask for."""
    floor = checks.flag("floor", floor)
    if form is None:
        return "floor" if floor else "power"
    checks.choice("form", form, tuple(_power_fit.FORMS))
    if floor and form == "power":
        raise ValueError("floor must be False with form 'power', got True")
    return form


def read_level(ci) -> float:
    """A confidence level between 0 and 1."""
    ci = checks.real_number("ci", ci, lowest=0, highest=1, open_below=True)
    if ci == 1:
        raise ValueError("ci must be a finite number above 0 and below 1, got 1")
    return ci


def read_curve(m, err, weights, form: str) -> tuple[Tensor, Tensor, Tensor, torch.Size]:
    """Checked (batch, n) tensors and the shape of the batch."""
    read = checks.tensors(m=m, err=err, weights=1.0 if weights is None else weights)
    m, err, weights = (tensor.detach() for tensor in read)
    same_length(m=m, err=err)
    if weights.dim():
        checks.shape("weights", weights, m.shape[-1])
    checks.require(m > 0, "m must be above 0", m)
    checks.require(err > 0, "err must be above 0", err)
    checks.require(weights > 0, "weights must be above 0", weights)
    batch = checks.batch(m=m.shape[:-1], err=err.shape[:-1], weights=weights.shape[:-1])
    if 0 in batch:
        raise ValueError(f"m, err and weights must hold at least one curve, got leading dimensions {tuple(batch)}")
    count = m.shape[-1]
    m, err, weights = (tensor.expand(*batch, count).reshape(-1, count) for tensor in (m, err, weights))
    least = _power_fit.needed(form)
    ordered = m.sort(dim=-1).values
    different = 1 + (ordered.diff(dim=-1) > 1e-9 * ordered[:, 1:]).sum(dim=-1)
    fewest = int(different.min())
    if fewest < least:
        raise ValueError(f"m must have at least {least} different sizes for the form '{form}', got {fewest}")
    return m, err, weights, batch


def _result(form, m, err, weights, data: Data, fit: Fit, identified, batch, units) -> PowerLaw:
    theta = fit.theta
    freedom = err.shape[-1] - theta.shape[-1]
    variance = fit.rss / freedom
    found = _power_fit.natural(form, data, theta)
    errors = _law_diagnostics.standard_errors(form, data, fit, variance)
    for name in ("alpha", "m0"):
        if name in found:
            errors[name] = errors[name] * found[name]
    residuals = data.y - _power_fit.FORMS[form].value(theta, data.x)
    total = (data.weights * data.y**2).sum(dim=-1)
    explained = torch.where(total > 0, 1 - fit.rss / torch.where(total > 0, total, 1.0), 1.0)
    curvature, curvature_p = _law_diagnostics.curvature(data)

    def shaped(tensor: Tensor | None) -> Tensor | None:
        return None if tensor is None else tensor.reshape([*batch, *tensor.shape[1:]])

    return PowerLaw(
        form=form,
        alpha=shaped(found["alpha"]),
        beta=shaped(found["beta"]),
        gamma=shaped(found.get("gamma", torch.zeros_like(found["beta"]))),
        m0=shaped(found.get("m0")),
        best_guess=shaped(found.get("best_guess")),
        standard_errors={name: shaped(error) for name, error in errors.items()},
        sigma=shaped(variance.sqrt()),
        freedom=freedom,
        residuals=shaped(residuals),
        r_squared=shaped(explained),
        curvature=shaped(curvature),
        curvature_p=shaped(curvature_p),
        condition=shaped(_law_diagnostics.condition(fit.information)),
        starts_agreeing=shaped(fit.agreeing),
        converged=shaped(fit.converged),
        identified=shaped(identified),
        m=shaped(m),
        err=shaped(err),
        weights=shaped(weights),
        m_unit=units[0],
        err_unit=units[1],
        fit=fit,
        data=data,
    )
