"""Good arguments of the functions on large lattices."""

import math

import numpy as np
import torch

from lib.site_clocks import site_clocks
from tests.bad_input.kinds import KINDS, NO_NUMBER, NO_NUMBERS, NOT_WHOLE, Call

MODULES = (
    "field_march",
    "field_observables",
    "field_reference",
    "field_steps",
    "lattice_field",
    "progress",
    "site_clocks",
)

NO_FIELD = ([[1.0]], "three", None, np.ones((3, 4)), torch.ones(3), torch.ones(3, 0), torch.ones(3, 4).int())
OTHER = (torch.ones(4, 3), torch.ones(3, 4, dtype=torch.float64), torch.ones(3, 4, device="meta"))
SHARED = torch.zeros(3, 4)
WHOLE = tuple(value for value in NOT_WHOLE if not isinstance(value, list))
NOT_TABLES = (*NO_NUMBERS[:1], *NO_NUMBERS[2:], 0.5, [math.nan], np.ones((2, 2)), np.full((3, 4), math.inf))

KINDS |= {
    "sides": (*WHOLE, 0, -1, [], (3,), (3, 4, 5), (3, 0), (3, 2.5), 2**16, (True, 3)),
    "sides or none": (1.5, "3", True, 0, (3, 4, 5), (2, 2)),
    "site seed": (*WHOLE, -1, 2**32, [], [0, -1], [0, "1"], [True]),
    "site seeds": (*WHOLE, -1, 2**32, [], [0, -1], [0, "1"]),
    "stream": (*NOT_WHOLE, -1, 2**32),
    "tick": (*NOT_WHOLE, -1, 2**31),
    "field": NO_FIELD,
    "other field": (*NO_FIELD, *OTHER),
    "output": (*NO_FIELD[:2], *NO_FIELD[3:], *OTHER, torch.ones(4, 3).T, SHARED),
    "counts field": ([[1]], "three", *OTHER, torch.ones(3, 4), torch.ones(4, 3).int().T, torch.ones(3, 4).long()),
    "clocks": ([0.5], "three", 0.5, site_clocks(0.5, 0, (4, 3)), site_clocks(0.5, [0, 1], (3, 4))),
    "fraction": (*NO_NUMBER, -0.1, 1.1),
    "probability": (*NO_NUMBER, 0, -0.1, 1.1, 1e-12),
    "ratio": (*NO_NUMBER, 0.5, -1.0, 1e12),
    "width": (*NO_NUMBER, -0.1),
    "rate table": (
        *NO_NUMBERS,
        [math.nan],
        0.0,
        -1.0,
        1.5,
        1e-12,
        np.ones((2, 2)),
        np.ones((2, 3, 4)),
        np.zeros((3, 4)),
    ),
    "rate table or none": (*NOT_TABLES, np.zeros((3, 4)), np.full((3, 4), 1.5)),
    "table or none": NOT_TABLES,
    "engine": ("fast", None, 1, ["torch"], True),
    "clock": (3, "now", None),
    "stream to write": (3, "screen"),
}

SIDES = {"sides": ("sides", (3, 4))}
DRAWN = {**SIDES, "seed": ("site seed", 0), "dtype": ("floating", torch.float32)}
DEVICE = {"device": ("device", "cpu")}
ENGINE = {"engine": ("engine", "auto")}
CALLS = [
    Call(
        "site_clocks.draw_uniform",
        {**DRAWN, "stream": ("stream", 3), "low": ("real", -1.0), "high": ("real", 2.0)},
    ),
    Call("site_clocks.draw_normal", {**DRAWN, "stream": ("stream", 3), "width": ("width", 2.0)}),
    Call(
        "site_clocks.clock_rates",
        {**SIDES, "ratio": ("ratio", 10.0), "seed": ("site seed", 0), "fastest": ("probability", 0.5)},
    ),
    Call(
        "site_clocks.site_clocks",
        {
            "rates": ("rate table", 0.5),
            "seed": ("site seeds", [0]),
            "sides": ("sides", (3, 4)),
            "ratio": ("ratio", 2.0),
            **DEVICE,
        },
    ),
    Call(
        "field_steps.diffusion_step",
        {"x": ("field", SHARED), "coupling": ("fraction", 0.4), "out": ("output", torch.ones(3, 4)), **ENGINE},
    ),
    Call(
        "field_steps.kuramoto_field_step",
        {
            "theta": ("field", SHARED),
            "omega": ("other field", torch.ones(3, 4)),
            "coupling": ("real", 1.0),
            "dt": ("above zero", 0.1),
            "clocks": ("clocks", site_clocks(0.5, 0, (3, 4))),
            "tick": ("tick", 0),
            "out": ("output", torch.ones(3, 4)),
            "counts": ("counts field", torch.zeros(3, 4, dtype=torch.int32)),
            **ENGINE,
        },
    ),
    Call("field_observables.vortices", {"theta": ("field", SHARED)}),
    Call("field_march.initial_phases", {**DRAWN, "width": ("width", 1.0)}),
    Call("field_march.natural_frequencies", {**DRAWN, "spread": ("width", 1.0)}),
    Call("field_march.self_check", {**DEVICE, **ENGINE}),
    Call(
        "lattice_field.memory",
        {
            **SIDES,
            "replicas": ("number", 2),
            "dtype": ("floating", torch.float32),
            "asynchronous": ("flag", True),
            "own_rates": ("flag", True),
            **DEVICE,
            **ENGINE,
        },
    ),
    Call(
        "lattice_field.simulate",
        {
            **SIDES,
            "steps": ("steps", 2),
            "coupling": ("real", 1.0),
            "dt": ("above zero", 0.1),
            "update_probability": ("probability", 1.0),
            "clock_ratio": ("ratio", 1.0),
            "rates": ("rate table or none", np.full((3, 4), 0.5)),
            "frequency_spread": ("width", 0.2),
            "omega": ("table or none", np.ones((3, 4))),
            "start_width": ("width", 1.0),
            "theta0": ("table or none", np.ones((3, 4))),
            "seed": ("site seed", 0),
            "first_tick": ("tick", 0),
            "observe_every": ("number or none", 1),
            **DEVICE,
            "dtype": ("floating", torch.float32),
            **ENGINE,
            "progress": ("progress", None),
        },
    ),
    Call(
        "progress.ProgressBar",
        {
            "what": ("text", "steps"),
            "stream": ("stream to write", None),
            "patience": ("width", 0.5),
            "clock": ("clock", lambda: 0.0),
        },
    ),
]

ELSEWHERE = {
    "field_reference.loop_kuramoto": "a listing without checks, the oracle of tests/test_lattice_field.py",
    "field_reference.loop_vortices": "a listing without checks, the oracle of tests/test_lattice_field.py",
}
