"""Good arguments of the selective scan."""

import torch

from tests.bad_input.kinds import KINDS, NO_NUMBERS, NOT_FINITE, RAGGED, Call

MODULES = ("ssm.selective",)

BAD = (*NO_NUMBERS, *NOT_FINITE, [], 1.0)
FLAT, CUBE = torch.ones(2, 2).double(), torch.ones(2, 2, 2).double()
NEITHER = ("three", RAGGED, [True, False], [1j], *NOT_FINITE, [], 1.0)
KINDS |= {
    "tokens": (*BAD, FLAT, torch.ones(1, 0, 2).double(), CUBE),
    "step sizes": (*BAD, FLAT, CUBE, torch.zeros(1, 3, 2).double(), -torch.ones(1, 3, 2).double()),
    "decay rates": (*BAD, CUBE, torch.ones(2, 2).double(), -torch.ones(3, 2).double(), torch.ones(2, 0).double()),
    "vectors of tokens": (*BAD, FLAT, CUBE, torch.ones(1, 3, 3).double()),
    "skip weights or none": (*NEITHER, FLAT, [1.0], [1.0, 1.0, 1.0]),
    "memory or none": (*NEITHER, FLAT, CUBE),
    "starts or none": (True, "three", [[True, False, False]], torch.ones(1, 3), torch.ones(3, dtype=torch.bool)),
    "way to scan": ("fast", None, 1, ["auto"]),
    "one token": (*BAD, torch.ones(2).double(), CUBE, FLAT),
    "one step size": (*BAD, CUBE, FLAT, torch.zeros(1, 2).double(), -torch.ones(1, 2).double()),
    "vector of a token": (*BAD, CUBE, FLAT, torch.ones(1, 3).double()),
}

TOKENS = torch.ones(1, 3, 2).double()
MODEL = {"A": ("decay rates", [[-1.0, -2.0], [-1.0, 0.0]]), "D": ("skip weights or none", [1.0, 1.0])}
MEMORY = torch.zeros(1, 2, 2).double()
CALLS = [
    Call(
        "ssm.selective.selective_scan",
        {
            "x": ("tokens", TOKENS),
            "dt": ("step sizes", TOKENS),
            "B": ("vectors of tokens", TOKENS),
            "C": ("vectors of tokens", TOKENS),
            **MODEL,
            "initial_state": ("memory or none", MEMORY),
            "reset": ("starts or none", torch.zeros(1, 3, dtype=torch.bool)),
            "method": ("way to scan", "auto"),
        },
    ),
    Call(
        "ssm.selective.selective_step",
        {
            "x": ("one token", TOKENS[:, 0]),
            "dt": ("one step size", TOKENS[:, 0]),
            "B": ("vector of a token", TOKENS[:, 0]),
            "C": ("vector of a token", TOKENS[:, 0]),
            **MODEL,
            "state": ("memory or none", MEMORY),
        },
    ),
]

ELSEWHERE = {}
