"""What README and CONTRIBUTING show is true: code runs, pictures and files exist."""

import re

import pytest

from lib.site.layout import ROOT


def blocks(name):
    """The Python code shown in a document."""
    return re.findall(r"```python\n(.*?)```", (ROOT / name).read_text(encoding="utf8"), re.DOTALL)


@pytest.mark.parametrize("code", blocks("README.md"))
def test_readme_code_runs(code):
    exec(compile(code, "README.md", "exec"), {})


def test_the_live_figure_of_contributing_can_be_replayed():
    shown = [code for code in blocks("CONTRIBUTING.md") if "@live" in code]
    assert shown
    for code in shown:
        names: dict = {}
        exec(compile(code, "CONTRIBUTING.md", "exec"), names)
        from lib.live import Live

        figures = [value for value in names.values() if isinstance(value, Live)]
        assert figures
        assert all(figure.spec()["variants"] for figure in figures)


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_local_links_and_pictures_exist(name):
    text = (ROOT / name).read_text(encoding="utf8")
    targets = re.findall(r'src="([^"]+)"|\]\(([^)#]+)[^)]*\)', text)
    local = [a or b for a, b in targets if not (a or b).startswith("http")]
    assert local or name != "README.md"
    assert [target for target in local if not (ROOT / target).exists()] == []
