"""Play: a slider that moves by itself, only when asked, and tells where it ended once.

What is checked is what was drawn and in which order; nothing depends on how long a move takes.
"""

import re

import pytest

from tests.live.page_figures import FIGURES
from tests.live.test_page import PHONE, assert_equals_torch, ready, shown, until

# Note what Plotly is given of a figure, what is said in it, and how often the address is written. No drawing beyond
# `log.limit` ends: a play that waits for its drawing cannot arrive before a test has done what it wants to do.
WATCH = """name => {
  const el = document.getElementById("live-" + name), react = Plotly.react, write = history.replaceState;
  const log = window.log = { drawn: [], said: [], written: 0, together: 0, limit: 1e9 };
  let open = 0;
  Plotly.react = async (plot, ...rest) => {
    if (plot.closest("figure") !== el) return react(plot, ...rest);
    log.together = Math.max(log.together, ++open);
    log.drawn.push(el.live.values);
    while (log.drawn.length > log.limit) await new Promise(ok => setTimeout(ok, 20));
    await react(plot, ...rest);
    open--;
  };
  history.replaceState = function (...given) { log.written++; return write.apply(this, given); };
  new MutationObserver(() => log.said.push(el.querySelector(".live-say").textContent))
    .observe(el.querySelector(".live-say"), { childList: true, characterData: true, subtree: true });
}"""


def watched(open_page, name, **context):
    """A page with one figure whose drawings are noted, and its card."""
    page = open_page(**context)
    card = ready(page, name)
    page.evaluate(WATCH, name)
    return page, card


def button(card, word, label="Time"):
    return card.get_by_role("button", name=f"{word} {label}", exact=True)


def begin(page, card, drawings):
    """Press Play; after so many drawings, the next one waits until `go`."""
    page.evaluate("limit => { log.limit = limit }", drawings)
    button(card, "Play").click()
    until(page, "log.drawn.length > log.limit")


def go(page):
    page.evaluate("() => { log.limit = 1e9 }")


def drawn(page, control):
    return page.evaluate("name => log.drawn.map(values => values[name])", control)


def positions(name, control, start):
    """Settings from one position to the end."""
    slider = FIGURES[name].controls[control]
    return [slider.at(position) for position in range(start, slider.count + 1)]


def said(page, title):
    """Wait for a sentence, and then for longer than a sentence waits: no other came before it or follows it."""
    until(page, "title => log.said.includes(title)", title)
    page.wait_for_timeout(600)
    assert page.evaluate("log.said") == [title]


def test_play_runs_to_the_end_and_shows_every_step(open_page):
    page, card = watched(open_page, "wave")
    before = page.url
    button(card, "Play").click()
    button(card, "Play").wait_for()
    assert drawn(page, "time") == positions("wave", "time", 6)
    assert assert_equals_torch(page, "wave")["time"] == 2
    said(page, FIGURES["wave"](time=2).layout.title.text)
    assert page.evaluate("log.written") == 1
    assert page.url == f"{before}?live-wave.time=2"
    assert page.evaluate("log.together") == 1


def test_at_the_end_play_begins_again(open_page):
    page, card = watched(open_page, "wave")
    shown(page, "wave", {"time": 2})
    button(card, "Play").click()
    button(card, "Play").wait_for()
    assert drawn(page, "time")[1:] == positions("wave", "time", 0)


def test_a_logarithmic_slider_plays_too(open_page):
    page, card = watched(open_page, "wave")
    shown(page, "wave", {"width": FIGURES["wave"].controls["width"].at(5)})
    button(card, "Play", "Width <m>").click()
    button(card, "Play", "Width <m>").wait_for()
    assert drawn(page, "width") == positions("wave", "width", 5)
    assert assert_equals_torch(page, "wave")["width"] == 10


def test_a_worker_figure_plays_each_step(open_page):
    page, card = watched(open_page, "heavy")
    shown(page, "heavy", {"lift": 0.97})
    button(card, "Play", "Lift").click()
    button(card, "Play", "Lift").wait_for(timeout=120_000)
    assert drawn(page, "lift") == positions("heavy", "lift", 97)
    assert page.evaluate("document.getElementById('live-heavy').live.worker")
    assert assert_equals_torch(page, "heavy")["lift"] == 1
    said(page, FIGURES["heavy"](lift=1).layout.title.text)


def test_a_lattice_plays(open_page):
    page, card = watched(open_page, "table")
    shown(page, "table", {"angle": 2.5})
    button(card, "Play", "Angle").click()
    button(card, "Play", "Angle").wait_for()
    assert drawn(page, "angle") == positions("table", "angle", 25)
    assert shown(page, "table")[1]["layout"]["title"]["text"] == FIGURES["table"](angle=3).layout.title.text


# -- what stops it -----------------------------------------------------------------------------------------------------
def test_pressing_again_pauses_and_says_where(open_page):
    page, card = watched(open_page, "wave")
    shown(page, "wave", {"time": 0})
    begin(page, card, 4)
    button(card, "Pause").click()
    button(card, "Play").wait_for()
    go(page)
    said(page, FIGURES["wave"](time=0.4).layout.title.text)
    assert drawn(page, "time") == [0, 0.1, 0.2, 0.3, 0.4]
    assert page.evaluate("log.written") == 1 and page.url.endswith("live-wave.time=0.4")
    button(card, "Play").click()
    button(card, "Play").wait_for()
    assert drawn(page, "time") == positions("wave", "time", 0)


STOPS = {
    "the slider's key": lambda page, card: card.get_by_label("Time", exact=True).press("Home"),
    "the slider's track": lambda page, card: card.get_by_label("Time", exact=True).click(),
    "reset": lambda page, card: card.get_by_role("button", name="Reset").click(),
    "the other button": lambda page, card: button(card, "Play", "Width <m>").click(),
    "scrolling away": lambda page, card: page.evaluate("scrollTo(0, 0)"),
    "another tab": lambda page, card: page.evaluate(
        """() => { Object.defineProperty(document, "hidden", { value: true });
        document.dispatchEvent(new Event("visibilitychange")) }"""
    ),
}


@pytest.mark.parametrize("stop", STOPS)
def test_what_pauses(open_page, stop):
    page, card = watched(open_page, "wave")
    begin(page, card, 0)
    STOPS[stop](page, card)
    button(card, "Play").wait_for()
    if stop == "the other button":
        button(card, "Pause", "Width <m>").wait_for()
    go(page)
    if stop == "the other button":
        button(card, "Play", "Width <m>").wait_for()
    until(page, "log.said.length > 0")
    settings = assert_equals_torch(page, "wave")
    said(page, FIGURES["wave"](**settings).layout.title.text)
    want = {"the slider's key": 0, "the slider's track": 1, "reset": 0.5}
    assert settings["time"] == want.get(stop, 0.6)


def test_an_error_pauses_and_stays_readable(open_page):
    page, card = watched(open_page, "wave", expect_errors=True)
    page.evaluate("() => { Plotly.react = () => { throw new Error('no room left') } }")
    button(card, "Play").click()
    card.locator(".live-say").get_by_text("This setting could not be shown: no room left").wait_for()
    button(card, "Play").wait_for()
    page.wait_for_timeout(600)
    assert "no room left" in card.locator(".live-say").text_content()


def test_other_controls_join_in_while_it_plays(open_page):
    page, card = watched(open_page, "wave")
    begin(page, card, 2)
    card.get_by_role("button", name="Shake <it>").click()
    go(page)
    until(page, "document.getElementById('live-wave').live.values.seed === 2")
    button(card, "Play").wait_for()
    times = drawn(page, "time")
    assert sorted(set(times)) == positions("wave", "time", 6)
    assert assert_equals_torch(page, "wave") == {"time": 2, "width": 1, "seed": 2}
    said(page, FIGURES["wave"](time=2, seed=2).layout.title.text)


# -- who wants little motion, a keyboard, a screen reader, a finger ----------------------------------------------------
def test_nothing_moves_unless_asked(open_page):
    page, _ = watched(open_page, "wave")
    page.wait_for_timeout(300)
    assert page.evaluate("log") == {"drawn": [], "said": [], "written": 0, "together": 0, "limit": 1e9}


def test_with_reduced_motion_a_press_is_one_jump(open_page):
    page, card = watched(open_page, "wave", reduced_motion="reduce")
    step = button(card, "Step")
    assert step.text_content() == "Step" and button(card, "Step", "Width <m>").count() == 1
    for want in (0.6, 0.8, 1.0):
        step.click()
        until(page, "time => log.drawn.at(-1)?.time === time", want)
    assert drawn(page, "time") == [0.6, 0.8, 1.0]
    shown(page, "wave", {"time": 1.9})
    for want in (2, 0, 0.2):
        step.click()
        until(page, "time => log.drawn.at(-1)?.time === time", want)
    said(page, FIGURES["wave"](time=0.2).layout.title.text)
    assert drawn(page, "time") == [0.6, 0.8, 1.0, 1.9, 2, 0, 0.2]
    assert_equals_torch(page, "wave")


def test_changing_ones_mind_about_motion(open_page):
    page, card = watched(open_page, "wave")
    begin(page, card, 2)
    page.emulate_media(reduced_motion="reduce")
    button(card, "Step").wait_for()
    go(page)
    said(page, FIGURES["wave"](time=0.8).layout.title.text)
    assert drawn(page, "time") == [0.6, 0.7, 0.8]
    page.emulate_media(reduced_motion="no-preference")
    button(card, "Play").wait_for()


@pytest.mark.parametrize("key", ["Space", "Enter"])
def test_keyboard(open_page, key):
    page, card = watched(open_page, "wave")
    page.evaluate("() => { log.limit = 0 }")
    button(card, "Play").focus()
    page.keyboard.press(key)
    assert card.evaluate("el => el.contains(document.activeElement) && document.activeElement.dataset.play") == "time"
    assert button(card, "Pause").evaluate("b => b.matches(':focus-visible') && getComputedStyle(b).outlineWidth") == (
        "3px"
    )
    page.keyboard.press(key)
    button(card, "Play").wait_for()
    page.keyboard.press("Tab")
    go(page)
    page.keyboard.press("End")
    until(page, "log.drawn.at(-1).time === 2")


def test_fingers_find_the_button(open_page):
    page, card = watched(open_page, "wave", **PHONE)
    box = button(card, "Play").bounding_box()
    assert box["width"] >= 44 and box["height"] >= 44
    page.evaluate("() => { log.limit = 0 }")
    button(card, "Play").tap()
    button(card, "Pause").tap()
    button(card, "Play").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_without_a_script_there_is_no_button(open_page):
    card = open_page(java_script_enabled=False).locator("#live-wave")
    assert card.locator("[data-play]").count() == 2 and not card.locator("[data-play]").first.is_visible()


def test_only_sliders_that_play_have_a_button():
    assert FIGURES["growth"].page().count("data-play") == 0
    html = FIGURES["wave"].page()
    assert re.findall(r'data-play="(\w+)" aria-label="([^"]*)"', html) == [
        ("time", "Play Time"),
        ("width", "Play Width &lt;m&gt;"),
    ]
    assert 'data-draw="seed">Shake &lt;it&gt;</button>' in html
