"""Read and validate ``claims/<slug>.yml``: what a paper states, as data only.

A file is a list of claims::

    - id: growth-factor
      statement: The growth factor of the golden-ratio system is 1.618.
      where: Section 2, eq. (7)
      value: 1.618034          # number, list of numbers, true/false, or null when the paper gives no number;
                               # [true, true, true] for what has to hold in each of three cases: shown as 3 of 3
      unit: per year           # optional
      tolerance: {rel: 1e-6}   # or {abs: 0.01}; needed for numbers
      scale: build             # build (default), gpu (measured elsewhere, see results/), or out of reach
      kind: paper              # paper (default), cited (from a cited source), reconstructed, or calibrated
      note: ""                 # optional
"""

import math
import re
from dataclasses import dataclass
from pathlib import Path

import yaml

from lib.results import shipped

__all__ = ["Claim", "load"]

SCALES = ("build", "gpu", "out of reach")
KINDS = ("paper", "cited", "reconstructed", "calibrated")
REQUIRED = ("id", "statement", "where", "value")
OPTIONAL = ("unit", "tolerance", "scale", "kind", "note")


@dataclass(frozen=True)
class Claim:
    """One statement of a paper.

    Attributes
    ----------
    slug, id : str
        Chapter and name of the claim.
    statement, where : str
        What is stated, in our words, and where it stands.
    value : float, tuple of float, bool, tuple of True or None
        The paper's number(s), in `unit`; None when it gives none. A tuple of True has one entry for each case in which
        the statement has to hold.
    unit : str
        Unit of the value, empty for a pure number.
    tolerance : tuple of (str, float) or None
        ``("abs", size)`` or ``("rel", size)``.
    scale : {"build", "gpu", "out of reach"}
        Where the claim can be tested.
    kind : {"paper", "cited", "reconstructed", "calibrated"}
        Whether the number is the paper's own, from a cited source, about an object that had to be reconstructed, or the
        paper's own while the object it is measured on here was fitted to it.
    note : str
        What else a reader should know.
    """

    slug: str
    id: str
    statement: str
    where: str
    value: object
    unit: str = ""
    tolerance: tuple | None = None
    scale: str = "build"
    kind: str = "paper"
    note: str = ""


def _is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _read_value(fail, value):
    if value is None or isinstance(value, bool):
        return value
    if _is_number(value) and not math.isnan(value):
        return float(value)
    if isinstance(value, list) and value and all(_is_number(entry) and not math.isnan(entry) for entry in value):
        return tuple(float(entry) for entry in value)
    if isinstance(value, list) and value and all(entry is True for entry in value):
        return tuple(value)
    allowed = "a number, a flat list of numbers, true, false, a list of true (one a case), or null (nan is not a claim)"
    return fail("value", value, allowed)


def _read_tolerance(fail, tolerance, value):
    first = value[0] if isinstance(value, tuple) else value
    numeric = first is not None and not isinstance(first, bool)
    if tolerance is None:
        return fail("tolerance", None, "{abs: size} or {rel: size}, needed beside a number") if numeric else None
    if not numeric:
        return fail("tolerance", tolerance, "no tolerance, as there is no number to compare")
    if not isinstance(tolerance, dict) or len(tolerance) != 1 or not set(tolerance) <= {"abs", "rel"}:
        return fail("tolerance", tolerance, "exactly one of {abs: size} and {rel: size}")
    ((mode, size),) = tolerance.items()
    if not _is_number(size) or not math.isfinite(size) or size < 0:
        return fail("tolerance", tolerance, "a finite size, zero or more")
    entries = value if isinstance(value, tuple) else (value,)
    if mode == "rel" and any(entry == 0 for entry in entries):
        return fail("tolerance", tolerance, "{abs: size}, because a relative tolerance of the value 0 is 0")
    if mode == "rel" and size >= 1:
        return fail("tolerance", tolerance, "a relative size below 1, because from 1 on it accepts 0 and other signs")
    return mode, float(size)


def _read_claim(file, slug, position, item):
    name = item.get("id", f"number {position}") if isinstance(item, dict) else f"number {position}"

    def fail(field, got, allowed):
        raise ValueError(f"{file}: claim '{name}': field '{field}' is {got!r}; allowed: {allowed}")

    if not isinstance(item, dict):
        raise ValueError(f"{file}: claim {name} is {type(item).__name__}; allowed: a mapping of fields")
    for field in REQUIRED:
        if field not in item:
            raise ValueError(f"{file}: claim '{name}': field '{field}' is missing; required: {', '.join(REQUIRED)}")
    for field in item:
        if field not in REQUIRED + OPTIONAL:
            fail(field, item[field], f"only the fields {', '.join(REQUIRED + OPTIONAL)}")
    for field in ("id", "statement", "where"):
        if not isinstance(item[field], str) or not item[field].strip():
            fail(field, item[field], "a non-empty text")
    if not all(part.isalnum() for part in item["id"].split("-")):
        fail("id", item["id"], "letters and digits joined by single hyphens, such as growth-factor")
    for field in ("unit", "note"):
        if not isinstance(item.get(field, ""), str):
            fail(field, item[field], "a text")
    scale = item.get("scale", "build")
    if scale not in SCALES:
        fail("scale", scale, ", ".join(SCALES))
    kind = item.get("kind", "paper")
    if kind not in KINDS:
        fail("kind", kind, ", ".join(KINDS))
    value = _read_value(fail, item["value"])
    return Claim(
        slug=slug,
        id=item["id"],
        statement=" ".join(item["statement"].split()),
        where=" ".join(item["where"].split()),
        value=value,
        unit=item.get("unit", ""),
        tolerance=_read_tolerance(fail, item.get("tolerance"), value),
        scale=scale,
        kind=kind,
        note=" ".join(item.get("note", "").split()),
    )


class _Loader(yaml.SafeLoader):
    """YAML 1.1 reads 1e-6 as text and of a field written twice takes the last; a claims file means neither."""

    def construct_mapping(self, node, deep=False):
        written = [self.construct_object(key, deep=True) for key, _ in node.value]
        for position, key in enumerate(written):
            if key in written[:position]:
                raise yaml.constructor.ConstructorError(
                    None, None, f"field {key!r} is written twice; allowed: once", node.value[position][0].start_mark
                )
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {key: list(rules) for key, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?[0-9]+(?:\.[0-9]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


def load(slug, folder=None):
    """Load and validate the claims of a chapter.

    Parameters
    ----------
    slug : str
        Chapter, such as ``"leslie"``.
    folder : path, optional
        Folder of the claims files; the book's own by default.

    Returns
    -------
    dict of str to Claim
        In the order of the file.

    Raises
    ------
    ValueError
        If there is no such file, or a claim in it is malformed; the message names the file, the claim and the field.
    """
    folder = Path(folder) if folder is not None else shipped("claims")
    path = folder / f"{slug}.yml"
    file = f"claims/{slug}.yml"
    if not path.is_file():
        known = sorted(entry.stem for entry in folder.glob("*.yml")) or ["none"]
        raise ValueError(f"slug is {slug!r} but there is no {file}; chapters with claims: {', '.join(known)}")
    try:
        items = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{file}: is not YAML ({error})") from None
    if not isinstance(items, list) or not items:
        raise ValueError(f"{file}: holds {type(items).__name__}; allowed: a list of at least one claim")
    claims = {}
    for position, item in enumerate(items, start=1):
        claim = _read_claim(file, slug, position, item)
        if claim.id in claims:
            raise ValueError(f"{file}: claim '{claim.id}': field 'id' is used twice; allowed: one claim per id")
        claims[claim.id] = claim
    return claims
