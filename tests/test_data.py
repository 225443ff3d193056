"""Shipped data: provenance, checksums, and what happens to a damaged file."""

import hashlib
import shutil

import numpy as np
import pytest

from lib import data


@pytest.mark.parametrize("name", list(data.DATASETS))
def test_every_dataset_is_intact_and_says_where_it_comes_from(name):
    entry = data.dataset(name)
    assert data.verify(name).is_file()
    assert all(len(text) > 10 for text in (entry.title, entry.source, entry.licence))
    assert list(data.load(name)) == list(entry.units)
    assert entry.name == name


def test_every_file_is_registered():
    shipped = {path.name for path in data.FOLDER.iterdir() if path.suffix == ".csv"}
    assert shipped == {entry.file for entry in data.DATASETS.values() if entry.file.endswith(".csv")}


def test_gause_table():
    table = data.load("gause_paramecium")
    assert all(column.shape == (26,) for column in table.values())
    assert table["day"].tolist() == list(range(26))
    for name in list(table)[1:]:
        assert np.flatnonzero(np.isnan(table[name])).tolist() == [1]
        assert table[name][0] == 2
    assert np.nansum(table["aurelia_alone"]) == 10_040
    assert np.nansum(table["caudatum_alone"]) == 3_710
    assert np.nansum(table["aurelia_mixed"]) == 6_377
    assert np.nansum(table["caudatum_mixed"]) == 1_287
    # Some teaching copies carry 57, 94, 142, 175, 189 here; Table III does not.
    assert table["caudatum_alone"][6:11].tolist() == [56, 104, 137, 165, 194]


def copied(folder):
    shutil.copy(data.FOLDER / "gause_paramecium.csv", folder)
    return folder / "gause_paramecium.csv"


def test_one_changed_number_is_noticed(tmp_path):
    path = copied(tmp_path)
    path.write_text(path.read_text().replace("104", "94"))
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(ValueError, match=rf"gause_paramecium\.csv is corrupt or was edited: its sha256 is {found}"):
        data.load("gause_paramecium", tmp_path)


def test_a_truncated_file_is_noticed(tmp_path):
    path = copied(tmp_path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match="corrupt"):
        data.load("gause_paramecium", tmp_path)


def test_windows_line_ends_are_no_damage(tmp_path):
    path = copied(tmp_path)
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    np.testing.assert_array_equal(
        data.load("gause_paramecium", tmp_path)["aurelia_alone"], data.load("gause_paramecium")["aurelia_alone"]
    )


def test_a_missing_file_and_an_unknown_name(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"gause_paramecium\.csv of gause_paramecium is missing"):
        data.verify("gause_paramecium", tmp_path)
    with pytest.raises(ValueError, match=r"name must be one of gause_paramecium.*got 'gauze'"):
        data.load("gauze")
    with pytest.raises(ValueError, match="name must be one of"):
        data.dataset(3)
