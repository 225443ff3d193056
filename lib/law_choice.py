"""Which form a learning curve has, where its power-law region lies, and how well it forecasts what was held out.

Sources: K. P. Burnham and D. R. Anderson, *Model selection and multimodel inference* (2002), section 2.4, for the
criteria; J. Hestness et al., arXiv:1712.00409, sections 2-3, for the regions.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lib import _law_diagnostics, _power_fit, checks
from lib.power_law_fit import PowerLaw, fit_power_law, read_curve, read_form

__all__ = ["Comparison", "Holdout", "Region", "compare_forms", "holdout_error", "power_law_region"]


@dataclass(frozen=True)
class Holdout:
    """Forecast of the largest sizes from the smaller ones.

    Attributes
    ----------
    law : PowerLaw
        Fitted without the held-out points.
    m, err, forecast : Tensor, (..., hold_out)
        What was held out, in order of size, and what the law said.
    relative_error : Tensor, (..., hold_out)
        Forecast over measurement minus 1; negative where the forecast was too hopeful.
    horizon : Tensor, (...)
        Largest held-out size over the largest fitted one.
    """

    law: PowerLaw
    m: Tensor
    err: Tensor
    forecast: Tensor
    relative_error: Tensor
    horizon: Tensor


@dataclass(frozen=True)
class Comparison:
    """Forms side by side for one curve.

    Attributes
    ----------
    laws : dict of str to PowerLaw
        Fits that the data allow.
    refused : dict of str to str
        Why the others were refused.
    aicc, bic : dict of str to float
        Criteria: smaller is better; differences below 2 say little.
    akaike_weights : dict of str to float
        Relative support by AICc; they sum to 1.
    forecast_error : dict of str to float
        Largest relative error, without its sign, on the held-out sizes; NaN where the form cannot be fitted without
        them.
    best : str
        Form of the smallest AICc.
    """

    laws: dict[str, PowerLaw]
    refused: dict[str, str]
    aicc: dict[str, float]
    bic: dict[str, float]
    akaike_weights: dict[str, float]
    forecast_error: dict[str, float]
    best: str


@dataclass(frozen=True)
class Region:
    """Sizes between plateau and floor.

    Attributes
    ----------
    first, last : int
        Positions of its ends, both included, in order of size.
    m, err : Tensor, (k,)
        The points inside, in order of size.
    dropped_small, dropped_large : int
        Points left out at either end.
    curvature_p : float
        Chance of the bend that is left (NaN with fewer than 4 points).
    """

    first: int
    last: int
    m: Tensor
    err: Tensor
    dropped_small: int
    dropped_large: int
    curvature_p: float


def holdout_error(
    m, err, hold_out: int = 1, *, floor: bool = False, form: str | None = None, unidentified: str = "refuse"
) -> Holdout:
    """Fit without the largest sizes and forecast them.

    Parameters
    ----------
    m : array_like, (n,)
        Sizes, all different.
    err : array_like, (..., n)
        Errors.
    hold_out : int
        Number of largest sizes to leave out.
    floor, form, unidentified
        As in :func:`lib.power_law_fit.fit_power_law`.

    Returns
    -------
    Holdout

    Raises
    ------
    ValueError
        As :func:`lib.power_law_fit.fit_power_law`, or if too few points are left.

    Examples
    --------
    >>> m = 2.0 ** torch.arange(8, 18, dtype=torch.float64)
    >>> err = 10 * m**-0.5 + 0.05
    >>> round(float(holdout_error(m, err).relative_error), 3)  # the straight line misses the floor
    -0.204
    """
    form = read_form(floor, form)
    hold_out = checks.integer("hold_out", hold_out, lowest=1)
    m, err = _ordered(m, err)
    left = m.shape[-1] - hold_out
    least = _power_fit.needed(form)
    if left < least:
        raise ValueError(
            f"hold_out must leave at least {least} sizes for the form '{form}', got {hold_out} of {len(m)}"
        )
    law = fit_power_law(m[:left], err[..., :left], form=form, rising=True, unidentified=unidentified)
    forecast = law.predict(m[left:])
    return Holdout(law, m[left:], err[..., left:], forecast, forecast / err[..., left:] - 1, m[-1] / m[left - 1])


def compare_forms(m, err, forms=("power", "floor", "regions"), hold_out: int = 1) -> Comparison:
    """Fit several forms to one curve: information criteria, and forecasts of the largest sizes.

    Parameters
    ----------
    m, err : array_like, (n,)
        Sizes, all different, and errors.
    forms : sequence of {"power", "floor", "regions"}
    hold_out : int
        Number of largest sizes to forecast.

    Returns
    -------
    Comparison

    Raises
    ------
    ValueError
        If an argument is wrong, or the data refuse every form.

    Examples
    --------
    >>> m = 2.0 ** torch.arange(8, 18, dtype=torch.float64)
    >>> found = compare_forms(m, 10 * m**-0.5 + 0.05, forms=("power", "floor"))
    >>> found.best, round(found.akaike_weights["floor"], 3)
    ('floor', 1.0)
    """
    if isinstance(forms, str) or not isinstance(forms, (list, tuple)) or not forms:
        raise ValueError(f"forms must be a sequence of forms, got {checks.describe(forms)}")
    for form in forms:
        checks.choice("forms", form, tuple(_power_fit.FORMS))
    hold_out = checks.integer("hold_out", hold_out, lowest=1)
    m, err = _ordered(m, err)
    if err.dim() != 1:
        raise ValueError(f"err must have shape ({len(m)},), got {tuple(err.shape)}")
    if len(m) - hold_out < 3:
        raise ValueError(f"hold_out must leave at least 3 sizes, got {hold_out} of {len(m)}")
    laws, refused, missed = {}, {}, {}
    for form in forms:
        try:
            laws[form] = fit_power_law(m, err, form=form, rising=True)
        except ValueError as problem:
            refused[form] = str(problem)
            continue
        try:
            missed[form] = float(holdout_error(m, err, hold_out, form=form).relative_error.abs().max())
        except ValueError:
            missed[form] = float("nan")
    if not laws:
        raise ValueError(f"m and err allow none of the forms: {'; '.join(refused.values())}")
    aicc = {form: float(law.aicc) for form, law in laws.items()}
    bic = {form: float(law.bic) for form, law in laws.items()}
    best = min(aicc, key=aicc.get)
    support = torch.tensor([aicc[best] - value for value in aicc.values()], dtype=m.dtype).nan_to_num(0.0) / 2
    weights = dict(zip(aicc, support.softmax(dim=0).tolist(), strict=True))
    return Comparison(laws, refused, aicc, bic, weights, missed, best)


def power_law_region(m, err, best_guess: float | None = None, margin: float = 0.1, level: float = 0.05) -> Region:
    """Find the straight part of a learning curve on logarithmic axes.

    First the leading points that are not yet better than guessing go: within ``margin`` of ``best_guess``. Then, as
    long as the rest, or one of its halves, is significantly curved and more than 4 points are left, the end goes whose
    loss straightens most.

    Parameters
    ----------
    m, err : array_like, (n,)
        Sizes, all different, and errors.
    best_guess : float, optional
        Error without any data, such as 1 minus the share of the largest class. Default: nothing is dropped for it.
    margin : float
        Share of ``best_guess`` that a point has to be below it.
    level : float
        Significance of the test for curvature.

    Returns
    -------
    Region

    Raises
    ------
    ValueError
        If an argument is wrong or fewer than 3 points are left.

    Examples
    --------
    >>> m = 4.0 ** torch.arange(1, 11, dtype=torch.float64)
    >>> region = power_law_region(m, torch.clamp(2 * m**-0.4, max=0.9), best_guess=0.9)
    >>> region.dropped_small, region.dropped_large
    (1, 0)
    """
    m, err = _ordered(m, err)
    if err.dim() != 1:
        raise ValueError(f"err must have shape ({len(m)},), got {tuple(err.shape)}")
    margin = checks.real_number("margin", margin, lowest=0, highest=1)
    level = checks.real_number("level", level, lowest=0, highest=1)
    first, last = 0, len(m) - 1
    if best_guess is not None:
        best_guess = checks.real_number("best_guess", best_guess, lowest=0, open_below=True)
        while first <= last and err[first] > (1 - margin) * best_guess:
            first += 1
    if last - first < 2:
        raise ValueError(
            f"err must be below best_guess by the margin at 3 sizes at least, but is at {last - first + 1}"
        )
    chance = _bend(m, err, first, last)
    while chance < level and last - first > 3:
        small, large = _bend(m, err, first + 1, last), _bend(m, err, first, last - 1)
        if small >= large:
            first, chance = first + 1, small
        else:
            last, chance = last - 1, large
    inside = slice(first, last + 1)
    return Region(first, last, m[inside], err[inside], first, len(m) - 1 - last, chance)


def _bend(m: Tensor, err: Tensor, first: int, last: int) -> float:
    """Chance of the curvature of the whole or of either half; a plateau and a floor together bend like an S."""
    middle = (first + last) // 2
    pieces = [(first, last)]
    if last - middle >= 4:
        pieces += [(first, middle), (middle, last)]
    chances = []
    for start, end in pieces:
        x, y = m[None, start : end + 1], err[None, start : end + 1]
        chances.append(float(_law_diagnostics.curvature(_power_fit.centred(x, y, torch.ones_like(x)))[1]))
    return min(1.0, len(chances) * min(chances))


def _ordered(m, err) -> tuple[Tensor, Tensor]:
    """Checked sizes (n,) in rising order, all different, and errors (..., n)."""
    m, err = checks.tensors(m=m, err=err)
    if m.dim() != 1:
        raise ValueError(f"m must have shape (n,), got {tuple(m.shape)}")
    read_curve(m, err, None, "power")
    m, order = m.sort()
    checks.require(m.diff() > 0, "m must be different sizes, but one comes twice")
    return m, err[..., order]
