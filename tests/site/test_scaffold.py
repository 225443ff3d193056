"""``make new``: four files, a line of the contents, a test that fails until they are filled in, clear refusals."""

import os
import shutil
import subprocess
import sys

import pytest
import yaml

from lib.site import anatomy, layout, scaffold
from lib.site.layout import ROOT


@pytest.fixture
def root(tmp_path):
    """A copy of what the scaffold reads."""
    for name in ("_toc.yml", "book/parts.yml", "_config.yml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def test_it_writes_the_four_files(root):
    written = scaffold.scaffold("geometry", "fisher-rao", root)
    names = {str(path.relative_to(root)) for path in written}
    assert names == {
        "book/geometry/fisher-rao.md",
        "lib/fisher_rao.py",
        "claims/fisher-rao.yml",
        "tests/test_fisher_rao.py",
    }
    assert not [path for path in written if "@" in path.read_text().replace("@live", "")]


def test_it_adds_the_chapter_at_its_place(root):
    scaffold.scaffold("geometry", "fisher-rao", root)
    scaffold.scaffold("geometry", "good-regulator", root)
    part = next(p for p in yaml.safe_load((root / "_toc.yml").read_text())["parts"] if p["caption"] == "Geometry")
    assert [entry["file"] for entry in part["chapters"]] == [
        "book/back/part-geometry",
        "book/geometry/good-regulator",
        "book/geometry/fisher-rao",
    ]


def test_a_new_chapter_follows_the_order_of_sections(root):
    scaffold.scaffold("geometry", "fisher-rao", root)
    faults = anatomy.faults(root / "book/geometry/fisher-rao.md")
    assert not [fault for fault in faults if "headings" in fault or "question" in fault or "@live" in fault]
    assert "something is still to be filled in" in faults


def test_the_new_module_is_well_formed(root):
    scaffold.scaffold("geometry", "fisher-rao", root)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--doctest-modules"]
    done = subprocess.run([*command, "lib/fisher_rao.py"], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_new_test_fails_until_filled_in(root):
    scaffold.scaffold("geometry", "fisher-rao", root)
    # The new files inside a package that has everything else.
    shutil.copytree(ROOT / "lib", root / "whole/lib", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("book", "claims", "tests"):
        shutil.copytree(root / name, root / "whole" / name)
    shutil.copy(root / "lib/fisher_rao.py", root / "whole/lib/fisher_rao.py")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--import-mode=importlib", "tests"]
    environment = {**os.environ, "PYTHONPATH": str(root / "whole")}
    done = subprocess.run(command, cwd=root / "whole", capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 1
    assert "2 failed, 1 passed" in done.stdout, done.stdout
    assert "still to be filled in" in done.stdout


@pytest.mark.parametrize(
    ("part", "slug", "message"),
    [
        ("geology", "fisher-rao", "part: 'geology' is not a part of the book"),
        ("geometry", "leslie", "slug: 'leslie' is not planned in part 'geometry'"),
        ("", "", "part: '' is not a part of the book"),
    ],
)
def test_it_refuses_what_is_not_planned(root, part, slug, message):
    with pytest.raises(ValueError, match=message):
        scaffold.scaffold(part, slug, root)


def test_it_refuses_to_overwrite(root):
    scaffold.scaffold("geometry", "fisher-rao", root)
    before = (root / "_toc.yml").read_text()
    with pytest.raises(ValueError, match=r"slug: 'fisher-rao' has been started, book/geometry/fisher-rao\.md"):
        scaffold.scaffold("geometry", "fisher-rao", root)
    assert (root / "_toc.yml").read_text() == before


def test_a_missing_part_in_the_contents_is_named():
    chapter = layout.find_chapter("geometry", "fisher-rao")
    with pytest.raises(ValueError, match=r"_toc\.yml: has no entry"):
        scaffold.add_to_contents("parts: []\n", chapter, [chapter.docname])


def test_the_command_line_says_how_it_is_used():
    done = subprocess.run(
        [sys.executable, "-m", "lib.site.scaffold", "", ""], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "usage: make new PART=dynamics SLUG=small-gain-nash" in done.stderr
