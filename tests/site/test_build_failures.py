"""What must stop a build, tried on small books with the real extension."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from lib.site.layout import ROOT

FRONT = "---\nfile_format: mystnb\nkernelspec: {name: python3, display_name: Python 3}\n---\n\n"


def cell(*lines):
    return "\n```{code-cell} ipython3\n" + "\n".join(lines) + "\n```\n"


@pytest.fixture
def book(tmp_path):
    """A function that builds a book with the given first page by `jupyter-book build .` alone."""
    config = yaml.safe_load((ROOT / "_config.yml").read_text())
    config["sphinx"]["local_extensions"] = {"lib.site": str(ROOT)}
    (tmp_path / "_config.yml").write_text(yaml.safe_dump(config))
    (tmp_path / "_toc.yml").write_text("format: jb-book\nroot: book/index\n")
    (tmp_path / "book/_static").mkdir(parents=True)
    for path in (ROOT / "book/_static").glob("*.*"):
        (tmp_path / "book/_static" / path.name).write_bytes(path.read_bytes())
    (tmp_path / "book/references.bib").write_text("")

    def build(text):
        (tmp_path / "book/index.md").write_text(FRONT + "# A small book\n\n" + text)
        command = [str(Path(sys.executable).with_name("jupyter-book")), "build", "."]
        return subprocess.run(
            command, cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
            env={**os.environ, "NO_COLOR": "1"},
        )  # fmt: skip

    build.folder = tmp_path
    return build


def test_a_sound_book_builds_with_its_figure(book):
    done = book(
        cell(
            "import plotly.graph_objects as go",
            "go.Figure(go.Scatter(y=[1, 2, 3]), layout={'title': 'Three numbers'})",
        )
    )
    assert done.returncode == 0, done.stdout[-3000:]
    page = (book.folder / "_build/html/book/index.html").read_text()
    assert 'class="book-plotly"' in page
    assert "live-still:" not in page
    pictures = sorted((book.folder / "_build/html/_static/stills").glob("*.svg"))
    assert [path.stem.split("-")[1] for path in pictures] == ["dark", "light"]
    assert "<svg" in pictures[0].read_text()
    assert "thebe" not in page.lower()
    assert (book.folder / "_build/html/living-models-site.zip").stat().st_size > 1_000_000


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (cell("raise RuntimeError('the model broke')"), "the model broke"),
        (cell("import warnings", "warnings.warn('careful now')"), "stderr was found in the cell outputs"),
        ("See {ref}`no-such-place`.\n", "no-such-place"),
        ("See {cite}`nobody1999`.\n", "nobody1999"),
        ("See {term}`no such word`.\n", "no such word"),
        ("See [another page](missing.md).\n", "missing.md"),
        ("See {py:func}`lib.leslie.no_such_function`.\n", "no_such_function"),
        (
            cell(
                "from IPython.display import display",
                "display({'application/vnd.unknown+json': {'figure': 1}}, raw=True)",
            ),
            "application/vnd.unknown+json",
        ),
        (
            cell("import plotly.graph_objects as go", "go.Figure(go.Scatter(y=[1, 2, 3]))"),
            "layout.title and layout.meta.alt are both empty",
        ),
        ("```{part} geology\n```\n", "'geology' is not a part of the book"),
        ("![a picture](nowhere.png)\n", "nowhere.png"),
    ],
    ids=["raises", "warns", "ref", "cite", "term", "page", "function", "mime", "untitled figure", "part", "picture"],
)
def test_a_fault_stops_the_build(book, text, message):
    done = book(text)
    assert done.returncode != 0, done.stdout[-3000:]
    assert message in done.stdout, done.stdout[-3000:]


def test_a_fault_in_one_of_several_chapters(book):
    """The others were executed ahead and are not executed again."""
    (book.folder / "_toc.yml").write_text(
        "format: jb-book\nroot: book/index\nchapters: [{file: book/a}, {file: book/z}]\n"
    )
    (book.folder / "book/a.md").write_text(FRONT + "# First\n" + cell("print('a is fine')"))
    (book.folder / "book/z.md").write_text(FRONT + "# Last\n" + cell("raise RuntimeError('the model broke')"))
    done = book(cell("print('the index is fine')"))
    assert done.returncode != 0, done.stdout[-3000:]
    assert "the model broke" in done.stdout, done.stdout[-3000:]
    assert "ExecutionError" in done.stdout and "book/z.md" in done.stdout
    ahead = [line for line in done.stdout.splitlines() if line.startswith("executed ahead: ")]
    assert sorted(line.split()[2].strip(",") for line in ahead) == ["a", "index", "z"]
    # The page that raises is read anew, and so would be one whose kernel could not start beside another.
    ready = [line for line in ahead if "failed" not in line]
    assert ready, ahead
    assert not any(line.startswith("executed ahead: z") for line in ready)
    assert done.stdout.count("Using cached notebook") == len(ready)
    assert done.stdout.count("Executing notebook using") == 3 - len(ready)


def test_a_figure_the_page_could_not_follow_stops_the_build(book):
    """The message names the line of the chapter and the way out."""
    text = cell(
        "import plotly.graph_objects as go",
        "import torch",
        "from lib.live import Slider, live",
        "",
        "@live(rate=Slider(0, 2, 1.0))",
        "def growth(rate):",
        '    """Ten years."""',
        "    y = torch.exp(rate * torch.arange(10))",
        "    if y[-1] > 100:",
        "        y = y / 2",
        "    return go.Figure(layout={'title': 'Growth'}).add_scatter(y=y)",
        "",
        "growth",
    )
    done = book(text)
    line = (FRONT + "# A small book\n\n" + text).splitlines().index("    if y[-1] > 100:") + 1
    assert done.returncode != 0, done.stdout[-3000:]
    assert f"index.md:{line}: if y[-1] > 100:" in done.stdout, done.stdout[-3000:]
    assert "use torch.where, or a Choice instead of a Slider" in done.stdout
