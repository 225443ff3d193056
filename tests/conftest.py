"""Common ground of all tests: one thread, fixed seeds, repeatable properties, one browser, one server."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
# Triton looks when it is first imported: its interpreter runs the kernels on the CPU. 0 compiles them for a GPU.
os.environ.setdefault("TRITON_INTERPRET", "1")

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings

from lib.site import browser as chromium
from lib.site import serve
from lib.site.layout import ROOT

torch.set_num_threads(1)
# Tables without tests: looking there for doctests, pytest would read each a second time, beside test_bad_input.py.
collect_ignore = ["bad_input"]
# The same examples on every machine and no deadline: no test depends on how fast it runs.
settings.register_profile(
    "book", derandomize=True, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("book")

PREFIX = "/books/living-models/"
CHROMIUM_FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(autouse=True)
def fixed_seeds():
    """Fix the global generators, so that a test that forgets its own is still repeatable."""
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002


@pytest.fixture(scope="session")
def browser():
    """Chromium, driven by Playwright. A machine without it fails the tests that need it."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        instance = playwright.chromium.launch(executable_path=chromium.ensure(), args=CHROMIUM_FLAGS)
        yield instance
        instance.close()


@pytest.fixture(scope="session")
def site():
    """Folder of the built book. Its absence is a failure: nothing is left out silently."""
    folder = ROOT / "_build/html"
    if not (folder / "index.html").is_file():
        pytest.fail(f"{folder.relative_to(ROOT)} holds no site; run `make book` first", pytrace=False)
    return folder


@pytest.fixture(scope="session")
def server(site):
    """Address of the built book below a subfolder, under its Content-Security-Policy."""
    instance, address = serve.start(site, prefix=PREFIX)
    yield address
    instance.shutdown()
    instance.server_close()
