"""Good arguments of grids, tables, Breakout and lot sizing."""

import math

import numpy as np
import torch

from lib.rl.envs import FrozenLakeParams, GridWorldParams, LotSizingSpec, Outcomes, read_map
from tests.bad_input.kinds import KINDS, NO_NUMBER, NO_NUMBERS, NOT_FINITE, NOT_WHOLE, Call

MODULES = (
    "rl.envs.breakout",
    "rl.envs.grid_map",
    "rl.envs.grids",
    "rl.envs.lot_sizing",
    "rl.envs.noisy_grid",
    "rl.envs.river_swim",
    "rl.envs.table_env",
)

BAD = (*NO_NUMBERS, *NOT_FINITE)
NO_MAP = (None, 3, "", [], [""], ["S", "SS"], ["S?"], ["##"], [3], torch.ones(2, 2))
LAW = (*BAD, 1.0, [], [0.5, 0.4], [1.5, -0.5], [[1.0], [1.0], [1.0]])
COSTS = (*BAD, -1.0, [1.0, -1.0], np.ones((2, 3)))
UNITS = (*COSTS, 0.5, [1.0, 0.5])
PARAMS = (3, "4x4", {}, torch.ones(2, 2), LotSizingSpec)
KINDS |= {
    "map as text": NO_MAP,
    "map that starts": (*NO_MAP, "GH", "S.GS.C", "..C"),
    "grid read": (None, 3, "S.G", ["S.G"], torch.ones(2, 2)),
    "four moves": (None, 3, "left", [], ["jump"], ["left"], [None]),
    "moves made": (*BAD, [], 1.0, np.ones((4, 3)), np.ones((4, 4)), np.eye(3), -np.eye(4)),
    "rewards of letters": (None, 3, {}, {"G": 1.0}, {".": "one"}, {".": math.nan}, {".": 1.0, "x": 2.0}, [(".", 1)]),
    "chance of a move": (*NO_NUMBER, -0.1, 1.1),
    "reward of a cell": NO_NUMBER,
    "length of a river": (*NOT_WHOLE, 1, 0, -1),
    "spread of rewards": (*NO_NUMBER, -1.0),
    "outcome chances": (*BAD, [], 1.0, np.ones((2, 1)), np.ones((2, 1, 2)), [[[1.5, -0.5]], [[1.0, 0.0]]]),
    "next states": ("three", None, 1, [[[0, 1]], [[1, 1]]], torch.ones(2, 1, 2), torch.full((2, 1, 2), 2)),
    "outcome rewards": (*BAD, [], 1.0, np.ones((2, 2))),
    "law of a start": (*BAD, [], 1.0, [1.0], [0.5, 0.6], [1.5, -0.5], [0.0, 1.0]),
    "states that end": (
        "three",
        None,
        1,
        [2],
        [-1],
        [True],
        [0.5],
        torch.tensor([0, 1]),
        torch.ones(3, dtype=torch.bool),
    ),
    "production of items": (*BAD, [], 1.0, [2, 2], [[2, 0.5]], [[2, -1]]),
    "setup cost": (*COSTS, 1.0, [[1.0, -1.0]]),
    "setup loss": (*UNITS, [1.0, 1.0], [[1.0, -1.0]]),
    "cost of items": COSTS,
    "capacity of stocks": (*UNITS, 0),
    "law of demand": LAW,
    "stock at first": (*NOT_WHOLE, -1, 4),
    "no params of a lake": (*PARAMS, GridWorldParams()),
    "no params of a world": (*PARAMS, FrozenLakeParams()),
    "no tables": (None, *PARAMS, FrozenLakeParams()),
    "no spec": (*PARAMS, GridWorldParams()),
}

COIN = {
    "chance": ("outcome chances", [[[0.5, 0.5]], [[1.0, 0.0]]]),
    "next_state": ("next states", torch.tensor([[[0, 1]], [[1, 1]]])),
    "reward": ("outcome rewards", [[[1.0, 0.0]], [[0.0, 0.0]]]),
    "start": ("law of a start", [1.0, 0.0]),
    "terminal": ("states that end", [1]),
}
EASY = {
    "production": ("production of items", [[2, 2]]),
    "setup_cost": ("setup cost", [[1, 1]]),
    "setup_loss": ("setup loss", 1),
    "holding": ("cost of items", 0.1),
    "lost_sales": ("cost of items", 2),
    "capacity": ("capacity of stocks", 3),
    "demand": ("law of demand", [0.5, 0.5]),
    "initial_stock": ("stock at first", 3),
    "random_setups": ("flag", True),
}
TABLES = Outcomes(**{name: value for name, (_, value) in COIN.items()})
N = {"n": ("number", 2), "device": ("device", "cpu"), "check_actions": ("flag", True)}

CALLS = [
    Call("rl.envs.grid_map.read_map", {"text": ("map as text", "S.\n.G")}),
    Call("rl.envs.grids.slips_anywhere", {"slip": ("chance of a move", 0.3)}),
    Call("rl.envs.grids.slips_sideways", {"success_rate": ("chance of a move", 0.3)}),
    Call(
        "rl.envs.grids.grid_outcomes",
        {
            "grid": ("grid read", read_map("S.G")),
            "made": ("moves made", np.eye(4)),
            "rewards": ("rewards of letters", {".": -1.0}),
            "moves": ("four moves", ("left", "down", "right", "up")),
        },
    ),
    Call(
        "rl.envs.grids.GridWorldParams",
        {
            "map": ("map that starts", "S.\n.G"),
            "slip": ("chance of a move", 0.3),
            "step_reward": ("reward of a cell", -1.0),
            "goal_reward": ("reward of a cell", 0.0),
            "hole_reward": ("reward of a cell", 0.0),
            "cliff_reward": ("reward of a cell", 0.0),
        },
    ),
    Call(
        "rl.envs.grids.FrozenLakeParams",
        {
            "map": ("map that starts", "8x8"),
            "slippery": ("flag", True),
            "success_rate": ("chance of a move", 0.3),
        },
    ),
    Call("rl.envs.grids.CliffWalkingParams", {"slippery": ("flag", True)}),
    Call(
        "rl.envs.river_swim.RiverSwimParams",
        {
            "length": ("length of a river", 4),
            "advance": ("chance of a move", 0.3),
            "drift_back": ("chance of a move", 0.1),
            "first_advance": ("chance of a move", 0.3),
            "last_drift_back": ("chance of a move", 0.3),
            "left_reward": ("reward of a cell", 0.1),
            "right_reward": ("reward of a cell", 1.0),
        },
    ),
    Call(
        "rl.envs.noisy_grid.NoisyGridParams",
        {
            "size": ("length of a river", 4),
            "slip": ("chance of a move", 0.3),
            "sigma": ("spread of rewards", 1.0),
        },
    ),
    Call("rl.envs.table_env.Outcomes", COIN),
    Call(
        "rl.envs.table_env.Outcomes.from_tables",
        {
            "P": ("outcome chances", [[[0.5, 0.5]], [[0.0, 1.0]]]),
            "R": ("outcome rewards", [[1.0], [0.0]]),
            "start": ("law of a start", [1.0, 0.0]),
            "terminal": ("states that end", [1]),
        },
    ),
    Call("rl.envs.grids.GridWorld", {**N, "params": ("no params of a world", None)}),
    Call("rl.envs.grids.FrozenLake", {**N, "params": ("no params of a lake", None)}),
    Call("rl.envs.grids.CliffWalking", {**N, "params": ("no params of a lake", None)}),
    Call("rl.envs.river_swim.RiverSwim", {**N, "params": ("no params of a lake", None)}),
    Call("rl.envs.noisy_grid.NoisyGrid", {**N, "params": ("no params of a lake", None)}),
    Call("rl.envs.table_env.TableEnv", {**N, "params": ("no tables", TABLES)}),
    Call("rl.envs.breakout.MiniBreakout", N),
    Call("rl.envs.lot_sizing.LotSizing", {**N, "params": ("no spec", None)}),
    Call("rl.envs.lot_sizing.LotSizingSpec", EASY),
    Call("rl.envs.lot_sizing.binomial_demand", {"trials": ("number", 3), "chance": ("chance of a move", 0.4)}),
    Call(
        "rl.envs.lot_sizing.random_lot_sizing",
        {"items": ("number", 3), "machines": ("number", 2), "generator": ("generator", torch.Generator())},
    ),
]

ELSEWHERE = {}
