"""Chromium for the still pictures and the browser tests: found, or installed where that is allowed, or a clear message.

Run ``python -m lib.site.browser`` to print the path of the browser.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

__all__ = ["BrowserMissingError", "ensure", "find", "install_commands"]

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
PLACES = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
)
PACKAGE_MANAGERS = {
    "apt-get": [
        ["apt-get", "update", "-q"],
        ["apt-get", "install", "-y", "-q", "--no-install-recommends", "chromium", "fonts-dejavu-core"],
    ],
    "dnf": [["dnf", "install", "-y", "chromium"]],
    "pacman": [["pacman", "-Sy", "--noconfirm", "chromium"]],
    "zypper": [["zypper", "--non-interactive", "install", "chromium"]],
    "apk": [["apk", "add", "chromium"]],
    "brew": [["brew", "install", "--cask", "chromium"]],
}


class BrowserMissingError(RuntimeError):
    """There is no Chromium, and it could not be installed."""


def find() -> str | None:
    """Path of an installed Chromium or Chrome: the one named by ``CHROMIUM``, else the first on ``PATH``.

    Raises
    ------
    BrowserMissingError
        If ``CHROMIUM`` names something that is not a program.
    """
    chosen = os.environ.get("CHROMIUM")
    if chosen:
        path = shutil.which(chosen)
        if path is None:
            raise BrowserMissingError(f"CHROMIUM={chosen} is not a program that can be run")
        return path
    for name in (*NAMES, *PLACES):
        path = shutil.which(name)
        if path is not None:
            return path
    return None


def install_commands() -> list[list[str]]:
    """Commands that would install Chromium here; empty when no package manager is known or it may not be used.

    A package manager of the system is used by root, or through ``sudo`` where that asks for no password.
    """
    for manager, commands in PACKAGE_MANAGERS.items():
        if shutil.which(manager) is None:
            continue
        if manager == "brew" or os.geteuid() == 0:
            return commands
        if (
            shutil.which("sudo")
            and subprocess.run(["sudo", "-n", "true"], capture_output=True, check=False).returncode == 0
        ):
            return [["sudo", "-n", *command] for command in commands]
    return []


def ensure() -> str:
    """Path of Chromium, installed now if need be, and left in ``CHROMIUM`` for child processes.

    Raises
    ------
    BrowserMissingError
        If there is none and it could not be installed.
    """
    path = find()
    if path is None:
        for command in install_commands():
            print("Chromium is not installed:", " ".join(command), file=sys.stderr, flush=True)
            # Output goes to stderr: stdout carries the path.
            subprocess.run(
                command, stdout=sys.stderr, check=False, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
            )
        path = find()
    if path is None:
        raise BrowserMissingError(
            "The book needs Chromium or Chrome to draw its still pictures and to test its pages, and none was found or "
            "could be installed. "
            "Install it (for example: sudo apt-get install chromium) or set CHROMIUM=/path/to/chrome."
        )
    os.environ["CHROMIUM"] = path
    return path


if __name__ == "__main__":
    try:
        print(ensure())
    except BrowserMissingError as error:
        sys.exit(str(error))
