"""The data that ship with the book: where each number comes from, under which terms, in which units, and its checksum.

A file is read only after its SHA-256 has been compared with the registry, so a damaged or edited file cannot slip into
a figure.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lib import checks

__all__ = ["DATASETS", "FOLDER", "Dataset", "dataset", "load", "verify"]

FOLDER = Path(__file__).parent / "datasets"


@dataclass(frozen=True)
class Dataset:
    """One registered file.

    Attributes
    ----------
    name : str
        The name :func:`load` takes.
    file : str
        File name in ``lib/datasets``.
    title, source, licence : str
        What it is, where the numbers come from, and under which terms they are used.
    sha256 : str
        Checksum of the file, 64 hexadecimal digits.
    units : mapping of str to str
        Column name to unit.
    """

    name: str
    file: str
    title: str
    source: str
    licence: str
    sha256: str
    units: Mapping[str, str]


_COUNT = "individuals per 0.5 cm^3"

DATASETS: Mapping[str, Dataset] = {
    entry.name: entry
    for entry in (
        Dataset(
            name="gause_paramecium",
            file="gause_paramecium.csv",
            title="Paramecium aurelia and P. caudatum, alone and mixed, days 0 to 25, means of three cultures",
            source=(
                "G. F. Gause, The Struggle for Existence, Williams & Wilkins, Baltimore 1934, Appendix, Table III "
                "(plotted in the book's Fig. 22); read from a published transcription. The gauseR package "
                "(Muehlbauer et al., Ecology and Evolution 2020) holds a machine-readable copy of Gause's tables."
            ),
            licence="Counts published in 1934: facts, free of copyright (CC0-equivalent).",
            sha256="412e90bd29286dbe602dd52ce8ab04c6365357dd6b182ce7bd656b8c06f1cb66",
            units={
                "day": "day",
                "aurelia_alone": _COUNT,
                "caudatum_alone": _COUNT,
                "aurelia_mixed": _COUNT,
                "caudatum_mixed": _COUNT,
            },
        ),
    )
}


def dataset(name: str) -> Dataset:
    """The registry's entry of a name.

    Raises
    ------
    ValueError
        If the name is not registered.

    Examples
    --------
    >>> dataset("gause_paramecium").units["aurelia_alone"]
    'individuals per 0.5 cm^3'
    """
    if not isinstance(name, str) or name not in DATASETS:
        raise ValueError(f"name must be one of {', '.join(sorted(DATASETS))}, got {checks.describe(name)}")
    return DATASETS[name]


def verify(name: str, folder: Path | str | None = None) -> Path:
    """Compare a file with its checksum and return its path.

    Parameters
    ----------
    name : str
        A registered name.
    folder : path, optional
        Where the file lies; ``lib/datasets`` by default.

    Raises
    ------
    FileNotFoundError
        If the file is missing.
    ValueError
        If the name is unknown or the file is not the registered one.

    Examples
    --------
    >>> verify("gause_paramecium").name
    'gause_paramecium.csv'
    """
    entry = dataset(name)
    path = Path(FOLDER if folder is None else folder) / entry.file
    if not path.is_file():
        raise FileNotFoundError(
            f"data file {entry.file} of {name} is missing in {path.parent.name}/: install the package again"
        )
    # Git may check text out with Windows line ends; the registry counts the numbers, not the line ends.
    found = hashlib.sha256(path.read_bytes().replace(b"\r\n", b"\n")).hexdigest()
    if found != entry.sha256:
        raise ValueError(
            f"data file {entry.file} is corrupt or was edited: its sha256 is {found}, registered is {entry.sha256}"
        )
    return path


def load(name: str, folder: Path | str | None = None) -> dict[str, np.ndarray]:
    """Read a registered table after checking that it is intact.

    Parameters
    ----------
    name : str
        A registered name.
    folder : path, optional
        Where the file lies; ``lib/datasets`` by default.

    Returns
    -------
    dict of str to ndarray
        Float64 columns under their names; NaN where nothing was recorded.

    Raises
    ------
    FileNotFoundError, ValueError
        See :func:`verify`.

    Examples
    --------
    >>> load("gause_paramecium")["aurelia_alone"][:4].tolist()
    [2.0, nan, 14.0, 34.0]
    """
    path = verify(name, folder)
    with path.open(newline="", encoding="utf-8") as lines:
        rows = list(csv.DictReader(line for line in lines if not line.startswith("#")))
    columns = dataset(name).units
    return {column: np.array([float(row[column] or "nan") for row in rows]) for column in columns}
