"""Scaling laws: everything about power laws of error against size, in one place to import from.

* Formulas, for figures and everything else: :mod:`lib.power_forms`.
* Fits of learning curves, with diagnostics: :mod:`lib.power_law_fit`; bootstrap and profile intervals:
  :mod:`lib.law_intervals`; which form, which region, how good a forecast: :mod:`lib.law_choice`.
* Laws of parameters and data together: :mod:`lib.joint_laws`, with intervals in :mod:`lib.joint_intervals`.
* Power-law tails of distributions: :mod:`lib.heavy_tail`.
"""

from __future__ import annotations

from lib.law_choice import Comparison, Holdout, Region, compare_forms, holdout_error, power_law_region
from lib.law_intervals import BootstrapLaw, bootstrap_power_law, profile_intervals, resample_curves
from lib.power_forms import data_needed, halving_factor, local_slopes, log_log_line, power_law, three_regions
from lib.power_law_fit import PowerLaw, fit_power_law

__all__ = [
    "BootstrapLaw",
    "Comparison",
    "Holdout",
    "PowerLaw",
    "Region",
    "bootstrap_power_law",
    "compare_forms",
    "data_needed",
    "fit_power_law",
    "halving_factor",
    "holdout_error",
    "local_slopes",
    "log_log_line",
    "power_law",
    "power_law_region",
    "profile_intervals",
    "resample_curves",
    "three_regions",
]
