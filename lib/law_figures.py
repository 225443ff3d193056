"""Pictures of what a fitted law leaves over.

Sources: R. D. Cook and S. Weisberg, *Residuals and influence in regression* (1982), section 2.2, for residuals over
their own scatter; G. Blom, *Statistical estimates and transformed beta-variables* (1958), for the places of the
quantiles; W. R. Thompson, Annals of Mathematical Statistics 6 (1935) 214, for the band.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from lib import _law_diagnostics, _power_fit, checks
from lib.power_law_fit import PowerLaw, read_level

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

__all__ = ["residual_figure"]


def residual_figure(law: PowerLaw, ci: float = 0.95, title: str | None = None) -> Figure:
    """Residuals of ln err against size within their band, and against the quantiles of a normal distribution.

    A law that fits leaves points without pattern on the left and near the diagonal on the right; an arch on the left
    says that the form is wrong, one far point that its measurement is.

    Parameters
    ----------
    law : PowerLaw
        Of one curve.
    ci : float
        Share of normal residuals that the band holds, between 0 and 1. The band is narrower where a point pulls the law
        towards itself, and wider where its weight is small.
    title : str, optional
        The finding in words. Default: how many points are outside the band.

    Returns
    -------
    plotly.graph_objects.Figure

    Raises
    ------
    ValueError
        If law is no PowerLaw or holds a batch, ci is not between 0 and 1, or the title is empty.

    Examples
    --------
    >>> from lib.power_law_fit import fit_power_law
    >>> law = fit_power_law([1.0, 2.0, 4.0, 8.0], [1.0, 0.7, 0.52, 0.35])
    >>> residual_figure(law).layout.title.text
    '0 of 4 residuals are outside the 95 % band'
    """
    if not isinstance(law, PowerLaw):
        raise ValueError(f"law must be a PowerLaw, got {checks.describe(law)}")
    if law.beta.dim():
        raise ValueError(f"law must be of one curve, but it holds a batch of shape {tuple(law.beta.shape)}")
    ci = read_level(ci)
    # Here, so that fits can be imported without Plotly.
    from lib import figures

    order = law.m.argsort()
    m, residuals = law.m[order], law.residuals[order]
    error = _law_diagnostics.residual_errors(law.form, law.data, law.fit)[0][order]
    band = _reach(ci, law.freedom) * error
    if title is None:
        outside = int((residuals.abs() > band).sum())
        title = f"{outside} of {len(m)} residuals are outside the {100 * ci:g} % band"
    picture = figures.figure(title, f"size ({law.m_unit})" if law.m_unit else "size", "residual of ln err")
    picture.set_subplots(rows=1, cols=2, horizontal_spacing=0.14)
    m, low, high = m.tolist(), (-band).tolist(), band.tolist()
    picture.add_scatter(**figures.observed("residuals", x=m, y=residuals.tolist()), row=1, col=1)
    picture.add_scatter(**figures.theory(f"{100 * ci:g} % band", x=m, y=high), row=1, col=1)
    picture.add_scatter(**figures.theory(x=m, y=low, showlegend=False), row=1, col=1)
    picture.add_hline(y=0.0, line_color=figures.INK, line_width=1, row=1, col=1)
    picture.update_xaxes(type="log", row=1, col=1)

    expected = torch.special.ndtri((torch.arange(len(m), dtype=error.dtype) + 0.625) / (len(m) + 0.25))
    own = torch.where(error > 0, residuals / error, 0.0).sort().values
    ends = [float(expected[0]), float(expected[-1])]
    quantiles = figures.observed("over their scatter", x=expected.tolist(), y=own.tolist(), showlegend=False)
    picture.add_scatter(**quantiles, row=1, col=2)
    picture.add_scatter(**figures.model("normal", x=ends, y=ends), row=1, col=2)
    picture.update_xaxes(title_text="normal quantile", row=1, col=2)
    picture.update_yaxes(title_text="residual (own standard errors)", row=1, col=2)
    return picture


def _reach(ci: float, freedom: int) -> float:
    """Half-width of the band in a residual's own errors: it is part of the scatter that it is divided by (Thompson)."""
    t = _power_fit.t_quantile(ci, freedom - 1)
    return (freedom / ((freedom - 1) / t**2 + 1)) ** 0.5
