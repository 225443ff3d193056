"""Measured land cover: a catalogue of GeoTIFFs written here and read back, and all that can be wrong. Offline."""

import datetime
import sys
import types

import numpy as np
import pystac
import pystac_client
import pytest
import rasterio
import torch
from odc.geo.geobox import GeoBox
from odc.geo.geom import box
from rasterio.transform import from_origin
from rasterio.warp import transform_bounds

from lib import land_catalogue, landcover
from lib.land_catalogue import load_land_cover

UTM = "EPSG:32748"
SHAPE = (120, 160)
WEST, NORTH = 680_000.0, 9_335_000.0  # inside the authors' frame
CODES = np.array([1, 2, 4, 5, 7, 8, 11], dtype=np.uint8)


def a_map(seed, shape=SHAPE):
    return np.random.default_rng(seed).choice(CODES, size=shape)


def write_tile(path, codes, west=WEST, north=NORTH, crs=UTM, nodata=0):
    transform = from_origin(west, north, 10, 10)
    profile = dict(driver="GTiff", height=codes.shape[0], width=codes.shape[1], count=1, dtype=codes.dtype)
    with rasterio.open(path, "w", crs=crs, transform=transform, nodata=nodata, **profile) as file:
        file.write(codes, 1)
    return transform


def item_of(path, year, codes, west=WEST, north=NORTH, code=UTM, name=None, **wrong):
    """An item as the Planetary Computer writes them: no datetime, but a start and an end."""
    height, width = codes.shape
    bounds = transform_bounds(UTM, "EPSG:4326", west, north - 10 * height, west + 10 * width, north)
    item = pystac.Item(
        id=name or f"48M-{year}",
        geometry=box(*bounds, "EPSG:4326").json,
        bbox=list(bounds),
        datetime=None,
        start_datetime=datetime.datetime(year, 1, 1, tzinfo=datetime.UTC),
        end_datetime=datetime.datetime(year + 1, 1, 1, tzinfo=datetime.UTC),
        properties={"proj:code": code} if code else {},
        collection=wrong.pop("collection", landcover.COLLECTION),
    )
    item.add_asset("data", pystac.Asset(href=str(path), media_type=pystac.MediaType.COG, roles=["data"]))
    return item


def geobox(west=WEST, north=NORTH, shape=SHAPE):
    return GeoBox(shape, from_origin(west, north, 10, 10), UTM)


def inside(west=WEST, north=NORTH, shape=SHAPE):
    """Degrees of a window that lies a little inside the tile."""
    height, width = shape
    return transform_bounds(UTM, "EPSG:4326", west + 55, north - 10 * height + 55, west + 10 * width - 55, north - 55)


@pytest.fixture
def items(tmp_path):
    """Two years, written as files."""
    made = []
    for year in (2017, 2018):
        path = tmp_path / f"{year}.tif"
        write_tile(path, a_map(year))
        made.append(item_of(path, year, a_map(year)))
    return made


@pytest.fixture
def catalogue(items, tmp_path):
    """A self-contained catalogue in a folder, with the path of its catalog.json."""
    catalog = pystac.Catalog(id="land-cover", description="Two invented maps")
    extent = pystac.Extent(
        pystac.SpatialExtent([items[0].bbox]),
        pystac.TemporalExtent([[datetime.datetime(2017, 1, 1, tzinfo=datetime.UTC), None]]),
    )
    collection = pystac.Collection(id=landcover.COLLECTION, description="Invented", extent=extent)
    catalog.add_child(collection)
    collection.add_items(items)
    folder = tmp_path / "catalogue"
    catalog.normalize_hrefs(str(folder))
    catalog.make_all_asset_hrefs_relative()
    catalog.save(catalog_type=pystac.CatalogType.SELF_CONTAINED)
    return folder / "catalog.json"


def test_brief_8_round_trip(catalogue):
    read = load_land_cover(catalogue, inside(), [2017, 2018], geobox=geobox())
    assert read.maps.dtype == torch.uint8
    assert read.maps.shape == (2, *SHAPE)
    for year, found in zip((2017, 2018), read.maps.numpy(), strict=True):
        assert (found == a_map(year)).all()
    assert read.years == (2017, 2018)
    assert read.crs == UTM
    assert read.transform == (10, 0, WEST, 0, -10, NORTH)
    assert "CC BY 4.0" in read.credit


def test_every_kind_of_source(catalogue, items):
    grid = dict(bbox=inside(), years=[2018, 2017], geobox=geobox())
    opened = pystac.Catalog.from_file(str(catalogue))
    for source in (str(catalogue), catalogue, opened, items, tuple(items), iter(items)):
        read = load_land_cover(source, **grid)
        assert read.years == (2018, 2017)
        assert (read.maps[0].numpy() == a_map(2018)).all()
    one = load_land_cover(items[0], inside(), [2017], geobox=geobox())
    assert (one.maps[0].numpy() == a_map(2017)).all()


def test_a_search_interface_is_asked_for_the_window_and_the_years(items, monkeypatch):
    asked = {}

    def search(self, **query):
        asked.update(query)
        return types.SimpleNamespace(items=lambda: iter(items))

    monkeypatch.setattr(pystac_client.Client, "search", search)
    client = pystac_client.Client(id="interface", description="Invented")
    client.add_conforms_to("ITEM_SEARCH")
    read = load_land_cover(client, inside(), [2017, 2018], geobox=geobox())
    assert (read.maps[1].numpy() == a_map(2018)).all()
    assert asked["collections"] == [landcover.COLLECTION]
    assert asked["datetime"] == "2017-01-01/2018-12-31"
    tile = box(WEST, NORTH - 1200, WEST + 1600, NORTH, UTM).to_crs("EPSG:4326").boundingbox
    assert asked["bbox"] == pytest.approx(tuple(tile), abs=1e-5)


def test_a_window_in_metres_is_cut_out_pixel_by_pixel(items):
    read = load_land_cover(items, inside(), [2017], crs=UTM)  # 10 m without being told
    rows, columns = read.maps.shape[1:]
    across, _, west, _, down, north = read.transform
    assert (across, down) == (10, -10)
    # Nearest neighbour: the pixel of the file that holds the centre of each pixel of the result.
    row = np.floor((NORTH - (north - 10 * (np.arange(rows) + 0.5))) / 10).astype(int)
    column = np.floor((west + 10 * (np.arange(columns) + 0.5) - WEST) / 10).astype(int)
    assert rows > 100 and columns > 140
    assert (read.maps[0].numpy() == a_map(2017)[np.ix_(row, column)]).all()


def test_degrees_like_the_authors(items):
    """Resampled to WGS84 by nearest neighbour: compare with rasterio's own warper."""
    from rasterio.warp import Resampling, reproject

    window = inside()
    read = load_land_cover(items, window, [2017])
    assert read.crs == "EPSG:4326"
    assert read.maps.shape[1:] == landcover.frame_shape(window, landcover.FRAME.pixel)
    expected = np.zeros(read.maps.shape[1:], dtype=np.uint8)
    reproject(
        a_map(2017),
        expected,
        src_transform=from_origin(WEST, NORTH, 10, 10),
        src_crs=UTM,
        dst_transform=rasterio.Affine(*read.transform),
        dst_crs="EPSG:4326",
        resampling=Resampling.nearest,
    )
    assert (read.maps[0].numpy() == expected).mean() > 0.999


def test_tiles_of_one_year_are_joined_and_gaps_are_no_data(tmp_path):
    left, right = a_map(1), a_map(2)
    write_tile(tmp_path / "left.tif", left)
    write_tile(tmp_path / "right.tif", right, west=WEST + 1700)
    tiles = [
        item_of(tmp_path / "left.tif", 2017, left, name="left"),
        item_of(tmp_path / "right.tif", 2017, right, west=WEST + 1700, name="right"),
    ]
    read = load_land_cover(tiles, inside(), [2017], geobox=geobox(shape=(120, 330)))
    assert (read.maps[0, :, :160].numpy() == left).all()
    assert (read.maps[0, :, 160:170] == 0).all()
    assert (read.maps[0, :, 170:].numpy() == right).all()


def test_no_data_stays_no_data_and_is_dropped_by_the_analysis(tmp_path):
    codes = a_map(3)
    codes[:40] = 0
    codes[40:60] = 10  # clouds
    write_tile(tmp_path / "map.tif", codes)
    read = load_land_cover(item_of(tmp_path / "map.tif", 2017, codes), inside(), [2017], geobox=geobox())
    assert (read.maps[0].numpy() == codes).all()
    fractions = landcover.class_fractions(read.maps, landcover.ANALYSIS_CODES)
    expected = [(codes == code).sum() / (60 * 160) for code in landcover.ANALYSIS_CODES]
    np.testing.assert_allclose(fractions[0], expected, atol=1e-15)


def test_the_same_analysis_runs_on_what_was_read(tmp_path):
    drawn = landcover.synthetic_landscape(0, (120, 160)).numpy()
    made = []
    for year, codes in zip(landcover.YEARS, drawn, strict=True):
        write_tile(tmp_path / f"{year}.tif", codes)
        made.append(item_of(tmp_path / f"{year}.tif", year, codes))
    read = load_land_cover(made, inside(), landcover.YEARS, geobox=geobox())
    assert (read.maps.numpy() == drawn).all()
    counts = landcover.transition_series(read.maps, landcover.ANALYSIS_CODES)
    assert int(counts.sum()) == 7 * 120 * 160


def test_missing_years_are_named(items, catalogue):
    message = r"years must be in the catalogue: 2019, 2024 missing; here in this window: 2017, 2018"
    with pytest.raises(ValueError, match=message):
        load_land_cover(items, inside(), [2017, 2019, 2024], geobox=geobox())
    with pytest.raises(ValueError, match=r"2017 missing; here in this window: none"):
        load_land_cover(catalogue, inside(), [2017], collection="another", geobox=geobox())
    with pytest.raises(ValueError, match=r"2017 missing; here in this window: none"):
        load_land_cover(items, (0, 0, 0.1, 0.1), [2017])


def test_wrong_coordinate_systems(items, tmp_path):
    with pytest.raises(ValueError, match=r"bbox must be in degrees of longitude and latitude, got \(680000.0"):
        load_land_cover(items, (680_000, 9_333_000, 681_000, 9_335_000), [2017])
    with pytest.raises(ValueError, match="crs must name a coordinate system such as 'EPSG:32748', got 'EPSG:1'"):
        load_land_cover(items, inside(), [2017], crs="EPSG:1")
    with pytest.raises(ValueError, match="resolution is in the units of crs EPSG:4326"):
        load_land_cover(items, inside(), [2017], resolution=10)
    codes = a_map(1)
    stated = item_of(tmp_path / "2017.tif", 2017, codes, code="EPSG:32648")
    with pytest.raises(ValueError, match="'48M-2017' states the coordinate system EPSG:32648, its file has EPSG:32748"):
        load_land_cover(stated, inside(), [2017], geobox=geobox())
    write_tile(tmp_path / "nowhere.tif", codes, crs=None)
    nowhere = item_of(tmp_path / "nowhere.tif", 2017, codes, code=None)
    with pytest.raises(ValueError, match="the file of item '48M-2017' has no coordinate system"):
        load_land_cover(nowhere, inside(), [2017], geobox=geobox())


def test_maps_that_are_no_land_cover(tmp_path):
    codes = a_map(1)
    codes[5, 5], codes[6, 6] = 3, 255
    write_tile(tmp_path / "odd.tif", codes)
    with pytest.raises(ValueError, match="band 'data' of 2017 holds unknown class codes 3, 255; allowed: 0, 1, 2, 4"):
        load_land_cover(item_of(tmp_path / "odd.tif", 2017, codes), inside(), [2017], geobox=geobox())
    write_tile(tmp_path / "empty.tif", np.zeros_like(codes))
    with pytest.raises(ValueError, match="bbox must hold data in every year, but the map of 2017 is empty there"):
        load_land_cover(item_of(tmp_path / "empty.tif", 2017, codes), inside(), [2017], geobox=geobox())
    write_tile(tmp_path / "map.tif", a_map(1))
    with pytest.raises(ValueError, match="band must be an asset of item '48M-2017', got 'lulc'; there: data"):
        load_land_cover(item_of(tmp_path / "map.tif", 2017, codes), inside(), [2017], band="lulc", geobox=geobox())


def test_files_that_are_gone(items, tmp_path):
    (tmp_path / "2018.tif").unlink()
    with pytest.raises(ConnectionError, match="the file of item '48M-2018' could not be read; if it is online"):
        load_land_cover(items, inside(), [2017, 2018], geobox=geobox())
    with pytest.raises(ValueError, match=r"catalog_or_items must be a STAC catalogue, but '.*none.json' is none"):
        load_land_cover(tmp_path / "none.json", inside(), [2017])


def test_files_that_are_damaged(tmp_path):
    codes = a_map(1)
    write_tile(tmp_path / "map.tif", codes)
    item = item_of(tmp_path / "map.tif", 2017, codes)
    whole = (tmp_path / "map.tif").read_bytes()
    (tmp_path / "map.tif").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ConnectionError, match="the map of 2017 could not be read; if it is online"):
        load_land_cover(item, inside(), [2017], geobox=geobox())
    (tmp_path / "map.tif").write_bytes(b"no picture")
    with pytest.raises(ConnectionError, match="the file of item '48M-2017' could not be read; if it is online"):
        load_land_cover(item, inside(), [2017], geobox=geobox())


@pytest.mark.parametrize("kind", ["int16", "uint16", "float32"])
def test_files_whose_codes_would_be_cut_or_rounded(kind, tmp_path):
    codes = (a_map(1) + 0.4).astype(kind)
    write_tile(tmp_path / "map.tif", codes)
    with pytest.raises(ValueError, match=f"the file of item '48M-2017' must hold uint8 codes, got {kind}"):
        load_land_cover(item_of(tmp_path / "map.tif", 2017, codes), inside(), [2017], geobox=geobox())


def test_items_with_wrong_properties(items):
    def read(year=2017, bbox=None, **properties):
        item = items[0].clone()
        item.properties.update(properties)
        item.bbox = bbox or item.bbox
        return load_land_cover(item, inside(), [year], geobox=geobox())

    with pytest.raises(ValueError, match=r"item '48M-2017' has a date that is none .*yest"):
        read(start_datetime="yesterday")
    with pytest.raises(ValueError, match="item '48M-2017' starts in 2019 and ends in 2018"):
        read(2019, start_datetime="2019-01-01T00:00:00Z")
    with pytest.raises(ValueError, match="2017 missing; here in this window: none"):
        read(start_datetime=None, end_datetime=None)
    with pytest.raises(ValueError, match="item '48M-2017' states a coordinate system that is none, 'nonsense'"):
        read(**{"proj:code": "nonsense"})
    with pytest.raises(ValueError, match=r"must have a bbox of 4 or 6 numbers, got \[1, 2, 3\]"):
        read(bbox=[1, 2, 3])
    west, south, east, north = items[0].bbox
    assert (read(bbox=[west, south, -5, east, north, 80]).maps[0].numpy() == a_map(2017)).all()


@pytest.mark.parametrize(("west", "east", "found"), [(179, -179, False), (100, -179, True), (-179, 179, True)])
def test_items_across_the_meridian_of_180_degrees(west, east, found, items):
    items[0].bbox = [west, -10, east, 10]
    if found:
        assert (load_land_cover(items[:1], inside(), [2017], geobox=geobox()).maps[0].numpy() == a_map(2017)).all()
    else:
        with pytest.raises(ValueError, match="2017 missing; here in this window: none"):
            load_land_cover(items[:1], inside(), [2017], geobox=geobox())


@pytest.mark.filterwarnings("ignore::pystac_client.warnings.PystacClientWarning")
def test_a_catalogue_of_files_opened_as_an_interface(catalogue):
    client = pystac_client.Client.open(str(catalogue))
    read = load_land_cover(client, inside(), [2017, 2018], geobox=geobox())
    assert (read.maps[1].numpy() == a_map(2018)).all()


def test_a_catalogue_with_a_missing_item(catalogue):
    next(catalogue.parent.rglob("48M-2018.json")).unlink()
    with pytest.raises(ConnectionError, match=r"the catalogue could not be read; if it is online.*48M-2018\.json"):
        load_land_cover(catalogue, inside(), [2017], geobox=geobox())


@pytest.mark.parametrize("address", ["http://127.0.0.1:9/stac/v1", "http://127.0.0.1:9/catalog.json"])
def test_without_a_connection(address):
    """Port 9 of this machine refuses at once, as an unplugged cable would after a while."""
    with pytest.raises(ConnectionError, match="measured land cover needs the internet, everything else works offline"):
        load_land_cover(address)


@pytest.mark.parametrize("package", ["rasterio", "odc.stac", "pystac_client"])
def test_without_the_packages(package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=r"pip install 'living-models\[landcover\]'"):
        load_land_cover(landcover.PLANETARY_COMPUTER)


def test_files_of_the_planetary_computer_are_signed(monkeypatch):
    monkeypatch.setitem(sys.modules, "planetary_computer", None)
    with pytest.raises(ImportError, match="pip install planetary-computer"):
        load_land_cover(landcover.PLANETARY_COMPUTER)
    signer = types.ModuleType("planetary_computer")
    signer.sign_inplace = object()
    monkeypatch.setitem(sys.modules, "planetary_computer", signer)
    opened = {}

    def refuse(address, modifier):
        opened.update(address=address, modifier=modifier)
        raise OSError("unplugged")

    monkeypatch.setattr(pystac_client.Client, "open", refuse)
    with pytest.raises(ConnectionError, match="unplugged"):
        load_land_cover(landcover.PLANETARY_COMPUTER)
    assert opened == {"address": landcover.PLANETARY_COMPUTER, "modifier": signer.sign_inplace}
    with pytest.raises(ConnectionError):
        load_land_cover("https://example.org/stac")
    assert opened["modifier"] is None


BAD = {
    "catalog_or_items": (None, 3, {}, b"x", np.ones(3), [], [3], ["x"], "nowhere.json"),
    "bbox": (None, 3, "west", (1, 2, 3), (2, 1, 1, 2), (1, 2, 2, 1), (0, 0, 1, float("nan")), (0, 0, 181, 1)),
    "years": (None, 2017, "2017", [], [[2017]], [2017.0], [True], [2017, 2017], [17], [None]),
    "collection": ("", 3, []),
    "band": ("", None, 3),
    "crs": ("", None, 3, "nowhere"),
    "resolution": (1e-9, 0, -10, "10", float("nan"), True, 1e6),
    "geobox": (3, "grid", (120, 160), geobox(shape=(40_000, 30_000))),
    "credit": ("", None, 3),
}


@pytest.mark.parametrize("name", BAD)
def test_the_message_names_the_argument(name, items):
    good = dict(catalog_or_items=items, bbox=inside(), years=[2017], crs=UTM, resolution=10)
    for bad in BAD[name]:
        with pytest.raises(ValueError, match=rf"\b{name}\b"):
            load_land_cover(**good | {name: bad})


def test_an_import_of_the_loader_needs_none_of_the_packages():
    from tests.test_imports import imported_by

    without = "import sys\nfor name in ('rasterio', 'odc', 'pystac', 'pystac_client'): sys.modules[name] = None\n"
    assert imported_by(without + "import lib.landcover", "planetary_computer", "xarray") == set()
    assert "planetary-computer" in land_catalogue.__doc__
