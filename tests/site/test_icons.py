"""Icons cut down to those in use."""

from pathlib import Path

import pytest
from fontTools.ttLib import TTFont
from sphinx.errors import ExtensionError

from lib.site import icons

FONTS = "_static/vendor/fontawesome/webfonts"


@pytest.fixture
def small_site(tmp_path):
    """A page with two icons, a style sheet with the theme's rules, and the theme's fonts."""
    import pydata_sphinx_theme

    theme = Path(pydata_sphinx_theme.__file__).parent / "theme/pydata_sphinx_theme/static/vendor/fontawesome/webfonts"
    (tmp_path / FONTS).mkdir(parents=True)
    for font in theme.glob("*.ttf"):
        (tmp_path / FONTS / font.name).write_bytes(font.read_bytes())
    (tmp_path / "_static/theme.css").write_text(
        '.fa-sun:before{content:"\\f185"}.fa-moon:before{content:"\\f186"}.fa-cat:before{content:"\\f6be"}'
        ':root{--pst-icon-bell:"\\f0f3"}',
        encoding="utf8",
    )
    (tmp_path / "page.html").write_text(
        '<head><script src="_static/scripts/fontawesome.js?digest=1"></script></head><i class="fa-solid fa-sun"></i>',
        encoding="utf8",
    )
    return tmp_path


def test_only_icons_in_use_are_kept(small_site):
    points = icons.glyphs(small_site)
    assert 0xF185 in points and 0xF0F3 in points and 0xF6BE not in points


def test_fonts_are_cut_and_the_script_is_gone(small_site):
    icons.shrink(small_site)
    assert "fontawesome.js" not in (small_site / "page.html").read_text(encoding="utf8")
    solid = TTFont(small_site / FONTS / "fa-solid-900.woff2")
    assert 0xF185 in solid.getBestCmap() and 0xF6BE not in solid.getBestCmap()
    assert (small_site / FONTS / "fa-solid-900.woff2").stat().st_size < 5_000
    assert list((small_site / FONTS).glob("*.ttf")) == []


def test_shrinking_again_changes_nothing_until_a_page_needs_more(small_site):
    icons.shrink(small_site)
    before = (small_site / FONTS / "fa-solid-900.woff2").read_bytes()
    icons.shrink(small_site)
    assert (small_site / FONTS / "fa-solid-900.woff2").read_bytes() == before
    (small_site / "more.html").write_text('<i class="fa-solid fa-cat"></i>', encoding="utf8")
    icons.shrink(small_site)
    assert 0xF6BE in TTFont(small_site / FONTS / "fa-solid-900.woff2").getBestCmap()


def test_missing_fonts_are_an_error(tmp_path):
    with pytest.raises(ExtensionError, match="fonts"):
        icons.shrink(tmp_path)
