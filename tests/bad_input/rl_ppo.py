"""Good arguments of PPO, its logs, checkpoints and processes."""

import os
import tempfile
from pathlib import Path

import numpy as np
import torch

from lib.rl.checkpoints import save_checkpoint
from lib.rl.envs.cart_pole import CartPole
from lib.rl.policies import CategoricalPolicy, ValueFunction
from lib.rl.ppo import PPOConfig
from lib.rl.training_log import TrainingLog
from tests.bad_input.kinds import KINDS, NO_NUMBER, NO_NUMBERS, NOT_FINITE, NOT_WHOLE, Call

MODULES = (
    "rl.checkpoints",
    "rl.distributed",
    "rl.evaluation",
    "rl.normalization",
    "rl.optimizer",
    "rl.ppo",
    "rl.ppo_config",
    "rl.rollout",
    "rl.training_log",
    "rl.training_state",
)

# Files that good calls read and write.
FOLDER = tempfile.TemporaryDirectory()
LOG, CHECKPOINT = (str(Path(FOLDER.name) / name) for name in ("log.csv", "run.pt"))
TrainingLog().write(LOG)
save_checkpoint(CHECKPOINT, {"environment": None})

BAD = (*NO_NUMBERS, *NOT_FINITE)
NO_FLAGS = (None, "no", True, [False, False], torch.zeros(2), torch.zeros(3, dtype=torch.bool))
NO_FILE = (None, 3, b"log", "", [LOG])
UNREAD = (*NO_FILE, os.path.join(FOLDER.name, "missing"), FOLDER.name)
KINDS |= {
    "rewards of a rollout": (*BAD, 1.0, [], np.ones((2, 2)), [1.0, 2.0, 3.0]),
    "flags of a rollout": NO_FLAGS,
    "column of a minibatch": (*BAD, 1.0, [], np.ones((2, 2)), [1.0, 2.0, 3.0]),
    "column or none": (*(bad for bad in BAD if bad is not None), 1.0, [], np.ones((2, 2)), [1.0, 2.0, 3.0]),
    "log-probabilities": (*BAD, [], [1.0, 2.0, 3.0], np.ones((2, 2))),
    "share of one": (*NO_NUMBER, -0.1, 1.1),
    "clip": (*NO_NUMBER, 0, -0.2),
    "clip or none": (*(bad for bad in NO_NUMBER if bad is not None), 0, -0.2),
    "coefficient": (*NO_NUMBER, -0.1),
    "environment of a run": (None, 3, "CartPole", torch.nn.Linear(1, 1)),
    "policy of a run": (None, 3, CategoricalPolicy, torch.nn.Linear(4, 2), CategoricalPolicy(4, 2, members=2)),
    "value function of a run": (None, 3, ValueFunction, torch.nn.Linear(4, 1), ValueFunction(4, members=2)),
    "settings": (None, 3, {}, PPOConfig),
    "budget of steps": (*NOT_WHOLE, 0, -1, 31),
    "callback": (3, "print"),
    "processes or none": (2, "two", [0, 1]),
    "statistics or none": (3, "mean", {"mean": 0}),
    "file to write or none": (3, b"log", os.path.join(FOLDER.name, "missing", "run.pt")),
    "file to write": (*NO_FILE, os.path.join(FOLDER.name, "missing", "run.pt")),
    "file to read": UNREAD,
    "resume": (3, "", {}, {"steps": 3}, os.path.join(FOLDER.name, "missing"), CHECKPOINT),
    "checkpoint of a run": (None, 3, [], {}, {"steps": 3}),
    "nested values": (None, 3, [], "run"),
}

PAIR = {"rewards": ("rewards of a rollout", [1.0, 2.0]), "values": ("rewards of a rollout", [0.5, 0.5])}
ENDS = torch.tensor([False, True])
COLUMN = ("column of a minibatch", [0.1, 0.2])
ENV, CFG = CartPole(8, max_steps=20), PPOConfig(rollout_steps=4, minibatch=32, epochs=1)
POLICY, VALUE = CategoricalPolicy(4, 2, (4,)), ValueFunction(4, (4,))

CALLS = [
    Call(
        "rl.ppo.gae",
        {
            **PAIR,
            "next_values": ("rewards of a rollout", [0.5, 0.5]),
            "terminated": ("flags of a rollout", ENDS),
            "truncated": ("flags of a rollout", ~ENDS),
            "gamma": ("share of one", 0.9),
            "lam": ("share of one", 0.9),
        },
    ),
    Call(
        "rl.ppo.ppo_loss",
        {
            **dict.fromkeys(("logp", "logp_old", "adv", "value", "returns", "entropy"), COLUMN),
            "clip": ("clip", 0.2),
            "vf_coef": ("coefficient", 0.5),
            "ent_coef": ("coefficient", 0.0),
            "logp_anchor": ("column or none", [0.1, 0.1]),
            "value_old": ("column of a minibatch", [0.1, 0.1]),
            "value_clip": ("clip or none", 0.2),
        },
    ),
    Call(
        "rl.ppo.approx_kl",
        {"logp": ("log-probabilities", [-0.5, -1.0]), "logp_old": ("log-probabilities", [-0.5, -0.5])},
    ),
    Call(
        "rl.ppo.train_ppo",
        {
            "env": ("environment of a run", ENV),
            "policy": ("policy of a run", POLICY),
            "value_fn": ("value function of a run", VALUE),
            "cfg": ("settings", CFG),
            "total_steps": ("budget of steps", 32),
            "callback": ("callback", None),
            "checkpoint": ("file to write or none", None),
            "checkpoint_every": ("number", 1),
            "resume": ("resume", None),
            "progress": ("progress", None),
            "processes": ("processes or none", None),
        },
    ),
    Call(
        "rl.evaluation.evaluate",
        {
            "env": ("environment of a run", ENV),
            "policy": ("policy of a run", POLICY),
            "deterministic": ("flag", True),
            "max_steps": ("number or none", None),
            "statistics": ("statistics or none", None),
        },
    ),
    Call("rl.optimizer.ewma_decay", {"center_of_mass": ("coefficient", 8)}),
    Call("rl.training_log.read_log", {"path": ("file to read", LOG)}),
    Call(
        "rl.checkpoints.save_checkpoint",
        {"path": ("file to write", CHECKPOINT), "checkpoint": ("nested values", {"environment": None})},
    ),
    Call("rl.checkpoints.load_checkpoint", {"path": ("file to read", CHECKPOINT)}),
    Call("rl.checkpoints.without_environments", {"checkpoint": ("checkpoint of a run", {"environment": None})}),
]

BY_TRAINING = "called by train_ppo, which checks; refusals are tested in tests/rl/test_ppo_resume.py"
ELSEWHERE = {
    "rl.checkpoints.copied": BY_TRAINING,
    "rl.ppo.policy_loss": "what ppo_loss adds up after its checks",
    "rl.ppo.value_loss": "what ppo_loss adds up after its checks",
    "rl.distributed.join": "needs as many processes as it is told: tests/rl/test_ppo_distributed.py",
    "rl.distributed.leave": "takes no arguments",
}
