"""The book's Sphinx extension: offline assets, figures, still pictures, gallery, links, scoreboard and status.

Jupyter Book loads it by ``sphinx.local_extensions`` of ``_config.yml``; ``setup`` only connects the modules of this
folder. Importing the package imports no Sphinx.
"""

from __future__ import annotations

__all__ = ["setup"]


def setup(app) -> dict:
    """Entry point of the extension.

    Parameters
    ----------
    app : sphinx.application.Sphinx

    Returns
    -------
    dict
        Metadata Sphinx keeps; ``env_version`` makes it read every page again when ``lib``, the claims or the results
        have changed.
    """
    from pathlib import Path

    from lib.site import (
        ahead,
        archive,
        build,
        fingerprint,
        gallery,
        glossary,
        icons,
        licences,
        numbering,
        reexports,
        scoreboard,
        status,
        stills,
    )

    # A warning is a fault of the book however it is built: by make or by `jupyter-book build .` alone.
    app.keep_going = True
    build.setup(app)
    ahead.setup(app)
    stills.setup(app)
    gallery.setup(app)
    archive.setup(app)
    scoreboard.setup(app)
    status.setup(app)
    glossary.setup(app)
    numbering.setup(app)
    licences.setup(app)
    reexports.setup(app)
    icons.setup(app)
    return {
        "env_version": fingerprint.page_key(Path(app.srcdir)),
        "parallel_read_safe": True,
        "parallel_write_safe": True,
    }
