"""Good arguments of networks, policies and value functions."""

import math

import torch

from tests.bad_input.kinds import KINDS, NO_NUMBER, NOT_WHOLE, Call

MODULES = ("rl.lookup", "rl.networks", "rl.policies")

NO_WIDTHS = (3, None, "ab", [1.5], ["4"], [True], [None], [0], [-1], [2, 0])

KINDS |= {
    "widths of layers": (*NO_WIDTHS, [], [4]),
    "hidden widths": NO_WIDTHS,
    "options of choices": (*NO_WIDTHS, []),
    "members or none": (1.5, "3", True, math.nan, 0, -1, [1]),
    "seeds of members": (*NOT_WHOLE[:-2], -1, [], [0, 1.5], [0, -1], [True], "12", torch.tensor(1), torch.tensor([1])),
    "activation": ("sigmoid", "", None, 1, torch.tanh, ["tanh"]),
    "gains or none": (1.0, "ab", [], [1.0], [1.0] * 4, [1.0, 1.0, -1.0], [1.0, 1.0, math.nan], [1.0, 1.0, "1"]),
    "role": ("", None, 3, ["policy"]),
    "start of log_std": (*NO_NUMBER, -3.5, 1.5),
    "range of log_std": (None, 3, "ab", [-3.0, 1.0], (-3.0,), (1.0, -3.0), (0.0, 0.0), (-math.inf, 1.0), ("a", "b")),
}

START = {"members": ("members or none", None), "seed": ("seeds of members", 0)}
STORED = {"device": ("device", "cpu"), "dtype": ("floating", torch.float32)}
NETWORK = {
    **START,
    "hidden": ("hidden widths", (8, 8)),
    "activation": ("activation", "tanh"),
    "strip": ("number or none", None),
    **STORED,
}

CALLS = [
    Call("rl.networks.member_seeds", START),
    Call(
        "rl.networks.MLP",
        {
            **START,
            "sizes": ("widths of layers", (4, 8, 8, 2)),
            "activation": ("activation", "tanh"),
            "gains": ("gains or none", None),
            "role": ("role", "network"),
            "strip": ("number or none", None),
            **STORED,
        },
    ),
    Call("rl.policies.CategoricalPolicy", {"obs_dim": ("number", 4), "n_actions": ("number", 2), **NETWORK}),
    Call(
        "rl.policies.MultiCategoricalPolicy",
        {"obs_dim": ("number", 4), "sizes": ("options of choices", (2, 3)), **NETWORK},
    ),
    Call(
        "rl.policies.GaussianPolicy",
        {
            "obs_dim": ("number", 3),
            "act_dim": ("number", 1),
            "log_std": ("start of log_std", -0.5),
            "log_std_range": ("range of log_std", (-3.0, 1.0)),
            **NETWORK,
        },
    ),
    Call("rl.policies.ValueFunction", {"obs_dim": ("number", 4), **NETWORK}),
    Call("rl.lookup.TabularPolicy", {"n_states": ("number", 16), "n_actions": ("number", 4), **START, **STORED}),
    Call("rl.lookup.TabularValue", {"n_states": ("number", 16), **START, **STORED}),
]

ELSEWHERE = {}
