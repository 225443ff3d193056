"""Theorems, exercises, figures and formulas are counted on each page alone.

Sphinx counts them through the whole book, so that a new chapter would renumber every later one. With a count per page,
"Theorem 1" of a chapter stays Theorem 1, on the page as in the generated notebook (`lib.site.lower`).
"""

from __future__ import annotations

import copy

__all__ = ["number_pages", "setup"]


def number_pages(fignumbers):
    """Count each kind from 1 on every page.

    Parameters
    ----------
    fignumbers : dict
        Sphinx's ``env.toc_fignumbers``: page -> kind -> anchor -> number. Changed in place.

    Returns
    -------
    dict
        The same object.

    Examples
    --------
    >>> number_pages({"b": {"theorem": {"t2": (7,), "t3": (9,)}}})
    {'b': {'theorem': {'t2': (1,), 't3': (2,)}}}
    """
    for kinds in fignumbers.values():
        for numbers in kinds.values():
            for count, anchor in enumerate(sorted(numbers, key=numbers.get), start=1):
                numbers[anchor] = (count,)
    return fignumbers


def _before_sphinx(app, env):
    # Sphinx writes a page again when its numbers differ from the last build's: let it compare its own with its own.
    env.toc_fignumbers = getattr(env, "book_fignumbers", env.toc_fignumbers)
    return []


def _after_sphinx(app, env):
    env.book_fignumbers = copy.deepcopy(env.toc_fignumbers)
    number_pages(env.toc_fignumbers)
    return []


def setup(app):
    """Connect before and after Sphinx's own numbering (priority 500)."""
    app.connect("env-get-updated", _before_sphinx, priority=100)
    app.connect("env-get-updated", _after_sphinx, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
