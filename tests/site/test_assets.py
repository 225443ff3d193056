"""Vendored files: listed, unchanged, licensed, and nothing beside them."""

import shutil

import pytest
import yaml
from sphinx.errors import ExtensionError

from lib.site import assets
from lib.site.layout import ROOT


@pytest.fixture
def copy(tmp_path):
    """The vendored files and their table in a folder that a test may spoil."""
    for folder in assets.folders(ROOT):
        shutil.copytree(folder, tmp_path / folder.relative_to(ROOT))
    return tmp_path


def test_the_table_is_right():
    assert assets.check() == []


def test_a_changed_file_is_found(copy):
    path = copy / assets.load_table(copy)["files"][0]["path"]
    path.write_bytes(path.read_bytes() + b"\n")
    assert assets.check(copy) == [f"{path.relative_to(copy)}: the file differs from its sha256"]


def test_a_missing_file_is_found(copy):
    path = copy / assets.load_table(copy)["files"][0]["path"]
    path.unlink()
    assert assets.check(copy) == [f"{path.relative_to(copy)}: the file is missing"]


def test_an_unlisted_file_is_found(copy):
    (copy / "book/_static/vendor/stray.js").write_text("1")
    assert assets.check(copy) == [f"book/_static/vendor/stray.js: not in {assets.TABLE}"]


def test_a_missing_licence_is_found(copy):
    row = assets.load_table(copy)["files"][0]
    (copy / row["licence_file"]).unlink()
    assert f"{row['path']}: its licence {row['licence_file']} is missing" in assets.check(copy)


def test_an_empty_field_is_found(copy):
    table = assets.load_table(copy)
    table["files"][0]["version"] = ""
    (copy / assets.TABLE).write_text(yaml.safe_dump(table))
    assert any("version is not given" in fault for fault in assets.check(copy))


def test_the_build_stops_on_a_fault(monkeypatch, tmp_path):
    monkeypatch.setattr(assets, "check", lambda: ["x.js: the file is missing"])
    with pytest.raises(ExtensionError, match=r"x\.js: the file is missing"):
        assets.collect(tmp_path)


def test_generated_assets_are_written(tmp_path):
    assets.collect(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"plotly.min.js", "live.js", "live.css"}
    assert all(path.stat().st_size > 1000 for path in tmp_path.iterdir())


def test_unchanged_assets_keep_their_date(tmp_path):
    assets.collect(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assets.collect(tmp_path)
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}


@pytest.mark.parametrize(
    "text", ["", "- a\n", "files:\n  a: 1\n", "wheels: []\n", "files: []\nwheels: none\n", "files: [\n", "\0"]
)
def test_a_spoiled_table_is_named(copy, text):
    (copy / assets.TABLE).write_text(text)
    with pytest.raises(ExtensionError, match=r"book/_static/vendor/ASSETS\.yml: "):
        assets.check(copy)


def test_a_missing_table_is_named(copy):
    (copy / assets.TABLE).unlink()
    with pytest.raises(ExtensionError, match=r"ASSETS\.yml: cannot be read"):
        assets.check(copy)


@pytest.mark.parametrize("field", ["path", "licence_file", "sha256"])
def test_a_row_without_its_essentials_is_named(copy, field):
    table = assets.load_table(copy)
    del table["files"][1][field]
    (copy / assets.TABLE).write_text(yaml.safe_dump(table))
    message = f"{assets.TABLE}: file 2 needs path, licence_file and sha256 (texts), got {{"
    assert any(fault.startswith(message) for fault in assets.check(copy))


def test_a_row_that_is_no_row_is_named(copy):
    table = assets.load_table(copy)
    table["files"].append("just words")
    (copy / assets.TABLE).write_text(yaml.safe_dump(table))
    assert any(fault.endswith("got 'just words'") for fault in assets.check(copy))
