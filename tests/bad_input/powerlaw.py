"""Good arguments of power laws, joint laws, heavy tails and the least squares below them."""

import math

import numpy as np
import torch

from lib.joint_laws import HOFFMANN, KAPLAN
from lib.power_law_fit import fit_power_law
from tests.bad_input.kinds import KINDS, NO_NUMBERS, NOT_FINITE, Call

MODULES = (
    "heavy_tail",
    "joint_fit",
    "joint_laws",
    "law_choice",
    "law_figures",
    "law_intervals",
    "least_squares",
    "power_forms",
    "power_law_fit",
    "powerlaw",
)

BAD = (*NO_NUMBERS, *NOT_FINITE)
SIZES = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0]
ERRORS = [1.0, 0.71, 0.5, 0.36, 0.25, 0.176, 0.126, 0.088]
GRID_N, GRID_D = (axis.flatten().tolist() for axis in np.meshgrid([1e7, 1e8, 1e9], [1e9, 1e10, 1e11]))
LOSSES = HOFFMANN.predict(GRID_N, GRID_D).tolist()
TAIL = [float(rank) for rank in range(1, 41)]
NO_CURVE = (*BAD, [], 1.0, [1.0], [-1.0] * 8, [0.0] * 8, [1.0] * 7, [math.nan] * 8)
NO_LEVEL = ("1", None, True, math.nan, math.inf, [0.5], 0.0, 1.0, -0.1, 1.5, torch.tensor(0.5))
LINE = fit_power_law(SIZES, ERRORS)
KINDS |= {
    "residual function": (None, 3, "r", lambda p, t, y: y[0], lambda p, t, y: p[:, :1] * math.nan * t),
    "jacobian or none": (3, "J"),
    "starting point": (*BAD, [], 1.0),
    "fit data": (None, 3, "ab", torch.ones(3), [math.nan], [[]], [[1.0], ["a"]]),
    "bound or none": ("low", math.nan, [0.0, 0.0, 0.0], [[0.0], [1.0, 2.0]]),
    "delta or none": ("1", True, math.nan, math.inf, 0.0, -1.0, [1.0]),
    "delta": ("1", None, True, math.nan, math.inf, 0, -1.0, [1.0]),
    "tolerance of a fit": ("1", None, True, math.nan, math.inf, 0, -1.0, 2.0, [1.0]),
    "curve sizes": (*NO_CURVE, [1.0, 2.0] * 4),
    "any sizes": NO_CURVE,
    "curve errors": NO_CURVE,
    "slope sizes": (*BAD, [], 1.0, [1.0], [1.0] * 8, [-1.0] * 8, [1.0, 2.0]),
    "floors to try": (1.5, "3", None, True, math.nan, [2], 1, -1, torch.tensor(30)),
    "line weights": (*BAD, -1.0, [0.0] * 8, [1.0, 2.0]),
    "curve weights or none": ("three", [1j], [True], math.nan, -1.0, 0.0, [0.0] * 8, [1.0, 2.0]),
    "not negative": (*BAD, -1.0),
    "exponent that falls": (*BAD, 0.0, 0.5),
    "exponent but not 0": (*BAD, 0.0),
    "above the floor": (*BAD, 0.0, 0.04),
    "form or none": ("line", 3, True, ["power"]),
    "forms": ("power", None, 3, [], ["line"], [None], [True]),
    "what of the unidentified": ("ignore", None, True, 3),
    "unit": (None, 3),
    "bootstrap refits": (1.5, "3", None, True, math.nan, [1], 0, 19, -1, torch.tensor(30)),
    "level of confidence": NO_LEVEL,
    "bootstrap method": ("bca", None, 3, True),
    "law of one curve": (None, 3, "law", [1.0], fit_power_law(SIZES, [ERRORS, ERRORS])),
    "title or none": ("", "  ", 3),
    "first damping": ("1", None, True, math.nan, math.inf, 0.0, -1.0, [1.0]),
    "law or none": (3, "law", [1.0], fit_power_law([1.0, 2.0, 4.0], [1.0, 0.5, 0.2])),
    "points held out": (1.5, "3", None, True, math.nan, [1], 0, -1, 6),
    "best guess or none": ("1", True, math.nan, math.inf, 0.0, -1.0, [1.0], 0.1),
    "zero to one": ("1", None, True, math.nan, math.inf, -0.1, 1.1, [0.5]),
    "joint law": (None, 3, "Hoffmann", KAPLAN),
    "kaplan law": (None, 3, "Kaplan", HOFFMANN),
    "given or not": ("three", [True], [1j], math.nan, -1.0, 0.0),
    "isoflop sizes": (*BAD, [], 1.0, [1.0], [1.0, 1.0, 2.0], [-1.0, 1.0, 2.0], [1.0, 2.0]),
    "isoflop losses": (*BAD, [], 1.0, [1.0], [1.0, 2.0, 1.0], [1.0, 2.0]),
    "runs": (*BAD, [], 1.0, [1.0] * 9, [-1.0] * 9, [1.0, 2.0] * 4, [[1.0] * 9]),
    "losses": (*BAD, [], 1.0, [1.0] * 9, [-1.0] * 9, [1.0, 2.0] * 4),
    "joint starts or none": ("three", math.nan, [1.0] * 5, [[1.0] * 4], [[0.0] * 5], [[-1.0] * 5]),
    "tail values": (*BAD, [], 1.0, [1.0] * 40, [1.0, 2.0], [-1.0] * 40, [0.0] * 40, np.ones((2, 20))),
    "tail start or none": ("1", True, math.nan, math.inf, 0.0, -1.0, [1.0], 40.0, 1000.0),
    "at least one": (*BAD, 0.5, 1.0, [2.0, 1.0]),
    "at least x_min": (*BAD, 0.5),
}

TIMES = [0.0, 1.0, 2.0, 3.0]
COUNTS = [3.0, 1.8, 1.1, 0.7]
FLOOR = {"floor": ("flag", False)}
FORM = {"form": ("form or none", None)}
CURVE = {"m": ("curve sizes", SIZES), "err": ("curve errors", ERRORS)}
UNIDENTIFIED = {"unidentified": ("what of the unidentified", "refuse")}
UNITS = {"m_unit": ("unit", "examples"), "err_unit": ("unit", "")}
LAW = {"alpha": ("positive", 1.0), "beta": ("reals", -0.5), "gamma": ("not negative", 0.05)}
RUNS = {
    "N": ("runs", GRID_N),
    "D": ("runs", GRID_D),
    "L": ("losses", LOSSES),
    "delta": ("delta", 1e-3),
}
BOOTSTRAP = {"n_boot": ("bootstrap refits", 20), "ci": ("level of confidence", 0.95), "seed": ("seed", 0)}
TAILED = {
    "x": ("tail values", TAIL),
    "x_min": ("tail start or none", None),
    "discrete": ("flag", False),
    "candidates": ("number", 5),
}

CALLS = [
    Call("least_squares.huber_loss", {"residuals": ("reals", [0.5, -3.0]), "delta": ("positive", 1.0)}),
    Call(
        "least_squares.least_squares",
        {
            "residuals": ("residual function", lambda p, t, y: p[:, :1] * torch.exp(-p[:, 1:] * t) - y),
            "start": ("starting point", [1.0, 1.0]),
            "data": ("fit data", (TIMES, COUNTS)),
            "jacobian": ("jacobian or none", None),
            "lower": ("bound or none", None),
            "upper": ("bound or none", None),
            "huber": ("delta or none", None),
            "tolerance": ("tolerance of a fit", 1e-7),
            "max_steps": ("number", 100),
            "damping": ("first damping", 1e-3),
        },
    ),
    Call(
        "power_forms.floored_line",
        {
            "m": ("slope sizes", SIZES),
            "err": ("curve errors", ERRORS),
            "weights": ("line weights", 1.0),
            "candidates": ("floors to try", 50),
        },
    ),
    Call("power_forms.power_law", {"m": ("positive", [1.0, 2.0]), **LAW}),
    Call(
        "power_forms.three_regions",
        {
            "m": ("positive", [1.0, 2.0]),
            "best_guess": ("above the floor", 0.9),
            "beta": ("reals", -0.5),
            "m0": ("positive", 10.0),
            "gamma": ("not negative", 0.05),
        },
    ),
    Call(
        "power_forms.log_log_line",
        {
            "m": ("slope sizes", SIZES),
            "err": ("curve errors", ERRORS),
            "weights": ("line weights", 1.0),
        },
    ),
    Call("power_forms.local_slopes", {"m": ("slope sizes", SIZES), "err": ("curve errors", ERRORS)}),
    Call("power_forms.halving_factor", {"beta": ("exponent that falls", -0.5)}),
    Call(
        "power_forms.data_needed",
        {"err": ("above the floor", 0.1), **LAW, "beta": ("exponent but not 0", -0.5)},
    ),
    Call(
        "power_law_fit.fit_power_law",
        {
            **CURVE,
            **FLOOR,
            **FORM,
            "weights": ("curve weights or none", None),
            "rising": ("flag", False),
            **UNIDENTIFIED,
            **UNITS,
        },
    ),
    Call(
        "law_intervals.resample_curves",
        {
            "m": ("any sizes", SIZES),
            "err": ("curve errors", [ERRORS, ERRORS]),
            "n_boot": ("number", 3),
            "seed": ("seed", 0),
            "law": ("law or none", None),
            "fewer": ("flag", False),
        },
    ),
    Call(
        "law_intervals.bootstrap_power_law",
        {
            "m": ("curve sizes", SIZES),
            "err_by_seed": ("curve errors", ERRORS),
            **BOOTSTRAP,
            **FLOOR,
            **FORM,
            "method": ("bootstrap method", "percentile"),
            **UNIDENTIFIED,
            **UNITS,
        },
    ),
    Call(
        "law_intervals.profile_intervals",
        {
            **CURVE,
            "ci": ("level of confidence", 0.95),
            **FLOOR,
            **FORM,
            "weights": ("curve weights or none", None),
        },
    ),
    Call(
        "law_choice.holdout_error",
        {**CURVE, "hold_out": ("points held out", 1), **FLOOR, **FORM, **UNIDENTIFIED},
    ),
    Call(
        "law_choice.compare_forms",
        {**CURVE, "forms": ("forms", ["power"]), "hold_out": ("points held out", 1)},
    ),
    Call(
        "law_choice.power_law_region",
        {
            **CURVE,
            "best_guess": ("best guess or none", None),
            "margin": ("zero to one", 0.1),
            "level": ("zero to one", 0.05),
        },
    ),
    Call(
        "law_figures.residual_figure",
        {
            "law": ("law of one curve", LINE),
            "ci": ("level of confidence", 0.95),
            "title": ("title or none", None),
        },
    ),
    Call(
        "joint_laws.chinchilla_loss",
        {"N": ("positive", [1e7, 1e8]), "D": ("positive", [1e9, 1e9]), "law": ("joint law", HOFFMANN)},
    ),
    Call(
        "joint_laws.kaplan_loss",
        {"N": ("given or not", [1e7, 1e8]), "D": ("given or not", [1e9, 1e9]), "law": ("kaplan law", KAPLAN)},
    ),
    Call("joint_laws.compute_optimal", {"C": ("positive", [1e20, 1e21]), "law": ("joint law", HOFFMANN)}),
    Call(
        "joint_laws.isoflop_minima",
        {
            "C": ("positive", 1e20),
            "N": ("isoflop sizes", [1e7, 1e8, 1e9]),
            "L": ("isoflop losses", [3.0, 2.0, 2.5]),
        },
    ),
    Call("joint_fit.fit_joint_law", {**RUNS, "starts": ("joint starts or none", None)}),
    Call("joint_fit.bootstrap_joint_law", {**RUNS, **BOOTSTRAP}),
    Call("heavy_tail.fit_heavy_tail", TAILED),
    Call("heavy_tail.bootstrap_heavy_tail", {**TAILED, **BOOTSTRAP}),
    Call(
        "heavy_tail.tail_survival",
        {"x": ("at least x_min", [1.0, 10.0]), "alpha": ("at least one", 2.0), "x_min": ("positive", 1.0)},
    ),
]

ELSEWHERE = {}
