"""Good arguments of spaces, streams, environments in general, classic control and the adapters to gymnasium."""

import math

import numpy as np
import torch

from lib.rl.envs import (
    AcrobotParams,
    CartPole,
    CartPoleParams,
    MountainCarContinuousParams,
    MountainCarParams,
    Pendulum,
    PendulumParams,
    reset,
)
from lib.rl.envs.gymnasium_adapter import GymnasiumEnv
from tests.bad_input.kinds import KINDS, NO_NUMBER, NOT_WHOLE, Call

MODULES = (
    "rl.envs.acrobot",
    "rl.envs.cart_pole",
    "rl.envs.gymnasium_adapter",
    "rl.envs.mountain_car",
    "rl.envs.pendulum",
    "rl.envs.vec_env",
    "rl.spaces",
    "rl.streams",
)

NO_TENSORS = (torch.tensor([True]), torch.tensor([1j]), torch.tensor([1.0, math.nan]), torch.tensor(math.inf))
NO_PHYSICS = (*(value for value in NO_NUMBER if not isinstance(value, torch.Tensor)), np.ones(2), *NO_TENSORS)
PARAMS = (CartPoleParams, PendulumParams, MountainCarParams, MountainCarContinuousParams, AcrobotParams)


def params_but(kind):
    """What is refused as parameters of this kind."""
    return (3, "heavy", {}, kind, *(other() for other in PARAMS if not issubclass(other, kind)))


KINDS |= {
    "bound of a box": ("1", None, True, math.nan, 1j, [0.0, 0.0], (0.0,), (0.0, "1"), (0.0, math.nan), (0.0, True)),
    "shape of a box": ("2", None, 2, [2], (0,), (-1,), (1.5,), (True,)),
    "sizes of choices": ("2", None, 2, [2], (), (0,), (2, -1), (1.5,), (True,)),
    "seeds of runs": (1.5, "3", None, True, math.nan, -1, [], [1.5], [-1], (True,), ("0",), torch.tensor(1)),
    "seed of one run": (*NOT_WHOLE, -1, (0, 1)),
    "role of a stream": ("", None, 3, True),
    "part of a batch or none": (1.5, "3", True, math.nan, -1, 2),
    "type of states": (torch.int64, torch.float16, torch.bfloat16, "float64", None, True, 64),
    "physical number": NO_PHYSICS,
    "positive physical number": (*NO_PHYSICS, 0, -1.0, torch.tensor([1.0, 0.0]), torch.tensor([-1.0, 1.0])),
    "environment": (None, 3, "CartPole", CartPole),
    "state of episodes": (None, 3, torch.zeros(2, 4), (torch.zeros(2, 4), torch.zeros(2))),
    "actions taken": (None, 1, [0, 1], np.zeros(2), torch.zeros(3), torch.zeros(2, 1)),
    "one environment of ours": (
        None,
        3,
        CartPole,
        CartPole(2),
        CartPole(1, seed=(0, 1)),
        GymnasiumEnv("CartPole-v1", 1),
    ),
    "environments of ours": (None, 3, CartPole, CartPole(1, seed=(0,)), GymnasiumEnv("CartPole-v1", 1)),
    "source of environments": (None, 3, "", "NoSuchWorld-v9", dict, CartPole(1)),
    **{f"params of {kind.__name__}": params_but(kind) for kind in PARAMS},
}


def environment(function, params):
    arguments = {
        "n": ("number", 4),
        "device": ("device", "cpu"),
        "dtype": ("type of states", torch.float64),
        "seed": ("seeds of runs", (1, 2)),
        "params": (f"params of {type(params).__name__}", params),
        "max_steps": ("number or none", 7),
        "shards": ("number", 2),
        "shard": ("part of a batch or none", 1),
        "check_actions": ("flag", True),
    }
    return Call(f"rl.envs.{function}", arguments)


def physics(function, kind, *signed):
    """Every parameter, and which of them may be negative."""
    named = {
        name: ("physical number" if name in signed else "positive physical number", value)
        for name, value in vars(kind()).items()
    }
    return Call(f"rl.envs.{function}", named)


SOURCE = torch.Generator().manual_seed(0)
STEPPED = CartPole(1)
STATE, _ = reset(STEPPED, 2, SOURCE)

CALLS = [
    Call(
        "rl.spaces.Box",
        {
            "low": ("bound of a box", (-1.0, 0.0)),
            "high": ("bound of a box", 2.0),
            "shape": ("shape of a box", (3, 2)),
        },
    ),
    Call("rl.spaces.Discrete", {"n": ("number", 3)}),
    Call("rl.spaces.MultiDiscrete", {"sizes": ("sizes of choices", (2, 3))}),
    Call(
        "rl.streams.derived_seed",
        {"seed": ("seed of one run", 0), "role": ("role of a stream", "action"), "shard": ("steps", 0)},
    ),
    Call(
        "rl.streams.Streams",
        {
            "seed": ("seeds of runs", [0, 1]),
            "role": ("role of a stream", "action"),
            "device": ("device", "cpu"),
            "shards": ("number", 2),
            "shard": ("part of a batch or none", 1),
        },
    ),
    Call(
        "rl.envs.vec_env.reset",
        {
            "env": ("environment", STEPPED),
            "n": ("number", 2),
            "generator": ("generator", SOURCE),
            "params": ("params of CartPoleParams", CartPoleParams()),
        },
    ),
    Call(
        "rl.envs.vec_env.step",
        {
            "env": ("environment", STEPPED),
            "env_state": ("state of episodes", STATE),
            "action": ("actions taken", torch.tensor([0, 1])),
            "generator": ("generator", SOURCE),
            "params": ("params of CartPoleParams", CartPoleParams()),
        },
    ),
    environment("cart_pole.CartPole", CartPoleParams()),
    environment("pendulum.Pendulum", PendulumParams()),
    environment("mountain_car.MountainCar", MountainCarParams()),
    environment("mountain_car.MountainCarContinuous", MountainCarContinuousParams()),
    environment("acrobot.Acrobot", AcrobotParams()),
    physics("cart_pole.CartPoleParams", CartPoleParams, "gravity"),
    physics("pendulum.PendulumParams", PendulumParams, "gravity"),
    physics("mountain_car.MountainCarParams", MountainCarParams, "goal_position", "goal_velocity"),
    physics("mountain_car.MountainCarContinuousParams", MountainCarContinuousParams, "goal_position", "goal_velocity"),
    physics("acrobot.AcrobotParams", AcrobotParams, "gravity"),
    Call("rl.envs.gymnasium_adapter.as_gymnasium", {"env": ("one environment of ours", Pendulum(1))}),
    Call("rl.envs.gymnasium_adapter.as_gymnasium_vector", {"env": ("environments of ours", Pendulum(2))}),
    Call(
        "rl.envs.gymnasium_adapter.GymnasiumEnv",
        {
            "source": ("source of environments", "CartPole-v1"),
            "n": ("number", 2),
            "device": ("device", "cpu"),
            "dtype": ("type of states", torch.float64),
            "seed": ("seed of one run", 0),
            "max_steps": ("number or none", 500),
            "check_actions": ("flag", True),
        },
    ),
]

ELSEWHERE = {"rl.envs.vec_env.columns": "takes any number of tensors, which torch.stack checks"}
