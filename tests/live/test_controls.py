"""Controls: what they accept, the positions of sliders, and errors that name the argument."""

import itertools
import json
import random
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.live import Choice, Seed, Slider, Toggle


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (dict(lo=1, hi=1, value=1), "lo must be below hi"),
        (dict(lo=2, hi=1, value=1), "lo must be below hi"),
        (dict(lo=0, hi=1, value=1.2), r"value must lie in \[0, 1\], got 1.2"),
        (dict(lo="0", hi=1, value=0.5), "lo must be a number, got '0'"),
        (dict(lo=0, hi=float("inf"), value=0.5), "hi must be finite"),
        (dict(lo=0, hi=float("nan"), value=0.5), "hi must be finite"),
        (dict(lo=0, hi=1, value=True), "value must be a number, got True"),
        (dict(lo=0, hi=1, value=0.5, format="d"), "format must look like"),
        (dict(lo=0, hi=1, value=0.5, format=2), "format must look like"),
        (dict(lo=0, hi=1, value=0.5, ticks=1), "ticks must be a whole number"),
        (dict(lo=0, hi=1, value=0.5, ticks=2.5), "ticks must be a whole number"),
        (dict(lo=0, hi=1, value=0.5, label=3), "label must be a string"),
        (dict(lo=0, hi=1, value=0.5, unit=None), "unit must be a string"),
        (dict(lo=0, hi=1, value=0.5, step=0), "step must lie in"),
        (dict(lo=0, hi=1, value=0.5, step=-0.1), "step must lie in"),
        (dict(lo=0, hi=1, value=0.5, step=2), "step must lie in"),
        (dict(lo=0, hi=1, value=0.5, step=0.3), "step grid"),
        (dict(lo=0, hi=1, value=0.55, step=0.1), "step grid"),
        (dict(lo=0, hi=1, value=0.3337), "no round step"),
        (dict(lo=0, hi=0.02, value=0.01), "shows neighbouring settings alike"),
        (dict(lo=0, hi=1, value=0.5, step=0.001), "shows neighbouring settings alike"),
        (dict(lo=0, hi=1, value=0.5, log=True), "lo must be above 0"),
        (dict(lo=1, hi=10, value=5, log=True, step=1), "step of a logarithmic slider is a factor"),
        (dict(lo=1, hi=10, value=5, log=True, step=20), "step of a logarithmic slider is a factor"),
        (dict(lo=0, hi=1, value=0.5, play=1), "play must be True or False, got 1"),
        (dict(lo=0, hi=1, value=0.5, play="loop"), "play must be True or False, got 'loop'"),
        (
            dict(lo=0, hi=1, value=0, step=1, play=True),
            "play needs a slider of 2 to 600 steps, got 1: choose a smaller",
        ),
        (dict(lo=0, hi=2000, value=0, step=1, play=True), "2 to 600 steps, got 2,000: choose a larger step"),
        (
            dict(lo=1, hi=9, value=2, log=True, step=1.001, play=True),
            "2 to 600 steps, got 2,198: choose a larger",
        ),
    ],
)
def test_bad_sliders(arguments, words):
    with pytest.raises(ValueError, match=words):
        Slider(**arguments)


def test_the_label_names_the_slider_in_errors():
    with pytest.raises(ValueError, match="Slider 'Coupling': value must lie"):
        Slider(0, 1, 2, label="Coupling")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Choice(()), "at least two"),
        (lambda: Choice(("a",)), "at least two"),
        (lambda: Choice(("a", "a")), "all different"),
        (lambda: Choice((1, "1")), "all different"),
        (lambda: Choice("ab"), "options must be a tuple"),
        (lambda: Choice(3), "options must be a tuple"),
        (lambda: Choice((True, False)), "Toggle"),
        (lambda: Choice((("label", 1), ("other", 2))), "str, int or float"),
        (lambda: Choice(("a|b", "c")), "without '|'"),
        (lambda: Choice((" ", "c")), "without '|'"),
        (lambda: Choice(("a", "b"), "c"), "not one of its options"),
        (lambda: Choice((1, 2), 1.0), "not one of its options"),
        (lambda: Seed(-1), "not a seed"),
        (lambda: Seed(1_000_000), "not a seed"),
        (lambda: Seed(1.5), "whole number"),
        (lambda: Seed(True), "whole number"),
        (lambda: Seed(button=None), "button must be a string, got None"),
        (lambda: Seed(button=" "), "button must be a text, got ' '"),
        (lambda: Toggle(1), "True or False"),
        (lambda: Toggle(None), "True or False"),
        (lambda: Toggle(label=2), "label must be a string"),
    ],
)
def test_bad_choices_seeds_and_toggles(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_controls_are_frozen_and_equal_by_value():
    assert Slider(0, 1, 0.5) == Slider(0, 1, 0.5)
    with pytest.raises(AttributeError):
        Seed().value = 3


@pytest.mark.parametrize(
    ("slider", "step"),
    [
        (Slider(0, 4, 1.5), 0.05),
        (Slider(0, 1, 0.5), 0.01),
        (Slider(0.05, 1, 0.5), 0.01),
        (Slider(1, 40, 12, format=".0f"), 1),
        (Slider(-3, 3, 0.0), 0.05),
        (Slider(0.02, 0.06, 0.036, format=".4f"), 0.0005),
        (Slider(0, 1_000_000, 250_000, format=".0f"), 10_000),
        (Slider(0, 1, 0.5, format=".0%"), 0.01),
    ],
)
def test_a_round_step_is_found(slider, step):
    assert slider.step == step


@given(
    low=st.integers(-50, 50),
    parts=st.integers(20, 400),
    home=st.integers(0, 400),
    step=st.sampled_from([0.001, 0.002, 0.05, 0.1, 0.5, 1, 20]),
)
def test_linear_positions_are_exact_where_it_matters(low, parts, home, step):
    lo = low * step
    slider = Slider(lo, lo + parts * step, lo + min(home, parts) * step, step, format=".6f")
    settings_ = [slider.at(position) for position in range(slider.count + 1)]
    assert settings_[0] == slider.lo and settings_[-1] == slider.hi and settings_[slider.home] == slider.value
    assert all(a < b for a, b in itertools.pairwise(settings_))


@given(lo=st.floats(1e-6, 1e3), ratio=st.floats(1.5, 1e9), share=st.floats(0, 1))
def test_log_positions_are_exact_where_it_matters(lo, ratio, share):
    value = min(max(lo * ratio**share, lo), lo * ratio)
    slider = Slider(lo, lo * ratio, value, log=True, format=".3e")
    settings_ = [slider.at(position) for position in range(slider.count + 1)]
    assert settings_[0] == slider.lo and settings_[-1] == slider.hi and settings_[slider.home] == slider.value
    assert all(a <= b for a, b in itertools.pairwise(settings_[1:-1]))


def test_a_log_step_is_a_factor():
    assert Slider(1, 1024, 32, log=True, step=2).count == 10


@pytest.mark.parametrize("steps", [2, 600])
def test_a_slider_that_plays_may_have_two_to_six_hundred_steps(steps):
    assert Slider(0, steps, 0, step=1, format=".0f", play=True).count == steps


@pytest.mark.parametrize("control", [Slider(0.2, 3, 1), Slider(0.01, 3, 1, log=True), Seed(5)])
def test_somewhere_is_inside(control):
    rng = random.Random(0)
    for _ in range(50):
        control.check("x", control.somewhere(rng))
    for end in control.ends:
        control.check("x", end)


def test_specs_are_json():
    for control in (Slider(0, 1, 0.5, unit="1"), Slider(1, 9, 3, log=True), Choice((1, "a", 0.5)), Seed(), Toggle()):
        row = json.loads(json.dumps(control.spec("x")))
        assert row["name"] == "x" and row["kind"] == control.kind and row["value"] == control.value


def test_importing_the_package_is_cheap():
    code = "import sys; from lib.live import Slider; print({'torch', 'plotly', 'numpy'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"


def test_unknown_names_of_the_package():
    import lib.live

    assert "Slider" in dir(lib.live)
    with pytest.raises(AttributeError, match="no attribute 'slider'"):
        _ = lib.live.slider
