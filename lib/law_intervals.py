"""How sure a fitted learning curve is: bootstrap, all refits in one batch, and profile likelihood.

Sources: B. Efron and R. J. Tibshirani, *An introduction to the bootstrap* (1993), chapters 9, 12 and 13; P. J. McCarthy
and C. B. Snowden, *The bootstrap and finite population sampling* (1985), for drawing one fewer; D. M. Bates and D. G.
Watts, *Nonlinear regression analysis and its applications* (1988), chapter 6, for profiles.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lib import _law_diagnostics, _power_fit, checks
from lib.power_forms import same_length, three_regions
from lib.power_law_fit import PowerLaw, fit_power_law, read_form, read_level

__all__ = ["BootstrapLaw", "bootstrap_power_law", "profile_intervals", "resample_curves"]

METHODS = ("studentized", "corrected", "percentile")
# Problems that are refitted at once: more only need more memory.
CHUNK = 200_000


@dataclass(frozen=True)
class BootstrapLaw:
    """A law with its bootstrap sample; tensors have the leading dimensions of the data, (...).

    Attributes
    ----------
    law : PowerLaw
        Fit to the mean over seeds of ln err.
    intervals : dict of str to Tensor, (..., 2)
        Ends for each parameter of the form.
    samples : dict of str to Tensor, (n_boot, ...)
        Parameters of the refits.
    converged : Tensor, (n_boot, ...), bool
    ci : float
    method : str
    """

    law: PowerLaw
    intervals: dict[str, Tensor]
    samples: dict[str, Tensor]
    converged: Tensor
    ci: float
    method: str

    def band(self, m) -> Tensor:
        """Ends of the percentile interval of the law at sizes m (k,): shape (..., k, 2).

        Raises
        ------
        ValueError
            If m is not a positive vector.
        """
        (m,) = checks.tensors(m=m)
        if m.dim() != 1 or len(m) == 0:
            raise ValueError(f"m must have shape (k,), got {tuple(m.shape)}")
        checks.require(m > 0, "m must be above 0", m)
        values = {name: sample[..., None] for name, sample in self.samples.items()}
        if self.law.form == "regions":
            curves = three_regions(m, values["best_guess"], values["beta"], values["m0"], values["gamma"])
        else:
            curves = values["alpha"] * m ** values["beta"] + values.get("gamma", 0.0)
        return percentile(curves, self.ci)


def resample_curves(m, err, n_boot: int, seed: int = 0, *, law: PowerLaw | None = None, fewer: bool = False) -> Tensor:
    """Bootstrap samples of a learning curve: seeds within each size, or residuals of a law.

    Parameters
    ----------
    m : array_like, (n,)
        Sizes.
    err : array_like, (..., seeds, n)
        Errors, above 0; at least two seeds unless a law is given.
    n_boot : int
        Number of samples.
    seed : int
    law : PowerLaw, optional
        Resample the residuals of this law, fitted to the mean over seeds of ln err, instead of the seeds.
    fewer : bool
        Draw one seed fewer than there are, so that the scatter of the mean is estimated without bias; residuals are
        enlarged to the same end. Otherwise the few seeds look more alike than they are, by sqrt((seeds - 1) / seeds).

    Returns
    -------
    Tensor, (n_boot, ..., n)
        Geometric means over the drawn seeds.

    Raises
    ------
    ValueError
        If the shapes do not fit, an error is not positive, or there is one seed and no law.

    Examples
    --------
    >>> samples = resample_curves([1.0, 2.0], [[4.0, 2.0], [4.0, 8.0]], n_boot=100)
    >>> samples.shape, sorted({round(float(v), 6) for v in samples[:, 1]})
    (torch.Size([100, 2]), [2.0, 4.0, 8.0])
    """
    m, err = _read(m, err)
    n_boot = checks.integer("n_boot", n_boot, lowest=1)
    seed = checks.integer("seed", seed, lowest=0, highest=2**63 - 1)
    fewer = checks.flag("fewer", fewer)
    if law is not None and not isinstance(law, PowerLaw):
        raise ValueError(f"law must be a PowerLaw or None, got {checks.describe(law)}")
    if law is None and err.shape[-2] < 2:
        raise ValueError("err must have at least two seeds to draw from; with one, give a law")
    if law is not None and law.residuals.shape != (*err.shape[:-2], err.shape[-1]):
        raise ValueError(
            f"law must be fitted to these curves, but its residuals have shape {tuple(law.residuals.shape)}"
        )
    return _resampled(err.log(), n_boot, _generator(seed, err), law, fewer)[0].exp()


def bootstrap_power_law(
    m,
    err_by_seed,
    n_boot: int = 2000,
    ci: float = 0.95,
    *,
    floor: bool = False,
    form: str | None = None,
    method: str = "studentized",
    seed: int = 0,
    unidentified: str = "refuse",
    m_unit: str = "examples",
    err_unit: str = "",
) -> BootstrapLaw:
    """Bootstrap intervals of a learning curve: resample, refit everything in one batch, read off the ends.

    Parameters
    ----------
    m : array_like, (n,)
        Sizes, above 0.
    err_by_seed : array_like, (n,) or (..., seeds, n)
        Errors, above 0. With two or more seeds these are resampled within each size; a single curve resamples its
        residuals.
    n_boot : int
        Refits, at least 20.
    ci : float
        Level, between 0 and 1.
    floor, form, unidentified, m_unit, err_unit
        As in :func:`lib.power_law_fit.fit_power_law`.
    method : {"studentized", "corrected", "percentile"}
        "percentile" is the textbook's: with five seeds it covers in about 90 % of cases at nominal 95 %, because what
        is resampled scatters too little. "corrected" takes percentiles, too, but draws one seed fewer (or enlarges the
        residuals). "studentized" (bootstrap-t) divides by the standard error of each refit, which also mends what few
        points spoil; its ends may be wide where a floor is hardly seen.
    seed : int

    Returns
    -------
    BootstrapLaw

    Raises
    ------
    ValueError
        If an argument has the wrong shape or value, or the data cannot identify the parameters.

    Examples
    --------
    >>> m = 2.0 ** torch.arange(8, 18, dtype=torch.float64)
    >>> noise = torch.randn(5, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    >>> found = bootstrap_power_law(m, 3 * m**-0.25 * torch.exp(0.05 * noise))
    >>> low, high = found.intervals["beta"].tolist()
    >>> low < -0.25 < high
    True
    """
    form = read_form(floor, form)
    n_boot = checks.integer("n_boot", n_boot, lowest=20)
    ci = read_level(ci)
    checks.choice("method", method, METHODS)
    seed = checks.integer("seed", seed, lowest=0, highest=2**63 - 1)
    m, err = _read(m, err_by_seed, "err_by_seed")
    logs = err.log()
    options = dict(form=form, rising=True, unidentified=unidentified, m_unit=m_unit, err_unit=err_unit)
    law = fit_power_law(m, logs.mean(dim=-2).exp(), **options)
    generator = _generator(seed, err)
    curves = law.beta.numel()
    by_residuals = err.shape[-2] == 1
    samples, errors, converged = [], [], []
    at_once = max(1, min(n_boot, CHUNK // curves))
    for first in range(0, n_boot, at_once):
        count = min(at_once, n_boot - first)
        drawn, variance = _resampled(logs, count, generator, law if by_residuals else None, method == "corrected")
        data, fit = _refitted(law, drawn)
        samples.append(_power_fit.natural(form, data, fit.theta))
        converged.append(fit.converged)
        if method == "studentized":
            variance = fit.rss / law.freedom if by_residuals else variance.reshape(-1)
            errors.append(_law_diagnostics.standard_errors(form, data, fit, variance))
    shape = [n_boot, *law.beta.shape]
    samples = {name: torch.cat([part[name] for part in samples]).reshape(shape) for name in samples[0]}
    if method == "studentized":
        errors = {name: torch.cat([part[name] for part in errors]).reshape(shape) for name in errors[0]}
        if by_residuals:
            variance = law.fit.rss / law.freedom
        else:
            variance = _of_mean(logs).reshape(-1)
        own = _law_diagnostics.standard_errors(form, law.data, law.fit, variance)
        intervals = {
            name: _studentized(
                name, getattr(law, name), own[name].reshape(law.beta.shape), samples[name], errors[name], ci
            )
            for name in samples
        }
    else:
        intervals = {name: percentile(sample, ci) for name, sample in samples.items()}
    return BootstrapLaw(law, intervals, samples, torch.cat(converged).reshape(shape), ci, method)


def profile_intervals(
    m, err, ci: float = 0.95, *, floor: bool = False, form: str | None = None, weights=None
) -> dict[str, Tensor]:
    """Profile-likelihood intervals: values with which the refitted rest is not significantly worse.

    They follow the bend of the sum of squares, so that they are honest for a floor near 0 or an exponent that trades
    against it, and infinite where the data set no limit.

    Parameters
    ----------
    m, err, floor, form, weights
        As in :func:`lib.power_law_fit.fit_power_law`; leading dimensions are separate curves.
    ci : float
        Level, between 0 and 1; compared by the F-test, which knows how few points there are.

    Returns
    -------
    dict of str to Tensor, (..., 2)
        "alpha" and "beta", with a floor also "gamma"; with three regions "beta", "gamma" and "m0".

    Raises
    ------
    ValueError
        As :func:`lib.power_law_fit.fit_power_law` for impossible data; data that do not determine the law are not
        refused, they have wide intervals.

    Examples
    --------
    >>> m = 4.0 ** torch.arange(8, dtype=torch.float64)
    >>> err = (m**-0.5 + 0.1) * torch.tensor([1.01, 0.99, 1.01, 0.98, 1.0, 1.02, 0.99, 1.0], dtype=torch.float64)
    >>> low, high = profile_intervals(m, err, floor=True)["gamma"].tolist()
    >>> 0.09 < low < 0.1 < high < 0.11
    True
    """
    form = read_form(floor, form)
    ci = read_level(ci)
    law = fit_power_law(m, err, form=form, weights=weights, rising=True, unidentified="report")
    reach = _power_fit.t_quantile(ci, law.freedom)
    found = {}
    for name, position in (("alpha", 0), ("beta", 1), ("gamma", 2), ("m0", 3)):
        if position >= law.fit.theta.shape[-1] or (name == "alpha" and form == "regions"):
            continue
        ends = _profile_ends(law, name, position, reach)
        found[name] = ends.reshape(*law.beta.shape, 2)
    return found


def _profile_ends(law: PowerLaw, name: str, position: int, reach: float) -> Tensor:
    """Both ends, (batch, 2), by widening a bracket and halving it; in units of the data."""
    data, theta = law.data, law.fit.theta
    if name == "alpha":
        # Not centred: the parameter a then is ln alpha itself, up to the unit of the error.
        data = _power_fit.Data(data.x + data.x_mean[:, None], data.y, data.weights, data.x_mean, data.y_mean)
        theta = theta.clone()
        theta[:, 0] = theta[:, 0] - theta[:, 1] * data.x_mean
    best = theta[:, position]
    allowed = law.fit.rss * (1 + reach**2 / law.freedom) + 1e-24
    side = torch.tensor([[-1.0], [1.0]], dtype=best.dtype, device=best.device)

    def beyond(values: Tensor) -> Tensor:
        return _power_fit.fixed(law.form, data, position, values, theta)[0] > allowed

    width = (best.abs() * 0.05).clamp(min=0.01) * torch.ones_like(side)
    inner = best + 0 * width
    outer = best + side * width
    for _ in range(24):
        outside = beyond(_inside(outer, position))
        inner = torch.where(outside, inner, outer)
        width = torch.where(outside, width, 2 * width)
        outer = torch.where(outside, outer, best + side * width)
        if bool(outside.all()):
            break
    open_ended = ~beyond(_inside(outer, position))
    for _ in range(40):
        middle = (inner + outer) / 2
        outside = beyond(_inside(middle, position))
        outer = torch.where(outside, middle, outer)
        inner = torch.where(outside, inner, middle)
    ends = torch.where(open_ended, side * torch.inf, (inner + outer) / 2).T
    shift = {"alpha": data.y_mean, "m0": data.x_mean}
    if name in shift:
        return (ends + shift[name][:, None]).exp()
    return (ends.clamp(min=0) * data.y_mean.exp()[:, None]) if name == "gamma" else ends


def _inside(values: Tensor, position: int) -> Tensor:
    return values.clamp(min=0) if position == 2 else values


def _read(m, err, name: str = "err") -> tuple[Tensor, Tensor]:
    """Checked sizes (n,) and errors (..., seeds, n); one curve is one seed."""
    m, err = (tensor.detach() for tensor in checks.tensors(m=m, **{name: err}))
    if m.dim() != 1 or len(m) == 0:
        raise ValueError(f"m must have shape (n,), got {tuple(m.shape)}")
    same_length(m=m, **{name: err})
    err = err[None] if err.dim() == 1 else err
    checks.require(m > 0, "m must be above 0", m)
    checks.require(err > 0, f"{name} must be above 0", err)
    return m, err


def _generator(seed: int, like: Tensor) -> torch.Generator:
    return torch.Generator(device=like.device).manual_seed(seed)


def _resampled(logs: Tensor, n_boot: int, generator, law: PowerLaw | None, fewer: bool) -> tuple[Tensor, Tensor | None]:
    """Bootstrap samples of the mean over seeds of ln err, (n_boot, ..., n), and the variance of that mean.

    The variance is what the scatter of the drawn seeds says; residuals say nothing before the refit.
    """
    *batch, seeds, count = logs.shape
    if law is None:
        draws = seeds - 1 if fewer else seeds
        which = torch.randint(seeds, (n_boot, *batch, draws, count), generator=generator, device=logs.device)
        drawn = logs.expand(n_boot, *logs.shape).gather(-2, which)
        return drawn.mean(dim=-2), (None if fewer else _of_mean(drawn))
    residuals = law.residuals
    if fewer:
        residuals = residuals * (count / law.freedom) ** 0.5
    residuals = residuals - residuals.mean(dim=-1, keepdim=True)
    which = torch.randint(count, (n_boot, *batch, count), generator=generator, device=logs.device)
    fitted = law.err.log() - law.residuals
    return fitted + residuals.expand(n_boot, *residuals.shape).gather(-1, which), None


def _of_mean(logs: Tensor) -> Tensor:
    """Variance of the mean over seeds, pooled over sizes: (...) of (..., seeds, n)."""
    return logs.var(dim=-2).mean(dim=-1) / logs.shape[-2]


def _refitted(law: PowerLaw, drawn: Tensor) -> tuple[_power_fit.Data, _power_fit.Fit]:
    """Refits from the optimum of the original data; drawn is ln err, (n_boot, ..., n)."""
    copies = len(drawn)
    data = law.data
    y = drawn.reshape(-1, drawn.shape[-1])
    x_mean, y_mean = data.x_mean.repeat(copies), data.y_mean.repeat(copies)
    # Sizes are the same for all curves, so that one row of x serves all.
    data = _power_fit.Data(data.x[:1], y - y_mean[:, None], data.weights[:1], x_mean, y_mean)
    # From so near an optimum undamped steps lead to the next; the last one adds digits to the tolerance.
    starts = law.fit.theta.repeat(copies, 1)[None]
    return data, _power_fit.best_of(law.form, data, starts, damping=1e-6, tolerance=1e-5)


def percentile(sample: Tensor, ci: float) -> Tensor:
    levels = torch.tensor([(1 - ci) / 2, (1 + ci) / 2], dtype=sample.dtype, device=sample.device)
    return sample.quantile(levels, dim=0).movedim(0, -1)


def _studentized(name: str, value: Tensor, error: Tensor, sample: Tensor, errors: Tensor, ci: float) -> Tensor:
    """Bootstrap-t; alpha and m0 on the logarithmic scale, on which their errors are given."""
    logarithmic = name in ("alpha", "m0")
    if logarithmic:
        value, sample = value.log(), sample.log()
    t = torch.where(errors > 0, (sample - value) / errors, 0.0)
    low, high = percentile(t, ci).unbind(dim=-1)
    ends = torch.stack([value - high * error, value - low * error], dim=-1)
    if logarithmic:
        return ends.exp()
    return ends.clamp(min=0) if name in ("gamma", "best_guess") else ends
