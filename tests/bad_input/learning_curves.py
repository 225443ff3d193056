"""Good arguments of the functions that measure learning curves, and of the language models they are measured with."""

import math

import numpy as np
import torch

from lib.char_transformer import CharTransformer
from tests.bad_input.kinds import KINDS, NO_NUMBERS, NOT_FINITE, NOT_WHOLE, Call

MODULES = (
    "char_scaling",
    "char_transformer",
    "learning_curves",
    "measured_curves",
    "ngrams",
    "ridge_curves",
    "series_regression",
    "source_text",
)

BAD = (*NO_NUMBERS, *NOT_FINITE)
NO_SYMBOLS = ("three", None, [[1], [1, 2]], [1.0], [True], [1j], [], 1, [-1], [96])
KINDS |= {
    "smoothness": (*BAD, 0.0, -0.5, [0.5, 0.0]),
    "deviation of the noise": (*BAD, -0.5, [1.0, -1.0]),
    "examples": (*BAD, 0, -1.0, [4.0, 0.0]),
    "kept": (*BAD, -1.0, 0.5, 11, [1.0, 11.0]),
    "terms or none": (1.5, "3", True, math.nan, [2], 0, -1),
    "decay": (*BAD, 1.0, -2.0, [1.5, 1.0]),
    "variances": (*BAD, 1.0, [], [1.0, 0.0], [1.0, -1.0]),
    "variances of one spectrum": (*BAD, 1.0, [], [1.0, 0.0, 1.0], [1.0, -1.0, 1.0], np.ones((2, 3))),
    "squared weights": (*BAD, 1.0, [], [1.0, 1.0], [1.0, -1.0, 1.0]),
    "fewer than three": (*BAD, 0.0, -1.0, 3.0, [1.0, 4.0]),
    "one or two": (*NOT_WHOLE, 0, -1, 3),
    "ridge": (*BAD, -0.1, [0.0, -1.0]),
    "ridge of one fit": ("1", None, True, math.nan, math.inf, [1.0], -0.1),
    "shard sizes": (3, None, "20", [], [20, 20], [40, 20], [20.0], [True], [0], [-20]),
    "digit shards": (3, None, "20", [], [20, 20], [40, 20], [20.0], [True], [19], [1298]),
    "classifier": ("forest", None, 1, ["nearest"]),
    "sizes of models": (*BAD, [], 1.0, [0.0, 1.0], [1.0, -1.0], [1.0], np.ones((2, 2))),
    "errors of sizes": (*BAD, [], 1.0, [0.5], [0.5, 0.0], [0.5, -1.0]),
    "largest shard": (*NOT_WHOLE, 0, 9),
    "order of n-grams": (*NOT_WHOLE, -1, 9),
    "alphabet": (*NOT_WHOLE, 1, 0, -1, 2**40),
    "symbols of a text": NO_SYMBOLS,
    "row of symbols": (*NO_SYMBOLS, [[1, 2], [3, 4]]),
    "text to train on": (*NO_SYMBOLS, [1, 2, 3]),
    "characters or none": (1.5, "3", True, math.nan, 0, -1),
    "text to encode": ("", None, 3, ["a"]),
    "width of a model": (*NOT_WHOLE, 0, -4, 18),
    "seeds of models": (3, None, "01", [], [1.5], [True], [-1], [2**63]),
    "characters to predict": (*NOT_WHOLE, 0, 15, 10_000),
    "learning rate or none": ("1", True, math.nan, math.inf, 1j, [1.0], 0, -1.0),
    "character model": (None, 3, "model", torch.nn.Linear(2, 2)),
    "compute": ("1", None, True, math.nan, math.inf, [1.0], 0, -1.0, 1.0, 1e20),
}

TEXT = torch.arange(400) % 96
SERIES = {
    "s": ("smoothness", 0.5),
    "sigma": ("deviation of the noise", 1.0),
    "m": ("examples", 100.0),
}
SPECTRUM = {"a": ("decay", 1.5), "b": ("decay", 2.0)}
RIDGE = {"n": ("fewer than three", 2.0), "ridge": ("ridge", 0.0)}
GENERATOR = {"generator": ("generator", torch.Generator())}
LAYERS = {"width": ("width of a model", 8), "depth": ("number", 1)}
SHAPE = {**LAYERS, "context": ("number", 4), "seeds": ("seeds of models", [0])}
CALLS = [
    Call("series_regression.series_exponents", {"s": ("smoothness", 0.5)}),
    Call("series_regression.series_risk", {**SERIES, "terms": ("terms or none", 10)}),
    Call("series_regression.truncation_risk", {"p": ("kept", 3), **SERIES, "terms": ("terms or none", 10)}),
    Call(
        "series_regression.simulate_series",
        {**SERIES, **GENERATOR, "repeats": ("number", 2), "terms": ("number", 10)},
    ),
    Call("ridge_curves.power_law_spectrum", {**SPECTRUM, "modes": ("number", 3)}),
    Call("ridge_curves.ridge_exponent", SPECTRUM),
    Call("ridge_curves.ridge_resolution", {"lam": ("variances", [1.0, 0.5, 0.2]), **RIDGE}),
    Call(
        "ridge_curves.ridge_learning_curve",
        {
            "lam": ("variances", [1.0, 0.5, 0.2]),
            "w2": ("squared weights", [1.0, 1.0, 0.0]),
            **RIDGE,
            "noise": ("ridge", 0.1),
        },
    ),
    Call(
        "ridge_curves.simulate_ridge",
        {
            "lam": ("variances of one spectrum", [1.0, 0.5, 0.2]),
            "w2": ("squared weights", [1.0, 1.0, 0.0]),
            "n": ("one or two", 2),
            "ridge": ("ridge of one fit", 0.0),
            "noise": ("ridge of one fit", 0.1),
            "repeats": ("number", 2),
            **GENERATOR,
        },
    ),
    Call(
        "measured_curves.nearest_neighbour_curve",
        {
            "dimension": ("number", 2),
            "sizes": ("shard sizes", [20, 40]),
            **GENERATOR,
            "tests": ("number", 5),
        },
    ),
    Call(
        "measured_curves.digits_curve",
        {
            "classifier": ("classifier", "nearest"),
            "sizes": ("digit shards", [20]),
            "splits": ("number", 1),
            "seed": ("seed", 0),
        },
    ),
    Call("learning_curves.shards", {"m_min": ("number", 10), "m_max": ("largest shard", 20)}),
    Call(
        "learning_curves.lower_envelope",
        {"sizes": ("sizes of models", [1.0, 2.0]), "err": ("errors of sizes", [0.5, 0.4])},
    ),
    Call("ngrams.WittenBellLM", {"order": ("order of n-grams", 3), "symbols": ("alphabet", 96)}),
    Call("source_text.stdlib_text", {"limit": ("characters or none", 10)}),
    Call("source_text.encode", {"text": ("text to encode", "abc")}),
    Call("source_text.decode", {"ids": ("row of symbols", [1, 2])}),
    Call(
        "source_text.block_split",
        {
            "ids": ("row of symbols", TEXT),
            "seed": ("seed", 0),
            "length": ("number", 8),
            "validation": ("number", 2),
            "shuffle": ("flag", True),
        },
    ),
    Call("char_transformer.non_embedding_parameters", LAYERS),
    Call("char_transformer.training_flops", {"parameters": ("above zero", 2.0), "tokens": ("above zero", 3.0)}),
    Call("char_transformer.CharTransformer", {**SHAPE, "symbols": ("at least two", 96)}),
    Call(
        "char_transformer.train",
        {
            "ids": ("text to train on", TEXT),
            "tokens": ("characters to predict", 32),
            **SHAPE,
            "batch": ("number", 4),
            "learning_rate": ("learning rate or none", None),
            "where": ("device", "cpu"),
            "progress": ("progress", None),
        },
    ),
    Call(
        "char_transformer.validation_loss",
        {
            "model": ("character model", CharTransformer(8, 1, 4)),
            "ids": ("text to train on", TEXT),
            "batch": ("number", 8),
        },
    ),
    Call(
        "char_scaling.char_model",
        {
            **LAYERS,
            "budget": ("compute", 6 * 768 * 64),
            "seed": ("seed", 0),
            "context": ("number", 8),
            "batch": ("number", 8),
        },
    ),
]

ELSEWHERE = {"char_scaling.source_split": "takes no arguments"}
