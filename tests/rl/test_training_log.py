"""The table of a run, written and read back."""

import math

import pytest
import torch

from lib.rl.training_log import COLUMNS, TIMING, TrainingLog, read_log
from tests.rl.training import curve, run


@pytest.mark.parametrize("seed", [0, (0, 1, 2)])
def test_a_log_is_read_as_it_was_written(tmp_path, seed):
    log, *_ = run(seed=seed, iterations=3)
    log.write(tmp_path / "log.csv")
    again = read_log(tmp_path / "log.csv")
    assert again.members == log.members
    assert torch.equal(curve(again).nan_to_num(-1.5), curve(log).nan_to_num(-1.5))
    assert bool(again["seconds"].isnan().all())
    again.write(tmp_path / "again.csv")
    assert (tmp_path / "again.csv").read_bytes() == (tmp_path / "log.csv").read_bytes()


def test_what_depends_on_the_machine_stands_apart(tmp_path):
    for name in ("one", "two"):
        log, *_ = run(seed=4, iterations=2)
        log.write(tmp_path / f"{name}.csv")
        log.write_timing(tmp_path / f"{name}.timing.csv")
    assert (tmp_path / "one.csv").read_bytes() == (tmp_path / "two.csv").read_bytes()
    header = (tmp_path / "one.csv").read_text().splitlines()[0]
    assert header == "member," + ",".join(COLUMNS)
    lines = (tmp_path / "one.timing.csv").read_text().splitlines()
    assert lines[0] == ",".join(TIMING)
    assert len(lines) == 3


def test_columns():
    log, *_ = run(seed=(0, 1), iterations=3)
    assert log["steps"].tolist() == [[128, 128], [256, 256], [384, 384]]
    assert log["seconds"].shape == (3,)
    assert bool((log["seconds"].diff() > 0).all())
    assert bool((log["explained_variance"] <= 1).all())
    assert bool((log["entropy"] <= math.log(2) + 1e-12).all())
    with pytest.raises(ValueError, match="name must be one of 'iteration', 'steps'"):
        log["reward"]


@pytest.mark.parametrize("content", ["", "steps\n1\n", "member," + ",".join(COLUMNS) + "\n1,2\n", b"\xff\xfe"])
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "log.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match="path must name a log"):
        read_log(path)
    with pytest.raises(ValueError, match="path must name a log that can be read"):
        read_log(tmp_path / "missing.csv")


@pytest.mark.parametrize(
    ("order", "message"),
    [
        ((0, 1, 2, 3), "every member once"),
        ((0, 2, 1, 3, 4), "every member once"),
        ((0, 1, 2, 3, 1), "every member once"),
        ((0, 1, 2, 5, 4), "numbers"),
    ],
    ids=["missing", "exchanged", "twice", "text"],
)
def test_rows_that_do_not_fit_are_refused(tmp_path, order, message):
    path = tmp_path / "log.csv"
    log, *_ = run(seed=(0, 1), iterations=2)
    log.write(path)
    lines = path.read_text().splitlines()
    lines.append(lines[3].replace(",256,", ",many,"))
    path.write_text("".join(f"{lines[line]}\n" for line in order))
    with pytest.raises(ValueError, match=f"path must name a log .*{message}"):
        read_log(path)


def test_an_empty_log_is_a_table_without_rows(tmp_path):
    TrainingLog().write(tmp_path / "log.csv")
    assert len(read_log(tmp_path / "log.csv")) == 0
