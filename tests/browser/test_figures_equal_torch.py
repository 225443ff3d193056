"""Every live figure of the built book, at its ends, its default and drawn settings: the page's arrays are torch's."""

from __future__ import annotations

import functools
import json
import os
import random
import re

import jupytext
import numpy as np
import pytest

from lib.live.leaves import at, leaves, plain
from lib.site.layout import ROOT
from tests.browser.pages import SITE, visit

pytestmark = pytest.mark.browser

CHAPTERS = sorted(
    path.relative_to(ROOT).with_suffix("").as_posix()
    for path in [ROOT / "book/index.md", *(ROOT / "book").glob("*/*.md")]
    if re.search(r"^@live\(|^@live$", path.read_text(encoding="utf8"), re.MULTILINE)
    and (SITE / path.relative_to(ROOT)).with_suffix(".html").is_file()
)


@functools.cache
def figures(chapter: str) -> dict:
    """The live figures of a chapter, made by running its code cells here."""
    from lib.live import Live

    notebook = jupytext.read(ROOT / f"{chapter}.md", fmt="md:myst")
    names: dict = {"display": lambda *_: None}
    folder = os.getcwd()
    os.chdir((ROOT / chapter).parent)
    try:
        for cell in notebook.cells:
            if cell.cell_type == "code":
                exec(compile(cell.source, f"{chapter}.md", "exec"), names)
    finally:
        os.chdir(folder)
    return {value.name: value for value in names.values() if isinstance(value, Live)}


def settings(figure) -> list[dict]:
    """Default, both ends of every slider, every option, and three draws."""
    free = {k: c for k, c in figure.controls.items() if c.kind in ("slider", "seed")}
    rng = random.Random(7)
    out = [{}]
    out += [{k: end} for k, c in free.items() for end in c.ends]
    out += [{k: option} for k, c in figure.controls.items() if hasattr(c, "settings") for option in c.settings]
    for _ in range(3):
        drawn = {}
        for k, c in figure.controls.items():
            if c.kind == "slider":
                drawn[k] = c.at(rng.randrange(c.count + 1))
            elif c.kind == "seed":
                drawn[k] = rng.randrange(1000)
            else:
                drawn[k] = rng.choice(c.settings)
        out.append(drawn)
    return out


_SHOWN = """async ([id, values]) => { const el = document.getElementById(id); await el.live.set(values);
  const flat = (x) => ArrayBuffer.isView(x) ? Array.from(x, word) : Array.isArray(x) ? x.map(flat)
    : x && typeof x === 'object' ? Object.fromEntries(Object.entries(x).map(([k, v]) => [k, flat(v)])) : word(x);
  const word = (v) => typeof v === 'number' && !Number.isFinite(v) ? null : v;
  return [el.live.values, flat(el.live.figure)]; }"""


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_page_equals_torch(browser, server, chapter):
    made = figures(chapter)
    assert made, f"{chapter} has @live in its text and no live figure in its cells"
    with visit(browser, f"{server}{chapter}.html") as seen:
        seen.scroll_through()
        for name, figure in made.items():
            assert seen.page.locator(f"#live-{name}.live-on").count() == 1
            for wanted in settings(figure):
                values, shown = seen.page.evaluate(_SHOWN, [f"live-{name}", figure.defaults | wanted])
                python = plain(figure(**values))
                compared = 0
                for path, want in leaves(python):
                    got = at(shown, path)
                    if isinstance(want, str):
                        assert got == want or re.sub(r"[\d.]+", "#", str(got)) == re.sub(r"[\d.]+", "#", want), (
                            name,
                            path,
                        )
                        continue
                    a, b = (np.array(v, dtype=float) for v in (got, want))
                    scale = np.nanmax(np.abs(b)) if b.size and np.isfinite(b).any() else 1.0
                    np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-9 * scale, err_msg=f"{name}{path} at {values}")
                    compared += a.size
                assert compared > 0
        assert seen.problems == []


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_a_second_build_gives_identical_figure_data(site, chapter):
    """The page holds what the build's kernel recorded; recording again here, in another process, gives the same."""
    text = (site / f"{chapter}.html").read_text(encoding="utf8")
    scripts = re.findall(r'<script type="application/json">(.*?)</script>', text, re.DOTALL)
    found = [json.loads(body) for body in scripts]
    built = {spec["name"]: spec for spec in found if "variants" in spec}
    made = figures(chapter)
    assert set(built) == set(made)
    for name, figure in made.items():
        assert json.loads(json.dumps(figure.spec())) == built[name], name


def test_some_chapter_is_live():
    assert any("leslie" in chapter for chapter in CHAPTERS)
