"""Compiled loops, where numba is installed."""

from __future__ import annotations

import importlib
import warnings
from functools import lru_cache
from types import ModuleType

__all__ = ["loops"]


@lru_cache
def loops(module: str, what: str) -> ModuleType | None:
    """Module of compiled loops, or None and one warning where numba is missing.

    Parameters
    ----------
    module : str
        Full name, such as "lib._lattice_numba".
    what : str
        What runs in plain torch without it, such as "lattices".
    """
    try:
        return importlib.import_module(module)
    except ImportError as problem:
        warnings.warn(
            f"numba cannot be used ({problem}): {what} run in plain torch, several times slower; pip install numba",
            RuntimeWarning,
            stacklevel=3,
        )
        return None
