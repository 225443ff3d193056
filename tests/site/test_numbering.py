"""Theorem 1 of a chapter is Theorem 1 on the page and in its notebook, whichever chapters stand before it."""

import re

import pytest
from sphinx.application import Sphinx

from lib.site.book import Book
from lib.site.lower import Lowering

CONF = """
extensions = ["myst_nb", "sphinx_proof", "sphinx_exercise", "lib.site.numbering"]
myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence"]
nb_execution_mode = "off"
html_theme = "basic"
exclude_patterns = ["_build"]
numfig = True
"""
CONFIG = "repository: {url: https://github.com/example/small}\nhtml: {baseurl: https://example.github.io/small/}\n"
CHAPTER = """\
# Chapter LETTER

See {prf:ref}`thm-LETTER`, {prf:ref}`lem-LETTER`, {eq}`eq-LETTER-1`, {eq}`eq-LETTER-2`,
{ref}`ex-LETTER` and {numref}`fig-LETTER`.

$$a = b$$

$$x = 1$$ (eq-LETTER-1)

```{prf:theorem}
:label: thm-LETTER

True by {eq}`eq-LETTER-2`.
```

```{prf:lemma}
:label: lem-LETTER

$$
y = 2
$$ (eq-LETTER-2)
```

```{prf:theorem}
Another.
```

```{exercise}
:label: ex-LETTER

Show it.
```

:::{figure} a.png
:name: fig-LETTER
:alt: A dot

The caption.
:::
"""
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c6360000002000001e221bc330000000049454e44ae426082"
)


@pytest.fixture
def root(tmp_path):
    """Two chapters of the same form, and the settings both readers need."""
    (tmp_path / "book").mkdir()
    for letter in "ab":
        text = CHAPTER.replace("LETTER", letter)
        (tmp_path / "book" / f"{letter}.md").write_text(text, encoding="utf-8")
    (tmp_path / "book" / "a.png").write_bytes(PNG)
    (tmp_path / "index.md").write_text("# Book\n\n```{toctree}\nbook/a\nbook/b\n```\n", encoding="utf-8")
    (tmp_path / "conf.py").write_text(CONF, encoding="utf-8")
    (tmp_path / "_config.yml").write_text(CONFIG, encoding="utf-8")
    return tmp_path


def build(root):
    app = Sphinx(root, root, root / "_build/html", root / "_build/doctrees", "html", status=None, warning=None)
    app.build()
    return app


def sentence(text):
    """The sentence of references, as words."""
    plain = re.sub(r"<[^>]+>", "", text)
    return " ".join(re.search(r"See (.*?)\.\n", plain.replace("Fig. ", "Figure "), re.DOTALL)[1].split())


def in_notebook(root, letter):
    book = Book(root)
    first = Lowering(book, f"book/{letter}")
    text = (root / "book" / f"{letter}.md").read_text(encoding="utf-8")
    first.text(text, 1)
    return Lowering(book, f"book/{letter}", numbers=first.labels).text(text, 1)


def test_page_and_notebook_count_alike(root):
    build(root)
    for letter in "ab":
        page = (root / f"_build/html/book/{letter}.html").read_text(encoding="utf-8")
        expected = "Theorem 1, Lemma 1, (1), (2), Exercise 1 and Figure 1"
        assert sentence(page) == expected
        made = in_notebook(root, letter)
        assert sentence(made) == expected
        assert page.count("Theorem 2") == made.count("Theorem 2") == 1
        assert "y = 2 \\tag{2}" in made


def test_an_unchanged_book_is_not_written_again(root):
    build(root)
    written = []
    app = Sphinx(root, root, root / "_build/html", root / "_build/doctrees", "html", status=None, warning=None)
    app.connect("html-page-context", lambda app, page, *rest: written.append(page))
    app.build()
    assert not {"book/a", "book/b"} & set(written)
