"""How claims and their outcomes look: a table for the page, Markdown and plain text for everything else."""

import html as escaping
import math
import re

__all__ = [
    "badge",
    "digits_of",
    "html",
    "markdown",
    "number",
    "plain",
    "prose",
    "stated_html",
    "stated_text",
    "tolerance_text",
    "value_text",
]

MARKS = {"reproduced": "✓", "partly": "◐", "contradicted": "✗", "out of reach here": "⋯", "reconstructed": "≈"}
DIAMOND = '<span class="claim-paper" style="color:#CC79A7" aria-hidden="true">◆</span> '
ORIGINS = {
    "paper": "",
    "cited": "from a cited source",
    "reconstructed": "our expectation",
    "calibrated": "published; ours was fitted to it",
}
SMALL = '<br><small class="claim-note">{}</small>'
PENDING = "not checked yet"
HEADINGS = ("Claim", "Where", "Paper", "Ours", "Tolerance", "Verdict")


def number(value, digits=6):
    """Write a number with that many significant digits, or true/false as yes/no.

    Examples
    --------
    >>> number(1.61803398), number(3.0), number(True)
    ('1.61803', '3', 'yes')
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.{digits}g}"


def digits_of(claim):
    """Significant digits needed to see whether a claim's tolerance is met: from 6 to 12.

    Examples
    --------
    >>> from lib.claims import Claim
    >>> digits_of(Claim("demo", "a", "b", "c", 1.1321736, tolerance=("abs", 5e-8)))
    9
    """
    if claim.tolerance is None:
        return 6
    mode, size = claim.tolerance
    if size == 0:
        return 12
    entries = claim.value if isinstance(claim.value, tuple) else (claim.value,)
    parts = [1 / size if mode == "rel" else abs(entry) / size for entry in entries]
    finite = [part for part in parts if 0 < part < math.inf]
    return min(12, max([6, *(math.ceil(math.log10(part)) + 1 for part in finite)]))


def value_text(value, unit="", digits=6):
    """Write a claim's value or a measurement with its unit; of cases with yes or no, how many say yes.

    Examples
    --------
    >>> value_text((1.0, 2.5), "days"), value_text((True, False, True), "seeds")
    ('1, 2.5 days', '2 of 3 seeds')
    """
    if value is None:
        return "no number given"
    if isinstance(value, str):
        return value
    entries = value if isinstance(value, (tuple, list)) else (value,)
    if isinstance(value, (tuple, list)) and all(isinstance(entry, bool) for entry in entries):
        written = f"{sum(entries)} of {len(entries)}"
    else:
        written = ", ".join(number(entry, digits) for entry in entries)
    return f"{written} {unit}" if unit else written


def stated_text(claim):
    """Write what a claim states, and whose number it is if not the paper's own.

    Returns
    -------
    text, origin : str
        Origin is empty for the paper's own number, the only one that carries the diamond.

    Examples
    --------
    >>> from lib.claims import Claim
    >>> stated_text(Claim("demo", "a", "b", "c", 2.0, tolerance=("abs", 0.1), kind="reconstructed"))
    ('2', 'our expectation')
    """
    text = value_text(claim.value, claim.unit, digits_of(claim))
    return text, "" if claim.value is None else ORIGINS[claim.kind]


def tolerance_text(claim):
    """Write a claim's tolerance.

    Examples
    --------
    >>> from lib.claims import Claim
    >>> tolerance_text(Claim("demo", "a", "b", "c", 2.0, tolerance=("rel", 0.01)))
    '± 0.01 relative'
    """
    if claim.tolerance is None:
        return "none" if claim.value is None else "exact"
    mode, size = claim.tolerance
    if size == 0:
        return "exact"
    return f"± {size:g} relative" if mode == "rel" else f"± {size:g}"


def prose(text):
    """Escape a sentence for HTML; ``code`` in backticks stays code, TeX between dollars is left to the page.

    Examples
    --------
    >>> prose("`x` < 1")
    '<code>x</code> &lt; 1'
    """
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escaping.escape(text))


def badge(verdict):
    """Return the verdict as a badge that does not depend on colour.

    Parameters
    ----------
    verdict : str or None
        A verdict, or None for a claim that was not checked.

    Returns
    -------
    str
        HTML.
    """
    words = verdict or PENDING
    mark = MARKS.get(words, "?")
    kind = words.replace(" ", "-")
    return f'<span class="verdict verdict-{kind}"><span aria-hidden="true">{mark}</span> {words}</span>'


def _ours(claim, outcome):
    if outcome is None:
        return "", ""
    if outcome.measured is None:
        return "not measured", ""
    context = outcome.elsewhere.circumstances() if outcome.elsewhere else ""
    if not context and outcome.seconds is not None:
        context = f"{outcome.seconds:.2g} s"
    return value_text(outcome.measured, claim.unit, digits_of(claim)), context


def _notes(claim, outcome):
    notes = [claim.note, outcome.note if outcome else ""]
    return " ".join(note for note in notes if note)


def stated_html(claim):
    """Write what a claim states as HTML; a diamond marks the paper's own number.

    Parameters
    ----------
    claim : lib.claims.Claim

    Returns
    -------
    str
        HTML.
    """
    text, origin = stated_text(claim)
    if origin:
        return escaping.escape(text) + SMALL.format(origin)
    return (DIAMOND if claim.value is not None else "") + escaping.escape(text)


def html(rows, anchors=False):
    """Draw claims and outcomes as an accessible table.

    Parameters
    ----------
    rows : list of (Claim, Outcome or None)
        What to show.
    anchors : bool
        Give each row the id ``claim-<id>``, so that the scoreboard can link to it. Once per page.

    Returns
    -------
    str
        HTML.
    """
    cells = []
    for claim, outcome in rows:
        ours, context = _ours(claim, outcome)
        notes = _notes(claim, outcome)
        anchor = f' id="claim-{escaping.escape(claim.id)}"' if anchors else ""
        cells.append(
            f"<tr{anchor}>"
            f'<th scope="row">{prose(claim.statement)}{SMALL.format(prose(claim.where))}'
            f"{SMALL.format(prose(notes)) if notes else ''}</th>"
            f"<td>{stated_html(claim)}{SMALL.format(escaping.escape(tolerance_text(claim)))}</td>"
            f"<td>{escaping.escape(ours)}{SMALL.format(escaping.escape(context)) if context else ''}</td>"
            f"<td>{badge(outcome.verdict if outcome else None)}</td></tr>"
        )
    # Four columns fit the text: where a claim stands is told below it, the tolerance below the paper's number.
    head = "".join(f'<th scope="col">{heading}</th>' for heading in ("Claim", "Paper", "Ours", "Verdict"))
    return (
        '<div class="claims tex2jax_process" role="region" tabindex="0" aria-label="The paper and our results">'
        '<table class="claims-table"><caption>What the paper states and what this page measured</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(cells)}</tbody></table></div>"
    )


def markdown(rows):
    """Write claims and outcomes as a Markdown table.

    Parameters
    ----------
    rows : list of (Claim, Outcome or None)
        What to show.

    Returns
    -------
    str
        Markdown.
    """
    lines = [f"| {' | '.join(HEADINGS)} |", f"|{' --- |' * len(HEADINGS)}"]
    for cells in _texts(rows):
        lines.append(f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |")
    return "\n".join(lines)


def plain(rows):
    """Write claims and outcomes as plain text, one paragraph per claim.

    Parameters
    ----------
    rows : list of (Claim, Outcome or None)
        What to show.

    Returns
    -------
    str
        Text.
    """
    return "\n".join(
        f"{verdict}: {statement} ({where})\n    paper {paper}; ours {ours or 'none'}; tolerance {tolerance}"
        for statement, where, paper, ours, tolerance, verdict in _texts(rows)
    )


def _texts(rows):
    for claim, outcome in rows:
        ours, context = _ours(claim, outcome)
        notes = _notes(claim, outcome)
        text, origin = stated_text(claim)
        stated = f"{text} ({origin})" if origin else text if claim.value is None else f"◆ {text}"
        yield (
            f"{claim.statement} ({notes})" if notes else claim.statement,
            claim.where,
            stated,
            f"{ours} ({context})" if context else ours,
            tolerance_text(claim),
            outcome.verdict if outcome else PENDING,
        )
