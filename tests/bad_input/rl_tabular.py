"""Good arguments of the planners for tables, and what each kind of theirs refuses."""

import math

import numpy as np
import torch

from tests.bad_input.kinds import KINDS, NO_NUMBER, NO_NUMBERS, NOT_FINITE, RAGGED, Call

MODULES = (
    "rl.bellman",
    "rl.finite_horizon",
    "rl.linear_program",
    "rl.mdp",
    "rl.planning",
    "rl.policy_evaluation",
    "rl.regret",
    "rl.robust",
    "rl.tabular",
)

# Two states, three actions, four steps.
P = np.full((2, 3, 2), 0.5)
R = np.arange(6.0).reshape(2, 3)
PI = np.full((2, 3), 1 / 3)


def laws(*shape):
    """What distributions of this shape refuse."""
    off = np.full(shape, 1 / shape[-1])
    negative = off.copy()
    off[..., 0] += 0.1
    negative[..., 0] -= 1
    negative[..., 1] += 1
    wide = np.full((*shape[:-1], shape[-1] + 1), 1 / (shape[-1] + 1))
    return (*NO_NUMBERS, *NOT_FINITE, [], 1.0, off, negative, wide)


def given(values):
    """The same for an argument that may be left out."""
    return tuple(value for value in values if value is not None)


TRANSITIONS = (*laws(2, 3, 2), np.ones((2, 2)), np.full((3, 3, 2), 0.5), np.ones((2, 0, 2)), np.ones((0, 3, 0)))
REWARDS = (*NO_NUMBERS, *NOT_FINITE, [], 1.0, np.ones((3, 2)), np.ones(3), np.full((2, 3), math.nan))
DISCOUNT = (*NO_NUMBERS, *NOT_FINITE, -0.1, 1.1, [0.5, 2.0])
STATES = (*NO_NUMBERS, *NOT_FINITE, [], 1.0, [1.0, 2.0, 3.0], [math.nan, 0.0])
POLICY = (*laws(2, 3)[2:], "three", [], [0, 3], [0, -1], [0, 1, 0], 1, [True, False], [[1j]], RAGGED)
BY_STEP = (*POLICY, [0, 1], PI, [[0, 1]] * 3, [[0, 3]] * 4)
START = (*given(laws(2)), -1, 2)

KINDS |= {
    "decision table": TRANSITIONS,
    "tables to choose from": (*laws(2, 2, 3, 2), np.full((2, 3, 2), 0.5), np.full((2, 3, 3, 2), 0.5)),
    "decision rewards": REWARDS,
    "rewards of next states": (*NO_NUMBERS, *NOT_FINITE, [], 1.0, np.ones((2, 3)), np.ones((2, 3, 3))),
    "discount below one": (*DISCOUNT, 1.0),
    "discount up to one": DISCOUNT,
    "discount or none": (*given(DISCOUNT), 1.0),
    "state values": STATES,
    "state values or none": given(STATES),
    "decision policy": POLICY,
    "deterministic policy or none": (*given(POLICY), PI, [0.0, 1.0]),
    "policy by step": BY_STEP,
    "policy by any step": (*POLICY, [0, 1], PI, [[0, 3]] * 4),
    "reference policy or none": given(laws(2, 3)),
    "temperature of planning": (*NO_NUMBERS, *NOT_FINITE, -0.1, [0.1, -1.0]),
    "first law or none": START,
    "tolerance of planning": (*NO_NUMBER, 0, -1.0),
    "action table": (*NO_NUMBERS, *NOT_FINITE, [], 1.0, [1.0, 2.0], np.ones((2, 0))),
    "action values": (*NO_NUMBERS, *NOT_FINITE, [], 1.0),
    "reference of actions or none": given(laws(3)),
    "occupancy table": (*NO_NUMBERS, *NOT_FINITE, [], 1.0, [1.0, 2.0], np.ones((2, 0)), [[-1.0, 2.0]]),
    "reached states": (1.5, "3", None, True, math.nan, [1], 0, -1, 5),
    "batch of problems": (None, 3, "34", [1.5], [-1], ["a"], [True]),
    "labels of states": ("three", None, RAGGED, [], [0, 1], [[0.0, 1.0]], [[True, False]], [[0, 2]], [[-1, 0]], [[1j]]),
    "labels of actions": ("three", None, RAGGED, [], [0, 1], [[0.0]], [[True]], [[3]], [[-1]], [[0, 0]], [[0], [1]]),
    "tallies of next states": (
        *NO_NUMBERS,
        *NOT_FINITE,
        [],
        1.0,
        np.ones((2, 2)),
        np.ones((3, 3, 2)),
        -np.ones((2, 3, 2)),
    ),
    "untried pairs": (*TRANSITIONS, "never", np.full((2, 2, 2), 0.5)),
    "law of outcomes": laws(2),
    "values of outcomes": (*NO_NUMBERS, *NOT_FINITE, [], 1.0, [1.0, 2.0, 3.0]),
    "moved mass": (*NO_NUMBERS, *NOT_FINITE, -0.1, 1.1),
    "floor or none": given((*NO_NUMBERS, *NOT_FINITE)),
    "radius of tables": (*NO_NUMBERS, *NOT_FINITE, -0.1, 2.1, [0.1, 0.1], np.ones((3, 2))),
    "neighbourhood": ("l2", None, 1, ["l1"], True),
    "values of episodes": (*NO_NUMBERS, *NOT_FINITE, [], 1.0),
    "best value": (*NO_NUMBERS, *NOT_FINITE),
    "curves of seeds": (*NO_NUMBERS, *NOT_FINITE, [], 1.0, [[1.0, 2.0]]),
    "confidence": (*NO_NUMBER, 0, 1, 1.0, -0.5, 1.5),
    "regret so far": (*NO_NUMBERS, *NOT_FINITE, [], 1.0, [1.0], [0.0, 1.0], [-1.0, 1.0]),
    "first episode": (1.5, "3", None, True, math.nan, [1], 0, -1, 3),
}

TABLES = {"P": ("decision table", P), "R": ("decision rewards", R)}
MODEL = {**TABLES, "gamma": ("discount below one", 0.9)}
VALUES = {**MODEL, "V": ("state values", [0.0, 1.0])}
SOFT = {"temperature": ("temperature of planning", 0.5), "reference": ("reference policy or none", PI)}
ENDING = {
    "tol": ("tolerance of planning", 1e-6),
    "V0": ("state values or none", [0.0, 1.0]),
    "validate": ("flag", True),
}
ROBUST = {"radius": ("radius of tables", 0.5), "kind": ("neighbourhood", "l1")}
FINITE = {
    **TABLES,
    "horizon": ("number", 4),
    "gamma": ("discount up to one", 1.0),
    "final": ("state values or none", [0.0, 1.0]),
    "by_step": ("flag", False),
}
SOFT_VALUES = {
    "Q": ("action values", [[1.0, 2.0, 3.0]]),
    "temperature": ("temperature of planning", 0.5),
    "reference": ("reference of actions or none", [0.25, 0.25, 0.5]),
}
RADIUS = {
    "mu": ("law of outcomes", [0.5, 0.5]),
    "values": ("values of outcomes", [1.0, 2.0]),
    "radius": ("moved mass", 0.1),
}
SOURCE = {"generator": ("generator", torch.Generator())}

CALLS = [
    Call("rl.bellman.expected_rewards", {"P": TABLES["P"], "rewards": ("rewards of next states", np.ones((2, 3, 2)))}),
    Call("rl.bellman.action_values", VALUES),
    Call("rl.bellman.bellman_operator", VALUES),
    Call("rl.bellman.policy_operator", {**VALUES, "pi": ("decision policy", PI)}),
    Call("rl.bellman.greedy", {"Q": ("action table", R)}),
    Call("rl.bellman.soft_value", SOFT_VALUES),
    Call("rl.bellman.soft_policy", SOFT_VALUES),
    Call("rl.bellman.soft_bellman_operator", {**VALUES, **SOFT}),
    Call(
        "rl.bellman.value_sweeps",
        {**MODEL, "sweeps": ("steps", 3), "V0": ("state values or none", [0.0, 1.0])},
    ),
    Call("rl.planning.value_iteration", {**MODEL, **ENDING}),
    Call("rl.planning.soft_value_iteration", {**MODEL, **SOFT, **ENDING}),
    Call("rl.planning.modified_policy_iteration", {**MODEL, **ENDING, "inner_sweeps": ("steps", 5)}),
    Call(
        "rl.planning.policy_iteration",
        {**MODEL, "policy": ("deterministic policy or none", [0, 2]), "validate": ("flag", True)},
    ),
    Call("rl.policy_evaluation.policy_value", {**MODEL, "pi": ("decision policy", PI)}),
    Call("rl.policy_evaluation.policy_action_values", {**MODEL, "pi": ("decision policy", [0, 2])}),
    Call(
        "rl.policy_evaluation.discounted_occupancy",
        {
            "P": TABLES["P"],
            "gamma": MODEL["gamma"],
            "pi": ("decision policy", PI),
            "start": ("first law or none", 1),
        },
    ),
    Call("rl.policy_evaluation.occupancy_policy", {"occupancy": ("occupancy table", R)}),
    Call("rl.linear_program.linear_program", {**MODEL, "start": ("first law or none", [0.5, 0.5])}),
    Call("rl.finite_horizon.backward_induction", FINITE),
    Call("rl.finite_horizon.finite_policy_value", {**FINITE, "policy": ("policy by step", [[0, 2]] * 4)}),
    Call(
        "rl.finite_horizon.occupancy",
        {
            "P": TABLES["P"],
            "policy": ("policy by any step", [[0, 2]] * 4),
            "start": ("first law or none", 0),
            "by_step": ("flag", False),
        },
    ),
    Call(
        "rl.mdp.TabularMDP",
        {
            **TABLES,
            "gamma": ("discount or none", 0.9),
            "start": ("first law or none", [0.5, 0.5]),
        },
    ),
    Call(
        "rl.mdp.garnet",
        {
            "states": ("number", 4),
            "actions": ("number", 2),
            "branching": ("reached states", 3),
            **SOURCE,
            "batch": ("batch of problems", (2,)),
        },
    ),
    Call(
        "rl.mdp.sample_episodes",
        {
            **TABLES,
            "policy": ("policy by step", [[0, 2]] * 4),
            "steps": ("number", 4),
            "episodes": ("number", 2),
            **SOURCE,
            "start": ("first law or none", 0),
            "by_step": ("flag", True),
        },
    ),
    Call(
        "rl.mdp.visit_counts",
        {
            "states": ("labels of states", [[0, 1]]),
            "actions": ("labels of actions", [[2]]),
            "n_states": ("number", 2),
            "n_actions": ("number", 3),
        },
    ),
    Call("rl.mdp.sample_counts", {"P": TABLES["P"], "draws": ("number", 3), **SOURCE}),
    Call(
        "rl.mdp.empirical_model",
        {"counts": ("tallies of next states", np.ones((2, 3, 2))), "untried": ("untried pairs", P)},
    ),
    Call("rl.robust.tv_robust_expectation", {**RADIUS, "floor": ("floor or none", 0.0)}),
    Call("rl.robust.tv_worst_distribution", RADIUS),
    Call("rl.robust.robust_bellman_operator", {**VALUES, **ROBUST}),
    Call("rl.robust.robust_value_iteration", {**MODEL, **ROBUST, **ENDING}),
    Call("rl.robust.robust_policy_value", {**MODEL, **ROBUST, **ENDING, "pi": ("decision policy", PI)}),
    Call(
        "rl.robust.worst_of_tables",
        {
            **MODEL,
            "P": ("tables to choose from", np.full((2, 2, 3, 2), 0.5)),
            "tol": ENDING["tol"],
            "validate": ENDING["validate"],
        },
    ),
    Call(
        "rl.regret.cumulative_regret",
        {"values": ("values of episodes", [0.0, 0.5]), "optimum": ("best value", 1.0)},
    ),
    Call(
        "rl.regret.confidence_band",
        {"curves": ("curves of seeds", [[1.0, 2.0], [2.0, 3.0]]), "confidence": ("confidence", 0.9)},
    ),
    Call(
        "rl.regret.growth_exponent",
        {"regret": ("regret so far", [1.0, 2.0, 3.0]), "first": ("first episode", 1)},
    ),
]

ELSEWHERE = {}
