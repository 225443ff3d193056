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
    """The table of vendored files (``files``) and of what the wheels bring (``wheels``).

    Raises
    ------
    ExtensionError
        If the table is missing or is not such a table.
    """
    try:
        table = yaml.safe_load((Path(root) / TABLE).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as problem:
        raise ExtensionError(f"{TABLE}: cannot be read ({problem})") from problem
    lists = [table.get(part, []) for part in ("files", "wheels")] if isinstance(table, dict) else [None]
    if "files" not in (table or ()) or not all(isinstance(rows, list) for rows in lists):
        raise ExtensionError(f"{TABLE}: must hold the list 'files' and may hold the list 'wheels'")
    return table


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
    for place, row in enumerate(load_table(root)["files"], start=1):
        texts = [row.get(field) for field in ("path", "licence_file", "sha256")] if isinstance(row, dict) else [None]
        if not all(isinstance(text, str) and text for text in texts):
            faults.append(f"{TABLE}: file {place} needs path, licence_file and sha256 (texts), got {row!r}")
            continue
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
