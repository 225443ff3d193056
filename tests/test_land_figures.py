"""What live figures draw of landscapes and clusters, recorded and replayed: the page computes the same numbers."""

import json

import pytest
import torch

from lib import landcover, percolation
from tests.replays import recorded, replays

GROUND = landcover.terrain(0, (48, 64))
SITES = torch.rand(24, 30, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def growth(disorder, road_weight):
    built = landcover.grow_built(GROUND, disorder, road_weight)
    labels = percolation.propagated_labels(built[-1], rounds=4)
    sizes = torch.bincount(labels.flatten(), minlength=labels.numel() + 1)[:-1]
    rim = percolation.boundary(built[-1])
    counts = percolation.box_counts(rim, [2, 3, 4, 6])
    dimension, r2 = percolation.box_dimension(rim, [2, 4, 8])
    return built[0].double(), built[-1].double(), labels.double(), sizes.max(), counts, dimension, r2


def sites(probability):
    labels = percolation.propagated_labels(probability > SITES, rounds=12)
    return labels.double(), percolation.boundary(probability > SITES).double()


FIGURES = {"growth": (growth, "disorder", "road_weight"), "sites": (sites, "probability")}


@pytest.mark.parametrize("name", FIGURES)
def test_a_recorded_figure_replays(name):
    figure, *controls = FIGURES[name]
    program = recorded(figure, dict.fromkeys(controls, 0.5))
    assert len(json.dumps(program)) < 200_000
    settings = [dict.fromkeys(controls, value) for value in (0.2, 0.55, 0.8)]
    for found, expected in replays(program, figure, settings):
        torch.testing.assert_close(found, expected.double(), rtol=1e-9, atol=1e-9)
