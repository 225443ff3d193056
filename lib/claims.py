"""What a paper states, what the book measures, and the verdict.

``claims/<slug>.yml`` holds what the paper states (its form: `lib.claims_file`). The chapter measures and calls `check`,
which compares and remembers; `table` shows all claims of the chapter side by side.
"""

import math
import os
from dataclasses import dataclass

from lib.claims_file import Claim, load
from lib.results import Measurement, measured_elsewhere

__all__ = [
    "CONTRADICTED",
    "Claim",
    "OUT_OF_REACH",
    "Outcome",
    "PARTLY",
    "RECONSTRUCTED",
    "REPRODUCED",
    "VERDICTS",
    "agreement",
    "check",
    "judge",
    "load",
    "measured_elsewhere",
    "table",
]

REPRODUCED = "reproduced"
PARTLY = "partly"
CONTRADICTED = "contradicted"
OUT_OF_REACH = "out of reach here"
RECONSTRUCTED = "reconstructed"
VERDICTS = (REPRODUCED, PARTLY, CONTRADICTED, OUT_OF_REACH, RECONSTRUCTED)

_outcomes = {}  # slug -> {claim id -> Outcome}: what this kernel has checked so far, for `table`


@dataclass(frozen=True)
class Outcome:
    """A claim, what was measured, and the verdict. Shown by Jupyter as a table with one row.

    Attributes
    ----------
    claim : Claim
        The claim.
    measured : float, tuple of float, bool, tuple of bool, str or None
        Our value, in the claim's unit.
    verdict : str
        One of `VERDICTS`.
    seconds : float or None
        How long the measurement took.
    note : str
        What the author adds.
    elsewhere : Measurement or None
        The run outside the build that the value comes from.
    """

    claim: Claim
    measured: object
    verdict: str
    seconds: float | None = None
    note: str = ""
    elsewhere: Measurement | None = None

    def record(self):
        """Return the outcome as plain data, the form in which the build gathers it.

        Returns
        -------
        dict
            Ready for JSON.
        """
        return {
            "slug": self.claim.slug,
            "id": self.claim.id,
            "measured": list(self.measured) if isinstance(self.measured, tuple) else self.measured,
            "verdict": self.verdict,
            "seconds": self.seconds,
            "note": self.note,
            "elsewhere": self.elsewhere.circumstances() if self.elsewhere else None,
            "source": self.elsewhere.source if self.elsewhere else None,
        }

    def _repr_mimebundle_(self, include=None, exclude=None):
        return _bundle([(self.claim, self)])


class _Table:
    """All claims of a chapter with their outcomes, for display."""

    def __init__(self, slug, rows):
        self.slug = slug
        self.rows = rows

    def _repr_mimebundle_(self, include=None, exclude=None):
        return _bundle(self.rows, anchors=True)


def _bundle(rows, anchors=False):
    from lib import claims_table  # display only; kept out of the import of the logic

    return {
        "text/html": claims_table.html(rows, anchors=anchors),
        "text/markdown": claims_table.markdown(rows),
        "text/plain": claims_table.plain(rows),
    }


def _is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def agreement(claim, measured):
    """Share of the paper's numbers that the measured ones meet within the tolerance.

    Parameters
    ----------
    claim : Claim
        A claim with a value.
    measured : float, bool, tensor or sequence of float or bool
        Our value(s), in the claim's unit.

    Returns
    -------
    float
        From 0 (none) to 1 (all).

    Raises
    ------
    ValueError
        If the measured value is nan or not of the claim's form (number, list of the same length, true/false, true/false
        for each case), or the claim has no value.

    Examples
    --------
    >>> claim = Claim("demo", "ratio", "It is golden.", "eq. 1", 1.618, tolerance=("abs", 0.001))
    >>> agreement(claim, 1.61803)
    1.0
    """
    name = f"claims/{claim.slug}.yml: claim '{claim.id}'"
    measured = _plain(measured)
    if claim.value is None:
        raise ValueError(f"{name}: value is None; allowed: a claim with a number or true/false to compare with")
    if isinstance(claim.value, bool):
        if not isinstance(measured, bool):
            raise ValueError(f"{name}: measured is {measured!r}; allowed: True or False, as the value is {claim.value}")
        return float(measured == claim.value)
    expected = claim.value if isinstance(claim.value, tuple) else (claim.value,)
    found = measured if isinstance(measured, tuple) else (measured,)
    counted = isinstance(expected[0], bool)
    if isinstance(claim.value, tuple) != isinstance(measured, tuple) or len(found) != len(expected):
        of = "true and false" if counted else "numbers"
        form = f"a list of {len(expected)} {of}" if isinstance(claim.value, tuple) else "one number"
        raise ValueError(f"{name}: measured is {measured!r}; allowed: {form}")
    if counted:
        if not all(isinstance(entry, bool) for entry in found):
            raise ValueError(f"{name}: measured is {measured!r}; allowed: true or false for each case")
        return sum(found) / len(found)
    if not all(_is_number(entry) for entry in found):
        raise ValueError(f"{name}: measured is {measured!r}; allowed: numbers")
    if any(math.isnan(entry) for entry in found):
        raise ValueError(f"{name}: measured is {measured!r}; a measurement that is nan has no verdict")
    mode, size = claim.tolerance
    met = 0
    for ours, theirs in zip(found, expected, strict=True):
        limit = size if mode == "abs" else size * abs(theirs)
        # Equal infinities agree; an infinity and a number do not, whatever the tolerance.
        met += ours == theirs or (math.isfinite(ours) and math.isfinite(theirs) and abs(ours - theirs) <= limit)
    return met / len(expected)


def _plain(measured):
    """Bring tensors and arrays to Python numbers, booleans and tuples."""
    if hasattr(measured, "tolist"):
        measured = measured.tolist()
    if isinstance(measured, (list, tuple)):
        return tuple(_plain(entry) for entry in measured)
    if _is_number(measured):
        return float(measured)
    return measured


def _check_free(name, measured):
    """Check what is measured for a claim without a number: it is still shown, so it has to say something."""
    if isinstance(measured, str):
        if measured.strip():
            return
    elif isinstance(measured, tuple):
        if measured and all(_is_number(entry) and not math.isnan(entry) for entry in measured):
            return
    elif _is_number(measured) and not math.isnan(measured):
        return
    raise ValueError(
        f"{name}: measured is {measured!r}; allowed: a number, a list of numbers or a text, none of them nan or empty "
        "(true and false need a claim whose value is true or false)"
    )


def judge(claim, measured, stated=None, note=""):
    """Decide the verdict, or refuse one that the numbers contradict.

    Parameters
    ----------
    claim : Claim
        The claim.
    measured : float, tuple of float, bool, tuple of bool, str or None
        Our value; None when nothing could be measured; a text only where the paper gives no number.
    stated : str, optional
        The author's verdict. Without it the numbers decide: all within tolerance is *reproduced* (*reconstructed* for a
        reconstructed or calibrated object), some is *partly*, none is *contradicted*. The author may soften
        *reproduced* or *contradicted* to *partly* with a note that says why, or harden *partly* to *contradicted*;
        nothing else.
    note : str
        The author's reason.

    Returns
    -------
    str
        One of `VERDICTS`.

    Raises
    ------
    ValueError
        If the stated verdict is unknown or contradicts the numbers, a reason is missing, or what was measured is nan,
        empty or not of the claim's form.

    Examples
    --------
    >>> claim = Claim("demo", "ratio", "It is golden.", "eq. 1", 1.618, tolerance=("abs", 0.001))
    >>> judge(claim, 1.61803)
    'reproduced'
    >>> judge(claim, 1.7)
    'contradicted'
    """
    name = f"claims/{claim.slug}.yml: claim '{claim.id}'"
    measured = _plain(measured)
    if not isinstance(note, str):
        raise ValueError(f"{name}: note is {note!r}; allowed: a text")
    if stated is not None and stated not in VERDICTS:
        raise ValueError(f"{name}: verdict is {stated!r}; allowed: {', '.join(VERDICTS)}")
    reason = note.strip() or claim.note
    held = REPRODUCED if claim.kind in ("paper", "cited") else RECONSTRUCTED
    if measured is None or claim.scale == "out of reach":
        if claim.scale == "build":
            raise ValueError(f"{name}: measured is None; allowed: a value, as the scale is 'build'")
        if measured is not None:
            raise ValueError(f"{name}: measured is {measured!r}; allowed: None, as the scale is 'out of reach'")
        default, allowed = OUT_OF_REACH, {OUT_OF_REACH}
        needs_reason = {OUT_OF_REACH}
    elif claim.value is None:
        _check_free(name, measured)
        default = None if held == REPRODUCED else RECONSTRUCTED
        allowed, needs_reason = {held, PARTLY, CONTRADICTED}, {PARTLY}
    else:
        share = agreement(claim, measured)
        default = held if share == 1 else PARTLY if share > 0 else CONTRADICTED
        allowed = {default, PARTLY} if share in (0, 1) else {PARTLY, CONTRADICTED}
        needs_reason = {PARTLY} if share in (0, 1) else set()
    verdict = stated if stated is not None else default
    if verdict is None:
        raise ValueError(
            f"{name}: verdict is None; the paper gives no number, so state one of {', '.join(VERDICTS[:3])}"
        )
    if verdict not in allowed:
        raise ValueError(
            f"{name}: verdict is {verdict!r} but measured {measured!r} against {claim.value!r} "
            f"(tolerance {claim.tolerance}); allowed: {', '.join(option for option in VERDICTS if option in allowed)}"
        )
    if verdict in needs_reason and not reason:
        raise ValueError(f"{name}: note is empty; the verdict {verdict!r} needs a reason")
    return verdict


def check(slug, id, measured=None, *, seconds=None, note="", verdict=None, unit=None):
    """Compare a measurement with a claim, remember the outcome and show it.

    Parameters
    ----------
    slug, id : str
        Chapter and claim.
    measured : float, tensor, sequence, bool, str, Measurement or None
        Our value in the claim's unit. A claim of scale ``gpu`` takes a `Measurement` (see `measured_elsewhere`) or
        None; a claim of scale ``build`` takes anything but a `Measurement`: the build's own numbers and those of other
        machines are never mixed.
    seconds : float, optional
        How long the measurement took.
    note, verdict : str, optional
        See `judge`.
    unit : str, optional
        Unit of `measured`; refused unless it is the claim's.

    Returns
    -------
    Outcome
        What Jupyter shows as a row of the claims table.

    Raises
    ------
    ValueError
        If there is no such claim, or the measurement or the stated verdict does not fit it.
    """
    claims = load(slug)
    if id not in claims:
        raise ValueError(f"claims/{slug}.yml: id is {id!r}; allowed: {', '.join(claims)}")
    claim = claims[id]
    name = f"claims/{slug}.yml: claim '{id}'"
    if unit is not None and unit != claim.unit:
        raise ValueError(f"{name}: unit is {unit!r}; allowed: {claim.unit!r}")
    if seconds is not None and (not _is_number(seconds) or not math.isfinite(seconds) or seconds < 0):
        raise ValueError(f"{name}: seconds is {seconds!r}; allowed: a number of seconds, zero or more")
    elsewhere = measured if isinstance(measured, Measurement) else None
    if elsewhere is not None and claim.scale != "gpu":
        raise ValueError(f"{name}: measured is from {elsewhere.source}; allowed: a value of this run ({claim.scale!r})")
    if elsewhere is None and measured is not None and claim.scale == "gpu":
        raise ValueError(
            f"{name}: measured is {measured!r}; allowed: a Measurement from results/, as the scale is 'gpu'"
        )
    value = _plain(elsewhere.value if elsewhere else measured)
    note = "" if note is None else note
    outcome = Outcome(
        claim=claim,
        measured=value,
        verdict=judge(claim, value, verdict, note),
        seconds=seconds if elsewhere is None else elsewhere.seconds,
        note=note,
        elsewhere=elsewhere,
    )
    _outcomes.setdefault(slug, {})[id] = outcome
    if os.environ.get("LIVE_PAGE"):
        _emit(outcome)
    return outcome


def _emit(outcome):
    """Leave a record in the cell's output for the build to gather. It has no data, so a page shows nothing."""
    from IPython.display import display

    display({}, raw=True, metadata={"living_models": {"claim": outcome.record()}})


def table(slug):
    """Show every claim of a chapter beside what this kernel has measured.

    Parameters
    ----------
    slug : str
        Chapter.

    Returns
    -------
    object
        Shown by Jupyter as a table; claims that have not been checked yet say so.
    """
    outcomes = _outcomes.get(slug, {})
    return _Table(slug, [(claim, outcomes.get(id)) for id, claim in load(slug).items()])
