"""Land cover as a walk, a chain and a percolating cluster: what the chapter *Fisher-Rao* uses, in one place.

Brings together the classes and calibration tables (:mod:`lib.land_tables`), SYNTHETIC landscapes
(:mod:`lib.landscape`, :mod:`lib.land_filling`), the loader of measured maps (:mod:`lib.land_catalogue`, optional
packages), shares and transitions of maps (:mod:`lib.category_maps`), the simplex walk (:mod:`lib.simplex`,
:mod:`lib.fisher_rao`), the absorbing chain (:mod:`lib.markov`), and clusters and box counting
(:mod:`lib.percolation`).

Source: S. H. S. Herho, A. P. Handayani, K. A. Sujatmiko, F. Khadami, I. P. Anwar, "Measuring Primitive Accumulation: An
Information-Theoretic Approach to Capitalist Enclosure in PIK2, Indonesia", arXiv:2603.13715. Formulas, grouping, frame
and box-count recipe are the authors'; generator, calibration tables and null models are this book's.
"""

from __future__ import annotations

from lib.category_maps import (
    class_fractions,
    label_noise_matrix,
    label_noise_retention,
    relabel_at_random,
    transition_counts,
    transition_series,
)
from lib.fisher_rao import fisher_rao_distance, fisher_rao_geodesic
from lib.land_catalogue import COLLECTION, CREDIT, PLANETARY_COMPUTER, LandCover, load_land_cover
from lib.land_filling import synthetic_landscape
from lib.land_tables import (
    ANALYSIS_CODES,
    BUILT,
    BUILT_IN_CAPITAL,
    BUILT_SHARES,
    CLASS_COLOURS,
    CLASS_NAMES,
    CORNERS,
    FRAME,
    GROUPING,
    HALF_SHAPE,
    SIMPLEX_TABLE,
    SMALL_SHAPE,
    SYNTHETIC,
    TRANSITION_TABLE,
    TREES_IN_LAND,
    WATER,
    YEARS,
    Frame,
    frame_shape,
)
from lib.landscape import Terrain, grow_built, random_field, synthetic_built, terrain
from lib.markov import AbsorbingTimes, GTest, absorbing_times, g_test, transition_errors, transition_matrix
from lib.percolation import Clusters, box_dimension, cluster_stats, frontier, order_parameter
from lib.simplex import to_simplex, trajectory_speed

__all__ = [
    "ANALYSIS_CODES",
    "AbsorbingTimes",
    "BUILT",
    "BUILT_IN_CAPITAL",
    "BUILT_SHARES",
    "CLASS_COLOURS",
    "CLASS_NAMES",
    "COLLECTION",
    "CORNERS",
    "CREDIT",
    "Clusters",
    "FRAME",
    "Frame",
    "GROUPING",
    "GTest",
    "HALF_SHAPE",
    "LandCover",
    "PLANETARY_COMPUTER",
    "SIMPLEX_TABLE",
    "SMALL_SHAPE",
    "SYNTHETIC",
    "TRANSITION_TABLE",
    "TREES_IN_LAND",
    "Terrain",
    "WATER",
    "YEARS",
    "absorbing_times",
    "box_dimension",
    "class_fractions",
    "cluster_stats",
    "fisher_rao_distance",
    "fisher_rao_geodesic",
    "frame_shape",
    "frontier",
    "g_test",
    "grow_built",
    "label_noise_matrix",
    "label_noise_retention",
    "load_land_cover",
    "order_parameter",
    "random_field",
    "relabel_at_random",
    "synthetic_built",
    "synthetic_landscape",
    "terrain",
    "to_simplex",
    "trajectory_speed",
    "transition_counts",
    "transition_errors",
    "transition_matrix",
    "transition_series",
]
