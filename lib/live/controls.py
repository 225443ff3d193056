"""The controls of a live figure: `Slider`, `Choice`, `Seed` and `Toggle`.

A control is a small frozen dataclass. It knows which settings it allows, its default, and how to describe itself to
the page. The page (native inputs) and Jupyter (ipywidgets) are two views of the same object.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import ClassVar

__all__ = ["CONTROLS", "Choice", "Seed", "Slider", "Toggle"]

# What the page can print: the part of Python's format language that its runtime knows.
_FORMAT = re.compile(r"[+ ]?(\.\d+)?[feg%]")
_LOG_POSITIONS = 100
_LARGEST_SEED = 999_999
_LONGEST_PLAY = 600  # moves; the page makes at most twelve a second, so this is most of a minute


def _number(owner, argument, value):
    """Return `value` as a finite float, or raise."""
    if isinstance(value, (bool, str)) or not hasattr(value, "__float__"):
        raise ValueError(f"{owner}: {argument} must be a number, got {value!r}")
    try:
        number = float(value.detach() if hasattr(value, "detach") else value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{owner}: {argument} must be one number, got {value!r}") from error
    if not math.isfinite(number):
        raise ValueError(f"{owner}: {argument} must be finite, got {value!r}")
    return number


def _text(owner, argument, value):
    if not isinstance(value, str):
        raise ValueError(f"{owner}: {argument} must be a string, got {value!r}")


def _on_grid(distance, step):
    """Whether `distance` is a whole number of steps (up to rounding)."""
    return abs(distance / step - round(distance / step)) < 1e-6


@dataclass(frozen=True)
class Slider:
    """A number between `lo` and `hi`; the figure function receives it as a 0-dim float64 tensor.

    Parameters
    ----------
    lo, hi : float
        Ends of the range, ``lo < hi`` (and ``lo > 0`` for a logarithmic slider).
    value : float
        The default. Browsers snap a slider to its steps, so it must lie on the step grid that starts at `lo`.
    step : float, optional
        Distance between neighbouring settings. By default a round step (1, 2 or 5 times a power of ten) that reaches
        `value` and `hi` and gives about a hundred settings. For a logarithmic slider: the factor between neighbouring
        settings, about (the default gives a hundred and one settings); both ends and the default are always exact.
    label, unit : str
        Shown beside the slider, ``"Adult fecundity"`` and ``"offspring per year"``.
    log : bool
        Logarithmic scale.
    format : str
        Python format of the number shown, ``".2f"``. It must tell neighbouring settings apart.
    ticks : int
        Points along this slider when the figure is precomputed on a grid (``@live(grid=True)``).
    play : bool
        A Play button beside the slider, for a process in time: it moves the slider to `hi`, one step at a time and at
        most twelve times a second. The slider must have 2 to 600 steps.

    Raises
    ------
    ValueError
        If an argument is out of its range, or no round step fits.

    Examples
    --------
    >>> Slider(0, 4, 1.5).step
    0.05
    >>> Slider(0.001, 1, 0.03, log=True, format=".4f").at(100)
    1.0
    >>> Slider(0, 40, 0, step=1, format=".0f", label="Time", unit="years", play=True).count
    40
    """

    lo: float
    hi: float
    value: float
    step: float | None = None
    label: str = ""
    unit: str = ""
    log: bool = False
    format: str = ".2f"
    ticks: int = 9
    play: bool = False

    kind: ClassVar[str] = "slider"

    def __post_init__(self):
        owner = f"Slider {self.label!r}" if isinstance(self.label, str) and self.label else "Slider"
        _text(owner, "label", self.label)
        _text(owner, "unit", self.unit)
        for argument in ("lo", "hi", "value"):
            object.__setattr__(self, argument, _number(owner, argument, getattr(self, argument)))
        if not self.lo < self.hi:
            raise ValueError(f"{owner}: lo must be below hi, got lo={self.lo:g}, hi={self.hi:g}")
        if not self.lo <= self.value <= self.hi:
            raise ValueError(f"{owner}: value must lie in [{self.lo:g}, {self.hi:g}], got {self.value:g}")
        if not isinstance(self.format, str) or not _FORMAT.fullmatch(self.format):
            raise ValueError(f"{owner}: format must look like '.2f', '.3g', '.1e' or '.0%', got {self.format!r}")
        if isinstance(self.ticks, bool) or not isinstance(self.ticks, int) or self.ticks < 2:
            raise ValueError(f"{owner}: ticks must be a whole number of at least 2, got {self.ticks!r}")
        if self.step is not None:
            object.__setattr__(self, "step", _number(owner, "step", self.step))
        if self.log:
            self._check_log(owner)
        else:
            self._check_linear(owner)
        if not isinstance(self.play, bool):
            raise ValueError(f"{owner}: play must be True or False, got {self.play!r}")
        if self.play and not 2 <= self.count <= _LONGEST_PLAY:
            raise ValueError(
                f"{owner}: play needs a slider of 2 to {_LONGEST_PLAY} steps, got {self.count:,}: "
                f"choose a {'smaller' if self.count < 2 else 'larger'} step"
            )

    def _check_log(self, owner):
        if self.lo <= 0:
            raise ValueError(f"{owner}: lo must be above 0 for a logarithmic slider, got {self.lo:g}")
        ratio = self.hi / self.lo
        if self.step is None:
            object.__setattr__(self, "step", ratio ** (1 / _LOG_POSITIONS))
        if not 1 < self.step <= ratio:
            raise ValueError(f"{owner}: step of a logarithmic slider is a factor in (1, {ratio:g}], got {self.step:g}")

    def _check_linear(self, owner):
        span = self.hi - self.lo
        if self.step is None:
            fitting = [step for step in _round_steps(span) if self._fits(step)]
            shown = [step for step in fitting if self._tells_apart(step)]
            if not fitting:
                raise ValueError(
                    f"{owner}: no round step reaches value={self.value:g} and hi={self.hi:g} from lo={self.lo:g}: "
                    "give a step, or choose rounder numbers"
                )
            object.__setattr__(self, "step", (shown or fitting)[0])
        if not 0 < self.step <= span:
            raise ValueError(f"{owner}: step must lie in (0, {span:g}], got {self.step:g}")
        if not self._fits(self.step):
            raise ValueError(
                f"{owner}: value={self.value:g} and hi={self.hi:g} must lie on the step grid lo + k * step = "
                f"{self.lo:g} + k * {self.step:g}"
            )
        if not self._tells_apart(self.step):
            raise ValueError(
                f"{owner}: format {self.format!r} shows neighbouring settings alike (step {self.step:g}): "
                "give more digits, or a larger step"
            )

    def _fits(self, step):
        return _on_grid(self.value - self.lo, step) and _on_grid(self.hi - self.lo, step)

    def _tells_apart(self, step):
        """Whether the shown numbers differ by about the step (0.005 shown with two digits does not)."""
        places = [self.hi - k * step for k in range(min(4, round((self.hi - self.lo) / step)) + 1)]
        return len({format(place, self.format) for place in places}) == len(places)

    @property
    def count(self):
        """Number of the last position; positions are 0, 1, ..., `count`."""
        if self.log:
            return max(1, round(math.log(self.hi / self.lo) / math.log(self.step)))
        return round((self.hi - self.lo) / self.step)

    @property
    def home(self):
        """Position of the default."""
        if not self.log:
            return round((self.value - self.lo) / self.step)
        if self.value in (self.lo, self.hi):
            return 0 if self.value == self.lo else self.count
        # A default strictly inside keeps a position of its own, so it needs a neighbour on either side.
        share = math.log(self.value / self.lo) / math.log(self.hi / self.lo)
        return min(max(1, round(share * self.count)), max(1, self.count - 1))

    def at(self, position):
        """Setting at a position, ``at(0) == lo`` and ``at(count) == hi`` and ``at(home) == value``.

        A logarithmic slider is geometric from `lo` to `value` and from `value` to `hi`, rounded to four digits.
        """
        exact = {self.count: self.hi, 0: self.lo, self.home: self.value}
        if position in exact:
            return exact[position]
        if not self.log:
            return float(f"{self.lo + position * self.step:.12g}")
        if position < self.home:
            return float(f"{self.lo * (self.value / self.lo) ** (position / self.home):.4g}")
        share = (position - self.home) / (self.count - self.home)
        return float(f"{self.value * (self.hi / self.value) ** share:.4g}")

    def check(self, name, value):
        """Return `value` if it is a number in the range, or raise a ValueError that names the control."""
        number = _number(name, "the setting", value)
        slack = 1e-9 * (self.hi - self.lo)
        if not self.lo - slack <= number <= self.hi + slack:
            raise ValueError(f"{name}={number:g} is outside its slider's range [{self.lo:g}, {self.hi:g}]")
        return value

    def somewhere(self, rng):
        """A setting well inside the range, drawn with a ``random.Random``."""
        share = rng.uniform(0.15, 0.85)
        if self.log:
            return self.lo * (self.hi / self.lo) ** share
        return self.lo + share * (self.hi - self.lo)

    @property
    def ends(self):
        """The extreme settings."""
        return self.lo, self.hi

    def spec(self, name):
        """What the page's runtime needs to know."""
        row = {"name": name, "kind": self.kind, "value": self.value, "format": self.format}
        if self.unit:
            row["unit"] = self.unit
        if self.log:
            row["log"] = [self.lo, self.hi, self.home, self.count]
        return row


def _round_steps(span):
    """Round steps that cut `span` into 20 to 400 parts, those nearest to a hundred parts first."""
    exponent = math.floor(math.log10(span))
    steps = [float(f"{m}e{e}") for e in range(exponent - 4, exponent + 1) for m in (1, 2, 5)]
    steps = [step for step in steps if span / 400 <= step * (1 + 1e-9) and step <= span / 20 * (1 + 1e-9)]
    return sorted(steps, key=lambda step: abs(math.log(step * 100 / span)))


@dataclass(frozen=True)
class Choice:
    """One of a few options; the figure function receives the plain Python value.

    Use it for what Python itself must see: a size, a name, a branch. The page holds one program per option.

    Parameters
    ----------
    options : tuple of str, int or float
        At least two, all different.
    value : optional
        The default, one of the options; the first if not given.
    label : str
        Shown beside the menu.

    Raises
    ------
    ValueError
        If the options are too few, alike, of another type, or do not hold `value`.

    Examples
    --------
    >>> Choice(("prey", "predator")).value
    'prey'
    """

    options: tuple
    value: object = None
    label: str = ""

    kind: ClassVar[str] = "choice"

    def __post_init__(self):
        owner = f"Choice {self.label!r}" if isinstance(self.label, str) and self.label else "Choice"
        _text(owner, "label", self.label)
        if isinstance(self.options, (str, bytes)) or not hasattr(self.options, "__iter__"):
            raise ValueError(f"{owner}: options must be a tuple, got {self.options!r}")
        object.__setattr__(self, "options", tuple(self.options))
        for option in self.options:
            if isinstance(option, bool) or not isinstance(option, (str, int, float)):
                raise ValueError(
                    f"{owner}: an option must be str, int or float (for yes or no: Toggle), got {option!r}"
                )
            if isinstance(option, str) and (not option.strip() or "|" in option):
                raise ValueError(f"{owner}: an option must have a name without '|', got {option!r}")
        if len(self.options) < 2 or len({str(option) for option in self.options}) < len(self.options):
            raise ValueError(f"{owner}: options must be at least two and all different, got {self.options!r}")
        if self.value is None:
            object.__setattr__(self, "value", self.options[0])
        object.__setattr__(self, "value", self.check(owner, self.value))

    def check(self, name, value):
        """Return the option equal to `value`, or raise a ValueError that names the control."""
        for option in self.options:
            if type(option) is type(value) and option == value:
                return option
        raise ValueError(f"{name}={value!r} is not one of its options {self.options!r}")

    @property
    def settings(self):
        """All settings; the page holds one program for each."""
        return self.options

    def spec(self, name):
        """What the page's runtime needs to know."""
        return {"name": name, "kind": self.kind, "value": self.value, "options": list(self.options)}


@dataclass(frozen=True)
class Toggle:
    """Yes or no; the figure function receives a Python bool, and the page holds one program for each.

    Parameters
    ----------
    value : bool
        The default.
    label : str
        Shown beside the checkbox.

    Raises
    ------
    ValueError
        If `value` is not a bool.

    Examples
    --------
    >>> Toggle(True, label="Clip at zero").value
    True
    """

    value: bool = False
    label: str = ""

    kind: ClassVar[str] = "toggle"

    def __post_init__(self):
        _text("Toggle", "label", self.label)
        self.check(f"Toggle {self.label!r}" if self.label else "Toggle", self.value)

    def check(self, name, value):
        """Return `value` if it is a bool, or raise a ValueError that names the control."""
        if not isinstance(value, bool):
            raise ValueError(f"{name}={value!r} is not True or False")
        return value

    @property
    def settings(self):
        """Both settings; the page holds one program for each."""
        return self.value, not self.value

    def spec(self, name):
        """What the page's runtime needs to know."""
        return {"name": name, "kind": self.kind, "value": self.value}


@dataclass(frozen=True)
class Seed:
    """A random draw, shown as a number with a button for the next one; received as a 0-dim float64 tensor.

    Use it with `lib.live.uniform` and `lib.live.normal`, whose numbers are the same in torch and on the page.

    Parameters
    ----------
    value : int
        The default, from 0 to 999999.
    label : str
        Shown beside the number.
    button : str
        Text of the button that takes the next number, ``"Shake it"``.

    Raises
    ------
    ValueError
        If `value` is not a whole number in that range, or a text is not one (the button's must not be empty).

    Examples
    --------
    >>> Seed(3).value
    3
    >>> Seed(button="Shake it").button
    'Shake it'
    """

    value: int = 0
    label: str = "Random draw"
    button: str = "New draw"

    kind: ClassVar[str] = "seed"
    largest: ClassVar[int] = _LARGEST_SEED

    def __post_init__(self):
        _text("Seed", "label", self.label)
        _text("Seed", "button", self.button)
        if not self.button.strip():
            raise ValueError(f"Seed: button must be a text, got {self.button!r}")
        if isinstance(self.value, bool) or not isinstance(self.value, int):
            raise ValueError(f"Seed: value must be a whole number, got {self.value!r}")
        self.check("Seed", self.value)

    def check(self, name, value):
        """Return `value` if it is a whole number in the range, or raise a ValueError that names the control."""
        number = _number(name, "the seed", value)
        if number != int(number) or not 0 <= number <= _LARGEST_SEED:
            raise ValueError(f"{name}={number:g} is not a seed: a whole number from 0 to {_LARGEST_SEED}")
        return value

    def somewhere(self, rng):
        """A seed, drawn with a ``random.Random``."""
        return rng.randrange(1000)

    @property
    def ends(self):
        """Two seeds to try."""
        return 0, 1

    def spec(self, name):
        """What the page's runtime needs to know."""
        return {"name": name, "kind": self.kind, "value": self.value, "largest": self.largest}


CONTROLS = (Slider, Choice, Seed, Toggle)
