"""Land cover of the PIK2 frame: class codes, the frame's grid, and the tables that calibrate the synthetic maps.

The class codes are those of the Impact Observatory / Esri Sentinel-2 10 m annual land cover. The frame and the grouping
are the authors' (S. H. S. Herho et al., arXiv:2603.13715); their tables of results were not available. The two
calibration tables were made for this book so that they meet every number of the abstract and of the public code's
comments. They are not measurements.
"""

from __future__ import annotations

from dataclasses import dataclass

from lib import checks

__all__ = [
    "ANALYSIS_CODES",
    "BUILT",
    "BUILT_IN_CAPITAL",
    "BUILT_SHARES",
    "CLASS_COLOURS",
    "CLASS_NAMES",
    "CORNERS",
    "FRAME",
    "GROUPING",
    "HALF_SHAPE",
    "SIMPLEX_TABLE",
    "SMALL_SHAPE",
    "SYNTHETIC",
    "TRANSITION_TABLE",
    "TREES_IN_LAND",
    "WATER",
    "YEARS",
    "Frame",
    "frame_shape",
]

SYNTHETIC = "SYNTHETIC: maps drawn by this book's generator, not measured land cover of PIK2"

CLASS_NAMES = {
    0: "no data",
    1: "Water",
    2: "Trees",
    4: "Flooded vegetation",
    5: "Crops",
    7: "Built area",
    8: "Bare ground",
    9: "Snow/ice",
    10: "Clouds",
    11: "Rangeland",
}
CLASS_COLOURS = {
    0: "#000000",
    1: "#419bdf",
    2: "#397d49",
    4: "#7a87c6",
    5: "#e49635",
    7: "#c4281b",
    8: "#a59b8f",
    9: "#a8ebff",
    10: "#616161",
    11: "#e3e2c3",
}
WATER, BUILT = 1, 7
# What the analysis counts, in the order of all tables; no data, snow and clouds are dropped.
ANALYSIS_CODES = (1, 2, 4, 5, 7, 8, 11)
# The authors' three corners; water is left out. The reader may group otherwise.
GROUPING = {2: "Commons", 4: "Commons", 11: "Commons", 5: "Agrarian", 7: "Capital", 8: "Capital"}
CORNERS = ("Commons", "Agrarian", "Capital")

YEARS = tuple(range(2017, 2025))
# Built pixels over all pixels of the frame, sea included. First and last are published, the rest is calibrated.
BUILT_SHARES = (0.096, 0.103, 0.107, 0.118, 0.131, 0.140, 0.150, 0.162)
# Commons, Agrarian and Capital in percent of land; calibrated, meets every published fact about the walk.
SIMPLEX_TABLE = (
    (19.50, 47.50, 33.00),
    (12.80, 52.00, 35.20),
    (12.55, 55.45, 32.00),
    (25.60, 38.00, 36.40),
    (22.50, 36.60, 40.90),
    (18.90, 38.50, 42.60),
    (21.50, 33.00, 45.50),
    (18.60, 34.30, 47.10),
)
# Share of Capital that is built: .98 (2017), .90 (2023) and .96 (2024) are published, the rest is calibrated. With the
# two tables above it fixes how much of the frame is land: .297 in 2017 to .366 in 2023, the sea being filled in.
BUILT_IN_CAPITAL = (0.98, 0.92, 0.99, 0.95, 0.94, 0.94, 0.90, 0.96)
# Trees in percent of land; published only as "below 1.2".
TREES_IN_LAND = (1.10, 0.90, 0.90, 1.15, 1.15, 1.10, 1.10, 1.00)
# Probability to go from a class (row) to another (column) in a year, in the order of ANALYSIS_CODES; calibrated.
TRANSITION_TABLE = (
    (0.9805, 0.0004, 0.0024, 0.0075, 0.0022, 0.0030, 0.0040),
    (0.0100, 0.6007, 0.0450, 0.0800, 0.1103, 0.0040, 0.1500),
    (0.1200, 0.0200, 0.5280, 0.2300, 0.0060, 0.0060, 0.0900),
    (0.0300, 0.0040, 0.0200, 0.8233, 0.0547, 0.0080, 0.0600),
    (0.0040, 0.0004, 0.0006, 0.0180, 0.9640, 0.0060, 0.0070),
    (0.0900, 0.0010, 0.0040, 0.1200, 0.1940, 0.5010, 0.0900),
    (0.0300, 0.0120, 0.0300, 0.2600, 0.0600, 0.0200, 0.5880),
)


@dataclass(frozen=True)
class Frame:
    """A window on the map.

    Attributes
    ----------
    bbox : tuple of float
        West, south, east and north in degrees.
    pixel : float
        Side of a pixel in degrees.
    crs : str
        Coordinate system of the maps that are cut out.
    source_crs : str
        Coordinate system of the published tile.
    """

    bbox: tuple[float, float, float, float]
    pixel: float
    crs: str
    source_crs: str

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return frame_shape(self.bbox, self.pixel)


def frame_shape(bbox, pixel: float) -> tuple[int, int]:
    """Rows and columns of whole pixels in a window.

    Parameters
    ----------
    bbox : sequence of float, (4,)
        West, south, east and north, in degrees or metres.
    pixel : float
        Side of a pixel in the same unit, above 0.

    Returns
    -------
    tuple of int

    Raises
    ------
    ValueError
        If the window is not four rising numbers, the pixel is not above 0, or it fits less than once or more than 2^31
        times.

    Examples
    --------
    >>> frame_shape((106.63, -6.08, 106.77, -5.98), 10 / 111_320)
    (1113, 1558)
    """
    west, south, east, north = read_bbox(bbox)
    pixel = checks.real_number("pixel", pixel, lowest=0, open_below=True)
    height, width = (north - south) / pixel + 1e-6, (east - west) / pixel + 1e-6
    if not (1 <= height < 2**31 and 1 <= width < 2**31):
        raise ValueError(
            f"pixel must fit into the window of {east - west:g} x {north - south:g} from 1 to 2^31 times, got {pixel:g}"
        )
    return int(height), int(width)


def read_bbox(bbox) -> tuple[float, float, float, float]:
    """West, south, east and north as four numbers in rising order."""
    if not isinstance(bbox, (tuple, list)) or len(bbox) != 4:
        raise ValueError(f"bbox must be four numbers: west, south, east, north; got {checks.describe(bbox)}")
    west, south, east, north = (checks.real_number("bbox", side, lowest=-float("inf")) for side in bbox)
    if west >= east or south >= north:
        raise ValueError(f"bbox must have west < east and south < north, got {tuple(bbox)}")
    return west, south, east, north


FRAME = Frame((106.63, -6.08, 106.77, -5.98), 10 / 111_320, "EPSG:4326", "EPSG:32748")
# The synthetic maps are drawn at half the frame's scale, and much smaller where a figure redraws them often.
HALF_SHAPE = (557, 779)
SMALL_SHAPE = (139, 195)
