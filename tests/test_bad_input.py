"""Bad input of every public function: the message names the argument, says what came and what is allowed.

Each function stands here once with good arguments, and each argument with its kind. Every bad value of the kind is then
put in the argument's place.
"""

import importlib
import inspect
import math
import re
from dataclasses import dataclass

import numpy as np
import pytest
import torch

MODULES = (
    "claims",
    "claims_file",
    "competition",
    "competition_ensemble",
    "data",
    "device",
    "exercises",
    "figures",
    "glue",
    "hamiltonian",
    "leslie",
    "leslie_fit",
    "leslie_gower",
    "lotka_volterra",
    "projection",
    "results",
)

RAGGED = [[1.0], [1.0, 2.0]]
NO_NUMBERS = ("three", None, RAGGED, [True, False], True, np.array([True]), torch.tensor([True]), [1j], np.array([1j]))
NOT_FINITE = (math.nan, math.inf, [-math.inf])
NOT_WHOLE = (1.5, "3", None, True, math.nan, [1], torch.tensor(1))
NO_NUMBER = ("1", None, True, math.nan, math.inf, 1j, 10**400, [1.0], torch.tensor(1.0))
NO_TENSOR = ([[1.0]], "three", None, np.ones((1, 1)), torch.tensor(1.0))

# What each kind of argument refuses. Where a kind has a sign, the negative values stand there, too.
KINDS = {
    "reals": (*NO_NUMBERS, *NOT_FINITE),
    "positive": (*NO_NUMBERS, *NOT_FINITE, -1.0, 0.0, [1.0, -1.0]),
    "vector": (*NO_NUMBERS, *NOT_FINITE, [], 1.0, np.ones((2, 7))),
    "counts": (*NO_NUMBERS, *NOT_FINITE, [], 1.0, np.ones((2, 7)), [-1.0], [math.nan]),
    "row": (*NO_NUMBERS, *NOT_FINITE, 1.0, np.ones((2, 7))),
    "matrix": (*NO_NUMBERS, *NOT_FINITE, [], 1.0, np.ones(3), np.ones((2, 3)), [[math.nan]]),
    "rates": (*NO_NUMBERS, *NOT_FINITE, [], 1.0, np.ones(3), np.ones((2, 3)), [[-1.0]], [[math.nan]]),
    "tensor": (*NO_TENSOR, torch.ones(2, 3, 7, dtype=torch.int64)),
    "experiments": ("three", None, RAGGED, [], [[1.0]], torch.ones(3, 2, 26, dtype=torch.int64)),
    "present": ("three", None, RAGGED, [], [True], torch.ones(3, 2)),
    "table": (*NO_NUMBERS, math.nan, [], np.ones((3, 3, 26)), -np.ones((3, 2, 26)), np.full((3, 2, 26), math.inf)),
    "who": ("three", None, [], [True], np.ones((3, 2))),
    "steps": (*NOT_WHOLE, -1),
    "number": (*NOT_WHOLE, 0, -1),
    "number or none": (1.5, "3", True, math.nan, 0, -1),
    "seed": (*NOT_WHOLE, -1, 2**63),
    "real": NO_NUMBER,
    "above zero": (*NO_NUMBER, 0, -1.0),
    "flag": ("no", None, 1, 0.0, torch.tensor(True)),
    "generator": ("seed", 0, None, np.random.default_rng(0)),
    "generator or none": ("seed", 0, np.random.default_rng(0)),
    "floating": (torch.int64, torch.float16, "float64", None, True, 64),
    "device": ("gpu", 0, None, "", [1]),
    "device or none": ("gpu", 0, "", [1]),
    "progress": (3, "print"),
    "order": (0, 3, "2", None, True, [2], torch.tensor([1, 2]), np.array([1, 2])),
    "kind": ("prey", None, 1, ["competition"], np.array(["a", "b"])),
    "name": ("nothing", None, 3, True, ["gause_paramecium"]),
    "text": ("", "  ", None, 3),
    "glue name": ("", "two words", None, 3),
    "complex matrix": ("three", None, [], np.ones(3), torch.full((2, 2), math.nan), torch.ones(2, 2, dtype=torch.bool)),
    "slug": ("nothing", None, 3),
    "slug to write": ("", "../up", "a b", None, 3),
    "values": ({}, None, 3, {"a": math.nan}, {"a": "three"}, {"a": []}, {"a": [1.0, math.inf]}),
    "sentence": ("", " ", None, 3),
    "duration": (-1, math.nan, math.inf, None, "long", True),
    "seeds": (None, 3, [1.5], [True], ["0"]),
    "date": ("today", 20261122, "2026-13-01"),
    "id": ("", "A b", "ä", None, 3),
    "any text": (None, 3),
    "text or none": ("", " ", 3),
    "finite": ("1", None, True, math.nan, math.inf, [1.0]),
    "size": ("1", None, True, math.nan, math.inf, -1),
    "ranges": (None, 3, [(1,)], [(3, 2, "x")], [("a", "b", "x")], [(True, 2, "x")], [(math.nan, 3, "x")], [(2, 3, "")]),
    "options": ((), ("x",), ("x", "x"), ("x", ""), (1, 2), "xy", None),
    "option": ("z", None, 0),
    "hints": (None, 3, {}, {"z": "?"}, {"y": ""}, {1: "?"}, [("y", "?")]),
}


@dataclass(frozen=True)
class Call:
    """A function with good arguments: name -> (kind, value)."""

    function: str
    arguments: dict

    def __call__(self, **replaced):
        module, name = self.function.split(".", 1)
        function = importlib.import_module(f"lib.{module}")
        for part in name.split("."):
            function = getattr(function, part)
        return function(**{name: value for name, (_, value) in self.arguments.items()} | replaced)


ONE = [[1.0]]
FEW = [[0.1]]
T = torch.ones(1, 1, dtype=torch.float64)
BLOCKS = {"A": ("rates", ONE), "B": ("rates", FEW), "C": ("rates", ONE), "D": ("rates", FEW)}
PAIR = {"A": ("rates", ONE), "B": ("rates", FEW)}
START = {"x0": ("counts", [2.0]), "y0": ("counts", [1.0])}
AGES = {"ages_x": ("counts", [1.0]), "ages_y": ("counts", [1.0])}
COUNTS = torch.full((3, 2, 26), 5.0, dtype=torch.float64)
PRESENT = torch.ones(3, 2, dtype=torch.bool)
FIT = {
    "counts": ("experiments", COUNTS),
    "present": ("present", PRESENT),
    "m": ("number", 1),
    "founders": ("above zero", 2.0),
    "train_days": ("number", 21),
    "steps": ("number", 1),
    "learning_rate": ("above zero", 0.05),
    "seed": ("seed", 0),
    "restarts": ("number or none", None),
    "progress": ("progress", None),
}
MODEL = {
    "m": ("number", 1),
    "restarts": ("number or none", None),
    "generator": ("generator or none", None),
    "dtype": ("floating", torch.float64),
}
QUESTION = {"id": ("id", "first"), "question": ("text", "Which one?")}
CHOSEN = {**QUESTION, "options": ("options", ("x", "y")), "answer": ("option", "x")}
CALLS = [
    Call(
        "exercises.Number",
        {
            **QUESTION,
            "answer": ("finite", 1.0),
            "tolerance": ("size", 0.1),
            "unit": ("any text", ""),
            "hints": ("ranges", [(2, math.inf, "Less.")]),
            "otherwise": ("text", "No."),
            "right": ("text", "Yes."),
            "solution": ("text or none", None),
        },
    ),
    Call(
        "exercises.Pick",
        {**CHOSEN, "hints": ("hints", {"y": "No."}), "right": ("text", "Yes."), "solution": ("text or none", None)},
    ),
    Call("exercises.Bet", {**CHOSEN, "reveal": ("text", "It is x.")}),
    Call("projection.leslie_matrix", {"fecundity": ("vector", [0.0, 4.0]), "survival": ("vector", [0.5])}),
    Call("projection.block_matrix", {**BLOCKS, "kind": ("kind", "competition")}),
    Call(
        "projection.evolve",
        {
            "M": ("matrix", ONE),
            "z0": ("vector", [1.0]),
            "steps": ("steps", 2),
            "clip": ("flag", True),
            "species": ("number", 1),
        },
    ),
    Call(
        "projection.evolve_normalised",
        {
            "M": ("matrix", ONE),
            "z0": ("vector", [1.0]),
            "steps": ("steps", 2),
            "clip": ("flag", True),
            "species": ("number", 1),
        },
    ),
    Call("projection.growth_factor", {"L": ("matrix", ONE)}),
    Call("projection.eigenvalues", {"L": ("matrix", ONE)}),
    Call("projection.net_reproduction", {"L": ("rates", ONE)}),
    Call("projection.stable_age_distribution", {"L": ("rates", ONE)}),
    Call("projection.leading_projector", {"N": ("rates", ONE)}),
    Call("leslie.evolve_complex", {**PAIR, "x0": ("vector", [1.0]), "y0": ("vector", [1.0]), "steps": ("steps", 2)}),
    Call("leslie.binomial_form", {**PAIR, "x0": ("vector", [1.0]), "y0": ("vector", [1.0]), "steps": ("steps", 2)}),
    Call("leslie.perturbed_growth", {**PAIR, "order": ("order", 2)}),
    Call("leslie.rotation_angle", PAIR),
    Call("leslie.extinction_step", {**PAIR, **START}),
    Call("competition.mirror_matrix", BLOCKS),
    Call("competition.standing_margin", {**BLOCKS, **START}),
    Call("competition.last_species_standing", {**BLOCKS, **START}),
    Call("competition.tie_ratio", {**BLOCKS, **AGES}),
    Call(
        "competition.winner_map",
        {
            **BLOCKS,
            "x_totals": ("row", [1.0, 2.0]),
            "y_totals": ("row", [1.0]),
            **AGES,
            "steps": ("number", 3),
            "clip": ("flag", False),
        },
    ),
    Call(
        "competition_ensemble.random_competition",
        {
            "systems": ("number", 1),
            "classes": ("number", 1),
            "generator": ("generator", torch.Generator()),
            "dtype": ("floating", torch.float64),
        },
    ),
    Call(
        "competition_ensemble.march",
        {
            "M": ("matrix", [ONE]),
            "z0": ("vector", [[1.0]]),
            "steps": ("steps", 2),
            "clip": ("flag", False),
            "chunk": ("number or none", None),
            "progress": ("progress", None),
        },
    ),
    Call(
        "competition_ensemble.standing_ensemble",
        {
            "systems": ("number", 2),
            "classes": ("number", 1),
            "steps": ("number", 3),
            "seed": ("seed", 0),
            "device": ("device", "cpu"),
            "dtype": ("floating", torch.float32),
            "chunk": ("number or none", None),
            "bins": ("number", 2),
            "progress": ("progress", None),
        },
    ),
    Call(
        "leslie_gower.beverton_holt",
        {
            "fecundity": ("positive", 2.0),
            "crowding": ("positive", 0.1),
            "founders": ("positive", 2.0),
            "steps": ("reals", 3),
        },
    ),
    Call(
        "leslie_gower.leslie_gower_totals",
        {
            "fecundity": ("tensor", T),
            "survival": ("tensor", T[:, :0]),
            "crowding": ("tensor", T),
            "start": ("tensor", T[None]),
            "steps": ("steps", 2),
        },
    ),
    Call(
        "leslie_gower.linear_competition_totals",
        {
            "fecundity": ("tensor", T.expand(2, 1)),
            "survival": ("tensor", T.expand(2, 1)[:, :0]),
            "harm": ("tensor", T.expand(2, 1, 1)),
            "start": ("tensor", T.expand(1, 2, 1)),
            "steps": ("steps", 2),
        },
    ),
    Call("leslie_gower.LeslieGower", {**MODEL, "species": ("number", 2)}),
    Call("leslie_gower.LinearCompetition", MODEL),
    Call("leslie_fit.fit_leslie_gower", FIT),
    Call("leslie_fit.fit_linear_competition", FIT),
    Call(
        "leslie_fit.log_rmse",
        {"totals": ("tensor", COUNTS), "counts": ("tensor", COUNTS), "used": ("tensor", COUNTS > 0)},
    ),
    Call(
        "lotka_volterra.logistic",
        {
            "growth_rate": ("real", 0.5),
            "capacity": ("above zero", 9.0),
            "founders": ("above zero", 2.0),
            "days": ("reals", [0.0]),
        },
    ),
    Call(
        "lotka_volterra.fit_logistic",
        {"counts": ("table", [2.0, 4.0, 6.0, 7.0]), "founders": ("above zero", 2.0)},
    ),
    Call(
        "lotka_volterra.lotka_volterra",
        {
            "growth_rate": ("vector", [0.5]),
            "capacity": ("counts", [9.0]),
            "competition": ("rates", [[1.0]]),
            "initial": ("counts", [2.0]),
            "days": ("row", [0.0, 1.0]),
        },
    ),
    Call(
        "lotka_volterra.fit_lotka_volterra",
        {
            "counts": ("table", COUNTS.numpy()),
            "present": ("who", PRESENT.numpy()),
            "founders": ("above zero", 2.0),
            "train_days": ("number", 21),
        },
    ),
    Call("hamiltonian.hamiltonian", {"L": ("matrix", ONE)}),
    Call(
        "hamiltonian.two_class_hamiltonian",
        {"fecundity": ("counts", [1.0, 2.0]), "survival": ("counts", [0.5])},
    ),
    Call(
        "hamiltonian.fractional_steps",
        {
            "fecundity": ("counts", [1.0, 2.0]),
            "survival": ("counts", [0.5]),
            "x0": ("vector", [1.0, 1.0]),
            "times": ("row", [1.0]),
        },
    ),
    Call("hamiltonian.hermitian_parts", {"H": ("complex matrix", torch.eye(2))}),
    Call("hamiltonian.occupations", {"cutoff": ("number", 2)}),
    Call("hamiltonian.fock_lift", {"H": ("complex matrix", torch.eye(2)), "cutoff": ("number", 2)}),
    Call("data.dataset", {"name": ("name", "gause_paramecium")}),
    Call("data.verify", {"name": ("name", "gause_paramecium")}),
    Call("data.load", {"name": ("name", "gause_paramecium")}),
    Call("device.dtype", {"where": ("device or none", None)}),
    Call("device.generator", {"seed": ("seed", 0), "where": ("device or none", "cpu")}),
    Call("device.scale", {"where": ("device or none", None)}),
    Call("figures.figure", {"title": ("text", "Growth"), "x": ("text", "day"), "y": ("text", "individuals")}),
    Call("glue.glue", {"name": ("glue name", "growth"), "value": ("anything", 1.0)}),
    Call("glue.show", {"name": ("glue name", "growth")}),
    Call("glue.text", {"markdown": ("markdown", "It grows.")}),
    Call("claims.load", {"slug": ("slug", "leslie")}),
    Call("claims.table", {"slug": ("slug", "leslie")}),
    Call("claims_file.load", {"slug": ("slug", "leslie")}),
    Call(
        "results.write",
        {
            "slug": ("slug to write", "demo"),
            "run": ("slug to write", "run"),
            "values": ("values", {"share": 0.5}),
            "device": ("sentence", "CPU"),
            "command": ("sentence", "make"),
            "seconds": ("duration", 1.0),
            "seeds": ("seeds", [0]),
            "commit": ("sentence or none", "3f2a9c1"),
            "date": ("date", None),
        },
    ),
]
KINDS |= {
    "anything": (),
    "markdown": (None, 3),
    "sentence or none": ("", " ", 3),
}

# Tested where they live, with the files or environments they read; or nothing can be wrong about their arguments.
ELSEWHERE = {
    "claims.agreement": "tests/test_claims.py",
    "claims.check": "tests/test_claims.py",
    "claims.judge": "tests/test_claims.py",
    "claims.measured_elsewhere": "tests/test_claims.py",
    "results.measured_elsewhere": "tests/test_claims.py",
    "results.shipped": "a path that need not exist",
    "device.device": "tests/test_device.py",
    "exercises.judge": "takes whatever a reader gives: tests/live/test_exercises.py",
    "leslie_fit.gause_paramecium": "no argument",
    **{
        f"figures.{role}": "free text and Plotly's own settings"
        for role in ["model", "observed", "paper", "rival", "theory"]
    },
}


def public_functions():
    """Functions, models and questions that the modules define themselves, as ``module.name``."""
    for module in MODULES:
        contents = importlib.import_module(f"lib.{module}")
        for name in contents.__all__:
            value = getattr(contents, name)
            model = inspect.isclass(value) and (issubclass(value, torch.nn.Module) or hasattr(value, "check"))
            if (inspect.isfunction(value) or model) and value.__module__ == contents.__name__:
                yield f"{module}.{name}"


@pytest.mark.parametrize("function", public_functions())
def test_every_public_function_stands_in_the_table(function):
    assert function in {call.function for call in CALLS} | set(ELSEWHERE)


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.function)
def test_the_message_names_the_argument(call, tmp_path, monkeypatch):
    if call.function == "results.write":
        monkeypatch.setenv("LIVING_MODELS_ROOT", str(tmp_path))
    if call.function == "glue.show":
        monkeypatch.setattr("IPython.display.display", lambda value: None)
        importlib.import_module("lib.glue").glue("growth", 1.0)
    call()  # the arguments of the table are good
    written = {path: path.read_bytes() for path in tmp_path.rglob("*.json")}
    silent, unclear = [], []
    for name, (kind, _) in call.arguments.items():
        for bad in KINDS[kind]:
            try:
                call(**{name: bad})
            except ValueError as error:
                if not re.search(rf"\b{name}\b", str(error)):
                    unclear.append(f"{name} = {bad!r}: {error}")
            except Exception as error:
                unclear.append(f"{name} = {bad!r}: {type(error).__name__} {error}")
            else:
                silent.append(f"{name} = {bad!r}")
    assert silent == []
    assert unclear == []
    assert written == {path: path.read_bytes() for path in tmp_path.rglob("*.json")}
