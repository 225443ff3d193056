"""The page against torch: every control at its ends, default and in between; and what a reader can do with a figure."""

import csv
import io
import random
import re

import numpy as np
import pytest

from lib.live.leaves import differ, plain
from lib.site import serve
from tests.browser.pages import AXE
from tests.live.page_figures import FIGURES

PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True, "device_scale_factor": 2}
SHOWN = """([id, values]) => {
  const el = document.getElementById(id), list = (key, v) => ArrayBuffer.isView(v) ? Array.from(v) : v;
  const plain = x => JSON.parse(JSON.stringify(x, list)), plot = el.querySelector(".live-plot");
  return (values ? el.live.set(values) : Promise.resolve()).then(() =>
    [el.live.values, plain(el.live.figure), plot.data.map(t => plain({ x: t.x, y: t.y, z: t.z }))]);
}"""


def ready(page, name, state="live-on"):
    """Scroll to a figure and wait until it is live (or knows that it cannot be)."""
    card = page.locator(f"#live-{name}")
    card.scroll_into_view_if_needed()
    page.wait_for_selector(f"#live-{name}.{state}", timeout=120_000)
    return card


def until(page, expression, argument=None):
    """Wait until something holds in the page (Playwright's own waiting needs eval, which the policy forbids)."""
    for _ in range(600):
        if page.evaluate(expression, argument):
            return
        page.wait_for_timeout(50)
    pytest.fail(f"still not so after many looks: {expression}")


def shown(page, name, values=None):
    """Set controls; return the page's settings, its figure, and the arrays that Plotly holds."""
    return page.evaluate(SHOWN, [f"live-{name}", values])


def assert_equals_torch(page, name, values=None):
    """The page's figure and Plotly's own arrays are Python's, value for value."""
    settings, figure, drawn = shown(page, name, values)
    want = plain(FIGURES[name](**settings))
    want["layout"].pop("template", None)
    differ(figure, want, name)
    for trace, arrays in zip(want["data"], drawn):
        for key in arrays:
            np.testing.assert_allclose(np.array(arrays[key], float), np.array(trace[key], float), rtol=1e-6, atol=1e-12)
    return settings


def places(control):
    """Settings to try: both ends, the default, and two at random."""
    if control.kind in ("choice", "toggle"):
        return list(control.settings)
    if control.kind == "seed":
        return [0, control.largest, 17]
    rng = random.Random(1)
    return [control.at(place) for place in (0, control.count, control.home, *rng.sample(range(control.count), 2))]


@pytest.mark.parametrize(
    ("name", "control"), [(n, c) for n in ("growth", "draws", "heavy") for c in FIGURES[n].controls]
)
def test_page_equals_torch(open_page, name, control):
    page = open_page()
    ready(page, name)
    assert_equals_torch(page, name)
    for value in places(FIGURES[name].controls[control]):
        settings = assert_equals_torch(page, name, {control: value})
        assert settings == FIGURES[name].defaults | {control: value}


def test_all_controls_together(open_page):
    page = open_page()
    rng = random.Random(2)
    for name in ("growth", "draws"):
        ready(page, name)
        for _ in range(8):
            values = {key: rng.choice(places(control)) for key, control in FIGURES[name].controls.items()}
            assert assert_equals_torch(page, name, values) == values


def test_the_lattice_is_exact_at_its_points_and_between_them_in_between(open_page):
    page = open_page()
    ready(page, "table")
    angles = FIGURES["table"].spec()["variants"][""]["grid"]["axes"]["angle"]
    exact = {angle: np.array(plain(FIGURES["table"](angle=angle))["data"][0]["z"]) for angle in angles}
    for angle in angles:
        settings, figure, _ = shown(page, "table", {"angle": angle})
        assert settings == {"angle": angle}
        np.testing.assert_allclose(figure["data"][0]["z"], exact[angle], atol=2 / 65535)
        assert figure["layout"]["title"]["text"] == FIGURES["table"](angle=angle).layout.title.text
    low, high = angles[1:3]
    middle = shown(page, "table", {"angle": (low + high) / 2})
    np.testing.assert_allclose(middle[1]["data"][0]["z"], (exact[low] + exact[high]) / 2, atol=2 / 65535)


# -- what a reader does ------------------------------------------------------------------------------------------------
def test_keyboard_and_words(open_page):
    page = open_page()
    card = ready(page, "growth")
    slider = card.get_by_label("Growth rate")
    slider.focus()
    page.keyboard.press("End")
    title = FIGURES["growth"](rate=1.0).layout.title.text
    card.locator(".live-say").get_by_text(title).wait_for(state="attached")
    assert slider.get_attribute("aria-valuetext") == "1.00 per year"
    assert card.locator("output").first.text_content() == "1.00"
    assert card.locator(".live-title").text_content() == title
    page.keyboard.press("ArrowLeft")
    card.locator(".live-say").get_by_text(FIGURES["growth"](rate=0.98).layout.title.text).wait_for(state="attached")
    card.get_by_label("Logarithmic axis").focus()
    page.keyboard.press("Space")
    until(page, "document.querySelector('#live-growth .live-plot').layout.yaxis.type === 'log'")
    assert_equals_torch(page, "growth")


def test_the_status_is_silent_until_something_changes(open_page):
    page = open_page()
    card = ready(page, "growth")
    page.wait_for_timeout(600)
    assert card.locator(".live-say").text_content() == ""


def test_new_draw_and_reset(open_page):
    page = open_page()
    card = ready(page, "draws")
    card.get_by_role("button", name="New draw").click()
    card.get_by_label("Points").select_option("7")
    card.get_by_label("Shape").select_option(index=1)
    settings = assert_equals_torch(page, "draws", {})
    assert settings == {"seed": 4, "size": 7, "shape": 'odd "<&> name'}
    card.get_by_role("button", name="Reset").click()
    assert assert_equals_torch(page, "draws", {}) == FIGURES["draws"].defaults


@pytest.mark.parametrize(("typed", "seed"), [("", 0), ("-5", 0), ("12.7", 13), ("99999999", 999_999)])
def test_any_number_typed_as_a_seed_gives_a_seed(open_page, typed, seed):
    page = open_page()
    card = ready(page, "draws")
    card.get_by_label("Random draw").fill(typed)
    assert assert_equals_torch(page, "draws", {})["seed"] == seed


def test_settings_are_in_the_address(open_page, live_server):
    page = open_page()
    ready(page, "growth")
    values = {"rate": -0.4, "scale": 10.0, "log": True}
    shown(page, "growth", values)
    page.wait_for_url("**/*live-growth.scale=10*")
    address = page.url
    assert (
        address.startswith(f"{live_server}?")
        and "live-growth.rate=-0.4" in address
        and "live-growth.log=true" in address
    )
    again = open_page(address)
    ready(again, "growth")
    assert assert_equals_torch(again, "growth") == values
    assert again.locator("#live-growth output").first.text_content() == "-0.40"
    ready(again, "draws")
    again.locator("#live-growth").get_by_role("button", name="Reset").click()
    again.wait_for_url(live_server)


@pytest.mark.parametrize("name", ["growth", "draws"])
def test_every_position_survives_the_address(open_page, live_server, name):
    rng = random.Random(3)
    for _ in range(3):
        values = {
            key: control.at(rng.randrange(control.count)) if control.kind == "slider" else rng.choice(places(control))
            for key, control in FIGURES[name].controls.items()
        }
        page = open_page()
        ready(page, name)
        shown(page, name, values)
        link = page.evaluate(
            "id => { const el = document.getElementById(id); return el.live.link().href }", f"live-{name}"
        )
        again = open_page(link)
        ready(again, name)
        assert shown(again, name)[0] == values


def test_nonsense_in_the_address_is_ignored(open_page, live_server):
    nonsense = [
        "growth.rate=fast",
        "growth.scale=-3",
        "growth.log=perhaps",
        "draws.size=5",
        "draws.seed=-1",
        "other.x=1",
    ]
    page = open_page(f"{live_server}?{'&'.join('live-' + part for part in nonsense)}")
    ready(page, "growth")
    assert assert_equals_torch(page, "growth") == FIGURES["growth"].defaults
    ready(page, "draws")
    assert assert_equals_torch(page, "draws") == FIGURES["draws"].defaults | {"seed": 0}


def test_copy_link(open_page, live_server):
    page = open_page(permissions=["clipboard-read", "clipboard-write"])
    card = ready(page, "growth")
    shown(page, "growth", {"rate": 0.5})
    card.get_by_role("button", name="Copy link").click()
    card.get_by_role("button", name="Link copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == f"{live_server}?live-growth.rate=0.5#live-growth"


def test_copy_link_without_a_clipboard(open_page):
    page = open_page(
        before=lambda page: page.add_init_script("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
    )
    card = ready(page, "growth")
    shown(page, "growth", {"rate": 0.5})
    card.get_by_role("button", name="Copy link").click()
    card.get_by_role("button", name="It is in the address bar").wait_for()
    assert page.url.endswith("?live-growth.rate=0.5#live-growth")


def test_numbers_table_and_csv(open_page):
    page = open_page()
    card = ready(page, "growth")
    card.get_by_text("Numbers in this figure").click()
    card.locator("td").first.wait_for()
    shown(page, "growth", {"rate": 0.1})
    want = FIGURES["growth"](rate=0.1)
    card.locator("caption").get_by_text(want.layout.title.text).wait_for()
    table = card.locator("table").evaluate("t => [...t.rows].map(r => [...r.cells].map(c => c.textContent))")
    assert table[0] == ["model: time (year)", "model: count, all (1)", "half: time (year)", "half: count, all (1)"]
    columns = [want.data[0].x, want.data[0].y, range(11), want.data[1].y]
    np.testing.assert_allclose(np.array(table[1:], float).T, [list(column) for column in columns], rtol=1e-5)
    with page.expect_download() as download:
        card.get_by_role("button", name="Download CSV").click()
    assert download.value.suggested_filename == "growth.csv"
    rows = list(csv.reader(io.StringIO(download.value.path().read_text())))
    assert rows[0] == table[0]
    np.testing.assert_allclose(np.array(rows[1:], float).T, [list(column) for column in columns], rtol=1e-12)


def test_numbers_of_a_map_are_long_columns(open_page):
    page = open_page()
    card = ready(page, "table")
    card.get_by_text("Numbers in this figure").click()
    card.locator("td").first.wait_for()
    table = np.array(
        card.locator("table").evaluate("t => [...t.tBodies[0].rows].map(r => [...r.cells].map(c => +c.textContent))")
    )
    z = np.array(plain(FIGURES["table"]())["data"][0]["z"])
    assert table.shape == (36, 3)
    np.testing.assert_allclose(table[:, 2].reshape(6, 6), z, atol=1e-4)
    np.testing.assert_allclose(table[:6, 0], np.linspace(0, 1, 6), rtol=1e-5)
    np.testing.assert_allclose(table[::6, 1], range(6))


# -- how it looks ------------------------------------------------------------------------------------------------------
def colours(page):
    return page.evaluate(
        """() => { const plot = document.querySelector("#live-growth .live-plot");
        const { font, paper_bgcolor } = plot._fullLayout;
        return [font.color, paper_bgcolor, plot.data[0].line.color, plot.data[1].marker.color] }"""
    )


def test_figures_follow_the_theme(open_page):
    page = open_page()
    ready(page, "growth")
    light = colours(page)
    assert light[1:] == ["rgba(0,0,0,0)", "#0072B2", "#767676"]
    draws = page.evaluate("document.querySelector('#live-growth').live.draws")
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    until(page, "n => document.querySelector('#live-growth').live.draws > n", draws)
    night = colours(page)
    assert night[1] == "rgba(0,0,0,0)" and all(a != b for a, b in zip(light[2:], night[2:])) and night[0] != light[0]
    assert_equals_torch(page, "growth", {"rate": 0.2})
    page.evaluate("document.documentElement.dataset.theme = 'light'")
    until(page, "c => document.querySelector('#live-growth .live-plot').data[0].line.color === c", "#0072B2")
    assert colours(page)[2:] == light[2:]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("context", [{}, PHONE], ids=["desktop", "phone"])
def test_axe_finds_nothing(open_page, theme, context):
    page = open_page(**context)
    page.evaluate("theme => { document.documentElement.dataset.theme = theme }", theme)
    for name in FIGURES:
        ready(page, name)
    page.locator("#live-growth").get_by_text("Numbers in this figure").click()
    page.evaluate(AXE.read_text(encoding="utf8") + "; 0")
    result = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    assert [(rule["id"], node["html"][:200]) for rule in result["violations"] for node in rule["nodes"]] == []


def test_phone(open_page):
    page = open_page(**PHONE)
    for name in FIGURES:
        card = ready(page, name)
        box = card.bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= 390
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    slider = page.get_by_label("Growth rate")
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    assert box["height"] >= 44
    page.touchscreen.tap(box["x"] + box["width"] * 0.9, box["y"] + box["height"] / 2)
    assert shown(page, "growth", {})[0]["rate"] > 0.6
    legend, axis = page.evaluate(
        """['.legend', '.xaxislayer-above'].map(
        q => document.querySelector('#live-growth ' + q).getBoundingClientRect().top)"""
    )
    assert legend > axis
    assert page.evaluate("document.querySelector('#live-growth .live-plot').layout.dragmode") is False


def test_turning_the_phone_moves_the_legend(open_page):
    page = open_page(viewport={"width": 900, "height": 800})
    ready(page, "growth")
    where = "document.querySelector('#live-growth .live-plot')._fullLayout.legend.yanchor"
    assert page.evaluate(where) == "bottom"
    page.set_viewport_size({"width": 390, "height": 844})
    until(page, f"{where} === 'top'")
    assert page.evaluate("document.querySelector('#live-growth .live-plot')._fullLayout.width") <= 390


def test_nothing_moves_when_a_figure_comes_alive(open_page):
    still = open_page(java_script_enabled=False)
    page = open_page()
    for name in FIGURES:
        ready(page, name)
    for name in FIGURES:
        boxes = [p.locator(f"#live-{name} .live-stage").bounding_box() for p in (still, page)]
        assert boxes[0]["height"] == boxes[1]["height"]


# -- when something is missing -----------------------------------------------------------------------------------------
def assert_still(card):
    assert card.locator("img.only-light").evaluate("i => i.complete && i.naturalWidth > 0")
    assert card.locator("img.only-light").is_visible() and not card.locator("img.only-dark").is_visible()


def test_without_javascript_the_picture_and_a_sentence(open_page):
    page = open_page(java_script_enabled=False)
    card = page.locator("#live-growth")
    assert card.locator("img.only-light").is_visible()
    note = card.locator("noscript .live-note")
    assert note.is_visible() and note.inner_text().startswith("This is a still picture. Turn on JavaScript")
    assert note.locator("a").get_attribute("href") == "notebook.html"
    assert not card.get_by_label("Growth rate").is_visible() and not card.locator("button").first.is_visible()
    assert card.locator(":is(input, select, button):enabled").count() == 0
    assert "ends at" in card.locator(".live-title").text_content()


def test_without_the_drawing_library_the_picture_and_a_sentence(open_page):
    page = open_page(
        expect_errors=True, before=lambda page: page.route("**/plotly.min.js", lambda route: route.abort())
    )
    card = ready(page, "growth", "live-off")
    assert_still(card)
    assert (
        card.locator(".live-say").text_content()
        == "This figure is a still picture here: the drawing library did not load."
    )
    assert card.locator(".live-say").is_visible()
    assert (
        not card.get_by_label("Growth rate").is_visible() and not card.get_by_role("button", name="Reset").is_visible()
    )


def test_a_program_this_runtime_does_not_know(open_page):
    def spoil(page):
        def answer(route):
            response = route.fetch()
            route.fulfill(response=response, body=re.sub(r'"exp"', '"unheard"', response.text()))

        page.route("**/index.html", answer)

    page = open_page(expect_errors=True, before=spoil)
    card = ready(page, "growth", "live-off")
    assert_still(card)
    assert "no operation unheard" in card.locator(".live-say").text_content()
    ready(page, "draws")


def test_pictures_are_what_the_page_draws(open_page, live_folder):
    page = open_page()
    ready(page, "growth")
    live_line = page.evaluate(
        "document.querySelector('#live-growth .scatterlayer .js-line').getAttribute('d').match(/[LH,]/g).length"
    )
    name = page.locator("#live-growth").get_attribute("data-still")
    for theme, colour in (("light", "0, 114, 178"), ("dark", "88, 176, 232")):
        picture = (live_folder / "_static/stills" / f"{name}-{theme}.svg").read_text()
        assert picture.startswith("<svg") and f"rgb({colour})" in picture
        line = re.search(r'class="js-line"[^>]* d="([^"]*)"', picture)[1]
        assert len(re.findall("[LH,]", line)) == live_line


def test_no_request_leaves_the_site(open_page, live_server):
    page = open_page()
    for name in FIGURES:
        ready(page, name)
    outside = [url for url in page.requests if not url.startswith((live_server.rsplit("/", 1)[0], "data:", "blob:"))]
    assert outside == []
    assert sum("plotly.min.js" in url for url in page.requests) == 1


def test_figures_wait_until_they_are_near(open_page):
    page = open_page(viewport={"width": 800, "height": 300})
    ready(page, "growth")
    assert page.evaluate("document.querySelector('#live-heavy').live === undefined")
    ready(page, "heavy")


def test_standalone_document(open_page, tmp_path, browser):
    path = tmp_path / "alone.html"
    path.write_text(FIGURES["growth"].standalone(), encoding="utf8")
    instance, address = serve.start(tmp_path)
    page = open_page(f"{address}alone.html", expect_errors=True)
    ready(page, "growth")
    assert_equals_torch(page, "growth", {"rate": -0.5})
    assert [url for url in page.requests if not url.endswith(("alone.html", "favicon.ico"))] == []
    instance.shutdown()
    instance.server_close()
