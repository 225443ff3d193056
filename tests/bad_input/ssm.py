"""Good arguments of the scan, its masks and rotations, and of discretizations."""

import math

import numpy as np
import torch

from lib.ssm.state import ScanState
from tests.bad_input.kinds import KINDS, NO_NUMBERS, NOT_FINITE, NOT_WHOLE, RAGGED, Call

MODULES = (
    "ssm.costs",
    "ssm.discretize",
    "ssm.masks",
    "ssm.mimo",
    "ssm.orders",
    "ssm.rotation",
    "ssm.s4d",
    "ssm.scan",
    "ssm.state",
)


def filled(value, *shape):
    return torch.full(shape, value, dtype=torch.float64)


# Anything that is no floating tensor, or one of a shape that fits nowhere.
NO_FLOATS = ("three", 1.0, [[1.0]], True, np.ones((1, 3, 2)), torch.ones(1, 3, 2, dtype=torch.int64))
MISSHAPEN = (*NO_FLOATS, torch.tensor(1.0).double(), filled(1.0, 3, 2), filled(1.0, 1, 3, 2, 2, 2, 2))
SPOILT = (math.nan, math.inf)


def arrays(*shape):
    """What an argument of this shape refuses, but for None and signs."""
    spoilt = [filled(value, *shape) for value in SPOILT]
    return (*MISSHAPEN, torch.ones(shape), filled(0.5, *shape).to(torch.complex128), *spoilt)


def rates(*shape):
    return (*arrays(*shape), None, filled(1.0, *shape))


def lengths_of_steps(*shape):
    return (*arrays(*shape), None, filled(0.0, *shape), filled(-1.0, *shape))


def weights(*shape):
    return (*arrays(*shape), filled(-0.1, *shape), filled(1.1, *shape))


def states(*parts):
    good = ScanState(*(torch.zeros(*sizes, dtype=torch.float64) for sizes in parts))
    return (
        3,
        "state",
        True,
        tuple(good),
        good._replace(h=None),
        good._replace(k=good.h),
        good._replace(v=good.v.float()),
    )


STATE = ScanState(filled(0.0, 1, 2, 4, 3), filled(0.0, 1, 2, 4), filled(0.0, 1, 2, 3), filled(0.0, 1, 2, 2))
RANKED = STATE._replace(k=filled(0.0, 1, 2, 4, 2), v=filled(0.0, 1, 2, 3, 2))
NO_MARKS = (3, True, [True, False], torch.ones(1, 5), torch.ones(5, dtype=torch.bool))

KINDS |= {
    "scan inputs": (*arrays(1, 5, 2, 3), None, filled(1.0, 1, 0, 2, 3)),
    "scan vectors": (
        *arrays(1, 5, 1, 4),
        None,
        filled(1.0, 1, 5, 3, 4),
        filled(1.0, 1, 5, 1, 3),
        filled(1.0, 1, 4, 1, 4),
    ),
    "scan steps": (*lengths_of_steps(1, 5, 2), filled(1.0, 1, 5, 1)),
    "scan rates": (*rates(1, 5, 2), filled(-1.0, 1, 5, 1)),
    "scan weights or none": (*weights(1, 5, 2), filled(0.5, 1, 5, 1)),
    "angular rates or none": (*arrays(1, 5, 2, 2), filled(1.0, 1, 5, 3, 2), filled(1.0, 1, 5, 2, 3)),
    "angular rates": (*MISSHAPEN, None, filled(math.nan, 1, 5, 2, 2), filled(1.0, 1, 5, 3, 2)),
    "scan state or none": states((1, 2, 4, 3), (1, 2, 4), (1, 2, 3), (1, 2, 2)),
    "scan starts or none": NO_MARKS,
    "real lengths or none": (
        3,
        [5],
        True,
        torch.tensor([5.0]),
        torch.tensor([0]),
        torch.tensor([6]),
        torch.tensor([5, 5]),
    ),
    "which backend": ("gpu", None, 1, ["auto"]),
    "ranked inputs": (*arrays(1, 5, 2, 3, 2), None, filled(1.0, 1, 5, 2, 3)),
    "ranked vectors": (*arrays(1, 5, 1, 4, 2), None, filled(1.0, 1, 5, 1, 4), filled(1.0, 1, 5, 1, 4, 3)),
    "ranked state or none": states((1, 2, 4, 3), (1, 2, 4, 2), (1, 2, 3, 2), (1, 2, 2)),
    "token": (*arrays(1, 2, 3), None, filled(1.0, 1, 0, 3)),
    "token vectors": (*arrays(1, 1, 4), None, filled(1.0, 1, 3, 4), filled(1.0, 1, 1, 3)),
    "token step": (*lengths_of_steps(1, 2), filled(1.0, 1, 1)),
    "token rate": (*rates(1, 2), filled(-1.0, 1, 1)),
    "token weight or none": (*weights(1, 2), filled(0.5, 1, 1)),
    "token angles or none": (*arrays(1, 2, 2), filled(1.0, 1, 3, 2), filled(1.0, 1, 2, 3)),
    "ranked token": (*arrays(1, 2, 3, 2), None, filled(1.0, 1, 2, 3)),
    "ranked token vectors": (*arrays(1, 1, 4, 2), None, filled(1.0, 1, 1, 4), filled(1.0, 1, 1, 4, 3)),
    "phase or none": (*NO_FLOATS, filled(1.0, 1, 2, 3), filled(math.nan, 1, 2, 2)),
    "widths of steps": (*lengths_of_steps(1, 5, 2)[:9], None, filled(math.inf, 1, 5, 2), filled(1.0, 1, 0, 2)),
    "decay rate": (*NO_NUMBERS, *NOT_FINITE, 1.0, [-1.0, 1.0], [-1.0] * 7),
    "share of a step": (*NO_NUMBERS, *NOT_FINITE, -0.1, 1.1, [0.5] * 7),
    "lengths of steps": (*NO_NUMBERS, *NOT_FINITE, 0.0, -1.0, [0.1] * 7),
    "row of steps": (*NO_NUMBERS, *NOT_FINITE, 0.0, 1.0, [], [1.0, -1.0], [0.1] * 7),
    "rates in time": (*NO_NUMBERS, *NOT_FINITE, -1.0, np.ones((3, 0))),
    "rate before or none": ("three", RAGGED, [True], [1j], *NOT_FINITE, [1.0] * 7),
    "dimension of time": (*NOT_WHOLE, 2, -3),
    "rule of discretization": ("euler", None, 1, ["bilinear"]),
    "function of time": (None, 3, "cos", lambda t: 1.0, lambda t: t[:2]),
    "final time": (*NO_NUMBERS, *NOT_FINITE, 0.0, -1.0, [1.0]),
    "one share of a step": (*NO_NUMBERS, *NOT_FINITE, -0.1, 1.1, [0.5]),
    "numbers of steps": (*NO_NUMBERS, *NOT_FINITE, 3, [10], [10, 10, 10], [10, 20, -40], [10, 20, 40, 80]),
    "sizes of errors": (*NO_NUMBERS, *NOT_FINITE, 1.0, [0.1], [0.1, 0.0, 0.1], [0.1, -0.1, 0.1]),
    "complex rates": ("three", None, 1j, [1j], torch.ones(2), torch.ones(2, dtype=torch.complex128)),
    "complex weights": ("three", None, 1j, [1j], torch.ones(2), torch.ones(7, dtype=torch.complex128)),
    "a positive length": (*NO_NUMBERS, *NOT_FINITE, 0.0, -1.0),
    "log decays": (*NO_NUMBERS, *NOT_FINITE, 1.0, []),
    "pairs of cells": (*NO_NUMBERS, *NOT_FINITE, 1.0, [], [1.0, 2.0, 3.0], np.ones((7, 4))),
    "angles of pairs": (*NO_NUMBERS, *NOT_FINITE, 1.0, [1.0, 2.0, 3.0], np.ones((7, 2))),
}

TIMES = {
    "dt": ("scan steps", filled(0.5, 1, 5, 2)),
    "A": ("scan rates", filled(-1.0, 1, 5, 2)),
    "lam": ("scan weights or none", filled(0.5, 1, 5, 2)),
    "theta": ("angular rates or none", filled(1.0, 1, 5, 2, 2)),
    "validate": ("flag", True),
}
VECTORS = {name: ("scan vectors", filled(1.0, 1, 5, 1, 4)) for name in "BC"}
MATRIX = {"x": ("scan inputs", filled(1.0, 1, 5, 2, 3)), **TIMES, **VECTORS}
MARKS = {
    "reset": ("scan starts or none", torch.zeros(1, 5, dtype=torch.bool)),
    "lengths": ("real lengths or none", torch.tensor([4])),
}
SCAN = {**MATRIX, **MARKS, "initial_state": ("scan state or none", STATE)}
RANKED_SCAN = {
    **TIMES,
    **MARKS,
    "x": ("ranked inputs", filled(1.0, 1, 5, 2, 3, 2)),
    **{name: ("ranked vectors", filled(1.0, 1, 5, 1, 4, 2)) for name in "BC"},
    "initial_state": ("ranked state or none", RANKED),
}
TOKEN = {
    "dt": ("token step", filled(0.5, 1, 2)),
    "A": ("token rate", filled(-1.0, 1, 2)),
    "lam": ("token weight or none", filled(0.5, 1, 2)),
    "theta": ("token angles or none", filled(1.0, 1, 2, 2)),
    "validate": ("flag", True),
}
STEPS = {"dt": ("row of steps", [0.5, 0.5, 0.25]), "A": ("decay rate", [-1.0, -2.0, -1.0])}
LAST = {"lam": ("share of a step", [0.5, 0.5, 1.0])}
CELLS = torch.tensor([-0.5 + 1j, -0.5 + 2j, -0.5 + 3j], dtype=torch.complex128)
SIZES = {"N": ("positive", 128), "P": ("positive", 64), "R": ("positive", 4)}

CALLS = [
    Call("ssm.scan.scan", {**SCAN, "chunk_length": ("number", 2), "backend": ("which backend", "auto")}),
    Call("ssm.scan.scan_chunked", {**SCAN, "chunk_length": ("number", 2)}),
    Call("ssm.scan.scan_sequential", SCAN),
    Call("ssm.scan.scan_matrix", MATRIX),
    Call(
        "ssm.scan.scan_step",
        {
            **TOKEN,
            "x": ("token", filled(1.0, 1, 2, 3)),
            **{name: ("token vectors", filled(1.0, 1, 1, 4)) for name in "BC"},
            "state": ("scan state or none", STATE),
        },
    ),
    Call("ssm.mimo.mimo_scan_sequential", RANKED_SCAN),
    Call(
        "ssm.mimo.mimo_scan_chunked",
        {**RANKED_SCAN, "chunk_length": ("number or none", 2), "backend": ("which backend", "auto")},
    ),
    Call(
        "ssm.mimo.mimo_step",
        {
            **TOKEN,
            "x": ("ranked token", filled(1.0, 1, 2, 3, 2)),
            **{name: ("ranked token vectors", filled(1.0, 1, 1, 4, 2)) for name in "BC"},
            "state": ("ranked state or none", RANKED),
        },
    ),
    Call("ssm.masks.segment_sum", {"log_decay": ("log decays", [-1.0, -2.0])}),
    Call("ssm.masks.decay_mask", STEPS),
    Call("ssm.masks.input_mask", {**STEPS, **LAST}),
    Call("ssm.masks.scan_mask", {**STEPS, **LAST}),
    Call(
        "ssm.rotation.rotate_pairs",
        {"v": ("pairs of cells", np.ones((3, 4))), "angle": ("angles of pairs", np.ones((3, 2)))},
    ),
    Call(
        "ssm.rotation.phases",
        {
            "dt": ("widths of steps", filled(0.5, 1, 5, 2)),
            "theta": ("angular rates", filled(1.0, 1, 5, 2, 2)),
            "start": ("phase or none", filled(1.0, 1, 2, 2)),
            "reset": ("scan starts or none", torch.zeros(1, 5, dtype=torch.bool)),
        },
    ),
    Call("ssm.rotation.wrap", {"phase": ("reals", [1.0, 7.0])}),
    Call(
        "ssm.discretize.discretize",
        {
            "A": ("decay rate", [-1.0, -2.0, -1.0]),
            "dt": ("lengths of steps", [0.5, 0.5, 0.25]),
            "method": ("rule of discretization", "bilinear"),
            "lam": ("share of a step", [0.5, 0.5, 1.0]),
        },
    ),
    Call(
        "ssm.discretize.average_rate",
        {
            "A": ("rates in time", [[-1.0, -2.0], [-1.0, -3.0]]),
            "previous": ("rate before or none", [-1.0, -1.0]),
            "dim": ("dimension of time", 1),
        },
    ),
    Call(
        "ssm.orders.integrate",
        {
            "rate": ("function of time", lambda t: -1 - t),
            "drive": ("function of time", torch.cos),
            "steps": ("number", 4),
            "rule": ("rule of discretization", "tustin"),
            "until": ("final time", 2.0),
            "lam": ("one share of a step", 0.5),
        },
    ),
    Call(
        "ssm.orders.order_of_accuracy",
        {"steps": ("numbers of steps", [10, 20, 40]), "errors": ("sizes of errors", [0.4, 0.1, 0.02])},
    ),
    Call("ssm.s4d.s4d_lin", {"N": ("number", 3)}),
    Call(
        "ssm.s4d.s4d_kernel",
        {
            "A": ("complex rates", CELLS),
            "B": ("complex weights", CELLS),
            "C": ("complex weights", CELLS),
            "dt": ("a positive length", 0.1),
            "L": ("number", 8),
        },
    ),
    Call("ssm.s4d.causal_fft_conv", {"u": ("vector", [1.0, 2.0]), "K": ("vector", [1.0, 0.5])}),
    Call("ssm.costs.arithmetic_intensity", SIZES),
    Call("ssm.costs.scan_flops", {"T": ("positive", 2048), **SIZES, "C": ("positive", 64)}),
    Call(
        "ssm.costs.roofline",
        {"intensity": ("positive", 2.5), "peak": ("positive", 1e15), "bandwidth": ("positive", 3e12)},
    ),
]

ELSEWHERE = {}
