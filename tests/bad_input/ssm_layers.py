"""Good arguments of the blocks of state-space models, language models made of them, and counters."""

import math
from functools import partial

import numpy as np
import torch

from lib.ssm.language_model import LanguageModel
from lib.ssm.mamba3 import Mamba3Block
from lib.ssm.state_tracking import parity_model
from tests.bad_input.kinds import KINDS, NO_NUMBER, NO_NUMBERS, NOT_FINITE, NOT_WHOLE, Call

MODULES = (
    "ssm.counters",
    "ssm.language_model",
    "ssm.language_training",
    "ssm.layers",
    "ssm.mamba1",
    "ssm.mamba2",
    "ssm.mamba3",
    "ssm.state_tracking",
)

BITS = torch.tensor([[0, 1, 1, 0]])
NO_TOKENS = (None, "three", [0, 1], 1, np.array([[0, 1]]), torch.tensor(1), torch.ones(1, 4), torch.tensor([[True]]))

KINDS |= {
    "head width": (*NOT_WHOLE, 0, -1, 3, 16),
    "turning state": (*NOT_WHOLE, 0, -1, 3),
    "zero or more": (*NOT_WHOLE, -1),
    "zero or more, or none": (1.5, "3", True, math.nan, -1),
    "share of pairs": (*NO_NUMBER, 0, -0.5, 1.5, 0.01),
    "base or none": ("1", True, math.nan, math.inf, [10.0], 1.0, 0.5, -3.0),
    "range of steps": (None, 3, "ab", [0.1], (0.1, 0.2, 0.3), (0.0, 0.1), (0.2, 0.1), (0.1, math.inf), ("a", "b")),
    "scan backend": ("cuda", None, 1, True, ["torch"]),
    "linear map or none": (3, "map", torch.nn.functional.silu, torch.nn.Linear(3, 4), torch.nn.Linear(8, 3)),
    "maker of blocks": (None, 3, "mamba3"),
    "any model": (None, 3, "model", torch.nn.functional.silu),
    "language model": (None, 3, "model", torch.nn.Linear(2, 2)),
    "model that turns": (None, 3, torch.nn.Linear(2, 2), parity_model("no rotation")),
    "logits": (*NO_NUMBERS, *NOT_FINITE, 1.0, [], np.ones((2, 0))),
    "temperature": (*NO_NUMBER, -0.1),
    "variant": ("none", None, 1, True, ["rotation"]),
    "bits": (*NO_TOKENS, torch.tensor([[0, 2]]), torch.tensor([-1]), torch.zeros(0, dtype=torch.int64)),
    "digits": (*NO_TOKENS, torch.tensor([[0, 5]]), torch.tensor([-1]), torch.zeros(0, dtype=torch.int64)),
    "modulus": (*NOT_WHOLE, 1, 0, -2),
    "one angle": (*NO_NUMBERS, *NOT_FINITE, [0.5], [0.5, 0.6]),
    "one angle or none": ("three", [1j], math.nan, math.inf, [0.5], True),
    "one rate of decay": (*NO_NUMBERS, *NOT_FINITE, [0.5], -0.1),
    "row of angles": (*NO_NUMBERS, *NOT_FINITE, [], 1.0, np.ones((2, 0))),
    "accuracy": (*NO_NUMBERS, *NOT_FINITE, -0.1, 1.1, [0.5, 2.0]),
    "few steps": (*NOT_WHOLE, 1, 0, -1),
    "longest": (*NOT_WHOLE, 2, 0),
    "tokens of a text": (*NO_TOKENS, BITS, torch.tensor([0, 1]), torch.tensor([0, 1, 1, 9]), torch.tensor([0, 1, -1])),
    "some text": ("", None, 3, ["a"]),
    "share of decay": (*NO_NUMBER, -0.1),
}

OPTIONS = {"generator": ("generator or none", None), "dtype": ("floating", torch.float32)}
BLOCK = {"d_model": ("number", 4), "expand": ("number", 2), "dt_range": ("range of steps", (0.01, 0.1)), **OPTIONS}
HEADS = {
    **BLOCK,
    "head_dim": ("head width", 4),
    "chunk_length": ("number", 4),
    "backend": ("scan backend", "auto"),
}
MODEL = LanguageModel(3, 4, 1, block=partial(Mamba3Block, d_state=4, head_dim=4), mlp_width=0)
TEXT = torch.tensor([0, 1, 2, 1, 0, 1])

CALLS = [
    Call(
        "ssm.mamba1.Mamba1Block",
        {
            **BLOCK,
            "d_state": ("number", 4),
            "conv_width": ("zero or more", 4),
            "dt_rank": ("number or none", None),
            "input_map": ("linear map or none", None),
            "output_map": ("linear map or none", None),
        },
    ),
    Call(
        "ssm.mamba2.Mamba2Block",
        {**HEADS, "d_state": ("number", 4), "conv_width": ("zero or more", 4), "norm": ("flag", True)},
    ),
    Call(
        "ssm.mamba3.Mamba3Block",
        {
            **HEADS,
            "d_state": ("turning state", 4),
            "mimo_rank": ("number", 2),
            "rotate_fraction": ("share of pairs", 0.5),
            "trapezoidal": ("flag", True),
            "rotary": ("flag", True),
            "rope_base": ("base or none", None),
        },
    ),
    Call("ssm.language_model.SwiGLU", {"d_model": ("number", 4), "width": ("number", 8), **OPTIONS}),
    Call(
        "ssm.language_model.LanguageModel",
        {
            "vocabulary": ("number", 3),
            "d_model": ("number", 64),
            "layers": ("number", 1),
            "block": ("maker of blocks", Mamba3Block),
            "mlp_width": ("zero or more, or none", None),
            **OPTIONS,
        },
    ),
    Call(
        "ssm.language_model.sample_tokens",
        {
            "logits": ("logits", [[0.0, 1.0, 2.0]]),
            "temperature": ("temperature", 1.0),
            "top_k": ("number or none", 2),
            "generator": ("generator", torch.Generator()),
        },
    ),
    Call(
        "ssm.language_model.parameter_groups",
        {"model": ("any model", torch.nn.Linear(2, 2)), "weight_decay": ("share of decay", 0.1)},
    ),
    Call("ssm.language_training.encode_characters", {"text": ("some text", "abba")}),
    Call(
        "ssm.language_training.train_language_model",
        {
            "model": ("language model", MODEL),
            "tokens": ("tokens of a text", TEXT),
            "generator": ("generator", torch.Generator()),
            "steps": ("few steps", 2),
            "batch_size": ("number", 2),
            "length": ("number", 3),
            "learning_rate": ("above zero", 0.01),
            "weight_decay": ("share of decay", 0.1),
            "progress": ("progress", None),
        },
    ),
    Call(
        "ssm.language_training.bits_per_token",
        {
            "model": ("language model", MODEL),
            "tokens": ("tokens of a text", TEXT),
            "length": ("number", 3),
            "batch_size": ("number", 2),
        },
    ),
    Call(
        "ssm.counters.random_digits",
        {
            "batch": ("number", 2),
            "length": ("number", 3),
            "modulus": ("modulus", 2),
            "generator": ("generator", torch.Generator()),
        },
    ),
    Call("ssm.counters.modular_sums", {"digits": ("digits", BITS), "modulus": ("modulus", 5)}),
    Call("ssm.counters.counter_state", {"turn": ("row of angles", [0.5]), "decay": ("one rate of decay", 0.0)}),
    Call(
        "ssm.counters.parity_counter",
        {"bits": ("bits", BITS), "angle": ("one angle", math.pi), "decay": ("one rate of decay", 0.0)},
    ),
    Call(
        "ssm.counters.modular_counter",
        {
            "digits": ("digits", BITS),
            "modulus": ("modulus", 5),
            "angle": ("one angle or none", None),
            "decay": ("one rate of decay", 0.0),
        },
    ),
    Call(
        "ssm.state_tracking.parity_model",
        {"variant": ("variant", "rotation"), "generator": ("generator or none", None)},
    ),
    Call(
        "ssm.state_tracking.train_parity",
        {
            "variant": ("variant", "rotation"),
            "seed": ("seed", 0),
            "steps": ("few steps", 2),
            "batch_size": ("number", 2),
            "max_length": ("longest", 3),
            "learning_rate": ("above zero", 0.01),
            "progress": ("progress", None),
        },
    ),
    Call(
        "ssm.state_tracking.accuracy_by_position",
        {
            "model": ("any model", parity_model("rotation")),
            "length": ("number", 3),
            "sequences": ("number", 2),
            "generator": ("generator", torch.Generator()),
        },
    ),
    Call("ssm.state_tracking.scaled_accuracy", {"accuracy": ("accuracy", [0.5]), "classes": ("modulus", 2)}),
    Call("ssm.state_tracking.learned_turns", {"model": ("model that turns", parity_model("rotation"))}),
]

ELSEWHERE = {"ssm.language_training.help_text": "takes no argument"}
