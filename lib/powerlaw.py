"""Scaling laws: everything about power laws of error against size, in one place to import from.

* Formulas, for figures and everything else: :mod:`lib.power_forms`.
* Fits of learning curves, with diagnostics: :mod:`lib.power_law_fit`; bootstrap and profile intervals:
  :mod:`lib.law_intervals`; which form, which region, how good a forecast: :mod:`lib.law_choice`.
* What a law leaves over, as a picture: :mod:`lib.law_figures`.
* Laws of parameters and data together: :mod:`lib.joint_laws`, fitted in :mod:`lib.joint_fit`.
* Power-law tails of distributions: :mod:`lib.heavy_tail`.
"""

from __future__ import annotations

from lib.heavy_tail import BootstrapTail, HeavyTail, bootstrap_heavy_tail, fit_heavy_tail, tail_survival
from lib.joint_fit import BootstrapJointLaw, JointFit, bootstrap_joint_law, fit_joint_law
from lib.joint_laws import (
    BESIROGLU,
    HOFFMANN,
    KAPLAN,
    IsoFlop,
    JointLaw,
    KaplanLaw,
    chinchilla_loss,
    compute_optimal,
    isoflop_minima,
    kaplan_loss,
)
from lib.law_choice import Comparison, Holdout, Region, compare_forms, holdout_error, power_law_region
from lib.law_figures import residual_figure
from lib.law_intervals import BootstrapLaw, bootstrap_power_law, profile_intervals, resample_curves
from lib.power_forms import (
    data_needed,
    floored_line,
    halving_factor,
    local_slopes,
    log_log_line,
    power_law,
    three_regions,
)
from lib.power_law_fit import PowerLaw, fit_power_law

__all__ = [
    "BESIROGLU",
    "HOFFMANN",
    "KAPLAN",
    "BootstrapJointLaw",
    "BootstrapLaw",
    "BootstrapTail",
    "Comparison",
    "HeavyTail",
    "Holdout",
    "IsoFlop",
    "JointFit",
    "JointLaw",
    "KaplanLaw",
    "PowerLaw",
    "Region",
    "bootstrap_heavy_tail",
    "bootstrap_joint_law",
    "bootstrap_power_law",
    "chinchilla_loss",
    "compare_forms",
    "compute_optimal",
    "data_needed",
    "fit_heavy_tail",
    "fit_joint_law",
    "fit_power_law",
    "floored_line",
    "halving_factor",
    "holdout_error",
    "isoflop_minima",
    "kaplan_loss",
    "local_slopes",
    "log_log_line",
    "power_law",
    "power_law_region",
    "profile_intervals",
    "resample_curves",
    "residual_figure",
    "tail_survival",
    "three_regions",
]
