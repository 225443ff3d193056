"""What a reader downloads, and formulas: no page heavier than its budget, every formula set and fit for a phone."""

from __future__ import annotations

import gzip

import pytest

from lib.live import runtime
from tests.browser.pages import PHONE, SITE, built_pages, visit

pytestmark = pytest.mark.browser
PAGES = [name for name in built_pages() if name.startswith("book/")]
PAGE_BUDGET = 600_000  # bytes, compressed, without Plotly
RUNTIME_BUDGET = 45_000


@pytest.mark.parametrize("name", PAGES)
def test_a_page_keeps_its_weight(browser, server, name):
    """All bytes of a first visit, every figure awake, compressed as a host sends them."""
    with visit(browser, server + name) as seen:
        seen.scroll_through()
        files = {
            url.split("?")[0].split("#")[0].removeprefix(server) for url in seen.requests if url.startswith(server)
        }
    sizes = {
        file: len(gzip.compress((SITE / file).read_bytes(), 6)) for file in files if not file.endswith("plotly.min.js")
    }
    assert sum(sizes.values()) > 50_000  # the list is not empty by mistake
    assert sum(sizes.values()) <= PAGE_BUDGET, sorted(sizes.items(), key=lambda entry: -entry[1])[:6]


def test_the_runtime_keeps_its_weight():
    assert len(runtime.source().encode()) <= RUNTIME_BUDGET


@pytest.mark.parametrize("name", PAGES)
def test_every_formula_is_set(browser, server, name):
    with visit(browser, server + name) as seen:
        seen.page.locator("html[data-math=set]").wait_for(state="attached")
        assert seen.page.locator(".math:not(:has(.katex))").count() == 0
        assert seen.page.locator(".katex-error").all_text_contents() == []


@pytest.mark.parametrize("name", [name for name in PAGES if "/back/" not in name])
def test_every_formula_fits_a_phone(browser, server, name):
    """A formula wider than the column would run below its own number."""
    with visit(browser, server + name, viewport=PHONE) as seen:
        seen.page.locator("html[data-math=set]").wait_for(state="attached")
        wide = "found => found.filter(one => one.scrollWidth > one.clientWidth).map(one => one.id || one.textContent)"
        assert seen.page.eval_on_selector_all("div.math", wide) == []
