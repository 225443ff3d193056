"""Building and checking the book, step by step: what ``make book`` and ``make test`` run."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from lib.site import browser
from lib.site.layout import ROOT

__all__ = ["build", "check"]

SITE = ROOT / "_build/html"


def run(title: str, *command: str, **environment: str) -> None:
    """Run one step below its title and say how long it took.

    Raises
    ------
    SystemExit
        With the step's own status if it fails.
    """
    print(f"\n== {title}", flush=True)
    start = time.monotonic()
    done = subprocess.run(command, cwd=ROOT, check=False, env={**os.environ, **environment})
    seconds = time.monotonic() - start
    if done.returncode:
        print(f"== {title}: FAILED after {seconds:.0f} s", flush=True)
        sys.exit(done.returncode)
    print(f"== {title}: done in {seconds:.0f} s", flush=True)


def find_browser() -> None:
    """Have Chromium ready, or end with a clear message."""
    try:
        print(f"Chromium: {browser.ensure()}", flush=True)
    except browser.BrowserMissingError as error:
        sys.exit(str(error))


def build() -> None:
    """Run what has changed among the chapters and write the site; every warning is an error."""
    find_browser()
    builder = [str(Path(sys.executable).with_name("jupyter-book")), "build", ".", "-W", "--keep-going", "-n"]
    run("Book: run the chapters, write the pages", *builder)
    print(
        f"\nThe book is in {SITE.relative_to(ROOT)}; open {SITE / 'index.html'}\nor run `make serve` and open http://127.0.0.1:8000/"
    )


def check() -> None:
    """Everything the project promises, in the order in which it fails fastest."""
    start = time.monotonic()
    pytest = [sys.executable, "-m", "pytest"]
    find_browser()
    run("Lint", sys.executable, "-m", "ruff", "check", ".")
    # Two processes, a file of tests in one of them: its fixtures are made once. More would not fit small machines.
    unit = [*pytest, "--ignore=tests/browser", "--ignore=tests/colab", "-n", "2", "--dist", "loadfile"]
    run("Unit tests, properties, doctests", *unit, "--durations=10")
    build()
    # Two Chromiums, and the tests as they come: the pages take very different times.
    run("Browser: every page of the site", *pytest, "tests/browser", "-n", "2", "--durations=5")
    run("Notebooks with Colab's versions", *pytest, "tests/colab", "--durations=5")
    print(f"\nEverything passed in {(time.monotonic() - start) / 60:.1f} minutes.")


if __name__ == "__main__":
    steps = {"book": build, "test": check}
    if len(sys.argv) != 2 or sys.argv[1] not in steps:
        sys.exit(f"usage: python -m lib.site.make {'|'.join(steps)}")
    steps[sys.argv[1]]()
