"""Clusters, null models and random sites: scipy as the reference, textbook numbers, symmetries."""

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import ndimage

from lib import landcover, percolation
from lib.clusters import _labels
from lib.components import numbered

masks = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=14))
occupied = masks.filter(np.any)
neighbours = st.sampled_from([4, 8])


def by_scipy(mask, neighbours=4):
    return ndimage.label(mask, ndimage.generate_binary_structure(2, 1 if neighbours == 4 else 2))


def spiral(side):
    """One path of width 1 from the rim to the middle, with gaps of width 1."""
    mask = np.zeros((side, side), dtype=bool)
    row, column, down, across = 0, 0, 0, 1
    mask[0, 0] = True
    while True:
        for _ in range(2):  # two turns without a step: the middle is reached
            ahead = row + 2 * down, column + 2 * across
            inside = 0 <= row + down < side and 0 <= column + across < side
            free = not (0 <= ahead[0] < side and 0 <= ahead[1] < side) or not mask[ahead]
            if inside and free:
                break
            down, across = across, -down
        else:
            return mask
        row, column = row + down, column + across
        mask[row, column] = True


def comb(side):
    """Teeth that meet only in the last row: the smallest label has to travel all the way down and up."""
    mask = np.zeros((side, side), dtype=bool)
    mask[:, ::2] = True
    mask[-1] = True
    return mask


def serpentine(side):
    mask = np.zeros((side, side), dtype=bool)
    mask[::2] = True
    mask[1::4, -1] = True
    mask[3::4, 0] = True
    return mask


SHAPES = {
    "spiral": spiral(61),
    "its gaps": ~spiral(61),
    "comb": comb(60),
    "comb upside down": comb(60)[::-1].copy(),
    "serpentine": serpentine(61),
    "serpentine on its side": serpentine(61).T.copy(),
    "checkerboard": np.indices((31, 40)).sum(axis=0) % 2 == 0,
    "diagonal": np.eye(50, dtype=bool),
    "empty": np.zeros((7, 9), dtype=bool),
    "full": np.ones((7, 9), dtype=bool),
    "one pixel": np.ones((1, 1), dtype=bool),
    "one row": np.array([[True, False, True, True]]),
    "one column": np.array([[True], [False], [True], [True]]),
}


@pytest.mark.parametrize("connect", [4, 8])
@pytest.mark.parametrize("shape", SHAPES)
def test_components_of_hard_shapes(shape, connect):
    labels, count = percolation.connected_components(SHAPES[shape], connect)
    expected, clusters = by_scipy(SHAPES[shape], connect)
    assert int(count) == clusters
    assert (labels.numpy() == expected).all()


def test_the_spiral_is_one_path():
    mask = spiral(61)
    assert by_scipy(mask)[1] == 1
    assert mask.sum() > 61 * 61 * 0.45
    ends = mask & (ndimage.convolve(mask.astype(int), [[0, 1, 0], [1, 0, 1], [0, 1, 0]], mode="constant") == 1)
    assert ends.sum() == 2


@given(arrays(bool, array_shapes(min_dims=3, max_dims=4, max_side=9)), neighbours)
@settings(max_examples=120)
def test_components_of_a_batch_equal_scipys_one_by_one(batch, connect):
    labels, count = percolation.connected_components(batch, connect)
    assert labels.shape == batch.shape
    assert labels.dtype == torch.int32
    flat = batch.reshape(-1, *batch.shape[-2:])
    for mask, own, found in zip(flat, labels.reshape(flat.shape).numpy(), count.flatten(), strict=True):
        expected, clusters = by_scipy(mask, connect)
        assert int(found) == clusters
        assert (own == expected).all()


@pytest.mark.parametrize("p", [0.2, 0.5, 0.5927, 0.7])
def test_components_of_random_sites_equal_scipys(p):
    mask = np.random.default_rng(0).random((3, 300, 260)) < p
    for connect in (4, 8):
        own = numbered(torch.from_numpy(mask), connect)
        through_scipy = _labels(torch.from_numpy(mask), connect)
        for ours, theirs in zip(own, through_scipy, strict=True):
            assert torch.equal(ours.long(), theirs.long())


def one_to_one(first, second):
    """Whether two labellings are equal up to the names of the clusters."""
    pairs = np.unique(np.stack([first, second]), axis=1)
    return len(np.unique(pairs[0])) == len(np.unique(pairs[1])) == pairs.shape[1]


@given(masks)
@settings(max_examples=80)
def test_sweeps_find_the_same_clusters(mask):
    labels = percolation.propagated_labels(torch.from_numpy(mask), rounds=mask.size)
    assert (labels.numpy()[~mask] == mask.size).all()
    assert one_to_one(by_scipy(mask)[0][mask], labels.numpy()[mask])
    # The name is the place of the cluster's first pixel.
    names = np.unique(labels.numpy()[mask])
    assert (labels.flatten()[names] == torch.from_numpy(names)).all()


def test_eight_sweeps_are_enough_for_a_landscape():
    for seed in range(3):
        built = landcover.synthetic_built(seed, landcover.SMALL_SHAPE)
        labels = percolation.propagated_labels(built)
        for mask, own in zip(built.numpy(), labels.numpy(), strict=True):
            assert one_to_one(by_scipy(mask)[0][mask], own[mask])


@given(occupied, neighbours)
@settings(max_examples=100)
def test_sizes_against_scipy(mask, connect):
    labels, clusters = by_scipy(mask, connect)
    sizes = np.sort(np.bincount(labels[labels > 0]))[::-1]
    sizes = sizes[sizes > 0]
    found = percolation.cluster_stats(mask, connect)
    assert found.sizes.tolist() == sizes.tolist()
    assert (found.count, found.largest, found.occupied) == (clusters, sizes[0], mask.sum())
    assert int(found.sizes.sum()) == found.occupied
    assert found.share == mask.mean()
    assert found.order_parameter == sizes[0] / mask.sum()
    assert float(percolation.order_parameter(mask, connect)) == found.order_parameter
    giant = percolation.largest_cluster(mask, connect).numpy()
    assert giant.sum() == sizes[0]
    assert len(np.unique(labels[giant])) == 1


@given(occupied, neighbours, st.integers(0, 7))
@settings(max_examples=100)
def test_turning_and_mirroring_changes_nothing(mask, connect, turn):
    turned = np.rot90(mask, turn % 4)
    turned = turned.T if turn > 3 else turned
    before, after = percolation.cluster_stats(mask, connect), percolation.cluster_stats(turned, connect)
    assert before.sizes.tolist() == after.sizes.tolist()
    assert percolation.boundary(mask).sum() == percolation.boundary(turned).sum()
    assert percolation.spans(mask, connect) == percolation.spans(mask[::-1], connect)


@given(arrays(bool, (4, 6, 5)).filter(lambda batch: batch.any(axis=(1, 2)).all()), neighbours)
@settings(max_examples=60)
def test_batched_equals_looped(batch, connect):
    for function in (percolation.order_parameter, percolation.largest_cluster, percolation.frontier, percolation.spans):
        together = function(batch, connect)
        assert torch.equal(together, torch.stack([function(one, connect) for one in batch]))
    corner_joins = percolation.order_parameter(batch, 8) >= percolation.order_parameter(batch, 4)
    assert corner_joins.all()


@given(masks, neighbours)
@settings(max_examples=80)
def test_spanning_by_flooding_from_the_top(mask, connect):
    structure = ndimage.generate_binary_structure(2, 1 if connect == 4 else 2)
    top = np.zeros_like(mask)
    top[0] = mask[0]
    flooded = ndimage.binary_propagation(top, structure, mask=mask)
    assert bool(percolation.spans(mask, connect)) == bool(flooded[-1].any())


@pytest.mark.parametrize("device", ["own", "scipy"])
def test_no_maps_at_all(device, monkeypatch):
    """A batch of none gives none, through both ways of labelling."""
    if device == "own":
        monkeypatch.setattr("lib.clusters._labels", numbered)
    none = torch.zeros(0, 5, 6, dtype=torch.bool)
    assert percolation.largest_cluster(none).shape == percolation.frontier(none).shape == none.shape
    assert percolation.order_parameter(none).shape == percolation.spans(none).shape == (0,)
    assert [tuple(found.shape) for found in percolation.connected_components(none)] == [(0, 5, 6), (0,)]


def test_of_two_largest_clusters_the_first_counts():
    mask = torch.tensor([[[1, 0, 1], [1, 0, 1]], [[1, 0, 0], [0, 1, 1]]], dtype=torch.bool)
    expected = torch.tensor([[[1, 0, 0], [1, 0, 0]], [[0, 0, 0], [0, 1, 1]]], dtype=torch.bool)
    assert torch.equal(percolation.largest_cluster(mask), expected)


def test_an_empty_map_does_not_span():
    assert percolation.spans(torch.zeros(2, 3, 3, dtype=torch.bool)).tolist() == [False, False]


@given(masks, st.integers(0, 100))
@settings(max_examples=50)
def test_shuffles_keep_the_count_and_stay_within(mask, seed):
    if not mask.any():
        mask[0, 0] = True
    rng = np.random.default_rng(seed)
    within = mask | (rng.random(mask.shape) < 0.5)
    maps = percolation.shuffled(mask, 3, seed, within=within)
    assert (maps.sum(dim=(1, 2)) == int(mask.sum())).all()
    assert not (maps & ~torch.from_numpy(within)).any()
    assert torch.equal(maps, percolation.shuffled(mask, 3, seed, within=within))


def test_every_place_is_equally_likely():
    mask = torch.zeros(4, 5, dtype=torch.bool)
    mask[0] = True
    share = percolation.shuffled(mask, 8000, seed=1).double().mean(dim=0)
    # Five of twenty places: standard error sqrt(.25 * .75 / 8000) = .0048; twenty places, 4.5 standard errors.
    assert float((share - 0.25).abs().max()) < 0.022


def test_the_order_parameter_of_shuffles_is_that_of_the_shuffled_maps():
    mask = torch.rand(40, 50, generator=torch.Generator().manual_seed(0)) < 0.5
    maps = percolation.shuffled(mask, 6, seed=4)
    assert torch.equal(percolation.shuffled_order_parameter(mask, 6, seed=4), percolation.order_parameter(maps))


def test_brief_6_shuffling_the_built_pixels_of_2024():
    land, built = landcover.terrain(0).land, landcover.synthetic_built(0)[-1]
    assert float(built.sum() / land.sum()) == pytest.approx(0.482, abs=0.0005)
    frame = percolation.shuffled_order_parameter(built, 5, seed=0)
    on_land = percolation.shuffled_order_parameter(built, 5, seed=0, within=land)
    # Seen in the brief: .0002 and .0036, one shuffle each.
    assert float(frame.max()) < 0.0005
    assert 0.002 < float(on_land.mean()) < 0.008
    assert float(percolation.order_parameter(built)) > 0.9


def test_brief_6_random_sites():
    sweep = percolation.site_percolation([0.5, 0.55, 0.593, 0.62, 0.65], side=512, samples=6, seed=0)
    expected = torch.tensor([0.0036, 0.016, 0.39, 0.88, 0.94], dtype=torch.float64)
    # The brief's are single lattices, so one standard deviation of a lattice, not of the mean, is the yardstick.
    deviation = sweep.order_parameter_error * 6**0.5
    assert ((sweep.order_parameter - expected).abs() < 4 * deviation + 0.005).all()
    assert (sweep.order_parameter.diff() > 0).all()
    assert sweep.spanning.tolist()[:2] == [0, 0]
    assert sweep.spanning.tolist()[-2:] == [1, 1]


@pytest.mark.parametrize(("side", "samples"), [(32, 2000), (64, 1000), (128, 300)])
def test_brief_6_half_of_the_lattices_span_at_the_threshold(side, samples):
    sweep = percolation.site_percolation([percolation.SITE_THRESHOLD[4]], side, samples, seed=0)
    # A square's crossing probability is 1/2 in the limit; on L x L sites .319 / L more (Ziff 1992).
    assert abs(float(sweep.spanning) - 0.5 - 0.319 / side) < 4 * float(sweep.spanning_error)


def test_corners_lower_the_threshold():
    # Full sites with 4 neighbours block exactly the empty ones with 8: the two thresholds add to 1.
    assert sum(percolation.SITE_THRESHOLD.values()) == pytest.approx(1, abs=1e-6)
    sites = percolation.random_sites(0.5, side=60, samples=20, seed=3)
    crosses_down = percolation.spans(sites, 4)
    cut_across = percolation.spans(~sites.mT, 8)
    assert torch.equal(crosses_down, ~cut_across)


def test_a_sweep_repeats_and_standard_errors_shrink():
    first = percolation.site_percolation([0.55], 32, 400, seed=5)
    again = percolation.site_percolation([0.55], 32, 400, seed=5)
    assert torch.equal(first.order_parameter, again.order_parameter)
    each = percolation.order_parameter(percolation.random_sites(0.55, 32, 400, seed=5)).numpy()
    assert float(first.order_parameter_error) == pytest.approx(scipy.stats.sem(each), rel=1e-12)
    fewer = percolation.site_percolation([0.55], 32, 25, seed=5)
    assert float(fewer.order_parameter_error / first.order_parameter_error) == pytest.approx(4, rel=0.4)


def test_messages():
    with pytest.raises(ValueError, match="mask must have an occupied pixel in every image, but one is empty"):
        percolation.cluster_stats(np.zeros((3, 3), dtype=bool))
    with pytest.raises(ValueError, match=r"mask must be one image of shape \(H, W\), got \(2, 3, 3\)"):
        percolation.cluster_stats(np.ones((2, 3, 3), dtype=bool))
    with pytest.raises(ValueError, match="within must hold every occupied pixel of the mask"):
        percolation.shuffled([[True, True]], 1, within=[[True, False]])
    with pytest.raises(ValueError, match=r"within must have the mask's shape \(1, 2\), got \(1, 3\)"):
        percolation.shuffled([[True, True]], 1, within=[[True, True, True]])
    with pytest.raises(ValueError, match=r"but 0\.001 leaves one empty"):
        percolation.site_percolation([0.001], side=4, samples=3)
