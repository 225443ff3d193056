"""What a reader downloads, and formulas: no page heavier than its budget, every formula set."""

from __future__ import annotations

import gzip

import pytest

from lib.live import runtime
from tests.browser.pages import built_pages, visit

pytestmark = pytest.mark.browser
PAGES = [name for name in built_pages() if name.startswith("book/")]
PAGE_BUDGET = 600_000  # bytes, compressed, without Plotly
RUNTIME_BUDGET = 45_000


@pytest.mark.parametrize("name", PAGES)
def test_a_page_keeps_its_weight(browser, server, name):
    """All bytes of a first visit, every figure awake, compressed as a host sends them."""
    with visit(browser, server + name) as seen:
        bodies = {}
        seen.page.on("response", lambda r: bodies.setdefault(r.url.split("?")[0], r))
        seen.page.reload()
        seen.scroll_through()
        sizes = {
            url.rsplit("/", 1)[1]: len(gzip.compress(response.body(), 6))
            for url, response in bodies.items()
            if url.startswith("http") and not url.endswith("plotly.min.js") and response.status == 200
        }
        heaviest = sorted(sizes.items(), key=lambda entry: -entry[1])[:6]
        assert sum(sizes.values()) <= PAGE_BUDGET, heaviest


def test_the_runtime_keeps_its_weight():
    assert len(runtime.source().encode()) <= RUNTIME_BUDGET


@pytest.mark.parametrize("name", PAGES)
def test_every_formula_is_set(browser, server, name):
    with visit(browser, server + name) as seen:
        seen.page.locator("html[data-math=set]").wait_for(state="attached")
        assert seen.page.locator(".math:not(:has(.katex))").count() == 0
        assert seen.page.locator(".katex-error").all_text_contents() == []
