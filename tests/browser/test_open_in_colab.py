"""Every chapter of the built site opens its own notebook in Colab, and no other page pretends to have one."""

import re

from lib.site import notebooks
from lib.site.layout import ROOT, repository

LINK = re.compile(r"https://colab\.research\.google\.com/github/([^\"'\s<>#]+)")


def test_open_in_colab_leads_to_the_chapters_notebook(site):
    url, branch = repository()
    owner_and_name = url.removeprefix("https://github.com/")
    sources = notebooks.sources()
    assert sources
    for source in sources:
        page = site / source.relative_to(ROOT).with_suffix(".html")
        notebook = notebooks.target(source).relative_to(ROOT).as_posix()
        found = LINK.findall(page.read_text(encoding="utf-8"))
        assert found
        assert set(found) == {f"{owner_and_name}/blob/{branch}/{notebook}"}, page
        assert (ROOT / notebook).is_file()


def test_pages_without_a_notebook_have_no_such_button(site):
    chapters = {site / source.relative_to(ROOT).with_suffix(".html") for source in notebooks.sources()}
    for page in site.glob("book/**/*.html"):
        if page not in chapters:
            assert 'label="open-in-colab"' not in page.read_text(encoding="utf-8")
            assert "btn-open-in-colab" not in page.read_text(encoding="utf-8"), page
