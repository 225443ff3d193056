"""Pictures of residuals: what they show beside hat matrices written out, and their coverage."""

import numpy as np
import pytest
import scipy.stats
import torch

from lib import _law_diagnostics
from lib.figures import ROLES, TEMPLATE
from lib.law_figures import residual_figure
from lib.powerlaw import fit_power_law

M = 2.0 ** torch.arange(8, 18, dtype=torch.float64)


def curves(count, scatter=0.05):
    noise = torch.randn(count, len(M), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return (10 * M**-0.5 + 0.05) * torch.exp(scatter * noise)


def test_points_band_and_quantiles_are_those_of_the_line():
    order = [3, 0, 9, 1, 2, 8, 5, 7, 6, 4]
    err = 3 * M**-0.3 * torch.linspace(0.9, 1.1, 10, dtype=torch.float64).roll(3)
    weights = torch.linspace(1, 4, 10, dtype=torch.float64)
    law = fit_power_law(M[order], err[order], weights=weights[order])
    picture = residual_figure(law, ci=0.9)
    points, high, low, quantiles, diagonal = picture.data

    w = (weights / weights.mean()).numpy()
    design = np.stack([np.ones(10), M.log().numpy()], axis=-1) * np.sqrt(w)[:, None]
    y = err.log().numpy() * np.sqrt(w)
    hat = design @ np.linalg.inv(design.T @ design) @ design.T
    residuals = y - hat @ y
    errors = np.sqrt((residuals @ residuals / 8) * (1 - np.diag(hat)))
    assert list(points.x) == M.tolist()
    np.testing.assert_allclose(points.y, residuals / np.sqrt(w), rtol=1e-8)
    t = scipy.stats.t.ppf(0.95, 7)
    np.testing.assert_allclose(high.y, t * np.sqrt(8 / (7 + t**2)) * errors / np.sqrt(w), rtol=1e-8)
    np.testing.assert_allclose(low.y, -np.asarray(high.y))
    np.testing.assert_allclose(quantiles.y, np.sort(residuals / errors), rtol=1e-8)
    np.testing.assert_allclose(quantiles.x, scipy.stats.norm.ppf((np.arange(1, 11) - 0.375) / 10.25), rtol=1e-9)
    assert diagonal.x == diagonal.y


def test_errors_of_residuals_are_those_of_simulation():
    """Scatter of each residual over 4000 curves with a floor: the leverage is right at the ends, too."""
    law = fit_power_law(M, curves(4000, 0.02), floor=True, unidentified="report")
    said = _law_diagnostics.residual_errors("floor", law.data, law.fit).square().mean(dim=0).sqrt()
    np.testing.assert_allclose(said, law.residuals.square().mean(dim=0).sqrt(), rtol=0.06)


@pytest.mark.parametrize("points", [3, 10])
def test_the_band_holds_what_it_says(points):
    """Exactly, for a line: 2000 curves with their bands at 90 %; with one degree of freedom nothing is outside."""
    m = M[:points]
    noise = torch.randn(2000, points, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    law = fit_power_law(m, 3 * m**-0.3 * torch.exp(0.05 * noise))
    own = law.residuals / _law_diagnostics.residual_errors("power", law.data, law.fit)
    curve = fit_power_law(m, law.err[0])
    picture = residual_figure(curve, ci=0.9)
    reach = float(picture.data[1].y[0]) / float(_law_diagnostics.residual_errors("power", curve.data, curve.fit)[0, 0])
    held = float((own.abs() <= reach * (1 + 1e-9)).double().mean())
    assert held == (1.0 if points == 3 else pytest.approx(0.9, abs=0.01))


def test_a_wrong_form_and_exact_data_show():
    err = 10 * M**-0.5 + 0.05
    arch = np.asarray(residual_figure(fit_power_law(M, err)).data[0].y)
    assert arch[0] > 0 and arch[-1] > 0 and (arch[3:7] < 0).all()
    exact = residual_figure(fit_power_law(M, 2 * M**-0.25))
    assert np.abs(exact.data[0].y).max() < 1e-12
    assert np.isfinite(exact.data[3].y).all()


def test_it_is_in_the_style_of_the_book():
    law = fit_power_law(M, curves(1)[0], floor=True, m_unit="tokens")
    picture = residual_figure(law, title="Nothing is left over")
    assert picture.layout.title.text == "Nothing is left over"
    assert picture.layout.template.layout == TEMPLATE.layout
    assert picture.layout.xaxis.title.text == "size (tokens)"
    assert picture.layout.xaxis.type == "log" and picture.layout.xaxis2.type is None
    assert picture.data[0].marker.symbol == ROLES["observed"].symbol
    assert picture.data[1].line.dash == ROLES["theory"].dash


def test_batches_have_no_one_picture():
    with pytest.raises(ValueError, match=r"one curve, but it holds a batch of shape \(2,\)"):
        residual_figure(fit_power_law(M, curves(2), floor=True))
