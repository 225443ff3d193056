"""What importing costs: each case in a fresh interpreter."""

import subprocess
import sys

import pytest

from lib.site.layout import ROOT

HEAVY = ("torch", "numpy", "scipy", "plotly", "ipywidgets", "IPython", "sphinx", "yaml", "triton", "numba")


def imported_by(statement, *watched):
    """Which of the watched packages a statement imports."""
    code = f"{statement}\nimport sys\nprint(*(name for name in {watched!r} if name in sys.modules))"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "statement", ["import lib", "import lib.live", "from lib.live import Slider, Choice, Seed, Toggle"]
)
def test_a_light_import_loads_no_library(statement):
    assert imported_by(statement, *HEAVY) == set()


@pytest.mark.parametrize("statement", ["from lib import leslie", "from lib import claims", "from lib.live import live"])
def test_models_and_figures_do_not_need_the_tools_of_the_build(statement):
    tools = ("sphinx", "myst_nb", "jupyter_book", "playwright", "rjsmin", "numba", "lib.site")
    assert imported_by(statement, *tools) == set()


def test_the_runtime_does_not_need_the_minifier():
    """Colab has no rjsmin: the script is longer there, and the same."""
    without = "import sys\nsys.modules['rjsmin'] = None\nfrom lib.live import runtime\n"
    same = "assert runtime.source(minify=True) == runtime.source(minify=False)"
    assert imported_by(without + same) == set()


@pytest.mark.parametrize("statement", ["from lib.rl import envs", "from lib.rl.envs import gymnasium_adapter"])
def test_environments_load_neither_gymnasium_nor_a_compiler(statement):
    assert imported_by(statement, "gymnasium", "minatar", "numba", "triton", "networkx", "sklearn") == set()
