"""Measured land cover from a STAC catalogue: the optional, online part of the land-cover chapter.

The catalogue is Impact Observatory's annual land cover on the Planetary Computer (``io-lulc-annual-v02``, Sentinel-2,
10 m, one item per tile and year, 2017 to 2023; CC BY 4.0, credit: Impact Observatory, Microsoft and Esri). Anything
that pystac can open works alike, a folder of GeoTIFFs with a ``catalog.json`` included. In Colab::

    %pip install -q pystac-client odc-stac rasterio planetary-computer

    from lib import landcover

    real = landcover.load_land_cover(landcover.PLANETARY_COMPUTER)
    print(real.credit, real.maps.shape)

Elsewhere ``pip install "living-models[landcover]"`` brings the first three; the last is needed only for addresses of
the Planetary Computer, whose files have to be signed. Without the packages :func:`load_land_cover` raises
``ImportError``, without a connection ``ConnectionError``, both with a sentence that says what to do.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import numpy as np
import torch
from torch import Tensor

from lib import checks
from lib.land_tables import CLASS_NAMES, FRAME, frame_shape, read_bbox

__all__ = ["COLLECTION", "CREDIT", "PLANETARY_COMPUTER", "LandCover", "load_land_cover"]

PLANETARY_COMPUTER = "https://planetarycomputer.microsoft.com/api/stac/v1"
COLLECTION = "io-lulc-annual-v02"
CREDIT = "Land cover: Impact Observatory, Microsoft and Esri (Sentinel-2, 10 m), CC BY 4.0"
REAL_YEARS = tuple(range(2017, 2024))
MOST_PIXELS = 10**9  # of one map: 1 GB. More is a resolution in the wrong unit.

PACKAGES = (
    "measured land cover needs pystac-client, odc-stac and rasterio: pip install 'living-models[landcover]'; "
    "everything else works without them on SYNTHETIC maps"
)
SIGNING = "files of the Planetary Computer have to be signed: pip install planetary-computer"


@dataclass(frozen=True)
class LandCover:
    """Maps of one window, year by year.

    Attributes
    ----------
    maps : Tensor of uint8, (years, H, W)
        Class codes; 0 is no data.
    years : tuple of int
    crs : str
        Coordinate system of the grid.
    transform : tuple of float, (6,)
        Affine transform from column and row to x and y, row by row, as rasterio counts it.
    credit : str
        Who made the data and under which licence; to be shown with it.
    """

    maps: Tensor
    years: tuple[int, ...]
    crs: str
    transform: tuple[float, ...]
    credit: str


def load_land_cover(
    catalog_or_items,
    bbox=FRAME.bbox,
    years: Sequence[int] = REAL_YEARS,
    *,
    collection: str | None = COLLECTION,
    band: str = "data",
    crs: str = FRAME.crs,
    resolution: float | None = None,
    geobox=None,
    credit: str = CREDIT,
) -> LandCover:
    """Read annual land-cover maps of a window.

    Parameters
    ----------
    catalog_or_items : str, path, pystac.Catalog, pystac_client.Client, pystac.Item or iterable of pystac.Item
        Address of a STAC interface (such as ``PLANETARY_COMPUTER``), a ``catalog.json``, what either was opened
        as, or items. An item counts for the year it starts in; tiles of one year are joined.
    bbox : sequence of float, (4,)
        West, south, east and north in degrees. Default: the authors' frame.
    years : sequence of int
        Years to read, in the order wanted.
    collection : str, optional
        Collection to search; None takes every item. Items that are handed over directly are not filtered.
    band : str
        Asset with the map.
    crs : str
        Coordinate system of the result. Default: WGS84, as the authors resample.
    resolution : float, optional
        Pixel in units of ``crs``. Default: 10/111320 degree, the authors' 10 m, or 10 where the units are metres.
    geobox : odc.geo.geobox.GeoBox, optional
        The exact grid of the result, instead of ``crs``, ``resolution`` and the window of ``bbox``.
    credit : str
        Whom to name.

    Returns
    -------
    LandCover
        Nearest-neighbour resampled; 0 where no tile has data.

    Raises
    ------
    ValueError
        If an argument is of the wrong kind, the grid has more than 10^9 pixels, a year is missing in the catalogue, an
        item has dates or a window that are none, a file has no coordinate system, another type than uint8 or codes
        that are none of the product's, or a year has no data in the window.
    ImportError
        If the optional packages are not installed.
    ConnectionError
        If the catalogue or one of its files cannot be reached or is damaged.
    """
    bbox = _read_window(bbox)
    years = _read_years(years)
    _read_texts(collection, band, crs, credit)
    if resolution is not None:
        resolution = checks.real_number("resolution", resolution, lowest=0, open_below=True)
    if not isinstance(catalog_or_items, (str, os.PathLike)) and not _holds_items(catalog_or_items):
        raise ValueError(
            "catalog_or_items must be an address, a catalogue or items of pystac, "
            f"got {checks.describe(catalog_or_items)}"
        )
    _require_packages()
    grid = _grid(bbox, crs, resolution, geobox)
    window = tuple(grid.geographic_extent.boundingbox)  # what the grid needs: other axes than bbox's, or its own place
    by_year = _by_year(_items(catalog_or_items, window, years, collection), window, years)
    maps = [_read_map(by_year[year], year, band, grid) for year in years]
    return LandCover(
        maps=torch.from_numpy(np.stack(maps)),
        years=years,
        crs=str(grid.crs),
        transform=tuple(grid.transform)[:6],
        credit=credit,
    )


def _require_packages() -> None:
    try:
        for package in ("rasterio", "odc.stac", "pystac_client"):
            importlib.import_module(package)
    except ImportError as problem:
        raise ImportError(f"{PACKAGES} ({problem})") from problem


def _grid(bbox, crs: str, resolution: float | None, geobox):
    """The pixels of the result."""
    from odc.geo.geobox import GeoBox

    if geobox is not None and not isinstance(geobox, GeoBox):
        raise ValueError(f"geobox must be an odc.geo.geobox.GeoBox or None, got {checks.describe(geobox)}")
    grid = _window_grid(bbox, crs, resolution) if geobox is None else geobox
    rows, columns = grid.shape
    if rows * columns > MOST_PIXELS:
        name = "resolution" if geobox is None else "geobox"
        raise ValueError(f"{name} must give a map of at most {MOST_PIXELS:g} pixels, got {rows} x {columns}")
    return grid


def _window_grid(bbox, crs: str, resolution: float | None):
    """Whole pixels from the north-western corner."""
    from odc.geo import CRS
    from odc.geo.geobox import GeoBox
    from odc.geo.geom import box
    from rasterio.transform import from_origin

    try:
        target = CRS(crs)
    except Exception as problem:  # pyproj's own error
        raise ValueError(f"crs must name a coordinate system such as 'EPSG:32748', got {crs!r}") from problem
    if target.geographic:
        west, south, east, north = bbox
    else:
        west, south, east, north = box(*bbox, "EPSG:4326").to_crs(target).boundingbox
    if resolution is None:
        resolution = FRAME.pixel if target.geographic else 10
    try:
        shape = frame_shape((west, south, east, north), resolution)
    except ValueError as problem:
        raise ValueError(f"resolution is in the units of crs {crs}: {problem}") from problem
    return GeoBox(shape, from_origin(west, north, resolution, resolution), target)


def _items(source, bbox, years: tuple[int, ...], collection: str | None) -> list:
    import pystac
    import pystac_client

    if isinstance(source, (str, os.PathLike)):
        source = _opened(os.fspath(source))
    if isinstance(source, pystac.Item):
        return [source]
    # A catalogue of plain files, opened as an interface, has no search.
    if isinstance(source, pystac_client.Client) and source.conforms_to("ITEM_SEARCH"):
        during = f"{min(years)}-01-01/{max(years)}-12-31"
        wanted = {"collections": [collection]} if collection else {}
        return _online(lambda: list(source.search(bbox=bbox, datetime=during, **wanted).items()), "the catalogue")
    if isinstance(source, pystac.Catalog):
        found = _online(lambda: list(source.get_items(recursive=True)), "the catalogue")
        return [item for item in found if collection is None or item.collection_id in (None, collection)]
    items = list(source)
    if not items or not all(isinstance(item, pystac.Item) for item in items):
        raise ValueError(f"catalog_or_items must hold items of pystac, got {checks.describe(source)}")
    return items


def _opened(address: str):
    """A STAC interface, or a catalogue in a file."""
    import pystac
    import pystac_client

    if urlsplit(address).scheme not in ("http", "https"):
        try:
            return pystac.Catalog.from_file(address)
        except Exception as problem:
            raise ValueError(f"catalog_or_items must be a STAC catalogue, but {address!r} is none: {problem}") from None
    if address.endswith(".json"):
        return _online(lambda: pystac.Catalog.from_file(address), address)
    modifier = _signing(address)
    return _online(lambda: pystac_client.Client.open(address, modifier=modifier), address)


def _signing(address: str):
    """What signs the files of the Planetary Computer; nothing for other addresses."""
    if urlsplit(address).hostname != urlsplit(PLANETARY_COMPUTER).hostname:
        return None
    try:
        import planetary_computer
    except ImportError as problem:
        raise ImportError(SIGNING) from problem
    return planetary_computer.sign_inplace


def _online(call, what: str):
    try:
        return call()
    except Exception as problem:  # every layer (pystac, requests, urllib3, the signer) has errors of its own
        raise ConnectionError(
            f"{what} could not be read; if it is online, measured land cover needs the internet, everything else works "
            f"offline on SYNTHETIC maps ({type(problem).__name__}: {problem})"
        ) from problem


def _by_year(items: list, bbox, years: tuple[int, ...]) -> dict[int, list]:
    """The items of each wanted year that touch the window."""
    found: dict[int, list] = {}
    for item in items:
        if _touches(item, bbox):
            found.setdefault(_year(item), []).append(item)
    found.pop(None, None)
    missing = [str(year) for year in years if year not in found]
    if missing:
        known = ", ".join(str(year) for year in sorted(found)) or "none"
        raise ValueError(f"years must be in the catalogue: {', '.join(missing)} missing; here in this window: {known}")
    return found


def _year(item) -> int | None:
    """The year that an item starts in; None for one without a date."""
    try:
        start = item.common_metadata.start_datetime or item.datetime
        end = item.common_metadata.end_datetime or start
    except (TypeError, ValueError) as problem:  # read from the text of the item only now
        raise ValueError(f"catalog_or_items: item {item.id!r} has a date that is none ({problem})") from problem
    if start is not None and end.year < start.year:
        raise ValueError(f"catalog_or_items: item {item.id!r} starts in {start.year} and ends in {end.year}")
    return None if start is None else start.year


def _touches(item, window) -> bool:
    if item.bbox is None:
        return True
    if len(item.bbox) not in (4, 6):
        raise ValueError(f"catalog_or_items: item {item.id!r} must have a bbox of 4 or 6 numbers, got {item.bbox}")
    half = len(item.bbox) // 2  # six numbers have heights, too
    (west, south), (east, north) = item.bbox[:2], item.bbox[half : half + 2]
    # West above east: across the meridian of 180 degrees, in two pieces.
    pieces = [(west, east)] if west <= east else [(west, 180), (-180, east)]
    beside = any(left < window[2] and window[0] < right for left, right in pieces)
    return beside and south < window[3] and window[1] < north


def _read_map(items: list, year: int, band: str, grid) -> np.ndarray:
    from odc import stac

    for item in items:
        if band not in item.assets:
            raise ValueError(
                f"band must be an asset of item {item.id!r}, got {band!r}; there: {', '.join(item.assets)}"
            )
        _check_file(item, band)
    # Without dtype and nodata the loader would return float32 with NaN.
    loaded = _online(
        lambda: stac.load(
            items,
            bands=[band],
            geobox=grid,
            dtype="uint8",
            nodata=0,
            resampling="nearest",
            groupby=lambda item, parsed, index: year,
        ),
        f"the map of {year}",
    )
    found = loaded[band].values[0]
    codes = np.unique(found)
    unknown = [str(code) for code in codes if int(code) not in CLASS_NAMES]
    if unknown:
        allowed = ", ".join(str(code) for code in CLASS_NAMES)
        raise ValueError(f"band {band!r} of {year} holds unknown class codes {', '.join(unknown)}; allowed: {allowed}")
    if not codes.any():
        raise ValueError(f"bbox must hold data in every year, but the map of {year} is empty there")
    return found


def _check_file(item, band: str) -> None:
    """Refuse a file of another type, without a coordinate system, or with another one than its item states."""
    import rasterio
    from rasterio.crs import CRS
    from rasterio.errors import CRSError

    address = item.assets[band].get_absolute_href() or item.assets[band].href
    with _online(lambda: rasterio.open(address), f"the file of item {item.id!r}") as file:
        actual, kind = file.crs, file.dtypes[0]
    if actual is None:
        raise ValueError(f"catalog_or_items: the file of item {item.id!r} has no coordinate system")
    if kind != "uint8":
        raise ValueError(f"catalog_or_items: the file of item {item.id!r} must hold uint8 codes, got {kind}")
    stated = item.properties.get("proj:code") or item.properties.get("proj:epsg")
    if stated is not None:
        try:
            stated = CRS.from_user_input(int(stated) if str(stated).isdigit() else stated)
        except CRSError as problem:
            raise ValueError(
                f"catalog_or_items: item {item.id!r} states a coordinate system that is none, {stated!r}"
            ) from problem
        if stated != actual:
            raise ValueError(
                f"catalog_or_items: item {item.id!r} states the coordinate system {stated}, its file has {actual}"
            )


def _holds_items(value) -> bool:
    catalogue = hasattr(value, "get_items") or hasattr(value, "assets")
    return catalogue or (isinstance(value, Iterable) and not isinstance(value, (bytes, dict, Tensor, np.ndarray)))


def _read_window(bbox) -> tuple[float, float, float, float]:
    west, south, east, north = read_bbox(bbox)
    if west < -180 or east > 180 or south < -90 or north > 90:
        raise ValueError(f"bbox must be in degrees of longitude and latitude, got {(west, south, east, north)}")
    return west, south, east, north


def _read_years(years) -> tuple[int, ...]:
    if not isinstance(years, (tuple, list, range)) or len(years) == 0:
        raise ValueError(f"years must be a list of different years, got {checks.describe(years)}")
    wanted = tuple(checks.integer("years", year, lowest=1900, highest=2200) for year in years)
    if len(set(wanted)) < len(wanted):
        raise ValueError(f"years must be a list of different years, got {checks.describe(years)}")
    return wanted


def _read_texts(collection, band, crs, credit) -> None:
    for name, text in (("band", band), ("crs", crs), ("credit", credit)):
        if not isinstance(text, str) or not text:
            raise ValueError(f"{name} must be a text, got {checks.describe(text)}")
    if collection is not None and (not isinstance(collection, str) or not collection):
        raise ValueError(f"collection must be a text or None, got {checks.describe(collection)}")
