"""Chromium is found, installed where that is allowed, or missed with a clear message."""

import subprocess

import pytest

from lib.site import browser


@pytest.fixture
def nothing_installed(monkeypatch):
    """A machine without Chromium and without a package manager."""
    monkeypatch.delenv("CHROMIUM", raising=False)
    monkeypatch.setattr(browser.shutil, "which", lambda name: None)


def test_the_environment_variable_comes_first(monkeypatch, tmp_path):
    program = tmp_path / "my-chrome"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("CHROMIUM", str(program))
    assert browser.ensure() == str(program)


def test_a_wrong_environment_variable_is_named(monkeypatch):
    monkeypatch.setenv("CHROMIUM", "/nowhere/chrome")
    with pytest.raises(browser.BrowserMissingError, match="CHROMIUM=/nowhere/chrome is not a program"):
        browser.ensure()


def test_without_chromium_and_package_manager_the_message_says_what_to_do(nothing_installed):
    assert browser.find() is None
    assert browser.install_commands() == []
    with pytest.raises(browser.BrowserMissingError, match="set CHROMIUM="):
        browser.ensure()


def test_root_uses_the_package_manager(monkeypatch):
    monkeypatch.setattr(browser.shutil, "which", lambda name: f"/usr/bin/{name}" if name == "dnf" else None)
    monkeypatch.setattr(browser.os, "geteuid", lambda: 0)
    assert browser.install_commands() == [["dnf", "install", "-y", "chromium"]]


@pytest.mark.parametrize(("status", "allowed"), [(0, True), (1, False)])
def test_others_use_sudo_only_where_it_asks_for_no_password(monkeypatch, status, allowed):
    monkeypatch.setattr(browser.shutil, "which", lambda name: f"/usr/bin/{name}" if name in ("dnf", "sudo") else None)
    monkeypatch.setattr(browser.os, "geteuid", lambda: 1000)
    monkeypatch.setattr(browser.subprocess, "run", lambda command, **_: subprocess.CompletedProcess(command, status))
    expected = [["sudo", "-n", "dnf", "install", "-y", "chromium"]] if allowed else []
    assert browser.install_commands() == expected


def test_chromium_is_installed_and_used(monkeypatch):
    monkeypatch.delenv("CHROMIUM", raising=False)
    ran = []
    monkeypatch.setattr(browser, "install_commands", lambda: [["install", "chromium"]])
    monkeypatch.setattr(browser, "find", lambda: "/usr/bin/chromium" if ran else None)
    monkeypatch.setattr(browser.subprocess, "run", lambda command, **_: ran.append(command))
    try:
        assert browser.ensure() == "/usr/bin/chromium"
    finally:
        monkeypatch.delenv("CHROMIUM", raising=False)
    assert ran == [["install", "chromium"]]
