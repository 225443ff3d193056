"""What the pages load besides their own text: runtime of live figures, Plotly from its wheel, vendored files."""

from __future__ import annotations

import hashlib
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from sphinx.errors import ExtensionError

from lib.live import runtime
from lib.site.layout import ROOT

__all__ = ["TABLE", "check", "collect", "folders", "load_table"]

TABLE = "book/_static/vendor/ASSETS.yml"


def load_table(root: Path = ROOT) -> dict[str, list[dict[str, Any]]]:
    """The table of vendored files (``files``) and of what the wheels bring (``wheels``)."""
    return yaml.safe_load((Path(root) / TABLE).read_text(encoding="utf-8"))


def folders(root: Path = ROOT) -> list[Path]:
    """Folders that may hold vendored files and nothing else."""
    return [Path(root) / "book/_static/vendor", Path(root) / "tests/browser/vendor"]


def check(root: Path = ROOT) -> list[str]:
    """Compare the table with the files.

    Returns
    -------
    list of str
        One sentence per fault; empty when every file is present, unchanged, licensed and listed.
    """
    faults = []
    known = {Path(root) / TABLE}
    for row in load_table(root)["files"]:
        path, licence = Path(root) / row["path"], Path(root) / row["licence_file"]
        known |= {path, licence}
        for field in ("name", "version", "licence", "package", "use"):
            if not row.get(field):
                faults.append(f"{row['path']}: {field} is not given")
        if not licence.is_file():
            faults.append(f"{row['path']}: its licence {row['licence_file']} is missing")
        if not path.is_file():
            faults.append(f"{row['path']}: the file is missing")
        elif hashlib.sha256(path.read_bytes()).hexdigest() != row["sha256"]:
            faults.append(f"{row['path']}: the file differs from its sha256")
    for folder in folders(root):
        faults += [
            f"{path.relative_to(root)}: not in {TABLE}"
            for path in sorted(folder.rglob("*"))
            if path.is_file() and path not in known
        ]
    return faults


def collect(target: Path) -> Path:
    """Write what is made at build time into ``target``, a folder Sphinx copies to ``_static``.

    Raises
    ------
    ExtensionError
        If an asset is missing or the vendored files differ from their table: pages would load with holes.
    """
    if faults := check():
        raise ExtensionError("Assets of the site: " + "; ".join(faults))
    target.mkdir(parents=True, exist_ok=True)
    plotly = resources.files("plotly") / "package_data" / "plotly.min.js"
    if not plotly.is_file():
        raise ExtensionError(
            "Assets of the site: the installed plotly has no package_data/plotly.min.js; install requirements.txt"
        )
    contents = {
        "plotly.min.js": plotly.read_bytes(),
        "live.js": runtime.source().encode(),
        "live.css": runtime.css().encode(),
    }
    for name, body in contents.items():
        path = target / name
        if not path.is_file() or path.read_bytes() != body:  # an unchanged file keeps its date
            path.write_bytes(body)
    return target
