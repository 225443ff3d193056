"""Live figures of the built book in Chromium: size of the programs, computing per move, time to the drawn frame, bytes.

    make book && python -m benchmarks.live            # prints the table; exit code 1 if a budget is broken
    python -m benchmarks.live --write                 # also writes results/live/figures-chromium.json

Every figure is moved to 25 drawn settings on its page; the median counts. A figure that trains in the page
(``worker=True``) has no budget for its computing: it must stay responsive instead, which the browser tests assert.
The budgets are those of a laptop core; this prints what the present machine needs.
"""

from __future__ import annotations

import argparse
import gzip
import json
import platform
import statistics
import sys

from playwright.sync_api import sync_playwright

from benchmarks.report import Record
from lib.live import runtime
from lib.site import browser, serve
from lib.site.layout import ROOT

SITE = ROOT / "_build/html"
MOVES = 25
BUDGET = {"compute ms": 16.0, "frame ms": 50.0, "program kB": 150.0}
PAGE_KB, RUNTIME_KB = 600.0, 45.0
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync"]  # fmt: skip

_MOVE = """async ([id, moves]) => {
  const el = document.getElementById(id), form = el.querySelector('form'), compute = [], frame = [], draw = [];
  let state = 7;
  const random = () => (state = Math.imul(state, 1664525) + 1013904223 >>> 0) / 2 ** 32;
  for (let i = 0; i < moves; i++) {
    for (const input of form.querySelectorAll('input[type=range]')) {
      input.value = +input.min + Math.round(random() * (input.max - input.min) / input.step) * input.step;
    }
    const began = performance.now();
    await el.live.set({});
    await new Promise(requestAnimationFrame);
    frame.push(performance.now() - began); compute.push(el.live.ms); draw.push(el.live.drawMs);
  }
  const spec = el.querySelector("script[type='application/json']").textContent;
  return { compute, frame, draw, worker: el.live.worker, asked: JSON.parse(spec).worker === true, spec };
}"""


def measure_page(context, address: str) -> tuple[float, list[dict]]:
    """Bytes of a page on a first visit, without Plotly, and one row per live figure."""
    page = context.new_page()
    bodies = {}
    page.on("response", lambda response: bodies.setdefault(response.url, response))
    page.goto(address)
    rows = []
    for i in range(page.locator("figure.live").count()):
        figure = page.locator("figure.live").nth(i)
        figure.scroll_into_view_if_needed()
        name = figure.get_attribute("id")
        page.locator(f"#{name}.live-on").wait_for(state="attached", timeout=60_000)
        found = page.evaluate(_MOVE, [name, MOVES])
        spec = found["spec"]
        largest = max(len(json.dumps(v.get("program", v.get("grid")), separators=(",", ":")))
                      for v in json.loads(spec)["variants"].values())  # fmt: skip
        rows.append({
            "figure": name.removeprefix("live-"),
            "program kB": largest / 1e3,
            "all variants kB": len(spec) / 1e3,
            "compressed kB": len(gzip.compress(spec.encode(), 9)) / 1e3,
            "compute ms": statistics.median(found["compute"]),
            "plotly ms": statistics.median(found["draw"]),
            "frame ms": statistics.median(found["frame"]),
            "worker": found["worker"],
            "trains in the page": found["asked"],
        })  # fmt: skip
    sizes = [len(gzip.compress(r.body(), 9)) for url, r in bodies.items() if "plotly.min.js" not in url and r.ok]
    page.close()
    return sum(sizes) / 1e3, rows


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="write results/live/figures-chromium.json")
    options = parser.parse_args(arguments)
    pages = [p for p in sorted(SITE.rglob("*.html")) if '<figure class="live"' in p.read_text(encoding="utf8")]
    if not pages:
        print("no page with live figures in _build/html: run `make book` first")
        return 1
    record = Record("live", arguments)
    server, address = serve.start(SITE, prefix="/book/")
    report, broken = [], []
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser.ensure(), args=FLAGS)
        context = chromium.new_context(viewport={"width": 1280, "height": 900})
        for path in pages:
            name = path.relative_to(SITE).as_posix()
            weight, rows = measure_page(context, address + name)
            report.append({"page": name, "page kB without Plotly": round(weight, 1), "figures": rows})
        version = chromium.version
        chromium.close()
    server.shutdown()

    size = len(runtime.source().encode()) / 1e3
    print(f"Chromium {version}, {platform.machine()}, runtime {size:.1f} kB (budget {RUNTIME_KB:.0f})")
    head = ["program kB", "all variants kB", "compressed kB", "compute ms", "plotly ms", "frame ms"]
    for entry in report:
        weight = entry["page kB without Plotly"]
        print(f"\n{entry['page']}: {weight:.0f} kB compressed without Plotly (budget {PAGE_KB:.0f})")
        print(f"  {'figure':24}" + "".join(f"{h:>16}" for h in head) + "  where")
        if weight > PAGE_KB:
            broken.append(f"{entry['page']}: {weight:.0f} kB")
        for row in entry["figures"]:
            print(
                f"  {row['figure']:24}"
                + "".join(f"{row[h]:16.1f}" for h in head)
                + f"  {'worker' if row['worker'] else 'page'}"
            )
            for what, limit in BUDGET.items():
                if row[what] > limit and not (row["trains in the page"] and what != "program kB"):
                    broken.append(f"{row['figure']}: {what} {row[what]:.1f}, budget {limit:g}")
    if size > RUNTIME_KB:
        broken.append(f"runtime {size:.1f} kB")
    print("\n" + ("all within budget" if not broken else "over budget: " + "; ".join(broken)))
    if options.write:
        values = {"runtime kB": size}
        for entry in report:
            values[f"{entry['page']}: kB without Plotly"] = entry["page kB without Plotly"]
            values |= {f"{row['figure']}: {what}": row[what] for row in entry["figures"] for what in head}
        record.write(
            "live",
            "figures-chromium",
            values,
            device_name=f"headless Chromium {version}, {platform.machine()}",
            seeds=[7],
            note=f"medians over {MOVES} drawn settings",
        )
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
