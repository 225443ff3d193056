"""A small site with a few live figures, served as the book is: below a subfolder, under its Content-Security-Policy."""

import shutil
from importlib.resources import files

import pytest

from lib.live import runtime, still
from lib.site import serve
from tests.live.page_figures import FIGURES, QUESTIONS

HEAD = (
    '<!doctype html><html lang="en" data-theme="light"><head><meta charset="utf-8"><title>Figures</title>'
    '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'
    '<link rel="stylesheet" href="_static/live.css"><script defer src="_static/live.js"></script>'
    "<style>body { margin: 1rem } main { max-width: 45rem; margin: auto }"
    "html[data-theme=dark] { color-scheme: dark; --book-card: #1b2025; --book-ink: #e2e5e7; --book-muted: #a2adb6;"
    "--book-accent: #6fc7d1; --book-accent-soft: #173338; background: #14181c }</style></head>"
    "<body><main><h1>Figures</h1>"
)


@pytest.fixture(scope="module")
def page(browser):
    """An empty page in which the runtime stands, for files that call it."""
    page = browser.new_page()
    page.goto("about:blank")
    page.add_script_tag(content=runtime.source())
    yield page
    page.close()


@pytest.fixture(scope="session")
def live_folder(tmp_path_factory):
    """Folder with ``index.html`` and ``_static``."""
    folder = tmp_path_factory.mktemp("live")
    static = folder / "_static"
    static.mkdir()
    body = "".join(figure.page() for figure in FIGURES.values()) + "".join(question.page() for question in QUESTIONS)
    for (name, theme), path in still.draw(still.figures(body), static / "stills").items():
        body = body.replace(f"live-still:{name}:{theme}", f"_static/stills/{path.name}")
    body = body.replace("live-colab:", "notebook.html")
    (folder / "index.html").write_text(f"{HEAD}{body}</main></body></html>", encoding="utf8")
    (static / "live.js").write_text(runtime.source(), encoding="utf8")
    (static / "live.css").write_text(runtime.css(), encoding="utf8")
    shutil.copy(files("plotly") / "package_data" / "plotly.min.js", static)
    return folder


@pytest.fixture(scope="session")
def live_server(live_folder):
    """Address of the page."""
    instance, address = serve.start(live_folder, prefix="/book/")
    yield f"{address}index.html"
    instance.shutdown()
    instance.server_close()


@pytest.fixture
def open_page(browser, live_server):
    """Function that opens the page in a context of its own; its console must be empty at the end."""
    opened = []

    def open_it(url=None, expect_errors=False, before=None, **context):
        page = browser.new_context(**context).new_page()
        page.problems, page.requests = [], []
        page.on("pageerror", lambda error: page.problems.append(str(error)))
        page.on(
            "console",
            lambda message: page.problems.append(message.text) if message.type in ("error", "warning") else None,
        )
        page.on("request", lambda request: page.requests.append(request.url))
        if before:
            before(page)
        page.goto(url or live_server)
        opened.append((page, expect_errors))
        return page

    yield open_it
    problems = [page.problems for page, expect_errors in opened if not expect_errors and page.problems]
    for page, _ in opened:
        page.context.close()
    assert not problems
