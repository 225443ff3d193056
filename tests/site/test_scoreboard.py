"""Verdicts gathered in tiny books: the good case, every case that must fail, builds that read only one page."""

import shutil
import textwrap

import nbformat
import pytest
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

from lib.site import records
from lib.site.layout import ROOT

CONF = """
extensions = ["myst_nb", "lib.site.scoreboard", "lib.site.status", "lib.site.glossary", "lib.site.numbering"]
nb_execution_mode = {mode!r}
nb_execution_raise_on_error = True
html_theme = "basic"
html_theme_options = {{}}
exclude_patterns = ["_build"]
myst_enable_extensions = ["dollarmath"]
numfig = True
html_static_path = ["_static"]
"""
INDEX = """\
# Small book

```{toctree}
book/back/scoreboard
book/back/status
book/back/glossary
```

```{toctree}
:glob:
book/part/*
```
"""
CLAIMS = """\
- id: golden
  statement: The growth factor of the golden system is $1.618$.
  where: eq. (3)
  value: 1.618
  tolerance: {abs: 0.001}
- id: huge
  statement: A million systems agree.
  where: Table 2
  value: 1.0
  tolerance: {rel: 0.1}
  scale: out of reach
  note: It needs a cluster.
"""


def verdict(slug, claim_id, measured, verdict, note="", seconds=None):
    """Make a cell that holds what `lib.claims.check` leaves behind."""
    record = {
        "slug": slug, "id": claim_id, "measured": measured, "verdict": verdict, "seconds": seconds, "note": note,
        "elsewhere": None, "source": None,
    }  # fmt: skip
    metadata = {"living_models": {"claim": record}}
    output = nbformat.v4.new_output("display_data", data={}, metadata=metadata)
    return nbformat.v4.new_code_cell(f'claims.check("{slug}", "{claim_id}", value)', outputs=[output])


class SmallBook:
    """A book in a folder that can be built again and again."""

    def __init__(self, root):
        self.root = root
        self.mode = "off"
        for folder in ("claims", "book/part", "book/back", "_static"):
            (root / folder).mkdir(parents=True)
        for name in ("claims.css", "scoreboard.js", "glossary.css", "glossary.js"):
            shutil.copy2(ROOT / "book/_static" / name, root / "_static" / name)
        (root / "index.md").write_text(INDEX, encoding="utf-8")
        (root / "book/back/scoreboard.md").write_text("# Scoreboard\n\n```{scoreboard}\n```\n", encoding="utf-8")
        (root / "book/back/status.md").write_text("# Status\n\n```{status}\n```\n", encoding="utf-8")
        glossary = "# Glossary\n\n```{glossary}\ngolden system\n  Two classes and $\\lambda^2=\\lambda+1$.\n```\n"
        (root / "book/back/glossary.md").write_text(glossary, encoding="utf-8")

    def state(self, slug, text=CLAIMS):
        (self.root / f"claims/{slug}.yml").write_text(text, encoding="utf-8")

    def chapter(self, slug, *cells, title="A chapter"):
        book = nbformat.v4.new_notebook(
            metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}},
            cells=[nbformat.v4.new_markdown_cell(f"# {title}\n\nOn the {{term}}`golden system`."), *cells],
        )
        for place, cell in enumerate(book.cells):
            cell["id"] = f"cell-{place}"
        (self.root / f"book/part/{slug}.ipynb").write_text(nbformat.writes(book), encoding="utf-8")

    def build(self):
        (self.root / "conf.py").write_text(CONF.format(mode=self.mode), encoding="utf-8")
        out = self.root / "_build"
        self.app = Sphinx(
            str(self.root), str(self.root), str(out / "html"), str(out / "doctrees"), "html", status=None, warning=None
        )
        self.app.config.html_theme_options.update(
            {"repository_url": "https://github.com/example/small", "repository_branch": "main"}
        )
        self.app.build()
        return self

    def page(self, name):
        return (self.root / f"_build/html/book/{name}.html").read_text(encoding="utf-8")


@pytest.fixture
def book(tmp_path, monkeypatch):
    """A small book whose chapter `demo` gives the verdicts its claims need."""
    monkeypatch.setenv("LIVING_MODELS_ROOT", str(tmp_path))  # restored afterwards: the extension sets it, too
    small = SmallBook(tmp_path)
    small.state("demo")
    small.chapter("demo", *good_cells())
    return small


def good_cells(measured=1.61803, slug="demo"):
    return (
        verdict(slug, "golden", measured, "reproduced", seconds=0.25),
        verdict(slug, "huge", None, "out of reach here"),
    )


def test_good_book_fills_the_scoreboard(book):
    page = book.build().page("back/scoreboard")
    assert "1.618" in page
    assert "1.61803" in page
    assert 'href="../part/demo.html#claim-golden"' in page
    assert 'data-verdict="reproduced"' in page
    assert 'data-verdict="out of reach here"' in page
    assert "It needs a cluster." in page
    assert "https://github.com/example/small/blob/main/book/part/demo.ipynb?plain=1#L" in page
    assert "scoreboard.js" in page


def test_status_page_counts(book):
    page = book.build().page("back/status")
    assert '<a href="../part/demo.html">A chapter</a></th><td>not run</td><td>2</td><td>0</td>' in page
    assert "torch" in page


def test_terms_show_their_definition(book):
    page = book.build().page("part/demo")
    assert 'role="tooltip" id="definition-1">Two classes and <span class="math notranslate nohighlight">' in page


def test_a_changed_definition_reaches_the_pages_that_use_it(book):
    book.build()
    glossary = book.root / "book/back/glossary.md"
    glossary.write_text(glossary.read_text(encoding="utf-8").replace("Two classes", "Three classes"), encoding="utf-8")
    assert "Three classes" in book.build().page("part/demo")


def test_a_book_without_claims_says_so(book):
    (book.root / "claims/demo.yml").unlink()
    book.chapter("demo")
    assert "No chapter has given a verdict yet." in book.build().page("back/scoreboard")


def test_live_figures_are_counted():
    html = '<figure class="live" id="live-a"></figure><figure class="plain"></figure><figure id="b" class="wide live">'
    output = {"output_type": "display_data", "data": {"text/html": [html[:20], html[20:]]}, "metadata": {}}
    assert records.read({"cells": [{"outputs": [output]}]}, "")["live"] == 2


FAILURES = {
    "claim without verdict": (
        CLAIMS,
        [verdict("demo", "golden", 1.618, "reproduced")],
        "book/part/demo: claim 'huge' of claims/demo.yml has no verdict",
    ),
    "verdict without claim": (
        CLAIMS,
        [*good_cells(), verdict("demo", "stale", 1.0, "reproduced")],
        "claim 'stale': a verdict without a claim; claims/demo.yml has golden, huge",
    ),
    "value outside the tolerance": (
        CLAIMS,
        good_cells(measured=1.7),
        "verdict is 'reproduced' but measured 1.7 against 1.618",
    ),
    "the claims file changed under a stored verdict": (
        CLAIMS.replace("value: 1.618", "value: 2.618"),
        good_cells(),
        "verdict is 'reproduced' but measured 1.61803 against 2.618",
    ),
    "contradicted although the numbers agree": (
        CLAIMS,
        [verdict("demo", "golden", 1.618, "contradicted"), good_cells()[1]],
        "verdict is 'contradicted' but measured 1.618 against 1.618",
    ),
    "two verdicts": (CLAIMS, [*good_cells(), good_cells()[0]], "claim 'golden' gets two verdicts"),
    "a verdict on the claim of another chapter": (
        CLAIMS,
        [*good_cells(), verdict("other", "golden", 1.618, "reproduced")],
        "claim 'golden' belongs to 'other'",
    ),
    "the build's own number for a claim that needs a GPU": (
        CLAIMS.replace("scale: out of reach", "scale: gpu"),
        [good_cells()[0], verdict("demo", "huge", 1.0, "reproduced")],
        "measured comes from this run, which does not fit the claim's scale 'gpu'",
    ),
    "a malformed claims file": (
        CLAIMS.replace("  where: eq. (3)\n", ""),
        good_cells(),
        "claims/demo.yml: claim 'golden': field 'where' is missing",
    ),
}


@pytest.mark.parametrize("case", FAILURES)
def test_build_fails_on(book, case):
    text, cells, message = FAILURES[case]
    book.state("demo", text)
    book.chapter("demo", *cells)
    with pytest.raises(ExtensionError, match="Claims and verdicts do not match") as raised:
        book.build()
    assert message in str(raised.value)


def test_build_fails_on_a_claims_file_without_chapter(book):
    book.state("orphan")
    with pytest.raises(ExtensionError, match=r"claims/orphan\.yml: no page orphan of the book is a chapter"):
        book.build()


def test_build_fails_again_when_nothing_was_changed(book):
    book.state("orphan")
    for _ in range(2):
        with pytest.raises(ExtensionError, match="orphan"):
            book.build()


def test_a_build_that_reads_one_page_keeps_the_others(book):
    book.state("second", CLAIMS)
    book.chapter("second", *good_cells(1.618, "second"))
    book.build()
    book.chapter("second", *good_cells(1.6175, "second"))
    page = book.build().page("back/scoreboard")
    assert page.count("data-verdict=") == 4
    assert "1.6175" in page
    assert "1.61803" in page


def test_a_build_that_reads_one_page_still_fails(book):
    book.build()
    book.chapter("demo", *good_cells(measured=1.7))
    with pytest.raises(ExtensionError, match=r"measured 1\.7"):
        book.build()
    book.chapter("demo", *good_cells())
    assert "1.61803" in book.build().page("back/scoreboard")


def test_a_removed_chapter_takes_its_verdicts_along(book):
    book.state("second")
    book.chapter("second", *good_cells(1.618, "second"))
    book.build()
    (book.root / "book/part/second.ipynb").unlink()
    (book.root / "claims/second.yml").unlink()
    assert book.build().page("back/scoreboard").count("data-verdict=") == 2


def test_executed_chapter_leaves_records_and_seconds(book, monkeypatch):
    """The real way: a kernel runs `claims.check`; the second build takes the execution from the cache."""
    monkeypatch.setenv("LIVE_PAGE", "1")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    book.mode = "cache"
    source = textwrap.dedent("""\
        ---
        file_format: mystnb
        kernelspec:
          name: python3
          display_name: Python 3
        ---
        # Demo

        ```{code-cell} ipython3
        :tags: [remove-input]
        from lib import claims
        first = claims.check("demo", "golden", 1.6180, seconds=0.5)
        ```

        ```{code-cell} ipython3
        claims.check("demo", "huge")
        ```

        ```{code-cell} ipython3
        claims.table("demo")
        ```
        """)
    (book.root / "book/part/demo.ipynb").unlink()
    (book.root / "book/part/demo.md").write_text(source, encoding="utf-8")
    page = book.build().page("back/scoreboard")
    assert "blob/main/book/part/demo.md?plain=1#L12" in page
    assert page.count("data-verdict=") == 2
    chapter = book.page("part/demo")
    assert 'id="claim-golden"' in chapter
    assert chapter.count("claims-table") == 2
    (seconds,) = [found["seconds"] for found in records.of(book.app.env).values()]
    assert seconds > 0
    (book.root / "book/part/demo.md").write_text(source + "\nMore prose.\n", encoding="utf-8")
    assert book.build().page("back/scoreboard").count("data-verdict=") == 2
    (again,) = [found["seconds"] for found in records.of(book.app.env).values()]
    assert again == seconds  # from the cache: not run again


@pytest.fixture
def page(book, browser):
    """The scoreboard of two chapters, opened from disk; errors of the page fail the test."""
    book.state("second", CLAIMS.replace("value: 1.618", "value: 12"))
    cells = (verdict("second", "golden", 11.0, "contradicted", seconds=10), good_cells(slug="second")[1])
    book.chapter("second", *cells, title="Another chapter")
    book.build()
    opened, errors = browser.new_page(), []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.goto((book.root / "_build/html/book/back/scoreboard.html").as_uri())
    yield opened
    opened.close()
    assert errors == []


@pytest.mark.browser
def test_scoreboard_sorts_by_numbers_with_the_keyboard(page):
    rows = page.locator(".scoreboard tbody tr")
    heading = page.get_by_role("columnheader", name="Seconds")
    assert heading.get_attribute("aria-sort") is None
    heading.get_by_role("button").focus()
    page.keyboard.press("Enter")
    assert heading.get_attribute("aria-sort") == "ascending"
    assert [rows.nth(i).locator("td").nth(3).inner_text() for i in range(4)] == ["0.25", "10", "", ""]
    page.keyboard.press("Space")
    assert heading.get_attribute("aria-sort") == "descending"
    assert [rows.nth(i).locator("td").nth(3).inner_text() for i in range(4)] == ["10", "0.25", "", ""]
    page.get_by_role("button", name="Paper").click()
    assert heading.get_attribute("aria-sort") is None
    assert [rows.nth(i).locator("td").nth(0).inner_text().split("\n")[0] for i in range(4)] == [
        "◆ 1",
        "◆ 1",
        "◆ 1.618",
        "◆ 12",
    ]


@pytest.mark.browser
def test_scoreboard_shows_the_chosen_verdicts(page):
    rows = page.locator(".scoreboard tbody tr:visible")
    assert page.get_by_role("status").inner_text() == "Showing 4 of 4 claims."
    page.get_by_role("checkbox", name="out of reach here").uncheck()
    assert rows.count() == 2
    assert page.get_by_role("status").inner_text() == "Showing 2 of 4 claims."
    page.get_by_role("checkbox", name="out of reach here").check()
    assert rows.count() == 4


@pytest.mark.browser
def test_a_term_shows_and_hides_its_card(book, browser):
    book.build()
    page = browser.new_page()
    page.goto((book.root / "_build/html/book/part/demo.html").as_uri())
    card = page.get_by_role("tooltip", include_hidden=True)
    link = page.locator(".term a")
    assert not card.is_visible()
    link.focus()
    assert card.is_visible()
    assert link.get_attribute("aria-describedby") == card.get_attribute("id")
    page.keyboard.press("Escape")
    assert not card.is_visible()
    link.hover()
    assert card.is_visible()
    page.close()
