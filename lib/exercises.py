"""Exercises and bets that check themselves: in the page without a server, in Jupyter, and in Python.

Each question is one data structure: what counts as right, which hint a wrong answer gets, and every sentence the
reader may see. `judge` reads it in Python and ``runtime/exercises.js`` reads it in the page, so both always say the
same.
"""

from __future__ import annotations

import html
import math
import os
import re
import sys
from dataclasses import dataclass, field

from lib.live.markup import inline_markup, json_script

__all__ = ["Bet", "Number", "Pick", "Verdict", "judge"]

_NUMBER = re.compile(r" *([+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?) *")
_IDENTIFIER = re.compile(r"[a-z][a-z0-9-]*")
_NOT_A_NUMBER = "Write a number, such as 1.5, -3 or 2e-4."
_NOTHING_CHOSEN = "Choose one of the answers first."


@dataclass(frozen=True)
class Verdict:
    """Whether an answer is right, and what the reader is told. True exactly when it is right."""

    correct: bool
    message: str

    def __bool__(self):
        return self.correct

    def __str__(self):
        return self.message


def judge(data, given):
    """Judge an answer as the page does.

    Parameters
    ----------
    data : dict
        From the ``data`` of a question.
    given : str or int
        What was typed, or the number of the chosen option.

    Returns
    -------
    Verdict
    """
    if "messages" in data:
        if isinstance(given, int) and 0 <= given < len(data["messages"]):
            return Verdict(*data["messages"][given])
        return Verdict(False, data["nonsense"])
    match = _NUMBER.fullmatch(given.replace("−", "-"))
    value = float(match[1]) if match else math.nan
    if not math.isfinite(value):
        return Verdict(False, data["nonsense"])
    if abs(value - data["answer"]) <= data["tolerance"]:
        return Verdict(True, data["right"])
    for low, high, hint in data["hints"]:
        if low <= value <= high:
            return Verdict(False, hint)
    return Verdict(False, data["otherwise"])


def _spoken(text):
    """A message as plain text: it is read out, and put into the page as it is."""
    return text.replace("`", "")


def _check_texts(owner, **texts):
    for argument, text in texts.items():
        if not isinstance(text, str) or not text.strip():
            raise ValueError(f"{owner}: {argument} must be a text that is not empty, got {text!r}")


def _check_solution(owner, solution):
    if solution is not None:
        _check_texts(owner, solution=solution)


def _check_hint(owner, row, answer, tolerance):
    """Read one hint of a `Number`, its ends brought into the range of numbers."""
    wrong = f"{owner}: hints: a hint is (low, high, text) with low <= high, got {row!r}"
    if not isinstance(row, (tuple, list)) or len(row) != 3:
        raise ValueError(wrong)
    *ends, text = row
    if any(isinstance(end, bool) or not isinstance(end, (int, float)) for end in ends) or not ends[0] <= ends[1]:
        raise ValueError(wrong)
    _check_texts(owner, **{"hints: hint": text})
    low, high = (float(max(-sys.float_info.max, min(sys.float_info.max, end))) for end in ends)
    if abs(low - answer) <= tolerance and abs(high - answer) <= tolerance:
        raise ValueError(f"{owner}: hints: the hint {row!r} could never be shown, its range is right")
    return low, high, text


def _check_identifier(kind, identifier):
    if not isinstance(identifier, str) or not _IDENTIFIER.fullmatch(identifier):
        raise ValueError(f"{kind}: id must be lower-case letters, digits and hyphens, got {identifier!r}")


def _finite(owner, argument, value):
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"{owner}: {argument} must be a finite number, got {value!r}")
    return float(value)


def _check_options(owner, options, answer):
    if isinstance(options, str) or not hasattr(options, "__iter__"):
        raise ValueError(f"{owner}: options must be a tuple of texts, got {options!r}")
    options = tuple(options)
    for option in options:
        _check_texts(owner, options=option)
    if len(options) < 2 or len(set(options)) < len(options):
        raise ValueError(f"{owner}: options must be at least two and all different, got {options!r}")
    if answer not in options:
        raise ValueError(f"{owner}: answer must be one of the options {options!r}, got {answer!r}")
    return options


class _Question:
    """What the three kinds share: three ways to be shown, one way to be judged."""

    heading = "Exercise"
    button = "Check"
    solution = None

    def check(self, value=None):
        """Judge an answer.

        Parameters
        ----------
        value : str, int or float, optional
            A number (or its text), or one of the options.

        Returns
        -------
        Verdict
            ``correct`` and ``message``; nonsense is not an error, it gets its own message.
        """
        return judge(self.data, self._given(value))

    def page(self):
        """The question as an HTML form that checks itself."""
        owner = f"exercise-{self.id}"
        question = inline_markup(self.question)
        return f"""<div class="exercise-card exercise-{self.data["kind"]}" id="{owner}">
<p class="exercise-kind">{self.heading}</p>
<form autocomplete="off" novalidate><fieldset disabled>
<legend class="mathjax_process">{question}</legend>
{self._fields(owner)}
<button type="submit">{self.button}</button>
</fieldset></form>
<p class="exercise-say" role="status"></p>
<noscript><p class="live-note">Turn on JavaScript to check your answer here.</p>{self._without_script()}</noscript>
{self._folded()}{json_script(self.data)}
</div>"""

    def _folded(self):
        if not self.solution:
            return ""
        solution = inline_markup(self.solution)
        return f'<details><summary>Solution</summary><p class="mathjax_process">{solution}</p></details>\n'

    def _without_script(self):
        return ""

    def widget(self):
        """The question as ipywidgets.

        Raises
        ------
        ImportError
            If ipywidgets is not installed.
        """
        import ipywidgets

        entry, given = self._entry(ipywidgets)
        button = ipywidgets.Button(description=self.button)
        say = ipywidgets.HTML()
        parts = [ipywidgets.HTMLMath(f"<b>{inline_markup(self.question)}</b>"), entry, button, say]

        def answer(_):
            verdict = judge(self.data, given())
            say.value = f"{'✓' if verdict else '→'} {html.escape(verdict.message)}"
            if self.button == "Commit" and verdict.message != self.data["nonsense"]:
                entry.disabled = button.disabled = True

        button.on_click(answer)
        if self.solution:
            fold = ipywidgets.Accordion(children=[ipywidgets.HTMLMath(inline_markup(self.solution))])
            fold.set_title(0, "Solution")
            fold.selected_index = None
            parts.append(fold)
        box = ipywidgets.VBox(parts)
        box.entry, box.button, box.say = entry, button, say
        return box

    def _ipython_display_(self):
        from IPython.display import display

        if os.environ.get("LIVE_PAGE"):
            display({"text/html": self.page(), "text/plain": self.question}, raw=True)
            return
        if "google.colab" in sys.modules:
            from google.colab import output

            output.enable_custom_widget_manager()
        try:
            display(self.widget())
        except ImportError:
            print(f"{self.question}\nAnswer with .check(...)")


@dataclass(frozen=True)
class Number(_Question):
    """A question whose answer is a number.

    Parameters
    ----------
    id : str
        Name of the question, unique on its page: lower-case letters, digits, hyphens.
    question : str
        Backticks become code; ``\\(x\\)`` becomes mathematics.
    answer, tolerance : float
        Right is what lies within ``answer ± tolerance``.
    unit : str
        Shown behind the field.
    hints : sequence of (low, high, hint)
        Hint for wrong answers from `low` to `high`; the first that holds is shown. Ends may be infinite.
    otherwise : str
        Hint for every other wrong answer.
    right : str
        Said when the answer is right.
    solution : str, optional
        Folded under the question.

    Raises
    ------
    ValueError
        If a text is empty, a number is not finite, or a hint could never be shown.

    Examples
    --------
    >>> q = Number("double", "How much is `2 * 21`?", 42, tolerance=0, hints=[(40, 41, "A bit more.")], otherwise="No.")
    >>> q.check(42).correct, q.check("41").message, q.check("many").message
    (True, 'A bit more.', 'Write a number, such as 1.5, -3 or 2e-4.')
    """

    id: str
    question: str
    answer: float
    tolerance: float = field(kw_only=True)
    unit: str = field(default="", kw_only=True)
    hints: tuple = field(default=(), kw_only=True)
    otherwise: str = field(default="Not yet: look at the figure again.", kw_only=True)
    right: str = field(default="Right.", kw_only=True)
    solution: str | None = field(default=None, kw_only=True)

    def __post_init__(self):
        _check_identifier("Number", self.id)
        owner = f"Number {self.id!r}"
        _check_texts(owner, question=self.question, otherwise=self.otherwise, right=self.right)
        object.__setattr__(self, "answer", _finite(owner, "answer", self.answer))
        object.__setattr__(self, "tolerance", _finite(owner, "tolerance", self.tolerance))
        if self.tolerance < 0:
            raise ValueError(f"{owner}: tolerance must be at least 0, got {self.tolerance!r}")
        if not isinstance(self.hints, (tuple, list)):
            raise ValueError(f"{owner}: hints must be a sequence of (low, high, text), got {self.hints!r}")
        hints = tuple(_check_hint(owner, row, self.answer, self.tolerance) for row in self.hints)
        object.__setattr__(self, "hints", hints)
        if not isinstance(self.unit, str):
            raise ValueError(f"{owner}: unit must be a text, got {self.unit!r}")
        _check_solution(owner, self.solution)

    @property
    def data(self):
        """What both checkers read."""
        return {
            "kind": "number",
            "answer": self.answer,
            "tolerance": self.tolerance,
            "right": _spoken(self.right),
            "hints": [[low, high, _spoken(hint)] for low, high, hint in self.hints],
            "otherwise": _spoken(self.otherwise),
            "nonsense": _NOT_A_NUMBER,
        }

    def _given(self, value):
        if isinstance(value, str):
            return value
        if value is None or isinstance(value, bool) or not hasattr(value, "__float__"):
            return ""
        return repr(float(value))

    def _fields(self, owner):
        unit = f' <span class="live-unit" id="{owner}-unit">{html.escape(self.unit)}</span>' if self.unit else ""
        named = f' aria-describedby="{owner}-unit"' if self.unit else ""
        return (
            f'<label class="live-hidden" for="{owner}-answer">Your answer</label>'
            f'<input type="text" inputmode="decimal" id="{owner}-answer" name="given" size="10"{named}>{unit}'
        )

    def _entry(self, ipywidgets):
        entry = ipywidgets.Text(description="Answer", placeholder=self.unit)
        return entry, lambda: entry.value


class _Options(_Question):
    """A question answered by one of a few options."""

    def _given(self, value):
        if isinstance(value, str) and value in self.options:
            return self.options.index(value)
        return None

    def _fields(self, owner):
        return "".join(
            f'<label class="exercise-option"><input type="radio" name="given" value="{number}"> '
            f"<span>{inline_markup(option)}</span></label>"
            for number, option in enumerate(self.options)
        )

    def _entry(self, ipywidgets):
        entry = ipywidgets.RadioButtons(options=self.options, value=None, layout={"width": "max-content"})
        return entry, lambda: entry.index


@dataclass(frozen=True)
class Pick(_Options):
    """A question with a few answers, one of them right; every wrong one has its own hint.

    Parameters
    ----------
    id, question
        As for `Number`.
    options : tuple of str
        The answers, in the order shown.
    answer : str
        The right one.
    hints : dict
        A hint for every wrong option.
    right : str
        Said when the answer is right.
    solution : str, optional
        Folded under the question.

    Raises
    ------
    ValueError
        If the options are too few or alike, or a wrong option has no hint.

    Examples
    --------
    >>> q = Pick("sign", "Who wins?", ("prey", "predator"), "prey", hints={"predator": "Look at the sign."})
    >>> q.check("predator").message
    'Look at the sign.'
    """

    id: str
    question: str
    options: tuple
    answer: str
    hints: dict = field(kw_only=True)
    right: str = field(default="Right.", kw_only=True)
    solution: str | None = field(default=None, kw_only=True)

    def __post_init__(self):
        _check_identifier("Pick", self.id)
        owner = f"Pick {self.id!r}"
        _check_texts(owner, question=self.question, right=self.right)
        object.__setattr__(self, "options", _check_options(owner, self.options, self.answer))
        wrong = set(self.options) - {self.answer}
        if not isinstance(self.hints, dict):
            raise ValueError(f"{owner}: hints must be a dictionary, a hint for every wrong option, got {self.hints!r}")
        if set(self.hints) != wrong:
            raise ValueError(f"{owner}: hints must be for the wrong options {sorted(wrong)}, got {list(self.hints)}")
        _check_texts(owner, **{f"hints: hint for {option!r}": hint for option, hint in self.hints.items()})
        _check_solution(owner, self.solution)

    @property
    def data(self):
        """What both checkers read."""
        said = {**self.hints, self.answer: self.right}
        messages = [[option == self.answer, _spoken(said[option])] for option in self.options]
        return {"kind": "pick", "messages": messages, "nonsense": _NOTHING_CHOSEN}


@dataclass(frozen=True)
class Bet(_Options):
    """A bet before the reveal: the reader commits to an answer, then sees what happens beside what they chose.

    The page remembers the bet until the tab is closed.

    Parameters
    ----------
    id, question, options, answer
        As for `Pick`.
    reveal : str
        What happens, and why; shown after the bet.

    Raises
    ------
    ValueError
        If a text is empty, or the options are too few or alike.

    Examples
    --------
    >>> Bet("first", "Up or down?", ("up", "down"), "down", "It falls.").check("up").message
    'You bet on “up”. It is “down”. It falls.'
    """

    id: str
    question: str
    options: tuple
    answer: str
    reveal: str

    heading = "Place your bet"
    button = "Commit"

    def __post_init__(self):
        _check_identifier("Bet", self.id)
        owner = f"Bet {self.id!r}"
        _check_texts(owner, question=self.question, reveal=self.reveal)
        object.__setattr__(self, "options", _check_options(owner, self.options, self.answer))

    @property
    def data(self):
        """What both checkers read."""
        messages = []
        for option in self.options:
            correct = option == self.answer
            outcome = "You were right." if correct else f"It is “{self.answer}”."
            messages.append([correct, _spoken(f"You bet on “{option}”. {outcome} {self.reveal}")])
        return {"kind": "bet", "messages": messages, "nonsense": _NOTHING_CHOSEN}

    def _without_script(self):
        return f"<details><summary>Answer</summary><p>{inline_markup(f'{self.answer}. {self.reveal}')}</p></details>"
