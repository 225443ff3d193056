"""Is a live figure being recorded right now?

While :mod:`lib.live` records a figure, slider values are tensors whose value must not be asked for from Python. Checks
of values ask :func:`active` first and stand aside; the ranges of the sliders guarantee validity instead. The module
imports nothing heavy, so that the whole library can depend on it.
"""

from contextlib import contextmanager

__all__ = ["active", "recording"]

_depth = 0


def active() -> bool:
    """Tell whether a live figure is being recorded.

    Examples
    --------
    >>> active()
    False
    >>> with recording():
    ...     active()
    True
    """
    return _depth > 0


@contextmanager
def recording():
    """Mark a block during which slider-dependent tensors must not be looked at; blocks may be nested."""
    global _depth
    _depth += 1
    try:
        yield
    finally:
        _depth -= 1
