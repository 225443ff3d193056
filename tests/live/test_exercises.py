"""Exercises: bad input, the judgement, the notebook, and the page, which must say what Python says."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.exercises import Bet, Number, Pick, judge
from tests.live.page_figures import QUESTIONS

BET, NUMBER, PICK = QUESTIONS

TYPED = [
    *(
        "0.1",
        " 0.1 ",
        "0.105",
        "0.1049",
        "0.0951",
        "0.095",
        ".1",
        "1e-1",
        "10e-2",
        "+0.1",
        "1E-1",
        "0.1000000000000000001",
    ),
    *("0.6", "0.5", "0.3", "1e9", "1e308", "-1", "-1.5", "−2", "-1e308", "0", "-0", "0.09"),
    *(
        "",
        " ",
        "abc",
        "0,1",
        "1 2",
        "0.1 per year",
        "nan",
        "NaN",
        "inf",
        "-Infinity",
        "1e999",
        "1e",
        "e5",
        "--1",
        "+-1",
    ),
    *(
        ".",
        "-",
        "0x10",
        "1_000",
        "٣",
        "½",
        "0.1\n",
        "\t0.1",
        "true",
        "None",
        "1/10",
        "<b>0.1</b>",
        "__proto__",
        "constructor",
    ),
    *("5.", "5.e1", "00.1", "1e+2", "1e-400", "9" * 400, "−−1", "0.1−"),
]


@pytest.mark.parametrize(
    ("value", "correct", "message"),
    [
        (0.1, True, "Right: the two curves meet."),
        ("0.1", True, "Right: the two curves meet."),
        (0.105, True, "Right: the two curves meet."),
        (0.11, False, "Too high."),
        (0.5, False, "Far too high."),
        (-1, False, "Far too low."),
        (0, False, "Too low."),
        ("soon", False, "Write a number, such as 1.5, -3 or 2e-4."),
        (None, False, "Write a number, such as 1.5, -3 or 2e-4."),
        (True, False, "Write a number, such as 1.5, -3 or 2e-4."),
        (math.nan, False, "Write a number, such as 1.5, -3 or 2e-4."),
        ([0.1], False, "Write a number, such as 1.5, -3 or 2e-4."),
    ],
)
def test_number(value, correct, message):
    verdict = NUMBER.check(value)
    assert (verdict.correct, verdict.message, bool(verdict), str(verdict)) == (correct, message, correct, message)


def test_pick_and_bet():
    assert PICK.check("half")
    assert PICK.check("model").message == "Read the legend."
    assert BET.check("no").message == "You bet on “no”. You were right. The rate is below zero."
    assert BET.check("yes").message == "You bet on “yes”. It is “no”. The rate is below zero."
    for question in (PICK, BET):
        for nonsense in (None, "maybe", 0, 1.5, True, ""):
            assert question.check(nonsense).message == "Choose one of the answers first."


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Number("Bad id", "?", 1, tolerance=0), "id must be lower-case"),
        (lambda: Number("a", "", 1, tolerance=0), "question must be a text"),
        (lambda: Number("a", "?", "1", tolerance=0), "answer must be a finite number"),
        (lambda: Number("a", "?", math.inf, tolerance=0), "answer must be a finite number"),
        (lambda: Number("a", "?", 1, tolerance=-1), "tolerance must be at least 0"),
        (lambda: Number("a", "?", 1, tolerance=True), "tolerance must be a finite number"),
        (lambda: Number("a", "?", 1, tolerance=0, hints=[(2, 1, "no")]), "low <= high"),
        (lambda: Number("a", "?", 1, tolerance=0, hints=[(1, 2)]), "a hint is"),
        (lambda: Number("a", "?", 1, tolerance=0, hints=[(1, 2, " ")]), "hint must be a text"),
        (lambda: Number("a", "?", 1, tolerance=0.5, hints=[(0.9, 1.1, "near")]), "could never be shown"),
        (lambda: Pick("a", "?", ("x",), "x", hints={}), "at least two"),
        (lambda: Pick("a", "?", ("x", "x"), "x", hints={}), "all different"),
        (lambda: Pick("a", "?", "xy", "x", hints={}), "must be a tuple"),
        (lambda: Pick("a", "?", ("x", 2), "x", hints={2: "no"}), "options must be a text"),
        (lambda: Pick("a", "?", ("x", "y"), "z", hints={}), "answer must be one of"),
        (lambda: Pick("a", "?", ("x", "y"), "x", hints={}), "hints must be for the wrong options"),
        (lambda: Pick("a", "?", ("x", "y"), "x", hints={"y": ""}), "hint for 'y' must be a text"),
        (lambda: Bet("a", "?", ("x", "y"), "x", ""), "reveal must be a text"),
        (lambda: Bet("a", "?", ("x", "y"), "q", "r"), "answer must be one of"),
    ],
)
def test_bad_questions(make, words):
    with pytest.raises(ValueError, match=words):
        make()


@given(st.one_of(st.floats(), st.integers(), st.text(), st.none(), st.booleans()))
def test_nothing_is_an_error(value):
    for question in QUESTIONS:
        assert question.check(value).message


def test_widgets_say_the_same():
    box = NUMBER.widget()
    for text in ("0.1", "0.3", "abc"):
        box.entry.value = text
        box.button.click()
        assert box.say.value.endswith(NUMBER.check(text).message)
    assert not box.button.disabled
    box = BET.widget()
    box.button.click()
    assert "Choose one" in box.say.value and not box.button.disabled
    box.entry.value = "yes"
    box.button.click()
    assert "It is “no”" in box.say.value and box.button.disabled


def test_shown_as_html_in_the_build_and_as_widget_elsewhere(monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda bundle, raw=False: shown.append(bundle))
    monkeypatch.setenv("LIVE_PAGE", "1")
    PICK._ipython_display_()
    assert shown[0]["text/html"] == PICK.page()
    monkeypatch.delenv("LIVE_PAGE")
    PICK._ipython_display_()
    assert shown[1].entry.options == PICK.options


# -- the page ----------------------------------------------------------------------------------------------------------
def test_page_and_python_judge_alike(open_page):
    page = open_page()
    card = page.locator("#exercise-cross")
    field = card.get_by_label("Your answer")
    for text in TYPED:
        # The field itself drops line breaks, so Python is asked about what the field holds.
        field.fill(text)
        field.press("Enter")
        verdict = judge(NUMBER.data, field.input_value())
        assert card.locator(".exercise-say").text_content() == verdict.message, text
        assert card.get_attribute("data-verdict") == ("right" if verdict else "wrong"), text


def test_pick_in_the_page(open_page):
    page = open_page()
    card = page.locator("#exercise-who")
    check = card.get_by_role("button", name="Check")
    check.click()
    assert card.locator(".exercise-say").text_content() == PICK.check(None).message
    for option in PICK.options:
        card.get_by_label(option).check()
        check.click()
        assert card.locator(".exercise-say").text_content() == PICK.check(option).message


def test_a_bet_is_final_and_remembered(open_page):
    page = open_page()
    card = page.locator("#exercise-first")
    commit = card.get_by_role("button", name="Commit")
    commit.click()
    assert card.locator(".exercise-say").text_content() == BET.check(None).message
    assert "below" not in card.locator(".exercise-say").text_content()
    card.get_by_label("yes").check()
    commit.click()
    assert card.locator(".exercise-say").text_content() == BET.check("yes").message
    assert commit.is_disabled() and card.get_by_label("no", exact=True).is_disabled()
    page.reload()
    assert card.locator(".exercise-say").text_content() == BET.check("yes").message
    assert card.get_by_label("yes").is_checked() and commit.is_disabled()


def test_a_bet_works_where_storage_is_forbidden(open_page):
    def forbid(page):
        page.add_init_script(
            "Object.defineProperty(window, 'sessionStorage', { get() { throw new Error('forbidden') } })"
        )

    page = open_page(before=forbid)
    card = page.locator("#exercise-first")
    card.get_by_label("yes").check()
    card.get_by_role("button", name="Commit").click()
    assert card.locator(".exercise-say").text_content() == BET.check("yes").message


def test_solutions_are_folded_and_keyboard_is_enough(open_page):
    page = open_page()
    card = page.locator("#exercise-cross")
    assert not card.get_by_text("Solve").is_visible()
    card.locator("summary").focus()
    page.keyboard.press("Enter")
    assert card.get_by_text("Solve").is_visible()
    card.get_by_label("Your answer").focus()
    page.keyboard.type("0.1")
    page.keyboard.press("Enter")
    assert card.locator(".exercise-say").text_content() == "Right: the two curves meet."


def test_without_javascript(open_page):
    page = open_page(java_script_enabled=False)
    card = page.locator("#exercise-first")
    assert card.get_by_role("button", name="Commit").is_disabled()
    assert card.locator("noscript .live-note").inner_text() == "Turn on JavaScript to check your answer here."
    card.locator("noscript summary").click()
    assert card.locator("noscript details p").inner_text() == "no. The rate is below zero."
