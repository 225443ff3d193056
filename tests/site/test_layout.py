"""The repository is laid out as the design says, and its settings agree with each other."""

import re
import subprocess
import tomllib
from fnmatch import fnmatch

import pytest
import yaml

from lib.site import anatomy, layout
from lib.site.layout import ROOT

PARTS = layout.parts()
WRITTEN = [chapter for part in PARTS for chapter in part.chapters if chapter.is_written()]


def tracked():
    """Files that are, or would be, under version control."""
    if not (ROOT / ".git").exists():  # a downloaded archive: what .gitignore does not name
        ignored = [line.strip("/ ") for line in (ROOT / ".gitignore").read_text().splitlines() if line.strip()]
        below = [path.relative_to(ROOT) for path in ROOT.rglob("*") if path.is_file()]
        own = [p for p in below if not any(fnmatch(part, rule) for part in p.parts for rule in ignored)]
        return [path.as_posix() for path in own]
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    return [name for name in listed if name and (ROOT / name).is_file()]


def contents():
    return yaml.safe_load((ROOT / "_toc.yml").read_text())


def test_every_part_stands_in_the_contents_in_order():
    captions = [part["caption"] for part in contents()["parts"]]
    titles = [part.title for part in PARTS]
    assert captions[: len(titles)] == titles


def test_every_entry_of_the_contents_is_a_page():
    for part in contents()["parts"]:
        for entry in part["chapters"]:
            assert (ROOT / f"{entry['file']}.md").is_file(), entry["file"]


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.name)
def test_the_contents_hold_the_written_chapters_in_order(part):
    entries = next(p for p in contents()["parts"] if p["caption"] == part.title)["chapters"]
    written = [chapter.docname for chapter in part.chapters if chapter.is_written()]
    assert [entry["file"] for entry in entries] == [part.docname, *written]


def test_a_part_folder_holds_planned_chapters_only():
    planned = {chapter.source() for part in PARTS for chapter in part.chapters}
    for part in PARTS:
        found = {path for path in (ROOT / "book" / part.name).rglob("*") if path.is_file()}
        assert found <= planned, found - planned


def test_the_rooms_of_the_repository():
    allowed = {
        ".ci", ".github", ".gitignore", "CITATION.cff", "CONTRIBUTING.md", "LICENSE", "Makefile", "README.md",
        "_config.yml", "_toc.yml", "benchmarks", "book", "claims", "docs", "lib", "pyproject.toml",
        "requirements-bench.txt", "requirements-colab.txt", "requirements.txt", "results", "setup.py", "tests",
    }  # fmt: skip
    found = {name.split("/")[0] for name in tracked()}
    assert found <= allowed, found - allowed
    assert {"LICENSE", "README.md", "CITATION.cff", "CONTRIBUTING.md", ".ci", ".github", "Makefile"} <= found


@pytest.mark.parametrize("chapter", WRITTEN, ids=lambda chapter: chapter.slug)
def test_a_written_chapter_is_complete(chapter):
    assert anatomy.faults(chapter.source()) == []


# What every chapter may use; the science of a chapter stands in modules of its own, named as the field calls them.
COMMON = {"claims", "data", "device", "exercises", "figures", "glue", "live", "results"}


@pytest.mark.parametrize("chapter", WRITTEN, ids=lambda chapter: chapter.slug)
def test_a_written_chapter_has_its_modules_claims_and_notebook(chapter):
    lines = re.findall(r"(?m)^ *from lib((?:\.ssm|\.rl)?) import (.+)$", chapter.source().read_text(encoding="utf-8"))
    modules = {
        f"{package[1:]}/{name.strip().split()[0]}".lstrip("/") for package, names in lines for name in names.split(",")
    } - COMMON
    assert modules
    found = [(ROOT / f"lib/{module}{end}").is_file() for module in modules for end in (".py", "/__init__.py")]
    assert sum(found) == len(modules), modules
    assert (ROOT / f"claims/{chapter.slug}.yml").is_file()
    assert list((ROOT / "tests").glob(f"test_{chapter.module}*.py"))
    assert (ROOT / f"book/notebooks/{chapter.part}/{chapter.slug}.ipynb").is_file()


def test_slugs_are_unique():
    slugs = [chapter.slug for part in PARTS for chapter in part.chapters]
    assert len(slugs) == len(set(slugs)) == 31


def test_direct_pins_are_exact():
    lines = [line.split("#")[0].strip() for line in (ROOT / "requirements.txt").read_text().split("\n")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", line) for line in lines if line)


def test_the_ranges_of_the_package_allow_the_pins():
    from packaging.requirements import Requirement

    lines = [line.split("#")[0].strip() for line in (ROOT / "requirements.txt").read_text().split("\n")]
    pins = dict(line.split("==") for line in lines if line)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [row for rows in project["optional-dependencies"].values() for row in rows]
    for row in [*project["dependencies"], *extras]:
        wanted = Requirement(row)
        if wanted.name in pins:
            assert wanted.specifier.contains(pins[wanted.name]), f"{row} excludes the pin {pins[wanted.name]}"


def test_the_address_of_the_repository_is_one_setting():
    url, branch = layout.repository()
    owner, name = url.removeprefix("https://github.com/").split("/")
    assert branch == "main"
    assert layout.site_address() == f"https://{owner}.github.io/{name}/"
    config = layout.config()
    assert config["sphinx"]["config"]["ogp_site_url"] == layout.site_address()
    assert url in (ROOT / "CITATION.cff").read_text()
    assert url in (ROOT / "pyproject.toml").read_text()


def test_find_chapter_names_what_is_allowed():
    with pytest.raises(ValueError, match="part: 'dynamic' is not a part of the book; choose one of dynamics"):
        layout.find_chapter("dynamic", "leslie")
    with pytest.raises(ValueError, match="slug: 'lesley' is not planned in part 'dynamics'; choose one of leslie"):
        layout.find_chapter("dynamics", "lesley")


def test_importing_lib_is_cheap():
    import sys

    program = "import lib, sys; print([m for m in ('torch', 'plotly', 'sphinx', 'numpy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_lib_imports_neither_the_book_nor_its_site():
    for path in (ROOT / "lib").rglob("*.py"):
        if path.is_relative_to(ROOT / "lib/site"):
            continue
        text = path.read_text()
        assert not re.search(r"^\s*(from|import)\s+(lib\.site|book|tests)\b", text, flags=re.MULTILINE), path


def test_the_ci_command_is_the_readme_command():
    assert "make test" in (ROOT / ".ci/run").read_text()
    assert "make test" in (ROOT / "README.md").read_text()
    assert (ROOT / ".ci/run").stat().st_mode & 0o111
