"""Good arguments of the functions of token dynamics and of the differentiable sort."""

import numpy as np
import torch

from tests.bad_input.kinds import KINDS, NO_NUMBERS, NOT_FINITE, Call

MODULES = ("softsort", "token_dynamics", "token_flow", "token_vectors")

BAD = (*NO_NUMBERS, *NOT_FINITE)
EYE = [[1.0, 0.0], [0.0, 1.0]]
KINDS |= {
    "token values": (*BAD, [], 1.0, np.ones((2, 0))),
    "sequence": (*BAD, [], 1.0, np.ones((2, 0)), np.ones((2, 3))),
    "one number": (*BAD, [[1.0]], [1.0, 2.0]),
    "one rate": (*BAD, -1.0, 0.0, [[1.0]]),
    "rates of forgetting": (*BAD, -1.0, 0.0, [1.0, -1.0]),
    "depths": (*BAD, [], 1.0, np.ones((2, 2)), [-1.0, 1.0], [1.0, 1.0], [2.0, 1.0]),
    "layers": (*BAD, [], 1.0, np.ones((2, 2)), [0.1, 0.0], [-0.1]),
    "above the start": ("1", None, True, np.nan, np.inf, [2.0], 0.5, 1.0),
    "not zero": (*BAD, 0.0, [1.0, 0.0]),
    "same sign": (*BAD, -1.0, 0.0),
    "farther": (*BAD, -2.0, 0.0, 0.5),
    "vectors": (*BAD, [], 1.0, [1.0, 2.0], np.ones((2, 3))),
    "moving vectors": (*BAD, [], 1.0, [1.0, 2.0], np.ones((2, 3)), [[1.0, 1.0], [0.0, 0.0]]),
    "channel map": (*BAD, [], 1.0, [1.0, 2.0], np.ones((2, 3)), np.ones((3, 3))),
    "channel rates": (*BAD, [], 1.0, [1.0, 0.0], [1.0, -1.0], [1.0, 1.0, 1.0]),
    "cells": (*BAD, [], 1.0, [1.0, 2.0], np.ones((3, 2))),
    "cell scales": (*BAD, [], 1.0, [1.0, 2.0, 3.0]),
    "sign of the map": ("plus", None, 1, True),
    "cell map": (*BAD, [], 1.0, [1.0, 2.0]),
    "other cell map": (*BAD, [], 1.0, [1.0, 2.0], np.ones((3, 2))),
    "temperature of a sort": (*BAD, -1.0, 0.0, [1.0]),
    "two scores": (*BAD, [], 1.0, [1.0], [1.0, 2.0, 3.0]),
}

TOKENS = ("token values", [1.0, -0.5])
SYSTEM = {"mu": ("reals", -1.0), "step_weight": ("reals", 0.8), "decay": ("rates of forgetting", 1.0)}
ONE = {"mu": ("one number", -1.0), "step_weight": ("one number", 0.8), "decay": ("one rate", 1.0)}
SORT = {"temperature": ("temperature of a sort", 1.0), "hard": ("flag", False)}
CHANNELS = {
    "output_map": ("channel map", EYE),
    "step_map": ("channel map", EYE),
    "decay": ("channel rates", [1.0, 2.0]),
}
CALLS = [
    Call("token_dynamics.token_velocity", {"x": TOKENS, **SYSTEM}),
    Call("token_dynamics.selective_layer_1d", {"x": TOKENS, **SYSTEM}),
    Call("token_dynamics.residual_tokens", {"x0": TOKENS, **SYSTEM, "steps": ("layers", [0.1, 0.2])}),
    Call(
        "token_dynamics.dynamics_regime",
        {"mu": ("one number", 1.0), "step_weight": ("one number", 1.0), "x0": ("sequence", [1.0])},
    ),
    Call(
        "token_dynamics.regime_codes",
        {"mu": ("reals", 1.0), "step_weight": ("reals", 1.0), "x0": ("token values", [1.0])},
    ),
    Call("token_dynamics.limit_ratios", {"count": ("number", 3), "decay": ("rates of forgetting", 1.0)}),
    Call("token_dynamics.shrinking_size", {"times": ("positive", 1.0), "mu": ("not zero", -1.0)}),
    Call(
        "token_flow.follow_tokens",
        {"x0": TOKENS, **SYSTEM, "steps": ("number", 3), "length": ("rates of forgetting", 2.0)},
    ),
    Call("token_flow.integrate_tokens", {"x0": ("sequence", [1.0, -0.5]), **ONE, "times": ("depths", [0.0, 1.0])}),
    Call("token_flow.first_blow_up", {"x0": ("sequence", [1.0, -0.5]), **ONE, "size": ("above the start", 10.0)}),
    Call("token_flow.blow_up_time", {"x0": ("reals", 1.0), "mu": ("reals", 1.0), "step_weight": ("reals", 1.0)}),
    Call(
        "token_flow.arrival_time",
        {
            "x": ("farther", 2.0),
            "x0": ("same sign", 1.0),
            "mu": ("reals", 1.0),
            "step_weight": ("reals", 1.0),
        },
    ),
    Call("token_vectors.vector_velocity", {"x": ("vectors", EYE), **CHANNELS}),
    Call(
        "token_vectors.follow_vectors",
        {"x0": ("moving vectors", EYE), **CHANNELS, "steps": ("number", 3), "length": ("above zero", 2.0)},
    ),
    Call(
        "token_vectors.definite_output_map",
        {
            "raw": ("cells", [[0.0, 1.0], [0.0, 0.0]]),
            "diag": ("cell scales", [0.0, 1.0]),
            "sign": ("sign of the map", "positive"),
        },
    ),
    Call("token_vectors.output_spectrum", {"S_B": ("cell map", EYE), "S_C": ("other cell map", EYE)}),
    Call("softsort.softsort", {"scores": ("token values", [1.0, 2.0]), **SORT}),
    Call(
        "softsort.reorder_tokens", {"x": ("cell map", torch.ones(2, 3)), "scores": ("two scores", [1.0, 2.0]), **SORT}
    ),
]

ELSEWHERE = {}
