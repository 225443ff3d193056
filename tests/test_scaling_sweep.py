"""The sweep of size times data: a small one end to end, and what the stored one has to hold."""

import numpy as np
import pytest

from benchmarks import scaling_sweep
from lib import results
from lib.char_scaling import source_split
from lib.char_transformer import non_embedding_parameters
from lib.sweep import run


def stored(name):
    return np.array(results.measured_elsewhere("scaling-laws", "char-lm-cpu", name).value)


def test_a_small_sweep_is_stopped_and_goes_on(tmp_path):
    """Budgets of less than a thousandth of the stored ones: a few batches each."""
    sweep = scaling_sweep.sweep({4e7: (8, 12), 8e7: (8,)}, seeds=2)
    table = tmp_path / "small.jsonl"
    whole = run(sweep, tmp_path / "whole.jsonl", backend="serial", progress=None)
    lines = (tmp_path / "whole.jsonl").read_text().splitlines(keepends=True)
    table.write_text("".join(lines[:4]) + lines[4][:20])  # killed in the middle of its fourth point
    again = run(sweep, table, backend="serial", progress=None)
    assert whole.complete and again.complete
    assert again.columns()["loss"].tolist() == whole.columns()["loss"].tolist()
    values = scaling_sweep.values(whole.columns(), whole.columns())
    assert values["seed"] == values["held_out_seed"] == [0, 0, 0, 1, 1, 1]
    assert values["width"] == [8, 12, 8, 8, 12, 8]


@pytest.mark.parametrize("grid", [scaling_sweep.GRID, scaling_sweep.HELD_OUT])
def test_every_point_has_enough_text(grid):
    for budget, widths in grid.items():
        for width in widths:
            assert budget / (6 * non_embedding_parameters(width)) < 0.99 * source_split().train.numel()


def test_the_stored_sweep_accounts_for_its_compute():
    for prefix in ("", "held_out_"):
        parameters, tokens, flops = (stored(prefix + name) for name in ("parameters", "tokens", "flops"))
        budget = stored(prefix + "budget")
        np.testing.assert_allclose(flops, 6 * parameters * tokens, rtol=1e-15)
        assert (flops <= budget).all()
        # Whole batches: less than one of them is left over.
        assert (budget - flops < 6 * parameters * 513).all()
    assert stored("held_out_budget").min() > stored("budget").max()


def test_every_stored_isoflop_curve_has_its_minimum_inside():
    """And the best size grows with the budget."""
    budget, size, loss = stored("budget"), stored("parameters"), stored("loss")
    best = []
    for one in np.unique(budget):
        sizes = np.unique(size[budget == one])
        mean = np.array([loss[(budget == one) & (size == n)].mean() for n in sizes])
        assert 0 < mean.argmin() < len(sizes) - 1
        best.append(sizes[mean.argmin()])
    assert (np.diff(best) >= 0).all()
    assert best[-1] > 4 * best[0]
