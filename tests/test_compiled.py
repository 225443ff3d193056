"""Modules of compiled loops, and what is said where they cannot be had."""

import ast
import importlib
from pathlib import Path

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


@pytest.mark.parametrize(
    "path", sorted(Path(_compiled.__file__).parent.rglob("_*_numba.py")), ids=lambda path: path.stem
)
def test_compiled_loops_call_none_of_another_file(path):
    """A cached function is compiled anew when its own file changes: it would keep the old code of others."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imported = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    imported += [name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names]
    assert not [name for name in imported if name.split(".")[0] == "lib"]
