"""Packages that are not there."""

import contextlib
import sys

from lib import _compiled

__all__ = ["without_numba"]


@contextlib.contextmanager
def without_numba(monkeypatch, loops):
    """A block in which numba cannot be imported, nor the module of compiled loops that was imported before."""
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "numba", None)
        patch.delitem(sys.modules, loops, raising=False)
        patch.delattr(loops, raising=False)
        _compiled.loops.cache_clear()
        yield
    _compiled.loops.cache_clear()
