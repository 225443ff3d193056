"""Chapters executed side by side into the cache that reading finds them in."""

import pytest
from jupyter_cache import get_cache
from myst_nb.core.config import NbParserConfig
from myst_parser.config.main import MdParserConfig

from lib.site import ahead

FRONT = "---\nfile_format: mystnb\nkernelspec: {name: python3, display_name: Python 3}\n---\n\n# A page\n"


@pytest.fixture
def book(tmp_path):
    """Functions to write a page and to ask and fill the cache of its folder."""
    settings = NbParserConfig(
        execution_mode="cache", execution_cache_path=str(tmp_path / "cache"), execution_raise_on_error=True
    )

    class Book:
        folder = tmp_path
        cache = get_cache(settings.execution_cache_path)

        def page(self, name, *lines, front=FRONT):
            path = tmp_path / f"{name}.md"
            code = "\n".join(["```{code-cell} ipython3", *lines, "```", ""]) if lines else ""
            path.write_text(front + f"\n{name}\n\n{code}")
            return path

        def waiting(self, *paths):
            return ahead.waiting(paths, MdParserConfig(), settings)

        def execute(self, *paths):
            return ahead.execute(list(paths), MdParserConfig(), settings, at_once=2)

    return Book()


def meet(folder, mine, other):
    """Lines that end only if the other page runs at the same time."""
    return (
        "import pathlib, time",
        f"folder = pathlib.Path({str(folder)!r})",
        f"(folder / {mine!r}).touch()",
        f"while not (folder / {other!r}).exists():",
        "    time.sleep(0.01)",
        f"print({mine!r})",
    )


def test_chapters_run_side_by_side_and_fail_alone(book):
    """Two chapters that wait for each other end; one that fails leaves nothing behind."""
    left = book.page("left", *meet(book.folder, "one", "two"))
    right = book.page("right", *meet(book.folder, "two", "one"))
    broken = book.page("broken", "raise RuntimeError('the model broke')")
    pages = [left, broken, right]
    assert book.waiting(*pages) == pages
    took = book.execute(left, right, broken)
    assert took.keys() == set(pages)
    assert took[broken] == "CellExecutionError" and took[left] > 0 and took[right] > 0
    assert book.waiting(*pages) == [broken]
    outputs = {record.uri: book.cache.get_cache_bundle(record.pk).nb for record in book.cache.list_cache_records()}
    assert {nb.cells[0].outputs[0].text for nb in outputs.values()} == {"one\n", "two\n"}
    assert set(outputs) == {str(left), str(right)}


def test_pages_that_are_not_executed_ahead(book):
    """Plain text, code that another page has, and pages with settings of their own."""
    plain = book.page("plain", front="# A page\n")
    first = book.page("first", "print(1)")
    again = book.page("again", "print(1)")
    other = book.page("other", "print(2)")
    own = book.page("own", "print(3)", front=FRONT.replace("---\n\n", "mystnb: {execution_mode: 'off'}\n---\n\n"))
    assert book.waiting(plain, first, again, other, own) == [first, other]
