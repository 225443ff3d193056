"""Plain Plotly figures become still pictures and JSON; the fingerprint notices what pages depend on."""

import json

import pytest

from lib.site import fingerprint, links, plotly_mime
from lib.site.layout import ROOT


def figure(**layout):
    return {"data": [{"type": "scatter", "y": [1, 2, 3]}], "layout": {"title": {"text": "Counts"}, **layout}}


def test_a_figure_survives_its_markup():
    markup = plotly_mime.markup(figure())
    (found,) = plotly_mime.figures(markup).values()
    assert found == figure()


def test_a_figure_cannot_close_its_script():
    title = {"text": "</script><script>alert(1)</script>"}
    markup = plotly_mime.markup(figure(title=title, meta={"alt": "An odd title"}))
    assert markup.count("</script>") == 1
    (found,) = plotly_mime.figures(markup).values()
    assert found["layout"]["title"] == title


def test_both_themes_have_a_described_picture():
    markup = plotly_mime.markup(figure(meta={"alt": 'Counts of "A" & B'}))
    assert markup.count('alt="Counts of &quot;A&quot; &amp; B"') == 2


def test_the_template_is_left_to_the_page():
    (found,) = plotly_mime.figures(plotly_mime.markup(figure(template={"layout": {}}))).values()
    assert "template" not in found["layout"]


def test_a_figure_without_words_is_refused():
    with pytest.raises(ValueError, match=r"layout\.title and layout\.meta\.alt are both empty"):
        plotly_mime.markup({"data": [], "layout": {}})


def test_other_types_are_left_to_others():
    class Data:
        mime_type = "text/plain"
        content = "x"

    assert plotly_mime.PlotlyRenderer.handle_mime(None, Data, False) is None


def test_a_string_of_json_is_a_figure_too():
    class Data:
        mime_type = plotly_mime.MIME
        content = json.dumps(figure())

    (node,) = plotly_mime.PlotlyRenderer.handle_mime(None, Data, False)
    assert "book-plotly" in node.astext()


def test_the_digest_sees_names_and_contents(tmp_path):
    path = tmp_path / "a.py"
    path.write_text("1")
    first = fingerprint.digest([path], tmp_path)
    path.write_text("2")
    second = fingerprint.digest([path], tmp_path)
    other = path.rename(tmp_path / "b.py")
    assert len({first, second, fingerprint.digest([other], tmp_path)}) == 3


def test_only_a_few_execution_caches_are_kept(tmp_path):
    for i in range(6):
        (tmp_path / f".jupyter_cache/{i}").mkdir(parents=True)
    folder = fingerprint.cache_folder(tmp_path)
    left = list((tmp_path / ".jupyter_cache").iterdir())
    assert folder in left
    assert len(left) == fingerprint.KEPT_CACHES


def test_source_links_lead_to_the_line():
    resolve = links.linkcode_resolver("https://github.com/a/b", "main")
    import lib.site.layout

    address = resolve("py", {"module": "lib.site.layout", "fullname": "site_address"})
    start = lib.site.layout.site_address.__code__.co_firstlineno
    assert address == f"https://github.com/a/b/blob/main/lib/site/layout.py#L{start}-L{start + 2}"
    assert resolve("py", {"module": "lib.site.layout", "fullname": "ROOT"}) is None
    assert resolve("js", {"module": "lib.site.layout", "fullname": "ROOT"}) is None
    assert resolve("py", {"module": "lib.site.layout", "fullname": "nothing"}) is None


def test_every_written_chapter_has_its_colab_address():
    from lib.site.layout import parts

    for part in parts():
        for chapter in part.chapters:
            address = links.colab_address("https://github.com/a/b", "main", chapter.docname)
            inside = address.split("/blob/main/")[1]
            assert inside == f"book/notebooks/{part.name}/{chapter.slug}.ipynb"
            if chapter.is_written():
                assert (ROOT / inside).is_file()
