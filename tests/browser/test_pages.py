"""Every page of the built book in Chromium: nothing from outside, no errors, no eval, no scripts needed, on a phone."""

import re

import pytest

from tests.browser.pages import DESKTOP, PHONE, SITE, built_pages, file_address, visit

PAGES = built_pages()
CONTENT = [name for name in PAGES if name != "index.html"]  # index.html only sends on to the first page

pytestmark = pytest.mark.browser


def test_the_site_is_built(site):
    assert {"index.html", "search.html", "book/index.html"} <= set(PAGES)


@pytest.mark.parametrize("name", CONTENT)
def test_a_page_in_both_themes(browser, server, name):
    """Nothing is loaded from outside, nothing goes wrong, and axe-core finds nothing serious, light and dark."""
    with visit(browser, server + name, viewport=DESKTOP, theme="light") as seen:
        seen.scroll_through()
        root = seen.page.locator("html")
        assert root.get_attribute("data-theme") == "light"
        findings = {"light": seen.axe()}
        seen.page.emulate_media(color_scheme="dark")  # pages follow the reader's system
        seen.page.locator("html[data-theme=dark]").wait_for(state="attached")
        findings["dark"] = seen.axe()
        assert findings == {"light": [], "dark": []}
        article = seen.page.locator("article.bd-article")
        if article.count():
            assert article.first.bounding_box()["width"] <= 800
        assert seen.outside(server) == []
        assert seen.problems == []


@pytest.mark.parametrize("name", CONTENT)
def test_a_page_works_from_disk(browser, site, name):
    with visit(browser, file_address(name)) as seen:
        seen.scroll_through()
        assert seen.outside(site.as_uri()) == []
        assert seen.problems == []


@pytest.mark.parametrize("name", CONTENT)
def test_a_page_fits_a_phone(browser, server, name):
    with visit(browser, server + name, viewport=PHONE) as seen:
        seen.scroll_through()
        assert seen.overflow() <= 0
        assert seen.problems == []


@pytest.mark.parametrize("name", CONTENT)
def test_a_page_is_readable_without_javascript(browser, server, name):
    with visit(browser, server + name, javascript=False) as seen:
        assert seen.problems == []
        figures = seen.page.locator("figure.live, div.book-plotly")
        for i in range(figures.count()):
            picture = figures.nth(i).locator("img.only-light")
            picture.evaluate("element => element.scrollIntoView({behavior: 'instant'})")
            assert picture.get_attribute("alt")
            box = picture.bounding_box()
            assert box is not None
            assert box["width"] > 200
            assert box["height"] > 100


def test_the_policy_forbids_eval(browser, server):
    from lib.site import serve

    assert "unsafe-eval" not in serve.POLICY
    # A timer, because the debugger that adds the script may itself use eval.
    script = """setTimeout(() => {
        let answer = "ran";
        try { eval("1"); } catch { answer = "refused"; }
        document.body.dataset.eval = answer;
    })"""
    with visit(browser, server + "book/index.html") as seen:
        seen.page.add_script_tag(content=script)
        seen.page.locator("body[data-eval=refused]").wait_for(state="attached")


def test_pages_hold_no_address_that_loads_from_elsewhere():
    pattern = re.compile(
        r'<(?:script|img|iframe|source)\b[^>]*\bsrc="(?:https?:)?//|<link\b[^>]*rel="(?:stylesheet|preload)"[^>]*href="(?:https?:)?//'
    )
    for name in PAGES:
        found = pattern.search((SITE / name).read_text(encoding="utf-8"))
        assert found is None, f"{name}: {found[0]}"


def test_the_first_page_sends_on(browser, server):
    with visit(browser, server) as seen:
        seen.page.wait_for_url("**/book/index.html")
        assert seen.outside(server) == []


def test_the_first_screen_has_a_figure(browser, server):
    for viewport in ({"width": 1280, "height": 720}, PHONE):
        with visit(browser, server + "book/index.html", viewport=viewport) as seen:
            figure = seen.page.locator("figure.live, div.book-plotly").first
            assert figure.bounding_box()["y"] < viewport["height"] * 0.6


def test_search_finds_a_word_of_the_book(browser, server):
    with visit(browser, server + "search.html?q=population") as seen:
        seen.page.locator("#search-results li a").first.wait_for(timeout=20_000)
        assert seen.outside(server) == []
        assert seen.problems == []


def test_search_works_from_disk(browser, site):
    with visit(browser, file_address("search.html") + "?q=population") as seen:
        seen.page.locator("#search-results li a").first.wait_for(timeout=20_000)


def test_the_theme_can_be_switched(browser, server):
    with visit(browser, server + "book/index.html") as seen:
        seen.scroll_through()
        before = seen.page.evaluate("getComputedStyle(document.body).backgroundColor")
        for _ in range(3):
            seen.page.locator("button.theme-switch-button:visible").first.click()
            if seen.page.locator("html").get_attribute("data-theme") == "dark":
                break
        assert seen.page.locator("html").get_attribute("data-theme") == "dark"
        assert seen.page.evaluate("getComputedStyle(document.body).backgroundColor") != before
        assert seen.problems == []


def test_the_archive_holds_every_page(site):
    import zipfile

    with zipfile.ZipFile(site / "living-models-site.zip") as archive:
        names = set(archive.namelist())
        assert archive.testzip() is None
    assert {f"living-models/{name}" for name in PAGES} <= names
    assert "living-models/_static/live.js" in names
