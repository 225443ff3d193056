"""Chapters are executed side by side, one per core, before Sphinx reads their pages one after the other.

What is found then in the execution cache is exactly what reading would have put there: the same reader, the same
settings, the same client. A chapter that fails puts nothing there, so that reading it runs it again and reports its
error as ever.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from sphinx.util import logging as sphinx_logging

__all__ = ["execute", "setup", "waiting"]

LOGGER = sphinx_logging.getLogger(__name__)

SILENT = logging.LoggerAdapter(logging.Logger("silent", level=logging.CRITICAL), {})
"""What the client has to say is said again when the page is read."""


def _read(path, md_config, nb_config):
    """The notebook of a page and its reader, or None for a page without code."""
    from myst_nb.core.read import create_nb_reader

    text = Path(path).read_text(encoding="utf-8-sig")
    reader = create_nb_reader(str(path), md_config, nb_config, text)
    return None if reader is None else (reader.read(text), reader)


def waiting(paths, md_config, nb_config) -> list[Path]:
    """Pages that hold code whose outputs are not in the execution cache.

    Parameters
    ----------
    paths : iterable of path
        Source files.
    md_config, nb_config
        Settings of myst-parser and myst-nb, as Sphinx's environment holds them.

    Returns
    -------
    list of Path
        In the order given; of pages with the same code the first. Pages with settings of their own are left out.
    """
    from jupyter_cache import get_cache

    cache = get_cache(nb_config.execution_cache_path)
    found = {}
    for path in paths:
        page = _read(path, md_config, nb_config)
        if page is None or nb_config.metadata_key in page[0].metadata:  # the latter have settings of their own
            continue
        _, key = cache.create_hashed_notebook(page[0])
        try:
            cache.match_cache_notebook(page[0])
        except KeyError:
            found.setdefault(key, Path(path))
    cache.db.dispose()  # no connection is shared with the processes to come
    return list(found.values())


def _execute_one(path, md_config, nb_config) -> float | str:
    """Execute a page into the cache; the seconds it took, or the kind of error that stopped it."""
    from myst_nb.core.execute import create_client

    notebook, reader = _read(path, md_config, nb_config)
    try:
        with create_client(notebook, str(path), nb_config, SILENT, reader.read_fmt) as client:
            return client.exec_metadata["runtime"]
    except Exception as problem:  # of whatever kind: reading the page runs into it again, and says where it stands
        return type(problem).__name__


def execute(paths, md_config, nb_config, at_once: int) -> dict[Path, float | str]:
    """Execute pages into the execution cache, several at once.

    Parameters
    ----------
    paths : list of path
        Source files, as from :func:`waiting`.
    md_config, nb_config
        Settings of myst-parser and myst-nb.
    at_once : int
        Number of processes.

    Returns
    -------
    dict of Path to float or str
        Seconds each page took, or the kind of error that stopped it.
    """
    took = {}
    # Forked, as Sphinx's own parallel reading is: the processes know all that the build has set up.
    with ProcessPoolExecutor(at_once, mp_context=multiprocessing.get_context("fork")) as pool:
        running = {pool.submit(_execute_one, path, md_config, nb_config): Path(path) for path in paths}
        for future in as_completed(running):
            path = running[future]
            took[path] = future.result()
            end = f"failed ({took[path]})" if isinstance(took[path], str) else f"{took[path]:.0f} s"
            LOGGER.info(f"executed ahead: {path.stem}, {end} ({len(took)} of {len(paths)})")
    return took


def before_reading(app, env, docnames) -> None:
    """Execute what Sphinx is about to read, unless it is a single chapter, for which reading does as well."""
    from joblib import cpu_count

    if env.mystnb_config.execution_mode != "cache" or os.name != "posix":
        return
    paths = waiting([env.doc2path(name) for name in docnames], env.myst_config, env.mystnb_config)
    if len(paths) > 1:
        execute(paths, env.myst_config, env.mystnb_config, at_once=min(cpu_count(), len(paths)))


def setup(app) -> dict:
    """Connect before anything is read, after all that may add pages."""
    app.connect("env-before-read-docs", before_reading, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
