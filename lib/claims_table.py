"""How claims and their outcomes look: a table for the page, Markdown and plain text for everything else."""

import html as escaping
import re

__all__ = ["badge", "html", "markdown", "number", "plain", "prose", "tolerance_text", "value_text"]

MARKS = {"reproduced": "✓", "partly": "◐", "contradicted": "✗", "out of reach here": "⋯", "reconstructed": "≈"}
DIAMOND = '<span class="claim-paper" style="color:#CC79A7" aria-hidden="true">◆</span> '
PENDING = "not checked yet"
HEADINGS = ("Claim", "Where", "Paper", "Ours", "Tolerance", "Verdict")


def number(value):
    """Write a number with six significant digits, or true/false as yes/no.

    Examples
    --------
    >>> number(1.61803398), number(3.0), number(True)
    ('1.61803', '3', 'yes')
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.6g}"


def value_text(value, unit=""):
    """Write a claim's value or a measurement with its unit.

    Examples
    --------
    >>> value_text((1.0, 2.5), "days")
    '1, 2.5 days'
    """
    if value is None:
        return "no number given"
    if isinstance(value, str):
        return value
    written = ", ".join(number(entry) for entry in value) if isinstance(value, (tuple, list)) else number(value)
    return f"{written} {unit}" if unit else written


def tolerance_text(claim):
    """Write a claim's tolerance.

    Examples
    --------
    >>> from lib.claims import Claim
    >>> tolerance_text(Claim("demo", "a", "b", "c", 2.0, tolerance=("rel", 0.01)))
    '± 0.01 relative'
    """
    if claim.tolerance is None:
        return "exact" if isinstance(claim.value, bool) else "none"
    mode, size = claim.tolerance
    if size == 0:
        return "exact"
    return f"± {size:g} relative" if mode == "rel" else f"± {size:g}"


def prose(text):
    """Escape a sentence for HTML; ``code`` in backticks stays code, TeX between dollars is left to MathJax.

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
    return value_text(outcome.measured, claim.unit), context


def _notes(claim, outcome):
    notes = [claim.note, outcome.note if outcome else ""]
    if claim.kind == "cited":
        notes.insert(0, "From a source the paper cites.")
    return " ".join(note for note in notes if note)


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
        small = '<br><small class="claim-note">{}</small>'
        anchor = f' id="claim-{escaping.escape(claim.id)}"' if anchors else ""
        diamond = "" if claim.value is None else DIAMOND
        cells.append(
            f"<tr{anchor}>"
            f'<th scope="row">{prose(claim.statement)}{small.format(prose(notes)) if notes else ""}</th>'
            f"<td>{prose(claim.where)}</td>"
            f"<td>{diamond}{escaping.escape(value_text(claim.value, claim.unit))}</td>"
            f"<td>{escaping.escape(ours)}{small.format(escaping.escape(context)) if context else ''}</td>"
            f"<td>{escaping.escape(tolerance_text(claim))}</td>"
            f"<td>{badge(outcome.verdict if outcome else None)}</td></tr>"
        )
    head = "".join(f'<th scope="col">{heading}</th>' for heading in HEADINGS)
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
        yield (
            f"{claim.statement} ({notes})" if notes else claim.statement,
            claim.where,
            value_text(claim.value, claim.unit) if claim.value is None else f"◆ {value_text(claim.value, claim.unit)}",
            f"{ours} ({context})" if context else ours,
            tolerance_text(claim),
            outcome.verdict if outcome else PENDING,
        )
