"""Modules of compiled loops, and what is said where they cannot be had."""

import importlib

import pytest

from lib import _compiled
from tests.absent import without_numba

LOOPS = "lib._markov_numba"


def test_the_module_itself():
    assert _compiled.loops(LOOPS, "chains") is importlib.import_module(LOOPS)


def test_a_missing_numba_is_said_once(monkeypatch):
    with without_numba(monkeypatch, LOOPS):
        with pytest.warns(RuntimeWarning, match=r"cannot be used .*: many chains run in plain torch.*pip install"):
            assert _compiled.loops(LOOPS, "many chains") is None
        assert _compiled.loops(LOOPS, "many chains") is None  # a second warning would be an error
    assert _compiled.loops(LOOPS, "many chains") is not None
