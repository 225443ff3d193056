"""Computations longer than a frame: in a worker, or in slices where none can be made; the latest setting wins.

No assertion depends on how long anything takes: what is checked is where it ran, in which order, and that the page went
on drawing frames meanwhile.
"""

import pytest

from lib.live.leaves import differ, plain
from tests.live.page_figures import FIGURES
from tests.live.test_page import assert_equals_torch, ready, shown

# Ask for one setting after another, each in a frame of its own; note what Plotly was given and how many frames passed.
HURRY = """async values => {
  const el = document.getElementById("live-heavy"), drawn = [], react = Plotly.react, live = el.live;
  const frame = () => new Promise(requestAnimationFrame), working = () => el.classList.contains("live-busy");
  let frames = 0, busy = 0, bar = 0, done = false;
  Plotly.react = (plot, ...rest) => {
    if (plot.closest("#live-heavy")) drawn.push(live.values.bend);
    return react(plot, ...rest);
  };
  const count = () => {
    frames++;
    busy += working();
    bar = Math.max(bar, el.querySelector("progress").value);
    if (!done) requestAnimationFrame(count);
  };
  requestAnimationFrame(count);
  let last;
  for (const bend of values) { last = live.set({ bend }); await frame(); await frame(); }
  await last;
  done = true;
  Plotly.react = react;
  return { drawn, frames, busy, bar, values: live.values, worker: live.worker, still: working() };
}"""
SETTINGS = [0.1, 0.9, 0.2, 0.8, 0.3]


def assert_the_latest_wins(result):
    assert result["values"]["bend"] == SETTINGS[-1] == result["drawn"][-1]
    # What was drawn on the way came in the order of asking, nothing twice, nothing stale after something newer.
    assert result["drawn"] == sorted(set(result["drawn"]), key=SETTINGS.index)
    assert not result["still"]


def without_workers(page):
    """Serve the page under a policy that forbids workers."""

    def answer(route):
        response = route.fetch()
        policy = response.headers["content-security-policy"].replace("worker-src 'self'", "worker-src 'none'")
        route.fulfill(response=response, headers={**response.headers, "content-security-policy": policy})

    page.route("**/index.html", answer)


@pytest.mark.parametrize("place", ["worker", "policy without workers", "disk"])
def test_long_computations_leave_the_page_free(open_page, live_folder, place):
    if place == "disk":
        page = open_page((live_folder / "index.html").as_uri(), expect_errors=True)
    elif place == "worker":
        page = open_page()
    else:
        page = open_page(before=without_workers, expect_errors=True)
    ready(page, "heavy")
    result = page.evaluate(HURRY, SETTINGS)
    assert result["worker"] is (place == "worker")
    assert_the_latest_wins(result)
    assert result["frames"] > len(SETTINGS) and result["busy"] > 0 and 0 < result["bar"] <= 1
    assert_equals_torch(page, "heavy")
    assert_equals_torch(page, "heavy", {"lift": 0.75})


def test_everything_else_works_from_disk(open_page, live_folder):
    page = open_page((live_folder / "index.html").as_uri(), expect_errors=True)
    for name in ("growth", "draws", "table"):
        ready(page, name)
    assert_equals_torch(page, "growth", {"rate": 0.7, "log": True})
    assert_equals_torch(page, "draws", {"seed": 8, "size": 7})
    page.locator("#exercise-who").get_by_label("half").check()
    page.locator("#exercise-who").get_by_role("button", name="Check").click()
    assert page.locator("#exercise-who .exercise-say").text_content() == "Right."


def test_a_worker_that_answers_late_is_not_believed(open_page):
    """The worker's replies come twice, and again after the next one: only the one to the open request counts."""

    def echo(page):
        page.add_init_script(
            """const Real = Worker; window.Worker = class extends Real {
              set onmessage(hear) {
                const old = [];
                super.onmessage = e => { for (const message of [...old, e, e]) hear(message); old.push(e); };
              }
            };"""
        )

    page = open_page(before=echo)
    ready(page, "heavy")
    for bend in (0.1, 0.6, 0.2):
        settings, figure, _ = shown(page, "heavy", {"bend": bend})
        assert settings["bend"] == bend
        differ(figure["data"], plain(FIGURES["heavy"](bend=bend))["data"], "heavy")


def test_an_error_in_a_computation_keeps_the_last_figure(open_page):
    page = open_page(expect_errors=True)
    card = ready(page, "growth")
    before = shown(page, "growth", {"rate": 0.5})[2]
    page.evaluate("() => { window.realReact = Plotly.react; Plotly.react = () => { throw new Error('no room left') } }")
    page.evaluate("() => { document.getElementById('live-growth').live.set({ rate: 0.6 }) }")
    card.locator(".live-say").get_by_text("This setting could not be shown: no room left").wait_for()
    assert page.evaluate("document.querySelector('#live-growth .live-plot').data.map(t => t.name)") == ["model", "half"]
    page.evaluate("() => { Plotly.react = window.realReact }")
    after = shown(page, "growth", {"rate": 0.5})[2]
    assert after == before
    assert page.locator("#live-growth.live-stuck").count() == 0
    card.locator(".live-say").get_by_text(FIGURES["growth"](rate=0.5).layout.title.text).wait_for(state="attached")


@pytest.mark.parametrize(("worker", "where"), [(True, True), (False, False)])
def test_the_author_can_decide_where(open_page, worker, where):
    def decide(page):
        def answer(route):
            response = route.fetch()
            route.fulfill(
                response=response,
                body=response.text().replace('{"name":"heavy"', f'{{"worker":{str(worker).lower()},"name":"heavy"'),
            )

        page.route("**/index.html", answer)

    page = open_page(before=decide)
    ready(page, "heavy")
    assert_equals_torch(page, "heavy", {"bend": 0.8})
    assert page.evaluate("document.getElementById('live-heavy').live.worker") is where
