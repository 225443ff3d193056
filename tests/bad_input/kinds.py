"""What each kind of argument refuses, and a function with good arguments."""

from __future__ import annotations

import importlib
import importlib.util
import math
from dataclasses import dataclass

import numpy as np
import torch

__all__ = ["KINDS", "Call", "Kinds"]

RAGGED = [[1.0], [1.0, 2.0]]
NO_NUMBERS = ("three", None, RAGGED, [True, False], True, np.array([True]), torch.tensor([True]), [1j], np.array([1j]))
NOT_FINITE = (math.nan, math.inf, [-math.inf])
NOT_WHOLE = (1.5, "3", None, True, math.nan, [1], torch.tensor(1))
NO_NUMBER = ("1", None, True, math.nan, math.inf, 1j, 10**400, [1.0], torch.tensor(1.0))
NO_TENSOR = ([[1.0]], "three", None, np.ones((1, 1)), torch.tensor(1.0))


class Kinds(dict):
    """Names of kinds and what they refuse; tables add theirs with ``KINDS |= {...}``, each name once."""

    def __ior__(self, more):
        twice = sorted(self.keys() & more.keys())
        if twice:
            raise ValueError(f"kinds must have names of their own, got {', '.join(twice)} a second time")
        self.update(more)
        return self


KINDS = Kinds()

# What each kind of argument refuses. Where a kind has a sign, the negative values stand there, too.
KINDS |= {
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
    "anything": (),
    "markdown": (None, 3),
    "sentence or none": ("", " ", 3),
    "hints": (None, 3, {}, {"z": "?"}, {"y": ""}, {1: "?"}, [("y", "?")]),
}


@dataclass(frozen=True)
class Call:
    """A function with good arguments: name -> (kind, value)."""

    function: str
    arguments: dict

    def __call__(self, **replaced):
        parts = self.function.split(".")
        depth = 2 if importlib.util.find_spec(f"lib.{parts[0]}").submodule_search_locations else 1
        function = importlib.import_module(".".join(["lib", *parts[:depth]]))
        for part in parts[depth:]:
            function = getattr(function, part)
        return function(**{name: value for name, (_, value) in self.arguments.items()} | replaced)
