"""The generator of the Colab notebooks: each lowering on a small sample; the real notebooks in step."""

import json
import re

import pytest

from lib.site import notebooks
from lib.site.book import Book
from lib.site.lower import Lowering
from lib.site.markup import parse
from lib.site.numbering import number_pages

CONFIG = """\
title: Small book
repository: {url: https://github.com/example/small, branch: main}
html: {baseurl: https://example.github.io/small/}
bibtex_bibfiles: [book/references.bib]
sphinx:
  config:
    mathjax3_config:
      tex:
        macros: {R: '\\mathbb{R}', pair: ['(#1, #2)', 2]}
"""
REFERENCES = r"""
@article{leslie1945, author = {Leslie, P. H.}, title = {On the use of matrices}, journal = {Biometrika}, volume = {33},
  pages = {183--212}, year = {1945}, doi = {10.1093/biomet/33.3.183}}
@article{three2020, author = {M{\"u}hlbauer, Anna and Second, Bo and Third, C}, title = {{gauseR}}, year = {2020}}
@misc{pair2024, author = {One, A and Two, B}, title = {Pairs}, year = {2024}, eprint = {2412.19831}}
"""
GLOSSARY = """\
# Glossary

```{glossary}
Leslie matrix
  A matrix of births and survivals.
```
"""
CODE = "def half(x):\n    # a comment\n    return x / 2\n\n\ndef other(x):\n    return x\n"


@pytest.fixture
def root(tmp_path):
    """A small book without chapters."""
    (tmp_path / "book" / "back").mkdir(parents=True)
    (tmp_path / "book" / "dynamics").mkdir()
    (tmp_path / "lib").mkdir()
    (tmp_path / "_config.yml").write_text(CONFIG, encoding="utf-8")
    (tmp_path / "book" / "references.bib").write_text(REFERENCES, encoding="utf-8")
    (tmp_path / "book" / "back" / "glossary.md").write_text(GLOSSARY, encoding="utf-8")
    (tmp_path / "book" / "index.md").write_text("(top)=\n# Welcome\n", encoding="utf-8")
    (tmp_path / "lib" / "half.py").write_text(CODE, encoding="utf-8")
    return tmp_path


def lowered(root, text):
    """Lower text as the chapter book/dynamics/demo would be, references included."""
    book = Book(root)
    first = Lowering(book, "book/dynamics/demo")
    first.text(text, 1)
    return Lowering(book, "book/dynamics/demo", numbers=first.labels).text(text, 1)


def chapter(root, body, name="demo"):
    """Write a chapter and return its notebook."""
    path = root / "book" / "dynamics" / f"{name}.md"
    path.write_text(f"---\nfile_format: mystnb\nkernelspec: {{name: python3}}\n---\n\n{body}\n", encoding="utf-8")
    return notebooks.notebook(path, Book(root))


def texts(made, kind=None):
    return ["".join(cell["source"]) for cell in made["cells"] if kind in (None, cell["cell_type"])]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("```{note}\nMind this.\n```", "> **Note.** Mind this."),
        (":::{tip}\nUse $x$.\n:::", "> **Tip.** Use $x$."),
        ("```{warning} Mind\nthis.\n```", "> **Warning.** Mind\n> this."),
        ("```{admonition} Own title\nText.\n```", "> **Own title**\n>\n> Text."),
        (
            "```{prf:theorem} Perron\n:label: thm-perron\n\nIt is positive.\n```",
            "> **Theorem 1** (Perron)\n>\n> It is positive.",
        ),
        (
            "```{prf:lemma}\nShort.\n```\n\n```{prf:lemma}\nAgain.\n```",
            "> **Lemma 1**\n>\n> Short.\n\n> **Lemma 2**\n>\n> Again.",
        ),
        ("```{prf:remark}\n:nonumber:\n\nAside.\n```", "> **Remark**\n>\n> Aside."),
        ("```{prf:proof}\nBy $S$.\n```", "> *Proof.* By $S$. ∎"),
        ("```{prf:proof}\nThus\n\n$$x$$\n```", "> *Proof.* Thus\n>\n> $$\n> x\n> $$\n>\n> ∎"),
        (
            ":::{dropdown} More about `x`\nInside.\n:::",
            "<details>\n<summary>More about <code>x</code></summary>\n\nInside.\n\n</details>",
        ),
        ("````{card} Title\n```{note}\nDeep.\n```\n````", "**Title**\n\n> **Note.** Deep."),
        ("```{math}\n:label: eq-a\nx = 1\n```", "$$\nx = 1 \\tag{1}\n$$"),
        ("$$x = 1$$ (eq-a)", "$$\nx = 1 \\tag{1}\n$$"),
        ("$$\nx = 1\n$$", "$$\nx = 1\n$$"),
        ("$$a &= 1 \\\\ b &= 2$$ (eq-a)", "$$\n\\begin{aligned}\na &= 1 \\\\ b &= 2\n\\end{aligned} \\tag{1}\n$$"),
        ("\\begin{align*}\nx &= 1\n\\end{align*}", "$$\n\\begin{aligned}\nx &= 1\n\\end{aligned}\n$$"),
        ("\\begin{equation}\nx = 1\n\\end{equation}", "$$\nx = 1 \\tag{1}\n$$"),
        ("Let $x \\in \\R^2$.", "Let $x \\in \\mathbb{R}^2$."),
        ("{math}`x \\in \\R`", "$x \\in \\mathbb{R}$"),
        ("(label)=\n{.lead}\n% a comment\nText.", "Text."),
        ("See `{eq}` in code.", "See `{eq}` in code."),
        ("```python\n{note}\n```", "```python\n{note}\n```"),
        ("```{toctree}\na\n```\n\nText.", "Text."),
        (
            "A {term}`Leslie matrix` and {term}`matrices <Leslie matrix>`.",
            "A [Leslie matrix](https://example.github.io/small/book/back/glossary.html#term-Leslie-matrix) and "
            "[matrices](https://example.github.io/small/book/back/glossary.html#term-Leslie-matrix).",
        ),
        ("{doc}`../index`", "[Welcome](https://example.github.io/small/book/index.html)"),
        ("{doc}`here </book/index>`", "[here](https://example.github.io/small/book/index.html)"),
        ("[start](../index.md#x)", "[start](https://example.github.io/small/book/index.html#x)"),
        ("{ref}`top`", "[Welcome](https://example.github.io/small/book/index.html#top)"),
        ("[](#top)", "[Welcome](https://example.github.io/small/book/index.html#top)"),
        ("[a](https://a.org/b)", "[a](https://a.org/b)"),
        (
            "{py:func}`~lib.leslie.evolve`",
            "[`evolve`](https://example.github.io/small/book/back/api.html#lib.leslie.evolve)",
        ),
        ("{cite}`leslie1945,pair2024`", "(Leslie, 1945; One and Two, 2024)"),
        ("{cite:t}`three2020`", "Mu\u0308hlbauer et al. (2020)"),
        ("{kbd}`Esc` and {abbr}`MSY (maximum yield)`", "<kbd>Esc</kbd> and MSY (maximum yield)"),
        (
            "![A plot](../_static/a.svg)",
            "![A plot](https://raw.githubusercontent.com/example/small/main/book/_static/a.svg)",
        ),
        (
            "```{figure} ../_static/a.svg\n:name: fig-a\n:alt: A plot\n\nThe caption.\n```\n\nSee {numref}`fig-a`.",
            "![A plot](https://raw.githubusercontent.com/example/small/main/book/_static/a.svg)\n\n"
            "**Figure 1.** The caption.\n\nSee Figure 1.",
        ),
        (
            "```{literalinclude} ../../lib/half.py\n:pyobject: half\n```",
            "From [`lib/half.py`](https://github.com/example/small/blob/main/lib/half.py):\n\n"
            "```python\ndef half(x):\n    # a comment\n    return x / 2\n```",
        ),
        (
            "- a list\n\n  ```{note}\n  Inside it.\n  ```",
            "- a list\n\n  > **Note.** Inside it.",
        ),
    ],
)
def test_lowering(root, source, expected):
    assert lowered(root, source) == expected


def test_references_within_the_page_read_as_numbers(root):
    made = lowered(
        root,
        "By {eq}`eq-b`, {prf:ref}`thm-a` and {ref}`ex-a`.\n\n$$a$$ (eq-a)\n\n$$b$$ (eq-b)\n\n"
        "```{prf:theorem}\n:label: thm-a\nTrue.\n```\n\n```{exercise}\n:label: ex-a\nShow it.\n```\n\n"
        "```{solution} ex-a\nShown.\n```",
    )
    assert made.startswith("By (2), Theorem 1 and Exercise 1.")
    assert "b \\tag{2}" in made
    assert "> **Exercise 1**\n>\n> Show it." in made
    assert "<summary>Solution to Exercise 1</summary>" in made


def test_gated_exercise_keeps_its_cells(root):
    made = chapter(
        root,
        "# Demo\n\n```{exercise-start} Try\n:label: ex-b\n```\n\nDo it.\n\n```{code-cell} ipython3\nx = 1\n```\n\n"
        "```{exercise-end}\n```\n\n```{solution-start} ex-b\n```\n"
        "```{code-cell} ipython3\nx = 2\n```\n```{solution-end}\n```",
    )
    assert any("**Exercise 1** (Try)\n\nDo it." in text for text in texts(made, "markdown"))
    assert any("**Solution to Exercise 1**" in text for text in texts(made, "markdown"))
    assert texts(made, "code")[1:] == ["x = 1", "x = 2"]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("Text.\n\n```{mystery}\nx\n```", r"book/dynamics/demo\.md, line 3: the directive {mystery} has no form"),
        ("Text.\n\n{mystery}`x`", r"book/dynamics/demo\.md, line 3: the role {mystery} has no form"),
        ("{cite}`nobody1900`", r"line 1: citation key is 'nobody1900', which references.bib does not have"),
        ("{term}`Nothing`", r"line 1: the glossary has no term 'Nothing'"),
        ("{ref}`nowhere`", r"line 1: no label 'nowhere' in the book"),
        ("[](#nowhere)", r"line 1: no label 'nowhere' in the book"),
        ("{doc}`nowhere`", r"line 1: the book has no page 'book/dynamics/nowhere'"),
        ("```{solution} ex-none\nx\n```", r"line 1: nothing on this page is labelled 'ex-none'"),
        ("```{literalinclude} ../../lib/none.py\n```", r"line 1: {literalinclude} of ../../lib/none.py"),
        ("a\n\n```{note}\nb", r"demo\.md, line 3: the block opened by ```{note} is never closed"),
        ("$$x\n\ny", r"demo\.md, line 1: the formula opened by \$\$ is never closed"),
        ("$\\pair{1}{2}$", r"macro \\pair with arguments"),
        ("````{note}\n\n\n```{mystery}\nx\n```\n````", r"demo\.md, line 4: the directive"),
    ],
)
def test_what_has_no_counterpart_is_refused_with_its_line(root, source, message):
    with pytest.raises(ValueError, match=message):
        lowered(root, source)


def test_line_numbers_count_the_front_matter(root):
    with pytest.raises(ValueError, match=r"demo\.md, line 7: the directive {mystery}"):
        chapter(root, "# T\n```{mystery}\n```")


def test_notebook_as_a_whole(root):
    made = chapter(
        root,
        "# Demo\n\nText {cite}`leslie1945`.\n\n"
        "```{code-cell} ipython3\n:tags: [hide-input]\n\n# Draw the map\ndraw()\n```\n\n"
        "```{code-cell} ipython3\n:tags: [remove-cell]\nsecret = 1\n```\n\n"
        "```{code-cell} ipython3\n---\ntags: [raises-exception]\n---\nfail()\n```\n\nThe end.",
    )
    assert made["nbformat"] == 4
    assert made["metadata"]["accelerator"] == "GPU"
    assert made["metadata"]["kernelspec"]["name"] == "python3"
    welcome, setup, *rest = texts(made)
    assert "[Demo](https://example.github.io/small/book/dynamics/demo.html)" in welcome
    assert '"--no-deps"' in setup
    assert "git+https://github.com/example/small@main" in setup
    assert rest[0] == "# Demo\n\nText (Leslie, 1945)."
    assert rest[1] == '#@title Draw the map {display-mode: "form"}\ndraw()'
    assert rest[2] == "fail()"
    assert rest[3] == (
        "The end.\n\n## References\n\n- P. H. Leslie (1945). On the use of matrices. *Biometrika* 33, 183–212. "
        "[doi:10.1093/biomet/33.3.183](https://doi.org/10.1093/biomet/33.3.183)."
    )
    cells = made["cells"]
    assert cells[3]["metadata"]["cellView"] == "form"
    assert cells[4]["metadata"]["tags"] == ["raises-exception"]
    assert all(cell.get("outputs", []) == [] for cell in cells)
    assert all(re.fullmatch(r"[0-9a-f]{16}", cell["id"]) for cell in cells)
    assert len({cell["id"] for cell in cells}) == len(cells)
    assert chapter(root, "# Demo\n\nOther.")["cells"][1]["id"] == cells[1]["id"]


@pytest.mark.parametrize(
    ("code", "title"),
    [
        ("x = 1", "Code of what is shown here"),
        ("# Draw it.\nx = 1", "Draw it"),
        ('x = 1\n\n@live(a=Slider(0, 1, 0))\ndef f(a):\n    """Two ages. Which wins?"""', "Figure: Two ages"),
    ],
)
def test_folded_code_has_a_title(root, code, title):
    made = chapter(root, f"# Demo\n\n```{{code-cell}} ipython3\n:tags: [hide-input]\n{code}\n```")
    assert texts(made, "code")[-1].startswith(f'#@title {title} {{display-mode: "form"}}\n')


def test_functions_link_to_where_they_are_described(root):
    api = "```{eval-rst}\n.. automodule:: lib.leslie\n   :members:\n   :ignore-module-all:\n```\n"
    (root / "book/back/api.md").write_text("# API\n\n" + api, encoding="utf-8")
    base = "https://example.github.io/small/book/back/api.html"
    assert lowered(root, "{py:func}`lib.leslie.evolve`") == f"[`lib.leslie.evolve`]({base}#lib.projection.evolve)"
    assert lowered(root, "{py:func}`~lib.live.live`") == f"[`live`]({base}#lib.live.live)"


def test_glued_numbers_become_a_cell(root):
    made = chapter(
        root,
        "# Demo\n\n```{code-cell} ipython3\nfrom myst_nb import glue\nglue('rate', 1.5)\n```\n\n"
        "Before.\n\nIt grows by {glue:text}`rate:.2f` in $\\frac{a}{b}$.\n\nAfter.",
    )
    _, code, pasted = texts(made, "code")
    assert code.startswith("from lib.glue import glue")
    namespace = {}
    exec(code, namespace)
    last = pasted.split("\n", 3)[-1]
    exec("import lib.glue\nshown = " + last, namespace)
    assert namespace["shown"].data.strip() == "It grows by 1.50 in $\\frac{a}{b}$."
    assert texts(made, "markdown")[-2:] == ["Before.", "After."]


def test_write_check_and_remove(root):
    chapter(root, "# Demo\n\nText.")
    assert notebooks.outdated(root) == ["book/notebooks/dynamics/demo.ipynb is missing"]
    (path,) = notebooks.write(root)
    assert notebooks.outdated(root) == []
    assert notebooks.write(root) == []
    assert json.loads(path.read_text(encoding="utf-8"))["nbformat_minor"] == 5
    path.write_text(path.read_text(encoding="utf-8").replace("Text.", "Edited by hand."), encoding="utf-8")
    assert notebooks.outdated(root) == ["book/notebooks/dynamics/demo.ipynb differs from its chapter"]
    notebooks.write(root)
    (root / "book" / "dynamics" / "demo.md").unlink()
    assert notebooks.outdated(root) == ["book/notebooks/dynamics/demo.ipynb has no chapter"]
    notebooks.write(root)
    assert not path.exists()


def test_numbers_restart_on_every_page():
    numbers = {"a": {"figure": {"x": (1, 4), "y": (1, 5)}}, "b": {"figure": {"z": (2,)}, "theorem": {"t": (9,)}}}
    assert number_pages(numbers) == {
        "a": {"figure": {"x": (1,), "y": (2,)}},
        "b": {"figure": {"z": (1,)}, "theorem": {"t": (1,)}},
    }


def test_blocks_know_their_lines():
    blocks = parse("One.\n\n```{note}\n:class: x\n\nTwo.\n```\n\n$$\nx\n$$", 10)
    assert [(block.kind, block.line) for block in blocks] == [("text", 10), ("directive", 12), ("math", 18)]
    assert blocks[1].body_line == 15


def test_the_books_notebooks_are_in_step_with_its_chapters():
    assert notebooks.outdated() == []
