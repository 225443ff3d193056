"""Good arguments of the functions that say where stochastic ascent stops improving."""

import math

import numpy as np
import torch

from tests.bad_input.kinds import KINDS, NO_NUMBERS, NOT_FINITE, Call

MODULES = ("rl.inner_loop", "rl.noisy_descent", "rl.outer_loop", "rl.softmax_bandit")

BAD = (*NO_NUMBERS, *NOT_FINITE)
KINDS |= {
    "stable step": (*BAD, 0.0, -0.1, 2.0, [0.1, 2.5]),
    "step before": (*BAD, 0.0, 0.05, 2.0, [0.5, 2.5]),
    "environments before": (*BAD, 0.0, -1.0, 9.0, [4.0, 9.0]),
    "steps of two rounds": (*BAD, 0.0, -0.1, [0.1, 0.0], np.ones((2, 3))),
    "stable step of a bandit": (*BAD, 0.0, -0.1, 200.0),
    "curvature": (
        *BAD,
        [],
        1.0,
        [-1.0, 1.0],
        np.ones((2, 3)),
        [[1.0, 0.5], [0.0, 1.0]],
        -np.eye(2),
        np.ones((1, 2, 2)),
    ),
    "gradient noise": (*BAD, [], 1.0, [1.0], [-1.0, 1.0], np.eye(2), np.ones((2, 3)), np.ones(3)),
    "pair": (*BAD, [], 1.0, [1.0], [1.0, 2.0, 3.0]),
    "noise of rounds": (*BAD, [], 1.0, np.ones(2), np.ones((2, 2)), np.ones((2, 1, 3)), np.ones((0, 1, 2))),
    "noise of a bandit": (*BAD, [], 1.0, np.ones((2, 1, 2)), np.ones((2, 1, 1, 2)), np.ones((2, 1, 2, 3))),
    "number of environments": (*BAD, 0.0, -1.0, [8.0, 0.0]),
    "environments of two rounds": (*BAD, 0.0, -1.0, [8.0, 0.0], np.ones((2, 3))),
    "whole environments": (*BAD, 0.0, -1.0, 0.5, 8.5, [8.0, 1.5]),
    "rewards": (*BAD, [], 1.0, [1.0], np.ones((2, 2))),
    "rewards of any bandit": (*BAD, [], 1.0, [1.0]),
    "deviation": (*BAD, -1.0),
    "one deviation": (*BAD, -1.0, [1.0, 1.0]),
    "one entropy weight": (*BAD, 0.0, -1.0, [1.0, 1.0]),
    "minibatch": (*BAD, 0.0, -1.0, 513.0),
    "start or none": ("three", [True], [1j], math.nan, [], 1.0, [1.0], [1.0, 2.0, 3.0]),
}

BOWL = {"H": ("curvature", [1.0, 0.5]), "Sigma": ("gradient noise", [1.0, 2.0])}
ROUNDS = {
    "eta": ("steps of two rounds", 0.1),
    **BOWL,
    "N": ("environments of two rounds", 8),
    "start": ("pair", [1.0, 1.0]),
}
LEVEL = {"eta": ("stable step", 0.1), **BOWL, "N": ("number of environments", 8)}
BEST = {"r": ("rewards of any bandit", [1.0, 0.0]), "tau": ("positive", 0.3)}
RUN = {
    "r": ("rewards", [1.0, 0.0]),
    "tau": ("one entropy weight", 0.3),
    "sigma": ("one deviation", 1.0),
    "eta": ("steps of two rounds", 0.5),
}
CALLS = [
    Call("rl.inner_loop.data_to_divergence", dict.fromkeys(("n_envs", "steps", "kl"), ("positive", 2.0))),
    Call(
        "rl.inner_loop.inner_steps",
        {
            "n_envs": ("positive", 16),
            "steps": ("positive", 32),
            "minibatch": ("minibatch", 512),
            "epochs": ("positive", 8),
        },
    ),
    Call("rl.outer_loop.sgd_plateau", LEVEL),
    Call("rl.outer_loop.stationary_covariance", LEVEL),
    Call(
        "rl.outer_loop.settling_time",
        {
            **LEVEL,
            "eta_before": ("step before", 0.5),
            "N_before": ("environments before", 4),
            "within": ("positive", 0.1),
        },
    ),
    Call("rl.outer_loop.time_constant", {"eta": ("stable step", 0.1), "H": ("curvature", [1.0, 0.5])}),
    Call("rl.noisy_descent.expected_loss", {**ROUNDS, "steps": ("number", 2)}),
    Call("rl.noisy_descent.simulate_quadratic", {**ROUNDS, "noise": ("noise of rounds", torch.zeros(2, 1, 2))}),
    Call("rl.noisy_descent.quadratic_loss", {"theta": ("pair", [1.0, 1.0]), "H": ("curvature", [1.0, 0.5])}),
    Call(
        "rl.noisy_descent.schedule",
        {"before": ("reals", 8), "after": ("reals", 80), "at": ("reals", 1), "steps": ("number", 2)},
    ),
    Call("rl.softmax_bandit.softmax_optimum", BEST),
    Call("rl.softmax_bandit.softmax_curvature", BEST),
    Call(
        "rl.softmax_bandit.softmax_bandit_plateau",
        {
            **BEST,
            "sigma": ("deviation", 1.0),
            "eta": ("stable step of a bandit", 0.5),
            "N": ("number of environments", 8),
        },
    ),
    Call("rl.softmax_bandit.bandit_gap", {"logits": ("pair", [0.0, 0.0]), **BEST}),
    Call(
        "rl.softmax_bandit.simulate_bandit",
        {
            **RUN,
            "N": ("whole environments", 8),
            "steps": ("number", 2),
            "repeats": ("number", 1),
            "generator": ("generator", torch.Generator()),
            "start": ("start or none", None),
        },
    ),
    Call(
        "rl.softmax_bandit.simulate_bandit_gaussian",
        {
            **RUN,
            "N": ("environments of two rounds", 8),
            "noise": ("noise of a bandit", torch.zeros(2, 1, 2, 2)),
            "start": ("start or none", None),
        },
    ),
]

ELSEWHERE = {}
