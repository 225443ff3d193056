"""The generated notebooks and the widgets, with Colab's versions of plotly, ipywidgets, IPython and numpy.

Everything runs in `.venv-colab` (made by `make colab-env`) and imports a copy of the package installed from the
repository by pip, as the first cell of a notebook would do it.
"""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import nbformat
import pytest

from lib.site import notebooks
from lib.site.book import Book
from lib.site.layout import ROOT

PYTHON = ROOT / ".venv-colab" / "bin" / "python"
CHAPTERS = {source.stem: notebooks.target(source) for source in notebooks.sources()}
SECONDS = 900
SAMPLE = '''\
---
file_format: mystnb
kernelspec: {name: python3}
---
# Sample

```{code-cell} ipython3
import torch
import plotly.graph_objects as go
from lib import claims
from lib.glue import glue
from lib.live import Slider, live

outcome = claims.check("sample", "half", 0.5)
glue("half", outcome.measured)
```

```{code-cell} ipython3
:tags: [remove-input]

# Draw the line
@live(slope=Slider(0, 2, 1))
def line(slope):
    """A line."""
    x = torch.linspace(0, 1, 5, dtype=torch.float64)
    return go.Figure(go.Scatter(x=x, y=slope * x))
line
```

One half is {glue:text}`half:.2f`.

```{code-cell} ipython3
claims.table("sample")
```
'''
CLAIM = "- {id: half, statement: It is a half., where: eq. 1, value: 0.5, tolerance: {abs: 0}}\n"


def run(*command, folder, **environment):
    """Run a command to its end; its output explains a failure."""
    clean = {name: value for name, value in os.environ.items() if name not in ("LIVE_PAGE", "PLOTLY_RENDERER")}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env={**clean, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def python():
    """Python of the second environment. Its absence is a failure: nothing is left out silently."""
    if not PYTHON.is_file():
        pytest.fail(".venv-colab is missing; run `make colab-env` first", pytrace=False)
    return PYTHON


@pytest.fixture(scope="module")
def installed(python, tmp_path_factory):
    """Install the package from a copy of the repository, without dependencies and without the network."""
    repository = tmp_path_factory.mktemp("repository")
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy2(ROOT / name, repository / name)
    for name in ("lib", "claims", "results"):
        shutil.copytree(ROOT / name, repository / name, ignore=shutil.ignore_patterns("__pycache__"))
    target = tmp_path_factory.mktemp("installed")
    flags = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--target", target]
    run(python, "-m", "pip", "install", *flags, repository, folder=repository)
    shutil.rmtree(repository)
    return target


def execute(python, installed, notebook, folder, **environment):
    """Execute a notebook there and return its cells."""
    executed = folder / "executed.ipynb"
    script = Path(__file__).with_name("execute.py")
    run(python, script, notebook, executed, folder, folder=folder, PYTHONPATH=str(installed), **environment)
    return nbformat.read(executed, as_version=4).cells


def outputs(cells):
    return [output for cell in cells for output in cell.get("outputs", [])]


def mimetypes(cells):
    return [mimetype for output in outputs(cells) for mimetype in output.get("data", {})]


def test_versions_are_colabs(python, tmp_path):
    pins = re.findall(r"^([\w-]+)==(\S+)$", (ROOT / "requirements-colab.txt").read_text(encoding="utf-8"), re.MULTILINE)
    names = [name for name, _ in pins]
    program = f"import json, importlib.metadata as m; print(json.dumps([m.version(n) for n in {names!r}]))"
    found = json.loads(run(python, "-c", program, folder=tmp_path))
    # A local label such as +cpu says where a wheel comes from, not which version it is.
    assert dict(zip(names, (version.split("+")[0] for version in found))) == dict(pins)


def test_installed_package_has_its_data(python, installed, tmp_path):
    wanted = [path.relative_to(ROOT) for path in (ROOT / "lib").rglob("*") if path.is_file()]
    wanted = [path for path in wanted if "__pycache__" not in path.parts]
    assert [str(path) for path in wanted if not (installed / path).is_file()] == []
    program = """
import lib, lib.live, lib.claims, lib.glue, lib.results, lib.figures, lib.exercises, lib.data, lib.device
from pathlib import Path
from lib.live import runtime
assert len(runtime.source(minify=False)) > 1000 and len(runtime.css()) > 100
print(Path(lib.__file__).parent, [path.stem for path in sorted(lib.results.shipped("claims").glob("*.yml"))])
"""
    place, _, stems = run(python, "-c", program, folder=tmp_path, PYTHONPATH=str(installed)).strip().partition(" ")
    assert Path(place) == installed / "lib"
    assert stems == str(sorted(path.stem for path in (ROOT / "claims").glob("*.yml")))


def test_every_chapter_has_its_notebook():
    assert CHAPTERS
    assert [path for path in CHAPTERS.values() if not path.is_file()] == []


def test_sample_with_claim_figure_and_glued_number(python, installed, tmp_path):
    (tmp_path / "book" / "part").mkdir(parents=True)
    (tmp_path / "claims").mkdir()
    shutil.copy2(ROOT / "_config.yml", tmp_path)
    (tmp_path / "claims" / "sample.yml").write_text(CLAIM, encoding="utf-8")
    source = tmp_path / "book" / "part" / "sample.md"
    source.write_text(SAMPLE, encoding="utf-8")
    (path,) = notebooks.write(tmp_path)
    cells = execute(python, installed, path, tmp_path, LIVING_MODELS_ROOT=str(tmp_path))
    shown = outputs(cells)
    assert [output["data"].get("text/markdown") for output in shown].count("One half is 0.50.\n") == 1
    assert "application/vnd.jupyter.widget-view+json" in mimetypes(cells)
    assert "reproduced" in "".join(shown[-1]["data"]["text/plain"])
    assert not any("living_models" in output.get("metadata", {}) for output in shown)
    assert Book(tmp_path).titles["book/part/sample"] == "Sample"


def test_a_figure_can_stand_alone(python, installed, tmp_path):
    """What a notebook shows where widgets do not work: one document with the runtime and Plotly inside."""
    program = """
import plotly.graph_objects as go
import torch
from lib.live import Slider, live

@live(slope=Slider(0, 2, 1))
def line(slope):
    "A line."
    return go.Figure(go.Scatter(x=[0.0, 1.0], y=slope * torch.linspace(0, 1, 2, dtype=torch.float64)))

print(line.standalone())
"""
    (tmp_path / "figure.py").write_text(program, encoding="utf-8")
    page = run(python, "figure.py", folder=tmp_path, PYTHONPATH=str(installed))
    assert page.startswith("<!doctype html>")
    assert 'id="live-line"' in page
    assert not re.search(r"<(script|link|img)[^>]*(src|href)=.http", page)


def test_setup_cell_installs_nothing_where_the_package_is_present(python, installed, tmp_path):
    setup = notebooks.SETUP.format(repository="https://example.invalid/none", branch="main")
    run(python, "-c", setup, folder=tmp_path, PYTHONPATH=str(installed))


def test_setup_cell_asks_pip_for_the_repository_without_dependencies(python, tmp_path):
    setup = notebooks.SETUP.format(repository="https://example.invalid/none", branch="main").replace("import lib\n", "")
    program = "import subprocess\nsubprocess.check_call = lambda command: print(command[1:])\n" + setup
    # Outside the repository and without PYTHONPATH there is no package `lib`.
    assert "'install', '--quiet', '--no-deps', 'git+https://example.invalid/none@main'" in run(
        python, "-c", program, folder=tmp_path, PYTHONPATH=""
    )


@pytest.mark.slow
@pytest.mark.parametrize("slug", CHAPTERS)
def test_chapter_runs_from_top_to_bottom(python, installed, tmp_path, slug):
    cells = execute(python, installed, CHAPTERS[slug], tmp_path)
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert all(cell["execution_count"] for cell in code)
    live = sum("".join(cell["source"]).count("@live") for cell in code)
    assert mimetypes(cells).count("application/vnd.jupyter.widget-view+json") >= live
    text = "".join("".join(output.get("data", {}).get("text/html", "")) for output in outputs(cells))
    assert "not checked yet" not in text


def test_widgets_move(python, tmp_path):
    """The widget tests of the project's own environment pass here, too."""
    run(python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/live/test_widget.py", folder=ROOT)
