"""The pages at the back of the book: nothing missing from them, and nothing in them that is not so."""

import re
from types import SimpleNamespace

import pytest

from lib.site import citations, licences, numbering
from lib.site.layout import ROOT, config, repository

BACK = ROOT / "book" / "back"
PAGES = (
    "how-to-read", "how-to-run", "scoreboard", "status", "glossary", "notation", "bibliography", "api", "colophon",
)  # fmt: skip


def text(page):
    return (BACK / f"{page}.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES)
def test_page_stands_in_the_table_of_contents(page):
    assert text(page).startswith("# ")
    assert f"- file: book/back/{page}\n" in (ROOT / "_toc.yml").read_text(encoding="utf-8") + "\n"


def test_every_public_module_is_described():
    described = set(re.findall(r"automodule:: (\S+)", text("api")))
    modules = set()
    for folder in ("lib", "lib/ssm", "lib/rl", "lib/rl/envs"):
        modules |= {f"{folder.replace('/', '.')}.{path.stem}" for path in (ROOT / folder).glob("[!_]*.py")}
    assert modules | {"lib.live", "lib.rl.envs"} == described


def test_install_commands_name_the_repository():
    url, _ = repository()
    assert f'pip install "git+{url}"' in text("how-to-run")


def test_commands_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"`make ([a-z-]+)`|^make ([a-z-]+)$", text("how-to-run"), re.MULTILINE):
        assert re.search(rf"^{target[0] or target[1]}:", makefile, re.MULTILINE), target


def test_terms_are_defined_once_and_end_with_a_full_stop():
    entries = re.findall(
        r"^(?![`#\s])(\S.*)\n  (.+(?:\n  .+)*)", text("glossary").split("```{glossary}", 1)[1], re.MULTILINE
    )
    names = [name.lower() for name, _ in entries]
    assert len(names) == len(set(names)) > 30
    assert [name for name, definition in entries if not definition.endswith(".")] == []


def test_terms_of_the_notation_page_are_defined():
    defined = {line.lower() for line in text("glossary").splitlines() if line and line[0] not in "#`: "}
    for words, target in re.findall(r"{term}`(?:([^`<]+?) *<([^>]+)>|[^`]+)`", text("notation")):
        assert not target or target.lower() in defined, words
    for term in re.findall(r"{term}`([^`<]+)`", text("notation")):
        assert term.lower() in defined


def test_every_verdict_is_explained():
    from lib.claims import VERDICTS

    for verdict in VERDICTS:
        assert f"| {verdict} |" in text("how-to-read")


def test_references_are_complete():
    bibliography = citations.Bibliography(ROOT / "book" / "references.bib")
    assert bibliography.entries
    for key in bibliography.entries:
        assert bibliography.authors(key)
        assert re.fullmatch(r"\d{4}", bibliography.year(key))
        assert bibliography.reference(key).endswith(".")


def test_licence_tables_name_every_asset_and_dataset():
    from lib.data import DATASETS
    from lib.site.assets import load_table

    vendored = licences.vendored_table(ROOT)
    for row in load_table()["files"]:
        assert row["name"] in vendored
        assert row["licence"] in vendored
    shipped = licences.datasets_table()
    for entry in DATASETS.values():
        assert entry.sha256[:16] in shipped


def test_sphinx_compares_its_own_numbers_with_its_own():
    """Else every page would be written again in every build."""

    env = SimpleNamespace(toc_fignumbers={"a": {"figure": {"x": (4,)}}})
    numbering._after_sphinx(None, env)
    assert env.toc_fignumbers == {"a": {"figure": {"x": (1,)}}}
    numbering._before_sphinx(None, env)
    assert env.toc_fignumbers == {"a": {"figure": {"x": (4,)}}}


def test_the_books_own_macros_are_known_to_the_generator():
    macros = config()["sphinx"]["config"]["mathjax3_config"]["tex"]["macros"]
    assert all(isinstance(meaning, str) for meaning in macros.values())
