"""Settings a YAML file cannot hold: the kernels' environment, the execution cache, generated assets, source links."""

from __future__ import annotations

import os
from pathlib import Path

from sphinx.application import Sphinx

from lib.site import assets, fingerprint, links, plotly_mime
from lib.site.layout import ROOT, repository

__all__ = ["kernel_environment", "setup"]


def kernel_environment() -> dict[str, str]:
    """Variables every kernel of the build sees."""
    before = os.environ.get("PYTHONPATH")
    return {
        "LIVE_PAGE": "1",  # figures of lib.live become pages, not widgets
        "PLOTLY_RENDERER": "plotly_mimetype",
        "OMP_NUM_THREADS": "1",  # the same sums in the same order, whatever the machine
        "PYTHONHASHSEED": "0",
        "PYTHONPATH": f"{ROOT}{os.pathsep}{before}" if before else str(ROOT),
    }


def config_inited(app: Sphinx, config) -> None:
    """Set the kernels' environment and the execution cache."""
    os.environ.update(kernel_environment())
    # Under `sphinx.config` this would replace all theme options that Jupyter Book makes from the other settings.
    config.html_theme_options["logo"] = {"text": config.html_title, "alt_text": f"{config.html_title}: first page"}
    config.nb_execution_cache_path = str(fingerprint.cache_folder(Path(app.outdir).parent))


def builder_inited(app: Sphinx) -> None:
    """Collect generated assets and let Sphinx copy them to ``_static``."""
    made = assets.collect(Path(app.outdir).parent / ".assets")
    app.config.html_static_path.append(str(made))


def setup(app: Sphinx) -> None:
    """Connect everything of this module."""
    plotly_mime.install()
    app.config.linkcode_resolve = links.linkcode_resolver(*repository())
    app.set_html_assets_policy("always")  # formulas may stand in a figure's title only
    app.connect("config-inited", config_inited, priority=10)
    app.connect("builder-inited", builder_inited)
    app.connect("html-page-context", links.strip_thebe, priority=900)
    app.connect("html-page-context", links.add_header_buttons, priority=900)
    app.add_css_file("live.css")
    app.add_js_file("live.js", loading_method="defer")
